//! Which block of the info dictionary to ask whom, and what the answers amount to.
//!
//! Peers that claim different sizes are kept apart, one assembly a size, so a peer that lies about the size stalls nobody.
//! Peers that claim one size share an assembly until what they sent together is wrong; from then on each of them fills an
//! assembly of its own. That cannot be spoilt by others: it ends with the dictionary or convicts its peer.

use crate::assembly::Assembly;
use crate::message::Data;
use reef_plugin_api::PeerKey;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use std::collections::{BTreeMap, BTreeSet};

/// What a peer says of the dictionary's size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    /// That it has this many bytes.
    Size(u32),
    /// Nothing, which most often means that it has none.
    Unknown,
    /// A size that no dictionary has: it is not asked.
    Unusable,
}

impl Claim {
    /// What `metadata_size` of an extension handshake, or `total_size` of a message, says.
    pub(crate) fn of(size: Option<i64>) -> Self {
        let Some(size) = size else { return Self::Unknown };
        match u32::try_from(size) {
            Ok(size @ 1..=MAX_SIZE) => Self::Size(size),
            _ => Self::Unusable,
        }
    }
}

/// The hashes that a torrent is known by. All that are known must fit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hashes {
    /// SHA-1 of the dictionary.
    pub(crate) v1: Option<[u8; 20]>,
    /// SHA-256 of the dictionary.
    pub(crate) v2: Option<[u8; 32]>,
}

impl Hashes {
    fn fit(&self, bytes: &[u8]) -> bool {
        let v1 = self.v1.is_none_or(|hash| Sha1::digest(bytes)[..] == hash);
        let v2 = self.v2.is_none_or(|hash| Sha256::digest(bytes)[..] == hash);
        v1 && v2 && (self.v1.is_some() || self.v2.is_some())
    }
}

/// What a block changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The dictionary is not complete.
    Incomplete,
    /// This is the dictionary.
    Complete(Vec<u8>),
    /// It was complete and wrong; it was made of so many peers' blocks.
    Wrong(usize),
}

/// The search for one torrent's dictionary.
#[derive(Debug)]
pub(crate) struct Fetch {
    hashes: Hashes,
    sources: BTreeMap<PeerKey, Source>,
    /// At most one a source: an assembly goes when nobody claims its size.
    assemblies: BTreeMap<Id, Assembly>,
    /// Sizes for which blocks of several peers did not fit together.
    apart: BTreeSet<u32>,
}

/// A claimed size, and whose assembly it is if it is not shared.
type Id = (u32, Option<PeerKey>);

#[derive(Debug)]
struct Source {
    claim: Claim,
    /// Blocks it was asked for, and when.
    asked: Vec<(u32, u64)>,
    /// It is not asked before this time.
    not_before: u64,
}

impl Fetch {
    /// A search for what has these hashes.
    pub(crate) fn new(hashes: Hashes) -> Self {
        Self { hashes, sources: BTreeMap::new(), assemblies: BTreeMap::new(), apart: BTreeSet::new() }
    }

    /// A peer speaks `ut_metadata` and claims this.
    pub(crate) fn set_source(&mut self, peer: PeerKey, claim: Claim) {
        let old = self.sources.get(&peer);
        // A handshake that comes again and says nothing takes nothing back.
        if old.is_some_and(|source| source.claim == claim || claim == Claim::Unknown) {
            return;
        }
        // A new claim does not shorten a punishment.
        let not_before = old.map_or(0, |source| source.not_before);
        self.remove_source(peer);
        self.sources.insert(peer, Source { claim, asked: Vec::new(), not_before });
    }

    /// A peer is gone, or does not speak `ut_metadata`.
    pub(crate) fn remove_source(&mut self, peer: PeerKey) {
        self.forget_asked(peer);
        let Some(Source { claim: Claim::Size(size), .. }) = self.sources.remove(&peer) else { return };
        self.assemblies.remove(&(size, Some(peer)));
        if !self.sources.values().any(|source| source.claim == Claim::Size(size)) {
            self.assemblies.remove(&(size, None));
            self.apart.remove(&size);
        }
    }

    /// Every peer that may be asked.
    pub(crate) fn sources(&self) -> Vec<PeerKey> {
        self.sources.keys().copied().collect()
    }

    /// The next block to ask this peer for; it counts as asked. Peers have at most two requests to answer.
    pub(crate) fn ask(&mut self, peer: PeerKey, now: u64) -> Option<u32> {
        self.expire(peer, now);
        let id = self.id(peer);
        let source = self.sources.get_mut(&peer)?;
        if now < source.not_before || source.asked.len() >= MAX_ASKED {
            return None;
        }
        let asked: Vec<u32> = source.asked.iter().map(|(piece, _)| *piece).collect();
        let piece = match (source.claim, id) {
            (Claim::Unknown, _) if asked.is_empty() => 0,
            (Claim::Size(size), Some(id)) => {
                self.assemblies.entry(id).or_insert_with(|| Assembly::new(size)).ask(peer, &asked, now)?
            }
            _ => return None,
        };
        source.asked.push((piece, now));
        Some(piece)
    }

    /// The peer refuses a block, or could not be asked: it is left alone for a minute, and others are asked instead.
    pub(crate) fn on_reject(&mut self, peer: PeerKey, piece: i64, now: u64) {
        if let Some(piece) = self.take_asked(peer, piece) {
            self.refused(peer, piece, now);
        }
    }

    /// A block came. `random` decides how long peers wait after something of theirs was dropped.
    pub(crate) fn on_data(&mut self, peer: PeerKey, data: &Data<'_>, now: u64, random: u64) -> Outcome {
        let Some(piece) = self.take_asked(peer, data.piece) else { return Outcome::Incomplete };
        if !self.store(peer, piece, data) {
            self.refused(peer, piece, now);
            return Outcome::Incomplete;
        }
        let complete = self.id(peer).filter(|id| self.assemblies.get(id).is_some_and(Assembly::is_complete));
        if let Some(id) = complete {
            return self.judge(id, now);
        }
        self.bound_memory(now, random);
        Outcome::Incomplete
    }

    /// Keeps a block, if it fits what its sender claims.
    fn store(&mut self, peer: PeerKey, piece: u32, data: &Data<'_>) -> bool {
        let Some(claim) = self.sources.get(&peer).map(|source| source.claim) else { return false };
        match (claim, Claim::of(data.total_size)) {
            (Claim::Size(claimed), Claim::Size(size)) if claimed == size => (),
            (Claim::Size(_), Claim::Unknown) => (),
            (Claim::Unknown, told @ Claim::Size(_)) => self.set_source(peer, told),
            _ => return false,
        }
        let Some(id) = self.id(peer) else { return false };
        self.assemblies.entry(id).or_insert_with(|| Assembly::new(id.0)).store(peer, piece, data.block)
    }

    /// An assembly is complete.
    fn judge(&mut self, id: Id, now: u64) -> Outcome {
        let Some(assembly) = self.assemblies.remove(&id) else { return Outcome::Incomplete };
        let Some(bytes) = assembly.bytes() else { return Outcome::Incomplete };
        if self.hashes.fit(&bytes) {
            return Outcome::Complete(bytes);
        }
        let senders = assembly.senders();
        if senders.len() == 1 {
            // What else it sends would spoil the next assembly too.
            senders.iter().for_each(|liar| self.leave_alone(*liar, now.saturating_add(CONVICTED)));
        } else {
            self.part(id.0, &assembly);
        }
        Outcome::Wrong(senders.len())
    }

    /// One of several peers lied: each goes on by itself, from what it has sent. Nobody has to wait.
    fn part(&mut self, size: u32, assembly: &Assembly) {
        self.apart.insert(size);
        for peer in assembly.senders() {
            if self.sources.get(&peer).is_some_and(|source| source.claim == Claim::Size(size)) {
                self.assemblies.insert((size, Some(peer)), assembly.part_of(peer));
            }
        }
    }

    /// Drops the assemblies that cost the most memory for each peer behind them, while all together cost too much.
    fn bound_memory(&mut self, now: u64, random: u64) {
        while self.assemblies.values().map(Assembly::stored).sum::<usize>() > MAX_STORED {
            let cost = |id: &Id, assembly: &Assembly| assembly.stored() / self.claimants(*id).len().max(1);
            let Some(id) = self.assemblies.iter().max_by_key(|(id, a)| cost(id, a)).map(|(id, _)| *id) else { return };
            let until = now.saturating_add(DROPPED + random % DROPPED_MORE);
            self.claimants(id).into_iter().for_each(|peer| self.leave_alone(peer, until));
            self.assemblies.remove(&id);
        }
    }

    fn claimants(&self, id: Id) -> Vec<PeerKey> {
        self.sources.keys().copied().filter(|peer| self.id(*peer) == Some(id)).collect()
    }

    /// The assembly for a peer's blocks.
    fn id(&self, peer: PeerKey) -> Option<Id> {
        match self.sources.get(&peer)?.claim {
            Claim::Size(size) => Some((size, self.apart.contains(&size).then_some(peer))),
            _ => None,
        }
    }

    fn refused(&mut self, peer: PeerKey, piece: u32, now: u64) {
        if let Some(assembly) = self.id(peer).and_then(|id| self.assemblies.get_mut(&id)) {
            assembly.give_up(peer, piece);
        }
        if let Some(source) = self.sources.get_mut(&peer) {
            source.not_before = source.not_before.max(now.saturating_add(REFUSED));
        }
    }

    /// Requests without an answer for a minute are refusals.
    fn expire(&mut self, peer: PeerKey, now: u64) {
        let asked = self.sources.get(&peer).map(|source| source.asked.as_slice()).unwrap_or_default();
        let silent = |(_, at): &&(u32, u64)| now.saturating_sub(*at) >= REFUSED;
        let expired: Vec<u32> = asked.iter().filter(silent).map(|(piece, _)| *piece).collect();
        expired.into_iter().for_each(|piece| self.on_reject(peer, piece.into(), now));
    }

    fn leave_alone(&mut self, peer: PeerKey, until: u64) {
        self.forget_asked(peer);
        if let Some(source) = self.sources.get_mut(&peer) {
            source.not_before = source.not_before.max(until);
        }
    }

    /// A block that the peer was asked for and has now answered.
    fn take_asked(&mut self, peer: PeerKey, piece: i64) -> Option<u32> {
        let asked = &mut self.sources.get_mut(&peer)?.asked;
        let at = asked.iter().position(|(asked, _)| i64::from(*asked) == piece)?;
        Some(asked.swap_remove(at).0)
    }

    fn forget_asked(&mut self, peer: PeerKey) {
        let id = self.id(peer);
        let Some(source) = self.sources.get_mut(&peer) else { return };
        let asked = std::mem::take(&mut source.asked);
        if let Some(assembly) = id.and_then(|id| self.assemblies.get_mut(&id)) {
            asked.into_iter().for_each(|(piece, _)| assembly.give_up(peer, piece));
        }
    }
}

/// Bytes of an info dictionary at most (the manual's `max_metadata_size`).
const MAX_SIZE: u32 = 30 * 1024 * 1024;
/// Bytes in all assemblies: two of the largest.
const MAX_STORED: usize = 2 * MAX_SIZE as usize + 4 * 1024 * 1024;
/// Requests that one peer has to answer.
const MAX_ASKED: usize = 2;
/// For this long, in microseconds, a peer that refused, or sent what nobody asked for in its place, is not asked.
const REFUSED: u64 = 60_000_000;
/// And one that alone sent a wrong dictionary.
const CONVICTED: u64 = 300_000_000;
/// And one whose blocks were dropped for their size: 20 to 70 s.
const DROPPED: u64 = 20_000_000;
const DROPPED_MORE: u64 = 50_000_000;

#[cfg(test)]
mod tests;
