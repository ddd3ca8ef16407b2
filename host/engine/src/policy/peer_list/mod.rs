//! The addresses known of one torrent, and which of them to dial next.
//!
//! Every address is in exactly one state: it may be dialled now, after a while, or never; it is being dialled or
//! connected. The first two are kept in order, so asking for a candidate costs the same with ten addresses as with ten
//! thousand. It never names an address that cannot be a peer (no port, no host, many hosts), our own, or a banned one.
//!
//! It opens nothing and knows no connection; the order is that of the number of failures, of what was never tried, of
//! who named it, and of BEP 40.

#[cfg(test)]
mod tests;

use crate::status::PeerSource;
use crate::time::Time;
use reef_proto::address::can_be_dialed;
use reef_proto::peer_priority::peer_priority;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Banned addresses that are remembered at most.
const MAX_BANNED: usize = 65_536;
/// Trust at which a peer should be banned (manual: trust points).
pub const WORST_TRUST: i8 = -7;
const BEST_TRUST: i8 = 8;
/// How often an address may be dialled again at once after it went away in good order.
const FAST_RECONNECTS: u8 = 2;

/// What is said of a peer where it is named: the flags of BEP 11.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PeerFlags(pub u8);

impl PeerFlags {
    /// It prefers encryption.
    pub const ENCRYPTION: Self = Self(0x01);
    /// It only uploads.
    pub const SEED: Self = Self(0x02);
    /// It speaks uTP.
    pub const UTP: Self = Self(0x04);
    /// It speaks the holepunch extension.
    pub const HOLEPUNCH: Self = Self(0x08);
    /// It can be reached: the sender dialled it.
    pub const REACHABLE: Self = Self(0x10);

    /// Whether every flag of the other is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What became of an address that was named.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Added {
    /// It was not known.
    pub first_time: bool,
    /// It is not one to dial: banned, our own, or no address of a peer. It was not taken.
    pub filtered: bool,
    /// It is known from now on (a full list takes an address only in the place of a worse one).
    pub kept: bool,
}

/// How a connection, or the attempt at one, ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It never came to be: refused, timed out, no handshake.
    Failed,
    /// It was good for something and is over.
    Closed,
    /// As `Closed`, and to be dialled again at once, if it is not the third time.
    Reconnect,
    /// The peer is of no use: it broke the protocol, or is ourselves.
    Useless,
}

/// What an incoming connection's listen port told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Merged {
    /// The connection's address is this one from now on.
    Moved(SocketAddr),
    /// There is another connection to this address.
    Duplicate(SocketAddr),
    /// Nothing changed: no connection has that address, or the port is none.
    Unchanged,
}

/// The numbers that bound the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Addresses kept; 0 for no limit (setting `max_peerlist_size`).
    pub max_size: usize,
    /// How long to wait before an address is dialled again, times its failures (setting `min_reconnect_time`).
    pub min_reconnect_time: Duration,
    /// Failures after which an address is dialled no more (setting `max_failcount`).
    pub max_failcount: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_size: 3000, min_reconnect_time: Duration::from_secs(60), max_failcount: 3 }
    }
}

/// What is known of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// Who named it.
    pub source: PeerSource,
    /// What was said of it.
    pub flags: PeerFlags,
    /// Attempts that failed since the last that did not.
    pub fails: u8,
    /// Trust points, from -7 to 8.
    pub trust: i8,
    /// When it was last dialled or connected.
    pub last_try: Option<Time>,
    /// It is connected, or being dialled.
    pub busy: bool,
    /// It can be dialled: it is not just where a connection came from.
    pub connectable: bool,
    fast_reconnects: u8,
    /// Not to be dialled before this.
    not_before: Time,
    queue: Queue,
}

/// Where an address waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Queue {
    /// It is busy.
    None,
    Ready(Rank),
    Later(Time),
    Never,
}

/// The order of dialling, lower first: failures, tried, source, the inverse of the BEP 40 priority or a hash.
type Rank = (u8, bool, u8, u32);

/// The addresses of one torrent.
#[derive(Clone, Debug)]
pub struct PeerList {
    limits: Limits,
    peers: BTreeMap<SocketAddr, Known>,
    ready: BTreeSet<(Rank, SocketAddr)>,
    later: BTreeSet<(Time, SocketAddr)>,
    never: BTreeSet<SocketAddr>,
    banned: BTreeSet<IpAddr>,
    /// The banned ones in the order in which it happened, to forget the oldest.
    banned_order: VecDeque<IpAddr>,
    /// Where we listen.
    own: Vec<SocketAddr>,
    /// Our address as the outside sees it, with our port.
    external: Option<SocketAddr>,
    /// We want nothing more: seeds are of no use.
    finished: bool,
}

impl PeerList {
    /// An empty list.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            peers: BTreeMap::new(),
            ready: BTreeSet::new(),
            later: BTreeSet::new(),
            never: BTreeSet::new(),
            banned: BTreeSet::new(),
            banned_order: VecDeque::new(),
            own: Vec::new(),
            external: None,
            finished: false,
        }
    }

    /// Changes the limits. A list that is too large now shrinks as addresses are added.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.sort_all();
    }

    /// Where we listen, and how the outside sees us, as far as known. None of these is ever dialled.
    pub fn set_own(&mut self, listening: &[SocketAddr], external: Option<SocketAddr>) {
        self.own = listening.iter().copied().chain(external).map(canonical).collect();
        let changed = self.external != external;
        self.external = external.map(canonical);
        let own: Vec<_> =
            self.own.iter().copied().filter(|addr| self.peers.get(addr).is_some_and(|p| !p.busy)).collect();
        own.into_iter().for_each(|addr| self.remove(addr));
        if changed {
            self.sort_all();
        }
    }

    /// Whether we want nothing more; seeds are then not dialled.
    pub fn set_finished(&mut self, finished: bool) {
        if std::mem::replace(&mut self.finished, finished) != finished {
            self.sort_all();
        }
    }

    /// Takes an address that somebody named.
    pub fn add(&mut self, addr: SocketAddr, source: PeerSource, flags: PeerFlags, now: Time) -> Added {
        let addr = canonical(addr);
        if let Some(known) = self.peers.get_mut(&addr) {
            known.source = known.source.with(source);
            known.flags.0 |= flags.0;
            known.connectable = true;
            self.sort(addr, now);
            return Added { kept: true, ..Added::default() };
        }
        if !can_be_dialed(addr) || self.own.contains(&addr) || self.banned.contains(&addr.ip()) {
            return Added { first_time: true, filtered: true, kept: false };
        }
        let kept = self.make_room(source);
        if kept {
            self.peers.insert(addr, Known::new(source, flags));
            self.sort(addr, now);
        }
        Added { first_time: true, filtered: false, kept }
    }

    /// Forgets the addresses that these sources alone have named. Returns those that are connected or being dialled: they
    /// are forgotten when that is over.
    pub fn forget_named_by(&mut self, sources: PeerSource) -> Vec<SocketAddr> {
        let alone = |known: &Known| known.source != PeerSource::default() && known.source.0 & !sources.0 == 0;
        let named: Vec<_> = self.peers.iter().filter(|(_, known)| alone(known)).map(|(addr, _)| *addr).collect();
        let mut busy = Vec::new();
        for addr in named {
            match self.peers.get_mut(&addr) {
                Some(known) if known.busy => {
                    known.connectable = false;
                    busy.push(addr);
                }
                _ => self.remove(addr),
            }
        }
        busy
    }

    /// The address to dial next. It counts as being dialled until [`PeerList::disconnected`] is told of it. `random`
    /// decides among equals while our own address, and with it their BEP 40 priority, is not known.
    pub fn candidate(&mut self, now: Time, random: u64) -> Option<SocketAddr> {
        self.wake(now);
        let &(first, _) = self.ready.first()?;
        let (fails, tried, source, _) = first;
        let from = if self.external.is_some() { 0 } else { random as u32 };
        let no_address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let start = ((fails, tried, source, from), no_address);
        let next = self.ready.range(start..).next().filter(|((f, t, s, _), _)| (*f, *t, *s) == (fails, tried, source));
        let (_, addr) = next.or_else(|| self.ready.first()).copied()?;
        self.set_busy(addr, now);
        Some(addr)
    }

    /// Whether [`PeerList::candidate`] has one.
    pub fn has_candidate(&mut self, now: Time) -> bool {
        self.wake(now);
        !self.ready.is_empty()
    }

    /// When an address may be dialled next, if none may now.
    #[must_use]
    pub fn next_candidate_at(&self) -> Option<Time> {
        match self.ready.is_empty() {
            true => self.later.first().map(|(time, _)| *time),
            false => Some(Time::ZERO),
        }
    }

    /// A connection to or from the address is up. One that came from there is not dialled until its listen port is known.
    pub fn connected(&mut self, addr: SocketAddr, now: Time) {
        let addr = canonical(addr);
        let stranger = Known { connectable: false, ..Known::new(PeerSource::INCOMING, PeerFlags::default()) };
        self.peers.entry(addr).or_insert(stranger);
        self.set_busy(addr, now);
    }

    /// A connection, or the attempt at one, is over.
    pub fn disconnected(&mut self, addr: SocketAddr, now: Time, outcome: Outcome) {
        let addr = canonical(addr);
        let limits = self.limits;
        let Some(known) = self.peers.get_mut(&addr) else { return };
        known.busy = false;
        known.last_try = Some(now);
        match outcome {
            Outcome::Failed => known.fails = known.fails.saturating_add(1),
            Outcome::Useless => known.fails = u8::MAX,
            Outcome::Closed | Outcome::Reconnect => known.fails = 0,
        }
        let again = outcome == Outcome::Reconnect && known.fast_reconnects < FAST_RECONNECTS;
        known.fast_reconnects += u8::from(again);
        let wait = limits.min_reconnect_time * u32::from(known.fails.max(1));
        known.not_before = if again { now } else { now + wait };
        if known.connectable && !self.banned.contains(&addr.ip()) && !self.own.contains(&addr) {
            self.sort(addr, now);
        } else {
            self.remove(addr);
        }
    }

    /// A connection that came from `addr` says that it listens at `port`: from now on it is known by that address.
    pub fn listen_port_known(&mut self, addr: SocketAddr, port: u16, now: Time) -> Merged {
        let addr = canonical(addr);
        let listen = SocketAddr::new(addr.ip(), port);
        let Some(known) = self.peers.get(&addr).copied().filter(|known| known.busy && port != 0) else {
            return Merged::Unchanged;
        };
        if listen == addr {
            return Merged::Moved(listen);
        }
        if self.peers.get(&listen).is_some_and(|other| other.busy) {
            return Merged::Duplicate(listen);
        }
        self.remove(addr);
        let before = self.peers.get(&listen).copied();
        self.remove(listen);
        let merged = Known {
            connectable: true,
            fails: 0,
            source: known.source.with(before.map_or(PeerSource::INCOMING, |b| b.source)),
            flags: before.map_or(known.flags, |b| PeerFlags(b.flags.0 | known.flags.0)),
            trust: before.map_or(known.trust, |b| b.trust.min(known.trust)),
            ..known
        };
        self.peers.insert(listen, merged);
        self.sort(listen, now);
        Merged::Moved(listen)
    }

    /// The peer is, or is not, a seed.
    pub fn set_seed(&mut self, addr: SocketAddr, is_seed: Seed) {
        if let Some(known) = self.peers.get_mut(&canonical(addr)) {
            match is_seed {
                Seed::Yes => known.flags.0 |= PeerFlags::SEED.0,
                Seed::No => known.flags.0 &= !PeerFlags::SEED.0,
            }
        }
    }

    /// The peer helped to finish a good piece: one trust point more. Gives its points.
    pub fn reward(&mut self, addr: SocketAddr) -> i8 {
        self.change_trust(addr, 1)
    }

    /// The peer took part in a piece that failed: two trust points less. At [`WORST_TRUST`] it should be banned.
    pub fn punish(&mut self, addr: SocketAddr) -> i8 {
        self.change_trust(addr, -2)
    }

    /// Never talk to this host again: none of its ports is dialled, and no connection from it should be taken.
    pub fn ban(&mut self, addr: SocketAddr) {
        let ip = canonical(addr).ip();
        if self.banned.insert(ip) {
            self.banned_order.push_back(ip);
        }
        if self.banned_order.len() > MAX_BANNED
            && let Some(oldest) = self.banned_order.pop_front()
        {
            self.banned.remove(&oldest);
        }
        let ports = self.peers.range(SocketAddr::new(ip, 0)..=SocketAddr::new(ip, u16::MAX));
        let idle: Vec<_> = ports.filter(|(_, known)| !known.busy).map(|(addr, _)| *addr).collect();
        idle.into_iter().for_each(|addr| self.remove(addr));
    }

    /// Whether the host is banned.
    #[must_use]
    pub fn is_banned(&self, ip: IpAddr) -> bool {
        self.banned.contains(&ip.to_canonical())
    }

    /// The banned hosts, the oldest first.
    pub fn banned(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.banned_order.iter().copied()
    }

    /// What is known of an address.
    #[must_use]
    pub fn get(&self, addr: SocketAddr) -> Option<&Known> {
        self.peers.get(&canonical(addr))
    }

    /// Every address and what is known of it.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddr, &Known)> + '_ {
        self.peers.iter().map(|(addr, known)| (*addr, known))
    }

    /// Addresses known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether no address is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Panics if the list contradicts itself. For tests; looks at everything.
    pub fn check_invariant(&self) {
        let queued = |want: fn(&Queue) -> bool| self.peers.values().filter(|known| want(&known.queue)).count();
        assert_eq!(self.ready.len(), queued(|q| matches!(q, Queue::Ready(_))));
        assert_eq!(self.later.len(), queued(|q| matches!(q, Queue::Later(_))));
        assert_eq!(self.never.len(), queued(|q| matches!(q, Queue::Never)));
        for (addr, known) in &self.peers {
            assert_eq!(known.busy, known.queue == Queue::None, "{addr}");
            assert!(match known.queue {
                Queue::None => true,
                Queue::Ready(rank) => self.ready.contains(&(rank, *addr)),
                Queue::Later(time) => self.later.contains(&(time, *addr)),
                Queue::Never => self.never.contains(addr),
            });
            assert!(known.busy || (!self.is_banned(addr.ip()) && !self.own.contains(addr)), "{addr}");
        }
    }

    fn change_trust(&mut self, addr: SocketAddr, by: i8) -> i8 {
        self.peers.get_mut(&canonical(addr)).map_or(0, |known| {
            known.trust = known.trust.saturating_add(by).clamp(WORST_TRUST, BEST_TRUST);
            known.trust
        })
    }

    /// Makes room for an address that `source` named, if there is a worse one; says whether there is room.
    fn make_room(&mut self, source: PeerSource) -> bool {
        if self.limits.max_size == 0 || self.peers.len() < self.limits.max_size {
            return true;
        }
        // An address that is as good as the new one stays: a flood of made-up peers must not wash out those we know.
        let fresh = (0, false, source_rank(source));
        let worse = |((fails, tried, source, _), _): &&(Rank, SocketAddr)| (*fails, *tried, *source) > fresh;
        let worst_ready = || self.ready.last().filter(worse).map(|(_, addr)| *addr);
        let worst_later = || self.later.last().map(|(_, addr)| *addr);
        let worst = self.never.first().copied().or_else(worst_later).or_else(worst_ready);
        worst.map(|addr| self.remove(addr)).is_some()
    }

    fn wake(&mut self, now: Time) {
        while let Some(&(time, addr)) = self.later.first()
            && time <= now
        {
            self.sort(addr, now);
        }
    }

    fn set_busy(&mut self, addr: SocketAddr, now: Time) {
        if let Some(known) = self.peers.get_mut(&addr) {
            known.busy = true;
            known.last_try = Some(now);
        }
        self.sort(addr, now);
    }

    fn sort_all(&mut self) {
        let all: Vec<_> = self.peers.keys().copied().collect();
        // Whatever may be dialled by now is woken when a candidate is asked for.
        all.into_iter().for_each(|addr| self.sort(addr, Time::ZERO));
    }

    /// Puts an address into the queue it belongs to.
    fn sort(&mut self, addr: SocketAddr, now: Time) {
        self.unqueue(addr);
        let Some(known) = self.peers.get(&addr).copied() else { return };
        let useless_seed = self.finished && known.flags.contains(PeerFlags::SEED);
        let queue = if known.busy {
            Queue::None
        } else if !known.connectable || known.fails >= self.limits.max_failcount || useless_seed {
            Queue::Never
        } else if known.not_before > now {
            Queue::Later(known.not_before)
        } else {
            Queue::Ready(self.rank(addr, &known))
        };
        match queue {
            Queue::None => {}
            Queue::Ready(rank) => drop(self.ready.insert((rank, addr))),
            Queue::Later(time) => drop(self.later.insert((time, addr))),
            Queue::Never => drop(self.never.insert(addr)),
        }
        if let Some(known) = self.peers.get_mut(&addr) {
            known.queue = queue;
        }
    }

    fn unqueue(&mut self, addr: SocketAddr) {
        match self.peers.get(&addr).map(|known| known.queue) {
            Some(Queue::Ready(rank)) => drop(self.ready.remove(&(rank, addr))),
            Some(Queue::Later(time)) => drop(self.later.remove(&(time, addr))),
            Some(Queue::Never) => drop(self.never.remove(&addr)),
            Some(Queue::None) | None => {}
        }
    }

    fn remove(&mut self, addr: SocketAddr) {
        self.unqueue(addr);
        self.peers.remove(&addr);
    }

    fn rank(&self, addr: SocketAddr, known: &Known) -> Rank {
        let tie = match self.external {
            Some(own) => u32::MAX - peer_priority(own, addr),
            // Any spread will do, as long as nobody can line addresses up with it: `candidate` starts anywhere.
            None => spread(addr),
        };
        (known.fails, known.last_try.is_some(), source_rank(known.source), tie)
    }
}

/// Whether a peer has every piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seed {
    /// It has.
    Yes,
    /// It has not.
    No,
}

impl Known {
    fn new(source: PeerSource, flags: PeerFlags) -> Self {
        Self {
            source,
            flags,
            fails: 0,
            trust: 0,
            last_try: None,
            busy: false,
            connectable: true,
            fast_reconnects: 0,
            not_before: Time::ZERO,
            queue: Queue::None,
        }
    }
}

/// Lower is better: who names peers that it has seen comes before who passes on what it heard.
fn source_rank(source: PeerSource) -> u8 {
    let order = [PeerSource::RESUME_DATA, PeerSource::TRACKER, PeerSource::LSD, PeerSource::DHT, PeerSource::PEX];
    order.iter().position(|one| source.intersects(*one)).unwrap_or(order.len()) as u8
}

/// An IPv4 address that comes dressed as IPv6 is the same peer.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// A number that depends on the whole address (FNV-1a).
fn spread(addr: SocketAddr) -> u32 {
    let ip = match addr.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    };
    let bytes = ip.into_iter().chain(addr.port().to_be_bytes());
    bytes.fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
