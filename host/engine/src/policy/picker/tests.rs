//! Tables for what is picked, and a naive model for everything else.

use super::*;
use proptest::prelude::*;
use reef_proto::layout::FileEntry;
use std::collections::BTreeSet;

/// A torrent of `pieces` pieces of `blocks` blocks, the last piece having one and a half at most.
fn layout(pieces: u32, blocks: u32) -> Arc<Layout> {
    let last = (blocks * BLOCK_SIZE).min(BLOCK_SIZE + BLOCK_SIZE / 2);
    let length = u64::from(pieces - 1) * u64::from(blocks * BLOCK_SIZE) + u64::from(last);
    let file = FileEntry { path: vec!["f".into()], length, ..FileEntry::default() };
    Arc::new(Layout::new(blocks * BLOCK_SIZE, vec![file]).unwrap())
}

/// A picker past its random beginning.
fn picker(pieces: u32, blocks: u32) -> Picker {
    let mut picker = Picker::new(layout(pieces, blocks));
    picker.set_random_first(0);
    picker
}

fn bits(len: u32, set: &[u32]) -> Bitfield {
    let mut bits = Bitfield::new(len);
    set.iter().for_each(|&piece| assert!(bits.set(piece)));
    bits
}

const PEER: ConnId = ConnId(1);
const OTHER: ConnId = ConnId(2);
const THIRD: ConnId = ConnId(3);
const FOURTH: ConnId = ConnId(4);

fn seed(peer: ConnId) -> PickContext<'static> {
    PickContext::new(peer, PeerPieces::All, 0)
}

/// Picks, and gives (piece, block) of each request.
#[track_caller]
fn pick(picker: &mut Picker, ctx: PickContext<'_>, want: usize) -> Vec<(u32, u32)> {
    let mut out = Vec::new();
    picker.pick(ctx, want, &mut out);
    picker.check_invariant();
    for request in &out {
        assert_eq!(request.length, picker.layout().block_size(request.piece, request.begin / BLOCK_SIZE));
    }
    out.iter().map(|request| (request.piece, request.begin / BLOCK_SIZE)).collect()
}

fn request(piece: u32, block: u32) -> BlockRequest {
    BlockRequest { piece, begin: block * BLOCK_SIZE, length: BLOCK_SIZE }
}

#[track_caller]
fn receive_all(picker: &mut Picker, peer: ConnId, blocks: &[(u32, u32)]) {
    for &(piece, block) in blocks {
        assert!(matches!(picker.received(peer, piece, block), Received::Wanted { .. }), "{piece}/{block}");
    }
    picker.check_invariant();
}

#[test]
fn the_rarest_piece_comes_first() {
    let mut picker = picker(4, 2);
    picker.add_bitfield(&bits(4, &[0, 1, 3]));
    picker.add_bitfield(&bits(4, &[0, 3]));
    picker.peer_has(0);
    picker.peer_has_all();
    let mut seen = pick(&mut picker, seed(PEER), 8);
    assert_eq!(seen, [(2, 0), (2, 1), (1, 0), (1, 1), (3, 0), (3, 1), (0, 0), (0, 1)]);
    picker.abort_all(PEER);
    picker.check_invariant();
    picker.remove_bitfield(&bits(4, &[0, 3]));
    picker.peer_lost(3);
    picker.peer_has(2);
    seen = pick(&mut picker, seed(PEER), 1);
    assert_eq!(seen, [(3, 0)]);
    assert_eq!([0, 1, 2, 3].map(|piece| picker.availability(piece)), [3, 2, 2, 1]);
}

#[test]
fn equals_come_in_random_order() {
    let first = |random| {
        let mut picker = picker(50, 1);
        pick(&mut picker, PickContext { random, ..seed(PEER) }, 1)[0].0
    };
    assert!((0..50).map(first).collect::<BTreeSet<_>>().len() > 40);
}

#[test]
fn the_first_pieces_are_random_ones() {
    let mut picker = Picker::new(layout(100, 1));
    picker.set_random_first(2);
    // Piece 7 is the rarest, and yet not the first.
    let others: Vec<u32> = (0..100).filter(|&piece| piece != 7).collect();
    picker.add_bitfield(&bits(100, &others));
    assert_ne!(pick(&mut picker, PickContext { random: 50, ..seed(PEER) }, 1)[0].0, 7);
    picker.we_have(0);
    picker.we_have(1);
    assert_eq!(pick(&mut picker, PickContext { random: 50, speed: Speed::Fast, ..seed(OTHER) }, 1)[0].0, 7);
}

#[test]
fn priority_goes_before_rarity_and_zero_means_never() {
    let mut picker = picker(4, 1);
    picker.add_bitfield(&bits(4, &[3]));
    picker.set_priority(3, 7);
    picker.set_priority(1, 0);
    picker.set_priority(0, 1);
    assert_eq!(pick(&mut picker, seed(PEER), 9), [(3, 0), (2, 0), (0, 0)]);
    assert_eq!(picker.wanted_left(), 3);
    assert!(!picker.is_interesting(&bits(4, &[1])));
    picker.set_priority(1, 200);
    assert_eq!(picker.priority(1), TOP_PRIORITY);
    assert_eq!(pick(&mut picker, seed(PEER), 9), [(1, 0)]);
}

#[test]
fn in_sequential_order_only_the_top_priority_jumps_the_queue() {
    let mut picker = picker(200, 1);
    picker.set_order(Order::Sequential);
    picker.set_priority(150, TOP_PRIORITY);
    picker.set_priority(180, 6);
    picker.we_have(0);
    assert_eq!(pick(&mut picker, PickContext { random: 77, ..seed(PEER) }, 3), [(150, 0), (1, 0), (2, 0)]);
    let has = bits(200, &[2, 3, 70]);
    assert_eq!(pick(&mut picker, PickContext::new(OTHER, PeerPieces::Some(&has), 5), 2), [(3, 0), (70, 0)]);
    picker.abort(PEER, request(1, 0));
    assert_eq!(pick(&mut picker, seed(PEER), 2), [(1, 0), (4, 0)]);
}

#[test]
fn a_peer_goes_on_with_its_pieces() {
    let mut picker = picker(8, 4);
    let first = pick(&mut picker, seed(PEER), 2);
    let piece = first[0].0;
    let second = pick(&mut picker, PickContext { random: 5, ..seed(PEER) }, 3);
    assert_eq!(second[..2], [(piece, 2), (piece, 3)]);
    assert_ne!(second[2].0, piece);
}

#[test]
fn a_fast_peer_takes_pieces_of_its_own_and_a_medium_one_joins() {
    let check = |speed, joins: bool| {
        let mut picker = picker(8, 4);
        let piece = pick(&mut picker, seed(PEER), 1)[0].0;
        let next = pick(&mut picker, PickContext { speed, random: 3, ..seed(OTHER) }, 1)[0].0;
        assert_eq!(next == piece, joins, "{speed:?}");
    };
    check(Speed::Medium, true);
    check(Speed::Fast, false);
    check(Speed::Slow, false);
}

#[test]
fn what_a_lost_peer_left_is_finished_by_whoever_comes() {
    let mut picker = picker(8, 4);
    let blocks = pick(&mut picker, seed(PEER), 3);
    receive_all(&mut picker, PEER, &blocks[..2]);
    picker.abort_all(PEER);
    let ctx = PickContext { speed: Speed::Fast, random: 6, ..seed(OTHER) };
    assert_eq!(pick(&mut picker, ctx, 2), [(blocks[0].0, 2), (blocks[0].0, 3)]);
}

#[test]
fn too_many_partial_pieces_are_finished_before_more_are_begun() {
    let mut picker = picker(8, 4);
    let piece = pick(&mut picker, PickContext { speed: Speed::Fast, ..seed(PEER) }, 1)[0].0;
    let ctx = PickContext { speed: Speed::Slow, max_partial: 1, random: 3, ..seed(OTHER) };
    assert_eq!(pick(&mut picker, ctx, 9), [(piece, 1), (piece, 2), (piece, 3)]);
    // One that can join nothing must not stand idle.
    assert_eq!(pick(&mut picker, ctx, 1).len(), 1);
}

#[test]
fn only_allowed_pieces_are_asked_of_a_choking_peer() {
    let mut picker = picker(8, 1);
    picker.we_have(4);
    let only = [4, 6, 99, 2];
    let ctx = PickContext { only: Some(&only), ..seed(PEER) };
    assert_eq!(pick(&mut picker, ctx, 9), [(6, 0), (2, 0)]);
    let has = bits(8, &[1]);
    assert_eq!(pick(&mut picker, PickContext { have: PeerPieces::Some(&has), ..ctx }, 9), []);
}

#[test]
fn suggested_pieces_come_before_rarer_ones() {
    let mut picker = picker(8, 1);
    picker.add_bitfield(&bits(8, &[5]));
    let ctx = PickContext { suggested: &[99, 5], ..seed(PEER) };
    assert_eq!(pick(&mut picker, ctx, 1), [(5, 0)]);
}

#[test]
fn a_snubbed_peer_gets_the_commonest_piece() {
    let mut picker = picker(8, 1);
    picker.add_bitfield(&bits(8, &[5]));
    assert_eq!(pick(&mut picker, PickContext { speed: Speed::Snubbed, ..seed(PEER) }, 1), [(5, 0)]);
}

#[test]
fn the_end_game_asks_three_peers_at_most_and_cancels_the_others() {
    let mut picker = picker(2, 2);
    assert_eq!(pick(&mut picker, seed(PEER), 9).len(), 4);
    assert!(picker.all_asked(OTHER));
    assert_eq!(pick(&mut picker, PickContext { end_game: false, ..seed(OTHER) }, 9), []);
    assert_eq!(pick(&mut picker, seed(PEER), 9), [], "never twice of one peer");
    assert_eq!(pick(&mut picker, seed(OTHER), 1).len(), 1);
    assert_eq!(pick(&mut picker, seed(OTHER), 9).len(), 3);
    assert_eq!(pick(&mut picker, seed(THIRD), 9).len(), 4);
    assert_eq!(pick(&mut picker, seed(FOURTH), 9), []);
    assert_eq!(picker.received(OTHER, 0, 0), Received::Wanted { cancel: vec![PEER, THIRD] });
    assert_eq!(picker.received(PEER, 0, 0), Received::Unrequested);
    assert_eq!(picker.received_late(PEER, 0, 0), Received::Duplicate);
    picker.check_invariant();
    picker.abort(PEER, request(1, 0));
    assert_eq!(pick(&mut picker, seed(FOURTH), 9).len(), 1, "the place of one who gave up is free");
    picker.abort_all(OTHER);
    assert_eq!(picker.received(THIRD, 1, 1), Received::Wanted { cancel: vec![PEER] });
    picker.check_invariant();
}

#[test]
fn the_end_game_begins_when_nothing_is_left_to_ask() {
    let mut picker = picker(3, 1);
    let has = bits(3, &[0, 1]);
    let ctx = PickContext::new(PEER, PeerPieces::Some(&has), 0);
    assert_eq!(pick(&mut picker, ctx, 9).len(), 2);
    let ctx = PickContext { peer: OTHER, ..ctx };
    assert_eq!(pick(&mut picker, ctx, 9), [], "piece 2 was not asked of anybody yet");
    pick(&mut picker, seed(THIRD), 9);
    assert_eq!(pick(&mut picker, ctx, 9).len(), 2);
}

#[test]
fn in_the_end_game_a_peer_owes_few_blocks() {
    let mut picker = picker(2, 20);
    pick(&mut picker, seed(PEER), 99);
    assert_eq!(pick(&mut picker, seed(OTHER), 5).len(), 5);
    assert_eq!(pick(&mut picker, seed(OTHER), 99).len(), 3);
    assert_eq!(pick(&mut picker, seed(OTHER), 99), []);
    assert_eq!(pick(&mut picker, seed(THIRD), 99).len(), 8);
}

#[test]
fn a_piece_that_failed_is_asked_for_again_of_one_peer() {
    let mut picker = picker(1, 2);
    let blocks = pick(&mut picker, seed(PEER), 9);
    receive_all(&mut picker, PEER, &blocks);
    assert!(picker.piece_complete(0));
    assert_eq!(picker.senders(0).collect::<Vec<_>>(), [(0, Some(PEER)), (1, Some(PEER))]);
    picker.piece_failed(0, Some(OTHER));
    picker.check_invariant();
    assert!(!picker.piece_complete(0));
    assert_eq!(pick(&mut picker, PickContext { end_game: false, ..seed(PEER) }, 9), []);
    assert_eq!(pick(&mut picker, PickContext { parole: true, ..seed(OTHER) }, 1), [(0, 0)]);
    picker.abort_all(OTHER);
    assert_eq!(pick(&mut picker, PickContext { end_game: false, ..seed(PEER) }, 9).len(), 2);
}

#[test]
fn a_piece_kept_for_a_silent_peer_does_not_stop_the_end_game() {
    let mut picker = picker(1, 2);
    pick(&mut picker, PickContext { parole: true, ..seed(OTHER) }, 1);
    assert_eq!(pick(&mut picker, seed(PEER), 9), [(0, 1), (0, 0)]);
}

#[test]
fn a_peer_on_parole_works_alone_where_it_can() {
    let mut picker = picker(3, 2);
    let shared = pick(&mut picker, seed(OTHER), 1);
    receive_all(&mut picker, OTHER, &shared);
    let parole = PickContext { parole: true, ..seed(PEER) };
    assert!(pick(&mut picker, parole, 4).iter().all(|(piece, _)| *piece != shared[0].0));
    assert_eq!(pick(&mut picker, parole, 4), [(shared[0].0, 1)], "it may be the only one to have what is left");
}

#[test]
fn a_late_block_is_taken_if_it_is_still_missing() {
    let mut picker = picker(2, 2);
    assert_eq!(picker.received_late(PEER, 0, 1), Received::Wanted { cancel: vec![] });
    assert!(picker.is_received(0, 1));
    assert_eq!(picker.received_late(PEER, 0, 1), Received::Duplicate);
    assert_eq!(picker.received_late(PEER, 0, 2), Received::Unrequested);
    assert_eq!(picker.received_late(PEER, 2, 0), Received::Unrequested);
    assert_eq!(picker.received(PEER, u32::MAX, u32::MAX), Received::Unrequested);
    assert_eq!(pick(&mut picker, seed(OTHER), 1), [(0, 0)]);
    assert_eq!(picker.received_late(PEER, 0, 0), Received::Wanted { cancel: vec![OTHER] });
    picker.piece_passed(0);
    assert_eq!(picker.received_late(PEER, 0, 0), Received::Duplicate);
    picker.set_priority(1, 0);
    assert_eq!(picker.received_late(PEER, 1, 0), Received::Unrequested);
    picker.check_invariant();
}

#[test]
fn blocks_of_unfinished_pieces_survive_a_restart() {
    let mut picker = picker(3, 12);
    let blocks = pick(&mut picker, seed(PEER), 10);
    receive_all(&mut picker, PEER, &blocks);
    let saved: Vec<_> = picker.partial_pieces().collect();
    assert_eq!(saved, [(blocks[0].0, vec![0xff, 0x03])]);
    let mut again = Picker::new(picker.layout().clone());
    again.restore_blocks(saved[0].0, &saved[0].1);
    again.restore_blocks(1, &[]);
    again.restore_blocks(99, &[0xff]);
    again.restore_blocks(2, &[0xff; 9]);
    assert!(again.piece_complete(2));
    assert_eq!(again.partial_pieces().next(), Some(saved[0].clone()));
    assert_eq!(pick(&mut again, seed(PEER), 2), [(saved[0].0, 10), (saved[0].0, 11)]);
}

#[test]
fn a_peer_with_few_of_many_pieces_is_served() {
    let mut picker = picker(100_000, 1);
    let has = bits(100_000, &[99_998]);
    picker.add_bitfield(&has);
    for random in [0, 1, u64::MAX] {
        let ctx = PickContext::new(PEER, PeerPieces::Some(&has), random);
        let mut out = Vec::new();
        picker.pick(ctx, 9, &mut out);
        assert_eq!(out.iter().map(|r| r.piece).collect::<Vec<_>>(), [99_998]);
        picker.abort_all(PEER);
    }
}

#[test]
fn losing_pieces_makes_them_wanted_again() {
    let mut picker = picker(2, 1);
    picker.we_have(0);
    picker.we_have(1);
    assert!(picker.is_seed() && picker.is_finished());
    picker.we_lost(1);
    picker.check_invariant();
    assert!(picker.is_interesting(&bits(2, &[1])) && !picker.is_interesting(&bits(2, &[0])));
    assert_eq!(pick(&mut picker, seed(PEER), 9), [(1, 0)]);
}

#[test]
fn an_idle_seed_keeps_bits_alone() {
    let mut picker = picker(3, 2);
    (0..3).for_each(|piece| picker.we_have(piece));
    assert!(picker.pieces.is_empty());
    assert_eq!([0, 2, 3].map(|piece| picker.priority(piece)), [DEFAULT_PRIORITY, DEFAULT_PRIORITY, 0]);
    picker.peer_lost(1);
    picker.remove_bitfield(&bits(3, &[0, 1]));
    assert!(picker.pieces.is_empty());
    picker.add_bitfield(&bits(3, &[0, 1]));
    picker.peer_lost(1);
    picker.check_invariant();
    assert_eq!([0, 1, 2].map(|piece| picker.availability(piece)), [1, 0, 0]);
    picker.peer_lost(0);
    assert!(picker.pieces.is_empty());
    picker.we_lost(1);
    picker.check_invariant();
    assert_eq!(pick(&mut picker, seed(PEER), 9), [(1, 0), (1, 1)]);
    picker.we_have(1);
    picker.set_priority(2, 1);
    picker.check_invariant();
    assert_eq!((picker.priority(2), picker.is_finished()), (1, true));
}

#[derive(Clone, Debug)]
enum Op {
    Have(usize, u32),
    Leave(usize),
    Priority(u32, u8),
    Pick(usize, usize, u64, Speed),
    Receive(usize, usize),
    Late(usize, u32, u32),
    Abort(usize, usize),
    AbortAll(usize),
    Fail(u32, Option<usize>),
    Pass(u32),
    Lose(u32),
    Restore(u32, u8),
}

#[test]
fn a_fast_peer_begins_small_pieces_that_lie_side_by_side() {
    let mut picker = picker(1000, 1);
    let fast = PickContext { speed: Speed::Fast, random: 130, ..seed(PEER) };
    let first = pick(&mut picker, fast, 100)[0].0;
    let picked: Vec<u32> = picker.asked[&PEER].iter().map(|(piece, _)| *piece).collect();
    assert!(first.is_multiple_of(64));
    assert!((first..first + 64).all(|piece| picked.contains(&piece)), "{picked:?}");
    picker.check_invariant();
}

#[test]
fn neighbours_that_are_not_as_rare_are_left_alone() {
    let mut picker = picker(100, 1);
    (0..100).filter(|piece| ![70, 71, 80].contains(piece)).for_each(|piece| picker.peer_has(piece));
    let fast = PickContext { speed: Speed::Fast, ..seed(PEER) };
    let mut picked = pick(&mut picker, fast, 3);
    picked.sort_unstable();
    assert_eq!(picked, [(70, 0), (71, 0), (80, 0)]);
}

#[test]
fn a_very_fast_peer_fills_large_pieces_in_turn() {
    let mut picker = picker(8, 256);
    picker.set_priority(7, 0);
    let fast = PickContext { speed: Speed::Fast, streams: 3, ..seed(PEER) };
    let picked = pick(&mut picker, fast, 6 * 64);
    let runs: Vec<(u32, u32)> = picked.chunks(64).map(|run| run[0]).collect();
    let [a, b, c] = [runs[0].0, runs[1].0, runs[2].0];
    assert!(a != b && b != c && a != c);
    assert_eq!(runs, [(a, 0), (b, 0), (c, 0), (a, 64), (b, 64), (c, 64)]);
    assert!(picked.chunks(64).all(|run| run.iter().all(|block| block.0 == run[0].0)));
    receive_all(&mut picker, PEER, &picked);
    // A run that was cut is finished before the next piece has its turn.
    assert_eq!(pick(&mut picker, fast, 10)[9], (a, 137));
    assert_eq!(pick(&mut picker, fast, 60)[54], (b, 128));
    picker.check_invariant();
    picker.abort_all(PEER);
    picker.check_invariant();
}

#[test]
fn pieces_filled_in_turn_are_all_finished() {
    let mut picker = picker(7, 100);
    let fast = PickContext { speed: Speed::Fast, streams: 3, ..seed(PEER) };
    let mut blocks = 0;
    while !picker.is_finished() {
        let picked = pick(&mut picker, fast, 50);
        assert!(!picked.is_empty(), "{blocks} blocks came");
        blocks += picked.len();
        receive_all(&mut picker, PEER, &picked);
        for piece in 0..7 {
            if picker.piece_complete(piece) {
                picker.piece_passed(piece);
            }
        }
        picker.check_invariant();
    }
    assert_eq!(blocks, 602, "the last piece is short");
}

const PIECES: u32 = 9;
const BLOCKS: u32 = 3;

fn op() -> impl Strategy<Value = Op> {
    let peer = 0..4_usize;
    let piece = 0..PIECES;
    let speed = prop_oneof![Just(Speed::Slow), Just(Speed::Medium), Just(Speed::Fast), Just(Speed::Snubbed)];
    prop_oneof![
        8 => (peer.clone(), piece.clone()).prop_map(|(a, b)| Op::Have(a, b)),
        1 => peer.clone().prop_map(Op::Leave),
        2 => (piece.clone(), 0..9_u8).prop_map(|(a, b)| Op::Priority(a, b)),
        8 => (peer.clone(), 0..9_usize, any::<u64>(), speed).prop_map(|(a, b, c, d)| Op::Pick(a, b, c, d)),
        8 => (peer.clone(), any::<usize>()).prop_map(|(a, b)| Op::Receive(a, b)),
        1 => (peer.clone(), piece.clone(), 0..4_u32).prop_map(|(a, b, c)| Op::Late(a, b, c)),
        3 => (peer.clone(), any::<usize>()).prop_map(|(a, b)| Op::Abort(a, b)),
        1 => peer.clone().prop_map(Op::AbortAll),
        2 => (piece.clone(), proptest::option::of(peer)).prop_map(|(a, b)| Op::Fail(a, b)),
        2 => piece.clone().prop_map(Op::Pass),
        1 => piece.clone().prop_map(Op::Lose),
        1 => (piece, any::<u8>()).prop_map(|(a, b)| Op::Restore(a, b)),
    ]
}

/// The same as a picker, with nothing but sets.
struct Model {
    picker: Picker,
    peers: Vec<Bitfield>,
    asked: BTreeSet<(u64, u32, u32)>,
    received: BTreeSet<(u32, u32)>,
    have: BTreeSet<u32>,
    kept: BTreeMap<u32, u64>,
}

impl Model {
    fn new() -> Self {
        Self {
            picker: picker(PIECES, BLOCKS),
            peers: vec![Bitfield::new(PIECES); 4],
            asked: BTreeSet::new(),
            received: BTreeSet::new(),
            have: BTreeSet::new(),
            kept: BTreeMap::new(),
        }
    }

    fn blocks(&self) -> Vec<(u32, u32)> {
        let layout = self.picker.layout();
        (0..PIECES).flat_map(|piece| (0..layout.num_blocks(piece)).map(move |block| (piece, block))).collect()
    }

    fn wanted(&self, piece: u32) -> bool {
        self.picker.priority(piece) > 0 && !self.have.contains(&piece)
    }

    fn is_free(&self, (piece, block): (u32, u32)) -> bool {
        let asked = (0..4).any(|peer| self.asked.contains(&(peer, piece, block)));
        self.wanted(piece) && !asked && !self.received.contains(&(piece, block))
    }

    fn untouched(&self, piece: u32) -> bool {
        let layout = self.picker.layout();
        !self.kept.contains_key(&piece) && (0..layout.num_blocks(piece)).all(|block| self.is_free((piece, block)))
    }

    fn nth_asked(&self, peer: usize, at: usize) -> Option<(u32, u32)> {
        let mine: Vec<_> = self.asked.iter().filter(|(p, ..)| *p == peer as u64).collect();
        mine.get(at % mine.len().max(1)).map(|(_, piece, block)| (*piece, *block))
    }

    fn forget_asked(&mut self, keep: impl Fn(u64, u32, u32) -> bool) {
        self.asked.retain(|&(peer, piece, block)| keep(peer, piece, block));
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Have(peer, piece) => {
                if self.peers[peer].set(piece) {
                    self.picker.peer_has(piece);
                }
            }
            Op::Leave(peer) => {
                let had = std::mem::replace(&mut self.peers[peer], Bitfield::new(PIECES));
                self.picker.remove_bitfield(&had);
                self.apply(Op::AbortAll(peer));
            }
            Op::Priority(piece, priority) => self.picker.set_priority(piece, priority),
            Op::Pick(peer, want, random, speed) => self.pick(peer, want, random, speed),
            Op::Receive(peer, at) => {
                if let Some((piece, block)) = self.nth_asked(peer, at) {
                    let answer = self.picker.received(ConnId(peer as u64), piece, block);
                    self.arrived(peer, (piece, block), answer);
                }
            }
            Op::Late(peer, piece, block) => {
                let known = self.blocks().contains(&(piece, block));
                let here = self.received.contains(&(piece, block));
                match self.picker.received_late(ConnId(peer as u64), piece, block) {
                    Received::Duplicate => assert!(self.have.contains(&piece) || here),
                    Received::Unrequested => assert!(!known || !self.wanted(piece)),
                    wanted => self.arrived(peer, (piece, block), wanted),
                }
            }
            Op::Abort(peer, at) => {
                if let Some((piece, block)) = self.nth_asked(peer, at) {
                    assert!(self.picker.abort(ConnId(peer as u64), request(piece, block)));
                    assert!(!self.picker.abort(ConnId(peer as u64), request(piece, block)));
                    self.asked.remove(&(peer as u64, piece, block));
                }
            }
            Op::AbortAll(peer) => {
                self.picker.abort_all(ConnId(peer as u64));
                self.forget_asked(|p, _, _| p != peer as u64);
                self.kept.retain(|_, only| *only != peer as u64);
            }
            Op::Fail(piece, only) => {
                if self.picker.piece_complete(piece) {
                    self.picker.piece_failed(piece, only.map(|peer| ConnId(peer as u64)));
                    self.received.retain(|(p, _)| *p != piece);
                    self.kept.remove(&piece);
                    self.kept.extend(only.map(|peer| (piece, peer as u64)));
                }
            }
            Op::Pass(piece) => {
                self.picker.piece_passed(piece);
                self.have.insert(piece);
                self.received.retain(|(p, _)| *p != piece);
                self.forget_asked(|_, p, _| p != piece);
                self.kept.remove(&piece);
            }
            Op::Lose(piece) => {
                self.picker.we_lost(piece);
                self.have.remove(&piece);
            }
            Op::Restore(piece, mask) => {
                let here = self.blocks().into_iter().filter(|(p, b)| *p == piece && mask >> b & 1 == 1);
                let here: Vec<_> = here.filter(|_| !self.have.contains(&piece)).collect();
                self.picker.restore_blocks(piece, &[mask]);
                self.forget_asked(|_, piece, block| !here.contains(&(piece, block)));
                self.received.extend(here);
            }
        }
    }

    fn arrived(&mut self, peer: usize, (piece, block): (u32, u32), answer: Received) {
        let askers: Vec<u64> = (0..4).filter(|&p| self.asked.contains(&(p, piece, block))).collect();
        let Received::Wanted { cancel } = answer else { panic!("{answer:?}") };
        let cancel: BTreeSet<u64> = cancel.iter().map(|peer| peer.0).collect();
        assert_eq!(cancel, askers.iter().copied().filter(|&p| p != peer as u64).collect());
        self.forget_asked(|_, p, b| (p, b) != (piece, block));
        assert!(self.received.insert((piece, block)));
    }

    fn pick(&mut self, peer: usize, want: usize, random: u64, speed: Speed) {
        let conn = ConnId(peer as u64);
        let has = self.peers[peer].clone();
        let mut out = Vec::new();
        let ctx = PickContext { speed, ..PickContext::new(conn, PeerPieces::Some(&has), random) };
        self.picker.pick(ctx, want, &mut out);
        assert!(out.len() <= want);
        let may = |m: &Self, piece: u32| m.kept.get(&piece).is_none_or(|only| *only == peer as u64);
        let free = self.blocks().into_iter().filter(|&b| self.is_free(b)).collect::<Vec<_>>();
        let end_game = free.iter().all(|(piece, _)| !may(self, *piece));
        for request in &out {
            let at = (request.piece, request.begin / BLOCK_SIZE);
            assert!(self.wanted(at.0) && has.get(at.0) && !self.received.contains(&at), "{at:?}");
            assert!((self.is_free(at) && may(self, at.0)) || end_game, "{at:?}");
            if speed != Speed::Snubbed && self.untouched(at.0) {
                let cost = |p: u32| (TOP_PRIORITY - self.picker.priority(p), self.picker.availability(p));
                let best = (0..PIECES).filter(|&p| has.get(p) && self.untouched(p)).map(cost).min();
                assert_eq!(Some(cost(at.0)), best);
            }
            assert!(self.asked.insert((peer as u64, at.0, at.1)), "{at:?} twice of one peer");
            assert!((0..4).filter(|&p| self.asked.contains(&(p, at.0, at.1))).count() <= 3);
        }
        let missed = free.into_iter().find(|&(piece, block)| {
            has.get(piece) && may(self, piece) && !self.asked.contains(&(peer as u64, piece, block))
        });
        assert!(out.len() == want || missed.is_none(), "{missed:?} was left out");
    }

    fn check(&self) {
        self.picker.check_invariant();
        assert_eq!(self.picker.have().iter().collect::<BTreeSet<_>>(), self.have);
        for piece in 0..PIECES {
            let peers = self.peers.iter().filter(|bits| bits.get(piece)).count();
            assert_eq!(self.picker.availability(piece) as usize, peers);
            assert_eq!(self.picker.is_missing(piece), self.wanted(piece));
        }
        for (peer, bits) in self.peers.iter().enumerate() {
            assert_eq!(self.picker.is_interesting(bits), bits.iter().any(|piece| self.wanted(piece)));
            let asked = self.asked.iter().filter(|(p, ..)| *p == peer as u64).count();
            assert_eq!(self.picker.outstanding(ConnId(peer as u64)) as usize, asked);
        }
        for (piece, block) in self.blocks() {
            let here = self.have.contains(&piece) || self.received.contains(&(piece, block));
            assert_eq!(self.picker.is_received(piece, block), here);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_picker_agrees_with_sets(ops in proptest::collection::vec(op(), 1..150)) {
        let mut model = Model::new();
        for op in ops {
            model.apply(op);
            model.check();
        }
    }

    #[test]
    fn every_download_ends(random in any::<u64>(), slow in 0..4_usize) {
        let mut model = Model::new();
        (0..4).for_each(|peer| (0..PIECES).for_each(|piece| model.apply(Op::Have(peer, piece))));
        for turn in 0..200_usize {
            let peer = turn % 4;
            model.apply(Op::Pick(peer, 3, random.rotate_left(turn as u32), Speed::Medium));
            if peer != slow {
                model.apply(Op::Receive(peer, turn));
                model.apply(Op::Receive(peer, turn));
            }
            let complete: Vec<u32> = (0..PIECES).filter(|&piece| model.picker.piece_complete(piece)).collect();
            complete.into_iter().for_each(|piece| model.apply(Op::Pass(piece)));
            model.check();
        }
        prop_assert!(model.picker.is_seed());
    }
}
