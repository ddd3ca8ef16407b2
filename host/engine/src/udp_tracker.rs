//! Announces over UDP (BEP 15): connection numbers, asking again, and a host's several addresses, one after the other.
//!
//! It takes addresses, packets and the time, and gives packets and outcomes; it resolves no names and owns no socket.
//! Anybody can send a packet from a forged address, so one counts only if it comes from the address that was asked and
//! carries the random number of the question; every other is dropped without a trace.

use crate::ids::RequestId;
use crate::time::Time;
use bytes::Bytes;
use reef_proto::tracker::udp::{self, Family, Reply};
use reef_proto::tracker::{AnnounceReply, AnnounceRequest};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// The announces over UDP that are on their way.
#[derive(Debug, Default)]
pub(crate) struct UdpTracker {
    requests: BTreeMap<RequestId, Request>,
    /// Whose answer may come, by who sends it and the question's number.
    expected: BTreeMap<(SocketAddr, u32), RequestId>,
    /// Numbers under which trackers may be asked, and until when.
    connections: BTreeMap<SocketAddr, (u64, Time)>,
}

/// An announce to make.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// What the tracker is told.
    pub(crate) request: AnnounceRequest,
    /// The URL's path and query (BEP 41); may be empty.
    pub(crate) path_and_query: String,
    /// How long to try, the resolving of the name included.
    pub(crate) patience: Duration,
    /// A number that nobody can guess: the source of this announce's transaction numbers.
    pub(crate) random: u64,
}

/// What became of an announce.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// The tracker answered.
    Replied(RequestId, AnnounceReply),
    /// The tracker refused, or did not answer; in words.
    Failed(RequestId, String),
}

#[derive(Debug)]
struct Request {
    ask: Ask,
    deadline: Time,
    /// Where the tracker may be; empty while its name is being resolved.
    addresses: Vec<SocketAddr>,
    /// The index of the address that is asked.
    at: usize,
    /// Packets sent since there was last an answer.
    sent: u32,
    /// The address that is asked gave a connection number for this announce.
    connected: bool,
    /// The question whose answer is awaited.
    question: Option<(SocketAddr, u32)>,
    /// When to send the next packet.
    next: Option<Time>,
}

impl UdpTracker {
    /// Begins an announce. Nothing is sent before [`UdpTracker::resolved`] says where to.
    pub(crate) fn start(&mut self, id: RequestId, ask: Ask, now: Time) {
        let deadline = now + ask.patience;
        let request = Request {
            ask,
            deadline,
            addresses: Vec::new(),
            at: 0,
            sent: 0,
            connected: false,
            question: None,
            next: None,
        };
        self.requests.insert(id, request);
    }

    /// The addresses of an announce's tracker, the best first. They are asked from the next [`UdpTracker::poll`] on.
    pub(crate) fn resolved(&mut self, id: RequestId, addresses: Vec<SocketAddr>, now: Time) {
        if let Some(request) = self.requests.get_mut(&id) {
            request.addresses = addresses.into_iter().map(canonical).collect();
            request.next = Some(now);
        }
    }

    /// Forgets an announce.
    pub(crate) fn cancel(&mut self, id: RequestId) {
        if let Some(question) = self.requests.remove(&id).and_then(|request| request.question) {
            self.expected.remove(&question);
        }
    }

    /// Takes a packet, which may be anybody's. Packets may be due afterwards: see [`UdpTracker::poll`].
    pub(crate) fn on_datagram(&mut self, from: SocketAddr, data: &[u8], now: Time) -> Option<Event> {
        let from = canonical(from);
        let transaction = udp::transaction_of(data)?;
        let id = *self.expected.get(&(from, transaction))?;
        let family = if from.is_ipv4() { Family::V4 } else { Family::V6 };
        let reply = udp::parse_reply(data, transaction, family).ok()?;
        let request = self.requests.get_mut(&id)?;
        let announced = transaction == request.announce_transaction();
        match reply {
            Reply::Connected { connection } if !announced => {
                let until = now + Duration::from_secs(udp::CONNECTION_SECONDS.into());
                self.connections.insert(from, (connection, until));
                request.connected = true;
                self.proceed(id, now);
                None
            }
            Reply::Announce(reply) if announced => {
                self.cancel(id);
                Some(Event::Replied(id, reply))
            }
            // The tracker may have forgotten a number that an earlier announce was given.
            Reply::Error(_) if announced && !request.connected => {
                self.connections.remove(&from);
                self.proceed(id, now);
                None
            }
            Reply::Error(text) => {
                self.cancel(id);
                let text = if text.is_empty() { "no, and gives no reason" } else { &text };
                Some(Event::Failed(id, format!("the tracker says: {text}")))
            }
            Reply::Connected { .. } | Reply::Announce(_) | Reply::Scrape(_) => None,
        }
    }

    /// The packets that are due.
    pub(crate) fn poll(&mut self, now: Time) -> Vec<(SocketAddr, Bytes)> {
        self.connections.retain(|_, (_, until)| *until > now);
        let is_due = |request: &Request| request.next.is_some_and(|next| next <= now) && now < request.deadline;
        let due: Vec<RequestId> = self.requests.iter().filter(|(_, r)| is_due(r)).map(|(&id, _)| id).collect();
        due.into_iter().filter_map(|id| self.send(id, now)).collect()
    }

    /// Ends the announces that were tried for long enough.
    pub(crate) fn expire(&mut self, now: Time) -> Vec<Event> {
        let late: Vec<RequestId> = self.requests.iter().filter(|(_, r)| now >= r.deadline).map(|(&id, _)| id).collect();
        let mut events = Vec::new();
        for id in late {
            let text = self.requests.get(&id).map(Request::failure).unwrap_or_default();
            self.cancel(id);
            events.push(Event::Failed(id, text));
        }
        events
    }

    /// An answer came, so the next packet goes out at once.
    fn proceed(&mut self, id: RequestId, now: Time) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        request.sent = 0;
        request.next = Some(now);
        if let Some(question) = request.question.take() {
            self.expected.remove(&question);
        }
    }

    fn send(&mut self, id: RequestId, now: Time) -> Option<(SocketAddr, Bytes)> {
        let request = self.requests.get_mut(&id)?;
        if let Some(unanswered) = request.question.take() {
            self.expected.remove(&unanswered);
            // One that answered a moment ago has only lost a packet.
            if !request.connected {
                request.at = (request.at + 1) % request.addresses.len().max(1);
            }
        }
        let to = *request.addresses.get(request.at)?;
        let (transaction, packet) = match self.connections.get(&to) {
            Some(&(connection, _)) => {
                let (transaction, ask) = (request.announce_transaction(), &request.ask);
                (transaction, udp::announce_request(connection, transaction, &ask.request, &ask.path_and_query))
            }
            None => {
                request.connected = false;
                let transaction = request.connect_transaction();
                (transaction, udp::connect_request(transaction))
            }
        };
        request.next = Some(now + request.wait());
        request.sent = request.sent.saturating_add(1);
        request.question = Some((to, transaction));
        self.expected.insert((to, transaction), id);
        Some((to, packet.into()))
    }
}

impl Request {
    fn connect_transaction(&self) -> u32 {
        (self.ask.random >> 32) as u32
    }

    /// Never that of the connect, so that the answers cannot be taken for each other.
    fn announce_transaction(&self) -> u32 {
        let low = self.ask.random as u32;
        if low == self.connect_transaction() { !low } else { low }
    }

    /// How long to wait for the answer to the next packet: BEP 15's times, but so that each address gets its turn.
    fn wait(&self) -> Duration {
        let addresses = u32::try_from(self.addresses.len()).unwrap_or(u32::MAX).max(1);
        let standard = Duration::from_secs(udp::timeout(self.sent / addresses).into());
        standard.min((self.ask.patience / addresses).max(SHORTEST_WAIT))
    }

    fn failure(&self) -> String {
        let seconds = self.ask.patience.as_secs();
        match self.addresses.first() {
            None => format!("the tracker's name was not resolved within {seconds} s"),
            Some(_) => format!("no answer within {seconds} s"),
        }
    }
}

/// Dual-stack sockets write IPv4 addresses as IPv6 ones; scopes and flow labels do not tell trackers apart.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Shorter than this no address is waited for, however many there are.
const SHORTEST_WAIT: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;
    use reef_proto::peer_id::PeerId;
    use reef_proto::tracker::AnnounceEvent;

    const ID: RequestId = RequestId(7);
    const V4: &str = "192.0.2.1:6969";
    const V6: &str = "[2001:db8::1]:6969";
    const CONNECT: u32 = 0x0102_0304;
    const ANNOUNCE: u32 = 0x0a0b_0c0d;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn ask() -> Ask {
        let request = AnnounceRequest {
            info_hash: [1; 20],
            peer_id: PeerId([2; 20]),
            port: 6881,
            uploaded: 1,
            downloaded: 2,
            left: 3,
            event: AnnounceEvent::Started,
            key: 4,
            num_want: Some(50),
            ip: None,
            ipv4: None,
            ipv6: None,
            tracker_id: None,
        };
        let random = u64::from(CONNECT) << 32 | u64::from(ANNOUNCE);
        Ask { request, path_and_query: "/announce".to_owned(), patience: Duration::from_secs(30), random }
    }

    fn started(addresses: &[&str]) -> UdpTracker {
        let mut tracker = UdpTracker::default();
        tracker.start(ID, ask(), Time::ZERO);
        assert_eq!(tracker.poll(Time::ZERO), []);
        tracker.resolved(ID, addresses.iter().map(|a| at(a)).collect(), Time::ZERO);
        tracker
    }

    /// What goes out at this second: addressee and the packet's action.
    fn sent(tracker: &mut UdpTracker, second: u64) -> Vec<(SocketAddr, u8)> {
        tracker.poll(Time::from_secs(second)).into_iter().map(|(to, packet)| (to, packet[11])).collect()
    }

    fn packet(words: &[u32], tail: &[u8]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).chain(tail.iter().copied()).collect()
    }

    fn connected(transaction: u32) -> Vec<u8> {
        packet(&[0, transaction, 0, 0x99], &[])
    }

    fn give(tracker: &mut UdpTracker, from: &str, second: u64, packet: &[u8]) -> Option<Event> {
        tracker.on_datagram(at(from), packet, Time::from_secs(second))
    }

    #[test]
    fn an_announce_connects_then_asks() {
        let mut tracker = started(&[V4]);
        let first = tracker.poll(Time::ZERO);
        let vector = [0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0, 1, 2, 3, 4];
        assert_eq!(first, [(at(V4), Bytes::copy_from_slice(&vector))]);
        assert_eq!(give(&mut tracker, V4, 1, &connected(CONNECT)), None);
        let second = tracker.poll(Time::from_secs(1));
        let expected = udp::announce_request(0x99, ANNOUNCE, &ask().request, "/announce");
        assert_eq!(second, [(at(V4), Bytes::from(expected))]);
        let peers = [127, 0, 0, 1, 0, 2, 255, 0, 0, 3, 0, 4];
        let reply = give(&mut tracker, V4, 2, &packet(&[1, ANNOUNCE, 1652, 257, 3341], &peers));
        let Some(Event::Replied(ID, reply)) = reply else { panic!("{reply:?}") };
        assert_eq!(reply.peers, [at("127.0.0.1:2"), at("255.0.0.3:4")]);
        assert_eq!((reply.interval, reply.incomplete, reply.complete), (1652, Some(257), Some(3341)));
        assert!(tracker.requests.is_empty() && tracker.expected.is_empty());
    }

    #[test]
    fn packets_that_answer_no_question_are_dropped() {
        let cases: [(&str, &str, Vec<u8>); 7] = [
            ("another address", "192.0.2.2:6969", connected(CONNECT)),
            ("another port", "192.0.2.1:6970", connected(CONNECT)),
            ("another number", V4, connected(5)),
            ("cut", V4, connected(CONNECT)[..12].to_vec()),
            ("empty", V4, Vec::new()),
            ("an announce before it was asked", V4, packet(&[1, CONNECT, 1, 1, 1], &[])),
            ("an unknown action", V4, packet(&[9, CONNECT, 0, 0], &[])),
        ];
        for (name, from, data) in cases {
            let mut tracker = started(&[V4]);
            sent(&mut tracker, 0);
            assert_eq!(give(&mut tracker, from, 1, &data), None, "{name}");
            assert_eq!(sent(&mut tracker, 1), [], "{name}");
            assert!(tracker.connections.is_empty(), "{name}");
        }
    }

    #[test]
    fn silence_is_asked_again_and_ends() {
        let mut tracker = started(&[V4]);
        assert_eq!(sent(&mut tracker, 0), [(at(V4), 0)]);
        assert_eq!(sent(&mut tracker, 14), []);
        assert_eq!(sent(&mut tracker, 15), [(at(V4), 0)]);
        assert_eq!(tracker.expire(Time::from_secs(29)), []);
        assert_eq!(tracker.expire(Time::from_secs(30)), [Event::Failed(ID, "no answer within 30 s".to_owned())]);
        assert_eq!(sent(&mut tracker, 60), []);
    }

    #[test]
    fn a_name_that_is_not_resolved_ends() {
        let mut tracker = UdpTracker::default();
        tracker.start(ID, ask(), Time::ZERO);
        let text = "the tracker's name was not resolved within 30 s".to_owned();
        assert_eq!(tracker.expire(Time::from_secs(30)), [Event::Failed(ID, text)]);
    }

    #[test]
    fn each_address_gets_its_turn() {
        let mut tracker = started(&[V4, "192.0.2.2:6969", V6]);
        let asked: Vec<_> = [0, 10, 20].iter().flat_map(|&second| sent(&mut tracker, second)).collect();
        assert_eq!(asked, [(at(V4), 0), (at("192.0.2.2:6969"), 0), (at(V6), 0)]);
        assert_eq!(give(&mut tracker, V4, 21, &connected(CONNECT)), None);
        assert_eq!(sent(&mut tracker, 21), [], "the first is not asked any more");
        give(&mut tracker, V6, 21, &connected(CONNECT));
        assert_eq!(sent(&mut tracker, 21), [(at(V6), 1)]);
        let peer = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 80];
        let reply = give(&mut tracker, V6, 22, &packet(&[1, ANNOUNCE, 60, 0, 1], &peer));
        let Some(Event::Replied(ID, reply)) = reply else { panic!("{reply:?}") };
        assert_eq!(reply.peers, [at("[2001:db8::9]:80")]);
    }

    #[test]
    fn an_address_that_answered_is_asked_again_first() {
        let mut tracker = started(&[V4, V6]);
        sent(&mut tracker, 0);
        give(&mut tracker, V4, 1, &connected(CONNECT));
        assert_eq!(sent(&mut tracker, 1), [(at(V4), 1)]);
        assert_eq!(sent(&mut tracker, 16), [(at(V4), 1)]);
    }

    #[test]
    fn a_connection_serves_later_announces_for_a_minute() {
        for (second, action) in [(60, 1), (62, 0)] {
            let mut tracker = started(&[V4]);
            sent(&mut tracker, 0);
            give(&mut tracker, V4, 1, &connected(CONNECT));
            sent(&mut tracker, 1);
            give(&mut tracker, V4, 1, &packet(&[1, ANNOUNCE, 60, 0, 1], &[]));
            tracker.start(ID, ask(), Time::from_secs(second));
            tracker.resolved(ID, vec![at(V4)], Time::from_secs(second));
            assert_eq!(sent(&mut tracker, second), [(at(V4), action)], "{second}");
        }
    }

    #[test]
    fn a_forgotten_connection_is_made_anew_and_a_refusal_ends() {
        let mut tracker = started(&[V4]);
        tracker.connections.insert(at(V4), (1, Time::from_secs(50)));
        assert_eq!(sent(&mut tracker, 0), [(at(V4), 1)]);
        let error = packet(&[3, ANNOUNCE], b"connection id mismatch");
        assert_eq!(give(&mut tracker, V4, 1, &error), None);
        assert_eq!(sent(&mut tracker, 1), [(at(V4), 0)]);
        give(&mut tracker, V4, 2, &connected(CONNECT));
        assert_eq!(sent(&mut tracker, 2), [(at(V4), 1)]);
        let refused = give(&mut tracker, V4, 3, &packet(&[3, ANNOUNCE], b"unregistered torrent"));
        assert_eq!(refused, Some(Event::Failed(ID, "the tracker says: unregistered torrent".to_owned())));
        assert!(tracker.requests.is_empty() && tracker.expected.is_empty());
    }

    #[test]
    fn a_cancelled_announce_is_silent() {
        let mut tracker = started(&[V4]);
        sent(&mut tracker, 0);
        tracker.cancel(ID);
        assert_eq!(give(&mut tracker, V4, 1, &connected(CONNECT)), None);
        assert_eq!(sent(&mut tracker, 20), []);
        assert_eq!(tracker.expire(Time::from_secs(90)), []);
    }
}
