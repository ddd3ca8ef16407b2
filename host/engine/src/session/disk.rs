//! What storages answer: pieces judged, files opened and checked, failures.

use super::{Peers, Session};
use crate::alert::Alert;
use crate::disk::{DiskDone, DiskError, DiskErrorKind, DiskJob, DiskOp, DiskResult, Finished, Opened, Verdict};
use crate::error::{ErrorCode, ErrorInfo};
use crate::hooks::{Hooks, PeerEvent, Sender, TorrentEvent, torrent_bits};
use crate::ids::{ConnId, TorrentId};
use crate::output::Output;
use crate::status::TorrentState;
use crate::torrent::file_progress::FileProgress;
use crate::torrent::{Content, Judged, Torrent};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// The trust at which a peer is banned, as in libtorrent.
const LEAST_TRUST: i8 = -7;

impl Session {
    pub(super) fn disk_done(&mut self, done: DiskDone, hooks: &mut dyn Hooks) {
        let id = done.torrent;
        // What the storage did before it was closed to be opened again no longer counts.
        let old = self.torrents.get(&id).is_some_and(|t| t.reopening);
        if old && !matches!(done.result, DiskResult::Closed(_)) {
            return;
        }
        match done.result {
            DiskResult::Opened(Ok(opened)) => self.storage_opened(id, opened, hooks),
            DiskResult::Checked { piece, outcome, data } => self.piece_checked(id, (piece, outcome), data, hooks),
            DiskResult::Written { piece, outcome, length, .. } => {
                self.writes_done(id, u64::from(length), hooks);
                if let Err(error) = outcome {
                    self.forget_unwritten(id, piece);
                    self.storage_failed(id, &error, hooks);
                }
            }
            DiskResult::Read { piece, begin, outcome } => self.piece_read(id, (piece, begin), outcome, hooks),
            DiskResult::Finished(Ok(finished)) => self.files_finished(id, finished, hooks),
            DiskResult::Closed(_) => self.close_answered(id, hooks),
            DiskResult::Opened(Err(error)) => self.storage_failed(id, &error, hooks),
            DiskResult::Finished(Err(error)) => {
                self.files_lost(id);
                self.storage_failed(id, &error, hooks);
            }
        }
    }

    /// A part of a piece is not on disk: no record may name its blocks, and no peer is to blame for what its check says.
    fn forget_unwritten(&mut self, id: TorrentId, piece: u32) {
        let Some(content) = self.torrents.get_mut(&id).and_then(|t| t.content.as_mut()) else { return };
        let held = content.assembly.held();
        content.assembly.remove(piece);
        content.judging.remove(&piece);
        self.held_bytes = self.held_bytes + content.assembly.held() - held;
    }

    fn storage_opened(&mut self, id: TorrentId, opened: Opened, hooks: &mut dyn Hooks) {
        let Some(content) = self.torrents.get_mut(&id).and_then(|t| t.content.as_mut()) else { return };
        content.open = true;
        if let Some(error) = self.lacks_room(id, &opened) {
            return self.fail_torrent(id, error, hooks);
        }
        self.begin_checking(id, &opened, hooks);
    }

    /// Whether the wanted files, as far as they are not there yet, are more than the file system has room for.
    fn lacks_room(&self, id: TorrentId, opened: &Opened) -> Option<ErrorInfo> {
        let torrent = self.torrents.get(&id)?;
        let content = torrent.content.as_ref()?;
        let free = opened.free_space?;
        let files = content.layout.files().iter().zip(&opened.files).zip(&content.file_priorities);
        let missing: u64 = files
            .filter(|((f, _), p)| **p > 0 && !f.pad)
            .map(|((f, found), _)| f.length.saturating_sub(found.map_or(0, |s| s.size)))
            .sum();
        (missing > free).then(|| {
            let path = torrent.save_path.display();
            let text = format!("{path}: not enough room: {missing} bytes are needed and {free} are free; free some or choose another folder");
            ErrorInfo::new(ErrorCode::NoSpace, text)
        })
    }

    fn piece_checked(
        &mut self,
        id: TorrentId,
        (piece, outcome): (u32, Result<Verdict, DiskError>),
        data: Vec<Bytes>,
        hooks: &mut dyn Hooks,
    ) {
        self.writes_done(id, data.iter().map(|d| d.len() as u64).sum(), hooks);
        let Some(content) = self.torrents.get_mut(&id).and_then(|t| t.content.as_mut()) else { return };
        let downloaded = content.judging.remove(&piece);
        match (downloaded, outcome) {
            (None, outcome) => self.existing_piece_checked(id, piece, outcome, hooks),
            (Some(_), Err(error)) => {
                content.picker.piece_failed(piece, None);
                self.storage_failed(id, &error, hooks);
            }
            (Some(senders), Ok(verdict)) => self.downloaded_piece_checked(id, (piece, verdict, senders), data, hooks),
        }
    }

    /// A piece that peers sent was judged. Plugins that want to look at its blocks may need them read back first.
    fn downloaded_piece_checked(
        &mut self,
        id: TorrentId,
        (piece, verdict, senders): (u32, Verdict, Vec<(u32, Sender)>),
        data: Vec<Bytes>,
        hooks: &mut dyn Hooks,
    ) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let Some(content) = torrent.content.as_mut() else { return };
        let looked_at = match verdict {
            Verdict::Passed => content.watched.remove(&piece),
            Verdict::Failed => torrent.hooks & torrent_bits::PieceFailed != 0,
        };
        if looked_at && data.is_empty() {
            return self.read_judged(id, piece, verdict, senders);
        }
        let data = if looked_at { data } else { Vec::new() };
        self.piece_judged(id, verdict, Judged { piece, senders, data }, hooks);
    }

    pub(super) fn piece_judged(&mut self, id: TorrentId, verdict: Verdict, judged: Judged, hooks: &mut dyn Hooks) {
        match verdict {
            Verdict::Passed => self.piece_passed(id, judged, hooks),
            Verdict::Failed => self.piece_failed(id, judged, hooks),
        }
    }

    fn piece_passed(&mut self, id: TorrentId, judged: Judged, hooks: &mut dyn Hooks) {
        let piece = judged.piece;
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let Some(content) = torrent.content.as_mut() else { return };
        content.picker.piece_passed(piece);
        let senders = contributors(&judged);
        for address in listed_as(&self.peers, torrent, &senders) {
            torrent.peer_list.reward(address);
        }
        self.unsaved.entry(id).or_default().have = true;
        torrent.judged = Some(judged);
        self.counters.num_piece_passed += 1;
        self.have_new_piece(id, piece);
        self.tell_contributors(id, &senders, &PeerEvent::PiecePassed(piece), hooks);
        self.ask_torrent(id, &TorrentEvent::PiecePassed(piece), hooks);
        if let Some(torrent) = self.torrents.get_mut(&id) {
            torrent.judged = None;
        }
        self.alert(Alert::PieceFinished { torrent: id, piece }, hooks);
        self.files_of_piece_done(id, piece, hooks);
        self.finish_if_complete(id, hooks);
    }

    fn piece_failed(&mut self, id: TorrentId, judged: Judged, hooks: &mut dyn Hooks) {
        let piece = judged.piece;
        let guilty = contributors(&judged);
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        // What was under way when a peer was put on parole says nothing more against it.
        let is_on_parole = |conn| self.peers.get(&conn).is_some_and(|peer| peer.parole);
        let on_parole: BTreeSet<SocketAddr> =
            guilty.iter().copied().filter(|&address| torrent.conns_at(address).any(is_on_parole)).collect();
        let Some(content) = torrent.content.as_mut() else { return };
        // Blocks of an earlier run have no sender, and may be what is wrong.
        let alone = guilty.len() == 1 && judged.senders.len() as u32 == content.layout.num_blocks(piece);
        let size = u64::from(content.layout.piece_size(piece));
        torrent.totals.failed += size;
        self.counters.recv_failed_bytes += size as i64;
        self.counters.num_piece_failed += 1;
        self.unsaved.entry(id).or_default().have = true;
        torrent.judged = Some(judged);
        self.ask_torrent(id, &TorrentEvent::PieceFailed(piece), hooks);
        self.tell_contributors(id, &guilty, &PeerEvent::PieceFailed(piece), hooks);
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        torrent.judged = None;
        let mut banned = Vec::new();
        let listed = listed_as(&self.peers, torrent, &guilty);
        for (&address, listed) in guilty.iter().zip(listed) {
            // Alone with a bad piece there is no doubt who sent it.
            if alone || !on_parole.contains(&address) {
                let trust = torrent.peer_list.punish(listed);
                if trust <= LEAST_TRUST || alone {
                    banned.push(address);
                }
            }
        }
        if let Some(content) = torrent.content.as_mut() {
            content.picker.piece_failed(piece, None);
        }
        self.alert(Alert::HashFailed { torrent: id, piece }, hooks);
        for address in banned {
            self.ban(id, address, "sent bad data", hooks);
        }
        self.update_all_interest(id);
        let conns: Vec<_> = self.torrents.get(&id).map(|t| t.peers.iter().copied().collect()).unwrap_or_default();
        for conn in conns {
            self.refill_requests(conn, hooks);
        }
    }

    /// Ends or begins the parole of the peers that sent the judged piece, and tells their plugins.
    fn tell_contributors(
        &mut self,
        id: TorrentId,
        senders: &[SocketAddr],
        judgement: &PeerEvent<'_>,
        hooks: &mut dyn Hooks,
    ) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        let conns: Vec<ConnId> = senders.iter().flat_map(|&address| torrent.conns_at(address)).collect();
        for conn in conns {
            let Some(peer) = self.peers.get_mut(&conn) else { continue };
            peer.parole = matches!(judgement, PeerEvent::PieceFailed(_));
            self.ask_peer(conn, judgement, hooks);
        }
    }

    fn files_of_piece_done(&mut self, id: TorrentId, piece: u32, hooks: &mut dyn Hooks) {
        let Some(content) = self.torrents.get_mut(&id).and_then(|t| t.content.as_deref_mut()) else { return };
        let Content { layout, picker, file_progress, .. } = content;
        let files = match file_progress {
            Some(progress) => progress.piece_passed(layout, piece),
            None => {
                let mut before = picker.have().clone();
                before.clear(piece);
                file_progress.insert(FileProgress::new(layout, &before)).piece_passed(layout, piece)
            }
        };
        for file in files {
            self.alert(Alert::FileCompleted { torrent: id, file }, hooks);
        }
    }

    /// If everything wanted is here, has the files put in order and changes the state.
    pub(super) fn finish_if_complete(&mut self, id: TorrentId, hooks: &mut dyn Hooks) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        if torrent.state == TorrentState::Downloading && torrent.is_finished() {
            self.finish(id, hooks);
        }
    }

    /// Everything wanted is here: has the files put in order and changes the state.
    pub(super) fn finish(&mut self, id: TorrentId, hooks: &mut dyn Hooks) {
        self.announce_haves(id);
        let Some(torrent) = self.torrents.get(&id) else { return };
        let state = if torrent.is_seed() { TorrentState::Seeding } else { TorrentState::Finished };
        self.set_state(id, state, hooks);
        self.emit(Output::Disk(DiskJob { torrent: id, op: DiskOp::Finish { sync: false } }));
        self.update_all_interest(id);
    }

    fn files_finished(&mut self, id: TorrentId, finished: Finished, hooks: &mut dyn Hooks) {
        self.files_settled(id, finished);
        let now = self.unix_time();
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if !torrent.is_finished() {
            return;
        }
        if std::mem::replace(&mut torrent.finished_on_disk, true) {
            return self.may_sleep_later(id);
        }
        let (name, downloaded) = (torrent.name.clone(), !torrent.began_complete);
        if downloaded || torrent.totals.completed_time == 0 {
            torrent.totals.completed_time = now;
        }
        if downloaded {
            self.announce_completed(id);
        }
        self.save_torrent(id);
        self.alert(Alert::TorrentFinished { torrent: id, name }, hooks);
        self.close_redundant_peers(id, hooks);
        self.may_sleep_later(id);
    }

    /// A storage failed: the torrent stops with an error that says what to do.
    pub(super) fn storage_failed(&mut self, id: TorrentId, error: &DiskError, hooks: &mut dyn Hooks) {
        let (code, remedy) = match error.kind {
            DiskErrorKind::NoSpace => (ErrorCode::NoSpace, ": no room is left; free some and resume"),
            DiskErrorKind::Permission => {
                (ErrorCode::Permission, ": not permitted; check the folder's owner and permissions")
            }
            DiskErrorKind::Missing => {
                (ErrorCode::MissingFile, ": the file is missing or was changed; check the torrent again")
            }
            DiskErrorKind::TooManyFiles => (ErrorCode::Storage, ": too many open files; raise the limit (ulimit -n)"),
            DiskErrorKind::Other => (ErrorCode::Storage, ""),
        };
        self.fail_torrent(id, ErrorInfo::new(code, format!("{error}{remedy}")), hooks);
    }

    /// Stops a torrent with an error.
    pub(super) fn fail_torrent(&mut self, id: TorrentId, error: ErrorInfo, hooks: &mut dyn Hooks) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if torrent.error.is_some() {
            return self.end_waking(id, hooks);
        }
        torrent.error = Some(error.clone());
        torrent.note_activity(self.now);
        self.unsaved.entry(id).or_default().resume = true;
        self.alert(Alert::TorrentError { torrent: id, error }, hooks);
        self.end_waking(id, hooks);
        self.close_peers_of(id, "the torrent stopped with an error", hooks);
    }
}

/// The addresses that sent blocks of a piece, each once.
fn contributors(judged: &Judged) -> Vec<SocketAddr> {
    let mut all: Vec<_> = judged.senders.iter().map(|(_, s)| s.address).collect();
    // Most pieces are sent in runs: what is sorted is a few addresses and not one a block.
    all.dedup();
    all.sort_unstable();
    all.dedup();
    all
}

/// The keys of some addresses in their torrent's list.
fn listed_as(peers: &Peers, torrent: &Torrent, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let key = |&address: &SocketAddr| {
        let peer = torrent.conns_at(address).last().and_then(|conn| peers.get(&conn));
        peer.map_or(address, |peer| peer.listed_as)
    };
    addresses.iter().map(key).collect()
}
