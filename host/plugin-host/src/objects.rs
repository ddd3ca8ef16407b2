//! The plugins' objects beside the session's torrents and peers, in the order in which they are asked.

use crate::events::{peer_events, torrent_events};
use reef_engine::hooks::PeerRef;
use reef_engine::{ConnId, TorrentId};
use reef_plugin_api::{PeerObj, TorrentObj};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

/// One plugin's part in something.
pub(crate) struct Attached<O> {
    /// Which plugin.
    pub(crate) plugin: usize,
    /// The events that its object wants.
    pub(crate) events: u64,
    pub(crate) object: O,
    /// The extension messages that it claimed on this peer.
    pub(crate) names: Vec<String>,
}

/// All plugins' parts in one torrent or peer.
pub(crate) struct Parts<O>(pub(crate) Vec<Attached<O>>);

impl<O> Default for Parts<O> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<O> Parts<O> {
    pub(crate) fn mask(&self) -> u64 {
        self.0.iter().fold(0, |mask, part| mask | part.events)
    }

    pub(crate) fn has(&self, plugin: usize) -> bool {
        self.0.iter().any(|part| part.plugin == plugin)
    }

    /// Adds a part where `order` wants it.
    fn insert(&mut self, part: Attached<O>, order: &[usize]) {
        let place = |plugin: usize| order.iter().position(|other| *other == plugin);
        let at = self.0.partition_point(|other| place(other.plugin) <= place(part.plugin));
        self.0.insert(at, part);
    }

    pub(crate) fn remove(&mut self, plugin: usize) {
        self.0.retain(|part| part.plugin != plugin);
    }
}

/// The torrents' parts.
#[derive(Default)]
pub(crate) struct Torrents(BTreeMap<TorrentId, Parts<TorrentObj>>);

impl Torrents {
    /// The parts of a torrent, which is known from then on.
    pub(crate) fn add(&mut self, torrent: TorrentId) -> &mut Parts<TorrentObj> {
        self.0.entry(torrent).or_default()
    }

    pub(crate) fn insert(&mut self, torrent: TorrentId, plugin: usize, object: TorrentObj, order: &[usize]) {
        let part = Attached { plugin, events: torrent_events(object.hooks()), object, names: Vec::new() };
        self.add(torrent).insert(part, order);
    }

    pub(crate) fn get(&self, torrent: TorrentId) -> Option<&Parts<TorrentObj>> {
        self.0.get(&torrent)
    }

    pub(crate) fn get_mut(&mut self, torrent: TorrentId) -> Option<&mut Parts<TorrentObj>> {
        self.0.get_mut(&torrent)
    }

    /// Every torrent.
    pub(crate) fn ids(&self) -> Vec<TorrentId> {
        self.0.keys().copied().collect()
    }

    pub(crate) fn remove(&mut self, torrent: TorrentId) {
        self.0.remove(&torrent);
    }

    pub(crate) fn remove_plugin(&mut self, plugin: usize) {
        self.0.values_mut().for_each(|parts| parts.remove(plugin));
    }

    /// A plugin's objects, by torrent.
    pub(crate) fn of_plugin(&mut self, plugin: usize) -> impl Iterator<Item = (TorrentId, &mut TorrentObj)> {
        let part = move |parts: &mut Parts<TorrentObj>| parts.0.iter().position(|part| part.plugin == plugin);
        self.0.iter_mut().filter_map(move |(torrent, parts)| {
            let at = part(parts)?;
            parts.0.get_mut(at).map(|part| (*torrent, &mut part.object))
        })
    }
}

/// The peers' parts.
#[derive(Default)]
pub(crate) struct Peers(HashMap<ConnId, Peer, BuildHasherDefault<IdHasher>>);

struct Peer {
    torrent: TorrentId,
    parts: Parts<PeerObj>,
}

impl Peers {
    /// The parts of a peer, which is known from then on.
    pub(crate) fn add(&mut self, at: PeerRef) -> &mut Parts<PeerObj> {
        let peer = Peer { torrent: at.torrent, parts: Parts::default() };
        &mut self.0.entry(at.conn).or_insert(peer).parts
    }

    pub(crate) fn insert(&mut self, at: PeerRef, plugin: usize, object: PeerObj, order: &[usize]) {
        let part = Attached { plugin, events: peer_events(object.hooks()), object, names: Vec::new() };
        self.add(at).insert(part, order);
    }

    pub(crate) fn get(&self, at: PeerRef) -> Option<&Parts<PeerObj>> {
        self.0.get(&at.conn).map(|peer| &peer.parts)
    }

    pub(crate) fn get_mut(&mut self, at: PeerRef) -> Option<&mut Parts<PeerObj>> {
        self.0.get_mut(&at.conn).map(|peer| &mut peer.parts)
    }

    /// Every peer, in the order of the connections.
    pub(crate) fn all(&self) -> Vec<PeerRef> {
        let mut all: Vec<_> =
            self.0.iter().map(|(conn, peer)| PeerRef { torrent: peer.torrent, conn: *conn }).collect();
        all.sort_by_key(|at| at.conn);
        all
    }

    pub(crate) fn remove(&mut self, at: PeerRef) {
        self.0.remove(&at.conn);
    }

    pub(crate) fn remove_plugin(&mut self, plugin: usize) {
        self.remove_where(plugin, |_| true);
    }

    /// Drops a plugin's objects on the peers of one torrent.
    pub(crate) fn remove_plugin_in(&mut self, plugin: usize, torrent: TorrentId) {
        self.remove_where(plugin, |peer| peer.torrent == torrent);
    }

    pub(crate) fn remove_torrent(&mut self, torrent: TorrentId) {
        self.0.retain(|_, peer| peer.torrent != torrent);
    }

    /// In the order of the connections: dropping runs the plugin's code, and runs must repeat.
    fn remove_where(&mut self, plugin: usize, chosen: impl Fn(&Peer) -> bool) {
        let mut peers: Vec<_> = self.0.iter_mut().filter(|(_, peer)| chosen(peer)).collect();
        peers.sort_by_key(|(conn, _)| **conn);
        peers.into_iter().for_each(|(_, peer)| peer.parts.remove(plugin));
    }
}

/// A hasher for numbers that the session counts up: nobody outside chooses them.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // The table takes its bits from both ends of the hash.
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}
