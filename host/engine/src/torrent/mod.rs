//! One torrent: its metadata, its pieces, the addresses of its peers and its trackers. It decides nothing about
//! connections, and never points back at its session.

pub(crate) mod activity;
pub(crate) mod assembly;
pub(crate) mod checking;
pub(crate) mod file_progress;
pub(crate) mod reading;
pub(crate) mod sleep;
pub(crate) mod vouching;

use crate::add_torrent::{AddTorrent, TorrentFlags};
use crate::disk::{Expect, FileStat, MountId};
use crate::error::ErrorInfo;
use crate::hooks::Sender;
use crate::ids::{ConnId, ReplyToken, TorrentId};
use crate::policy::announce::Announcer;
use crate::policy::peer_list::PeerList;
use crate::policy::picker::Picker;
use crate::policy::rate::Rate;
use crate::resume::{Have, Resume};
use crate::status::TorrentState;
use crate::time::Time;
use activity::{Activity, Doing};
use assembly::Assembly;
use bytes::Bytes;
use checking::Checking;
use file_progress::FileProgress;
use reading::Reading;
use reef_proto::bitfield::Bitfield;
use reef_proto::hash::InfoHashes;
use reef_proto::layout::Layout;
use reef_proto::metainfo::Metainfo;
use reef_proto::peer_id::PeerId;
use sleep::{Summary, Waking};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// The priority of a file or piece that was given none.
pub(crate) const DEFAULT_PRIORITY: u8 = 4;

/// One torrent of a session.
pub(crate) struct Torrent {
    pub(crate) id: TorrentId,
    pub(crate) hashes: InfoHashes,
    pub(crate) name: String,
    pub(crate) params: AddTorrent,
    /// In a place of its own: most torrents of a large session have none.
    pub(crate) content: Option<Box<Content>>,
    pub(crate) save_path: PathBuf,
    pub(crate) state: TorrentState,
    pub(crate) flags: TorrentFlags,
    pub(crate) error: Option<ErrorInfo>,
    pub(crate) peers: BTreeSet<ConnId>,
    /// Of these, at least all that lack a piece: seeds are not looked at for each new one.
    pub(crate) lacking: BTreeSet<ConnId>,
    /// The same by address, so that who sent a block is found without looking at them all.
    pub(crate) addresses: BTreeSet<(SocketAddr, ConnId)>,
    /// Its peers that have shaken hands, by their ids.
    pub(crate) peer_ids: BTreeMap<PeerId, ConnId>,
    pub(crate) peer_list: PeerList,
    pub(crate) announcer: Announcer,
    pub(crate) totals: Totals,
    /// Which of its events plugins want.
    pub(crate) hooks: u64,
    /// Pieces verified since peers were last told.
    pub(crate) new_haves: Vec<u32>,
    /// A piece whose blocks hooks may read now.
    pub(crate) judged: Option<Judged>,
    /// It is complete and its files are in order.
    pub(crate) finished_on_disk: bool,
    /// Everything wanted was there when the files were checked.
    pub(crate) began_complete: bool,
    /// Its storage is being closed for good; whoever waits for that.
    pub(crate) removing: Option<Removing>,
    /// Its storage is being closed and opened again.
    pub(crate) reopening: bool,
    /// A storage was closed that may have left its files unsynced.
    pub(crate) left_unsynced: bool,
    /// What is known of it while its metadata and pieces are left to the store.
    pub(crate) asleep: Option<Summary>,
    /// Its metadata and files are being looked at again; who waits for that.
    pub(crate) waking: Option<Box<Waking>>,
    /// When it may fall asleep, if it is idle then.
    pub(crate) sleeps_at: Time,
    /// Answers still to come to closes that were for its sleep.
    pub(crate) closes_of_sleep: u32,
    /// The shell said that it closed the storage.
    pub(crate) storage_closed: bool,
    /// What an earlier run knew of the pieces, until the storage is open.
    pub(crate) resume_have: Option<Have>,
}

/// What exists once the metadata is known.
pub(crate) struct Content {
    pub(crate) meta: Arc<Metainfo>,
    pub(crate) layout: Arc<Layout>,
    pub(crate) picker: Picker,
    pub(crate) assembly: Assembly,
    pub(crate) file_priorities: Vec<u8>,
    /// Pieces that files lack, from the first piece that passed on.
    pub(crate) file_progress: Option<FileProgress>,
    pub(crate) checking: Option<Checking>,
    /// The storage answered that it is open.
    pub(crate) open: bool,
    /// Pieces that wait for the storage's judgement, with who sent their blocks.
    pub(crate) judging: BTreeMap<u32, Vec<(u32, Sender)>>,
    /// Pieces whose blocks plugins want to read when they pass.
    pub(crate) watched: BTreeSet<u32>,
    /// What is being read back for plugins.
    pub(crate) reading: Reading,
    /// Bytes handed to the storage and not yet answered.
    pub(crate) writing: u64,
    /// Sizes and times of the files when they were last known to be in order; zeros for one that is written to.
    pub(crate) file_stats: Vec<FileStat>,
    /// The mount that keeps the files until they are put on stable storage; `None` once they are.
    pub(crate) kept_by: Option<MountId>,
}

/// A removal under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Removing {
    pub(crate) token: Option<ReplyToken>,
}

/// A piece whose blocks hooks may read until they return.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) piece: u32,
    pub(crate) senders: Vec<(u32, Sender)>,
    /// The piece, in order, in slices.
    pub(crate) data: Vec<Bytes>,
}

/// What a torrent has moved and how long it was active, over all runs.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) downloaded: u64,
    pub(crate) uploaded: u64,
    pub(crate) failed: u64,
    pub(crate) wasted: u64,
    pub(crate) activity: Activity,
    pub(crate) added_time: u64,
    pub(crate) completed_time: u64,
    pub(crate) download: Rate,
    pub(crate) upload: Rate,
    /// `downloaded` and `uploaded` when this run began.
    pub(crate) at_start: (u64, u64),
}

impl Torrent {
    /// Its connections with an address.
    pub(crate) fn conns_at(&self, address: SocketAddr) -> impl Iterator<Item = ConnId> {
        let all = (address, ConnId(u64::MIN))..=(address, ConnId(u64::MAX));
        self.addresses.range(all).map(|(_, conn)| *conn)
    }

    /// Whether it is paused by the user or by an error.
    pub(crate) fn is_paused(&self) -> bool {
        self.flags.contains(TorrentFlags::PAUSED) || self.error.is_some()
    }

    /// To be called when what it does may have changed: keeps its times right.
    pub(crate) fn note_activity(&mut self, now: Time) {
        let doing = match self.state {
            _ if self.is_paused() => Doing::Nothing,
            TorrentState::Seeding => Doing::Seeding,
            TorrentState::Finished => Doing::Finished,
            _ => Doing::Active,
        };
        self.totals.activity.change(now, doing);
    }

    /// Whether it asks peers for blocks now.
    pub(crate) fn is_downloading(&self) -> bool {
        self.state == TorrentState::Downloading
            && !self.is_paused()
            && !self.flags.contains(TorrentFlags::UPLOAD_MODE)
            && self.removing.is_none()
    }

    /// Whether it takes part in its swarm: peers are dialled and let in.
    pub(crate) fn is_active(&self) -> bool {
        !self.is_paused() && self.removing.is_none() && self.state != TorrentState::CheckingFiles
    }

    /// Whether its metadata is known, here or to the store.
    pub(crate) fn has_metadata(&self) -> bool {
        self.content.is_some() || self.asleep.is_some()
    }

    /// Whether it has every piece.
    pub(crate) fn is_seed(&self) -> bool {
        self.asleep.is_some() || self.content.as_ref().is_some_and(|c| c.picker.is_seed())
    }

    /// What to know of it without its metadata, if it is complete.
    pub(crate) fn summary(&self) -> Option<Summary> {
        let is_safe = |c: &&Content| self.finished_on_disk && c.kept_by.is_none() && c.picker.is_seed();
        let content = || self.content.as_deref().filter(is_safe);
        self.asleep.or_else(|| content().map(|c| Summary::of(&c.meta, &c.layout)))
    }

    /// Whether it has every piece that is wanted.
    pub(crate) fn is_finished(&self) -> bool {
        self.asleep.is_some()
            || self.content.as_ref().is_some_and(|c| c.checking.is_none() && c.open && c.picker.is_finished())
    }

    /// BEP 27.
    pub(crate) fn is_private(&self) -> bool {
        self.asleep.map_or_else(|| self.content.as_ref().is_some_and(|c| c.meta.info.private), |s| s.private)
    }

    /// Verified bytes.
    pub(crate) fn bytes_done(&self) -> u64 {
        match (&self.content, &self.asleep) {
            (Some(c), _) => c.bytes_had(),
            (None, Some(summary)) => summary.total_size,
            (None, None) => 0,
        }
    }

    /// Bytes that are still to come, for trackers.
    pub(crate) fn bytes_left(&self) -> u64 {
        match &self.content {
            Some(c) => c.layout.total_size() - self.bytes_done(),
            // BEP 9 clients say something above zero while the size is unknown.
            None if self.asleep.is_none() => 16384,
            None => 0,
        }
    }

    /// What the store keeps beside the pieces.
    pub(crate) fn resume(&self, now: Time) -> Resume {
        let mut r = self.params.resume.as_deref().cloned().unwrap_or_default();
        r.name.clone_from(&self.name);
        r.save_path = self.save_path.to_string_lossy().into_owned();
        r.paused = self.flags.contains(TorrentFlags::PAUSED);
        r.auto_managed = self.flags.contains(TorrentFlags::AUTO_MANAGED);
        r.seed_mode = self.flags.contains(TorrentFlags::SEED_MODE);
        r.sequential_download = self.flags.contains(TorrentFlags::SEQUENTIAL_DOWNLOAD);
        r.total_uploaded = self.totals.uploaded;
        r.total_downloaded = self.totals.downloaded;
        let times = self.totals.activity.times(now);
        r.active_time = times.active.as_secs();
        r.finished_time = times.finished.as_secs();
        r.seeding_time = times.seeding.as_secs();
        r.added_time = self.totals.added_time;
        r.completed_time = self.totals.completed_time;
        r.trackers = self.announcer.urls();
        r.piece_priorities.clone_from(&self.params.piece_priorities);
        r.file_priorities = match &self.content {
            Some(content) => content.changed_priorities(),
            None => self.params.file_priorities.clone(),
        };
        r.summary = self.summary();
        r
    }

    /// What the store keeps of the pieces.
    pub(crate) fn have(&self) -> Option<Have> {
        let c = self.content.as_ref()?;
        let unfinished = c.assembly.on_disk().collect();
        let (pieces, file_stats) = (c.picker.have().clone(), c.file_stats.clone());
        Some(Have { pieces, unfinished, file_stats, kept_by: c.kept_by })
    }
}

/// What a piece must hash to.
pub(crate) fn expect(meta: &Metainfo, piece: u32) -> Expect {
    Expect { v1: meta.info.piece_hash(piece), v2: None }
}

impl Content {
    /// The files of a piece are written to: what was known of them says nothing any more.
    pub(crate) fn forget_stats(&mut self, piece: u32) {
        for file in self.layout.files_of_piece(piece) {
            if let Some(stat) = self.file_stats.get_mut(file) {
                *stat = FileStat::default();
            }
        }
    }

    /// What a piece must hash to.
    pub(crate) fn expect(&self, piece: u32) -> Expect {
        expect(&self.meta, piece)
    }

    /// Verified bytes, without a look at each piece.
    pub(crate) fn bytes_had(&self) -> u64 {
        self.bytes_of(self.picker.have())
    }

    /// Wanted bytes that are missing, and wanted bytes in all.
    pub(crate) fn bytes_wanted(&self, has_piece_priorities: bool) -> (u64, u64) {
        let missing = self.bytes_of(self.picker.missing());
        if has_piece_priorities || self.file_priorities.contains(&0) {
            return (missing, self.bytes(|p| self.picker.priority(p) > 0));
        }
        (missing, self.layout.total_size())
    }

    /// All pieces are of one length but the last.
    fn bytes_of(&self, pieces: &Bitfield) -> u64 {
        let Some(last) = self.layout.num_pieces().checked_sub(1) else { return 0 };
        let all = u64::from(pieces.count()) * u64::from(self.layout.piece_length());
        let short = self.layout.piece_length() - self.layout.piece_size(last);
        if pieces.get(last) { all - u64::from(short) } else { all }
    }

    /// Bytes of the pieces for which `which` is true.
    pub(crate) fn bytes(&self, which: impl Fn(u32) -> bool) -> u64 {
        (0..self.layout.num_pieces()).filter(|&p| which(p)).map(|p| u64::from(self.layout.piece_size(p))).sum()
    }

    /// The priorities of the files, where any is not the usual one.
    pub(crate) fn changed_priorities(&self) -> Vec<u8> {
        let usual = self.file_priorities.iter().all(|&p| p == DEFAULT_PRIORITY);
        if usual { Vec::new() } else { self.file_priorities.clone() }
    }

    /// Which files are wanted, by index.
    pub(crate) fn wanted(&self) -> Vec<bool> {
        self.file_priorities.iter().map(|&p| p > 0).collect()
    }

    /// A piece's priority: the highest of its files'.
    pub(crate) fn piece_priority(&self, piece: u32) -> u8 {
        let of = |f: usize| self.file_priorities.get(f).copied().unwrap_or(DEFAULT_PRIORITY);
        self.layout.files_of_piece(piece).map(of).max().unwrap_or(DEFAULT_PRIORITY)
    }
}
