//! Shaking hands, and connections that end because of how they begin or of silence.

use crate::{ID, Peer, ROUND, Stage, peer_id};
use bytes::Bytes;
use reef_engine::{Command, Settings};
use reef_proto::handshake::{Handshake, Reserved};
use reef_proto::message::Message;
use reef_proto::peer_id::PeerId;
use reef_sim::content::Torrent;
use reef_sim::{Heard, Wire, World};

/// The session's handshake on a wire that has just been greeted.
#[track_caller]
fn handshake(stage: &mut Stage, wire: Wire) -> Handshake {
    match stage.world.hear(wire).first() {
        Some(Heard::Handshake(h)) => *h,
        other => panic!("no handshake but {other:?}"),
    }
}

#[test]
fn handshake_is_answered_with_the_same_info_hash() {
    let mut s = Stage::seeding();
    let wire = s.peer(Peer::Plain);
    let h = handshake(&mut s, wire);
    assert_eq!(h.info_hash, s.torrent.meta.info_hashes.wire());
}

#[test]
fn handshake_in_single_bytes_is_understood() {
    let mut s = Stage::seeding();
    let wire = s.stranger();
    let h = Handshake { reserved: Reserved([0; 8]), info_hash: s.torrent.meta.info_hashes.wire(), peer_id: peer_id(1) };
    for byte in h.to_bytes() {
        s.world.say_bytes(wire, Bytes::copy_from_slice(&[byte]));
    }
    s.world.run_for(ROUND);
    handshake(&mut s, wire);
}

#[test]
fn unknown_info_hash_closes() {
    let mut s = Stage::seeding();
    let wire = s.stranger();
    s.world.shake_hands(wire, &Handshake { reserved: Reserved([0; 8]), info_hash: [1; 20], peer_id: peer_id(1) });
    s.world.run_for(ROUND);
    assert_eq!(s.world.hear(wire), [Heard::Closed]);
}

#[test]
fn other_protocol_closes() {
    let mut s = Stage::seeding();
    let wire = s.stranger();
    s.world.say_bytes(wire, Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n"));
    s.world.run_for(ROUND);
    assert_eq!(s.world.hear(wire), [Heard::Closed]);
}

#[test]
fn own_peer_id_closes() {
    let mut s = Stage::seeding();
    let first = s.peer(Peer::Plain);
    let own = handshake(&mut s, first).peer_id;
    let wire = s.stranger();
    s.shake(wire, Peer::Plain, own);
    assert!(s.is_closed(wire));
    assert!(!s.is_closed(first));
}

#[test]
fn same_peer_twice_keeps_the_first_connection() {
    let mut s = Stage::seeding();
    let script = s.world.add_script();
    let wires: Vec<Wire> = (0..2).map(|_| s.world.script_dial(script, s.node)).collect();
    s.shake(wires[0], Peer::Fast, peer_id(1));
    s.shake(wires[1], Peer::Fast, peer_id(1));
    assert!(!s.is_closed(wires[0]));
    assert!(s.is_closed(wires[1]));
}

#[test]
fn two_peers_behind_one_address_are_both_welcome() {
    let mut s = Stage::seeding();
    let script = s.world.add_script();
    let wires: Vec<Wire> = (0..2).map(|_| s.world.script_dial(script, s.node)).collect();
    s.shake(wires[0], Peer::Fast, peer_id(1));
    s.shake(wires[1], Peer::Fast, peer_id(2));
    assert!(wires.iter().all(|w| !s.is_closed(*w)));
}

#[test]
fn of_two_dials_the_one_of_the_larger_peer_id_stays() {
    for (id, dialled_by_script) in [(*b"-AA0001-abcdefghijkl", false), (*b"-ZZ0001-abcdefghijkl", true)] {
        let mut s = Stage::leeching();
        let script = s.world.add_script();
        let own = s.world.script_dial(script, s.node);
        s.world.command(s.node, Command::AddPeer { torrent: ID, address: script.address() });
        s.world.run_for(ROUND);
        let theirs = s.world.script_accepted(script)[0];
        s.shake(own, Peer::Fast, PeerId(id));
        s.shake(theirs, Peer::Fast, PeerId(id));
        assert_eq!((s.is_closed(own), s.is_closed(theirs)), (!dialled_by_script, dialled_by_script), "{id:?}");
    }
}

#[test]
fn sessions_that_dial_each_other_keep_one_connection() {
    for seed in 0..10 {
        let torrent = Torrent::random(seed, "a", 200_000, 32 << 10);
        let mut world = World::new(seed);
        let (a, b) = (world.add_node(), world.add_node());
        world.leech(a, &torrent, &[b]);
        world.leech(b, &torrent, &[a]);
        world.run_for(5_000);
        for node in [a, b] {
            assert_eq!(world.torrents(node)[0].num_peers, 1, "seed {seed}");
        }
    }
}

#[test]
fn dialled_peer_hears_the_handshake_first_and_must_answer_for_the_same_torrent() {
    let mut s = Stage::leeching();
    let script = s.world.add_script();
    s.world.command(s.node, Command::AddPeer { torrent: ID, address: script.address() });
    s.world.run_for(ROUND);
    let wire = s.world.script_accepted(script)[0];
    handshake(&mut s, wire);
    s.world.shake_hands(wire, &Handshake { reserved: Reserved([0; 8]), info_hash: [1; 20], peer_id: peer_id(1) });
    s.world.run_for(ROUND);
    assert!(s.is_closed(wire));
}

#[test]
fn peer_without_a_handshake_is_closed_after_the_timeout() {
    let mut s = Stage::with(Settings { handshake_timeout: 7, ..Settings::default() }, true);
    let wire = s.stranger();
    s.world.run_for(6_500);
    assert!(!s.is_closed(wire));
    s.world.run_for(2_000);
    assert!(s.is_closed(wire));
}

#[test]
fn silent_peer_is_closed_after_the_timeout_and_one_that_says_little_is_not() {
    let mut s = Stage::with(Settings { peer_timeout: 30, ..Settings::default() }, true);
    let (silent, quiet) = (s.peer(Peer::Fast), s.peer(Peer::Fast));
    for _ in 0..2 {
        s.world.run_for(14_000);
        s.world.say(quiet, &[Message::KeepAlive]);
    }
    assert!(!s.is_closed(silent));
    s.world.run_for(4_000);
    assert!(s.is_closed(silent));
    assert!(!s.is_closed(quiet));
}

#[test]
fn session_that_has_nothing_to_say_sends_keep_alives() {
    let mut s = Stage::with(Settings { peer_timeout: 30, ..Settings::default() }, true);
    let wire = s.peer(Peer::Fast);
    s.wait(wire, ROUND);
    let mut heard = Vec::new();
    for _ in 0..6 {
        s.world.say(wire, &[Message::KeepAlive]);
        heard.extend(s.wait(wire, 10_000));
    }
    assert!((3..=6).contains(&heard.len()), "{heard:?}");
    assert!(heard.iter().all(|m| *m == Message::KeepAlive));
}

#[test]
fn paused_torrent_closes_its_peers_and_takes_none() {
    let mut s = Stage::seeding();
    let wire = s.peer(Peer::Fast);
    s.world.command(s.node, Command::Pause(ID));
    s.world.run_for(ROUND);
    assert!(s.is_closed(wire));
    let again = s.peer(Peer::Fast);
    assert!(s.is_closed(again));
    s.world.command(s.node, Command::Resume(ID));
    let last = s.peer(Peer::Fast);
    assert!(!s.is_closed(last));
}

#[test]
fn connections_beyond_the_limit_are_refused() {
    let mut s = Stage::with(Settings { connections_limit: 3, ..Settings::default() }, true);
    let wires: Vec<Wire> = (0..5).map(|_| s.peer(Peer::Fast)).collect();
    let closed: Vec<bool> = wires.into_iter().map(|w| s.is_closed(w)).collect();
    assert_eq!(closed, [false, false, false, true, true]);
}
