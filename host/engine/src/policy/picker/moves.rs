//! How pieces move between the states, and the lists that must follow.
//!
//! Whatever changes a state, a bucket, the list of open pieces or the books of who was asked goes through here.

use super::{AT_REST, Partial, Picker, Piece, Speed, State};
use crate::ids::ConnId;
use reef_proto::bitfield::Bitfield;

impl Picker {
    /// Lets go of the pieces if they say nothing that the bits do not say.
    pub(super) fn rest(&mut self) {
        if self.have.is_full() && self.seen == 0 && self.pieces.iter().all(|p| p.priority == AT_REST.priority) {
            self.pieces = Vec::new();
            self.buckets.clear();
            self.stale = true;
        }
    }

    /// Makes the pieces anew before one of them changes.
    pub(super) fn wake(&mut self) {
        if self.pieces.is_empty() {
            self.pieces = vec![AT_REST; self.have.len() as usize];
        }
    }

    pub(super) fn shift_availability(&mut self, piece: u32, by: i32) {
        if piece >= self.have.len() || (by < 0 && self.pieces.is_empty()) {
            return;
        }
        self.wake();
        let entry = self.pieces[piece as usize];
        let availability = entry.availability.saturating_add_signed(by);
        let listed = entry.state == State::Pickable && !self.stale && availability != entry.availability;
        if listed {
            self.unbucket(piece);
        }
        self.pieces[piece as usize].availability = availability;
        self.seen = self.seen - u64::from(entry.availability) + u64::from(availability);
        if listed {
            self.bucket(piece);
        }
        if self.seen == 0 {
            self.rest();
        }
    }

    pub(super) fn shift_all(&mut self, bits: &Bitfield, by: i32) {
        // Filling the buckets anew touches every piece in order, moving one touches three places at random.
        if bits.count() > self.have.len() / 8 {
            self.stale = true;
        }
        for piece in bits.iter() {
            self.shift_availability(piece, by);
        }
    }

    /// Makes a piece that is neither had nor begun pickable, or unwanted at priority 0.
    pub(super) fn enlist(&mut self, piece: u32) {
        let wanted = self.pieces[piece as usize].priority > 0;
        self.pieces[piece as usize].state = if wanted { State::Pickable } else { State::Unwanted };
        if !wanted {
            return;
        }
        self.pickable.set(piece);
        self.cursor = self.cursor.min(piece);
        if !self.stale {
            self.bucket(piece);
        }
    }

    /// Takes a pickable piece out of its bucket; the caller gives it its next state.
    pub(super) fn delist(&mut self, piece: u32) {
        self.pickable.clear(piece);
        if !self.stale {
            self.unbucket(piece);
        }
    }

    pub(super) fn bucket(&mut self, piece: u32) {
        let Piece { priority, availability, .. } = self.pieces[piece as usize];
        self.pieces[piece as usize].place = self.buckets.insert(priority, availability, piece);
    }

    pub(super) fn unbucket(&mut self, piece: u32) {
        let Piece { priority, availability, place, .. } = self.pieces[piece as usize];
        if let Some(moved) = self.buckets.remove(priority, availability, place) {
            self.pieces[moved as usize].place = place;
        }
    }

    pub(super) fn refill(&mut self) {
        if std::mem::take(&mut self.stale) {
            self.buckets.clear();
            for piece in 0..self.pieces.len() as u32 {
                if self.pieces[piece as usize].state == State::Pickable {
                    self.bucket(piece);
                }
            }
        }
    }

    /// Makes a piece that is not had a partial one.
    pub(super) fn begin(&mut self, piece: u32, speed: Speed) {
        match self.pieces[piece as usize].state {
            State::Have | State::Partial => return,
            State::Pickable => self.delist(piece),
            State::Unwanted => {}
        }
        let entry = &mut self.pieces[piece as usize];
        entry.state = State::Partial;
        entry.place = self.partials.len() as u32;
        self.partials.push(Partial::new(piece, self.layout.num_blocks(piece), speed));
        self.sort_open(piece);
    }

    /// After blocks were given up: a piece of which nothing is left is as if it had never been begun.
    pub(super) fn settle(&mut self, piece: u32) {
        if self.partial(piece).is_some_and(|p| p.is_untouched() && p.exclusive.is_none()) {
            self.close_partial(piece);
            self.enlist(piece);
        } else {
            self.sort_open(piece);
        }
    }

    /// Removes a partial piece; the caller gives it its next state.
    pub(super) fn close_partial(&mut self, piece: u32) {
        self.unlist_open(piece);
        let at = self.pieces[piece as usize].place;
        let gone = self.partials.swap_remove(at as usize);
        if let Some(moved) = self.partials.get(at as usize) {
            self.pieces[moved.piece as usize].place = at;
        }
        for peer in gone.askers() {
            self.unbook(peer, piece, 1);
        }
    }

    /// Lists a partial piece as what it is, if it has free blocks and is wanted, or takes it out.
    pub(super) fn sort_open(&mut self, piece: u32) {
        let wanted = self.priority(piece) > 0;
        let Some(partial) = self.partial(piece) else { return };
        let kind = (wanted && partial.free() > 0).then(|| partial.kind());
        if kind == partial.open_at.map(|place| place.kind) {
            return;
        }
        self.unlist_open(piece);
        let place = kind.map(|kind| self.open.insert(kind, piece));
        if let Some(partial) = self.partial_mut(piece) {
            partial.open_at = place;
        }
    }

    pub(super) fn unlist_open(&mut self, piece: u32) {
        let Some(at) = self.partial_mut(piece).and_then(|partial| partial.open_at.take()) else { return };
        if let Some(moved) = self.open.remove(at)
            && let Some(partial) = self.partial_mut(moved)
        {
            partial.open_at = Some(at);
        }
    }

    pub(super) fn book(&mut self, peer: ConnId, piece: u32, count: u32) {
        if count == 0 {
            return;
        }
        let pieces = self.asked.get_or_insert_with(peer, Vec::new);
        match pieces.iter_mut().find(|(p, _)| *p == piece) {
            Some((_, blocks)) => *blocks += count,
            None => pieces.push((piece, count)),
        }
    }

    pub(super) fn unbook(&mut self, peer: ConnId, piece: u32, count: u32) {
        let Some(pieces) = self.asked.get_mut(&peer) else { return };
        let Some(at) = pieces.iter().position(|(p, _)| *p == piece) else { return };
        pieces[at].1 = pieces[at].1.saturating_sub(count);
        if pieces[at].1 == 0 {
            pieces.remove(at);
        }
        if pieces.is_empty() {
            self.asked.remove(&peer);
        }
    }
}
