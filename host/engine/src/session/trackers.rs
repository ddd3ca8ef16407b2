//! Announces on their way: over HTTP (BEP 3), and over UDP (BEP 15).
//!
//! Which tracker is asked, and when, is [`crate::policy::announce`]'s; here announces are made and their answers heard.
//! An idle torrent costs nothing: only torrents whose time has come are looked at. Nothing here trusts a URL: one that
//! is not http, https or udp is never asked.

mod flights;
mod names;
#[cfg(test)]
mod tests;

use super::Session;
use crate::alert::Alert;
use crate::hooks::Hooks;
use crate::ids::{RequestId, TorrentId};
use crate::input::HttpReply;
use crate::output::{HttpRequest, Output};
use crate::policy::announce::{Announce, Answer, Event, RetryIn};
use crate::status::PeerSource;
use crate::time::Time;
use crate::udp_tracker::{self, Ask, UdpTracker};
use bytes::Bytes;
use flights::{Flight, Flights};
use names::Names;
use reef_proto::address::{can_be_dialed, is_global_unicast};
use reef_proto::tracker::http::{self, ReplyError, Retry};
use reef_proto::tracker::{AnnounceEvent, AnnounceReply, AnnounceRequest, Scheme, TrackerUrl};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The session's dealings with trackers.
#[derive(Debug, Default)]
pub(super) struct Trackers {
    flights: Flights,
    udp: UdpTracker,
    names: Names,
    /// When to look at a torrent's schedule. A time too many does no harm.
    due: BTreeSet<(Time, TorrentId)>,
    /// The number by which trackers know a torrent again after our address changed (BEP 3 `key`).
    keys: BTreeMap<TorrentId, u32>,
    /// Announces that came to nothing before they left.
    stillborn: Vec<(RequestId, String, RetryIn)>,
}

impl Trackers {
    /// Whether an announce waits for its answer.
    pub(super) fn is_busy(&self) -> bool {
        !self.flights.is_empty()
    }

    /// A torrent is gone. What says so to its trackers still goes out.
    pub(super) fn forget(&mut self, torrent: TorrentId) {
        self.keys.remove(&torrent);
        for (_, id) in self.flights.unfinished(torrent) {
            self.flights.remove(id);
            self.udp.cancel(id);
        }
    }

    /// Gives up every announce.
    pub(super) fn cancel_all(&mut self, outputs: &mut VecDeque<Output>) {
        for id in self.flights.ids() {
            self.cancel(id, outputs);
        }
        self.stillborn.clear();
    }

    fn cancel(&mut self, id: RequestId, outputs: &mut VecDeque<Output>) {
        if self.flights.is_http(id) {
            outputs.push_back(Output::CancelHttp(id));
        }
        self.flights.remove(id);
        self.udp.cancel(id);
    }
}

impl Session {
    /// Makes the announces that are due.
    pub(super) fn announce_due(&mut self) {
        let later = self.trackers.due.split_off(&(self.now + Duration::from_micros(1), TorrentId(0)));
        let due = std::mem::replace(&mut self.trackers.due, later);
        let torrents: BTreeSet<TorrentId> = due.into_iter().map(|(_, torrent)| torrent).collect();
        for id in torrents {
            self.announce(id);
        }
    }

    /// A torrent is new, or may have become active, or has other trackers. To be announced it waits for a listening
    /// socket, but not beyond the next tick: trackers shall hear of the right port.
    pub(super) fn announce_soon(&mut self, id: TorrentId) {
        if self.listening.is_empty() {
            self.trackers.due.insert((Time::ZERO, id));
        } else {
            self.announce(id);
        }
    }

    /// Announces a torrent as soon as its trackers allow.
    pub(super) fn announce_now(&mut self, id: TorrentId) {
        if let Some(torrent) = self.torrents.get_mut(&id) {
            torrent.announcer.announce_now(self.now);
            self.announce(id);
        }
    }

    /// Tells a torrent's trackers that the download is complete.
    pub(super) fn announce_completed(&mut self, id: TorrentId) {
        if let Some(torrent) = self.torrents.get_mut(&id) {
            torrent.announcer.completed(self.now);
            self.announce(id);
        }
    }

    /// Tells the trackers that know of a torrent that it stops. The torrent may be removed right afterwards.
    pub(super) fn announce_stopped(&mut self, id: TorrentId) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let announces = torrent.announcer.stop();
        for (index, old) in self.trackers.flights.unfinished(id) {
            let first = announces.iter().find(|announce| announce.index == index);
            if !first.is_some_and(|announce| announce.in_turn) {
                self.trackers.cancel(old, &mut self.outputs);
            }
        }
        for announce in announces {
            if self.trackers.flights.to(id, announce.index).is_none() {
                self.add_announce(id, announce);
            } else if announce.in_turn {
                self.add_follower(id, &announce);
            } // Else, after a pause, a resume and a pause, the first `stopped` is still on its way.
        }
        self.send_announces();
    }

    /// An HTTP request ended.
    pub(super) fn http_done(&mut self, id: RequestId, result: Result<HttpReply, String>, hooks: &mut dyn Hooks) {
        if !self.trackers.flights.is_http(id) {
            return;
        }
        match result.map_err(|text| (text, RetryIn::Unknown)).and_then(|reply| read_reply(&reply)) {
            Ok(reply) => self.announce_replied(id, reply, hooks),
            Err((text, retry)) => self.announce_failed(id, &text, retry, hooks),
        }
    }

    /// A name was resolved.
    pub(super) fn resolved(&mut self, id: RequestId, result: Result<Vec<IpAddr>, String>) {
        let addresses = result.as_deref().ok();
        for announce in self.trackers.names.resolved(id, addresses, self.now) {
            match &result {
                Ok(addresses) => self.udp_addresses(announce, addresses),
                Err(text) => {
                    let text = format!("the tracker's name was not resolved: {text}");
                    self.trackers.stillborn.push((announce, text, RetryIn::Unknown));
                }
            }
        }
        self.send_udp_packets();
    }

    /// A UDP packet arrived: a tracker's, or anybody's.
    pub(super) fn datagram(&mut self, from: SocketAddr, data: &Bytes, hooks: &mut dyn Hooks) {
        if let Some(event) = self.trackers.udp.on_datagram(from, data, self.now) {
            self.udp_event(event, hooks);
        }
        self.send_udp_packets();
    }

    /// Asks UDP trackers again that are silent, and gives up those that were for too long.
    pub(super) fn tick_udp_trackers(&mut self, hooks: &mut dyn Hooks) {
        for event in self.trackers.udp.expire(self.now) {
            self.udp_event(event, hooks);
        }
        for (id, text, retry) in std::mem::take(&mut self.trackers.stillborn) {
            self.announce_failed(id, &text, retry, hooks);
        }
        self.send_udp_packets();
    }

    /// Lets a torrent's schedule run, if the torrent is active.
    fn announce(&mut self, id: TorrentId) {
        let now = self.now;
        if self.stopping.is_some() {
            return;
        }
        let Some(torrent) = self.torrents.get_mut(&id).filter(|t| t.is_active()) else { return };
        torrent.announcer.start(now);
        let announces = torrent.announcer.poll(now);
        if let Some(next) = torrent.announcer.next_timeout() {
            self.trackers.due.insert((next, id));
        }
        for announce in announces {
            self.add_announce(id, announce);
        }
        self.send_announces();
    }

    fn add_announce(&mut self, id: TorrentId, announce: Announce) {
        let request_id = self.request_id();
        let Some(request) = self.announce_request(id, &announce) else { return };
        let tracker = match check_url(&announce.url) {
            Ok(tracker) => Some(tracker),
            Err(text) if announce.event == Event::Stopped => return self.nothing_to_stop(id, announce.index, &text),
            Err(text) => {
                self.trackers.stillborn.push((request_id, text, RetryIn::Never));
                None
            }
        };
        let Announce { index, event, url, .. } = announce;
        let then = VecDeque::new();
        self.trackers.flights.add(request_id, Flight { torrent: id, index, event, url, tracker, request, then });
    }

    fn add_follower(&mut self, id: TorrentId, announce: &Announce) {
        if let Some(request) = self.announce_request(id, announce) {
            self.trackers.flights.follow(id, announce.index, announce.event, request);
        }
    }

    /// Whether an announce that ended is followed by another one, which then is to be sent.
    fn continue_farewell(&mut self, flight: &Flight) -> bool {
        let Some(next) = flight.next() else { return false };
        let request_id = self.request_id();
        self.trackers.flights.add(request_id, next);
        true
    }

    /// A tracker that was never asked need not hear that the torrent stops.
    fn nothing_to_stop(&mut self, id: TorrentId, index: usize, text: &str) {
        if let Some(torrent) = self.torrents.get_mut(&id) {
            torrent.announcer.failed(index, self.now, text, RetryIn::Never);
        }
    }

    fn announce_request(&mut self, id: TorrentId, announce: &Announce) -> Option<AnnounceRequest> {
        let fresh = self.random() as u32;
        let torrent = self.torrents.get(&id)?;
        let (downloaded, uploaded) = torrent.totals.at_start;
        Some(AnnounceRequest {
            info_hash: torrent.hashes.wire(),
            peer_id: self.peer_id,
            // Trackers refuse port 0, and whoever listens nowhere still wants their peers.
            port: self.listen_port().filter(|port| *port != 0).unwrap_or(1),
            uploaded: torrent.totals.uploaded.saturating_sub(uploaded),
            downloaded: torrent.totals.downloaded.saturating_sub(downloaded),
            left: torrent.bytes_left(),
            event: match announce.event {
                Event::None => AnnounceEvent::Interval,
                Event::Started => AnnounceEvent::Started,
                Event::Completed => AnnounceEvent::Completed,
                Event::Stopped => AnnounceEvent::Stopped,
            },
            key: *self.trackers.keys.entry(id).or_insert(fresh),
            num_want: u32::try_from(self.settings.num_want).ok(),
            ip: None,
            ipv4: None,
            ipv6: None,
            tracker_id: announce.tracker_id.clone(),
        })
    }

    /// Sends announces as long as there are places for them.
    fn send_announces(&mut self) {
        while let Some((id, flight)) = self.trackers.flights.next() {
            let Some(tracker) = &flight.tracker else { continue };
            let seconds = self.seconds_for(flight.event);
            match tracker.scheme() {
                Scheme::Udp => self.start_udp(id, tracker, flight.request, seconds),
                Scheme::Http | Scheme::Https => self.emit(Output::Http(HttpRequest {
                    id,
                    url: http::announce_url(tracker, &flight.request),
                    user_agent: self.settings.user_agent.clone(),
                    timeout_secs: seconds,
                    max_body: MAX_BODY,
                })),
            }
        }
        self.send_udp_packets();
    }

    /// How long a tracker is waited for: nobody wants to wait long for a goodbye.
    fn seconds_for(&self, event: Event) -> u64 {
        let usual = self.settings.tracker_completion_timeout;
        let seconds = if event == Event::Stopped { usual.min(self.settings.stop_tracker_timeout) } else { usual };
        u64::try_from(seconds).unwrap_or_default().max(1)
    }

    fn start_udp(&mut self, id: RequestId, tracker: &TrackerUrl, request: AnnounceRequest, seconds: u64) {
        let ask = Ask {
            request,
            path_and_query: tracker.path_and_query().unwrap_or_default(),
            patience: Duration::from_secs(seconds),
            random: self.random(),
        };
        self.trackers.udp.start(id, ask, self.now);
        let host = tracker.host();
        if let Some(addresses) = self.trackers.names.addresses(host, self.now) {
            self.udp_addresses(id, &addresses);
        } else if !self.trackers.names.join(host, id) {
            let question = self.request_id();
            self.trackers.names.asked(question, host, id);
            self.emit(Output::Resolve { id: question, host: host.to_owned() });
        }
    }

    /// The addresses of a UDP tracker are known. IPv4 comes first: where both lead to the tracker it finds more peers.
    fn udp_addresses(&mut self, id: RequestId, addresses: &[IpAddr]) {
        let Some(tracker) = self.trackers.flights.get(id).and_then(|flight| flight.tracker.as_ref()) else { return };
        let mut usable: Vec<SocketAddr> = addresses.iter().map(|&ip| SocketAddr::new(ip, tracker.port())).collect();
        usable.retain(|address| can_be_dialed(*address));
        usable.sort_by_key(SocketAddr::is_ipv6);
        usable.truncate(MAX_ADDRESSES);
        if usable.is_empty() {
            let text = "the tracker's name leads to no address that can be asked".to_owned();
            return self.trackers.stillborn.push((id, text, RetryIn::Unknown));
        }
        self.trackers.udp.resolved(id, usable, self.now);
    }

    fn send_udp_packets(&mut self) {
        for (to, data) in self.trackers.udp.poll(self.now) {
            self.emit(Output::Datagram { to, data });
        }
    }

    fn udp_event(&mut self, event: udp_tracker::Event, hooks: &mut dyn Hooks) {
        match event {
            udp_tracker::Event::Replied(id, reply) => self.announce_replied(id, reply, hooks),
            udp_tracker::Event::Failed(id, text) => self.announce_failed(id, &text, RetryIn::Unknown, hooks),
        }
    }

    fn announce_replied(&mut self, id: RequestId, reply: AnnounceReply, hooks: &mut dyn Hooks) {
        let Some(flight) = self.trackers.flights.remove(id) else { return };
        self.counters.tracker_replies += 1;
        if self.continue_farewell(&flight) {
            self.post_reply(&flight, &reply, hooks);
        } else if let Some(torrent) = self.torrents.get_mut(&flight.torrent) {
            torrent.announcer.reply(flight.index, self.now, &answer(&reply));
            self.post_reply(&flight, &reply, hooks);
            if flight.event != Event::Stopped {
                self.add_tracker_peers(flight.torrent, &reply.peers, hooks);
            }
            self.announce(flight.torrent);
        }
        self.send_announces();
    }

    fn post_reply(&mut self, flight: &Flight, reply: &AnnounceReply, hooks: &mut dyn Hooks) {
        let (torrent, url) = (flight.torrent, flight.url.clone());
        if let Some(message) = reply.warning.clone() {
            self.alert(Alert::TrackerWarning { torrent, url: url.clone(), message }, hooks);
        }
        let peers = u32::try_from(reply.peers.len()).unwrap_or(u32::MAX);
        self.alert(Alert::TrackerReply { torrent, url, peers }, hooks);
    }

    fn add_tracker_peers(&mut self, id: TorrentId, peers: &[SocketAddr], hooks: &mut dyn Hooks) {
        for &address in peers.iter().filter(|address| can_be_dialed(**address)) {
            self.add_peer_address(id, address, (PeerSource::TRACKER, 0), hooks);
        }
    }

    fn announce_failed(&mut self, id: RequestId, message: &str, retry: RetryIn, hooks: &mut dyn Hooks) {
        let Some(flight) = self.trackers.flights.remove(id) else { return };
        self.trackers.udp.cancel(id);
        self.counters.tracker_errors += 1;
        // A tracker that did not take `started` need not hear the rest.
        if flight.event != Event::Started && self.continue_farewell(&flight) {
            return self.send_announces();
        }
        if let Some(torrent) = self.torrents.get_mut(&flight.torrent) {
            torrent.announcer.failed(flight.index, self.now, message, retry);
            let row = torrent.announcer.status().into_iter().find(|row| row.url == flight.url);
            let fails = row.map_or(0, |row| row.fails);
            let (torrent, url, message) = (flight.torrent, flight.url, message.to_owned());
            self.alert(Alert::TrackerError { torrent, url, message, fails }, hooks);
            self.announce(torrent);
        }
        self.send_announces();
    }
}

/// Checks a tracker's URL, which comes from strangers.
///
/// A URL that leads to this computer or its network could make us press a button there (server-side request forgery),
/// so there it must look like a tracker's: the path ends in `announce`, perhaps with a suffix such as `.php`. Only URLs
/// that show by themselves where they lead are judged: a public name that leads to a local address is not. UDP needs no
/// such rule, since a tracker's packets can say nothing else.
fn check_url(url: &str) -> Result<TrackerUrl, String> {
    let tracker = TrackerUrl::parse(url).map_err(|error| error.to_string())?;
    let host = tracker.host();
    let local = match host.parse() {
        Ok(ip) => !is_global_unicast(ip),
        Err(_) => host == "localhost" || host.ends_with(".localhost") || host.ends_with(".local"),
    };
    let place = tracker.path_and_query().unwrap_or_default();
    let path = place.split('?').next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    if local && tracker.scheme() != Scheme::Udp && last != "announce" && !last.starts_with("announce.") {
        return Err("a tracker in the local network is asked only if its path ends in /announce".to_owned());
    }
    Ok(tracker)
}

/// Reads what came over HTTP. Trackers explain a refusal in the body, whatever the status.
fn read_reply(reply: &HttpReply) -> Result<AnnounceReply, (String, RetryIn)> {
    let ok = (200..300).contains(&reply.status);
    match http::parse_announce(&reply.body) {
        Ok(answer) if ok => Ok(answer),
        Err(ReplyError::Failure { reason, retry }) if ok => {
            Err((format!("the tracker says: {reason}"), retry_in(retry)))
        }
        Err(ReplyError::Failure { reason, retry }) => {
            Err((format!("the tracker says: {reason} (HTTP status {})", reply.status), retry_in(retry)))
        }
        Err(error) if ok => Err((error.to_string(), RetryIn::Unknown)),
        _ => Err((format!("the tracker's server answered with HTTP status {}", reply.status), RetryIn::Unknown)),
    }
}

fn retry_in(retry: Option<Retry>) -> RetryIn {
    match retry {
        None => RetryIn::Unknown,
        Some(Retry::Never) => RetryIn::Never,
        Some(Retry::After { seconds }) => RetryIn::Minutes(u64::from(seconds).div_ceil(60)),
    }
}

fn answer(reply: &AnnounceReply) -> Answer {
    Answer {
        interval: Some(reply.interval.into()),
        min_interval: reply.min_interval.map(u64::from),
        tracker_id: reply.tracker_id.clone(),
        seeds: reply.complete,
        leeches: reply.incomplete,
        warning: reply.warning.clone(),
    }
}

/// The largest reply that is read: several thousand peers in their longest form.
const MAX_BODY: usize = 1 << 20;

/// Addresses of one UDP tracker at most that are asked.
const MAX_ADDRESSES: usize = 6;
