//! A session that wants the pieces, and peers that give them, or do not.

use crate::{ID, Peer, ROUND, Stage, bitfield, cancels, request, requests};
use bytes::Bytes;
use reef_engine::{Command, Settings};
use reef_proto::message::Message;
use reef_sim::Wire;
use reef_sim::content::Torrent;

/// A peer with every piece, and what was asked of it after it unchoked the session.
#[track_caller]
fn giving(stage: &mut Stage, kind: Peer) -> (Wire, Vec<Message>) {
    let wire = stage.peer(kind);
    let pieces = match kind {
        Peer::Plain => bitfield(&[0xff, 0xff]),
        Peer::Fast | Peer::Extended => Message::HaveAll,
    };
    let heard = stage.say(wire, &[pieces]);
    assert!(heard.contains(&Message::Interested), "{heard:?}");
    let heard = stage.say(wire, &[Message::Unchoke]);
    assert!(!requests(&heard).is_empty(), "{heard:?}");
    (wire, heard)
}

#[test]
fn session_completes_from_a_peer_that_answers() {
    for kind in [Peer::Plain, Peer::Fast, Peer::Extended] {
        let mut s = Stage::leeching();
        let (wire, heard) = giving(&mut s, kind);
        s.serve(wire, heard);
        s.world.run_for(1_000);
        assert!(s.world.is_complete(s.node), "{kind:?}");
        assert!(s.world.disk(s.node).holds(&s.torrent));
    }
}

#[test]
fn no_interest_in_a_peer_without_pieces_until_it_has_one() {
    let mut s = Stage::leeching();
    let wire = s.peer(Peer::Fast);
    let heard = s.say(wire, &[Message::HaveNone, Message::Unchoke]);
    assert!(!heard.contains(&Message::Interested) && requests(&heard).is_empty());
    let heard = s.say(wire, &[Message::Have(4)]);
    assert_eq!(heard.first(), Some(&Message::Interested));
    let asked = requests(&heard);
    assert!(asked.len() == 4 && asked.iter().all(|r| r.piece == 4), "{asked:?}");
}

#[test]
fn choke_drops_the_requests_made_of_a_peer_without_fast() {
    let mut s = Stage::leeching();
    let (wire, heard) = giving(&mut s, Peer::Plain);
    let asked = requests(&heard).len();
    assert!(requests(&s.say(wire, &[Message::Choke])).is_empty());
    assert_eq!(s.peers()[0].outstanding, 0);
    let heard = s.say(wire, &[Message::Unchoke]);
    assert_eq!(requests(&heard).len(), asked);
    s.serve(wire, heard);
    s.world.run_for(1_000);
    assert!(s.world.is_complete(s.node), "what was dropped is asked for again");
}

#[test]
fn choke_keeps_the_requests_made_of_a_fast_peer_until_it_rejects_them() {
    let mut s = Stage::leeching();
    let (wire, heard) = giving(&mut s, Peer::Fast);
    let asked = requests(&heard);
    assert!(requests(&s.say(wire, &[Message::Choke])).is_empty());
    assert_eq!(s.peers()[0].outstanding as usize, asked.len());
    let block = s.block(&asked[0]);
    s.say(wire, &[block]);
    let refused: Vec<Message> = asked[1..].iter().map(|r| Message::Reject(*r)).collect();
    assert!(requests(&s.say(wire, &refused)).is_empty(), "nothing is asked for while choked");
    assert_eq!(s.peers()[0].outstanding, 0);
    let again = requests(&s.say(wire, &[Message::Unchoke]));
    assert!(again.iter().all(|r| *r != asked[0]) && again.contains(&asked[1]), "{again:?}");
}

#[test]
fn pieces_that_are_allowed_fast_are_asked_for_while_choked() {
    let mut s = Stage::leeching();
    let wire = s.peer(Peer::Fast);
    let heard = s.say(wire, &[Message::HaveAll, Message::AllowedFast(3), Message::AllowedFast(99)]);
    let asked = requests(&heard);
    assert!(asked.len() == 4 && asked.iter().all(|r| r.piece == 3), "{asked:?}");
    s.serve(wire, heard);
    assert_eq!(s.have_pieces(), 1);
}

#[test]
fn words_on_pieces_that_make_no_sense_close() {
    let spare_bits = [bitfield(&[0xff, 0xff, 0xff])];
    let cases: [(&str, Peer, &[Message]); 8] = [
        ("have out of range", Peer::Fast, &[Message::HaveNone, Message::Have(16)]),
        ("have far out of range", Peer::Plain, &[Message::Have(u32::MAX)]),
        ("have all, then none", Peer::Fast, &[Message::HaveAll, Message::HaveNone]),
        ("have none twice", Peer::Fast, &[Message::HaveNone, Message::HaveNone]),
        ("have all after a bitfield", Peer::Fast, &[bitfield(&[0, 1]), Message::HaveAll]),
        ("bitfield of another size", Peer::Plain, &spare_bits),
        ("have all without fast", Peer::Plain, &[Message::HaveAll]),
        ("reject without fast", Peer::Plain, &[Message::Reject(request(0, 0))]),
    ];
    for (what, kind, messages) in cases {
        let mut s = Stage::leeching();
        let wire = s.peer(kind);
        s.world.say(wire, messages);
        s.world.run_for(ROUND);
        assert!(s.is_closed(wire), "{what}");
    }
}

#[test]
fn later_bitfield_replaces_what_a_peer_had() {
    let mut s = Stage::leeching();
    let wire = s.peer(Peer::Plain);
    s.say(wire, &[bitfield(&[0xff, 0]), Message::Have(15), bitfield(&[0, 0b11])]);
    assert_eq!(s.peers()[0].have_pieces, 2);
    let asked = requests(&s.say(wire, &[Message::Unchoke]));
    assert!(!asked.is_empty() && asked.iter().all(|r| r.piece >= 14), "{asked:?}");
}

#[test]
fn bitfield_with_spare_bits_closes() {
    let torrent = Torrent::random(8, "b", 700_000, 64 << 10);
    let mut s = Stage::of(Settings::default(), torrent, false);
    let wire = s.peer(Peer::Plain);
    s.closes(wire, &[bitfield(&[0xff, 0xff])]);
}

#[test]
fn snubbed_peer_gets_one_request_and_others_take_over() {
    let mut s = Stage::with(Settings { request_timeout: 10, ..Settings::default() }, false);
    let (slow, heard) = giving(&mut s, Peer::Fast);
    let asked = requests(&heard);
    let heard = s.wait(slow, 13_000);
    assert_eq!(cancels(&heard).len(), asked.len());
    assert_eq!(requests(&heard).len(), 1, "{heard:?}");
    assert!(s.peers()[0].snubbed);
    let (good, heard) = giving(&mut s, Peer::Fast);
    s.serve(good, heard);
    s.world.run_for(1_000);
    assert!(s.world.is_complete(s.node), "the others take what it was asked for");
}

#[test]
fn peers_that_stall_do_not_keep_the_last_block_from_an_honest_one() {
    let mut s = Stage::of(Settings::default(), Torrent::random(7, "a", 16 << 10, 16 << 10), false);
    let mut join = || {
        let wire = s.peer(Peer::Fast);
        let heard = s.say(wire, &[Message::HaveAll, Message::Unchoke]);
        (wire, requests(&heard))
    };
    let stalling = [join(), join(), join()];
    assert!(stalling.iter().all(|(_, asked)| asked.len() == 1), "as many are asked for one block as may be");
    let (honest, asked) = join();
    assert!(asked.is_empty());
    let mut heard = Vec::new();
    for _ in 0..6 {
        let all = stalling.iter().map(|(wire, _)| *wire).chain([honest]);
        all.for_each(|wire| s.world.say(wire, &[Message::KeepAlive]));
        heard.extend(s.wait(honest, 30_000));
    }
    assert_eq!(requests(&heard).first(), Some(&request(0, 0)));
}

#[test]
fn end_game_asks_another_peer_and_cancels_the_rest() {
    let torrent = Torrent::random(9, "c", 64 << 10, 64 << 10);
    let mut s = Stage::of(Settings::default(), torrent, false);
    let first = s.peer(Peer::Plain);
    let second = s.peer(Peer::Plain);
    let asked = {
        s.say(first, &[bitfield(&[0x80])]);
        requests(&s.say(first, &[Message::Unchoke]))
    };
    assert_eq!(asked.len(), 4);
    s.say(second, &[bitfield(&[0x80])]);
    let mut heard = s.say(second, &[Message::Unchoke]);
    assert!(!requests(&heard).is_empty(), "nothing is asked of the second peer");
    let mut cancelled = Vec::new();
    for _ in 0..8 {
        let answers: Vec<Message> = requests(&heard).iter().map(|r| s.block(r)).collect();
        heard = s.say(second, &answers);
        cancelled.extend(cancels(&s.wait(first, 0)));
    }
    s.world.run_for(1_000);
    assert!(s.world.is_complete(s.node));
    assert_eq!(cancelled.len(), 4, "what came from one is cancelled at the other");
}

#[test]
fn unsolicited_blocks_are_wasted_and_then_close() {
    let mut s = Stage::leeching();
    let wire = s.peer(Peer::Fast);
    s.say(wire, &[Message::HaveAll]);
    let block = s.block(&request(0, 0));
    s.say(wire, &vec![block.clone(); 50]);
    s.world.run_for(500);
    assert!(!s.is_closed(wire));
    assert_eq!(s.world.torrents(s.node)[0].wasted_bytes, 50 * 16_384);
    s.world.say(wire, &vec![block; 100]);
    s.world.run_for(1_000);
    assert!(s.is_closed(wire));
    assert_eq!(s.have_pieces(), 0);
}

#[test]
fn block_of_another_length_than_asked_for_does_not_count() {
    let mut s = Stage::leeching();
    let (wire, heard) = giving(&mut s, Peer::Fast);
    let r = requests(&heard)[0];
    let data = Bytes::from_static(b"too short");
    s.say(wire, &[Message::Piece { piece: r.piece, begin: r.begin, data }]);
    assert!(!s.is_closed(wire));
    assert_eq!(s.peers()[0].outstanding as usize, requests(&heard).len());
}

#[test]
fn only_source_of_a_bad_piece_is_banned() {
    let mut s = Stage::leeching();
    let (wire, mut heard) = giving(&mut s, Peer::Fast);
    for _ in 0..10 {
        let bad: Vec<Message> = requests(&heard)
            .iter()
            .map(|r| Message::Piece { piece: r.piece, begin: r.begin, data: Bytes::from(vec![1; BLOCK]) })
            .collect();
        heard = s.say(wire, &bad);
    }
    s.world.run_for(1_000);
    assert!(s.is_banned());
    assert!(s.peers().is_empty() && s.have_pieces() == 0);
    // An honest peer still completes it.
    let (good, heard) = giving(&mut s, Peer::Fast);
    s.serve(good, heard);
    s.world.run_for(1_000);
    assert!(s.world.is_complete(s.node));
}

const BLOCK: usize = 16 << 10;

#[test]
fn peers_hear_of_each_piece_when_it_is_verified() {
    let mut s = Stage::leeching();
    let other = s.peer(Peer::Fast);
    let (wire, heard) = giving(&mut s, Peer::Fast);
    s.wait(other, 0);
    s.serve(wire, heard);
    let haves = s.wait(other, 500).into_iter().filter(|m| matches!(m, Message::Have(_))).count();
    assert_eq!(haves, 16);
}

#[test]
fn complete_session_closes_seeds_and_keeps_others() {
    let mut s = Stage::leeching();
    let other = s.peer(Peer::Fast);
    s.say(other, &[Message::HaveNone]);
    let (wire, heard) = giving(&mut s, Peer::Fast);
    s.serve(wire, heard);
    s.world.run_for(1_000);
    assert!(s.peers().len() == 1 && s.peers()[0].have_pieces == 0);
    s.say(other, &[Message::Interested]);
    assert!(!s.is_closed(other));
}

#[test]
fn recheck_finds_what_is_there_again() {
    let mut s = Stage::leeching();
    let (wire, heard) = giving(&mut s, Peer::Fast);
    s.serve(wire, heard);
    s.world.run_for(1_000);
    s.world.command(s.node, Command::Recheck(ID));
    s.world.run_for(1_000);
    assert!(s.world.is_complete(s.node));
    assert_eq!(s.world.tally(s.node).checks, 16);
}

#[test]
fn recheck_asked_for_twice_ends_and_the_stop_after_it_is_clean() {
    let mut s = Stage::seeding();
    s.world.command(s.node, Command::Recheck(ID));
    s.world.command(s.node, Command::Recheck(ID));
    s.world.run_for(3_000);
    assert!(s.world.is_complete(s.node));
    assert!(s.world.stop(s.node, 10));
    let before = s.world.tally(s.node).checks;
    s.world.restart(s.node, &[]);
    s.world.run_for(3_000);
    assert!(s.world.is_complete(s.node));
    let after = s.world.tally(s.node).checks;
    assert!(after == before || after == 0, "the next run hashes nothing: {before}, {after}");
}
