//! What the store is told: a torrent once, its resume data and its pieces when they changed.

use super::Session;
use crate::ids::TorrentId;
use crate::output::{Output, StoreOp};
use crate::time::Time;
use crate::torrent::Torrent;
use bytes::Bytes;

impl Session {
    /// Brings the store up to date with everything that is known of a torrent.
    pub(super) fn save_torrent(&mut self, id: TorrentId) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        torrent.unsaved.resume = true;
        torrent.unsaved.have = torrent.content.is_some();
        torrent.unsaved.torrent = true;
        self.save_changes(id);
    }

    /// Tells the store what has changed since it was last told.
    pub(super) fn save_changes(&mut self, id: TorrentId) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if torrent.removing.is_some() {
            return;
        }
        let unsaved = std::mem::take(&mut torrent.unsaved);
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
        } else {
            torrent.unsaved.have |= unsaved.have;
        }
        if torrent.unsaved.have {
            self.unsaved.insert(id);
        }
        self.outputs.extend(ops.into_iter().map(Output::Store));
    }

    /// Tells the store of everything that has changed.
    pub(super) fn save_all(&mut self) {
        for id in std::mem::take(&mut self.unsaved) {
            self.save_changes(id);
        }
    }
}

/// The torrent's resume data as the manual's bencoded dictionary.
pub(super) fn export(torrent: &Torrent, now: Time) -> Bytes {
    crate::resume::export(&torrent.resume(now), torrent.have().as_ref(), torrent.hashes)
}
