//! Timers of plugins: when the next one runs out, and whose it is.

use super::Session;
use crate::control::{LEAST_DELAY, Ticket};
use crate::hooks::Hooks;
use crate::time::Time;
use std::collections::BTreeMap;

/// The timers that run. How many one owner may have is its host's to say.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// In the order in which they run out, and were set.
    queue: BTreeMap<(Time, u64), Ticket>,
    places: BTreeMap<Ticket, (Time, u64)>,
    next: u64,
}

impl Timers {
    pub(super) fn set(&mut self, ticket: Ticket, at: Time) {
        self.cancel(ticket);
        let place = (at, self.next);
        self.next += 1;
        self.queue.insert(place, ticket);
        self.places.insert(ticket, place);
    }

    pub(super) fn cancel(&mut self, ticket: Ticket) {
        if let Some(place) = self.places.remove(&ticket) {
            self.queue.remove(&place);
        }
    }

    /// Whoever set them is gone.
    pub(super) fn forget(&mut self, owner: u64) {
        let first = Ticket { owner, number: 0 };
        let all: Vec<Ticket> =
            self.places.range(first..=Ticket { owner, number: u64::MAX }).map(|(ticket, _)| *ticket).collect();
        for ticket in all {
            self.cancel(ticket);
        }
    }

    /// When the next one runs out.
    pub(super) fn next(&self) -> Option<Time> {
        self.queue.keys().next().map(|(at, _)| *at)
    }

    /// Takes those that have run out, in order.
    fn take_due(&mut self, now: Time) -> Vec<Ticket> {
        let later = self.queue.split_off(&(Time(now.0.saturating_add(1)), 0));
        let due: Vec<Ticket> = std::mem::replace(&mut self.queue, later).into_values().collect();
        for ticket in &due {
            self.places.remove(ticket);
        }
        due
    }
}

impl Session {
    pub(super) fn run_plugin_timers(&mut self, hooks: &mut dyn Hooks) {
        if self.timers.next().is_none_or(|at| at > self.now) {
            return;
        }
        for ticket in self.timers.take_due(self.now) {
            self.tell_timer(ticket, hooks);
        }
    }

    /// When a timer set now for `after` runs out.
    pub(super) fn runs_out(&self, after: std::time::Duration) -> Time {
        self.now + after.max(LEAST_DELAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(owner: u64, number: u64) -> Ticket {
        Ticket { owner, number }
    }

    #[test]
    fn timers_run_out_in_order_and_once() {
        let mut timers = Timers::default();
        let at = Time::from_secs;
        timers.set(ticket(1, 1), at(5));
        timers.set(ticket(1, 2), at(3));
        timers.set(ticket(2, 1), at(5));
        assert_eq!(timers.next(), Some(at(3)));
        assert_eq!(timers.take_due(at(2)), []);
        assert_eq!(timers.take_due(at(5)), [ticket(1, 2), ticket(1, 1), ticket(2, 1)]);
        assert_eq!((timers.next(), timers.places.len()), (None, 0));
    }

    #[test]
    fn a_timer_that_is_set_again_or_cancelled_runs_out_no_more() {
        let mut timers = Timers::default();
        let at = Time::from_secs;
        timers.set(ticket(1, 1), at(1));
        timers.set(ticket(1, 1), at(4));
        timers.set(ticket(1, 2), at(1));
        timers.cancel(ticket(1, 2));
        timers.set(ticket(2, u64::MAX), at(1));
        timers.forget(2);
        assert_eq!(timers.take_due(at(3)), []);
        assert_eq!(timers.take_due(at(4)), [ticket(1, 1)]);
    }
}
