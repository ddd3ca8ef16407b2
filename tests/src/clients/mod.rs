//! Other makers' clients and trackers, as processes that end with the test.
//!
//! Each is looked for once. A test whose client is not there says that it is skipped, unless `REEF_REQUIRE_INTEROP` is
//! set: then it fails. `.ci/run` installs them all and sets it.

pub mod aria2;
pub mod libtorrent;
pub mod opentracker;
pub mod tracker;
pub mod transmission;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::artifacts::workspace;

/// What the tests need and did not find.
///
/// # Panics
/// If it is required.
fn missing<T>(what: &str) -> Option<T> {
    assert!(env::var_os("REEF_REQUIRE_INTEROP").is_none(), "{what} is missing; .ci/install gets it");
    eprintln!("skipped: {what} is missing; .ci/install gets it");
    None
}

/// A program of the system.
fn program(name: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.or_else(|| missing(name))
}

/// Where `.ci/install` puts what is not of the system.
fn installed(path: &str) -> PathBuf {
    let folder = env::var_os("REEF_INTEROP").map_or_else(|| workspace().join("target/interop"), PathBuf::from);
    folder.join(path)
}

/// A Python that has libtorrent.
fn python() -> Option<PathBuf> {
    [installed("venv/bin/python"), PathBuf::from("python3")].into_iter().find(|python| {
        let import = Command::new(python).args(["-c", "import libtorrent"]).output();
        import.is_ok_and(|output| output.status.success())
    })
}

/// A script of these tests.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}
