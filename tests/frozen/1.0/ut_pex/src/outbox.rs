//! What one peer has been told, and what it is to be told next.
//!
//! The difference is taken against what this very peer has heard, by the address that it heard: so a peer that is still
//! connected is never reported as lost, and what did not fit into one message comes with the next.

use crate::message::{Contact, Family, compact, encode, expand};
use reef_plugin_api::bencode::{Dict, Value, decode};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// What one peer has been told, and when it is to be told more.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    told: BTreeSet<SocketAddr>,
    /// When the next message may be sent, once there was one.
    next: Option<u64>,
}

/// A message to be sent.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Letter {
    added: Vec<Contact>,
    dropped: Vec<SocketAddr>,
}

impl Letter {
    /// Its bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(&self.added, &self.dropped)
    }
}

impl Outbox {
    /// Whether a message may be sent: BEP 11 allows one a minute.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        self.next.is_none_or(|next| now >= next)
    }

    /// What to tell the peer when these are the torrent's peers, if there is something. The first message tells all, as far as
    /// it goes.
    pub(crate) fn letter(&self, current: &[Contact]) -> Option<Letter> {
        let room = if self.next.is_none() { MAX_FIRST } else { MAX_CHANGES };
        let mut fresh = BTreeSet::new();
        let unheard = current.iter().filter(|contact| !self.told.contains(&contact.addr));
        // Two connections may have one listen port.
        let added: Vec<Contact> = unheard.filter(|contact| fresh.insert(contact.addr)).take(room).copied().collect();
        let current: BTreeSet<SocketAddr> = current.iter().map(|contact| contact.addr).collect();
        let dropped: Vec<SocketAddr> = self.told.difference(&current).take(MAX_CHANGES).copied().collect();
        (!added.is_empty() || !dropped.is_empty()).then_some(Letter { added, dropped })
    }

    /// The peer was told this.
    pub(crate) fn sent(&mut self, letter: &Letter, now: u64) {
        self.told.extend(letter.added.iter().map(|contact| contact.addr));
        letter.dropped.iter().for_each(|addr| {
            self.told.remove(addr);
        });
        self.next = Some(now.saturating_add(INTERVAL));
    }

    /// There was nothing to tell. A peer that has heard nothing yet hears of the first peer at once.
    pub(crate) fn skip(&mut self, now: u64) {
        if self.next.is_some() {
            self.next = Some(now.saturating_add(INTERVAL));
        }
    }

    /// For the plugin's next instance on this connection.
    pub(crate) fn save(&self) -> Vec<u8> {
        let mut dict = Dict::new();
        if let Some(next) = self.next.and_then(|next| i64::try_from(next).ok()) {
            dict.int("next", next);
        }
        dict.bytes("told", compact(Family::V4, self.told.iter().copied()));
        dict.bytes("told6", compact(Family::V6, self.told.iter().copied()));
        dict.encode()
    }

    /// What another instance saved; what cannot be read was not saved.
    pub(crate) fn load(state: &[u8]) -> Self {
        let Ok(dict) = decode(state) else { return Self::default() };
        let told = |family, key| expand(family, dict.get(key).and_then(Value::as_bytes).unwrap_or_default());
        let next = dict.get("next").and_then(Value::as_int).and_then(|next| u64::try_from(next).ok());
        Self { told: told(Family::V4, "told").chain(told(Family::V6, "told6")).collect(), next }
    }
}

/// Microseconds between two messages.
const INTERVAL: u64 = 60_000_000;
/// Peers in the first message at most (libtorrent's number).
const MAX_FIRST: usize = 100;
/// Added, and dropped, peers in every later message at most.
const MAX_CHANGES: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    fn contacts(ports: std::ops::RangeInclusive<u16>) -> Vec<Contact> {
        ports.map(|port| Contact { addr: SocketAddr::from(([1, 2, 3, 4], port)), flags: 2 }).collect()
    }

    fn addrs(ports: std::ops::RangeInclusive<u16>) -> Vec<SocketAddr> {
        contacts(ports).iter().map(|contact| contact.addr).collect()
    }

    /// What is told, as numbers of added and dropped peers; `None` if nothing is.
    fn tell(outbox: &mut Outbox, current: &[Contact], now: u64) -> Option<(usize, usize)> {
        assert!(outbox.is_due(now));
        let letter = outbox.letter(current)?;
        outbox.sent(&letter, now);
        Some((letter.added.len(), letter.dropped.len()))
    }

    #[test]
    fn first_all_then_differences_once_a_minute() {
        let mut outbox = Outbox::default();
        assert_eq!(tell(&mut outbox, &contacts(1..=3), 5), Some((3, 0)));
        assert!(!outbox.is_due(INTERVAL + 4));
        let letter = outbox.letter(&contacts(2..=4));
        assert_eq!(letter, Some(Letter { added: contacts(4..=4), dropped: addrs(1..=1) }));
        assert_eq!(tell(&mut outbox, &contacts(2..=4), INTERVAL + 5), Some((1, 1)));
        assert_eq!(outbox.letter(&contacts(2..=4)), None);
    }

    #[test]
    fn the_first_message_waits_for_a_peer_and_later_ones_for_a_minute() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.letter(&[]), None);
        outbox.skip(0);
        assert_eq!(tell(&mut outbox, &contacts(1..=1), 0), Some((1, 0)));
        outbox.skip(INTERVAL);
        assert!(!outbox.is_due(2 * INTERVAL - 1) && outbox.is_due(2 * INTERVAL));
    }

    #[test]
    fn what_does_not_fit_comes_later_and_connected_peers_are_not_dropped() {
        let mut outbox = Outbox::default();
        let all = contacts(1..=180);
        let steps =
            [(&all[..], (100, 0)), (&all, (50, 0)), (&all, (30, 0)), (&all[..110], (0, 50)), (&all[..110], (0, 20))];
        for (now, (current, expected)) in (0..).map(|n| n * INTERVAL).zip(steps) {
            assert_eq!(tell(&mut outbox, current, now), Some(expected), "{now}");
        }
        assert_eq!(outbox.told, BTreeSet::from_iter(addrs(1..=110)));
    }

    #[test]
    fn one_address_is_told_once() {
        let twice = [contacts(1..=1), contacts(1..=1)].concat();
        assert_eq!(tell(&mut Outbox::default(), &twice, 0), Some((1, 0)));
    }

    #[test]
    fn a_saved_outbox_goes_on() {
        let mut outbox = Outbox::default();
        let mut current = contacts(1..=3);
        current.push(Contact { addr: "[2001:db8::1]:4".parse().expect("an address"), flags: 0 });
        tell(&mut outbox, &current, 7);
        let loaded = Outbox::load(&outbox.save());
        assert_eq!((&loaded.told, loaded.next), (&outbox.told, outbox.next));
        for nonsense in [&b""[..], b"le", b"d4:nexti-1e4:told3:abce"] {
            let loaded = Outbox::load(nonsense);
            assert!(loaded.told.is_empty() && loaded.next.is_none());
        }
    }
}
