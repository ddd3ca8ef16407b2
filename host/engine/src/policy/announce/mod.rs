//! When to announce a torrent to which tracker, and with which event.
//!
//! Trackers stand in tiers (BEP 12): a tier's trackers are tried in random order until one works, which then comes
//! first; a later tier is used only while those before it fail. Each tracker that took our `started` is told `completed`
//! once and `stopped` once (BEP 3).
//!
//! Pure scheduling: it sends nothing, and knows neither HTTP nor UDP. Every [`Announce`] that it gives out must be
//! answered with [`Announcer::reply`] or [`Announcer::failed`].

#[cfg(test)]
mod tests;

use crate::status::TrackerStatus;
use crate::time::Time;
use std::time::Duration;

/// Trackers at most that a torrent keeps.
const MAX_TRACKERS: usize = 500;
/// What is done where a tracker names no interval.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30 * 60);
/// No tracker keeps us away for longer than this.
const MAX_INTERVAL: Duration = Duration::from_secs(6 * 3600);
/// Nor keeps the user from asking for longer than this.
const MAX_MIN_INTERVAL: Duration = Duration::from_secs(3600);
/// The first wait after a failure, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3600));
/// How much longer each failure makes the wait, in percent of the first wait, by the square of the failures.
const BACKOFF_PERCENT: u32 = 250;

/// What an announce says has happened (BEP 3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Nothing: it is time again.
    None,
    /// The first announce to this tracker.
    Started,
    /// The download is complete.
    Completed,
    /// The last announce.
    Stopped,
}

/// An announce to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announce {
    /// The tracker, for the answer.
    pub index: usize,
    /// Its URL.
    pub url: String,
    /// What to say.
    pub event: Event,
    /// The id it gave us, to be sent back.
    pub tracker_id: Option<Vec<u8>>,
    /// Not to be said before the tracker has answered what was said to it earlier: two announces that are under way at
    /// one time may arrive in either order.
    pub in_turn: bool,
}

/// What a tracker answered, as far as the schedule is concerned.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// Seconds to the next announce.
    pub interval: Option<u64>,
    /// Seconds before which no announce is welcome.
    pub min_interval: Option<u64>,
    /// Its id for us.
    pub tracker_id: Option<Vec<u8>>,
    /// Seeds it counts.
    pub seeds: Option<u32>,
    /// Downloaders it counts.
    pub leeches: Option<u32>,
    /// What it wants to be shown.
    pub warning: Option<String>,
}

/// When a tracker that refused may be asked again (BEP 31).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RetryIn {
    /// It did not say.
    #[default]
    Unknown,
    /// After this many minutes.
    Minutes(u64),
    /// Never.
    Never,
}

/// The rules that settings give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Announce to every tier (setting `announce_to_all_tiers`).
    pub all_tiers: bool,
    /// Announce to every tracker of a tier (setting `announce_to_all_trackers`).
    pub all_trackers: bool,
    /// The shortest time between two announces (setting `min_announce_interval`).
    pub min_interval: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self { all_tiers: false, all_trackers: false, min_interval: Duration::from_secs(300) }
    }
}

#[derive(Clone, Debug)]
struct Tracker {
    url: String,
    tier: u32,
    in_flight: Option<Event>,
    /// It has, or may have, us on its list.
    knows_us: bool,
    /// It took our `started`.
    took_started: bool,
    /// It is to be told that the download is complete.
    owes_completed: bool,
    next: Time,
    /// Not before this, even if the user asks.
    earliest: Time,
    fails: u32,
    /// It said never to come back.
    refused: bool,
    verified: bool,
    message: String,
    tracker_id: Option<Vec<u8>>,
    seeds: Option<u32>,
    leeches: Option<u32>,
}

/// The announces of one torrent.
#[derive(Clone, Debug)]
pub struct Announcer {
    trackers: Vec<Tracker>,
    /// Indices of trackers, in the order in which they are tried.
    tiers: Vec<(u32, Vec<usize>)>,
    rules: Rules,
    running: bool,
    random: u64,
}

impl Announcer {
    /// An announcer of these tiers, stopped. `random` decides the order within each.
    #[must_use]
    pub fn new(tiers: &[Vec<String>], rules: Rules, random: u64) -> Self {
        let mut announcer = Self { trackers: Vec::new(), tiers: Vec::new(), rules, running: false, random };
        for (tier, urls) in (0_u32..).zip(tiers) {
            for url in urls {
                announcer.add_tracker(url, tier);
            }
        }
        for at in 0..announcer.tiers.len() {
            announcer.shuffle(at);
        }
        announcer
    }

    /// Changes the rules, from the next announce on.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Adds a tracker at the end of a tier; gives its index. One that is known stays where it is.
    pub fn add_tracker(&mut self, url: &str, tier: u32) -> Option<usize> {
        if let Some(known) = self.trackers.iter().position(|tracker| tracker.url == url) {
            return Some(known);
        }
        if self.trackers.len() >= MAX_TRACKERS {
            return None;
        }
        let index = self.trackers.len();
        self.trackers.push(Tracker::new(url, tier));
        let at = self.tiers.partition_point(|(number, _)| *number < tier);
        match self.tiers.get_mut(at) {
            Some((number, order)) if *number == tier => order.push(index),
            _ => self.tiers.insert(at, (tier, vec![index])),
        }
        Some(index)
    }

    /// Whether there is no tracker.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.trackers.is_empty()
    }

    /// The tiers, in the order in which trackers are tried, as resume data keeps them.
    #[must_use]
    pub fn urls(&self) -> Vec<Vec<String>> {
        let urls = |order: &Vec<usize>| order.iter().map(|&index| self.trackers[index].url.clone()).collect();
        self.tiers.iter().map(|(_, order)| urls(order)).collect()
    }

    /// Begins to announce, with `started` to each tracker.
    pub fn start(&mut self, now: Time) {
        if std::mem::replace(&mut self.running, true) {
            return;
        }
        for tracker in &mut self.trackers {
            tracker.took_started = false;
            tracker.next = now;
            tracker.fails = 0;
        }
    }

    /// The download became complete while running: every tracker that took our `started` is told, at once.
    pub fn completed(&mut self, now: Time) {
        for tracker in self.trackers.iter_mut().filter(|_| self.running) {
            if tracker.knows_us {
                tracker.owes_completed = true;
                tracker.next = now;
            }
        }
    }

    /// Announces as soon as the trackers allow.
    pub fn announce_now(&mut self, now: Time) {
        for tracker in self.trackers.iter_mut().filter(|_| self.running) {
            tracker.next = tracker.next.min(now.max(tracker.earliest));
        }
    }

    /// The announces that are due.
    pub fn poll(&mut self, now: Time) -> Vec<Announce> {
        let due = self.in_turn().into_iter().filter(|&index| self.trackers[index].next <= now);
        let mut due: Vec<usize> = due.collect();
        if !self.rules.all_trackers {
            due = self.first_of_each_tier(due);
        }
        if !self.rules.all_tiers {
            let first = due.first().map(|&index| self.trackers[index].tier);
            due.retain(|&index| Some(self.trackers[index].tier) == first);
        }
        due.into_iter().map(|index| self.send(index)).collect()
    }

    /// When [`Announcer::poll`] has something.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        self.in_turn().into_iter().map(|index| self.trackers[index].next).min()
    }

    /// A tracker answered.
    pub fn reply(&mut self, index: usize, now: Time, answer: &Answer) {
        let least = self.rules.min_interval;
        let Some(tracker) = self.trackers.get_mut(index) else { return };
        let Some(event) = tracker.in_flight.take() else { return };
        let interval = answer.interval.map_or(DEFAULT_INTERVAL, Duration::from_secs);
        let interval = interval.clamp(least, MAX_INTERVAL.max(least));
        let min_interval =
            answer.min_interval.map_or(least, Duration::from_secs).clamp(least, MAX_MIN_INTERVAL.max(least));
        tracker.fails = 0;
        tracker.verified = true;
        tracker.message = answer.warning.clone().unwrap_or_default();
        tracker.seeds = answer.seeds.or(tracker.seeds);
        tracker.leeches = answer.leeches.or(tracker.leeches);
        if answer.tracker_id.is_some() {
            tracker.tracker_id.clone_from(&answer.tracker_id);
        }
        tracker.earliest = now + min_interval;
        tracker.next = now + interval.max(min_interval);
        match event {
            Event::Started => tracker.took_started = true,
            Event::Completed => tracker.owes_completed = false,
            Event::Stopped => tracker.knows_us = false,
            Event::None => {}
        }
        if tracker.owes_completed {
            tracker.next = now;
        }
        if event == Event::Stopped {
            tracker.next = now;
        } else {
            self.promote(index);
        }
    }

    /// An announce failed, or the tracker refused.
    pub fn failed(&mut self, index: usize, now: Time, message: &str, retry: RetryIn) {
        let Some(tracker) = self.trackers.get_mut(index) else { return };
        let Some(event) = tracker.in_flight.take() else { return };
        tracker.message = message.to_owned();
        if event == Event::Stopped {
            tracker.knows_us = false;
            return;
        }
        // Whoever did not take our `started` need not hear `stopped`: a dead tracker must not hold up the end.
        tracker.knows_us = tracker.took_started;
        tracker.fails = tracker.fails.saturating_add(1);
        let wait = match retry {
            RetryIn::Minutes(minutes) => Duration::from_secs(minutes.saturating_mul(60)).min(MAX_INTERVAL),
            RetryIn::Unknown => back_off(tracker.fails),
            RetryIn::Never => {
                tracker.refused = true;
                MAX_INTERVAL
            }
        };
        tracker.next = now + wait;
    }

    /// Stops announcing: `stopped` for each tracker that knows us, and before it `completed` for one that has not heard
    /// of that. Of what was given out before, the caller gives up what nothing given out here waits for
    /// ([`Announce::in_turn`]); answers are expected to the `stopped` alone.
    pub fn stop(&mut self) -> Vec<Announce> {
        if !std::mem::replace(&mut self.running, false) {
            return Vec::new();
        }
        let known = self.trackers.iter_mut().enumerate().filter(|(_, tracker)| tracker.knows_us);
        known.flat_map(|(index, tracker)| tracker.farewell(index)).collect()
    }

    /// Whether an answer is still awaited: to tell whether every `stopped` was said.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.trackers.iter().any(|tracker| tracker.in_flight.is_some())
    }

    /// Every tracker as it is now, by tier.
    #[must_use]
    pub fn status(&self) -> Vec<TrackerStatus> {
        let row = |&index: &usize| {
            let tracker = &self.trackers[index];
            TrackerStatus {
                url: tracker.url.clone(),
                tier: tracker.tier,
                message: tracker.message.clone(),
                fails: tracker.fails,
                verified: tracker.verified,
                seeds: tracker.seeds,
                leeches: tracker.leeches,
            }
        };
        self.tiers.iter().flat_map(|(_, order)| order.iter().map(row)).collect()
    }

    /// The trackers whose turn it is, whether or not it is time: in each tier those that fail, up to the first that does
    /// not; and so on to the next tier only if all of them fail. One that is being asked holds the place of one that works.
    fn in_turn(&self) -> Vec<usize> {
        let mut turn = Vec::new();
        if !self.running {
            return turn;
        }
        for (_, order) in &self.tiers {
            let mut served = false;
            for &index in order {
                let tracker = &self.trackers[index];
                if tracker.refused {
                    continue;
                }
                if tracker.in_flight.is_none() {
                    turn.push(index);
                }
                if tracker.in_flight.is_some() || tracker.fails == 0 {
                    served = true;
                    if !self.rules.all_trackers {
                        break;
                    }
                }
            }
            if served && !self.rules.all_tiers {
                break;
            }
        }
        turn
    }

    fn first_of_each_tier(&self, mut due: Vec<usize>) -> Vec<usize> {
        due.dedup_by_key(|index| self.trackers[*index].tier);
        due
    }

    fn send(&mut self, index: usize) -> Announce {
        let tracker = &mut self.trackers[index];
        let event = match (tracker.took_started, tracker.owes_completed) {
            (false, _) => Event::Started,
            (true, true) => Event::Completed,
            (true, false) => Event::None,
        };
        tracker.announce(index, event)
    }

    /// BEP 12: the tracker that worked comes first in its tier.
    fn promote(&mut self, index: usize) {
        for (_, order) in &mut self.tiers {
            if let Some(at) = order.iter().position(|&other| other == index) {
                order[..=at].rotate_right(1);
            }
        }
    }

    fn shuffle(&mut self, tier: usize) {
        let order = &mut self.tiers[tier].1;
        for last in (1..order.len()).rev() {
            // SplitMix64: the caller's number is random, this only spreads it over the swaps.
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.random;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            order.swap(last, ((mixed ^ (mixed >> 31)) % (last as u64 + 1)) as usize);
        }
    }
}

impl Tracker {
    fn new(url: &str, tier: u32) -> Self {
        Self {
            url: url.to_owned(),
            tier,
            in_flight: None,
            knows_us: false,
            took_started: false,
            owes_completed: false,
            next: Time::ZERO,
            earliest: Time::ZERO,
            fails: 0,
            refused: false,
            verified: false,
            message: String::new(),
            tracker_id: None,
            seeds: None,
            leeches: None,
        }
    }

    fn announce(&mut self, index: usize, event: Event) -> Announce {
        self.in_flight = Some(event);
        self.knows_us |= event == Event::Started;
        Announce { index, url: self.url.clone(), event, tracker_id: self.tracker_id.clone(), in_turn: false }
    }

    /// The last words to this tracker, in order.
    fn farewell(&mut self, index: usize) -> Vec<Announce> {
        let under_way = self.in_flight;
        let owes = std::mem::take(&mut self.owes_completed) && under_way != Some(Event::Stopped);
        let stopped = Announce { in_turn: owes, ..self.announce(index, Event::Stopped) };
        if !owes || under_way == Some(Event::Completed) {
            return vec![stopped];
        }
        let completed = Announce { event: Event::Completed, in_turn: under_way.is_some(), ..stopped.clone() };
        vec![completed, stopped]
    }
}

fn back_off(fails: u32) -> Duration {
    let (first, longest) = RETRY;
    let factor = fails.saturating_mul(fails).saturating_mul(BACKOFF_PERCENT);
    (first + first.saturating_mul(factor) / 100).min(longest)
}
