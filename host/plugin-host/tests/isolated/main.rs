//! Real plugin libraries in processes of their own: all that they do in this one they do there, and what is worse.
#![cfg(target_os = "linux")]

#[path = "../real/hooks.rs"]
mod hooks;
#[path = "../real/life.rs"]
mod life;
#[path = "../real/rig.rs"]
mod rig;
mod worst;

use reef_plugin_host::Isolation;
use reef_tests::program::reef;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Every plugin runs in a process of its own, with so much time that a busy machine does not matter: but for `hasty`. `blockless` is
/// not asked about blocks.
fn isolation(plugins: &[(&str, &str)]) -> (BTreeMap<String, Isolation>, Option<PathBuf>) {
    // A second logger is refused, and the first stays.
    if log::set_logger(&Keep).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
    let isolated = |name: &str| Isolation {
        deadline: Duration::from_secs(if name == "hasty" { 3 } else { 60 }),
        memory: 512 << 20,
        block_hooks: name != "blockless",
    };
    let isolation = plugins.iter().map(|(name, _)| ((*name).to_owned(), isolated(name)));
    (isolation.collect(), Some(reef()))
}

/// Waits for something that takes a moment on an idle machine.
#[track_caller]
fn wait_until(mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !happened() {
        assert!(Instant::now() < deadline, "it did not happen");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Whether there is such a process that has not ended.
fn is_running(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = status.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// What was logged so far.
fn lines() -> Vec<String> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

struct Keep;

impl log::Log for Keep {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}", record.target(), record.args());
        LINES.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
    fn flush(&self) {}
}
