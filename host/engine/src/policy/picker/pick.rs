//! The choice itself: own pieces first, then orphans, then others' pieces or new ones, at last the end game.
//!
//! Nothing here looks at more than a bounded number of pieces, unless next to none are left.

use super::buckets::Scan;
use super::open::Kind;
use super::{Order, Partial, PeerPieces, PickContext, Picker, Speed, State, TOP_PRIORITY};
use crate::ids::ConnId;
use reef_proto::layout::BLOCK_SIZE;
use reef_proto::message::BlockRequest;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Pieces looked at in the buckets before the bits are searched instead.
const SCAN_BUDGET: u32 = 1024;
/// Partial pieces looked at for one pick.
const JOIN_BUDGET: usize = 128;
/// Blocks that a peer may owe us before it is given blocks in the end game that others owe us too: what comes twice is
/// wasted, so each peer gets just enough to keep it busy.
const END_GAME_BLOCKS: u32 = 8;
/// Pieces found in the bits from which the rarest is taken.
const SAMPLE: usize = 32;

/// What joining a partial piece means to others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Join {
    /// Nobody works on it.
    Orphan,
    /// Peers of the same speed do.
    SameSpeed,
    /// Others do.
    Any,
}

/// What is being filled.
pub(super) struct Basket<'a> {
    goal: usize,
    out: &'a mut Vec<BlockRequest>,
}

impl Basket<'_> {
    pub(super) fn is_full(&self) -> bool {
        self.out.len() >= self.goal
    }

    pub(super) fn push(&mut self, request: BlockRequest) {
        self.out.push(request);
    }
}

impl Picker {
    /// Chooses up to `want` blocks to ask of a peer, appends them to `out` and remembers that they are asked of it.
    pub fn pick(&mut self, ctx: PickContext<'_>, want: usize, out: &mut Vec<BlockRequest>) {
        let goal = out.len().saturating_add(want);
        let before = out.len();
        let basket = &mut Basket { goal, out };
        if self.is_finished() || want == 0 {
            return;
        }
        self.refill();
        if let Some(only) = ctx.only {
            only.iter().for_each(|&piece| self.take_any(&ctx, piece, basket));
            return;
        }
        self.pick_in_turns(&ctx, basket);
        self.continue_own(&ctx, basket);
        if ctx.parole {
            self.begin_pieces(&ctx, basket);
        }
        // A peer on parole may be the only one to have what is left.
        if !ctx.parole || basket.out.len() == before {
            self.pick_shared(&ctx, basket);
        }
        if ctx.end_game && basket.out.len() == before && self.all_asked(ctx.peer) {
            self.pick_again(&ctx, basket);
        }
    }

    /// Whether no block is left that could be asked of `peer` without asking twice.
    #[must_use]
    pub fn all_asked(&self, peer: ConnId) -> bool {
        let closed = |piece: u32| self.partial(piece).is_none_or(|p| p.exclusive.is_some_and(|only| only != peer));
        self.pickable.is_empty() && self.open.iter().all(closed)
    }

    fn pick_shared(&mut self, ctx: &PickContext<'_>, basket: &mut Basket<'_>) {
        let crowded = self.partials.len() as u64 >= u64::from(ctx.max_partial);
        let first = match (crowded, ctx.speed) {
            (true, _) => Join::Any,
            (false, Speed::Fast) => Join::Orphan,
            (false, _) => Join::SameSpeed,
        };
        let before = basket.out.len();
        self.join_pieces(ctx, first, basket);
        if crowded && basket.out.len() > before {
            return;
        }
        self.begin_pieces(ctx, basket);
        if first != Join::Any {
            self.join_pieces(ctx, Join::Any, basket);
        }
    }

    /// Goes on with the pieces of which blocks are asked of the peer, and those kept for it.
    fn continue_own(&mut self, ctx: &PickContext<'_>, basket: &mut Basket<'_>) {
        let mut at = 0;
        while let Some(&(piece, _)) = self.asked.get(&ctx.peer).and_then(|pieces| pieces.get(at)) {
            if basket.is_full() {
                return;
            }
            let kept_for = self.partial(piece).and_then(|p| p.exclusive);
            let may = kept_for == Some(ctx.peer) || (kept_for.is_none() && !ctx.parole);
            if may && self.priority(piece) > 0 && ctx.have.has(piece) {
                self.take(ctx, piece, basket);
            }
            at += 1;
        }
        if ctx.parole && !basket.is_full() {
            let kept = |piece: &u32| self.partial(*piece).is_some_and(|p| p.exclusive == Some(ctx.peer));
            let kept: Vec<u32> = self.open.iter().filter(kept).collect();
            kept.into_iter().filter(|&piece| ctx.have.has(piece)).for_each(|piece| self.take(ctx, piece, basket));
        }
    }

    /// Joins partial pieces up to `limit`: the higher priority first, then those with the fewest free blocks.
    fn join_pieces(&mut self, ctx: &PickContext<'_>, limit: Join, basket: &mut Basket<'_>) {
        if basket.is_full() {
            return;
        }
        let kinds: &[Kind] = if limit == Join::Orphan { &[Kind::Orphan] } else { &[Kind::Orphan, Kind::Shared] };
        // Many of one kind that the peer does not have are not to hide those of the other.
        let some_of = |&kind: &Kind| self.open.beginning_anywhere(kind, ctx.random).take(JOIN_BUDGET / kinds.len());
        let mut found: BinaryHeap<_> = kinds
            .iter()
            .flat_map(some_of)
            .filter(|&piece| ctx.have.has(piece))
            .filter_map(|piece| self.partial(piece))
            .filter(|partial| partial.exclusive.is_none_or(|only| only == ctx.peer))
            .map(|partial| {
                let priority = TOP_PRIORITY - self.priority(partial.piece);
                Reverse((join(partial, ctx.speed), priority, partial.free(), partial.piece))
            })
            .filter(|Reverse((kind, ..))| *kind <= limit)
            .collect();
        // A few of them fill the basket, so they are not all sorted.
        while !basket.is_full()
            && let Some(Reverse((.., piece))) = found.pop()
        {
            self.take(ctx, piece, basket);
        }
    }

    /// Begins pieces until the basket is full or nothing is found.
    fn begin_pieces(&mut self, ctx: &PickContext<'_>, basket: &mut Basket<'_>) {
        for &piece in ctx.suggested {
            if basket.is_full() {
                return;
            }
            if self.pickable.get(piece) && ctx.have.has(piece) {
                self.begin_for(ctx, piece, basket);
            }
        }
        let mut last = None;
        while !basket.is_full() {
            let beside = last.and_then(|piece| self.neighbour(ctx, piece));
            let found = beside.or_else(|| self.find_new(ctx).map(|piece| self.first_neighbour(ctx, piece)));
            let Some(piece) = found else { return };
            self.begin_for(ctx, piece, basket);
            last = Some(piece);
        }
    }

    fn begin_for(&mut self, ctx: &PickContext<'_>, piece: u32, basket: &mut Basket<'_>) {
        self.begin(piece, ctx.speed);
        if let Some(partial) = self.partial_mut(piece).filter(|_| ctx.parole) {
            partial.exclusive = Some(ctx.peer);
        }
        self.take(ctx, piece, basket);
    }

    /// A pickable piece that the peer has.
    pub(super) fn find_new(&mut self, ctx: &PickContext<'_>) -> Option<u32> {
        if self.pickable.is_empty() {
            return None;
        }
        if self.order == Order::Sequential {
            return self.find_next(ctx.have);
        }
        let scan = match ctx.speed {
            _ if self.have.count() < self.random_first => Scan::Anywhere,
            Speed::Snubbed => Scan::Commonest,
            _ => Scan::Rarest,
        };
        let mut budget = SCAN_BUDGET;
        let found = self.buckets.find(scan, ctx.random, &mut budget, |piece| ctx.have.has(piece));
        match (found, ctx.have) {
            (None, PeerPieces::Some(_)) if budget == 0 => self.find_in_bits(ctx),
            _ => found,
        }
    }

    /// The rarest of a sample of the pickable pieces that the peer has: for one that has few of many.
    fn find_in_bits(&self, ctx: &PickContext<'_>) -> Option<u32> {
        let words = self.pickable.words().len() as u64;
        let start = (ctx.random % words.max(1)) as u32;
        let both = |index: u32| self.common_word(ctx.have, index).map(move |word| (index, word));
        let pieces = (start..words as u32).chain(0..start).filter_map(both).flat_map(|(index, word)| bits(index, word));
        let cost = |piece: &u32| (TOP_PRIORITY - self.priority(*piece), self.pieces[*piece as usize].availability);
        pieces.take(SAMPLE).min_by_key(cost)
    }

    /// The next pickable piece in sequential order that the peer has; those of the top priority, if they are few,
    /// come before.
    fn find_next(&mut self, have: PeerPieces<'_>) -> Option<u32> {
        if let Some(top) = self.buckets.find_top(SCAN_BUDGET, |piece| have.has(piece)) {
            return Some(top);
        }
        let words = self.pickable.words().len() as u32;
        let from = self.cursor / 64;
        let lowest = (from..words).find(|&index| self.pickable.words()[index as usize] != 0)?;
        self.cursor = self.cursor.max(lowest * 64);
        let both = |index: u32| self.common_word(have, index).map(move |word| (index, word));
        (lowest..words).find_map(both).and_then(|(index, word)| bits(index, word).next())
    }

    /// The pickable pieces that the peer has among the 64 of a word, if any.
    fn common_word(&self, have: PeerPieces<'_>, index: u32) -> Option<u64> {
        let ours = *self.pickable.words().get(index as usize)?;
        let theirs = match have {
            PeerPieces::All => u64::MAX,
            PeerPieces::Some(bits) => bits.words().get(index as usize).copied().unwrap_or(0),
        };
        Some(ours & theirs).filter(|word| *word != 0)
    }

    /// Takes blocks of a piece, begun or not.
    fn take_any(&mut self, ctx: &PickContext<'_>, piece: u32, basket: &mut Basket<'_>) {
        if basket.is_full() || !self.missing.get(piece) || !ctx.have.has(piece) {
            return;
        }
        match self.pieces[piece as usize].state {
            State::Pickable => self.begin_for(ctx, piece, basket),
            _ if self.partial(piece).is_some_and(|p| p.exclusive.is_none_or(|only| only == ctx.peer)) => {
                self.take(ctx, piece, basket);
            }
            _ => {}
        }
    }

    /// Takes free blocks of a partial piece until there are none or the basket is full.
    fn take(&mut self, ctx: &PickContext<'_>, piece: u32, basket: &mut Basket<'_>) {
        let mut taken = 0;
        while !basket.is_full() {
            let Some(block) = self.partial_mut(piece).and_then(|partial| partial.ask(ctx.peer)) else { break };
            basket.push(self.request(piece, block));
            taken += 1;
        }
        self.book(ctx.peer, piece, taken);
        self.sort_open(piece);
    }

    /// The end game: blocks that were asked of others, those asked of one before those asked of two.
    fn pick_again(&mut self, ctx: &PickContext<'_>, basket: &mut Basket<'_>) {
        // Free blocks kept for a peer on parole must not hold up the end.
        let kept: Vec<u32> = self.open.iter().collect();
        kept.into_iter().filter(|&piece| ctx.have.has(piece)).for_each(|piece| self.take(ctx, piece, basket));
        let room = END_GAME_BLOCKS.saturating_sub(self.outstanding(ctx.peer));
        basket.goal = basket.goal.min(basket.out.len() + room as usize);
        let start = (ctx.random % self.partials.len().max(1) as u64) as usize;
        for others in 1..=2 {
            for at in (start..self.partials.len()).chain(0..start) {
                let piece = self.partials[at].piece;
                if !self.missing.get(piece) || !ctx.have.has(piece) {
                    continue;
                }
                while !basket.is_full() {
                    let Some(block) = self.partials[at].ask_again(ctx.peer, others) else { break };
                    self.book(ctx.peer, piece, 1);
                    basket.push(self.request(piece, block));
                }
            }
        }
    }

    pub(super) fn request(&self, piece: u32, block: u32) -> BlockRequest {
        BlockRequest { piece, begin: block * BLOCK_SIZE, length: self.layout.block_size(piece, block) }
    }
}

fn join(partial: &Partial, speed: Speed) -> Join {
    if partial.kind() == Kind::Orphan {
        Join::Orphan
    } else if partial.speed == speed {
        Join::SameSpeed
    } else {
        Join::Any
    }
}

/// The pieces of a word of bits, in ascending order.
fn bits(index: u32, word: u64) -> impl Iterator<Item = u32> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let bit = rest.leading_zeros();
        (bit < 64).then(|| {
            rest &= !(1 << 63 >> bit);
            index * 64 + bit
        })
    })
}
