//! The requests that a peer owes us, and how many it should owe.

use crate::time::Time;
use reef_proto::layout::BLOCK_SIZE;
use reef_proto::message::BlockRequest;
use std::collections::VecDeque;
use std::time::Duration;

/// Requests that are outstanding when a peer has not shown its speed yet.
const FIRST: u32 = 5;

/// How long a peer that sends nothing at all is asked for nothing.
const REST: Duration = Duration::from_secs(60);

/// The requests made of one peer.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    outstanding: VecDeque<BlockRequest>,
    /// Blocks that were cancelled; they may still arrive.
    cancelled: VecDeque<BlockRequest>,
    /// One more for every block while the rate still grows.
    window: u32,
    last_block: Time,
    snubbed: bool,
    /// It did not even send the one block that it was asked for: it is asked for nothing before this.
    rests_until: Time,
}

/// What a block that arrived was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arrival {
    /// Asked for.
    Expected,
    /// Asked for and then cancelled, or given up.
    Late,
    /// Never asked for.
    Unsolicited,
}

impl Requests {
    /// How many are outstanding.
    pub(crate) fn len(&self) -> u32 {
        self.outstanding.len() as u32
    }

    /// Whether the peer kept us waiting.
    pub(crate) fn is_snubbed(&self) -> bool {
        self.snubbed
    }

    /// A request is being sent.
    pub(crate) fn push(&mut self, request: BlockRequest, now: Time) {
        if self.outstanding.is_empty() {
            self.last_block = now;
        }
        self.outstanding.push_back(request);
    }

    /// A block arrived.
    pub(crate) fn arrived(&mut self, request: BlockRequest, now: Time) -> Arrival {
        if !take_out(&mut self.outstanding, request) {
            if !take_out(&mut self.cancelled, request) {
                return Arrival::Unsolicited;
            }
            self.rests_until = Time::ZERO;
            return Arrival::Late;
        }
        self.last_block = now;
        self.snubbed = false;
        self.window = self.window.saturating_add(1);
        Arrival::Expected
    }

    /// Forgets a request; it may still be answered. False if there was none.
    pub(crate) fn cancel(&mut self, request: BlockRequest) -> bool {
        let found = take_out(&mut self.outstanding, request);
        if found {
            self.remember_cancelled(request);
        }
        found
    }

    /// Forgets a request that the peer refused. False if there was none.
    pub(crate) fn reject(&mut self, request: BlockRequest) -> bool {
        take_out(&mut self.cancelled, request);
        let found = take_out(&mut self.outstanding, request);
        if found {
            self.window = (self.window / 2).max(FIRST);
        }
        found
    }

    /// Forgets all of them; they may still be answered.
    pub(crate) fn clear(&mut self) -> Vec<BlockRequest> {
        let all: Vec<BlockRequest> = self.outstanding.drain(..).collect();
        for &r in &all {
            self.remember_cancelled(r);
        }
        all
    }

    /// When the peer will have kept us waiting for `timeout_secs`; `None` while it owes nothing.
    pub(crate) fn waits_since(&self) -> Option<Time> {
        (!self.outstanding.is_empty()).then_some(self.last_block)
    }

    /// The peer kept us waiting: it will be asked for one block at a time until it sends one. If that one does not come
    /// either, the peer rests, so that blocks are not kept from others by peers that never send them.
    pub(crate) fn snub(&mut self, now: Time) {
        if self.snubbed {
            self.rests_until = now + REST;
        }
        self.snubbed = true;
        self.window = 0;
    }

    /// Whether nothing may be asked of it for now.
    pub(crate) fn is_resting(&self, now: Time) -> bool {
        now < self.rests_until
    }

    /// How many should be outstanding: `seconds` of what the peer sends at `rate` bytes a second, growing by one a block
    /// from a small start, at most `limit`.
    pub(crate) fn target(&self, rate: u64, seconds: u64, limit: u32) -> u32 {
        if self.snubbed {
            return 1;
        }
        let by_rate = u32::try_from(rate.saturating_mul(seconds) / u64::from(BLOCK_SIZE)).unwrap_or(u32::MAX);
        by_rate.max(FIRST.saturating_add(self.window).min(by_rate.saturating_mul(2).max(FIRST))).min(limit)
    }

    fn remember_cancelled(&mut self, request: BlockRequest) {
        const REMEMBERED: usize = 1024;
        if self.cancelled.len() == REMEMBERED {
            self.cancelled.pop_front();
        }
        self.cancelled.push_back(request);
    }
}

/// Takes a request off a list; false if it is not on it.
fn take_out(list: &mut VecDeque<BlockRequest>, request: BlockRequest) -> bool {
    // Peers answer in order nearly always.
    if list.front() == Some(&request) {
        return list.pop_front().is_some();
    }
    list.iter().position(|r| *r == request).is_some_and(|at| list.remove(at).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const R: BlockRequest = BlockRequest { piece: 1, begin: 0, length: BLOCK_SIZE };

    #[test]
    fn snubbed_peer_gets_one_request() {
        let mut q = Requests::default();
        assert_eq!(q.target(0, 3, 500), FIRST);
        q.push(R, Time::ZERO);
        q.snub(Time::ZERO);
        assert!(!q.is_resting(Time::ZERO));
        assert_eq!(q.target(1 << 30, 3, 500), 1);
        assert_eq!(q.arrived(R, Time::ZERO), Arrival::Expected);
        assert!(q.target(1 << 20, 3, 500) > 1);
    }

    #[test]
    fn peer_that_sends_nothing_at_all_rests_until_it_does() {
        let mut q = Requests::default();
        q.push(R, Time::ZERO);
        q.snub(Time::ZERO);
        q.clear();
        q.snub(Time::ZERO);
        assert!(q.is_resting(Time::ZERO) && !q.is_resting(Time::ZERO + REST));
        assert_eq!(q.arrived(R, Time::ZERO), Arrival::Late);
        assert!(!q.is_resting(Time::ZERO), "it is alive after all");
    }

    #[test]
    fn target_follows_the_rate_and_keeps_to_the_limit() {
        let q = Requests::default();
        assert_eq!(q.target(u64::from(BLOCK_SIZE) * 100, 3, 500), 300);
        assert_eq!(q.target(u64::MAX, 3, 500), 500);
    }

    #[test]
    fn cancelled_block_is_late_once_and_then_unsolicited() {
        let mut q = Requests::default();
        q.push(R, Time::ZERO);
        assert!(q.cancel(R));
        assert!(!q.cancel(R));
        assert_eq!(q.arrived(R, Time::ZERO), Arrival::Late);
        assert_eq!(q.arrived(R, Time::ZERO), Arrival::Unsolicited);
    }
}
