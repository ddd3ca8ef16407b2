//! What the store is told: a torrent once, its resume data and its pieces when they changed.
//!
//! A record of pieces must not claim bytes that are lost when the machine stops. Nobody waits for the disk for that: a file
//! that is written to is not vouched for; a torrent that has just become complete is, as long as the mount keeps what was
//! written to it; and a while later, when the system has long begun to write by itself, the files are synced and the
//! record holds for good.

use super::Session;
use crate::disk::{DiskJob, DiskOp, FileStat, Finished};
use crate::ids::TorrentId;
use crate::output::{Output, StoreOp};
use crate::time::Time;
use crate::torrent::Torrent;
use bytes::Bytes;
use std::time::Duration;

/// Which records of a torrent in the store are out of date.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Unsaved {
    pub(super) torrent: bool,
    pub(super) resume: bool,
    pub(super) have: bool,
}

/// How long after a torrent is complete its files are put on stable storage. By then the system has done most of it.
const SYNC_DELAY: Duration = Duration::from_secs(30);

impl Session {
    /// The storage says how the files are.
    pub(super) fn files_settled(&mut self, id: TorrentId, finished: Finished) {
        let Some(content) = self.torrents.get_mut(&id).and_then(|t| t.content.as_mut()) else { return };
        if content.writing > 0 {
            // It is not how they are any more.
            return self.sync_later(id);
        }
        content.file_stats = finished.files;
        content.kept_by = finished.kept_by;
        let unsaved = self.unsaved.entry(id).or_default();
        (unsaved.have, unsaved.resume) = (true, true);
        if content.kept_by.is_some() {
            self.sync_later(id);
        }
    }

    /// The files could not be put in order: what was written to them may be lost, and the system says so only once.
    pub(super) fn files_lost(&mut self, id: TorrentId) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        torrent.finished_on_disk = false;
        if let Some(content) = &mut torrent.content {
            content.file_stats.fill(FileStat::default());
            content.kept_by = None;
        }
        let unsaved = self.unsaved.entry(id).or_default();
        (unsaved.have, unsaved.resume) = (true, true);
        self.save_changes(id);
    }

    /// Has the files of a torrent synced after a while, if it is complete then.
    pub(super) fn sync_later(&mut self, id: TorrentId) {
        self.syncs_due.push_back((self.now + SYNC_DELAY, id));
    }

    /// Has the files synced that became complete a while ago.
    pub(super) fn sync_if_due(&mut self) {
        while self.syncs_due.front().is_some_and(|(due, _)| *due <= self.now) {
            let Some((_, id)) = self.syncs_due.pop_front() else { return };
            let Some(torrent) = self.torrents.get(&id) else { continue };
            let is_there = !torrent.storage_closed && !torrent.reopening && torrent.removing.is_none();
            if is_there && torrent.error.is_none() && torrent.content.is_some() && torrent.is_finished() {
                self.emit(Output::Disk(DiskJob { torrent: id, op: DiskOp::Finish { sync: true } }));
            }
        }
    }

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
