//! The pieces nobody has begun, by priority and availability: a bucket each, so that every change is one swap.
//!
//! It must never cost more for many pieces than for few: no operation but [`Buckets::clear`] looks at more than a
//! bucket's edge, and a scan stops when its budget is spent.

/// Priorities run from 0 (never in a bucket) to 7.
pub(super) const LEVELS: usize = 8;

/// How a scan runs through a level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scan {
    /// The rarest first, from a random place within equals.
    Rarest,
    /// The commonest first, from a random place within equals.
    Commonest,
    /// From any place.
    Anywhere,
}

/// Pieces in buckets.
#[derive(Clone, Debug, Default)]
pub(super) struct Buckets {
    levels: [Level; LEVELS],
}

#[derive(Clone, Debug, Default)]
struct Level {
    by_availability: Vec<Vec<u32>>,
    len: usize,
    /// No bucket below this one holds a piece.
    lowest: usize,
}

impl Buckets {
    /// Empties every bucket.
    pub(super) fn clear(&mut self) {
        self.levels = Default::default();
    }

    /// Adds a piece; gives its place in its bucket.
    pub(super) fn insert(&mut self, priority: u8, availability: u32, piece: u32) -> u32 {
        let level = &mut self.levels[usize::from(priority) % LEVELS];
        let index = availability as usize;
        if level.by_availability.len() <= index {
            level.by_availability.resize_with(index + 1, Vec::new);
        }
        let bucket = &mut level.by_availability[index];
        bucket.push(piece);
        level.len += 1;
        level.lowest = level.lowest.min(index);
        // A bucket holds at most every piece, and those are counted in u32.
        (bucket.len() - 1) as u32
    }

    /// Takes out the piece at `place`; says which piece lies there instead.
    pub(super) fn remove(&mut self, priority: u8, availability: u32, place: u32) -> Option<u32> {
        let level = &mut self.levels[usize::from(priority) % LEVELS];
        let bucket = level.by_availability.get_mut(availability as usize)?;
        let place = place as usize;
        if place >= bucket.len() {
            return None;
        }
        bucket.swap_remove(place);
        level.len -= 1;
        if bucket.capacity() > 16 && bucket.len() * 4 < bucket.capacity() {
            // All pieces wander from bucket to bucket as peers come: without this each would keep room for all.
            bucket.shrink_to(bucket.len() * 2);
        }
        bucket.get(place).copied()
    }

    /// The piece at a place.
    pub(super) fn at(&self, priority: u8, availability: u32, place: u32) -> Option<u32> {
        let level = self.levels.get(usize::from(priority))?;
        level.by_availability.get(availability as usize)?.get(place as usize).copied()
    }

    /// Pieces in all buckets.
    pub(super) fn len(&self) -> usize {
        self.levels.iter().map(|level| level.len).sum()
    }

    /// The first piece of the scan, from the highest priority down, that `accept` takes; looks at `budget` pieces at most.
    pub(super) fn find(
        &mut self,
        scan: Scan,
        random: u64,
        budget: &mut u32,
        mut accept: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        self.levels.iter_mut().rev().filter(|level| level.len > 0).find_map(|level| match scan {
            Scan::Rarest => level.find_rarest(random, budget, &mut accept),
            Scan::Commonest => level.find_commonest(random, budget, &mut accept),
            Scan::Anywhere => level.find_anywhere(random, budget, &mut accept),
        })
    }

    /// The lowest piece of the top priority that `accept` takes, if there are at most `limit` of that priority.
    pub(super) fn find_top(&self, limit: u32, mut accept: impl FnMut(u32) -> bool) -> Option<u32> {
        let level = self.levels.last().filter(|level| level.len <= limit as usize)?;
        level.by_availability.iter().flatten().copied().filter(|&piece| accept(piece)).min()
    }
}

impl Level {
    fn find_rarest(&mut self, random: u64, budget: &mut u32, accept: &mut impl FnMut(u32) -> bool) -> Option<u32> {
        while self.by_availability.get(self.lowest).is_some_and(Vec::is_empty) {
            self.lowest += 1;
        }
        let from = self.lowest.min(self.by_availability.len());
        self.by_availability[from..].iter().find_map(|bucket| find_in(bucket, random, budget, accept))
    }

    fn find_commonest(&self, random: u64, budget: &mut u32, accept: &mut impl FnMut(u32) -> bool) -> Option<u32> {
        self.by_availability.iter().rev().find_map(|bucket| find_in(bucket, random, budget, accept))
    }

    fn find_anywhere(&self, random: u64, budget: &mut u32, accept: &mut impl FnMut(u32) -> bool) -> Option<u32> {
        let mut skip = (random % self.len.max(1) as u64) as usize;
        let first = self.by_availability.iter().position(|bucket| {
            let here = skip < bucket.len();
            if !here {
                skip -= bucket.len();
            }
            here
        })?;
        let (before, after) = self.by_availability.split_at(first);
        after.iter().chain(before).find_map(|bucket| find_in(bucket, skip as u64, budget, accept))
    }
}

/// Looks through a bucket once around, from a place that `random` gives.
fn find_in(bucket: &[u32], random: u64, budget: &mut u32, accept: &mut impl FnMut(u32) -> bool) -> Option<u32> {
    if bucket.is_empty() || *budget == 0 {
        return None;
    }
    let start = (random % bucket.len() as u64) as usize;
    let (before, after) = bucket.split_at(start);
    for &piece in after.iter().chain(before) {
        if *budget == 0 {
            return None;
        }
        *budget -= 1;
        if accept(piece) {
            return Some(piece);
        }
    }
    None
}
