//! A session that has the pieces, and what its peers ask of it.

use crate::{Peer, ROUND, Stage, bitfield, blocks, rejects, request};
use bytes::Bytes;
use reef_engine::Settings;
use reef_proto::message::{BlockRequest, Message};
use reef_sim::Wire;

/// A peer that is interested and was unchoked.
#[track_caller]
fn unchoked(stage: &mut Stage, kind: Peer) -> Wire {
    let wire = stage.peer(kind);
    let heard = stage.say(wire, &[Message::Interested]);
    assert!(heard.contains(&Message::Unchoke), "{heard:?}");
    wire
}

#[test]
fn seed_says_have_all_to_fast_peers_and_a_bitfield_to_others() {
    for (kind, said) in [(Peer::Fast, Message::HaveAll), (Peer::Plain, bitfield(&[0xff, 0xff]))] {
        let mut s = Stage::seeding();
        let wire = s.peer(kind);
        assert_eq!(s.wait(wire, 0).first(), Some(&said), "{kind:?}");
    }
}

#[test]
fn session_without_pieces_says_have_none_to_fast_peers_and_nothing_to_others() {
    for (kind, said) in [(Peer::Fast, Some(Message::HaveNone)), (Peer::Plain, None)] {
        let mut s = Stage::leeching();
        let wire = s.peer(kind);
        assert_eq!(s.wait(wire, 0).first(), said.as_ref(), "{kind:?}");
    }
}

#[test]
fn interested_peer_is_unchoked_and_served() {
    let mut s = Stage::seeding();
    let wire = unchoked(&mut s, Peer::Plain);
    let r = BlockRequest { piece: 3, begin: 16, length: 1000 };
    let heard = s.say(wire, &[Message::Request(request(2, 1)), Message::Request(r)]);
    assert_eq!(heard, [s.block(&request(2, 1)), s.block(&r)]);
}

#[test]
fn request_while_choked_is_rejected_with_fast_and_ignored_without() {
    for (kind, answers) in [(Peer::Fast, 1), (Peer::Plain, 0)] {
        let mut s = Stage::seeding();
        let wire = s.peer(kind);
        let offered: Vec<u32> = allowed_fast(&s.wait(wire, 0));
        let piece = (0..16).find(|p| !offered.contains(p)).unwrap();
        let heard = s.say(wire, &[Message::Request(request(piece, 0))]);
        assert_eq!((rejects(&heard).len(), blocks(&heard).len()), (answers, 0), "{kind:?}");
        assert!(!s.is_closed(wire));
    }
}

fn allowed_fast(heard: &[Message]) -> Vec<u32> {
    heard.iter().filter_map(|m| if let Message::AllowedFast(p) = m { Some(*p) } else { None }).collect()
}

#[test]
fn allowed_fast_pieces_are_served_while_choked() {
    let mut s = Stage::seeding();
    let wire = s.peer(Peer::Fast);
    let offered = allowed_fast(&s.wait(wire, 0));
    assert_eq!(offered.len(), 5);
    for piece in offered {
        let heard = s.say(wire, &[Message::Request(request(piece, 3))]);
        assert_eq!(heard, [s.block(&request(piece, 3))]);
    }
}

#[test]
fn requests_beyond_the_queue_are_rejected() {
    let mut s = Stage::with(Settings { max_allowed_in_request_queue: 10, ..Settings::default() }, true);
    let wire = unchoked(&mut s, Peer::Fast);
    let all: Vec<Message> = (0..50).map(|i| Message::Request(request(i / 4, i % 4))).collect();
    s.world.say(wire, &all);
    let heard = s.wait(wire, 2_000);
    assert_eq!((blocks(&heard).len(), rejects(&heard).len()), (10, 40));
}

#[test]
fn five_thousand_equal_requests_cost_no_more_than_the_queue() {
    // Those that are served while the others still arrive make room in the queue of 2000.
    for (kind, refused) in [(Peer::Fast, 2900..=3000), (Peer::Plain, 0..=0)] {
        let mut s = Stage::with(Settings { upload_rate_limit: 100_000, ..Settings::default() }, true);
        let wire = unchoked(&mut s, kind);
        s.world.say(wire, &vec![Message::Request(request(1, 1)); 5000]);
        let heard = s.wait(wire, 2_000);
        assert!(refused.contains(&rejects(&heard).len()), "{kind:?}: {} rejects", rejects(&heard).len());
        assert!(blocks(&heard).len() < 100, "the rate limit holds");
        assert!(!s.is_closed(wire));
    }
}

#[test]
fn requests_for_what_does_not_exist_are_rejected_with_fast_and_close_without() {
    let wrong = [
        BlockRequest { piece: 16, begin: 0, length: 1 },
        BlockRequest { piece: u32::MAX, begin: 0, length: 1 },
        BlockRequest { piece: 0, begin: 65_536, length: 1 },
        BlockRequest { piece: 0, begin: 65_535, length: 2 },
        BlockRequest { piece: 0, begin: u32::MAX, length: u32::MAX },
        BlockRequest { piece: 0, begin: 0, length: 0 },
        BlockRequest { piece: 0, begin: 0, length: 16_385 },
    ];
    for r in wrong {
        let mut s = Stage::seeding();
        let wire = unchoked(&mut s, Peer::Fast);
        assert_eq!(s.say(wire, &[Message::Request(r)]), [Message::Reject(r)], "{r:?}");
        let plain = unchoked(&mut s, Peer::Plain);
        s.closes(plain, &[Message::Request(r)]);
    }
}

#[test]
fn request_for_a_piece_that_is_not_here_yet_is_rejected() {
    let mut s = Stage::leeching();
    let wire = unchoked(&mut s, Peer::Fast);
    assert_eq!(s.say(wire, &[Message::Request(request(0, 0))]), [Message::Reject(request(0, 0))]);
}

#[test]
fn cancelled_request_is_rejected_if_it_was_not_served() {
    let mut s = Stage::seeding();
    let wire = unchoked(&mut s, Peer::Fast);
    let all = [Message::Request(request(0, 0)), Message::Request(request(0, 1)), Message::Cancel(request(0, 1))];
    let heard = s.say(wire, &all);
    assert_eq!(rejects(&heard), [request(0, 1)]);
    assert_eq!(blocks(&heard), [s.block(&request(0, 0))]);
    assert!(s.say(wire, &[Message::Cancel(request(0, 0))]).is_empty(), "a late cancel says nothing");
}

#[test]
fn little_is_queued_for_a_slow_line_and_the_rest_can_be_cancelled() {
    let mut s = Stage::seeding();
    s.world.set_line(s.node, 20_000, 20_000, 20);
    let wire = unchoked(&mut s, Peer::Fast);
    let all: Vec<_> = (0..60).map(|i| request(i / 4, i % 4)).collect();
    s.world.say(wire, &all.iter().map(|r| Message::Request(*r)).collect::<Vec<_>>());
    let before = blocks(&s.wait(wire, 3_000)).len();
    s.world.say(wire, &all.iter().map(|r| Message::Cancel(*r)).collect::<Vec<_>>());
    let heard = s.wait(wire, 60_000);
    assert!(blocks(&heard).len() <= 5, "{} blocks were under way", blocks(&heard).len());
    assert_eq!(before + blocks(&heard).len() + rejects(&heard).len(), 60);
}

#[test]
fn choke_rejects_what_is_queued_for_fast_peers() {
    let mut s = Stage::with(Settings { upload_rate_limit: 20_000, ..Settings::default() }, true);
    let wire = unchoked(&mut s, Peer::Fast);
    let all: Vec<Message> = (0..64).map(|i| Message::Request(request(i / 4, i % 4))).collect();
    s.world.say(wire, &all);
    s.world.run_for(5_000);
    // It wants nothing any more, so the next round takes its slot.
    s.world.say(wire, &[Message::NotInterested]);
    let heard = s.wait(wire, 40_000);
    let choke = heard.iter().position(|m| *m == Message::Choke).expect("it is choked");
    assert!(!rejects(&heard[choke..]).is_empty());
    assert!(rejects(&heard[..choke]).is_empty());
    assert_eq!(rejects(&heard).len() + blocks(&heard).len(), 64, "each request is answered once");
}

#[test]
fn flood_of_interest_gets_few_answers() {
    let mut s = Stage::seeding();
    let wire = s.peer(Peer::Fast);
    s.wait(wire, 0);
    let flood: Vec<Message> = (0..2000).flat_map(|_| [Message::Interested, Message::NotInterested]).collect();
    let heard = s.say(wire, &flood);
    assert!(heard.len() <= 2, "{} answers", heard.len());
}

#[test]
fn flood_of_requests_whose_answers_nobody_reads_closes() {
    let mut s = Stage::seeding();
    s.world.set_line(s.node, 1_000, 100_000_000, 20);
    let wire = s.peer(Peer::Fast);
    s.world.say(wire, &vec![Message::Request(request(99, 0)); 200_000]);
    s.world.run_for(2_000);
    assert!(s.peers().is_empty(), "{} bytes wait for it", s.peers()[0].queued_bytes);
}

#[test]
fn seed_closes_peers_that_have_everything() {
    let mut s = Stage::seeding();
    let (all, bits, haves) = (s.peer(Peer::Fast), s.peer(Peer::Plain), s.peer(Peer::Plain));
    s.closes(all, &[Message::HaveAll]);
    s.closes(bits, &[bitfield(&[0xff, 0xff])]);
    let list: Vec<Message> = (0..16).map(Message::Have).collect();
    s.closes(haves, &list);
}

#[test]
fn questions_of_bep_52_are_refused() {
    let mut s = Stage::seeding();
    let wire = s.peer(Peer::Fast);
    s.wait(wire, ROUND);
    let mut raw = vec![0, 0, 0, 49, 21];
    raw.extend([9; 32]);
    raw.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
    s.world.say_bytes(wire, Bytes::from(raw));
    let heard = s.wait(wire, ROUND);
    assert!(matches!(heard.as_slice(), [Message::HashReject(_)]), "{heard:?}");
}

#[test]
fn unknown_message_closes() {
    let mut s = Stage::seeding();
    let wire = s.peer(Peer::Fast);
    s.closes(wire, &[Message::Unknown { id: 77, payload: Bytes::from_static(b"x") }]);
}
