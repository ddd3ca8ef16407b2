//! Files that are no plugins, and plugins that misbehave, each in a real download from the command line: it completes with the right
//! bytes, and what was wrong is said in a line. A panic in every hook is in `panics.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use reef_tests::content::{Content, temporary};
use reef_tests::loopback::fresh_address;
use reef_tests::plugins::{plugin_library, write_evil};
use reef_tests::process::{Process, SOON, Signal};
use reef_tests::program::{Seed, Torrent, User, text};
use tempfile::TempDir;

/// A user who is about to fetch something by magnet link, with a folder of plugins.
struct Zoo {
    user: User,
    plugins: TempDir,
    folder: TempDir,
    content: Content,
    torrent: Torrent,
    seed: Seed,
}

impl Zoo {
    fn new() -> Self {
        let (user, content) = (User::new(), Content::tree());
        let torrent = user.create(&content, &[]);
        let seed = user.seed(&torrent, content.folder(), &[]);
        Self { user, plugins: temporary(), folder: temporary(), content, torrent, seed }
    }

    /// One with the evil plugin, under its own name, and these settings of it.
    fn with_evil(settings: &str) -> Self {
        let zoo = Self::new();
        write_evil(zoo.plugins.path(), "evil", "0.1.0");
        zoo.say(settings);
        zoo
    }

    /// Writes the settings of the evil plugin.
    fn say(&self, settings: &str) {
        fs::write(self.plugins.path().join("reef.toml"), format!("[plugins.evil]\nquiet = true\n{settings}\n"))
            .expect("ours");
    }

    fn start(&self, more: &[&str]) -> Process {
        let (peer, config) = (self.seed.address.to_string(), self.plugins.path().join("reef.toml"));
        let magnet = self.torrent.magnet();
        let (folder, plugins) = (text(self.folder.path()), text(self.plugins.path()));
        let mut arguments = vec!["get", &magnet, "-o", folder, "--json", "--peer", &peer, "--plugin-dir", plugins];
        if config.exists() {
            arguments.extend(["--config", text(&config)]);
        }
        self.user.start(&[&arguments, more].concat())
    }

    /// Serves the same, with these plugins.
    fn start_seed(&self) -> Process {
        let (address, config) = (fresh_address().to_string(), self.plugins.path().join("reef.toml"));
        let arguments = ["seed", self.torrent.path(), text(self.content.folder()), "--listen", &address, "--json"];
        let plugins = ["--plugin-dir", text(self.plugins.path()), "--config", text(&config)];
        self.user.start(&[&arguments[..], &plugins[..]].concat())
    }

    /// The download ends well, whatever is in the folder of plugins. Returns what was printed.
    #[track_caller]
    fn check(&self, process: Process) -> String {
        let said = process.wait_for_status(SOON, 0).text();
        self.content.assert_is_in(self.folder.path());
        said
    }

    #[track_caller]
    fn run(&self) -> String {
        self.check(self.start(&[]))
    }

    fn list(&self) -> String {
        self.user.run(&["plugin", "list", "--plugin-dir", text(self.plugins.path())]).text()
    }
}

/// The evil plugin does this in a download, and is quarantined with this reason.
#[track_caller]
fn check_quarantined(settings: &str, reason: &str) {
    let zoo = Zoo::with_evil(settings);
    // A thread of the plugin may need longer than the download.
    let mut process = zoo.start(&["--keep-seeding"]);
    let (mut is_out, mut is_there) = (false, false);
    process.wait_for(SOON, |line| {
        let says_so = line.contains(r#""event":"plugin_quarantined","plugin":"evil""#);
        assert!(!says_so || line.contains(reason), "{reason}: {line}");
        is_out |= says_so;
        is_there |= line.contains(r#""event":"torrent_finished""#);
        (is_out && is_there).then_some(())
    });
    process.signal(Signal::INT);
    process.wait_for_status(SOON, 130);
    zoo.content.assert_is_in(zoo.folder.path());
    let list = zoo.list();
    assert!(list.contains("quarantined: ") && list.contains(reason), "{reason}: {list}");
}

#[test]
fn panics_outside_of_hooks_end_the_plugin_and_not_the_download() {
    check_quarantined("at = \"drop_peer\"\ndo = \"panic\"", "panic in drop: ordered to panic");
    check_quarantined("at = \"new_connection\"\ndo = \"thread\"", "panic in thread evil: ordered to panic");
}

#[test]
fn panics_while_a_session_ends_are_said_and_change_nothing() {
    for at in ["drop_torrent", "drop_session", "abort"] {
        let zoo = Zoo::with_evil(&format!("at = \"{at}\"\ndo = \"panic\""));
        zoo.run();
    }
}

#[test]
fn a_flood_ends_the_plugin_and_not_the_download() {
    check_quarantined("at = \"new_connection\"\ndo = \"flood_thread\"", "flooded");
}

#[test]
fn a_slow_plugin_is_named_and_the_download_completes() {
    // For every block: time is sampled, and one slow hook may go unseen.
    let zoo = Zoo::with_evil("at = \"on_piece\"\ndo = \"slow\"");
    let said = zoo.run();
    assert!(said.contains("plugin evil took at least ") && said.contains("where it has 10 ms"), "{said}");
}

/// A command goes on when the hook in which the evil plugin is stuck returns, which nothing lets it before this was heard of on both
/// outputs.
#[track_caller]
fn check_stuck(hook: &str, start: impl FnOnce(&Zoo) -> Process) -> (Zoo, Process) {
    let zoo = Zoo::with_evil("");
    let until = zoo.plugins.path().join("go on");
    zoo.say(&format!("at = \"{hook}\"\ndo = \"stuck\"\nuntil = \"{}\"", text(&until)));
    let mut process = start(&zoo);
    let said = format!("plugin evil has not returned from {hook} for 1 s");
    let event = format!(r#"{{"event":"plugin_stuck","plugin":"evil","hook":"{hook}","seconds":1,"message":"{said}"#);
    let (mut is_logged, mut is_printed) = (false, false);
    process.wait_for(SOON, |line| {
        is_logged |= !line.starts_with('{') && line.contains(&said);
        is_printed |= line.starts_with(&event);
        (is_logged && is_printed).then_some(())
    });
    fs::write(&until, "").expect("ours");
    process.wait_for_text(SOON, &format!("{hook} returns at last"));
    (zoo, process)
}

#[test]
fn a_stuck_hook_is_named_while_it_is_stuck_and_the_download_completes_when_it_returns() {
    // The command waits for the answer to how far it is, and to adding the torrent.
    for hook in ["on_metadata", "new_torrent"] {
        let (zoo, process) = check_stuck(hook, |zoo| zoo.start(&[]));
        let said = zoo.check(process);
        assert_eq!(said.matches(r#""event":"plugin_stuck""#).count(), 1, "{said}");
    }
}

#[test]
fn a_stuck_hook_is_named_while_it_is_stuck_and_seeding_goes_on_when_it_returns() {
    let (zoo, mut process) = check_stuck("on_tick", Zoo::start_seed);
    process.wait_for_text(SOON, r#""event":"status""#);
    drop(zoo);
}

/// The plugin's library with some of its bytes changed.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = fs::read(plugin_library("evil-plugin")).expect("it was built");
    change(&mut bytes);
    bytes
}

/// Puts a text in the place of every occurrence of another of the same length.
fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    assert_eq!(old.len(), new.len());
    let places: Vec<usize> =
        bytes.windows(old.len()).enumerate().filter(|(_, at)| *at == old).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "it has no {}", old.escape_ascii());
    places.iter().for_each(|at| bytes[*at..*at + new.len()].copy_from_slice(new));
}

fn manifest(bytes: &[u8]) -> usize {
    let is_it =
        |at: &usize| bytes[*at..].starts_with(b"\x7freef-plugin-v1\n") && bytes[at + 32..].starts_with(b"evil\0");
    (0..bytes.len() - 256).step_by(64).find(is_it).expect("it has a manifest")
}

#[test]
fn files_that_are_no_plugins_of_this_host_are_a_line_each_and_the_download_goes_on() {
    let zoo = Zoo::new();
    let half = changed(|bytes| bytes.truncate(bytes.len() / 2));
    let other_machine = changed(|bytes| bytes[18..20].copy_from_slice(&183u16.to_le_bytes()));
    let ordinary = changed(|bytes| {
        let at = manifest(bytes);
        bytes[at] = 0;
    });
    let other_major = changed(|bytes| {
        let at = manifest(bytes) + 16;
        bytes[at..at + 4].copy_from_slice(&2u32.to_le_bytes());
    });
    // These get as far as their name, so each has one of its own.
    let named = |bytes: &mut Vec<u8>, name: &[u8; 4]| {
        let at = manifest(bytes) + 32;
        bytes[at..at + 4].copy_from_slice(name);
    };
    let no_root = changed(|bytes| {
        replace(bytes, b"\0REEF_PLUGIN_ROOT\0", b"\0REEF_PLUGIN_R00T\0");
        named(bytes, b"root");
    });
    let no_symbol = changed(|bytes| {
        named(bytes, b"symb");
        replace(bytes, b"\0pthread_setspecific\0", b"\0pthread_setsomethin\0");
    });
    let files: [(&str, Vec<u8>, &str); 8] = [
        ("text.so", b"no library at all".to_vec(), "not a shared library"),
        ("empty.so", Vec::new(), "not a shared library"),
        ("half.so", half, "truncated file"),
        ("machine.so", other_machine, "built for another CPU"),
        ("ordinary.so", ordinary, "a shared library, but not a reef plugin"),
        ("major.so", other_major, "was built for plugin-api 2.0, this host speaks 1.x: rebuild it"),
        ("root.so", no_root, "exports no functions"),
        ("symbol.so", no_symbol, "undefined symbol"),
    ];
    for (name, bytes, _) in &files {
        fs::write(zoo.plugins.path().join(name), bytes).expect("ours");
    }
    let open = write_evil(zoo.plugins.path(), "evil", "0.1.0");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o666)).expect("ours");
    let said = zoo.run();
    let line = |name: &str| -> Vec<&str> { said.lines().filter(|line| line.contains(&format!("/{name}: "))).collect() };
    for (name, _, why) in &files {
        assert!(matches!(line(name).as_slice(), [line] if line.contains(why)), "{name}: {why}: {said}");
    }
    assert!(
        matches!(line("libevil.so").as_slice(), [line] if line.contains("writable by everybody: run chmod o-w")),
        "{said}"
    );
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn two_plugins_that_want_one_name_are_told_so() {
    let zoo = Zoo::new();
    let first = write_evil(zoo.plugins.path(), "one", "0.1.0");
    write_evil(zoo.plugins.path(), "two", "0.1.0");
    let tables = ["one", "two"].map(|name| format!("[plugins.{name}]\nquiet = true\nclaim = \"x_same\"\n"));
    fs::write(zoo.plugins.path().join("reef.toml"), tables.concat()).expect("ours");
    let again = zoo.plugins.path().join("libone_too.so");
    fs::copy(&first, &again).expect("ours");
    let said = zoo.run();
    let left_out = format!("{}: plugin one is left out: {} was loaded first", text(&again), text(&first));
    assert!(said.contains(&format!("warning: {left_out}")), "{said}");
    let reason = "plugin one has claimed x_same messages: unload one of the two";
    assert!(said.contains(&format!("reef: plugin two gets no x_same messages: {reason}")), "{said}");
    let event = r#"{"event":"plugin_action_failed","plugin":"two","action":"claim x_same","code":"#;
    assert!(said.lines().any(|line| line.starts_with(event) && line.contains(reason)), "{said}");
    assert!(zoo.list().contains(&left_out));
}

#[test]
fn a_file_that_is_overwritten_while_it_runs_changes_nothing() {
    let zoo = Zoo::with_evil("");
    // Slow enough that it is under way for a while.
    let mut process = zoo.start(&["--download-limit", "200k"]);
    process.wait_for(SOON, |line| line.contains(r#""event":"plugin_loaded","plugin":"evil""#).then_some(()));
    let file = zoo.plugins.path().join("libevil.so");
    fs::write(&file, "something else").expect("ours");
    fs::File::options().write(true).open(&file).and_then(|file| file.set_len(0)).expect("ours");
    let said = zoo.check(process);
    assert!(!said.contains("plugin_quarantined"), "{said}");
}

#[test]
fn a_quarantine_is_shown_elsewhere_while_it_lasts_and_is_forgotten_when_the_plugin_runs_again() {
    let zoo = Zoo::with_evil("at = \"on_tick\"\ndo = \"panic\"");
    let mut seed = zoo.start_seed();
    seed.wait_for_text(SOON, "plugin evil is quarantined");
    // Its session runs on.
    let shown = zoo.list();
    assert!(shown.contains("quarantined: panic in on_tick: ordered to panic (at "), "{shown}");
    let json = zoo.user.run(&["plugin", "info", "evil", "--json", "--plugin-dir", text(zoo.plugins.path())]).text();
    assert!(json.contains(r#""state":"quarantined""#) || json.contains(r#""state": "quarantined""#), "{json}");
    let reset = zoo.user.run(&["plugin", "reset", "evil"]);
    assert_eq!(reset.code, Some(0), "{}", reset.text());
    assert!(!zoo.list().contains("quarantined"));
    let again = zoo.user.run(&["plugin", "reset", "evil"]);
    assert!(again.code == Some(1) && again.text().contains("no session has quarantined"), "{}", again.text());
    drop(seed);
    // Quarantined once more, and loaded again by a session in which it does no wrong.
    zoo.say("at = \"on_metadata\"\ndo = \"panic\"");
    zoo.run();
    assert!(zoo.list().contains("quarantined: panic in on_metadata"));
    zoo.say("");
    let elsewhere = temporary();
    let peer = zoo.seed.address.to_string();
    zoo.user.get(&zoo.torrent.magnet(), elsewhere.path(), &["--peer", &peer, "--plugin-dir", text(zoo.plugins.path())]);
    assert!(!zoo.list().contains("quarantined"));
}
