//! The picker: which blocks to ask of a peer.
//!
//! Every piece is in exactly one state: had, begun (a [`Partial`] knows its blocks), untouched and wanted (in a bucket
//! of its priority and availability), or not wanted. Changes of availability move a piece by one bucket, so neither the
//! number of pieces nor that of peers makes them dearer; picking looks at a bounded number of pieces.
//!
//! A seed that no peer is connected to keeps nothing but one bit a piece: thousands of idle torrents must cost little.
//!
//! It decides what to ask for and remembers of whom; it knows nothing of time, of the bytes, or of whether a piece's
//! hash is right (BEP 3, "rarest first", "end game"; BEP 6 for allowed-fast and suggested pieces).

mod buckets;
mod moves;
mod open;
mod partial;
mod pick;
mod runs;
#[cfg(test)]
mod tests;

use crate::id_map::IdMap;
use crate::ids::ConnId;
use buckets::Buckets;
use open::Open;
use partial::{Arrival, Block, Partial};
use reef_proto::bitfield::Bitfield;
use reef_proto::layout::{BLOCK_SIZE, Layout};
use reef_proto::message::BlockRequest;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The priority of a piece or file for which none was set.
pub const DEFAULT_PRIORITY: u8 = 4;
/// The highest priority. In sequential order such pieces still come first.
pub const TOP_PRIORITY: u8 = 7;

/// In which order pieces are begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Order {
    /// Those that the fewest peers have come first; at the very start, any.
    #[default]
    RarestFirst,
    /// From the first to the last.
    Sequential,
}

/// How fast a peer sends. Peers of one class work on the same pieces, so that a slow one does not hold up a fast one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Speed {
    /// It keeps us waiting: it gets the commonest pieces.
    Snubbed,
    /// Slow.
    Slow,
    /// Neither, or not known yet.
    #[default]
    Medium,
    /// So fast that it takes whole pieces by itself.
    Fast,
}

/// The pieces that a peer has.
#[derive(Clone, Copy, Debug)]
pub enum PeerPieces<'a> {
    /// Every piece.
    All,
    /// These.
    Some(&'a Bitfield),
}

impl PeerPieces<'_> {
    /// Whether the peer has `piece`.
    #[must_use]
    pub fn has(self, piece: u32) -> bool {
        match self {
            Self::All => true,
            Self::Some(bits) => bits.get(piece),
        }
    }
}

/// For whom blocks are picked.
#[derive(Clone, Copy, Debug)]
pub struct PickContext<'a> {
    /// The peer.
    pub peer: ConnId,
    /// What it has.
    pub have: PeerPieces<'a>,
    /// Only these pieces may be asked for: the allowed-fast set while it chokes us (BEP 6).
    pub only: Option<&'a [u32]>,
    /// Pieces it suggests (BEP 6), to be begun before others.
    pub suggested: &'a [u32],
    /// How fast it is.
    pub speed: Speed,
    /// It took part in a piece that failed: it works on pieces that nobody else gives blocks of.
    pub parole: bool,
    /// Blocks that others were asked for may be picked once nothing else is left.
    pub end_game: bool,
    /// Partial pieces from which on one is rather continued than begun.
    pub max_partial: u32,
    /// How many large pieces it fills in turn; more than one only for a peer that is faster than a hash.
    pub streams: u32,
    /// A fresh random number.
    pub random: u64,
}

impl<'a> PickContext<'a> {
    /// The usual pick: an unchoked peer of medium speed, end game allowed, no limit on partial pieces.
    #[must_use]
    pub fn new(peer: ConnId, have: PeerPieces<'a>, random: u64) -> Self {
        Self {
            peer,
            have,
            only: None,
            suggested: &[],
            speed: Speed::Medium,
            parole: false,
            end_game: true,
            max_partial: u32::MAX,
            streams: 1,
            random,
        }
    }
}

/// What became of a block that arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Received {
    /// It is the first copy: keep it, and tell these peers that it is no longer wanted.
    Wanted {
        /// The other peers that were asked for it.
        cancel: Vec<ConnId>,
    },
    /// It was asked of this peer, but another one was faster.
    Duplicate,
    /// It was not asked of this peer, or is no block of this torrent. Nothing changed.
    Unrequested,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Have,
    /// Begun; `place` is its index in `partials`.
    Partial,
    /// Untouched and wanted; `place` is its index in its bucket.
    Pickable,
    Unwanted,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Piece {
    place: u32,
    /// Peers that have it, besides those that have everything.
    availability: u32,
    priority: u8,
    state: State,
}

/// A piece of a seed that no peer is connected to.
const AT_REST: Piece = Piece { place: 0, availability: 0, priority: DEFAULT_PRIORITY, state: State::Have };

/// Chooses blocks for the peers of one torrent.
#[derive(Clone, Debug)]
pub struct Picker {
    layout: Arc<Layout>,
    /// Empty while every piece would be [`AT_REST`].
    pieces: Vec<Piece>,
    /// The sum of the pieces' availability.
    seen: u64,
    have: Bitfield,
    /// Wanted and not had.
    missing: Bitfield,
    /// Wanted, not had and not begun: exactly the pieces in buckets.
    pickable: Bitfield,
    buckets: Buckets,
    /// The buckets must be filled again before they are used: cheaper than moving most of the pieces one by one.
    stale: bool,
    partials: Vec<Partial>,
    /// Wanted partial pieces that have free blocks.
    open: Open,
    /// By peer, the pieces of which blocks are asked of it, and how many.
    asked: IdMap<ConnId, Vec<(u32, u32)>>,
    /// Large pieces that a peer fills in turn.
    turns: runs::Turns,
    seeds: u32,
    order: Order,
    random_first: u32,
    /// In sequential order, no piece below this one is pickable.
    cursor: u32,
}

impl Picker {
    /// A picker that has nothing and wants everything, at the default priority.
    #[must_use]
    pub fn new(layout: Arc<Layout>) -> Self {
        let pieces = layout.num_pieces();
        let fresh = Piece { place: 0, availability: 0, priority: DEFAULT_PRIORITY, state: State::Pickable };
        Self {
            pieces: vec![fresh; pieces as usize],
            seen: 0,
            have: Bitfield::new(pieces),
            missing: Bitfield::full(pieces),
            pickable: Bitfield::full(pieces),
            buckets: Buckets::default(),
            stale: true,
            partials: Vec::new(),
            open: Open::default(),
            asked: IdMap::default(),
            turns: runs::Turns::default(),
            seeds: 0,
            order: Order::default(),
            random_first: 4,
            cursor: 0,
            layout,
        }
    }

    /// Where the pieces lie.
    #[must_use]
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// In which order pieces are begun.
    pub fn set_order(&mut self, order: Order) {
        self.order = order;
        self.cursor = 0;
    }

    /// How many pieces to have before the rarest come first (setting `initial_picker_threshold`).
    pub fn set_random_first(&mut self, pieces: u32) {
        self.random_first = pieces;
    }

    /// Sets how much a piece is wanted: 0 not at all, 7 most. What was asked for already stays asked for.
    pub fn set_priority(&mut self, piece: u32, priority: u8) {
        let priority = priority.min(TOP_PRIORITY);
        if self.priority(piece) == priority {
            return;
        }
        self.wake();
        let Some(&Piece { state, priority: before, .. }) = self.pieces.get(piece as usize) else { return };
        if state == State::Pickable {
            self.delist(piece);
        }
        self.pieces[piece as usize].priority = priority;
        match state {
            State::Have => return,
            State::Partial => self.sort_open(piece),
            State::Pickable | State::Unwanted => self.enlist(piece),
        }
        if priority == 0 && before > 0 {
            self.missing.clear(piece);
        } else if priority > 0 {
            self.missing.set(piece);
        }
    }

    /// How much a piece is wanted; 0 for one that does not exist.
    #[must_use]
    pub fn priority(&self, piece: u32) -> u8 {
        self.piece(piece).map_or(0, |p| p.priority)
    }

    /// The piece is here, verified.
    pub fn we_have(&mut self, piece: u32) {
        let Some(&Piece { state, .. }) = self.pieces.get(piece as usize) else { return };
        match state {
            State::Have => return,
            State::Partial => self.close_partial(piece),
            State::Pickable => self.delist(piece),
            State::Unwanted => {}
        }
        self.pieces[piece as usize].state = State::Have;
        self.have.set(piece);
        self.missing.clear(piece);
        self.rest();
    }

    /// The piece is gone: its file was deleted or found damaged.
    pub fn we_lost(&mut self, piece: u32) {
        if !self.have.get(piece) {
            return;
        }
        self.wake();
        self.have.clear(piece);
        if self.priority(piece) > 0 {
            self.missing.set(piece);
        }
        self.enlist(piece);
    }

    /// Whether we have the piece.
    #[must_use]
    pub fn has(&self, piece: u32) -> bool {
        self.have.get(piece)
    }

    /// The pieces we have.
    #[must_use]
    pub fn have(&self) -> &Bitfield {
        &self.have
    }

    /// The pieces that are wanted and not had.
    #[must_use]
    pub fn missing(&self) -> &Bitfield {
        &self.missing
    }

    /// How many pieces we have.
    #[must_use]
    pub fn num_have(&self) -> u32 {
        self.have.count()
    }

    /// Pieces that are wanted and not had.
    #[must_use]
    pub fn wanted_left(&self) -> u32 {
        self.missing.count()
    }

    /// Every wanted piece is here.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.missing.is_empty()
    }

    /// Every piece is here.
    #[must_use]
    pub fn is_seed(&self) -> bool {
        self.have.is_full()
    }

    /// A peer that does not have everything has this piece.
    pub fn peer_has(&mut self, piece: u32) {
        self.shift_availability(piece, 1);
    }

    /// A peer that had the piece is gone, or lost it.
    pub fn peer_lost(&mut self, piece: u32) {
        self.shift_availability(piece, -1);
    }

    /// A peer has everything.
    pub fn peer_has_all(&mut self) {
        self.seeds = self.seeds.saturating_add(1);
    }

    /// A peer that had everything is gone.
    pub fn peer_lost_all(&mut self) {
        self.seeds = self.seeds.saturating_sub(1);
    }

    /// A peer has these pieces.
    pub fn add_bitfield(&mut self, bits: &Bitfield) {
        self.shift_all(bits, 1);
    }

    /// A peer that had these pieces is gone.
    pub fn remove_bitfield(&mut self, bits: &Bitfield) {
        self.shift_all(bits, -1);
    }

    /// How many peers have the piece.
    #[must_use]
    pub fn availability(&self, piece: u32) -> u32 {
        self.piece(piece).map_or(0, |p| p.availability.saturating_add(self.seeds))
    }

    /// Peers that have everything.
    #[must_use]
    pub fn seeds(&self) -> u32 {
        self.seeds
    }

    /// Whether a peer with these pieces has one that we want.
    #[must_use]
    pub fn is_interesting(&self, bits: &Bitfield) -> bool {
        self.missing.words().iter().zip(bits.words()).any(|(wanted, theirs)| wanted & theirs != 0)
    }

    /// As [`Picker::is_interesting`], for either kind of peer.
    #[must_use]
    pub fn is_interested_in(&self, have: PeerPieces<'_>) -> bool {
        match have {
            PeerPieces::All => !self.is_finished(),
            PeerPieces::Some(bits) => self.is_interesting(bits),
        }
    }

    /// Whether this one piece is wanted and not had.
    #[must_use]
    pub fn is_missing(&self, piece: u32) -> bool {
        self.missing.get(piece)
    }

    /// Blocks asked of `peer` and not answered.
    #[must_use]
    pub fn outstanding(&self, peer: ConnId) -> u32 {
        self.asked.get(&peer).map_or(0, |pieces| pieces.iter().map(|(_, blocks)| blocks).sum())
    }

    /// Whether the block is asked of `peer` and not answered.
    #[must_use]
    pub fn is_asked(&self, peer: ConnId, request: BlockRequest) -> bool {
        self.partial(request.piece).is_some_and(|p| p.is_asked(peer, request.begin / BLOCK_SIZE))
    }

    /// Whether the block is here: its piece is had, or it waits for the rest of its piece.
    #[must_use]
    pub fn is_received(&self, piece: u32, block: u32) -> bool {
        self.has(piece) || self.partial(piece).is_some_and(|p| p.is_received(block))
    }

    /// The block is not asked of `peer` any more: rejected, timed out, cancelled. Says whether it was.
    pub fn abort(&mut self, peer: ConnId, request: BlockRequest) -> bool {
        let piece = request.piece;
        let Some(partial) = self.partial_mut(piece) else { return false };
        if !partial.abort(peer, request.begin / BLOCK_SIZE) {
            return false;
        }
        self.unbook(peer, piece, 1);
        self.settle(piece);
        true
    }

    /// Nothing is asked of `peer` any more, and no piece is kept for it: it choked us, or is gone.
    pub fn abort_all(&mut self, peer: ConnId) {
        self.turns.remove(&peer);
        for (piece, _) in self.asked.remove(&peer).unwrap_or_default() {
            if let Some(partial) = self.partial_mut(piece) {
                partial.abort_all(peer);
                self.settle(piece);
            }
        }
        let kept = self.partials.iter_mut().filter(|p| p.exclusive == Some(peer));
        let kept: Vec<u32> = kept.map(|p| (p.exclusive = None, p.piece).1).collect();
        kept.into_iter().for_each(|piece| self.settle(piece));
    }

    /// A block came that was asked of `peer`.
    pub fn received(&mut self, peer: ConnId, piece: u32, block: u32) -> Received {
        match self.partial(piece) {
            Some(partial) if partial.is_asked(peer, block) => self.receive(peer, piece, block),
            _ => Received::Unrequested,
        }
    }

    /// A block came that is not asked of `peer` any more, such as one whose request timed out: takes it if it is
    /// still missing.
    pub fn received_late(&mut self, peer: ConnId, piece: u32, block: u32) -> Received {
        if self.has(piece) {
            return Received::Duplicate;
        }
        if !self.missing.get(piece) || block >= self.layout.num_blocks(piece) {
            return Received::Unrequested;
        }
        self.begin(piece, Speed::Medium);
        self.receive(peer, piece, block)
    }

    /// Whether every block of the piece is here and none has been verified yet.
    #[must_use]
    pub fn piece_complete(&self, piece: u32) -> bool {
        self.partial(piece).is_some_and(Partial::is_complete)
    }

    /// The piece's hash is wrong: all of it is to be asked for again, of `only` alone if that is given (parole).
    pub fn piece_failed(&mut self, piece: u32, only: Option<ConnId>) {
        let Some(partial) = self.partial(piece) else { return };
        let askers: Vec<ConnId> = partial.askers().collect();
        let mut fresh = Partial::new(piece, self.layout.num_blocks(piece), partial.speed);
        fresh.exclusive = only;
        fresh.open_at = partial.open_at;
        for peer in askers {
            self.unbook(peer, piece, 1);
        }
        if let Some(partial) = self.partial_mut(piece) {
            *partial = fresh;
        }
        self.settle(piece);
    }

    /// The piece's hash is right. The same as [`Picker::we_have`].
    pub fn piece_passed(&mut self, piece: u32) {
        self.we_have(piece);
    }

    /// Pieces that were begun.
    #[must_use]
    pub fn num_partial(&self) -> usize {
        self.partials.len()
    }

    /// Pieces of which some blocks are here, with a mask of those: block 0 is the lowest bit of byte 0, as in resume
    /// data. In no particular order.
    pub fn partial_pieces(&self) -> impl Iterator<Item = (u32, Vec<u8>)> + '_ {
        self.partials.iter().filter_map(|partial| {
            let mut mask = vec![0_u8; partial.blocks().len().div_ceil(8)];
            for (index, block) in partial.blocks().iter().enumerate() {
                mask[index / 8] |= u8::from(matches!(block, Block::Received(_))) << (index % 8);
            }
            mask.iter().any(|byte| *byte != 0).then_some((partial.piece, mask))
        })
    }

    /// Who sent the blocks of a piece that are here; none for a block restored from an earlier run.
    pub fn senders(&self, piece: u32) -> impl Iterator<Item = (u32, Option<ConnId>)> + '_ {
        let blocks = self.partial(piece).map_or(&[][..], Partial::blocks);
        blocks.iter().enumerate().filter_map(|(index, block)| match block {
            Block::Received(from) => Some((index as u32, *from)),
            _ => None,
        })
    }

    /// Marks the blocks of a mask (as [`Picker::partial_pieces`] gives) as being here. Bits beyond the piece are ignored.
    pub fn restore_blocks(&mut self, piece: u32, mask: &[u8]) {
        if piece >= self.layout.num_pieces() || self.has(piece) {
            return;
        }
        self.begin(piece, Speed::Medium);
        let is_set = |block: &u32| mask.get(*block as usize / 8).is_some_and(|byte| byte >> (block % 8) & 1 == 1);
        for block in (0..self.layout.num_blocks(piece)).filter(is_set) {
            let arrival = self.partial_mut(piece).and_then(|partial| partial.receive(None, block));
            if let Some(Arrival::First { asker, others }) = arrival {
                asker.into_iter().chain(others).for_each(|peer| self.unbook(peer, piece, 1));
            }
        }
        self.settle(piece);
    }

    /// Panics if the picker contradicts itself. For tests; looks at everything.
    pub fn check_invariant(&self) {
        let mut booked: BTreeMap<(ConnId, u32), u32> = BTreeMap::new();
        for (slot, partial) in self.partials.iter().enumerate() {
            let piece = &self.pieces[partial.piece as usize];
            assert_eq!((piece.state, piece.place as usize), (State::Partial, slot), "piece {}", partial.piece);
            let count = |want: fn(&Block) -> bool| partial.blocks().iter().filter(|b| want(b)).count() as u32;
            assert_eq!(partial.free(), count(|b| *b == Block::Free));
            assert_eq!(partial.requested(), count(|b| matches!(b, Block::Requested(_))));
            assert!(!partial.is_untouched() || partial.exclusive.is_some());
            assert_eq!(partial.open_at.is_some(), piece.priority > 0 && partial.free() > 0);
            assert!(partial.open_at.is_none_or(|at| self.open.is_at(at, partial.piece) && at.kind == partial.kind()));
            partial.askers().for_each(|peer| *booked.entry((peer, partial.piece)).or_default() += 1);
        }
        assert_eq!(self.open.len(), self.partials.iter().filter(|p| p.open_at.is_some()).count());
        let books = self.asked.iter().flat_map(|(peer, list)| list.iter().map(move |&(piece, n)| ((peer, piece), n)));
        assert_eq!(books.collect::<BTreeMap<_, _>>(), booked);
        assert_eq!(self.seen, self.pieces.iter().map(|piece| u64::from(piece.availability)).sum::<u64>());
        assert!(!self.pieces.is_empty() || self.have.is_full());
        for (index, piece) in (0_u32..).zip(&self.pieces) {
            assert_eq!(self.have.get(index), piece.state == State::Have);
            assert_eq!(self.missing.get(index), piece.state != State::Have && piece.priority > 0);
            assert_eq!(self.pickable.get(index), piece.state == State::Pickable);
            assert!(!self.pickable.get(index) || (piece.priority > 0 && self.cursor <= index));
            let listed = self.buckets.at(piece.priority, piece.availability, piece.place) == Some(index);
            assert!(self.stale || listed || piece.state != State::Pickable);
        }
        assert!(self.stale || self.buckets.len() == self.pickable.count() as usize);
    }

    fn piece(&self, piece: u32) -> Option<&Piece> {
        match self.pieces.is_empty() && piece < self.have.len() {
            true => Some(&AT_REST),
            false => self.pieces.get(piece as usize),
        }
    }

    fn partial(&self, piece: u32) -> Option<&Partial> {
        let at = self.pieces.get(piece as usize).filter(|p| p.state == State::Partial)?.place;
        self.partials.get(at as usize)
    }

    fn partial_mut(&mut self, piece: u32) -> Option<&mut Partial> {
        let at = self.pieces.get(piece as usize).filter(|p| p.state == State::Partial)?.place;
        self.partials.get_mut(at as usize)
    }

    fn receive(&mut self, peer: ConnId, piece: u32, block: u32) -> Received {
        match self.partial_mut(piece).and_then(|partial| partial.receive(Some(peer), block)) {
            None => Received::Unrequested,
            Some(Arrival::Again) => Received::Duplicate,
            Some(Arrival::First { asker, mut others }) => {
                for &asker in asker.iter().chain(&others) {
                    self.unbook(asker, piece, 1);
                }
                others.retain(|other| *other != peer);
                if let Some(asker) = asker.filter(|asker| *asker != peer) {
                    others.insert(0, asker);
                }
                self.sort_open(piece);
                Received::Wanted { cancel: others }
            }
        }
    }
}
