//! `reef run`: commands in, answers out, and what is still there after a restart.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use reef_proto::hash::Sha1Hash;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{check, command, reef, world};

/// A `reef run` in a world. It is killed when it goes out of scope.
struct Run {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    ready: Value,
}

impl Run {
    fn start(dir: &Path, more: &[&str]) -> Self {
        let args = [&["run", "--state", "kept", "--no-plugins", "--listen", "127.0.0.1:0"], more].concat();
        let mut child =
            command(dir).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut run = Self { input: child.stdin.take(), child, output, ready: Value::Null };
        run.ready = run.line();
        assert_eq!(run.ready["event"], "ready", "{}", run.ready);
        run
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("it is open"), "{line}").expect("it listens");
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line:?}"))
    }

    fn ask(&mut self, command: &Value) -> Value {
        self.tell(&command.to_string());
        self.line()
    }

    #[track_caller]
    fn done(&mut self, command: &Value) -> Value {
        let answer = self.ask(command);
        assert_eq!(answer["ok"], true, "{command}: {answer}");
        answer
    }

    #[track_caller]
    fn refused(&mut self, command: &Value, words: &str) {
        let answer = self.ask(command);
        assert_eq!(answer["ok"], false, "{command}: {answer}");
        let error = answer["error"].as_str().expect("a text");
        assert!(error.contains(words), "{command}: {error}");
    }

    fn add_photos(&mut self) -> u64 {
        let add = json!({ "command": "add", "source": "photos.torrent", "save_path": "data", "seed_mode": true });
        self.done(&add)["torrent"].as_u64().expect("a number")
    }

    fn status(&mut self, torrent: u64) -> Value {
        self.done(&json!({ "command": "status", "torrent": torrent }))["status"].take()
    }

    fn torrents(&mut self) -> Vec<Value> {
        self.done(&json!({ "command": "status" }))["torrents"].as_array().expect("a list").clone()
    }

    fn peer(&self) -> TcpStream {
        let address = self.ready["listening"][0].as_str().expect("an address");
        let peer = TcpStream::connect(address).expect("it listens");
        peer.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("a timeout");
        peer
    }

    /// Ends it as `how`; returns the exit status and what else it said.
    fn end(mut self, how: impl FnOnce(&mut Self)) -> (Option<i32>, String) {
        how(&mut self);
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("text");
        (self.child.wait().expect("it ends").code(), rest)
    }

    fn interrupt(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("the process is there");
    }

    fn stop(self) {
        let (status, said) = self.end(|run| run.tell(r#"{"command":"stop","id":"bye"}"#));
        assert_eq!((status, said.trim()), (Some(0), r#"{"id":"bye","ok":true}"#));
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It has ended already if the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_was_added_is_there_after_a_restart_and_what_was_removed_is_not() {
    let dir = world();
    check(dir.path(), &["create", "data/photos/a.jpg", "-o", "a.torrent"], 0, "");
    let mut run = Run::start(dir.path(), &[]);
    assert_eq!(run.ready["torrents"], 0);
    let photos = run.add_photos();
    let single =
        run.done(&json!({ "command": "add", "source": "a.torrent", "save_path": "data/photos", "paused": true }));
    let single = single["torrent"].as_u64().expect("a number");
    assert_eq!(run.torrents().len(), 2);
    run.stop();

    let mut run = Run::start(dir.path(), &[]);
    assert_eq!(run.ready["torrents"], 2);
    let status = run.status(photos);
    assert_eq!(
        (&status["state"], &status["name"], &status["progress"]),
        (&json!("seeding"), &json!("photos"), &json!(1.0))
    );
    assert_eq!(run.status(single)["paused"], true);
    run.done(&json!({ "command": "remove", "torrent": photos }));
    run.refused(&json!({ "command": "status", "torrent": photos }), "there is no torrent");
    run.stop();

    let mut run = Run::start(dir.path(), &[]);
    let ids: Vec<Value> = run.torrents().iter().map(|torrent| torrent["torrent"].clone()).collect();
    assert_eq!(ids, [json!(single)]);
    assert!(dir.path().join("data/photos/sub/b.jpg").exists(), "its files were not to be deleted");
    let again = run.add_photos();
    assert!(again > single && again != photos, "a number is never used again");
    run.done(&json!({ "command": "remove", "torrent": again, "delete_files": true }));
    assert!(!dir.path().join("data/photos/sub/b.jpg").exists());
    run.stop();
}

#[test]
fn an_answered_change_survives_the_death_of_the_process() {
    let dir = world();
    let mut run = Run::start(dir.path(), &[]);
    let photos = run.add_photos();
    run.done(&json!({ "command": "pause", "torrent": photos }));
    run.child.kill().expect("it runs");
    run.child.wait().expect("it ends");
    drop(run);
    let mut run = Run::start(dir.path(), &[]);
    assert_eq!(run.status(photos)["paused"], true);
    run.done(&json!({ "command": "resume", "torrent": photos }));
    run.child.kill().expect("it runs");
    drop(run);
    let mut run = Run::start(dir.path(), &[]);
    assert_eq!(run.status(photos)["paused"], false);
}

#[test]
fn what_is_no_command_is_one_error_and_the_session_goes_on() {
    let dir = world();
    let mut run = Run::start(dir.path(), &[]);
    for (line, words) in [
        ("{", "this is no JSON"),
        ("[]", "a command is a JSON object"),
        ("\u{1}\u{2}", "this is no JSON"),
        (r#"{"command":"fly"}"#, "there is no command \"fly\""),
        (&"x".repeat(3 << 20), "a line is longer than 1048576 bytes"),
        (r#"{"command":"add","source":"nothing.torrent"}"#, "nothing.torrent: no such file"),
        (r#"{"command":"add","source":"data/photos/a.jpg"}"#, "a.jpg: "),
        (r#"{"command":"set","settings":{"connections_limit":1}}"#, "setting connections_limit takes"),
        (r#"{"command":"subscribe","categories":["everything"]}"#, "there is no category"),
        (r#"{"command":"files","torrent":99}"#, "there is no torrent 99"),
    ] {
        run.tell(line);
        let answer = run.line();
        let error = answer["error"].as_str().unwrap_or_else(|| panic!("{answer}"));
        assert!(answer["ok"] == false && error.contains(words), "{error}");
    }
    run.tell("\n\n");
    assert_eq!(run.ask(&json!({ "command": "stats", "id": [1, null] }))["id"], json!([1, null]));
    run.stop();
}

#[test]
fn files_peers_settings_and_events_can_be_asked_for() {
    let dir = world();
    let mut run = Run::start(dir.path(), &[]);
    run.done(&json!({ "command": "subscribe", "categories": ["status"] }));
    // Events come beside answers: the one of the torrent may come before the answer or after it.
    run.tell(&json!({ "command": "add", "id": 1, "source": "photos.torrent", "save_path": "data" }).to_string());
    let (mut events, mut torrent) = (Vec::new(), None);
    while torrent.is_none() || !events.iter().any(|event| event == "torrent_finished") {
        let line = run.line();
        torrent = torrent.or_else(|| line["torrent"].as_u64().filter(|_| line["ok"] == true));
        events.extend(line["event"].as_str().map(str::to_owned));
    }
    assert!(events.iter().any(|event| event == "torrent_added"), "{events:?}");
    run.tell(r#"{"command":"unsubscribe","id":"last"}"#);
    while run.line()["id"] != "last" {}
    let torrent = torrent.expect("it was added");
    let files = run.done(&json!({ "command": "files", "torrent": torrent }));
    assert_eq!(files["files"][0]["size"], 40_000);
    assert_eq!(files["files"][0]["done"], 40_000);
    assert_eq!(run.done(&json!({ "command": "peers", "torrent": torrent }))["peers"], json!([]));
    run.done(&json!({ "command": "set", "settings": { "connections_limit": 50, "upload_rate_limit": 1_000_000 } }));
    run.done(&json!({ "command": "set_files", "torrent": torrent, "priorities": [[1, 7]] }));
    assert_eq!(run.done(&json!({ "command": "files", "torrent": torrent }))["files"][1]["priority"], 7);
    assert_eq!(run.done(&json!({ "command": "plugins" }))["plugins"], json!([]));
    assert_eq!(run.done(&json!({ "command": "stats" }))["stats"]["ses.num_torrents"], 1);
    run.refused(&json!({ "command": "set_files", "torrent": torrent, "priorities": [[9, 7]] }), "there is no file 9");
    run.stop();
}

#[test]
fn the_end_of_input_changes_nothing_unless_it_is_to_and_an_interrupt_ends_it() {
    let dir = world();
    let add = json!({ "command": "add", "source": "photos.torrent", "save_path": "data", "seed_mode": true });
    let run = Run::start(dir.path(), &["--exit-on-eof"]);
    let (status, said) = run.end(|run| {
        run.tell(&add.to_string());
        run.input = None;
    });
    assert_eq!(status, Some(0));
    assert!(said.contains("\"ok\":true"), "what was asked for is done first: {said}");

    let mut run = Run::start(dir.path(), &[]);
    assert_eq!(run.ready["torrents"], 1);
    run.input = None;
    // It still serves.
    let mut peer = run.peer();
    shake_hands(&mut peer, info_hash(dir.path()));
    let (status, _) = run.end(Run::interrupt);
    assert_eq!(status, Some(130));
}

#[test]
fn two_sessions_do_not_share_a_state() {
    let dir = world();
    let run = Run::start(dir.path(), &[]);
    let words = format!("process {}", run.child.id());
    check(dir.path(), &["run", "--state", "kept", "--no-plugins", "--listen", "127.0.0.1:0"], 1, &words);
    run.stop();
}

fn info_hash(dir: &Path) -> [u8; 20] {
    let shown = reef(dir, ["show", "--json", "photos.torrent"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let hash: Sha1Hash = shown["info_hash_v1"].as_str().expect("a text").parse().expect("a hash");
    *hash.as_bytes()
}

/// Shakes hands as a peer of BEP 3.
fn shake_hands(peer: &mut TcpStream, info_hash: [u8; 20]) {
    let hello = [&b"\x13BitTorrent protocol"[..], &[0; 8], &info_hash, b"-XX0001-abcdefghijkl"].concat();
    peer.write_all(&hello).expect("sent");
    let mut answer = [0; 68];
    peer.read_exact(&mut answer).expect("it answers");
    assert_eq!(answer[28..48], info_hash);
}

/// Reads messages until one of this kind comes, and returns its payload.
fn message(peer: &mut TcpStream, kind: u8) -> Vec<u8> {
    loop {
        let mut length = [0; 4];
        peer.read_exact(&mut length).expect("a message");
        let mut message = vec![0; u32::from_be_bytes(length) as usize];
        peer.read_exact(&mut message).expect("a message");
        if message.first() == Some(&kind) {
            return message.split_off(1);
        }
    }
}

#[test]
fn a_peer_of_a_torrent_that_sleeps_is_served_and_one_whose_files_are_gone_is_not() {
    let dir = world();
    let mut run = Run::start(dir.path(), &[]);
    let torrent = run.add_photos();
    let mut peer = run.peer();
    // All at once: what comes while the torrent wakes is not lost.
    let hash = info_hash(dir.path());
    let hello = [&b"\x13BitTorrent protocol"[..], &[0; 8], &hash, b"-XX0001-abcdefghijkl", &[0, 0, 0, 1, 2]].concat();
    peer.write_all(&hello).expect("sent");
    peer.read_exact(&mut [0; 68]).expect("it answers");
    assert_eq!(message(&mut peer, 5), [0b1110_0000], "its pieces");
    message(&mut peer, 1);
    peer.write_all(&[0, 0, 0, 13, 6, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0x10, 0]).expect("sent");
    let block = message(&mut peer, 7);
    assert!(block[8..] == [1; 4096], "the block is not that of the file");
    run.stop();

    std::fs::remove_file(dir.path().join("data/photos/a.jpg")).expect("it was there");
    let mut run = Run::start(dir.path(), &[]);
    let mut peer = run.peer();
    peer.write_all(&hello).expect("sent");
    assert!(peer.read_exact(&mut [0; 68]).is_err(), "it is served what is not there");
    assert_ne!(run.status(torrent)["state"], "seeding");
    run.stop();
}

#[test]
fn every_command_of_the_documentation_does_what_it_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/run.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let commands: Vec<&str> = page.lines().filter(|line| line.starts_with("{\"command\"")).collect();
    assert!(commands.len() >= 17, "{commands:?}");
    let dir = world();
    let mut run = Run::start(dir.path(), &[]);
    for command in commands {
        run.tell(command);
        // Events come in between.
        let answer = loop {
            let line = run.line();
            if line["event"].is_null() {
                break line;
            }
        };
        assert_eq!(answer["ok"], true, "{command}: {answer}");
    }
    assert_eq!(run.child.wait().expect("the last one is to stop").code(), Some(0));
}
