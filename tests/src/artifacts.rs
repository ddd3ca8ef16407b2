//! What cargo builds, found in cargo's own messages: a guessed path could be that of a stale file, and the test would
//! pass with it.

use std::env::consts::{DLL_SUFFIX, EXE_SUFFIX};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// The folder of the workspace.
pub fn workspace() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("the tests are a member of the workspace").to_path_buf()
}

/// The profile that this was built in, and one with other flags.
const OWN_PROFILE: &str = if cfg!(debug_assertions) { "dev" } else { "release" };
const OTHER_PROFILE: &str = if cfg!(debug_assertions) { "release" } else { "dev" };

/// What a run of `cargo build` made, or found made.
pub struct Artifacts {
    messages: Vec<Value>,
}

impl Artifacts {
    /// Builds with these arguments, as the caller was built: a measurement wants what it measures optimised as well.
    ///
    /// # Panics
    /// If it does not build.
    pub fn build(arguments: &[&str]) -> Self {
        Self::build_as(OWN_PROFILE, arguments)
    }

    /// Builds with these arguments in the other profile: optimised if the caller is not.
    ///
    /// # Panics
    /// If it does not build.
    pub fn build_otherwise(arguments: &[&str]) -> Self {
        Self::build_as(OTHER_PROFILE, arguments)
    }

    fn build_as(profile: &str, arguments: &[&str]) -> Self {
        let arguments = [&["--profile", profile], arguments].concat();
        Self::run(cargo().args(["build", "--quiet", "--message-format=json"]).args(arguments))
    }

    /// Builds a workspace that is not this one, all of it or what the arguments say, into a target folder that is not ours: packages of one name would be
    /// taken for each other. The libraries and programs are copied to `kept`, as another workspace with the same target folder
    /// writes over them.
    ///
    /// # Panics
    /// If it does not build.
    pub fn build_workspace(folder: &Path, arguments: &[&str], target: &Path, kept: &Path) -> Self {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        forget_libraries(&target.join("debug/deps"));
        let mut cargo = cargo();
        cargo.args(["build", "--quiet", "--message-format=json", "--locked"]).args(arguments);
        let mut made = Self::run(cargo.current_dir(folder).env("CARGO_TARGET_DIR", target));
        fs::create_dir_all(kept).expect("the target folder is writable");
        made.messages.iter_mut().for_each(|message| keep(message, kept));
        made
    }

    fn run(command: &mut Command) -> Self {
        let output = command.stderr(Stdio::inherit()).output().expect("cargo runs");
        assert!(output.status.success(), "{command:?} fails");
        Self::read(&String::from_utf8(output.stdout).expect("cargo writes JSON"))
    }

    fn read(messages: &str) -> Self {
        Self { messages: messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect() }
    }

    /// The library that is loaded at run time, of the package of this name.
    pub fn library(&self, package: &str) -> Option<PathBuf> {
        let target = package.replace('-', "_");
        self.files_of(&target).find(|file| file.ends_with(DLL_SUFFIX)).map(PathBuf::from)
    }

    /// The program of this name.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let file = format!("{name}{EXE_SUFFIX}");
        self.files_of(name).map(PathBuf::from).find(|path| path.file_name().is_some_and(|name| *name == *file))
    }

    fn files_of<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a str> {
        self.messages
            .iter()
            .filter(move |message| message["reason"] == "compiler-artifact" && message["target"]["name"] == target)
            .filter_map(|message| message["filenames"].as_array())
            .flatten()
            .filter_map(Value::as_str)
    }
}

/// Has the libraries that are loaded at run time built again: their names have no number, so what lies there may be another
/// workspace's, and cargo would take it for this one's.
fn forget_libraries(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(DLL_SUFFIX) && !name.contains('-') {
            fs::remove_file(&path).expect("the target folder is writable");
        }
    }
}

/// The cargo that runs the test, in the workspace.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
    // What cargo tells a test of its package would look like a change to build scripts that depend on it.
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_the_test(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command.current_dir(workspace());
    command
}

/// Copies the libraries and programs that a message of cargo names, and has it name the copies.
fn keep(message: &mut Value, folder: &Path) {
    let kinds = message["target"]["kind"].as_array();
    if !kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind == "cdylib" || kind == "bin")) {
        return;
    }
    for file in message["filenames"].as_array_mut().into_iter().flatten() {
        let from = PathBuf::from(file.as_str().unwrap_or_default());
        let to = folder.join(from.file_name().expect("cargo makes files"));
        // Another one: what is mapped or runs keeps the file that it has.
        let _ = fs::remove_file(&to);
        fs::copy(&from, &to).expect("the target folder is writable");
        *file = Value::String(to.to_string_lossy().into_owned());
    }
}

/// Whether this variable tells a program that cargo runs what package it is of.
fn is_of_the_test(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_EXE_", "CARGO_CRATE_", "CARGO_PRIMARY_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_is_taken() {
        let message = |name: &str, file: &str| {
            format!(r#"{{"reason":"compiler-artifact","target":{{"name":"{name}"}},"filenames":["x.rlib","{file}"]}}"#)
        };
        let library = format!("/t/libevil_plugin{DLL_SUFFIX}");
        let program = format!("/t/reef{EXE_SUFFIX}");
        let text = [message("evil_plugin", &library), "not JSON".to_owned(), message("reef", &program)].join("\n");
        let made = Artifacts::read(&text);
        assert_eq!(made.library("evil-plugin"), Some(library.into()));
        assert_eq!(made.library("other"), None);
        assert_eq!(made.library("reef"), None);
        assert_eq!(made.program("reef"), Some(program.into()));
        assert_eq!(made.program("evil-plugin"), None);
    }
}
