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
    write_copy("evil-plugin", "evil", folder, name, version)
}

/// Writes the plugin that has every hook, and does nothing in any, into a folder under another name.
///
/// # Panics
/// If it does not build, or cannot be written.
pub fn write_every_hook(folder: &Path, name: &str) -> PathBuf {
    write_copy("every-hook-plugin", "every_hook", folder, name, "0.1.0")
}

/// A plugin's name and version stand in its manifest: sixteen bytes of magic, sixteen of numbers, and these as text.
fn write_copy(package: &str, own_name: &str, folder: &Path, name: &str, version: &str) -> PathBuf {
    let mut bytes = fs::read(plugin_library(package)).expect("it was built");
    let begins = |at: usize, text: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(text));
    let named = format!("{own_name}\0");
    let is_manifest = |at: &usize| begins(*at, b"\x7freef-plugin-v1\n") && begins(at + 32, named.as_bytes());
    let at = (0..bytes.len()).step_by(64).find(is_manifest).expect("it has a manifest") + 32;
    let own = (at..at + 224).find(|at| begins(*at, b"0.1.0")).expect("it has a version");
    bytes[at..at + 64].fill(0);
    bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
    bytes[own..own + 5].copy_from_slice(version.as_bytes());
    let path = folder.join(format!("lib{name}.so"));
    fs::write(&path, bytes).expect("the folder is writable");
    path
}
