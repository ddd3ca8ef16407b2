//! The evil plugin in a session: hooks reach it, its answers count, and its failures stay inside.

use crate::rig::{PEER, Rig, TORRENT, describe, write_plugin};
use bytes::Bytes;
use reef_engine::Hooks as _;
use reef_engine::hooks::{
    ExtendedMessage, PeerEvent, ReceivedBlock, SessionEvent, TorrentEvent, Verdict, peer_bits, session_bits,
    torrent_bits,
};
use reef_proto::message::BlockRequest;
use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

fn extended<'a>(name: &'a str, payload: &'a Bytes) -> PeerEvent<'a> {
    PeerEvent::Extended(ExtendedMessage { name, payload })
}

#[test]
fn the_session_calls_for_what_is_implemented_and_no_more() {
    let mut rig = Rig::new(&[("evil", "")]);
    let (torrent, peer) = rig.add();
    assert_eq!(torrent, torrent_bits::PieceFailed | torrent_bits::Metadata);
    let peer_hooks = peer_bits::ExtensionHandshake | peer_bits::Extended | peer_bits::Have | peer_bits::Piece;
    assert_eq!(peer, peer_hooks | peer_bits::Disconnect);
    assert_eq!(rig.host.session_mask(), session_bits::Tick | session_bits::Abort);
    assert_eq!(rig.calls(), ["evil added", "evil new_torrent", "evil new_connection"]);
    assert_eq!(rig.peer(&PeerEvent::Choke), Verdict::Pass);
    assert_eq!(rig.calls(), [""; 0]);
}

#[test]
fn a_host_without_plugins_wants_nothing() {
    let mut rig = Rig::new(&[]);
    assert_eq!((rig.host.session_mask(), rig.add()), (0, (0, 0)));
}

#[test]
fn standard_plugins_are_asked_first_and_the_others_by_name() {
    let names = ["aaa", "smart_ban", "zzz", "ut_metadata", "ut_pex"];
    let mut rig = Rig::connected(&names.map(|name| (name, "")));
    rig.calls();
    rig.peer(&PeerEvent::Have(1));
    let expected = ["ut_pex", "ut_metadata", "smart_ban", "aaa", "zzz"];
    assert_eq!(rig.calls(), expected.map(|name| format!("{name} on_have")));
}

#[test]
fn a_block_reaches_the_plugin_whole() {
    let mut rig = Rig::connected(&[("evil", "")]);
    rig.calls();
    let request = BlockRequest { piece: 1, begin: 2, length: 3 };
    rig.peer(&PeerEvent::Piece(ReceivedBlock { request, data: &Bytes::from_static(b"abc") }));
    assert_eq!(rig.calls(), ["evil on_piece abc"]);
}

#[test]
fn handled_ends_the_chain() {
    let mut rig = Rig::connected(&[("one", "at = \"on_have\"\ndo = \"handled\""), ("two", "")]);
    rig.calls();
    assert_eq!(rig.peer(&PeerEvent::Have(1)), Verdict::Handled);
    assert_eq!(rig.calls(), ["one on_have"]);
}

#[test]
fn an_error_of_a_peer_hook_closes_the_peer() {
    let mut rig = Rig::connected(&[("one", "at = \"on_have\"\ndo = \"error\""), ("two", "")]);
    assert_eq!(rig.peer(&PeerEvent::Have(1)), Verdict::Close("one: ordered to fail".to_owned()));
    assert_eq!(rig.quarantined("one"), None);
}

#[test]
fn an_error_of_a_new_connection_closes_the_peer() {
    let mut rig = Rig::connected(&[("one", "at = \"new_connection\"\ndo = \"error\"")]);
    let calls = rig.calls();
    assert_eq!(calls.last().map(String::as_str), Some("disconnect one: ordered to fail"));
}

#[test]
fn an_error_of_a_torrent_hook_is_passed_over() {
    let mut rig = Rig::connected(&[("one", "at = \"on_piece_failed\"\ndo = \"error\""), ("two", "")]);
    rig.calls();
    assert_eq!(rig.torrent(&TorrentEvent::PieceFailed(1)), Verdict::Pass);
    assert_eq!(rig.calls(), ["one on_piece_failed", "two on_piece_failed"]);
}

#[test]
fn a_peer_object_that_detaches_is_asked_no_more() {
    let mut rig = Rig::connected(&[("one", "at = \"on_extension_handshake\"\ndo = \"detach\""), ("two", "")]);
    rig.calls();
    assert_eq!(rig.peer(&PeerEvent::ExtensionHandshake(b"de")), Verdict::Pass);
    assert!(rig.actions.masks_changed());
    assert_eq!(rig.calls(), ["one on_extension_handshake", "two on_extension_handshake"]);
    rig.peer(&PeerEvent::Have(1));
    assert_eq!(rig.calls(), ["two on_have"]);
}

#[test]
fn a_torrent_object_that_detaches_takes_its_peers_along() {
    let settings = "at = \"on_metadata\"\ndo = \"detach\"\nclaim = \"x_one\"";
    let mut rig = Rig::connected(&[("one", settings), ("two", "")]);
    assert_eq!(rig.handshake().names, ["x_one"]);
    rig.calls();
    rig.torrent(&TorrentEvent::Metadata);
    assert!(rig.actions.masks_changed() && rig.actions.handshakes_changed());
    assert_eq!(rig.calls(), ["one on_metadata", "two on_metadata"]);
    rig.peer(&PeerEvent::Have(1));
    assert_eq!(rig.calls(), ["two on_have"]);
    assert_eq!(rig.handshake().names, [""; 0]);
    rig.torrent(&TorrentEvent::Metadata);
    assert_eq!(rig.quarantined("one"), None);
}

#[test]
fn a_session_object_that_detaches_keeps_what_it_has_and_gets_nothing_new() {
    let mut rig = Rig::connected(&[("one", "at = \"on_tick\"\ndo = \"detach\""), ("two", "")]);
    rig.calls();
    rig.session(&SessionEvent::Tick);
    rig.session(&SessionEvent::Tick);
    assert_eq!(rig.calls(), ["one on_tick", "two on_tick", "two on_tick"]);
    rig.peer(&PeerEvent::Have(1));
    assert_eq!(rig.calls(), ["one on_have", "two on_have"]);
    rig.host.remove_torrent(TORRENT);
    rig.add();
    assert_eq!(rig.calls(), ["two new_torrent", "two new_connection"]);
}

#[test]
fn a_message_goes_to_the_plugin_that_claimed_it() {
    let mut rig = Rig::connected(&[("one", "claim = \"x_one\""), ("two", "claim = \"x_two\"")]);
    let entries = rig.handshake();
    assert_eq!(entries.names, ["x_one", "x_two"]);
    assert_eq!(entries.entries.last(), Some(&("x_evil".to_owned(), Bytes::from_static(b"i1e"))));
    rig.calls();
    rig.peer(&extended("x_two", &Bytes::from_static(b"hello")));
    assert_eq!(rig.calls(), ["send x_two hello", "two on_extended"]);
    rig.peer(&extended("x_three", &Bytes::from_static(b"hello")));
    assert_eq!(rig.calls(), [""; 0]);
    let claims: Vec<_> = rig.host.plugins().into_iter().map(|plugin| plugin.extensions).collect();
    assert_eq!(claims, [["x_one"], ["x_two"]]);
}

#[test]
fn a_claimed_message_is_not_given_to_a_second_plugin_until_the_first_has_gone() {
    let order = "claim = \"x\"\nat = \"on_have\"\ndo = \"panic\"";
    let mut rig = Rig::connected(&[("one", order), ("two", "claim = \"x\"")]);
    assert_eq!(rig.handshake().names, ["x"]);
    let refusal = rig.actions.queued().iter().find_map(|action| match action {
        reef_engine::Action::Report(alert @ reef_engine::Alert::PluginActionFailed { .. }) => Some(alert.to_string()),
        _ => None,
    });
    let expected = "plugin two: claim x: plugin one has claimed x messages: unload one of the two";
    assert_eq!(refusal.as_deref(), Some(expected));
    rig.calls();
    rig.peer(&extended("x", &Bytes::new()));
    assert_eq!(rig.calls(), ["send x ", "one on_extended"]);
    rig.peer(&PeerEvent::Have(1));
    assert_eq!(rig.handshake().names, ["x"]);
    rig.calls();
    rig.peer(&extended("x", &Bytes::new()));
    assert_eq!(rig.calls(), ["send x ", "two on_extended"]);
}

/// Two plugins, of which the first panics in `hook` when `provoke` is done: it is out, and the second goes on.
fn check_panic(hook: &str, provoke: impl FnOnce(&mut Rig)) {
    let orders = format!("at = \"{hook}\"\ndo = \"panic\"\nclaim = \"x_one\"");
    let mut rig = Rig::new(&[("one", &orders), ("two", "")]);
    rig.add();
    provoke(&mut rig);
    let reason = rig.quarantined("one").unwrap_or_else(|| panic!("{hook}: not in quarantine"));
    assert!(reason.contains("ordered to panic (at ") && reason.contains("panic in "), "{hook}: {reason}");
    assert!(rig.actions.masks_changed() && rig.actions.handshakes_changed(), "{hook}");
    let calls = rig.calls();
    assert_eq!(calls.iter().filter(|call| *call == "plugin_quarantined").count(), 1, "{hook}: {calls:?}");
    assert_eq!(rig.quarantined("two"), None);
    assert_eq!(rig.peer(&PeerEvent::Have(2)), Verdict::Pass);
    assert_eq!(rig.calls(), ["two on_have"], "{hook}");
    assert_eq!(rig.handshake().names, [""; 0], "{hook}");
}

#[test]
fn a_plugin_that_panics_is_out_and_the_others_go_on() {
    check_panic("new_torrent", |_| ());
    check_panic("new_connection", |_| ());
    check_panic("on_have", |rig| assert_eq!(rig.peer(&PeerEvent::Have(1)), Verdict::Pass));
    check_panic("add_handshake", |rig| assert_eq!(rig.handshake().names, [""; 0]));
    check_panic("on_piece_failed", |rig| assert_eq!(rig.torrent(&TorrentEvent::PieceFailed(1)), Verdict::Pass));
    check_panic("on_tick", |rig| assert_eq!(rig.session(&SessionEvent::Tick), Verdict::Pass));
    check_panic("on_disconnect", |rig| assert_eq!(rig.peer(&PeerEvent::Disconnect("x")), Verdict::Pass));
}

#[test]
fn a_plugin_that_panics_while_its_objects_are_dropped_is_out_too() {
    let reconnect = |rig: &mut Rig| {
        rig.host.remove_peer(PEER);
        rig.add();
    };
    check_panic("drop_peer", reconnect);
    check_panic("drop_torrent", |rig| {
        rig.host.remove_torrent(TORRENT);
        rig.add();
    });
    let rig = Rig::connected(&[("one", "at = \"drop_session\"\ndo = \"panic\"")]);
    drop(rig);
}

#[test]
fn a_plugin_that_panics_while_it_saves_is_out_too() {
    check_panic("save_state", |rig| {
        let saved: Vec<_> = rig.host.save_state().into_iter().map(|(key, _)| key).collect();
        assert_eq!(saved, ["plugin/two", "plugin/two/1"]);
        rig.session(&SessionEvent::Tick);
    });
}

#[test]
fn a_plugin_that_does_not_start_is_one_line() {
    let started = |at: &str, act: &str, reason: &str| {
        let rig = Rig::new(&[("one", &format!("at = \"{at}\"\ndo = \"{act}\"")), ("two", "")]);
        let expected = format!("plugin one did not start: {reason}");
        assert!(
            matches!(rig.errors.as_slice(), [error] if error.contains(&expected) && !error.contains('\n')),
            "{:?}",
            rig.errors
        );
        assert_eq!(rig.quarantined("two"), None);
    };
    started("create", "panic", "panic in create: ordered to panic (at ");
    started("create", "error", "ordered to fail");
    started("added", "panic", "panic in added: ordered to panic (at ");
}

#[test]
fn a_panic_in_a_thread_wakes_the_session_and_ends_the_plugin() {
    let mut rig = Rig::connected(&[("one", "at = \"on_have\"\ndo = \"thread\""), ("two", "")]);
    rig.host.take_requests();
    let (woken, wakes) = mpsc::channel();
    rig.host.set_waker(Box::new(move || woken.send(()).unwrap_or(())));
    rig.calls();
    rig.peer(&PeerEvent::Have(1));
    wakes.recv_timeout(Duration::from_secs(10)).expect("the thread panics");
    // A fast thread is heard at the end of the hook that started it, a slow one now.
    let mut reports: Vec<_> = rig.host.take_requests().iter().filter_map(describe).collect();
    rig.session(&SessionEvent::Tick);
    assert!(rig.actions.masks_changed() && rig.actions.handshakes_changed());
    reports.extend(rig.calls());
    assert_eq!(reports.iter().filter(|report| *report == "plugin_quarantined").count(), 1, "{reports:?}");
    assert!(rig.quarantined("one").is_some_and(|reason| reason.contains("panic in thread evil: ordered to panic")));
}

#[test]
fn what_a_thread_asks_for_is_taken_by_the_session() {
    let mut rig = Rig::connected(&[("one", "at = \"on_have\"\ndo = \"action\"")]);
    rig.host.take_requests();
    let (woken, wakes) = mpsc::channel();
    rig.host.set_waker(Box::new(move || woken.send(()).unwrap_or(())));
    rig.peer(&PeerEvent::Have(1));
    wakes.recv_timeout(Duration::from_secs(10)).expect("the thread asks");
    let mut requests: Vec<_> = rig.host.take_requests().iter().filter_map(describe).collect();
    requests.extend(rig.calls());
    assert!(requests.contains(&"WatchPiece { torrent: TorrentId(1), piece: 7 }".to_owned()), "{requests:?}");
    assert!(rig.host.take_requests().is_empty());
}

#[test]
fn what_is_saved_comes_back() {
    let mut first = Rig::connected(&[("one", "state = \"abc\"")]);
    let saved: BTreeMap<_, _> = first.host.save_state().into_iter().collect();
    let expected = [("plugin/one", b"abc"), ("plugin/one/1", b"abc")];
    assert_eq!(saved, expected.map(|(key, state)| (key.to_owned(), state.to_vec())).into());
    let mut second = Rig::with_saved(&[("one", "")], saved);
    second.add();
    let calls = ["load_state abc", "added", "new_torrent", "load_torrent abc", "new_connection"];
    assert_eq!(second.calls(), calls.map(|call| format!("one {call}")));
}

#[test]
fn a_plugin_that_comes_later_takes_part_in_what_is_there() {
    let mut rig = Rig::connected(&[("bbb", "")]);
    let late = tempfile::tempdir().expect("a folder");
    rig.calls();
    let info = rig.host.load_file(&write_plugin(late.path(), "aaa"), "claim = \"x_late\"").expect("loaded");
    assert_eq!(info.name, "aaa");
    rig.add();
    assert_eq!(rig.calls(), ["aaa added", "aaa new_torrent", "aaa new_connection"]);
    rig.peer(&PeerEvent::Have(1));
    assert_eq!(rig.calls(), ["aaa on_have", "bbb on_have"]);
    assert_eq!(rig.handshake().names, ["x_late"]);
    let again = rig.host.load_file(&late.path().join(reef_plugin_host::library_file("aaa")), "");
    assert!(again.is_err_and(|error| error.to_string().contains("plugin aaa is left out")));
}

#[test]
fn many_sessions_share_an_image_and_fail_alone() {
    let mut rigs: Vec<_> = (0..5).map(|_| Rig::connected(&[("evil", "at = \"on_have\"\ndo = \"panic\"")])).collect();
    rigs[0].peer(&PeerEvent::Have(1));
    assert!(rigs[0].quarantined("evil").is_some());
    assert!(rigs[1..].iter().all(|rig| rig.quarantined("evil").is_none()));
}

#[test]
fn a_removed_torrent_is_forgotten() {
    let mut rig = Rig::connected(&[("evil", "")]);
    rig.calls();
    rig.host.remove_torrent(TORRENT);
    assert_eq!((rig.host.torrent_mask(TORRENT), rig.host.peer_mask(PEER)), (0, 0));
    assert_eq!(rig.peer(&PeerEvent::Have(1)), Verdict::Pass);
    assert_eq!(rig.torrent(&TorrentEvent::Metadata), Verdict::Pass);
    assert_eq!(rig.calls(), [""; 0]);
}
