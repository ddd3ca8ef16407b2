//! The hooks without a host: what is chosen reaches a server and a command, the rest does not.

use event_hooks::EventHooks;
use reef_plugin_api::testing::FakeHost;
use reef_plugin_api::{Alert, TorrentId, TorrentInfo};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;

/// Answers one POST and returns its body.
fn serve_one(listener: &TcpListener) -> String {
    let (stream, _) = listener.accept().expect("the plugin connects");
    let mut reader = BufReader::new(&stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a head");
        if let Some(number) = line.strip_prefix("Content-Length: ") {
            length = number.trim().parse().expect("a number");
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    (&stream).write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("answered");
    String::from_utf8(body).expect("JSON")
}

#[test]
fn a_chosen_alert_is_posted_as_json() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let host = FakeHost::new();
    let mut info = TorrentInfo::default();
    info.info_hash_v1 = Some([0xab; 20]);
    host.set_torrent(TorrentId(1), info);
    let settings = format!("on = [\"torrent_finished\"]\nurl = \"{url}\"");
    let mut session = host.start::<EventHooks>(&settings).expect("good settings");
    for what in ["peer_connected", "torrent_finished"] {
        let alert = Alert::new(7, 0x40, what, "a \"film\" is there").with_torrent(TorrentId(1));
        let alert = alert.with_data(b"d4:name6:a film7:torrenti1ee");
        session.on_alert(&host.session_call(), &alert);
    }
    let body: serde_json::Value = serde_json::from_str(&serve_one(&listener)).expect("JSON");
    let expected = serde_json::json!({
        "event": "torrent_finished",
        "kind": 7,
        "category": 0x40,
        "message": "a \"film\" is there",
        "info_hash": "ab".repeat(20),
        "micros": body["micros"].as_u64().expect("a time"),
        "torrent": 1,
        "fields": { "name": "a film", "torrent": 1 },
    });
    assert_eq!(body, expected);
    session.abort(&host.session_call());
    assert_eq!(host.log_lines(), Vec::<String>::new());
}

/// Runs a shell's script for this alert, and returns what it wrote to `$OUT`.
#[cfg(unix)]
fn run_script(name: &str, script: &str, alert: &Alert<'_>) -> String {
    let file = std::env::temp_dir().join(format!("reef-event-hooks-{name}-{}", std::process::id()));
    let host = FakeHost::new();
    let script = format!("OUT='{}'; {script}", file.display());
    let settings = format!("on = [\"*\"]\ncommand = [\"sh\", \"-c\", {script:?}]");
    let mut session = host.start::<EventHooks>(&settings).expect("good settings");
    session.on_alert(&host.session_call(), alert);
    session.abort(&host.session_call());
    assert_eq!(host.log_lines(), Vec::<String>::new());
    let written = std::fs::read_to_string(&file).expect("the command ran");
    std::fs::remove_file(&file).expect("removed");
    written
}

#[cfg(unix)]
#[test]
fn a_command_gets_the_event_in_its_environment() {
    let script = "printf '%s: %s' \"$REEF_EVENT $REEF_KIND $REEF_CATEGORY $REEF_TORRENT\" \"$REEF_MESSAGE\" > \"$OUT\"";
    let alert = Alert::new(7, 1, "torrent_error", "$(oops); disk full").with_torrent(TorrentId(3));
    assert_eq!(run_script("environment", script, &alert), "torrent_error 7 1 3: $(oops); disk full");
}

#[cfg(unix)]
#[test]
fn a_command_gets_all_of_the_event_in_its_input() {
    let alert = Alert::new(7, 1, "torrent_error", "disk full").with_data(b"d10:error_code7:no_roome");
    let body: serde_json::Value = serde_json::from_str(&run_script("input", "cat > \"$OUT\"", &alert)).expect("JSON");
    assert_eq!((&body["torrent"], &body["fields"]["error_code"]), (&serde_json::Value::Null, &"no_room".into()));
}

#[test]
fn a_failing_command_is_a_line_in_the_log() {
    let host = FakeHost::new();
    let mut session =
        host.start::<EventHooks>("on = [\"*\"]\ncommand = [\"/no/such/program\"]").expect("good settings");
    session.on_alert(&host.session_call(), &Alert::new(7, 1, "torrent_error", "disk full"));
    session.abort(&host.session_call());
    let lines = host.log_lines();
    assert!(lines.iter().any(|line| line.contains("/no/such/program")), "{lines:?}");
}

#[test]
fn settings_that_mean_nothing_are_refused() {
    for (settings, words) in [("onn = []", "onn"), ("url = \"https://a.example\"", "http://")] {
        let error = FakeHost::new().start::<EventHooks>(settings).err().expect("refused");
        assert!(error.contains(words), "{settings}: {error}");
    }
}
