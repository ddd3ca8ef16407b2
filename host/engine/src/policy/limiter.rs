//! The limiter: shares out bytes of channels that have a rate.
//!
//! A channel is a bucket of tokens; a peer asks of a set of channels (its peer classes) and gets what all of them give.
//! Who is not served waits in line, and the line is served in turn. A grant may overdraw a channel, so that a whole
//! block can be granted at any rate; the debt is paid before the next grant, so the rate holds in the long run.
//!
//! It knows no socket and reads no clock; time comes with every call.

use crate::id_map::IdMap;
use crate::ids::ConnId;
use crate::time::Time;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The channel that every peer belongs to.
pub const GLOBAL: ChannelId = ChannelId(0);

/// What is granted at once at any rate, in bytes: a block with its header and some to spare.
pub const MIN_GRANT: u64 = 17 * 1024;

/// What is granted at once to all is worth this long, if that is more than [`MIN_GRANT`] for each.
const GRANT_TIME: Duration = Duration::from_millis(50);
/// An idle channel saves up what is worth this long.
const BURST_TIME: Duration = Duration::from_millis(250);
/// The line is not served again sooner than this.
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
    /// Peers in line that wait for this channel to have something.
    waiting: u32,
}

#[derive(Clone, Debug)]
struct Waiting {
    peer: ConnId,
    channels: Vec<ChannelId>,
    /// The one of its channels that had nothing to give.
    blocked_by: ChannelId,
}

/// Shares out one direction of traffic.
#[derive(Clone, Debug, Default)]
pub struct Limiter {
    channels: BTreeMap<ChannelId, Channel>,
    line: VecDeque<Waiting>,
    /// Who is in line, and how many bytes each wants.
    waiting: IdMap<ConnId, u64>,
    polled_at: Option<Time>,
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
        let fresh = Channel { rate, tokens: 0, filled_at: now, waiting: 0 };
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
        if let Some(wanted) = self.waiting.get_mut(&peer) {
            *wanted = want;
            return 0;
        }
        let queued = |id: &&ChannelId| self.channels.get(id).is_some_and(|channel| channel.waiting > 0);
        let blocked_by = match channels.iter().find(queued) {
            Some(queue) => *queue,
            None => match self.take(now, channels, want) {
                Ok(bytes) => return bytes,
                Err(empty) => empty,
            },
        };
        self.waiting.insert(peer, want);
        self.enqueue(Waiting { peer, channels: channels.to_vec(), blocked_by });
        0
    }

    /// What these channels would give one peer at once, as many as wait for them.
    #[must_use]
    pub fn share(&self, channels: &[ChannelId]) -> u64 {
        channels.iter().filter_map(|id| self.channels.get(id)).map(Channel::grant).min().unwrap_or(u64::MAX)
    }

    /// Serves the line: each peer once at most, those that waited longest first. A peer that is named waits no more; it
    /// asks again for what it did not get.
    pub fn poll(&mut self, now: Time) -> Vec<Grant> {
        self.polled_at = Some(now);
        let mut grants = Vec::new();
        if self.line.is_empty() {
            return grants;
        }
        // Those that keep their places before the rest of the line.
        let mut kept = VecDeque::new();
        while let Some(mut first) = self.dequeue(0) {
            let want = self.waiting.get(&first.peer).copied().unwrap_or(0);
            match self.take(now, &first.channels, want) {
                Ok(bytes) => {
                    self.waiting.remove(&first.peer);
                    grants.push(Grant { peer: first.peer, bytes });
                }
                Err(empty) => {
                    first.blocked_by = empty;
                    self.count_waiting(empty);
                    kept.push_back(first);
                    // Everybody belongs to it, so nobody behind gets anything either.
                    if empty == GLOBAL {
                        break;
                    }
                }
            }
        }
        kept.append(&mut self.line);
        self.line = kept;
        grants
    }

    /// When [`Limiter::poll`] may have something to give; `None` while nobody waits. Never sooner than 20 ms after
    /// the last time, however small the debts are. It looks at channels and not at who waits.
    #[must_use]
    pub fn next_refill(&self, now: Time) -> Option<Time> {
        if self.line.is_empty() {
            return None;
        }
        let waited_for = self.channels.values().filter(|channel| channel.waiting > 0);
        // Whoever waits for a channel whose limit is gone, or was set anew, is not counted and can be served.
        let counted: usize = waited_for.clone().map(|channel| channel.waiting as usize).sum();
        let soonest = waited_for.map(Channel::ready_at).min().filter(|_| counted >= self.line.len());
        let rested = self.polled_at.map_or(now, |polled| polled + MIN_WAIT);
        Some(soonest.unwrap_or(now).max(rested).max(now))
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
        if self.waiting.remove(&peer).is_some()
            && let Some(at) = self.line.iter().position(|w| w.peer == peer)
        {
            self.dequeue(at);
        }
    }

    /// Peers that wait.
    #[must_use]
    pub fn num_waiting(&self) -> usize {
        self.line.len()
    }

    fn enqueue(&mut self, who: Waiting) {
        self.count_waiting(who.blocked_by);
        self.line.push_back(who);
    }

    fn count_waiting(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.waiting += 1;
        }
    }

    fn dequeue(&mut self, at: usize) -> Option<Waiting> {
        let who = self.line.remove(at)?;
        if let Some(channel) = self.channels.get_mut(&who.blocked_by) {
            // A channel that was made anew does not know who waited for the old one.
            channel.waiting = channel.waiting.saturating_sub(1);
        }
        Some(who)
    }

    fn limited(&mut self, channels: &[ChannelId]) -> impl Iterator<Item = &mut Channel> {
        self.channels.iter_mut().filter(|(id, _)| channels.contains(id)).map(|(_, channel)| channel)
    }

    /// Takes what all channels give; or says which of them has nothing.
    fn take(&mut self, now: Time, channels: &[ChannelId], want: u64) -> Result<u64, ChannelId> {
        let mut bytes = want;
        for id in channels {
            let Some(channel) = self.channels.get_mut(id) else { continue };
            channel.fill(now);
            if channel.tokens <= 0 {
                return Err(*id);
            }
            bytes = bytes.min(channel.grant());
        }
        for channel in self.limited(channels) {
            channel.tokens -= i128::from(bytes) * MICRO;
        }
        Ok(bytes)
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

    /// What one peer gets at once: with many that wait, a part, so that all move on together.
    fn grant(&self) -> u64 {
        let all = u128::from(self.rate) * GRANT_TIME.as_micros() / 1_000_000;
        (all / (u128::from(self.waiting) + 1)).try_into().unwrap_or(u64::MAX).max(MIN_GRANT)
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

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYBODY: &[ChannelId] = &[GLOBAL];

    /// Peers that always want more, for `secs` seconds; gives what each got and how often the line was polled.
    fn run(limiter: &mut Limiter, peers: &[(u64, &[ChannelId])], want: u64, secs: u64) -> (Vec<u64>, u32) {
        let mut got = vec![0; peers.len()];
        let (mut now, mut polls) = (Time::ZERO, 0);
        for (at, (peer, channels)) in peers.iter().enumerate() {
            got[at] += limiter.request(now, ConnId(*peer), channels, want);
            while !limiter.waiting.contains_key(&ConnId(*peer)) {
                got[at] += limiter.request(now, ConnId(*peer), channels, want);
            }
        }
        while let Some(next) = limiter.next_refill(now).filter(|next| *next <= Time::from_secs(secs)) {
            assert!(next > now, "a busy loop at {now}");
            now = next;
            polls += 1;
            for grant in limiter.poll(now) {
                let at = peers.iter().position(|(peer, _)| *peer == grant.peer.0).unwrap();
                got[at] += grant.bytes;
                let more = limiter.request(now, grant.peer, peers[at].1, want);
                got[at] += more;
                while more > 0 && !limiter.waiting.contains_key(&grant.peer) {
                    got[at] += limiter.request(now, grant.peer, peers[at].1, want);
                }
            }
        }
        (got, polls)
    }

    fn limited(rate: u64) -> Limiter {
        let mut limiter = Limiter::new();
        limiter.channel(Time::ZERO, GLOBAL, rate);
        limiter
    }

    #[test]
    fn the_rate_holds_within_two_percent_at_any_rate() {
        for rate in [1_000, 20_000, 1 << 20, 100 << 20] {
            for peers in [1, 20] {
                for want in [16 * 1024 + 13, 1 << 20] {
                    let secs = if rate < 50_000 { 2000 } else { 5 };
                    let everybody: Vec<_> = (0..peers).map(|peer| (peer, EVERYBODY)).collect();
                    let (got, polls) = run(&mut limited(rate), &everybody, want, secs);
                    let (total, right) = (got.iter().sum::<u64>(), rate * secs);
                    assert!(
                        total.abs_diff(right) <= right / 50,
                        "{total} for {right}: {rate}/s, {peers} peers of {want}"
                    );
                    assert!(u64::from(polls) <= secs * 51, "{polls} polls in {secs} s");
                }
            }
        }
    }

    #[test]
    fn waiting_peers_get_equal_shares() {
        let everybody: Vec<_> = (0..20).map(|peer| (peer, EVERYBODY)).collect();
        let (got, _) = run(&mut limited(1 << 20), &everybody, 16 * 1024, 60);
        let (least, most) = (got.iter().min().unwrap(), got.iter().max().unwrap());
        assert!(most - least <= 2 * MIN_GRANT, "{got:?}");
    }

    #[test]
    fn without_a_limit_everything_is_granted() {
        let mut limiter = Limiter::new();
        assert!(!limiter.limits(EVERYBODY));
        assert_eq!(limiter.request(Time::ZERO, ConnId(1), EVERYBODY, u64::MAX), u64::MAX);
        assert_eq!(limiter.next_refill(Time::ZERO), None);
    }

    #[test]
    fn a_peer_gets_what_the_narrowest_of_its_channels_gives() {
        let narrow = ChannelId(1);
        let mut limiter = limited(1 << 20);
        limiter.channel(Time::ZERO, narrow, 100_000);
        let (got, _) = run(&mut limiter, &[(1, &[GLOBAL, narrow]), (2, EVERYBODY)], 16 * 1024, 60);
        assert!(got[0].abs_diff(6_000_000) < 120_000, "{got:?}");
        let right = 60 << 20;
        assert!((got[0] + got[1]).abs_diff(right) < right / 50, "one that waits elsewhere holds nobody up: {got:?}");
    }

    #[test]
    fn lifting_the_limit_serves_the_line() {
        let mut limiter = limited(1);
        assert_eq!(limiter.request(Time::ZERO, ConnId(1), EVERYBODY, 5), 0);
        assert_eq!(limiter.request(Time::ZERO, ConnId(1), EVERYBODY, 7), 0);
        limiter.channel(Time::ZERO, GLOBAL, 0);
        assert_eq!(limiter.next_refill(Time::ZERO), Some(Time::ZERO));
        assert_eq!(limiter.poll(Time::ZERO), [Grant { peer: ConnId(1), bytes: 7 }]);
        assert_eq!((limiter.num_waiting(), limiter.next_refill(Time::ZERO)), (0, None));
    }

    #[test]
    fn what_was_saved_up_while_idle_is_a_quarter_of_a_second() {
        let mut limiter = limited(1 << 20);
        let later = Time::from_secs(3600);
        let mut got = 0;
        while limiter.num_waiting() == 0 {
            got += limiter.request(later, ConnId(1), EVERYBODY, 1000);
        }
        assert!((256 * 1024..256 * 1024 + 1000).contains(&got), "{got}");
    }

    #[test]
    fn a_peer_that_left_is_not_served() {
        let mut limiter = limited(1000);
        limiter.request(Time::ZERO, ConnId(1), EVERYBODY, 5);
        limiter.request(Time::ZERO, ConnId(2), EVERYBODY, 5);
        limiter.forget(ConnId(1));
        limiter.forget(ConnId(9));
        assert_eq!(limiter.poll(Time::from_secs(1)), [Grant { peer: ConnId(2), bytes: 5 }]);
    }

    #[test]
    fn what_came_unasked_is_paid_for_later() {
        let mut limiter = limited(1000);
        limiter.charge(Time::ZERO, EVERYBODY, 5000);
        assert_eq!(limiter.request(Time::ZERO, ConnId(1), EVERYBODY, 1), 0);
        assert_eq!(limiter.next_refill(Time::ZERO), Some(Time(5_000_001)));
        limiter.give_back(EVERYBODY, 5000);
        assert_eq!(limiter.poll(Time(1)).len(), 1);
    }
}
