//! The extension protocol (BEP 10) and the few extensions that the engine speaks itself.

use crate::{ID, Peer, ROUND, Stage, bitfield, requests};
use bytes::Bytes;
use reef_engine::status::PeerSource;
use reef_engine::{Action, Settings};
use reef_proto::extended::{ExtendedHandshake, HandshakeBuilder};
use reef_proto::message::Message;
use reef_sim::content::Torrent;

fn offer(builder: HandshakeBuilder) -> Message {
    Message::Extended { id: 0, payload: builder.build().into() }
}

fn extended(id: u8, payload: &[u8]) -> Message {
    Message::Extended { id, payload: Bytes::copy_from_slice(payload) }
}

fn heard_extended(heard: &[Message]) -> Vec<(u8, Bytes)> {
    let one = |m: &Message| if let Message::Extended { id, payload } = m { Some((*id, payload.clone())) } else { None };
    heard.iter().filter_map(one).collect()
}

#[test]
fn extension_handshake_says_what_the_engine_speaks() {
    let mut s = Stage::seeding();
    let wire = s.peer(Peer::Extended);
    let heard = heard_extended(&s.wait(wire, 0));
    assert_eq!(heard.len(), 1);
    let h = ExtendedHandshake::parse(&heard[0].1).unwrap();
    assert_eq!((h.id_of(b"upload_only"), h.id_of(b"lt_donthave")), (Some(3), Some(7)));
    assert_eq!((h.request_queue, h.upload_only), (Some(2000), Some(true)));
    assert!(h.client.is_some_and(|c| c.starts_with("reef/")));
    assert_eq!(h.your_ip, Some(s.peers()[0].address.ip()));
}

#[test]
fn peer_without_the_extension_bit_gets_no_extension_message_and_may_send_none() {
    let mut s = Stage::seeding();
    let wire = s.peer(Peer::Fast);
    assert!(heard_extended(&s.wait(wire, 0)).is_empty());
    s.closes(wire, &[offer(HandshakeBuilder::new())]);
}

#[test]
fn malformed_extension_handshake_is_ignored() {
    for payload in [&b""[..], b"le", b"d1:m", b"i1e", b"dddddddddddddddddddddddddddddddddddddddd", b"d1:m1:xe"] {
        let mut s = Stage::leeching();
        let wire = s.peer(Peer::Extended);
        s.say(wire, &[extended(0, payload)]);
        assert!(!s.is_closed(wire), "{payload:?}");
    }
}

#[test]
fn extension_message_that_was_never_offered_closes() {
    let mut s = Stage::seeding();
    let wire = s.peer(Peer::Extended);
    s.closes(wire, &[extended(99, b"x")]);
}

#[test]
fn upload_only_is_told_to_those_who_want_to_know_and_not_after_they_withdrew() {
    let mut s = Stage::leeching();
    let mut watchers = Vec::new();
    for withdraws in [false, true] {
        let wire = s.peer(Peer::Extended);
        s.say(wire, &[Message::HaveNone, offer(HandshakeBuilder::new().extension(b"upload_only", 42))]);
        if withdraws {
            s.say(wire, &[offer(HandshakeBuilder::new().extension(b"upload_only", 0))]);
        }
        watchers.push(wire);
    }
    let seed = s.peer(Peer::Fast);
    s.say(seed, &[Message::HaveAll]);
    let heard = s.say(seed, &[Message::Unchoke]);
    s.serve(seed, heard);
    s.world.run_for(500);
    let told: Vec<_> = watchers.into_iter().map(|w| heard_extended(&s.wait(w, 0))).collect();
    assert_eq!(told, [vec![(42, Bytes::from_static(&[1]))], vec![]]);
}

#[test]
fn later_extension_handshake_changes_what_it_names_and_nothing_else() {
    let mut s = Stage::leeching();
    let wire = s.peer(Peer::Extended);
    let first = HandshakeBuilder::new().extension(b"upload_only", 42).client("one").request_queue(3);
    s.say(wire, &[Message::HaveAll, offer(first), Message::Unchoke]);
    assert_eq!(s.peers()[0].outstanding, 3, "a peer is not asked for more than it keeps");
    s.say(wire, &[offer(HandshakeBuilder::new().client("two"))]);
    assert_eq!((s.peers()[0].client.as_str(), s.peers()[0].outstanding), ("two", 3));
}

#[test]
fn names_of_many_handshakes_are_bounded() {
    let mut s = Stage::leeching();
    let wire = s.peer(Peer::Extended);
    let many: Vec<_> = (0..3)
        .map(|round| {
            let names = (0..100).map(|i| format!("x{round}.{i:02}"));
            offer(names.fold(HandshakeBuilder::new(), |b, name| b.extension(name.as_bytes(), 9)))
        })
        .collect();
    // What is offered beyond the limit is as good as not offered: nobody tells this peer that the session is done.
    s.say(wire, &many);
    s.say(wire, &[Message::HaveNone, offer(HandshakeBuilder::new().extension(b"upload_only", 42))]);
    let seed = s.peer(Peer::Fast);
    s.say(seed, &[Message::HaveAll]);
    let heard = s.say(seed, &[Message::Unchoke]);
    s.serve(seed, heard);
    s.world.run_for(500);
    assert!(heard_extended(&s.wait(wire, 0)).iter().all(|(id, _)| *id != 42));
}

#[test]
fn peers_that_only_upload_are_closed_by_a_seed() {
    let mut s = Stage::seeding();
    let (by_handshake, by_message) = (s.peer(Peer::Extended), s.peer(Peer::Extended));
    s.closes(by_handshake, &[offer(HandshakeBuilder::new().upload_only())]);
    s.say(by_message, &[extended(3, &[0])]);
    assert!(!s.is_closed(by_message));
    s.closes(by_message, &[extended(3, &[1])]);
}

#[test]
fn piece_that_a_peer_lost_is_not_asked_of_it() {
    let mut s = Stage::leeching();
    let wire = s.peer(Peer::Extended);
    s.say(wire, &[bitfield(&[0b1100_0000, 0]), extended(7, &[0, 0, 0, 1])]);
    let asked = requests(&s.say(wire, &[Message::Unchoke]));
    assert!(!asked.is_empty() && asked.iter().all(|r| r.piece == 0), "{asked:?}");
    s.say(wire, &[extended(7, &[0, 0, 0, 99]), extended(7, b"xx")]);
    assert!(!s.is_closed(wire), "nonsense is ignored");
}

#[test]
fn peer_that_had_everything_can_lose_a_piece() {
    let mut s = Stage::leeching();
    let wire = s.peer(Peer::Extended);
    s.say(wire, &[Message::HaveAll, extended(7, &[0, 0, 0, 15])]);
    assert_eq!(s.peers()[0].have_pieces, 15);
    let heard = s.say(wire, &[Message::Unchoke]);
    s.serve(wire, heard);
    s.world.run_for(1_500);
    assert_eq!(s.have_pieces(), 15);
    assert!(!s.peers()[0].interesting);
}

#[test]
fn private_torrent_takes_no_peers_from_peers() {
    for (torrent, dialled) in
        [(Torrent::private(1, "a", 100_000, 32 << 10), 0), (Torrent::random(1, "a", 100_000, 32 << 10), 1)]
    {
        let mut s = Stage::of(Settings::default(), torrent, false);
        let script = s.world.add_script();
        let add = |source| Action::AddPeer { torrent: ID, address: script.address(), source, flags: 0 };
        s.world.act(s.node, vec![add(PeerSource::PEX), add(PeerSource::DHT), add(PeerSource::LSD)]);
        s.world.run_for(3_000);
        assert_eq!(s.world.script_accepted(script).len(), dialled);
        s.world.act(s.node, vec![add(PeerSource::TRACKER)]);
        s.world.run_for(3_000);
        assert_eq!(s.world.script_accepted(script).len(), 1 - dialled, "its tracker may name them");
    }
}

#[test]
fn plugin_can_disconnect_a_peer_and_ban_it() {
    let mut s = Stage::leeching();
    let wire = s.peer(Peer::Fast);
    let peer = reef_engine::PeerRef { torrent: ID, conn: s.peers()[0].conn };
    s.world.act(s.node, vec![Action::Disconnect { peer, reason: "enough".into() }]);
    s.world.run_for(ROUND);
    assert!(s.is_closed(wire));
}
