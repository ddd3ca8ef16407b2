//! A torrent that is known by its info-hash alone, until a plugin gives its metadata.

use crate::{ID, Peer, ROUND, Stage, bitfield, peer_id, requests};
use bytes::Bytes;
use reef_engine::status::PeerSource;
use reef_engine::{Action, Alert};
use reef_proto::message::Message;
use reef_sim::World;
use reef_sim::content::Torrent;

fn magnet() -> Stage {
    magnet_of(Torrent::random(7, "a", 1 << 20, 64 << 10))
}

fn magnet_of(torrent: Torrent) -> Stage {
    let mut world = World::new(7);
    let node = world.add_node();
    world.magnet(node, &torrent, &[]);
    Stage { world, node, torrent }
}

fn give(stage: &mut Stage) {
    let metadata = stage.torrent.meta.info_bytes.clone();
    stage.world.act(stage.node, vec![Action::GiveMetadata { torrent: ID, metadata }]);
    stage.world.run_for(ROUND);
}

#[test]
fn what_peers_said_before_the_metadata_counts_after_it() {
    for said in [bitfield(&[0xff, 0xff]), Message::HaveAll] {
        let mut s = magnet();
        let wire = s.peer(Peer::Fast);
        let heard = s.say(wire, &[said, Message::Unchoke]);
        assert!(requests(&heard).is_empty() && !heard.contains(&Message::Interested));
        give(&mut s);
        let heard = s.wait(wire, ROUND);
        assert!(heard.contains(&Message::Interested));
        s.serve(wire, heard);
        s.world.run_for(1_000);
        assert!(s.world.is_complete(s.node));
        assert!(s.world.disk(s.node).holds(&s.torrent));
    }
}

#[test]
fn words_that_do_not_fit_the_metadata_close_when_it_comes() {
    for said in [bitfield(&[0xff]), Message::Have(16)] {
        let mut s = magnet();
        let wire = s.peer(Peer::Plain);
        s.say(wire, std::slice::from_ref(&said));
        assert!(!s.is_closed(wire));
        give(&mut s);
        s.world.run_for(ROUND);
        assert!(s.is_closed(wire), "{said:?}");
    }
}

#[test]
fn flood_of_haves_before_the_metadata_is_bounded() {
    let mut s = magnet();
    let wire = s.peer(Peer::Plain);
    let haves: Vec<Message> = (0..100_000).map(|i| Message::Have(i % 16)).collect();
    s.world.say(wire, &haves);
    s.world.run_for(1_000);
    give(&mut s);
    assert_eq!(s.peers()[0].have_pieces, 16);
}

#[test]
fn private_torrent_drops_the_peers_of_peers_when_its_metadata_comes() {
    for (torrent, kept) in
        [(Torrent::private(1, "a", 100_000, 32 << 10), 1), (Torrent::random(1, "a", 100_000, 32 << 10), 2)]
    {
        let mut s = magnet_of(torrent);
        for source in [PeerSource::PEX, PeerSource::TRACKER] {
            let script = s.world.add_script();
            s.world.act(s.node, vec![Action::AddPeer { torrent: ID, address: script.address(), source, flags: 0 }]);
            s.world.run_for(1_000);
            let wire = s.world.script_accepted(script)[0];
            let number = s.world.steps();
            s.shake(wire, Peer::Fast, peer_id(number));
        }
        assert_eq!(s.peers().len(), 2);
        give(&mut s);
        assert_eq!(s.peers().len(), kept);
        s.world.run_for(200_000);
        assert!(s.peers().len() <= kept, "nor is one dialled again");
    }
}

#[test]
fn wrong_metadata_is_refused_and_the_right_one_still_taken() {
    let mut s = magnet();
    for wrong in [Bytes::from_static(b""), Bytes::from_static(b"de"), Bytes::from(vec![b'x'; 40 << 20])] {
        s.world.act(s.node, vec![Action::GiveMetadata { torrent: ID, metadata: wrong }]);
    }
    s.world.run_for(ROUND);
    let failed = s.world.alerts(s.node).iter().filter(|a| matches!(a, Alert::MetadataFailed { .. })).count();
    assert_eq!(failed, 3);
    give(&mut s);
    assert_eq!(s.world.torrents(s.node)[0].num_pieces, 16);
    give(&mut s);
    let received = s.world.alerts(s.node).iter().filter(|a| matches!(a, Alert::MetadataReceived { .. })).count();
    assert_eq!(received, 1, "it is taken once");
}

#[test]
fn magnet_that_was_given_its_metadata_restarts_with_it() {
    let mut s = magnet();
    give(&mut s);
    assert!(s.world.stop(s.node, 30));
    s.world.restart(s.node, &[]);
    s.world.run_for(ROUND);
    assert_eq!(s.world.torrents(s.node)[0].num_pieces, 16);
}

#[test]
fn magnet_without_metadata_survives_a_restart() {
    let mut s = magnet();
    s.world.run_for(5_000);
    assert!(s.world.stop(s.node, 30));
    s.world.restart(s.node, &[]);
    s.world.run_for(ROUND);
    assert!(!s.world.torrents(s.node)[0].has_metadata);
    give(&mut s);
    assert_eq!(s.world.torrents(s.node)[0].num_pieces, 16);
}
