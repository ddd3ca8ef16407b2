//! What a peer may tell us, and how often.

use crate::message::{Contact, Family, Received};
use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

/// When one peer's last messages came.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    arrivals: VecDeque<u64>,
}

impl Inbox {
    /// Notes a message. `false`: it is the seventh within a minute. BEP 11 allows one; the rest is room for messages that a slow
    /// connection delivers in a burst.
    pub(crate) fn admit(&mut self, now: u64) -> bool {
        if self.arrivals.len() == BURST {
            match self.arrivals.pop_front() {
                Some(first) if now.saturating_sub(first) < MINUTE => return false,
                _ => (),
            }
        }
        self.arrivals.push_back(now);
        true
    }
}

/// Where a message came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// A peer of our own network.
    Local,
    /// A peer outside of it: local addresses of its network mean something else in ours.
    Remote,
}

/// The peers of a message that are worth trying, each once, at most 50 of each family. What it says it has lost is not among
/// them.
pub(crate) fn candidates(message: &Received<'_>, origin: Origin) -> Vec<Contact> {
    let mut seen: BTreeSet<SocketAddr> = Family::BOTH.into_iter().flat_map(|family| message.dropped(family)).collect();
    let mut kept = Vec::new();
    for family in Family::BOTH {
        let good = message.added(family).filter(|contact| is_usable(contact.addr, origin) && seen.insert(contact.addr));
        kept.extend(good.take(MAX_KEPT));
    }
    kept
}

/// Whether a peer can be at this address.
fn is_usable(addr: SocketAddr, origin: Origin) -> bool {
    let ip = addr.ip();
    let nowhere = match ip {
        IpAddr::V4(ip) => ip.octets()[0] == 0 || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    addr.port() != 0 && !nowhere && (origin == Origin::Local || !is_local(ip))
}

/// Whether an address is of this machine or its network.
fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Microseconds in a minute.
const MINUTE: u64 = 60_000_000;
/// Messages that may come within a minute (libtorrent's rule).
const BURST: usize = 6;
/// Peers of each family that are taken from a message (BEP 11, and the manual's `max_pex_peers`).
const MAX_KEPT: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::encode;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn check(added: &[SocketAddr], dropped: &[SocketAddr], origin: Origin, expected: &[SocketAddr]) {
        let added: Vec<_> = added.iter().map(|addr| Contact { addr: *addr, flags: 3 }).collect();
        let message = encode(&added, dropped);
        let kept = candidates(&Received::decode(&message).expect("a message"), origin);
        assert_eq!(kept.iter().map(|contact| contact.addr).collect::<Vec<_>>(), expected);
        assert!(kept.iter().all(|contact| contact.flags == 3));
    }

    #[test]
    fn the_seventh_message_within_a_minute_is_a_flood() {
        let mut inbox = Inbox::default();
        assert!((0..6).all(|second| inbox.admit(second * 1_000_000)));
        assert!(!inbox.admit(MINUTE - 1));
        let mut inbox = Inbox::default();
        assert!((0..6).all(|_| inbox.admit(0)));
        assert!((0..6).all(|_| inbox.admit(MINUTE)));
        assert!(!inbox.admit(MINUTE));
        let mut inbox = Inbox::default();
        assert!((0..100).all(|n| inbox.admit(n * MINUTE / 6)));
    }

    #[test]
    fn addresses_where_no_peer_can_be_are_dropped() {
        let table = [
            ("1.2.3.4:5", true, true),
            ("1.2.3.4:0", false, false),
            ("0.0.0.0:5", false, false),
            ("0.1.2.3:5", false, false),
            ("224.0.0.1:5", false, false),
            ("255.255.255.255:5", false, false),
            ("127.0.0.1:5", true, false),
            ("10.0.0.1:5", true, false),
            ("172.16.0.1:5", true, false),
            ("192.168.0.1:5", true, false),
            ("169.254.1.1:5", true, false),
            ("[2001:db8::1]:5", true, true),
            ("[::]:5", false, false),
            ("[ff02::1]:5", false, false),
            ("[::1]:5", true, false),
            ("[fe80::1]:5", true, false),
            ("[fd00::1]:5", true, false),
            ("[::ffff:10.0.0.1]:5", true, false),
        ];
        for (text, local, remote) in table {
            let canonical = SocketAddr::new(addr(text).ip().to_canonical(), addr(text).port());
            for (origin, usable) in [(Origin::Local, local), (Origin::Remote, remote)] {
                check(&[addr(text)], &[], origin, if usable { std::slice::from_ref(&canonical) } else { &[] });
            }
        }
    }

    #[test]
    fn dropped_peers_and_repetitions_are_no_candidates() {
        let [a, b, c] = [addr("1.1.1.1:1"), addr("2.2.2.2:2"), addr("[2001:db8::3]:3")];
        check(&[a, b, a, c], &[b], Origin::Remote, &[a, c]);
        check(&[c, c], &[c, a], Origin::Remote, &[]);
    }

    #[test]
    fn fifty_of_each_family_are_kept() {
        let v4: Vec<_> = (1..=60).map(|port| addr(&format!("1.1.1.1:{port}"))).collect();
        let v6: Vec<_> = (1..=60).map(|port| addr(&format!("[2001:db8::1]:{port}"))).collect();
        check(&[v4.clone(), v6.clone()].concat(), &[], Origin::Remote, &[&v4[..50], &v6[..50]].concat());
    }
}
