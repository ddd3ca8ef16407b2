//! What the store is told: a torrent once, its resume data and its pieces when they changed.

use super::Session;
use crate::ids::TorrentId;
use crate::output::{Output, StoreOp};
use crate::time::Time;
use crate::torrent::Torrent;
use bytes::Bytes;

/// Which records of a torrent in the store are out of date.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Unsaved {
    pub(super) torrent: bool,
    pub(super) resume: bool,
    pub(super) have: bool,
}

impl Session {
    /// Brings the store up to date with everything that is known of a torrent.
    pub(super) fn save_torrent(&mut self, id: TorrentId) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        self.unsaved.insert(id, Unsaved { torrent: true, resume: true, have: torrent.content.is_some() });
        self.save_changes(id);
    }

    /// Tells the store what has changed since it was last told.
    pub(super) fn save_changes(&mut self, id: TorrentId) {
        let Some(unsaved) = self.unsaved.remove(&id) else { return };
        let Some(torrent) = self.torrents.get(&id).filter(|t| t.removing.is_none()) else { return };
        let mut ops = Vec::new();
        if unsaved.torrent {
            let metainfo = torrent.content.as_ref().map(|c| Bytes::from(c.meta.to_bytes()));
            ops.push(StoreOp::PutTorrent { torrent: id, hashes: torrent.hashes, metainfo });
        }
        if unsaved.resume {
            ops.push(StoreOp::PutResume { torrent: id, resume: torrent.resume(self.now).encode() });
        }
        // While files are checked nothing is known that the store does not know better.
        let checked = torrent.content.as_ref().is_some_and(|c| c.open && c.checking.is_none());
        if unsaved.have && checked {
            if let Some(have) = torrent.have() {
                ops.push(StoreOp::PutHave { torrent: id, have: have.encode() });
            }
        } else if unsaved.have {
            self.unsaved.entry(id).or_default().have = true;
        }
        self.outputs.extend(ops.into_iter().map(Output::Store));
    }

    /// Tells the store of everything that has changed.
    pub(super) fn save_all(&mut self) {
        let ids: Vec<TorrentId> = self.unsaved.keys().copied().collect();
        for id in ids {
            self.save_changes(id);
        }
    }
}

/// The torrent's resume data as the manual's bencoded dictionary.
pub(super) fn export(torrent: &Torrent, now: Time) -> Bytes {
    crate::resume::export(&torrent.resume(now), torrent.have().as_ref(), torrent.hashes)
}
