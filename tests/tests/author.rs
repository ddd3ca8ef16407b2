//! The way of somebody who writes a plugin: from `reef plugin new` to a swarm that runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

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

/// The folder in which plugins are built here, for one test at a time: cargo runs tests without holding it, and another build
/// would take their libraries from under them.
fn builds() -> (PathBuf, MutexGuard<'static, ()>) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    (workspace().join("target/author"), ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner))
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
    let (target, _alone) = builds();
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

/// The commands of the guide, each with what it shows of the output.
fn commands_of(guide: &str) -> Vec<(String, Vec<String>)> {
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    for block in guide.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        for line in block.lines() {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push((command.to_owned(), Vec::new())),
                (None, Some((_, output))) if line != "…" => output.push(line.to_owned()),
                _ => {}
            }
        }
    }
    commands
}

/// A line as far as it is the same each time: ports and times are not.
fn without_numbers(line: &str) -> String {
    let mut text = String::new();
    for part in line.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        if rest.len() < part.len() {
            text.push('#');
        }
        text.push_str(rest);
    }
    text
}

#[test]
fn the_commands_of_the_guide_work_word_for_word_in_a_fresh_folder() {
    let (user, place) = (User::new(), temporary());
    let guide = std::fs::read_to_string(workspace().join("docs/plugin-guide.md")).expect("the guide");
    let program = reef();
    let mut path = vec![program.parent().expect("it is in a folder").to_owned()];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let path = std::env::join_paths(path).expect("a path");
    let mut folder = place.path().to_owned();
    let (target, _alone) = builds();
    let commands = commands_of(&guide);
    assert!(commands.len() >= 7, "{commands:?}");
    for (command, shown) in commands {
        if let Some(name) = command.strip_prefix("cd ") {
            folder.push(name);
            // The versions that this workspace has, so that no registry is asked, and what the other test built of them.
            std::fs::copy(workspace().join("Cargo.lock"), folder.join("Cargo.lock")).expect("copied");
            std::fs::create_dir_all(&target).expect("made");
            std::os::unix::fs::symlink(&target, folder.join("target")).expect("made");
            continue;
        }
        let mut run_it = Command::new("sh");
        user.command(&[]).get_envs().for_each(|(name, value)| match value {
            Some(value) => drop(run_it.env(name, value)),
            None => drop(run_it.env_remove(name)),
        });
        for name in ["CARGO_HOME", "RUSTUP_HOME"] {
            // A user's own tools are in a home that this user does not have.
            let usual = if name == "CARGO_HOME" { ".cargo" } else { ".rustup" };
            let own = std::env::var_os(name).map(PathBuf::from);
            let own = own.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(usual)));
            run_it.env(name, own.expect("a home"));
        }
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_")) {
            run_it.env_remove(name);
        }
        run_it.args(["-c", &command]).env("PATH", &path).env("CARGO_NET_OFFLINE", "true").current_dir(&folder);
        let said = check(&run(&mut run_it), true, &[]);
        let said: Vec<String> = said.lines().map(without_numbers).collect();
        let mut rest = said.iter();
        for line in shown.iter().map(|line| without_numbers(line)) {
            assert!(rest.any(|said| *said == line), "`{command}` does not say\n{line}\nbut\n{}", said.join("\n"));
        }
    }
}
