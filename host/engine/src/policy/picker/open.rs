//! The partial pieces that are wanted and have free blocks. Those that nobody works on are a list of their own: a fast
//! peer looks for them each time, and must not look at what every other peer is busy with.

/// Where a piece is listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) kind: Kind,
    at: u32,
}

/// Whether somebody works on a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// No block of it is asked of anybody.
    Orphan,
    /// Some are.
    Shared,
}

/// The lists, each in no particular order.
#[derive(Clone, Debug, Default)]
pub(super) struct Open {
    orphans: Vec<u32>,
    shared: Vec<u32>,
}

impl Open {
    pub(super) fn len(&self) -> usize {
        self.orphans.len() + self.shared.len()
    }

    /// All of them, orphans first.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.orphans.iter().chain(&self.shared).copied()
    }

    /// Those of one kind, from a place on that a random number says.
    pub(super) fn beginning_anywhere(&self, kind: Kind, random: u64) -> impl Iterator<Item = u32> + '_ {
        let list = self.list(kind);
        let start = random.checked_rem(list.len() as u64).unwrap_or(0) as usize;
        let (before, after) = list.split_at(start);
        after.iter().chain(before).copied()
    }

    pub(super) fn insert(&mut self, kind: Kind, piece: u32) -> Place {
        let list = self.list_mut(kind);
        list.push(piece);
        Place { kind, at: list.len() as u32 - 1 }
    }

    /// Takes out what is at a place. Returns the piece that is there instead, if any.
    pub(super) fn remove(&mut self, place: Place) -> Option<u32> {
        let list = self.list_mut(place.kind);
        list.swap_remove(place.at as usize);
        list.get(place.at as usize).copied()
    }

    /// Whether a piece is at a place. For tests.
    pub(super) fn is_at(&self, place: Place, piece: u32) -> bool {
        self.list(place.kind).get(place.at as usize) == Some(&piece)
    }

    fn list(&self, kind: Kind) -> &[u32] {
        match kind {
            Kind::Orphan => &self.orphans,
            Kind::Shared => &self.shared,
        }
    }

    fn list_mut(&mut self, kind: Kind) -> &mut Vec<u32> {
        match kind {
            Kind::Orphan => &mut self.orphans,
            Kind::Shared => &mut self.shared,
        }
    }
}
