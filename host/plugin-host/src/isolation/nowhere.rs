//! Where there are no such processes: systems other than Unix.

use super::Isolation;
use crate::handle::InstanceHandle;
use reef_plugin_api::SessionObj;
use reef_plugin_api::manifest::Manifest;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Weak};

/// What a process starts from.
pub(crate) struct Launch<'a> {
    pub(crate) program: &'a Path,
    pub(crate) path: &'a Path,
    pub(crate) manifest: &'a Manifest,
    pub(crate) cache_dir: Option<&'a Path>,
    pub(crate) isolation: Isolation,
}

/// A process that cannot be.
pub(crate) enum Process {}

impl Process {
    pub(crate) fn load(_: &Launch<'_>) -> Result<Self, String> {
        Err("plugins run in processes of their own on Unix alone; take isolation out of its settings".to_owned())
    }

    pub(crate) fn create(self, _: &str, _: &Arc<InstanceHandle>) -> Result<(Weak<Self>, SessionObj), String> {
        match self {}
    }

    pub(crate) fn id(&self) -> u32 {
        match *self {}
    }

    pub(crate) fn set_log_level(&self, _: log::LevelFilter) {
        match *self {}
    }
}

/// Runs a plugin for the process that started this one: on Unix alone.
pub fn run_plugin_process() -> ExitCode {
    ExitCode::FAILURE
}
