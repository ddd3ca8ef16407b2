//! The built program, run with right and wrong input: what it prints, and how it exits.

mod offline;
mod running;
mod transfers;

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Runs `reef` in an empty world: no settings, no plugins but those given.
fn reef<A: AsRef<OsStr>>(dir: &Path, args: impl IntoIterator<Item = A>) -> Output {
    command(dir).args(args).output().expect("the program starts")
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reef"));
    command.current_dir(dir).stdin(Stdio::null());
    command.env("HOME", dir).env_remove("RUST_LOG").env_remove("REEF_PLUGIN_DIR");
    for (name, folder) in [("CONFIG", "config"), ("STATE", "state"), ("DATA", "data"), ("CACHE", "cache")] {
        command.env(format!("XDG_{name}_HOME"), dir.join(folder));
    }
    command
}

/// Runs `reef` and checks how it exits and what is among its words.
#[track_caller]
fn check(dir: &Path, args: &[&str], status: i32, words: &str) -> String {
    let output = reef(dir, args);
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8(text).expect("text");
    assert_eq!(output.status.code(), Some(status), "reef {args:?} said: {text}");
    assert!(text.contains(words), "reef {args:?} does not say {words:?} but: {text}");
    assert!(!text.contains("panicked"), "{text}");
    let errors = String::from_utf8_lossy(&output.stderr).lines().filter(|line| line.starts_with("reef: ")).count();
    assert!(status != 1 || errors <= 1, "one line is enough: {text}");
    text
}

fn json(dir: &Path, args: &[&str]) -> Value {
    let output = reef(dir, args);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}"))
}

/// A folder with a torrent of two files and a short last piece, made by the program itself.
fn world() -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, bytes).expect("written");
    };
    write("data/photos/a.jpg", &[1; 40_000]);
    write("data/photos/sub/b.jpg", &[2; 100]);
    check(dir.path(), &["create", "data/photos", "-o", "photos.torrent", "--piece-length", "16KiB"], 0, "");
    dir
}
