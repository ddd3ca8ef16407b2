//! The interface lasts: plugins that were built against a released interface work in this host, those of this one work in a
//! host of a released one wherever they use nothing newer, and the same between this one and one that is newer.
//!
//! `tests/frozen/` has the released interfaces' sources; they are built here, into `target/frozen`.

mod newer;
mod swarm;

use reef_plugin_api::bits;
use reef_tests::artifacts::{Artifacts, workspace};
use reef_tests::content::{Content, temporary};
use reef_tests::plugins::plugin_library;
use reef_tests::program::{User, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Of frozen copies and of the newer interface. Packages of another workspace must not share a target folder with ours.
fn target() -> PathBuf {
    workspace().join("target/frozen")
}

/// Interface 1.0 and what is built against it.
static FROZEN: LazyLock<Artifacts> = LazyLock::new(|| {
    Artifacts::build_workspace(&workspace().join("tests/frozen/1.0"), &[], &target(), &target().join("kept-1.0"))
});

/// An interface that is newer than this one.
static NEWER: LazyLock<Artifacts> = LazyLock::new(|| newer::build(&target()));

/// The host of nothing but this interface.
static HOST: LazyLock<PathBuf> =
    LazyLock::new(|| Artifacts::build(&["--package", "bare-host"]).program("bare-host").expect("it has a program"));

fn frozen_host() -> PathBuf {
    FROZEN.program("bare-host").expect("the copy has the host")
}

fn frozen(package: &str) -> PathBuf {
    FROZEN.library(package).expect("the copy has the plugin")
}

/// Runs a plugin in a host of nothing but an interface, which calls every hook once: what it printed, but for the versions.
#[track_caller]
fn run(host: &Path, plugin: &Path) -> Vec<String> {
    let output = Command::new(host).args([plugin.as_os_str(), "x = 1".as_ref()]).output().expect("the host runs");
    let text = String::from_utf8(output.stdout).expect("a text");
    assert!(output.status.success(), "{host:?} {plugin:?}: {:?}: {text}", output.status);
    let is_version = |line: &str| line.starts_with("host: ") || line.starts_with("plugin: ");
    text.lines().filter(|line| !is_version(line)).map(str::to_owned).collect()
}

/// Both say the same in the hooks that both have.
#[track_caller]
fn check_same(one: &[String], other: &[String]) {
    let common = |lines: &[String], others: &[String]| {
        let mut called = String::new();
        let mut common = Vec::new();
        for line in lines {
            // What was asked for and logged in a hook is below it, further in.
            if !line.starts_with(' ') {
                called = line.split(':').next().unwrap_or_default().to_owned() + ":";
            }
            if others.iter().any(|line| line.starts_with(&called)) {
                common.push(line.clone());
            }
        }
        common
    };
    let (left, right) = (common(one, other), common(other, one));
    assert!(left.len() > 60, "hardly anything is the same: {one:#?}\n{other:#?}");
    assert_eq!(left, right);
}

#[test]
fn the_host_of_nothing_but_the_interface_calls_every_hook() {
    let said = run(&HOST, &plugin_library("recorder-plugin"));
    let levels =
        [("session", bits::SessionPlugin::ALL), ("torrent", bits::TorrentPlugin::ALL), ("peer", bits::PeerPlugin::ALL)];
    for (level, hooks) in levels {
        let missing: Vec<_> = hooks
            .iter()
            .filter(|(hook, _)| !said.iter().any(|line| line.starts_with(&format!("{level} {hook}: "))))
            .collect();
        assert!(missing.is_empty(), "tests/bare_host calls none of {missing:?}");
    }
}

#[test]
fn a_plugin_of_the_frozen_interface_works_as_one_of_this_interface_does() {
    for package in ["recorder-plugin", "caller-plugin"] {
        check_same(&run(&HOST, &frozen(package)), &run(&HOST, &plugin_library(package)));
    }
}

#[test]
fn a_plugin_of_this_interface_works_in_a_host_of_the_frozen_one() {
    for package in ["recorder-plugin", "caller-plugin"] {
        check_same(&run(&frozen_host(), &plugin_library(package)), &run(&frozen_host(), &frozen(package)));
    }
}

#[test]
fn older_plugins_work_in_a_newer_host() {
    let host = NEWER.program("bare-host").expect("it has the host");
    for package in ["recorder-plugin", "caller-plugin"] {
        let newer = NEWER.library(package).expect("it has the plugin");
        check_same(&run(&host, &plugin_library(package)), &run(&host, &newer));
        check_same(&run(&host, &frozen(package)), &run(&host, &newer));
    }
    // A hook that they do not have is as one that they do not implement.
    let said = run(&host, &plugin_library("recorder-plugin"));
    for level in ["session", "torrent", "peer"] {
        let at = said.iter().position(|line| *line == format!("{level} on_future: Pass")).expect("it was called");
        assert!(!said[at + 1].starts_with(' '), "nothing came of it: {}", said[at + 1]);
    }
}

#[test]
fn a_newer_plugin_works_in_older_hosts_and_uses_there_what_they_have() {
    let plugin = NEWER.library("future-plugin").expect("it has the plugin");
    let newer = NEWER.program("bare-host").expect("it has the host");
    let logged = |host: &Path| -> Vec<String> {
        let said = run(host, &plugin);
        said.iter().filter_map(|line| line.strip_prefix("  logged: ")).map(str::to_owned).collect()
    };
    let all = [
        "\"INFO session on_future 7\"",
        "\"INFO future Ok(42)\"",
        "\"INFO torrent on_future 7\"",
        "\"INFO peer on_future 7\"",
        "\"INFO of the peer 5 77\"",
    ];
    assert_eq!(logged(&newer), all);
    for older in [HOST.clone(), frozen_host()] {
        assert_eq!(logged(&older), ["\"INFO future Err(Unsupported)\"", "\"INFO of the peer 0 77\""]);
    }
}

#[test]
fn a_plugin_of_an_interface_that_was_changed_is_refused_in_a_line_and_a_download_goes_on() {
    let wrong = newer::build_wrong(&target()).library("caller-plugin").expect("it has the plugin");
    let refused = reef_plugin_host::check(&wrong).expect_err("a hook has another argument").to_string();
    let said = "plugin caller 1.0.999 (interface 1.0) has another binary interface than this host's 1.";
    assert!(refused.contains(said) && refused.contains("rebuild the plugin"), "{refused}");
    assert!(!refused.contains('\n'), "{refused}");
    let (user, content, plugins, folder) = (User::new(), Content::tree(), temporary(), temporary());
    fs::copy(&wrong, plugins.path().join("libwrong.so")).expect("ours");
    let torrent = user.create(&content, &[]);
    let seed = user.seed(&torrent, content.folder(), &[]);
    let peer = seed.address.to_string();
    let ended = user.get(&torrent.magnet(), folder.path(), &["--peer", &peer, "--plugin-dir", text(plugins.path())]);
    content.assert_is_in(folder.path());
    let lines: Vec<_> = ended.lines.iter().filter(|line| line.contains("libwrong.so")).collect();
    assert!(matches!(lines.as_slice(), [line] if line.contains(said)), "{}", ended.text());
}

#[test]
fn a_plugin_with_other_optimisation_flags_works() {
    let own = plugin_library("recorder-plugin");
    let built = Artifacts::build_otherwise(&["--lib", "--package", "recorder-plugin"]);
    let other = built.library("recorder-plugin").expect("it has a library");
    assert_ne!(own, other);
    check_same(&run(&HOST, &own), &run(&HOST, &other));
    swarm::check_recorders(&[own, other]);
}
