//! The session's torrents by their keys, and how often any of them was looked at: what an idle torrent costs is a count
//! that a test can check, on a machine of any speed.

use crate::ids::TorrentId;
use crate::torrent::Torrent;
use std::cell::Cell;
use std::collections::BTreeMap;

/// The torrents. Each has a place of its own in memory, so that adding one moves no others.
#[derive(Default)]
pub(super) struct Table {
    torrents: BTreeMap<TorrentId, Box<Torrent>>,
    looks: Cell<u64>,
}

impl Table {
    pub(super) fn get(&self, id: &TorrentId) -> Option<&Torrent> {
        self.count(1);
        self.torrents.get(id).map(|torrent| &**torrent)
    }

    pub(super) fn get_mut(&mut self, id: &TorrentId) -> Option<&mut Torrent> {
        self.count(1);
        self.torrents.get_mut(id).map(|torrent| &mut **torrent)
    }

    pub(super) fn contains_key(&self, id: &TorrentId) -> bool {
        self.torrents.contains_key(id)
    }

    pub(super) fn insert(&mut self, id: TorrentId, torrent: Torrent) {
        self.torrents.insert(id, Box::new(torrent));
    }

    pub(super) fn remove(&mut self, id: &TorrentId) -> Option<Torrent> {
        self.torrents.remove(id).map(|torrent| *torrent)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.torrents.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.torrents.len()
    }

    /// Every key, in ascending order.
    pub(super) fn ids(&self) -> Vec<TorrentId> {
        self.count(self.torrents.len());
        self.torrents.keys().copied().collect()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Torrent> {
        self.count(self.torrents.len());
        self.torrents.values().map(|torrent| &**torrent)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Torrent> {
        self.count(self.torrents.len());
        self.torrents.values_mut().map(|torrent| &mut **torrent)
    }

    /// How often a torrent was looked at so far.
    pub(super) fn looks(&self) -> u64 {
        self.looks.get()
    }

    fn count(&self, torrents: usize) {
        self.looks.set(self.looks.get().wrapping_add(torrents as u64));
    }
}

impl std::ops::Index<&TorrentId> for Table {
    type Output = Torrent;

    fn index(&self, id: &TorrentId) -> &Torrent {
        self.count(1);
        &self.torrents[id]
    }
}
