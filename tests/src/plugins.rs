//! Plugin libraries for tests: built on demand, because `cargo test` builds no cdylib of another package.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::artifacts::Artifacts;

/// Builds the package of a plugin, once a test process, and returns its library.
///
/// # Panics
/// If it does not build.
pub fn plugin_library(package: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let build = || Artifacts::build(&["--lib", "--package", package]).library(package).expect("a plugin has a library");
    built.entry(package.to_owned()).or_insert_with(build).clone()
}
