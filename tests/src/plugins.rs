//! Plugin libraries for tests: built on demand, because `cargo test` builds no cdylib of another package.
//!
//! The path comes from cargo's own messages. A guessed one could be that of a stale file, and the test would pass with it.

use std::collections::BTreeMap;
use std::env::consts::DLL_SUFFIX;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Builds the package of a plugin, once a test process, and returns its library.
///
/// # Panics
/// If it does not build.
pub fn plugin_library(package: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    built.entry(package.to_owned()).or_insert_with(|| build(package)).clone()
}

fn build(package: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join("Cargo.toml");
    // As the caller was built: a measurement wants the plugin optimised as well.
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--lib", "--message-format=json", "--profile", profile, "--package", package])
        .arg("--manifest-path")
        .arg(workspace)
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{package} does not build");
    let messages = String::from_utf8(output.stdout).expect("cargo writes JSON");
    messages.lines().find_map(|line| library_of(package, line)).expect("a plugin has a library")
}

/// The library that a message of cargo's names, if it is this package's.
fn library_of(package: &str, message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let is_package = message["reason"] == "compiler-artifact" && message["target"]["name"] == package.replace('-', "_");
    let files = message["filenames"].as_array().filter(|_| is_package)?;
    files.iter().filter_map(|file| file.as_str()).find(|file| file.ends_with(DLL_SUFFIX)).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_packages_own_library_is_taken() {
        let message = |name: &str, file: &str| {
            format!(r#"{{"reason":"compiler-artifact","target":{{"name":"{name}"}},"filenames":["x.rlib","{file}"]}}"#)
        };
        let file = format!("/t/libevil_plugin{DLL_SUFFIX}");
        assert_eq!(library_of("evil-plugin", &message("evil_plugin", &file)), Some(file.clone().into()));
        assert_eq!(library_of("evil-plugin", &message("other", &file)), None);
        assert_eq!(library_of("evil-plugin", &message("evil_plugin", "x.rmeta")), None);
        assert_eq!(library_of("evil-plugin", "not JSON"), None);
    }
}
