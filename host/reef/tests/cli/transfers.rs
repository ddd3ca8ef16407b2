//! `reef seed` and `reef get` against each other over loopback.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{check, command, json, reef, world};

/// A `reef seed` that serves, and its address. It is interrupted when it goes out of scope.
struct Seed {
    child: Child,
    address: String,
}

impl Seed {
    fn start(dir: &Path, torrent: &str, content: &str) -> Self {
        let args = ["seed", torrent, content, "--listen", "127.0.0.1:0", "--no-plugins"];
        let mut child = command(dir).args(args).stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.trim().rsplit_once(" on ").unwrap_or_else(|| panic!("no address in {line:?}")).1.to_owned();
        assert!(line.starts_with("serving "), "{line}");
        Self { child, address }
    }

    /// Ctrl-C; returns the exit status.
    fn interrupt(&mut self) -> Option<i32> {
        signal(&self.child, Signal::INT);
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        // It has ended already if the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    kill_process(pid, signal).expect("the process is there");
}

/// Arguments of a `reef get` that meets nobody but those named.
fn get<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["get", "photos.torrent", "-o", "out", "--no-plugins", "--set", "connections_limit=20"], more].concat()
}

#[track_caller]
fn same_files(dir: &Path, names: &[&str]) {
    for name in names {
        let read =
            |folder: &str| std::fs::read(dir.join(folder).join(name)).unwrap_or_else(|_| panic!("no {folder}/{name}"));
        assert!(read("data") == read("out"), "{name} differs");
    }
}

#[test]
fn what_is_seeded_is_got_and_an_interrupt_ends_a_seed_with_130() {
    let dir = world();
    let mut seed = Seed::start(dir.path(), "photos.torrent", "data");
    check(dir.path(), &get(&["--peer", &seed.address]), 0, "photos: complete");
    same_files(dir.path(), &["photos/a.jpg", "photos/sub/b.jpg"]);
    // All is there and vouched for: nobody is needed.
    check(dir.path(), &get(&[]), 0, "which was all there");
    check(dir.path(), &["check", "photos.torrent", "out"], 0, "complete");
    assert_eq!(seed.interrupt(), Some(130));
}

#[test]
fn json_lines_tell_what_happens() {
    let dir = world();
    let seed = Seed::start(dir.path(), "photos.torrent", "data");
    let output = reef(dir.path(), get(&["--peer", &seed.address, "--json"]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    let of = |name: &str| events.iter().filter(|event| event["event"] == name).collect::<Vec<_>>();
    assert_eq!(of("torrent_finished").len(), 1, "{text}");
    assert!(!of("peer_connected").is_empty() && !of("status").is_empty(), "{text}");
    let last = of("status").pop().expect("one");
    assert_eq!(last["name"], "photos");
    assert_eq!(last["info_hash_v1"], json(dir.path(), &["show", "--json", "photos.torrent"])["info_hash_v1"]);
    assert!(last["progress"].as_f64().is_some() && last["num_peers"].is_u64(), "{last}");
}

#[test]
fn only_the_selected_files_are_got() {
    let dir = world();
    let seed = Seed::start(dir.path(), "photos.torrent", "data");
    check(dir.path(), &get(&["--peer", &seed.address, "--select", "1"]), 0, "photos: complete");
    same_files(dir.path(), &["photos/sub/b.jpg"]);
    assert!(!dir.path().join("out/photos/a.jpg").exists());
    check(dir.path(), &get(&["--select", "7"]), 2, "there is no file 7");
}

#[test]
fn a_get_that_is_interrupted_goes_on_later() {
    let dir = world();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = listener.local_addr().expect("an address").to_string();
    let mut child =
        command(dir.path()).args(get(&["--peer", &silent])).stderr(Stdio::piped()).spawn().expect("it starts");
    // It has connected: it runs.
    let (_peer, _) = listener.accept().expect("a connection");
    signal(&child, Signal::INT);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let mut text = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut text).expect("text");
    assert!(!text.contains("panicked"), "{text}");

    let seed = Seed::start(dir.path(), "photos.torrent", "data");
    check(dir.path(), &get(&["--peer", &seed.address]), 0, "photos: complete");
}

#[test]
fn a_seed_without_its_files_says_so() {
    let dir = world();
    std::fs::write(dir.path().join("data/photos/sub/b.jpg"), [3; 100]).expect("written");
    check(
        dir.path(),
        &["seed", "photos.torrent", "data", "--listen", "127.0.0.1:0", "--no-plugins"],
        1,
        "1 of 3 pieces",
    );
    check(dir.path(), &["seed", "photos.torrent", "nowhere"], 1, "nowhere: no such file or folder");
}

#[test]
fn ports_and_folders_that_cannot_be_used_are_named() {
    let dir = world();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    check(dir.path(), &["seed", "photos.torrent", "data", "--listen", &address, "--no-plugins"], 1, "in use");
    check(dir.path(), &get(&["--listen", &address]), 1, "in use");
    std::fs::write(dir.path().join("file"), "").expect("written");
    check(dir.path(), &["get", "photos.torrent", "-o", "file"], 1, "file: ");
    check(dir.path(), &get(&["--plugin-dir", "nowhere"]), 2, "--plugin-dir");
    check(
        dir.path(),
        &["get", "photos.torrent", "--plugin-dir", "nowhere"],
        1,
        "nowhere: there is no such plugin folder",
    );
}

#[test]
fn a_magnet_needs_a_way_to_find_peers_and_the_plugin() {
    let dir = world();
    let hash = "0123456789abcdef0123456789abcdef01234567";
    let magnet = format!("magnet:?xt=urn:btih:{hash}");
    for source in [hash, &magnet] {
        check(dir.path(), &["get", source], 1, "no way to find peers");
        let text = check(dir.path(), &["get", source, "--peer", "127.0.0.1:1", "--no-plugins"], 1, "libut_metadata.so");
        assert!(text.contains("--no-plugins"), "{text}");
    }
    let v2 = format!("magnet:?xt=urn:btmh:1220{}", "ab".repeat(32));
    check(dir.path(), &["get", &v2, "--peer", "127.0.0.1:1"], 1, "v2-only");
}

#[test]
fn two_processes_do_not_share_a_download() {
    let dir = world();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = listener.local_addr().expect("an address").to_string();
    let mut first =
        command(dir.path()).args(get(&["--peer", &silent])).stderr(Stdio::null()).spawn().expect("it starts");
    let (_peer, _) = listener.accept().expect("a connection");
    check(dir.path(), &get(&["--peer", &silent]), 1, &format!("process {}", first.id()));
    signal(&first, Signal::TERM);
    assert_eq!(first.wait().expect("it ends").code(), Some(130));
}

#[test]
fn a_torrent_file_is_fetched_from_a_web_server() {
    let dir = world();
    let torrent = std::fs::read(dir.path().join("photos.torrent")).expect("there");
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address");
    let thread = std::thread::spawn(move || {
        for body in [&torrent[..], b"<html>"] {
            let (mut stream, _) = server.accept().expect("a connection");
            let mut request = [0; 1024];
            let length = stream.read(&mut request).expect("a request");
            assert!(request[..length].starts_with(b"GET /photos.torrent "));
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())
                .expect("sent");
            stream.write_all(body).expect("sent");
        }
    });
    let url = format!("http://{address}/photos.torrent");
    let seed = Seed::start(dir.path(), "photos.torrent", "data");
    let args = ["get", &url, "-o", "out", "--no-plugins", "--peer", &seed.address];
    check(dir.path(), &args, 0, "photos: complete");
    same_files(dir.path(), &["photos/a.jpg", "photos/sub/b.jpg"]);
    check(dir.path(), &["show", &url], 1, "photos.torrent: not a torrent");
    thread.join().expect("both were asked for");
}

#[test]
fn several_torrents_are_got_at_once_and_one_that_fails_fails_the_whole() {
    let dir = world();
    check(dir.path(), &["create", "data/photos/a.jpg", "-o", "a.torrent"], 0, "");
    let photos = Seed::start(dir.path(), "photos.torrent", "data");
    let single = Seed::start(dir.path(), "a.torrent", "data/photos");
    let peers = ["--peer", &photos.address, "--peer", &single.address];
    let text = check(dir.path(), &get(&[&["a.torrent"], &peers[..]].concat()), 0, "photos: complete");
    assert!(text.contains("a.jpg: complete"), "{text}");
    same_files(dir.path(), &["photos/a.jpg", "photos/sub/b.jpg"]);

    let args = [&["get", "photos.torrent", "a.torrent", "-o", "other", "--no-plugins", "--timeout", "1s"], &peers[..2]];
    let text = check(dir.path(), &args.concat(), 1, "photos: complete");
    assert!(text.contains("reef: a.jpg: nothing arrived for 1s"), "{text}");
    check(dir.path(), &get(&["photos.torrent"]), 2, "named before");
}

#[test]
fn seeding_goes_on_for_the_time_that_was_asked_for() {
    let dir = world();
    let seed = Seed::start(dir.path(), "photos.torrent", "data");
    let start = std::time::Instant::now();
    check(dir.path(), &get(&["--peer", &seed.address, "--seed-time", "1s"]), 0, "photos: complete");
    assert!(start.elapsed() >= std::time::Duration::from_secs(1));
}
