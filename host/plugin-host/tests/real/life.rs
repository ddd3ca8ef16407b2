//! Plugins that come, go and are replaced while there are torrents and peers, and what is too much of them.

use crate::rig::{PEER, Rig, TORRENT};
use bytes::Bytes;
use reef_engine::Hooks as _;
use reef_engine::hooks::{ExtendedMessage, PeerEvent, SessionEvent, TorrentEvent, Verdict};
use reef_plugin_host::{Change, PluginImage, PluginState};
use reef_tests::plugins::plugin_library;

/// What a new instance hears of a torrent and a peer that are there, beside its state.
const MET: [&str; 4] = ["one added", "one new_torrent", "one new_connection", "one on_extension_handshake"];

#[test]
fn a_replacement_has_the_state_and_meets_torrents_and_peers() {
    let mut rig = Rig::connected(&[("one", "claim = \"x\"\nstate = \"kept\"")]);
    assert_eq!(rig.handshake().names, ["x"]);
    rig.calls();
    let image = rig.version("one", "0.2.0");
    let loaded = rig.change(Change::Replace(image)).expect("it is good");
    assert_eq!((loaded.version.as_str(), rig.host.plugins().len()), ("0.2.0", 1));
    assert!(rig.actions.masks_changed() && rig.actions.handshakes_changed());
    let expected = [
        "one abort",
        "one load_state kept",
        "one added",
        "one new_torrent",
        "one load_torrent kept",
        "one new_connection",
        "one on_extension_handshake",
    ];
    let mut calls = rig.calls();
    // What the new one queued through its handle is taken with what its hooks asked for.
    calls.sort_by_key(|call| expected.iter().position(|other| other == call));
    assert_eq!(calls, expected);
    // It has taken the message over, and answers in the place of the first.
    assert_eq!(rig.handshake().names, ["x"]);
    rig.calls();
    let message = ExtendedMessage { name: "x", payload: &Bytes::new() };
    rig.peer(&PeerEvent::Extended(message));
    assert_eq!(rig.calls(), ["send x ", "one on_extended"]);
}

#[test]
fn a_replacement_that_fails_leaves_the_one_before() {
    let check = |orders: &str, reason: &str| {
        let mut rig = Rig::connected(&[("one", orders)]);
        rig.calls();
        let image = rig.version("one", "0.2.0");
        let refused = rig.change(Change::Replace(image)).expect_err(reason);
        assert!(refused.contains("plugin one was not replaced, the version before goes on: "), "{refused}");
        assert!(refused.contains(reason) && !refused.contains('\n'), "{refused}");
        let plugins = rig.host.plugins();
        assert!(matches!(plugins.as_slice(), [one] if one.version == "0.1.0" && one.state == PluginState::Loaded));
        assert_eq!(rig.calls(), [""; 0], "nothing of the new one counts");
        assert_eq!(rig.peer(&PeerEvent::Have(1)), Verdict::Pass);
        assert_eq!(rig.calls(), ["one on_have"]);
    };
    check("at = \"load_state\"\ndo = \"panic\"", "ordered to panic");
    check("at = \"load_state\"\ndo = \"error\"", "ordered to fail");
    check("at = \"on_extension_handshake\"\ndo = \"panic\"", "ordered to panic");
}

#[test]
fn a_plugin_that_is_withdrawn_and_loaded_again_goes_on() {
    let mut rig = Rig::connected(&[("one", "claim = \"x\"\nstate = \"kept\""), ("two", "claim = \"x\"")]);
    assert_eq!(rig.handshake().names, ["x"]);
    rig.calls();
    rig.change(Change::Withdraw("one".to_owned())).expect("it takes part");
    assert_eq!(rig.calls(), ["one abort", "plugin_withdrawn"]);
    assert_eq!(rig.host.plugins().len(), 1);
    assert_eq!(rig.host.save_state().len(), 4, "what it saved is kept with the other's");
    rig.peer(&PeerEvent::Have(1));
    assert_eq!(rig.calls(), ["two on_have"]);
    assert_eq!(rig.handshake().names, ["x"], "the other may have the message");
    rig.calls();
    let image = rig.version("one", "0.1.0");
    rig.change(Change::Load(image)).expect("it is good");
    let calls = rig.calls();
    assert!(MET.iter().all(|call| calls.iter().any(|other| other == call)), "{calls:?}");
    assert!(calls.contains(&"one load_state kept".to_owned()), "{calls:?}");
}

#[test]
fn what_cannot_be_done_is_one_line() {
    let mut rig = Rig::connected(&[("one", "")]);
    let refused = rig.change(Change::Withdraw("two".to_owned()));
    assert_eq!(refused.err().as_deref(), Some("two: no plugin of this name takes part in the session"));
    let image = rig.version("one", "0.2.0");
    let refused = rig.change(Change::Load(image)).expect_err("there is one");
    assert!(refused.contains("plugin one is left out"), "{refused}");
}

#[test]
fn a_quarantined_plugin_can_be_loaded_again() {
    let mut rig = Rig::connected(&[("one", "at = \"on_have\"\ndo = \"panic\"")]);
    rig.peer(&PeerEvent::Have(1));
    assert!(rig.quarantined("one").is_some());
    let image = rig.version("one", "0.1.0");
    rig.change(Change::Replace(image)).expect("it is good until it is asked");
    assert_eq!((rig.quarantined("one"), rig.host.plugins().len()), (None, 1));
}

#[test]
fn errors_in_a_row_are_too_many() {
    let mut rig = Rig::connected(&[("one", "at = \"on_tick\"\ndo = \"error\""), ("two", "")]);
    (0..10).for_each(|_| drop(rig.session(&SessionEvent::Tick)));
    assert_eq!(rig.quarantined("one"), None);
    rig.session(&SessionEvent::Tick);
    let reason = rig.quarantined("one").expect("the eleventh");
    assert_eq!(reason, "on_tick failed 11 times in a row, the last time with: ordered to fail");
    let mut rig = Rig::connected(&[("one", "at = \"on_metadata\"\ndo = \"error\"")]);
    (0..11).for_each(|_| drop(rig.torrent(&TorrentEvent::Metadata)));
    assert!(rig.quarantined("one").is_some());
    assert_eq!((rig.host.torrent_mask(TORRENT), rig.host.peer_mask(PEER)), (0, 0));
}

#[test]
fn a_flood_from_a_hook_is_too_much() {
    let mut rig = Rig::connected(&[("one", "at = \"on_have\"\ndo = \"flood\""), ("two", "")]);
    (0..32).for_each(|_| drop(rig.peer(&PeerEvent::Have(1))));
    rig.session(&SessionEvent::Tick);
    assert!(rig.quarantined("one").is_some_and(|reason| reason.contains("flooded")));
    assert_eq!(rig.quarantined("two"), None);
}

#[test]
fn a_replacement_has_what_was_kept_of_its_torrents_and_connections() {
    let mut rig = Rig::new(&[]);
    let image = || PluginImage::open(&plugin_library("recorder-plugin"), None).expect("a plugin");
    rig.change(Change::Load(image())).expect("it is good");
    rig.add();
    rig.calls();
    rig.change(Change::Replace(image())).expect("it is good");
    // The session's object was asked before the session called, so its alert comes through its handle, last.
    let kept: Vec<String> = rig
        .actions
        .queued()
        .iter()
        .filter_map(|action| match action {
            reef_engine::Action::PostAlert(alert) if alert.what == "load_state" => Some(alert.message.clone()),
            _ => None,
        })
        .collect();
    let state = |text: &str| format!("({:?},)", text.as_bytes());
    assert_eq!(kept, ["torrent", "peer", "session"].map(state));
}
