//! Plugin libraries for tests: built on demand, because `cargo test` builds no cdylib of another package.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
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

/// Writes the evil plugin into a folder under another name and as another version, of as many letters as its own.
///
/// # Panics
/// If it does not build, or cannot be written.
pub fn write_evil(folder: &Path, name: &str, version: &str) -> PathBuf {
    let mut bytes = fs::read(plugin_library("evil-plugin")).expect("it was built");
    let is_manifest =
        |at: &usize| bytes[*at..].starts_with(b"\x7freef-plugin-v1\n") && bytes[at + 32..].starts_with(b"evil\0");
    let at = (0..bytes.len() - 256).step_by(64).find(is_manifest).expect("it has a manifest") + 32;
    bytes[at..at + 64].fill(0);
    bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
    let own = (at..at + 224).find(|at| bytes[*at..].starts_with(b"0.1.0")).expect("it has a version");
    bytes[own..own + 5].copy_from_slice(version.as_bytes());
    let path = folder.join(format!("lib{name}.so"));
    fs::write(&path, bytes).expect("the folder is writable");
    path
}
