//! Announces as trackers see them: a session with magnets, whose outputs are read and answered by hand.

use super::*;
use crate::add_torrent::{AddTorrent, TorrentFlags};
use crate::command::{Command, Reply};
use crate::hooks::NoHooks;
use crate::ids::{ListenerId, ReplyToken};
use crate::input::Input;
use crate::session::SessionConfig;
use crate::settings::Settings;
use reef_proto::hash::InfoHashes;

const TRACKER: &str = "http://tracker.example/announce";

struct Test {
    session: Session,
    second: u64,
    alerts: Vec<Alert>,
}

impl Test {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut config = SessionConfig::default();
        change(&mut config.settings);
        let mut test = Self { session: Session::new(config), second: 0, alerts: Vec::new() };
        test.give(Input::Listening { listener: ListenerId(1), local: "0.0.0.0:6881".parse().unwrap() });
        test
    }

    /// What the session does about an input, without alerts and what goes to the store.
    fn give(&mut self, input: Input) -> Vec<Output> {
        self.session.handle(Time::from_secs(self.second), input, &mut NoHooks);
        let mut outputs = Vec::new();
        while let Some(output) = self.session.poll() {
            match output {
                Output::Alert(alert) => self.alerts.push(alert),
                Output::Store(_) => {}
                output => outputs.push(output),
            }
        }
        outputs
    }

    fn command(&mut self, command: Command) -> Vec<Output> {
        self.give(Input::Command { token: ReplyToken(1), command })
    }

    /// The session's time goes on, second by second.
    fn wait(&mut self, seconds: u64) -> Vec<Output> {
        (0..seconds).flat_map(|_| self.second()).collect()
    }

    fn second(&mut self) -> Vec<Output> {
        self.second += 1;
        self.give(Input::Timeout)
    }

    /// Adds a magnet; its number and what is done about it.
    fn add(&mut self, hash: u8, tiers: &[&[&str]]) -> (TorrentId, Vec<Output>) {
        let info_hashes = InfoHashes::from_v1([hash; 20].into());
        let trackers = tiers.iter().map(|tier| tier.iter().map(|&url| url.to_owned()).collect()).collect();
        let params = AddTorrent { info_hashes, trackers, flags: TorrentFlags(0), ..AddTorrent::default() };
        let outputs = self.command(Command::AddTorrent(Box::new(params)));
        let id = outputs.iter().find_map(|output| match output {
            Output::Reply { reply: Reply::Added(id), .. } => Some(*id),
            _ => None,
        });
        (id.unwrap(), outputs)
    }

    fn answer(&mut self, request: &HttpRequest, status: u16, body: &[u8]) -> Vec<Output> {
        let body = Bytes::copy_from_slice(body);
        self.give(Input::Http { id: request.id, result: Ok(HttpReply { status, body }) })
    }

    /// Text of each tracker error, and how often that tracker failed.
    fn errors(&self) -> Vec<(&str, u32)> {
        let error = |alert| match alert {
            &Alert::TrackerError { ref message, fails, .. } => Some((message.as_str(), fails)),
            _ => None,
        };
        self.alerts.iter().filter_map(error).collect()
    }
}

fn requests(outputs: Vec<Output>) -> Vec<HttpRequest> {
    let request = |output| match output {
        Output::Http(request) => Some(request),
        _ => None,
    };
    outputs.into_iter().filter_map(request).collect()
}

fn packets(outputs: Vec<Output>) -> Vec<(SocketAddr, Bytes)> {
    let packet = |output| match output {
        Output::Datagram { to, data } => Some((to, data)),
        _ => None,
    };
    outputs.into_iter().filter_map(packet).collect()
}

fn one<T: std::fmt::Debug>(mut list: Vec<T>) -> T {
    assert_eq!(list.len(), 1, "{list:?}");
    list.remove(0)
}

/// A parameter of an announce's URL.
fn parameter<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    let (_, query) = request.url.split_once('?').unwrap();
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn event(request: &HttpRequest) -> &str {
    parameter(request, "event").unwrap_or("none")
}

#[test]
fn a_magnet_is_announced_and_the_peers_are_dialled() {
    let mut test = Test::new();
    let (_, outputs) = test.add(1, &[&[TRACKER]]);
    let request = one(requests(outputs));
    assert!(request.url.starts_with(TRACKER), "{}", request.url);
    assert_eq!((request.timeout_secs, request.max_body), (30, 1 << 20));
    assert_eq!(request.user_agent, Settings::default().user_agent);
    let expected = [
        ("info_hash", "%01".repeat(20)),
        ("port", "6881".to_owned()),
        ("uploaded", "0".to_owned()),
        ("downloaded", "0".to_owned()),
        ("left", "16384".to_owned()),
        ("event", "started".to_owned()),
        ("numwant", "200".to_owned()),
    ];
    for (name, value) in expected {
        assert_eq!(parameter(&request, name), Some(value.as_str()), "{name}");
    }
    let body = b"d8:intervali900e5:peers18:\x7f\0\0\x01\x1a\xe1\0\0\0\0\0\x01\x01\x02\x03\x04\0\x00e";
    let outputs = test.answer(&request, 200, body);
    let dialled: Vec<_> = outputs.iter().filter(|output| matches!(output, Output::Dial { .. })).collect();
    assert!(matches!(dialled[..], [Output::Dial { address, .. }] if address.to_string() == "127.0.0.1:6881"));
    assert_eq!(test.session.counters.tracker_replies, 1);
    assert!(test.alerts.iter().any(|a| matches!(a, Alert::TrackerReply { peers: 3, .. })));
    assert!(requests(test.wait(899)).is_empty());
    let again = one(requests(test.wait(1)));
    assert_eq!((event(&again), parameter(&again, "key")), ("none", parameter(&request, "key")));
}

#[test]
fn without_a_listening_socket_a_torrent_waits_a_moment_and_says_port_1() {
    let config = SessionConfig::default();
    let mut test = Test { session: Session::new(config), second: 0, alerts: Vec::new() };
    let (_, outputs) = test.add(1, &[&[TRACKER]]);
    assert!(requests(outputs).is_empty());
    assert_eq!(parameter(&one(requests(test.wait(1))), "port"), Some("1"));
}

#[test]
fn failures_are_told_in_one_sentence() {
    let refused = b"d14:failure reason12:unregisterede";
    let cases: [(u16, &[u8], &str); 6] = [
        (200, refused, "the tracker says: unregistered"),
        (400, refused, "the tracker says: unregistered (HTTP status 400)"),
        (404, b"<html>", "the tracker's server answered with HTTP status 404"),
        (500, b"de", "the tracker's server answered with HTTP status 500"),
        (302, b"", "the tracker's server answered with HTTP status 302"),
        (200, b"d5:peersi1ee", "the tracker's list of peers is malformed"),
    ];
    for (status, body, text) in cases {
        let mut test = Test::new();
        let (_, outputs) = test.add(1, &[&[TRACKER]]);
        test.answer(&one(requests(outputs)), status, body);
        assert_eq!(test.errors(), [(text, 1)]);
        assert_eq!(test.session.counters.tracker_errors, 1);
    }
    let mut test = Test::new();
    let (_, outputs) = test.add(1, &[&[TRACKER]]);
    test.give(Input::Http { id: one(requests(outputs)).id, result: Err("connection refused".to_owned()) });
    assert_eq!(test.errors(), [("connection refused", 1)]);
}

#[test]
fn the_next_tier_is_asked_at_once_when_the_first_fails() {
    let mut test = Test::new();
    let (_, outputs) = test.add(1, &[&[TRACKER], &["http://second.example/announce"]]);
    let outputs = test.answer(&one(requests(outputs)), 503, b"");
    assert!(one(requests(outputs)).url.starts_with("http://second.example/"));
}

#[test]
fn a_url_that_cannot_be_asked_fails_without_a_request() {
    let mut test = Test::new();
    let (id, outputs) = test.add(1, &[&["wss://tracker.example/"]]);
    assert!(requests(outputs).is_empty());
    assert!(requests(test.wait(10)).is_empty());
    assert_eq!(test.errors(), [("trackers are reached over http, https or udp, not `wss`", 1)]);
    test.command(Command::Pause(id));
    assert!(!test.session.trackers.is_busy());
}

#[test]
fn in_the_local_network_only_what_looks_like_a_tracker_is_asked() {
    let cases = [
        ("http://127.0.0.1:8080/announce", true),
        ("http://127.0.0.1:8080/announce?passkey=1", true),
        ("https://192.168.1.1/key/announce.php", true),
        ("http://[::1]:80/announce", true),
        ("http://localhost:80/announce", true),
        ("udp://127.0.0.1:6969", true),
        ("http://tracker.example/anything", true),
        ("http://127.0.0.1:8080/shutdown", false),
        ("http://0x7f.1/shutdown", false),
        ("http://127.0.0.1/shutdown?/announce", false),
        ("http://127.0.0.1/announcement", false),
        ("http://10.0.0.1/", false),
        ("http://localhost/api/announce/stop", false),
        ("http://router.local/reboot", false),
        ("http://[::ffff:127.0.0.1]/shutdown", false),
    ];
    for (url, expected) in cases {
        assert_eq!(check_url(url).is_ok(), expected, "{url}");
    }
}

#[test]
fn a_removed_torrent_says_goodbye_once() {
    let mut test = Test::new();
    let (id, outputs) = test.add(1, &[&[TRACKER]]);
    test.answer(&one(requests(outputs)), 200, b"d8:intervali900ee");
    let outputs = test.command(Command::RemoveTorrent { torrent: id, delete_files: false });
    let goodbye = one(requests(outputs));
    assert_eq!((event(&goodbye), parameter(&goodbye, "numwant"), goodbye.timeout_secs), ("stopped", Some("0"), 3));
    assert!(test.session.torrents.is_empty() && test.session.trackers.is_busy());
    test.answer(&goodbye, 200, b"de");
    assert!(!test.session.trackers.is_busy() && test.session.trackers.keys.is_empty());
    assert!(requests(test.wait(2000)).is_empty());
}

#[test]
fn a_pause_cancels_what_is_under_way_and_a_resume_begins_again() {
    let mut test = Test::new();
    let (id, outputs) = test.add(1, &[&[TRACKER]]);
    let first = one(requests(outputs));
    let outputs = test.command(Command::Pause(id));
    assert!(outputs.iter().any(|output| matches!(output, Output::CancelHttp(request) if *request == first.id)));
    let goodbye = one(requests(outputs));
    assert_eq!(event(&goodbye), "stopped");
    assert!(test.answer(&first, 200, b"de").is_empty());
    assert!(requests(test.command(Command::Resume(id))).is_empty(), "the goodbye is still on its way");
    assert!(requests(test.command(Command::Pause(id))).is_empty(), "it is on its way already");
    test.command(Command::Resume(id));
    let outputs = test.answer(&goodbye, 200, b"de");
    assert_eq!(event(&one(requests(outputs))), "started");
}

#[test]
fn what_a_tracker_has_not_heard_of_a_completion_it_hears_before_the_goodbye() {
    // At what moment the download is complete: while `started` is under way, or later. Whether the torrent then goes.
    for (early, removed) in [(true, false), (false, false), (true, true), (false, true)] {
        let mut test = Test::new();
        let (id, outputs) = test.add(1, &[&[TRACKER]]);
        let mut request = one(requests(outputs));
        if !early {
            test.answer(&request, 200, b"de");
        }
        test.session.announce_completed(id);
        if !early {
            request = one(requests(test.give(Input::Timeout)));
        }
        let stop = if removed { Command::RemoveTorrent { torrent: id, delete_files: false } } else { Command::Stop };
        assert!(requests(test.command(stop)).is_empty(), "two that are under way may arrive in either order");
        let mut heard = vec![event(&request).to_owned()];
        while let [next] = &requests(test.answer(&request, 200, b"de"))[..] {
            heard.push(event(next).to_owned());
            request = next.clone();
        }
        let expected: &[&str] = if early { &["started", "completed", "stopped"] } else { &["completed", "stopped"] };
        assert_eq!(heard, expected);
        assert!(!test.session.trackers.is_busy());
    }
}

#[test]
fn a_tracker_that_fails_hears_only_what_it_may_want_to_hear() {
    let mut test = Test::new();
    let (id, outputs) = test.add(1, &[&[TRACKER]]);
    test.session.announce_completed(id);
    test.command(Command::Pause(id));
    assert!(test.answer(&one(requests(outputs)), 500, b"").is_empty(), "it did not take `started`");
    assert!(!test.session.trackers.is_busy());
    let started = one(requests(test.command(Command::Resume(id))));
    test.answer(&started, 200, b"de");
    test.session.announce_completed(id);
    let completed = one(requests(test.give(Input::Timeout)));
    test.command(Command::Pause(id));
    assert_eq!(event(&one(requests(test.answer(&completed, 500, b"")))), "stopped");
}

#[test]
fn a_stop_waits_for_the_goodbyes_but_not_for_long() {
    for answered in [true, false] {
        let mut test = Test::new();
        let (_, outputs) = test.add(1, &[&[TRACKER]]);
        test.answer(&one(requests(outputs)), 200, b"de");
        let goodbye = one(requests(test.command(Command::Stop)));
        assert_eq!(event(&goodbye), "stopped");
        let outputs = if answered { test.answer(&goodbye, 200, b"de") } else { test.wait(3) };
        assert!(matches!(outputs.last(), Some(Output::Stopped)), "{outputs:?}");
        let cancelled = outputs.iter().any(|output| matches!(output, Output::CancelHttp(_)));
        assert_eq!(cancelled, !answered);
    }
}

#[test]
fn thousands_of_torrents_take_turns() {
    let mut test = Test::new();
    let mut asked = Vec::new();
    for hash in 0..100 {
        asked.extend(requests(test.add(hash, &[&[TRACKER]]).1));
    }
    assert_eq!(asked.len(), 64);
    for at in 0..100 {
        let request: HttpRequest = asked[at].clone();
        asked.extend(requests(test.answer(&request, 200, b"de")));
    }
    assert_eq!(asked.len(), 100);
    assert!(!test.session.trackers.is_busy());
}

#[test]
fn udp_trackers_are_resolved_once_and_asked() {
    let mut test = Test::new();
    let url = "udp://tracker.example:6969/announce";
    let (_, first) = test.add(1, &[&[url]]);
    let (_, second) = test.add(2, &[&[url]]);
    let question = one(first
        .iter()
        .chain(&second)
        .filter_map(|output| match output {
            Output::Resolve { id, host } if host == "tracker.example" => Some(*id),
            _ => None,
        })
        .collect());
    let addresses = vec!["2001:db8::1".parse().unwrap(), "0.0.0.0".parse().unwrap(), "192.0.2.1".parse().unwrap()];
    let connects = packets(test.give(Input::Resolved { id: question, result: Ok(addresses) }));
    let tracker: SocketAddr = "192.0.2.1:6969".parse().unwrap();
    assert_eq!(connects.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [tracker, tracker]);
    for (_, connect) in connects {
        let number = &connect[12..16];
        let data = [&[0; 4][..], number, &[9; 4], &[9; 4]].concat().into();
        let announce = one(packets(test.give(Input::Datagram { from: tracker, data }))).1;
        assert_eq!(&announce[..12], [9, 9, 9, 9, 9, 9, 9, 9, 0, 0, 0, 1]);
        assert!(announce.ends_with(b"\x02\x09/announce"));
        let number = &announce[12..16];
        let data: Bytes = [&[0, 0, 0, 1][..], number, &[0, 0, 7, 8], &[0; 8], &[127, 0, 0, 1, 9, 9]].concat().into();
        let outputs = test.give(Input::Datagram { from: tracker, data });
        assert!(outputs.iter().any(|output| matches!(output, Output::Dial { .. })));
    }
    assert!(!test.session.trackers.is_busy());
    assert_eq!(test.session.counters.tracker_replies, 2);
    assert_eq!(packets(test.wait(1799)).len(), 0);
    let later = test.wait(1);
    assert!(later.iter().any(|output| matches!(output, Output::Resolve { .. })), "names are not believed for long");
}

#[test]
fn udp_trackers_that_cannot_be_reached_fail() {
    let mut test = Test::new();
    let (_, outputs) = test.add(1, &[&["udp://tracker.example:6969"]]);
    let Some(Output::Resolve { id, .. }) = outputs.into_iter().find(|o| matches!(o, Output::Resolve { .. })) else {
        panic!("no question")
    };
    test.give(Input::Resolved { id, result: Err("no such host".to_owned()) });
    test.wait(1);
    assert_eq!(test.errors(), [("the tracker's name was not resolved: no such host", 1)]);

    let mut test = Test::new();
    let (_, outputs) = test.add(1, &[&["udp://192.0.2.1:6969"]]);
    assert_eq!(packets(outputs).len(), 1);
    assert_eq!(packets(test.wait(29)).len(), 1);
    test.wait(1);
    assert_eq!(test.errors(), [("no answer within 30 s", 1)]);
}

#[test]
fn an_announce_by_hand_keeps_to_the_minimum_interval() {
    let mut test = Test::with(|settings| settings.min_announce_interval = 60);
    let (id, outputs) = test.add(1, &[&[TRACKER]]);
    test.answer(&one(requests(outputs)), 200, b"d8:intervali900e12:min intervali100ee");
    assert!(requests(test.command(Command::Announce(id))).is_empty());
    assert!(requests(test.wait(99)).is_empty());
    assert_eq!(requests(test.wait(1)).len(), 1);
}
