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
    /// When counting began, in microseconds.
    began: u64,
}

impl Rate {
    /// A rate of zero that begins to count at `now`.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self { slice: now.0 / SLICE, began: now.0, ..Self::default() }
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
        // While the very first slice fills there is nothing but it to go by.
        let bytes = if at.slice <= at.began / SLICE { at.filling } else { at.sum };
        let micros = (at.slice * SLICE).saturating_sub(at.began).clamp(SLICE, SLICE * SLICES as u64);
        (u128::from(bytes) * 1_000_000 / u128::from(micros)) as u64
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const STEP: Duration = Duration::from_millis(10);

    /// A rate fed `bytes` every 10 ms for `secs` seconds from `from` on.
    fn fed(from: Time, bytes: u64, secs: u64) -> (Rate, Time) {
        let (mut rate, mut now) = (Rate::new(from), from);
        for _ in 0..secs * 100 {
            rate.add(now, bytes);
            now = now + STEP;
        }
        (rate, now)
    }

    #[test]
    fn a_steady_flow_is_measured_within_a_percent() {
        for from in [Time::ZERO, Time(123_456_789)] {
            for secs in [2, 4, 60] {
                let (rate, now) = fed(from, 1000, secs);
                let measured = rate.per_second(now);
                assert!((85_000..=101_000).contains(&measured), "{measured} after {secs} s");
                assert_eq!(rate.total(), secs * 100_000);
            }
            let (rate, now) = fed(from, 1000, 60);
            assert!((99_000..=101_000).contains(&rate.per_second(now)));
        }
    }

    #[test]
    fn a_flow_that_stops_is_forgotten_in_a_few_seconds() {
        let (rate, now) = fed(Time::ZERO, 1000, 60);
        let after = |secs| rate.per_second(now + Duration::from_secs(secs));
        assert!(after(2) < 60_000 && after(2) > 40_000);
        assert_eq!((after(5), after(3600)), (0, 0));
        assert_eq!(rate.total(), 6_000_000);
    }

    #[test]
    fn the_first_bytes_count_at_once() {
        let mut rate = Rate::new(Time::ZERO);
        assert_eq!(rate.per_second(Time::ZERO), 0);
        rate.add(Time(1000), 16_384);
        assert_eq!(rate.per_second(Time(2000)), 32_768);
    }

    #[test]
    fn time_that_stands_or_goes_back_does_no_harm() {
        let mut rate = Rate::new(Time::from_secs(10));
        rate.add(Time::from_secs(9), 5);
        rate.add(Time::from_secs(10), 5);
        rate.add(Time(u64::MAX), 5);
        assert_eq!(rate.total(), 15);
        assert_eq!(rate.per_second(Time(u64::MAX)), 0);
    }
}
