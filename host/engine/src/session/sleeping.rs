//! Torrents that have everything and nobody: after a while their metadata and pieces are left to the store, and read
//! again when a peer or a command wants them. Thousands of idle torrents so cost a few kilobytes each, whatever the size
//! of their metadata, and a session that starts again has nothing to read for them but a line.
//!
//! To everybody outside such a torrent seeds: its trackers are announced to, its status says so. Whether its files are
//! still as they were is looked at when it wakes, before the first peer hears of a piece.

use super::Session;
use crate::add_torrent::TorrentFlags;
use crate::alert::Alert;
use crate::command::{Command, Reply};
use crate::control::ReadDone;
use crate::disk::{DiskJob, DiskOp};
use crate::error::{ErrorCode, ErrorInfo};
use crate::hooks::Hooks;
use crate::ids::{ConnId, ReplyToken, TorrentId};
use crate::output::Output;
use crate::resume::Have;
use crate::status::TorrentState;
use crate::time::Time;
use crate::torrent::Torrent;
use bytes::Bytes;
use reef_proto::handshake::Handshake;
use reef_proto::metainfo::Metainfo;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How long a torrent must be idle to fall asleep.
const IDLE: Duration = Duration::from_secs(60);

/// Torrents a second at most whose files are looked at because nobody did in this run.
const LOOKS_A_SECOND: usize = 50;

/// Whether idle torrents leave memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Unloading {
    /// Never: there is no store to read them from again.
    #[default]
    Never,
    /// When they are idle. The shell answers [`Output::Load`] with what it was given to store.
    WhenIdle,
}

/// Torrents on their way to sleep.
#[derive(Debug, Default)]
pub(super) struct State {
    /// When to look at a torrent. A time too many does no harm.
    due: BTreeSet<(Time, TorrentId)>,
    /// Torrents that began asleep. Their files are looked at when there is time, lest one that lost its files waits for
    /// somebody to want it.
    unseen: VecDeque<TorrentId>,
}

impl Session {
    /// A torrent may have become idle.
    pub(super) fn may_sleep_later(&mut self, id: TorrentId) {
        let unloads = self.unloading == Unloading::WhenIdle && self.stopping.is_none();
        let Some(torrent) = self.torrents.get_mut(&id).filter(|t| unloads && is_idle(t)) else { return };
        torrent.sleeps_at = self.now + IDLE;
        self.sleeping.due.insert((torrent.sleeps_at, id));
    }

    /// Wakes a few of the torrents whose files nobody has looked at in this run.
    pub(super) fn look_at_unseen(&mut self) {
        for _ in 0..LOOKS_A_SECOND {
            let Some(id) = self.sleeping.unseen.pop_front() else { return };
            self.wake(id);
        }
    }

    /// Puts to sleep what was idle for long enough.
    pub(super) fn sleep_if_due(&mut self) {
        let later = self.sleeping.due.split_off(&(self.now + Duration::from_micros(1), TorrentId(0)));
        let due = std::mem::replace(&mut self.sleeping.due, later);
        for (_, id) in due {
            let idle = |t: &&Torrent| is_idle(t) && t.sleeps_at <= self.now;
            if self.torrents.get(&id).filter(idle).is_some() {
                self.fall_asleep(id);
                self.emit(Output::Disk(DiskJob { torrent: id, op: DiskOp::Close { delete_files: false } }));
                if let Some(torrent) = self.torrents.get_mut(&id) {
                    torrent.closes_of_sleep += 1;
                }
            }
        }
    }

    /// Leaves a torrent's metadata and pieces to the store.
    pub(super) fn fall_asleep(&mut self, id: TorrentId) {
        self.save_changes(id);
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let Some(summary) = torrent.summary() else { return };
        if let Some(content) = torrent.content.take() {
            torrent.params.file_priorities = content.changed_priorities();
        }
        torrent.params.select_only = Vec::new();
        torrent.params.metainfo = None;
        torrent.asleep = Some(summary);
        // What is known of the files is in the store, or nothing is.
        self.unsaved.remove(&id);
    }

    /// Whether a new torrent needs nothing but the store from the start: it lies there already, or its files are believed
    /// to be all there.
    pub(super) fn sleeps_from_the_start(&self, torrent: &Torrent) -> bool {
        let believed = torrent.flags.contains(TorrentFlags::SEED_MODE) && torrent.content.is_some();
        torrent.asleep.is_some() || self.unloading == Unloading::WhenIdle && believed
    }

    /// Begins with a torrent that sleeps. Its files are looked at when it wakes.
    pub(super) fn start_asleep(&mut self, id: TorrentId, name: String, hooks: &mut dyn Hooks) -> TorrentId {
        let Some(torrent) = self.torrents.get_mut(&id) else { return id };
        if let Some(content) = &mut torrent.content {
            let pieces = content.layout.num_pieces();
            (0..pieces).for_each(|piece| content.picker.we_have(piece));
        }
        torrent.finished_on_disk = true;
        torrent.began_complete = true;
        if torrent.asleep.is_none() {
            if torrent.totals.completed_time == 0 {
                torrent.totals.completed_time = torrent.totals.added_time;
            }
            self.save_torrent(id);
            self.fall_asleep(id);
        }
        self.alert(Alert::TorrentAdded { torrent: id, name }, hooks);
        self.set_state(id, TorrentState::Seeding, hooks);
        self.announce_soon(id);
        self.sleeping.unseen.push_back(id);
        id
    }

    /// A peer that wants a torrent which is asleep, or waking, waits for it.
    pub(super) fn wait_for_waking(&mut self, conn: ConnId, id: TorrentId, handshake: Handshake) {
        self.wake(id);
        let Some(waking) = self.torrents.get_mut(&id).and_then(|t| t.waking.as_mut()) else { return };
        waking.peers.push((conn, handshake));
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.parked = true;
            self.apply_read_allowance(conn);
        }
    }

    /// Has a command that needs a torrent's metadata wait for it, if the torrent is asleep or waking. Gives back one that
    /// need not wait.
    pub(super) fn postpone(&mut self, token: Option<ReplyToken>, command: Command) -> Option<Command> {
        let id = match command {
            Command::Files(id) | Command::Metainfo(id) | Command::ExportResume(id) | Command::Recheck(id) => id,
            Command::SetFilePriorities { torrent, .. }
            | Command::SetPiecePriorities { torrent, .. }
            | Command::RemoveTorrent { torrent, delete_files: true } => torrent,
            _ => return Some(command),
        };
        self.wake(id);
        match self.torrents.get_mut(&id).and_then(|t| t.waking.as_mut()) {
            Some(waking) => {
                waking.commands.push((token, command));
                None
            }
            None => Some(command),
        }
    }

    /// Asks the store for what a torrent left to it, if it is asleep.
    pub(super) fn wake(&mut self, id: TorrentId) {
        let stopping = self.stopping.is_some();
        let asleep = |t: &&mut Torrent| t.asleep.is_some() && t.waking.is_none() && t.removing.is_none() && !stopping;
        let Some(torrent) = self.torrents.get_mut(&id).filter(asleep) else { return };
        torrent.waking = Some(Box::default());
        self.emit(Output::Load(id));
    }

    /// The store gave back what a torrent left to it.
    pub(super) fn loaded(
        &mut self,
        id: TorrentId,
        metainfo: Option<&Bytes>,
        have: Option<&Bytes>,
        hooks: &mut dyn Hooks,
    ) {
        let wakes = |t: &&Torrent| t.asleep.is_some() && t.waking.is_some();
        let Some(torrent) = self.torrents.get(&id).filter(wakes) else { return };
        let hashes = torrent.hashes;
        let meta = metainfo.and_then(|bytes| Metainfo::parse(bytes).ok()).filter(|m| m.info_hashes == hashes);
        if self.stopping.is_some() {
            let error = ErrorInfo::new(ErrorCode::Stopping, "the session is stopping");
            return self.fail_waking(id, &error, hooks);
        }
        let Some(meta) = meta else {
            let text =
                format!("{}: its metadata is not in the store any more; remove it and add it again", torrent.name);
            let error = ErrorInfo::new(ErrorCode::InvalidMetadata, text);
            self.fail_waking(id, &error, hooks);
            return self.fail_torrent(id, error, hooks);
        };
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        torrent.asleep = None;
        torrent.resume_have = have.and_then(|bytes| Have::parse(bytes).ok());
        self.set_content(id, Arc::new(meta));
        self.request_storage(id);
    }

    /// The files were looked at. If they are as they were, nobody but those who wait hears of it.
    pub(super) fn is_awake(&mut self, id: TorrentId, hooks: &mut dyn Hooks) -> bool {
        let Some(torrent) = self.torrents.get_mut(&id).filter(|t| t.waking.is_some()) else { return false };
        let as_before = torrent.is_seed();
        let is_wanted = torrent.waking.as_ref().is_some_and(|waking| !waking.is_for_nobody());
        if as_before {
            if let Some(content) = &mut torrent.content {
                content.checking = None;
            }
        } else {
            torrent.finished_on_disk = false;
            self.set_state(id, TorrentState::CheckingFiles, hooks);
        }
        self.end_waking(id, hooks);
        if as_before {
            self.dial_now(id, hooks);
            self.may_sleep_later(id);
            if let Some(torrent) = self.torrents.get_mut(&id).filter(|_| !is_wanted) {
                torrent.sleeps_at = self.now;
                self.sleeping.due.insert((self.now, id));
            }
        }
        as_before
    }

    /// Goes on with whoever waited for a torrent to wake, whatever became of it.
    pub(super) fn end_waking(&mut self, id: TorrentId, hooks: &mut dyn Hooks) {
        let Some(waking) = self.torrents.get_mut(&id).and_then(|t| t.waking.take()) else { return };
        for (token, command) in waking.commands {
            let reply = self.perform(command, token, hooks);
            self.reply_to(token, reply);
        }
        for (request, ticket) in waking.reads {
            self.read_for_plugin(id, request, ticket, hooks);
        }
        for (conn, handshake) in waking.peers {
            let Some(peer) = self.peers.get_mut(&conn) else { continue };
            peer.parked = false;
            self.apply_read_allowance(conn);
            if self.torrents.get(&id).is_none_or(|t| !t.is_active()) {
                self.close(conn, "the torrent is not active", hooks);
                continue;
            }
            self.welcome(conn, id, &handshake, hooks);
            self.go_through(conn, hooks);
        }
    }

    /// Tells whoever waited for a torrent that it does not wake.
    fn fail_waking(&mut self, id: TorrentId, error: &ErrorInfo, hooks: &mut dyn Hooks) {
        let Some(waking) = self.torrents.get_mut(&id).and_then(|t| t.waking.take()) else { return };
        for (token, _) in waking.commands {
            self.reply_to(token, Some(Reply::Failed(error.clone())));
        }
        for (request, ticket) in waking.reads {
            self.tell_read(id, ReadDone { ticket, request, result: Err(error.message.clone()) }, hooks);
        }
        for (conn, _) in waking.peers {
            self.close(conn, &error.message, hooks);
        }
    }
}

/// Whether a torrent has everything, nobody, and nothing to do.
fn is_idle(t: &Torrent) -> bool {
    let content = t.content.as_ref();
    let at_rest = content.is_some_and(|c| {
        let is_busy = c.checking.is_some() || c.writing > 0 || !c.reading.is_empty();
        c.open && !is_busy && c.kept_by.is_none() && c.picker.is_seed()
    });
    let settled = t.error.is_none() && t.removing.is_none() && !t.reopening && t.waking.is_none();
    at_rest && settled && t.finished_on_disk && t.peers.is_empty() && !t.flags.contains(TorrentFlags::PINNED)
}
