//! What goes on disk together is asked for together: neighbours of small pieces, and parts of several large ones in turn.
//!
//! Blocks are written about 1 MiB at a time, and pieces are hashed side by side far faster than one after the other. A
//! peer that fills small pieces at once goes on with the piece beside the one it began; one that alone is faster than
//! a piece can be hashed fills several large ones in turn. Neither changes which pieces are the rarest.

use super::pick::Basket;
use super::{Order, PickContext, Picker, Speed, State};
use crate::id_map::IdMap;
use crate::ids::ConnId;
use reef_proto::layout::BLOCK_SIZE;
use std::collections::VecDeque;

/// Blocks that are written at once: 1 MiB.
const RUN: u32 = 64;

/// By peer, the pieces that it fills in turn, the next one first.
pub(super) type Turns = IdMap<ConnId, VecDeque<u32>>;

impl Picker {
    /// Fills large pieces in turn, a run of each.
    pub(super) fn pick_in_turns(&mut self, ctx: &PickContext<'_>, basket: &mut Basket<'_>) {
        let is_large = self.layout.piece_length() > RUN * BLOCK_SIZE;
        if ctx.streams < 2 || ctx.parole || !is_large || self.order == Order::Sequential {
            return;
        }
        let mut turns = self.turns.remove(&ctx.peer).unwrap_or_default();
        if turns.is_empty() {
            turns.extend(self.asked.get(&ctx.peer).into_iter().flatten().map(|(piece, _)| *piece));
        }
        turns.retain(|&piece| self.may_fill(ctx, piece));
        while !basket.is_full() {
            let in_a_run = turns.front().is_some_and(|&piece| !self.begins_run(piece));
            let more =
                !in_a_run && turns.len() < ctx.streams as usize && self.partials.len() < ctx.max_partial as usize;
            if more && let Some(piece) = self.find_new(ctx) {
                self.begin(piece, ctx.speed);
                turns.push_front(piece);
            }
            let Some(&piece) = turns.front() else { break };
            self.take_run(ctx, piece, basket);
            if !self.may_fill(ctx, piece) {
                turns.pop_front();
            } else if self.begins_run(piece) {
                turns.rotate_left(1);
            }
        }
        if !turns.is_empty() {
            self.turns.insert(ctx.peer, turns);
        }
    }

    /// Whether the peer could be asked for free blocks of a piece that was begun.
    fn may_fill(&self, ctx: &PickContext<'_>, piece: u32) -> bool {
        let open = self.partial(piece).is_some_and(|partial| partial.free() > 0 && partial.exclusive.is_none());
        open && self.missing.get(piece) && ctx.have.has(piece)
    }

    /// Whether the next free block of a piece is the first of a run.
    fn begins_run(&self, piece: u32) -> bool {
        self.partial(piece).is_none_or(|partial| partial.first_free().is_multiple_of(RUN))
    }

    fn take_run(&mut self, ctx: &PickContext<'_>, piece: u32, basket: &mut Basket<'_>) {
        let mut taken = 0;
        while !basket.is_full() {
            let Some(block) = self.partial_mut(piece).and_then(|partial| partial.ask(ctx.peer)) else { break };
            basket.push(self.request(piece, block));
            taken += 1;
            if (block + 1).is_multiple_of(RUN) {
                break;
            }
        }
        self.book(ctx.peer, piece, taken);
        self.sort_open(piece);
    }

    /// The piece after this one, if both are small, lie in the same mebibyte and are worth the same.
    pub(super) fn neighbour(&self, ctx: &PickContext<'_>, piece: u32) -> Option<u32> {
        let next = piece.checked_add(1)?;
        let together = self.pieces_a_run(ctx)?;
        (!next.is_multiple_of(together) && self.is_alike(ctx, piece, next)).then_some(next)
    }

    /// The first of the neighbours before this piece that are worth the same.
    pub(super) fn first_neighbour(&self, ctx: &PickContext<'_>, piece: u32) -> u32 {
        let Some(together) = self.pieces_a_run(ctx) else { return piece };
        let alike = (piece - piece % together..piece).rev().take_while(|&p| self.is_alike(ctx, piece, p));
        alike.last().unwrap_or(piece)
    }

    fn pieces_a_run(&self, ctx: &PickContext<'_>) -> Option<u32> {
        let together = RUN * BLOCK_SIZE / self.layout.piece_length();
        (ctx.speed == Speed::Fast && together > 1).then_some(together)
    }

    fn is_alike(&self, ctx: &PickContext<'_>, piece: u32, other: u32) -> bool {
        let (Some(a), Some(b)) = (self.piece(piece), self.piece(other)) else { return false };
        b.state == State::Pickable
            && (a.priority, a.availability) == (b.priority, b.availability)
            && ctx.have.has(other)
    }
}
