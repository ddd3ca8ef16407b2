//! Real plugin libraries in processes of their own: all that they do in this one they do there, and what is worse.
#![cfg(target_os = "linux")]

#[path = "../real/hooks.rs"]
mod hooks;
#[path = "../real/life.rs"]
mod life;
#[path = "../real/rig.rs"]
mod rig;
mod worst;

use reef_plugin_host::{Isolation, PLUGIN_PROCESS};
use reef_tests::program::reef;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Every plugin runs in a process of its own, with so much time that a busy machine does not matter: but for `hasty`. `blockless` is
/// not asked about blocks, and what is to run `programless` is another program.
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
    let is_other = plugins.iter().any(|(name, _)| *name == "programless");
    (isolation.collect(), Some(if is_other { PathBuf::from("/bin/true") } else { reef() }))
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

/// Our processes for a plugin of this name, which no other test may have.
fn processes(name: &str) -> Vec<u32> {
    let arguments = format!("\0{PLUGIN_PROCESS}\0{name}\0");
    let all = std::fs::read_dir("/proc").expect("Linux lists them").flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_it = |number: &u32| {
        let line = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        line.ends_with(arguments.as_bytes()) && parent(*number) == Some(std::process::id())
    };
    numbers.filter(is_it).collect()
}

fn parent(process: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, rest) = status.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
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
