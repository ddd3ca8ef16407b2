//! Announces that were asked for and are not done: at most one for each tracker of a torrent, and of those only so many
//! on their way at a time that ten thousand torrents neither use up all sockets nor drown a tracker.

use crate::ids::{RequestId, TorrentId};
use crate::policy::announce::Event;
use reef_proto::tracker::{AnnounceRequest, Scheme, TrackerUrl};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// An announce from when it is due to when its outcome is known. It stands for itself: its torrent may be gone by then.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) torrent: TorrentId,
    /// The tracker's index in the torrent's schedule.
    pub(super) index: usize,
    pub(super) event: Event,
    /// The tracker as the torrent names it.
    pub(super) url: String,
    /// The same, checked; where it is missing the announce only waits to fail.
    pub(super) tracker: Option<TrackerUrl>,
    pub(super) request: AnnounceRequest,
    /// What the same tracker is told next, once it has answered: the last words of a torrent that stops.
    pub(super) then: VecDeque<(Event, AnnounceRequest)>,
}

impl Flight {
    /// The announce that follows this one.
    pub(super) fn next(&self) -> Option<Self> {
        let mut then = self.then.clone();
        let (event, request) = then.pop_front()?;
        Some(Self { event, request, then, ..self.clone() })
    }
}

/// The announces under way.
#[derive(Debug, Default)]
pub(super) struct Flights {
    all: BTreeMap<RequestId, Flight>,
    by_tracker: BTreeMap<(TorrentId, usize), RequestId>,
    http: Lane,
    udp: Lane,
}

/// Announces of one kind: those that wait for a place, and those that have one.
#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<RequestId>,
    sent: BTreeSet<RequestId>,
}

impl Flights {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&Flight> {
        self.all.get(&id)
    }

    /// Adds an announce, at the end of its queue.
    pub(super) fn add(&mut self, id: RequestId, flight: Flight) {
        if let Some(scheme) = flight.tracker.as_ref().map(TrackerUrl::scheme) {
            self.lane(scheme).waiting.push_back(id);
        }
        self.by_tracker.insert((flight.torrent, flight.index), id);
        self.all.insert(id, flight);
    }

    /// The next announce that may go out now, over HTTP or over UDP.
    pub(super) fn next(&mut self) -> Option<(RequestId, Flight)> {
        loop {
            let id = self.http.next(MAX_HTTP).or_else(|| self.udp.next(MAX_UDP))?;
            let Some(flight) = self.all.get(&id) else { continue };
            let flight = flight.clone();
            if let Some(scheme) = flight.tracker.as_ref().map(TrackerUrl::scheme) {
                self.lane(scheme).sent.insert(id);
            }
            return Some((id, flight));
        }
    }

    /// Whether an announce is an HTTP request that was made.
    pub(super) fn is_http(&self, id: RequestId) -> bool {
        self.http.sent.contains(&id)
    }

    /// The announce under way to a tracker of a torrent.
    pub(super) fn to(&self, torrent: TorrentId, index: usize) -> Option<&Flight> {
        self.all.get(self.by_tracker.get(&(torrent, index))?)
    }

    /// Adds what a tracker of a torrent is told after it has answered the announce under way, if there is one.
    pub(super) fn follow(&mut self, torrent: TorrentId, index: usize, event: Event, request: AnnounceRequest) {
        let under_way = self.by_tracker.get(&(torrent, index)).and_then(|id| self.all.get_mut(id));
        if let Some(flight) = under_way {
            flight.then.push_back((event, request));
        }
    }

    /// The announces of a torrent that do not say that it stops and are not followed by one that does, each with the index
    /// of its tracker.
    pub(super) fn unfinished(&self, torrent: TorrentId) -> Vec<(usize, RequestId)> {
        let flights = self.by_tracker.range((torrent, 0)..=(torrent, usize::MAX)).map(|((_, index), &id)| (*index, id));
        let unfinished = |flight: &Flight| flight.event != Event::Stopped && flight.then.is_empty();
        flights.filter(|(_, id)| self.all.get(id).is_some_and(unfinished)).collect()
    }

    /// Takes out an announce: its place is free.
    pub(super) fn remove(&mut self, id: RequestId) -> Option<Flight> {
        let flight = self.all.remove(&id)?;
        self.by_tracker.remove(&(flight.torrent, flight.index));
        self.http.sent.remove(&id);
        self.udp.sent.remove(&id);
        Some(flight)
    }

    /// Every announce.
    pub(super) fn ids(&self) -> Vec<RequestId> {
        self.all.keys().copied().collect()
    }

    fn lane(&mut self, scheme: Scheme) -> &mut Lane {
        match scheme {
            Scheme::Http | Scheme::Https => &mut self.http,
            Scheme::Udp => &mut self.udp,
        }
    }
}

impl Lane {
    fn next(&mut self, at_most: usize) -> Option<RequestId> {
        if self.sent.len() >= at_most { None } else { self.waiting.pop_front() }
    }
}

/// HTTP announces at most at one time: each is a connection.
const MAX_HTTP: usize = 64;

/// UDP announces at most at one time: each is a packet at once.
const MAX_UDP: usize = 256;
