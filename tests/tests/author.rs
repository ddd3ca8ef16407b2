//! The way of somebody who writes a plugin: from `reef plugin new` to a swarm that runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use reef_tests::artifacts::workspace;
use reef_tests::content::temporary;
use reef_tests::plugins::plugin_library;
use reef_tests::program::{User, reef};

fn run(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

/// Checks how a command ended and what is among its words, and returns them.
#[track_caller]
fn check(output: &Output, good: bool, words: &[&str]) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.success(), good, "{text}");
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
    text
}

/// Runs cargo in a crate that `reef plugin new` made, with the versions that this workspace has.
fn cargo(root: &Path, target: &Path, arguments: &[&str]) -> Output {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).arg("--offline").current_dir(root).env("CARGO_TARGET_DIR", target).env("REEF", reef());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_")) {
        command.env_remove(name);
    }
    run(&mut command)
}

#[test]
fn a_new_plugin_builds_loads_and_passes_its_tests() {
    let user = User::new();
    let place = temporary();
    let dir = place.path().to_str().expect("a path of text");
    check(&run(&mut user.command(&["plugin", "new", "my-first", "--dir", dir])), true, &["cargo build"]);
    let root = place.path().join("my-first");
    let again = run(&mut user.command(&["plugin", "new", "my-first", "--dir", dir]));
    check(&again, false, &["is there already"]);

    // Nothing of the workspace but the versions, so that no registry is asked.
    std::fs::copy(workspace().join("Cargo.lock"), root.join("Cargo.lock")).expect("copied");
    let target = workspace().join("target/author");
    check(&cargo(&root, &target, &["test", "--quiet"]), true, &[]);
    let library = target.join("debug/deps").join(file("my_first"));
    let library = library.to_str().expect("a path of text");
    check(&run(&mut user.command(&["plugin", "check", library])), true, &["x_my_first", "on_extended"]);
}

#[test]
fn check_says_what_is_in_a_plugin() {
    let user = User::new();
    let library = plugin_library("hello");
    let library = library.to_str().expect("a path of text");
    let checked = run(&mut user.command(&["plugin", "check", "--run", library]));
    check(
        &checked,
        true,
        &[
            "hello",
            "new_torrent",
            "new_connection",
            "add_handshake, on_extension_handshake, on_extended",
            "x_hello",
            "there is only greeting",
            "4 of 4 peers complete",
            "It loads and starts",
        ],
    );
    let json = run(&mut user.command(&["plugin", "check", "--json", library]));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["extensions"], serde_json::json!(["x_hello"]));
    assert_eq!(json["hooks"]["torrent"], serde_json::json!(["new_connection"]));
    assert_eq!(json["problems"], serde_json::json!([]));
}

#[test]
fn test_runs_a_plugin_in_a_swarm_and_says_what_it_did() {
    let user = User::new();
    let library = plugin_library("hello");
    let library = library.to_str().expect("a path of text");
    let test = |more: &[&str]| {
        let arguments: Vec<&str> = ["plugin", "test", library].iter().chain(more).copied().collect();
        run(&mut user.command(&arguments))
    };
    let said = check(&test(&["--peers", "6"]), true, &["6 of 6 peers complete", "says: good day"]);
    assert_eq!(check(&test(&["--peers", "6"]), true, &[]), said, "the same seed gives the same run");
    check(&test(&["--settings", "greeting = \"hi\""]), true, &["says: hi"]);
    check(&test(&["--settings", "greting = 1"]), false, &["greting is no setting of hello"]);
    check(&test(&["--seconds", "0"]), false, &["only 0 of 8 peers complete"]);
}

#[test]
fn test_fails_where_a_plugin_is_quarantined_and_says_why() {
    let user = User::new();
    let library = plugin_library("evil-plugin");
    let library = library.to_str().expect("a path of text");
    let test = |settings: &str| run(&mut user.command(&["plugin", "test", library, "--settings", settings]));
    let panic = test("at = \"on_extension_handshake\"\ndo = \"panic\"");
    check(&panic, false, &["8 of 8 peers complete", "Quarantined:", "ordered to panic"]);
    let error = test("at = \"on_extended\"\ndo = \"error\"\nclaim = \"x_test\"");
    check(&error, true, &["8 of 8 peers complete"]);
}

fn file(name: &str) -> PathBuf {
    format!("{}{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX).into()
}
