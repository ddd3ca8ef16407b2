//! How fast bytes flow: an estimate over the last few seconds, and the total.
//!
//! Told of every block, so it must cost a few instructions: it counts into slices of time and forgets old ones.

use crate::time::Time;

/// Length of a slice of time, in microseconds.
const SLICE: u64 = 500_000;
/// Full slices that the estimate averages over.
const SLICES: usize = 8;

/// A rate in bytes a second, with the total.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    total: u64,
    /// The number of the slice being filled, counted from the session's start.
    slice: u64,
    filling: u64,
    /// The full slices before it, in a ring.
    full: [u64; SLICES],
    sum: u64,
    /// The slice in which counting began.
    first: u64,
}

impl Rate {
    /// A rate of zero that begins to count at `now`.
    #[must_use]
    pub fn new(now: Time) -> Self {
        let slice = now.0 / SLICE;
        Self { slice, first: slice, ..Self::default() }
    }

    /// Counts `bytes`.
    pub fn add(&mut self, now: Time, bytes: u64) {
        self.advance(now);
        self.filling += bytes;
        self.total += bytes;
    }

    /// Bytes a second over the last four seconds, or since counting began if that is less.
    #[must_use]
    pub fn per_second(&self, now: Time) -> u64 {
        let mut at = self.clone();
        at.advance(now);
        let slices = (at.slice - at.first).clamp(1, SLICES as u64);
        // While the very first slice fills there is nothing but it to go by.
        let bytes = if at.slice == at.first { at.filling } else { at.sum };
        bytes * (1_000_000 / SLICE) / slices
    }

    /// Bytes counted in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    fn advance(&mut self, now: Time) {
        let slice = now.0 / SLICE;
        if slice <= self.slice {
            return;
        }
        if slice - self.slice > SLICES as u64 {
            self.full = [0; SLICES];
            self.sum = 0;
        } else {
            for done in self.slice..slice {
                let at = (done % SLICES as u64) as usize;
                self.sum = self.sum - self.full[at] + self.filling;
                self.full[at] = std::mem::take(&mut self.filling);
            }
        }
        self.filling = 0;
        self.slice = slice;
    }
}
