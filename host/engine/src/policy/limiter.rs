//! The limiter: shares out bytes of channels that have a rate.
//!
//! A channel is a bucket of tokens; a peer asks of a set of channels (its peer classes) and gets what all of them give.
//! Who is not served waits in line, and the line is served in turn. A grant may overdraw a channel, so that a whole
//! block can be granted at any rate; the debt is paid before the next grant, so the rate holds in the long run.
//!
//! It knows no socket and reads no clock; time comes with every call.

use crate::ids::ConnId;
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// The channel that every peer belongs to.
pub const GLOBAL: ChannelId = ChannelId(0);

/// What is granted at once at any rate, in bytes: a block with its header and some to spare.
pub const MIN_GRANT: u64 = 17 * 1024;

/// What is granted at once is worth this long, if that is more than [`MIN_GRANT`].
const GRANT_TIME: Duration = Duration::from_millis(50);
/// An idle channel saves up what is worth this long.
const BURST_TIME: Duration = Duration::from_millis(250);
/// Nobody is woken sooner than this.
const MIN_WAIT: Duration = Duration::from_millis(20);

/// A channel: something that has a rate limit of its own, such as a peer class.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChannelId(pub u32);

/// Bytes that a waiting peer may move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The peer.
    pub peer: ConnId,
    /// How many bytes.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    /// Bytes a second.
    rate: u64,
    /// Millionths of a byte; below zero while it is overdrawn.
    tokens: i128,
    filled_at: Time,
    waiting: u32,
}

#[derive(Clone, Debug)]
struct Waiting {
    peer: ConnId,
    channels: Vec<ChannelId>,
    want: u64,
}

/// Shares out one direction of traffic.
#[derive(Clone, Debug, Default)]
pub struct Limiter {
    channels: BTreeMap<ChannelId, Channel>,
    line: VecDeque<Waiting>,
    waiting: BTreeSet<ConnId>,
}

impl Limiter {
    /// A limiter without limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a channel's rate in bytes a second; 0 takes the limit away.
    pub fn channel(&mut self, now: Time, id: ChannelId, rate: u64) {
        if rate == 0 {
            self.channels.remove(&id);
            return;
        }
        let waiting = self.line.iter().filter(|w| w.channels.contains(&id)).count() as u32;
        let fresh = Channel { rate, tokens: 0, filled_at: now, waiting };
        let channel = self.channels.entry(id).or_insert(fresh);
        channel.fill(now);
        channel.rate = rate;
    }

    /// Whether one of these channels has a limit. Where none has, nobody needs to ask.
    #[must_use]
    pub fn limits(&self, channels: &[ChannelId]) -> bool {
        channels.iter().any(|id| self.channels.contains_key(id))
    }

    /// Asks for `want` bytes; gives what may be moved now. With 0 the peer waits in line, and [`Limiter::poll`] will
    /// name it; asking again while it waits only changes how much it wants.
    pub fn request(&mut self, now: Time, peer: ConnId, channels: &[ChannelId], want: u64) -> u64 {
        if want == 0 {
            return 0;
        }
        if self.waiting.contains(&peer) {
            self.line.iter_mut().filter(|w| w.peer == peer).for_each(|w| w.want = want);
            return 0;
        }
        if !channels.iter().any(|id| self.channels.get(id).is_some_and(|channel| channel.waiting > 0)) {
            let bytes = self.take(now, channels, want);
            if bytes > 0 {
                return bytes;
            }
        }
        self.waiting.insert(peer);
        self.count_waiting(channels, 1);
        self.line.push_back(Waiting { peer, channels: channels.to_vec(), want });
        0
    }

    /// Serves the line: each peer once at most, those that waited longest first. A peer that is named waits no more; it
    /// asks again for what it did not get.
    pub fn poll(&mut self, now: Time) -> Vec<Grant> {
        let mut grants = Vec::new();
        for _ in 0..self.line.len() {
            let Some(first) = self.line.pop_front() else { break };
            let bytes = self.take(now, &first.channels, first.want);
            if bytes > 0 {
                self.leave(&first);
                grants.push(Grant { peer: first.peer, bytes });
            } else {
                self.line.push_back(first);
            }
        }
        grants
    }

    /// When [`Limiter::poll`] will have something to give; `None` while nobody waits. Never sooner than 20 ms from `now`
    /// unless it is overdue.
    #[must_use]
    pub fn next_refill(&self, now: Time) -> Option<Time> {
        let soonest = self.line.iter().map(|w| self.ready_at(&w.channels)).min()?;
        Some(if soonest <= now { now } else { soonest.max(now + MIN_WAIT) })
    }

    /// Counts bytes that were moved without asking, such as what came with what was granted.
    pub fn charge(&mut self, now: Time, channels: &[ChannelId], bytes: u64) {
        for channel in self.limited(channels) {
            channel.fill(now);
            channel.tokens -= i128::from(bytes) * MICRO;
        }
    }

    /// Gives back bytes that were granted and not used.
    pub fn give_back(&mut self, channels: &[ChannelId], bytes: u64) {
        for channel in self.limited(channels) {
            channel.tokens += i128::from(bytes) * MICRO;
        }
    }

    /// The peer is gone.
    pub fn forget(&mut self, peer: ConnId) {
        if self.waiting.contains(&peer)
            && let Some(at) = self.line.iter().position(|w| w.peer == peer)
            && let Some(gone) = self.line.remove(at)
        {
            self.leave(&gone);
        }
    }

    /// Peers that wait.
    #[must_use]
    pub fn num_waiting(&self) -> usize {
        self.line.len()
    }

    fn leave(&mut self, who: &Waiting) {
        self.waiting.remove(&who.peer);
        self.count_waiting(&who.channels, -1);
    }

    fn count_waiting(&mut self, channels: &[ChannelId], by: i32) {
        for channel in self.limited(channels) {
            channel.waiting = channel.waiting.saturating_add_signed(by);
        }
    }

    fn limited(&mut self, channels: &[ChannelId]) -> impl Iterator<Item = &mut Channel> {
        self.channels.iter_mut().filter(|(id, _)| channels.contains(id)).map(|(_, channel)| channel)
    }

    /// Takes what all channels give, if all have something.
    fn take(&mut self, now: Time, channels: &[ChannelId], want: u64) -> u64 {
        let mut bytes = want;
        for channel in self.limited(channels) {
            channel.fill(now);
            if channel.tokens <= 0 {
                return 0;
            }
            bytes = bytes.min(channel.grant());
        }
        for channel in self.limited(channels) {
            channel.tokens -= i128::from(bytes) * MICRO;
        }
        bytes
    }

    fn ready_at(&self, channels: &[ChannelId]) -> Time {
        let limited = channels.iter().filter_map(|id| self.channels.get(id));
        limited.map(Channel::ready_at).max().unwrap_or(Time::ZERO)
    }
}

const MICRO: i128 = 1_000_000;

impl Channel {
    fn fill(&mut self, now: Time) {
        let gained = i128::from(self.rate) * now.since(self.filled_at).as_micros() as i128;
        self.filled_at = self.filled_at.max(now);
        // What is saved up is bounded, what was given back is not lost.
        self.tokens = (self.tokens + gained).min(self.burst().max(self.tokens));
    }

    fn burst(&self) -> i128 {
        (i128::from(self.rate) * BURST_TIME.as_micros() as i128).max(i128::from(MIN_GRANT) * MICRO)
    }

    fn grant(&self) -> u64 {
        (u128::from(self.rate) * GRANT_TIME.as_micros() / 1_000_000).try_into().unwrap_or(u64::MAX).max(MIN_GRANT)
    }

    /// When it has a token again.
    fn ready_at(&self) -> Time {
        if self.tokens > 0 {
            return self.filled_at;
        }
        let rate = i128::from(self.rate.max(1));
        let micros = (rate - self.tokens) / rate;
        self.filled_at + Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}
