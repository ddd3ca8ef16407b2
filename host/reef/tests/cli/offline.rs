//! Commands that need no network.

use serde_json::Value;

use crate::{check, command, json, reef, world};

#[test]
fn help_and_version_are_no_failures() {
    let dir = tempfile::tempdir().expect("a folder");
    check(dir.path(), &["--version"], 0, concat!("reef ", env!("CARGO_PKG_VERSION")));
    check(dir.path(), &["--help"], 0, "reef demo");
    check(dir.path(), &["help", "get"], 0, "--seed-ratio");
    for name in ["get", "seed", "create", "show", "check", "plugin", "demo", "settings", "completions", "man"] {
        check(dir.path(), &[name, "--help"], 0, &format!("reef {name}"));
    }
}

#[test]
fn a_wrong_command_line_exits_with_2_and_says_what_is_expected() {
    let dir = tempfile::tempdir().expect("a folder");
    for (args, words) in [
        (&[][..], "Usage"),
        (&["chekc"], "check"),
        (&["get"], "SOURCE"),
        (&["get", "x", "--peer", "nonsense"], "192.0.2.7:6881"),
        (&["get", "x", "--select", "5-1"], "0,2,4-6"),
        (&["get", "x", "--download-limit", "fast"], "500k, 2M"),
        (&["get", "x", "--listen", "here"], "0.0.0.0:6881"),
        (&["get", "x", "--tracker", "ftp://a.example"], "udp"),
        (&["create", "x", "-o", "y", "--piece-length", "1000"], "power of two"),
        (&["seed"], "TORRENT"),
        (&["completions", "tcl"], "bash"),
        (&["get", "x", "--set", "conections_limit=3"], "connections_limit"),
        (&["settings", "--config", "missing.toml"], "missing.toml: no such file"),
    ] {
        check(dir.path(), args, 2, words);
    }
}

#[test]
fn completions_and_manual_pages_are_made() {
    let dir = tempfile::tempdir().expect("a folder");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        check(dir.path(), &["completions", shell], 0, "seed-ratio");
    }
    check(dir.path(), &["man"], 0, ".TH reef 1");
    check(dir.path(), &["man", "--dir", "pages"], 0, "");
    let page = std::fs::read_to_string(dir.path().join("pages/reef-get.1")).expect("a page");
    assert!(page.contains("seed\\-ratio"), "{page}");
}

#[test]
fn settings_are_listed_and_mistakes_in_the_file_are_named() {
    let dir = tempfile::tempdir().expect("a folder");
    check(dir.path(), &["settings"], 0, "connections_limit = 200");
    let output = reef(dir.path(), ["settings", "--json"]);
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).expect("a list");
    assert!(rows.len() > 20);
    for row in rows {
        assert!(row["name"].is_string() && row["doc"].is_string() && row["default"] == row["value"], "{row}");
    }
    let folder = dir.path().join("config/reef");
    std::fs::create_dir_all(&folder).expect("made");
    std::fs::write(folder.join("reef.toml"), "upload_rate_limt = 5\n").expect("written");
    check(dir.path(), &["settings"], 2, "the nearest known one is upload_rate_limit");
    std::fs::write(dir.path().join("other.toml"), "connections_limit = 99\n").expect("written");
    check(dir.path(), &["settings", "--config", "other.toml"], 0, "connections_limit = 99");
}

#[test]
fn show_says_what_is_in_a_torrent() {
    let dir = world();
    check(dir.path(), &["show", "photos.torrent"], 0, "photos/sub/b.jpg");
    let shown = json(dir.path(), &["show", "photos.torrent", "--json"]);
    assert_eq!(shown["name"], "photos");
    assert_eq!(shown["info_hash_v1"].as_str().map(str::len), Some(40));
    assert_eq!(shown["piece_length"], 16384);
    assert_eq!(shown["private"], false);
    assert_eq!(shown["trackers"], serde_json::json!([]));
    assert_eq!(shown["web_seeds"], serde_json::json!([]));
    let files = shown["files"].as_array().expect("a list");
    let sizes: Vec<_> = files
        .iter()
        .filter(|file| file["pad"].is_null())
        .map(|file| (file["path"].as_str().unwrap_or_default(), file["size"].as_u64().unwrap_or_default()))
        .collect();
    assert_eq!(sizes, [("photos/a.jpg", 40_000), ("photos/sub/b.jpg", 100)]);
    let size: u64 = files.iter().filter_map(|file| file["size"].as_u64()).sum();
    assert_eq!(shown["total_size"], size);
    assert_eq!(shown["num_pieces"], size.div_ceil(16384));
}

#[test]
fn show_reads_magnets_and_info_hashes() {
    let dir = tempfile::tempdir().expect("a folder");
    let hash = "0123456789abcdef0123456789abcdef01234567";
    let magnet =
        format!("magnet:?xt=urn:btih:{hash}&dn=a%20film&tr=udp%3A%2F%2Ft.example%3A1&ws=https%3A%2F%2Fw.example%2F");
    let shown = json(dir.path(), &["show", &magnet, "--json"]);
    assert_eq!(shown["info_hash_v1"], hash);
    assert_eq!(shown["name"], "a film");
    assert_eq!(shown["trackers"], serde_json::json!(["udp://t.example:1"]));
    assert_eq!(shown["web_seeds"], serde_json::json!(["https://w.example/"]));
    check(dir.path(), &["show", &magnet], 0, "a film");
    check(dir.path(), &["show", hash], 0, hash);
    check(dir.path(), &["show", "AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH"], 0, hash);
    check(dir.path(), &["show", "magnet:?dn=nothing"], 1, "magnet:?dn=nothing");
}

#[test]
fn what_is_no_torrent_is_named_with_the_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("text.torrent"), "hello").expect("written");
    std::fs::write(dir.path().join("cut.torrent"), "d4:infod6:lengthi5e").expect("written");
    std::fs::write(dir.path().join("empty.torrent"), "").expect("written");
    for command in ["show", "get", "seed"] {
        check(dir.path(), &[command, "missing.torrent"], 1, "missing.torrent: no such file");
        check(dir.path(), &[command, "text.torrent"], 1, "text.torrent: not a torrent");
        check(dir.path(), &[command, "cut.torrent"], 1, "cut.torrent: ");
        check(dir.path(), &[command, "empty.torrent"], 1, "empty.torrent: ");
        check(dir.path(), &[command, "."], 1, ".: this is a folder");
    }
    check(dir.path(), &["show", "nonsense"], 1, "nonsense: no such file, and neither a magnet link");
    check(dir.path(), &["show", "http://127.0.0.1:1/x.torrent"], 1, "connection refused");
}

#[test]
fn nothing_hostile_in_a_torrent_reaches_the_terminal() {
    let dir = tempfile::tempdir().expect("a folder");
    let text = |text: &str| format!("{}:{text}", text.len());
    let file = |path: &[&str]| {
        let path: String = path.iter().map(|element| text(element)).collect();
        format!("d6:lengthi5e4:pathl{path}ee")
    };
    let files = file(&["\x1b[31mred\r\n\u{202e}"]) + &file(&["..", "..", "passwd"]);
    let info = format!(
        "d5:filesl{files}e4:name{}12:piece lengthi16384e6:pieces{}e",
        text("a\x1b[1m\nb"),
        text(&"a".repeat(20))
    );
    let comment = text("\x1b[2J\u{9b}hi\n");
    let torrent = format!("d8:announce{}7:comment{comment}4:info{info}e", text("http://t.example/\x1b]0;own\x07/x"));
    std::fs::write(dir.path().join("evil.torrent"), torrent).expect("written");
    for args in [&["show", "evil.torrent"][..], &["show", "evil.torrent", "--json"]] {
        let text = check(dir.path(), args, 0, "passwd");
        let hostile = |c: char| c.is_control() && c != '\n';
        assert!(!text.contains(hostile), "{text:?}");
        assert!(!text.contains(".."), "{text}");
    }
    check(dir.path(), &["show", "no\x1b[2Jsuch.torrent"], 1, "no\\u{1b}[2Jsuch.torrent: no such file");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let dir = tempfile::tempdir().expect("a folder");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = command(dir.path()).args(["completions", "zsh"]).stdout(writer).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_torrent_that_was_made_checks_and_a_damaged_one_does_not() {
    let dir = world();
    check(dir.path(), &["check", "photos.torrent", "data"], 0, "");
    let checked = json(dir.path(), &["check", "photos.torrent", "data", "--json"]);
    assert_eq!(checked["complete"], true);
    assert_eq!(checked["damaged"], serde_json::json!([]));

    let damaged = dir.path().join("data/photos/a.jpg");
    let mut bytes = std::fs::read(&damaged).expect("readable");
    bytes[20_000] ^= 1;
    std::fs::write(&damaged, bytes).expect("written");
    check(dir.path(), &["check", "photos.torrent", "data"], 1, "photos/a.jpg");
    let checked = json(dir.path(), &["check", "photos.torrent", "data", "--json"]);
    assert_eq!(checked["complete"], false);
    assert_eq!(checked["damaged"], serde_json::json!(["photos/a.jpg"]));

    std::fs::remove_file(dir.path().join("data/photos/sub/b.jpg")).expect("removed");
    check(dir.path(), &["check", "photos.torrent", "data"], 1, "photos/sub/b.jpg");
    check(dir.path(), &["check", "photos.torrent", "nowhere"], 1, "nowhere: no such file or folder");
}

#[test]
fn a_created_torrent_says_what_was_asked_for() {
    let dir = world();
    let args = [
        "create",
        "data/photos/a.jpg",
        "-o",
        "a.torrent",
        "--tracker",
        "http://t.example/announce",
        "--tracker",
        "udp://u.example:1",
        "--web-seed",
        "https://w.example/a.jpg",
        "--private",
        "--comment",
        "holidays",
    ];
    check(dir.path(), &args, 0, "a.torrent");
    let shown = json(dir.path(), &["show", "a.torrent", "--json"]);
    assert_eq!(shown["name"], "a.jpg");
    assert_eq!(shown["trackers"], serde_json::json!(["http://t.example/announce", "udp://u.example:1"]));
    assert_eq!(shown["tracker_tiers"], serde_json::json!([0, 1]));
    assert_eq!(shown["web_seeds"], serde_json::json!(["https://w.example/a.jpg"]));
    assert_eq!(shown["private"], true);
    assert_eq!(shown["comment"], "holidays");
    check(dir.path(), &["check", "a.torrent", "data/photos"], 0, "");
}

#[test]
fn create_refuses_what_it_cannot_share() {
    let dir = world();
    std::fs::create_dir(dir.path().join("empty")).expect("made");
    std::fs::write(dir.path().join("precious.txt"), "my novel").expect("written");
    check(dir.path(), &["create", "missing", "-o", "x.torrent"], 1, "missing: no such file");
    check(dir.path(), &["create", "empty", "-o", "x.torrent"], 1, "empty: ");
    check(dir.path(), &["create", "data", "-o", "no/such/x.torrent"], 1, "no/such");
    check(dir.path(), &["create", "data", "-o", "precious.txt"], 1, "precious.txt: ");
    assert_eq!(std::fs::read_to_string(dir.path().join("precious.txt")).expect("there"), "my novel");
    assert!(!dir.path().join("x.torrent").exists());
}
