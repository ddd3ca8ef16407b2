//! A torrent's life: added, its files opened and checked, paused, resumed, removed.

use super::{Session, Unloading};
use crate::add_torrent::{AddTorrent, TorrentFlags};
use crate::alert::Alert;
use crate::command::Reply;
use crate::disk::{DiskError, DiskJob, DiskOp, OpenStorage, Opened, Verdict};
use crate::error::{ErrorCode, ErrorInfo};
use crate::hooks::{Hooks, TorrentEvent};
use crate::ids::{ConnId, ReplyToken, TorrentId};
use crate::output::{Output, StoreOp};
use crate::policy::announce::{Announcer, Rules};
use crate::policy::peer_list::{Limits, PeerFlags, PeerList};
use crate::policy::picker::{Order, Picker};
use crate::resume::Resume;
use crate::status::{PeerSource, TorrentState};
use crate::torrent::activity::{Activity, Times};
use crate::torrent::assembly::Assembly;
use crate::torrent::checking::Checking;
use crate::torrent::reading::Reading;
use crate::torrent::vouching::{Known, Vouching};
use crate::torrent::{Content, DEFAULT_PRIORITY, Removing, Torrent, Totals};
use reef_proto::hash::InfoHashes;
use reef_proto::layout::Layout;
use reef_proto::metainfo::Metainfo;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

impl Session {
    pub(super) fn add_torrent(&mut self, params: AddTorrent, hooks: &mut dyn Hooks) -> Result<TorrentId, ErrorInfo> {
        let hashes = params.metainfo.as_ref().map_or(params.info_hashes, |m| m.info_hashes);
        if let Some(known) = self.find(hashes) {
            return self.add_again(known, &params, hooks);
        }
        self.refuse_if_impossible(hashes, &params)?;
        let id = params.stored_id.unwrap_or(TorrentId(self.next_torrent));
        self.next_torrent = self.next_torrent.max(id.0 + 1);
        // A torrent of the store that had everything stays there until somebody wants it.
        let stored = params.resume.as_ref().and_then(|r| r.summary);
        let mut torrent = self.new_torrent(id, hashes, params);
        torrent.note_activity(self.now);
        for hash in wire_hashes(hashes) {
            self.by_hash.insert(hash, id);
        }
        let (name, meta) = (torrent.name.clone(), torrent.params.metainfo.clone());
        torrent.asleep = stored.filter(|_| meta.is_none() && self.unloading == Unloading::WhenIdle);
        self.torrents.insert(id, torrent);
        self.counters.num_torrents += 1;
        if let Some(meta) = meta {
            self.set_content(id, meta);
            self.unsaved.entry(id).or_default().torrent = true;
        }
        self.attach_torrent(id, hooks);
        if self.torrents.get(&id).is_some_and(|t| self.sleeps_from_the_start(t)) {
            return Ok(self.start_asleep(id, name, hooks));
        }
        if self.torrents.get(&id).is_some_and(|t| t.params.stored_id.is_none()) {
            self.save_torrent(id);
        }
        self.alert(Alert::TorrentAdded { torrent: id, name }, hooks);
        if self.torrents.get(&id).is_some_and(|t| t.content.is_some()) {
            self.open_storage(id, hooks);
        } else {
            self.dial_now(id, hooks);
        }
        self.announce_soon(id);
        Ok(id)
    }

    fn find(&self, hashes: InfoHashes) -> Option<TorrentId> {
        wire_hashes(hashes).into_iter().find_map(|h| self.by_hash.get(&h).copied())
    }

    /// A torrent that is there already: an error if the flags say so, otherwise its trackers and peers join.
    fn add_again(&mut self, id: TorrentId, params: &AddTorrent, hooks: &mut dyn Hooks) -> Result<TorrentId, ErrorInfo> {
        let Some(torrent) = self.torrents.get_mut(&id).filter(|t| t.removing.is_none()) else {
            return Err(ErrorInfo::new(ErrorCode::DuplicateTorrent, "the torrent is being removed; try again"));
        };
        if params.flags.contains(TorrentFlags::DUPLICATE_IS_ERROR) {
            let text = format!("{}: is in the session already", torrent.name);
            return Err(ErrorInfo::new(ErrorCode::DuplicateTorrent, text));
        }
        let from_file = params.metainfo.iter().flat_map(|m| m.trackers.clone());
        for (tier, urls) in (0..).zip(params.trackers.iter().cloned().chain(from_file)) {
            for url in urls {
                torrent.announcer.add_tracker(&url, tier);
            }
        }
        self.announce_soon(id);
        for &address in &params.peers {
            self.add_peer_address(id, address, (PeerSource::RESUME_DATA, 0), hooks);
        }
        Ok(id)
    }

    fn refuse_if_impossible(&self, hashes: InfoHashes, params: &AddTorrent) -> Result<(), ErrorInfo> {
        if self.stopping.is_some() {
            return Err(ErrorInfo::new(ErrorCode::Stopping, "the session is stopping"));
        }
        if hashes.is_empty() {
            return Err(ErrorInfo::new(ErrorCode::NoInfoHash, "neither metadata nor an info-hash was given"));
        }
        let v1 = params.metainfo.as_ref().map_or_else(|| hashes.v1.is_some(), |m| m.info.has_v1());
        if !v1 {
            let name = display_name(params, hashes);
            let text = format!("{name}: has only a v2 part (BEP 52), which cannot be downloaded yet");
            return Err(ErrorInfo::new(ErrorCode::V2Only, text));
        }
        Ok(())
    }

    fn new_torrent(&mut self, id: TorrentId, hashes: InfoHashes, mut params: AddTorrent) -> Torrent {
        let mut resume = params.resume.take().map_or_else(Resume::default, |r| *r);
        let is_resumed = resume != Resume::default();
        let mut tiers: Vec<Vec<String>> = Vec::new();
        if let Some(meta) = &params.metainfo {
            tiers.extend(meta.trackers.iter().cloned());
        }
        tiers.extend(params.trackers.iter().cloned());
        if is_resumed && !params.flags.contains(TorrentFlags::MERGE_RESUME_TRACKERS) && tiers.is_empty() {
            tiers.clone_from(&resume.trackers);
        } else {
            tiers.extend(resume.trackers.iter().cloned());
        }
        let mut peer_list = PeerList::new(self.peer_list_limits());
        peer_list.set_own(&self.listen_addresses(), None);
        for &address in &params.banned_peers {
            peer_list.ban(address);
        }
        for &address in params.peers.iter().chain(&resume.peers) {
            peer_list.add(address, PeerSource::RESUME_DATA, PeerFlags::default(), self.now);
        }
        if params.piece_priorities.is_empty() && params.file_priorities.is_empty() && params.select_only.is_empty() {
            params.piece_priorities.clone_from(&resume.piece_priorities);
        }
        if params.flags.contains(TorrentFlags::USE_RESUME_SAVE_PATH) && !resume.save_path.is_empty() {
            params.save_path = resume.save_path.clone().into();
        }
        if params.file_priorities.is_empty() && params.select_only.is_empty() {
            params.file_priorities = std::mem::take(&mut resume.file_priorities);
        }
        let random = self.random();
        Torrent {
            id,
            hashes,
            name: display_name(&params, hashes),
            save_path: std::mem::take(&mut params.save_path),
            state: TorrentState::DownloadingMetadata,
            flags: params.flags,
            error: None,
            content: None,
            peers: BTreeSet::new(),
            lacking: BTreeSet::new(),
            addresses: BTreeSet::new(),
            peer_ids: BTreeMap::new(),
            peer_list,
            announcer: Announcer::new(&tiers, self.announce_rules(), random),
            totals: totals(&resume, self.unix_time()),
            hooks: 0,
            new_haves: Vec::new(),
            judged: None,
            finished_on_disk: false,
            left_unsynced: false,
            began_complete: false,
            removing: None,
            reopening: false,
            asleep: None,
            waking: None,
            sleeps_at: self.now,
            closes_of_sleep: 0,
            storage_closed: false,
            resume_have: params.resume_have.take(),
            params: AddTorrent { name: String::new(), resume: resume.rest().map(Box::new), ..params },
        }
    }

    /// The metadata is known: from here on there are pieces.
    pub(super) fn set_content(&mut self, id: TorrentId, meta: Arc<Metainfo>) {
        let initial = self.settings.initial_picker_threshold as u32;
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let layout = Arc::new(meta.info.layout.clone());
        let mut picker = Picker::new(layout.clone());
        picker.set_random_first(initial);
        if torrent.flags.contains(TorrentFlags::SEQUENTIAL_DOWNLOAD) {
            picker.set_order(Order::Sequential);
        }
        for hash in wire_hashes(meta.info_hashes) {
            self.by_hash.entry(hash).or_insert(id);
        }
        torrent.hashes = meta.info_hashes;
        torrent.name.clone_from(&meta.info.name);
        let file_priorities = file_priorities(&torrent.params, layout.files().len());
        let content = Content {
            meta,
            layout,
            picker,
            assembly: Assembly::default(),
            file_priorities,
            file_progress: None,
            checking: None,
            open: false,
            judging: BTreeMap::new(),
            watched: BTreeSet::new(),
            reading: Reading::default(),
            writing: 0,
            file_stats: Vec::new(),
            kept_by: None,
        };
        torrent.content = Some(Box::new(content));
        self.apply_priorities(id);
    }

    fn peer_list_limits(&self) -> Limits {
        Limits {
            max_size: self.settings.max_peerlist_size as usize,
            min_reconnect_time: Duration::from_secs(self.settings.min_reconnect_time as u64),
            max_failcount: u8::try_from(self.settings.max_failcount).unwrap_or(u8::MAX),
        }
    }

    fn announce_rules(&self) -> Rules {
        Rules {
            all_tiers: self.settings.announce_to_all_tiers,
            all_trackers: self.settings.announce_to_all_trackers,
            min_interval: Duration::from_secs(self.settings.min_announce_interval as u64),
        }
    }

    fn apply_priorities(&mut self, id: TorrentId) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let Some(content) = torrent.content.as_mut() else { return };
        for piece in 0..content.layout.num_pieces() {
            let given = torrent.params.piece_priorities.get(piece as usize).copied();
            let priority = given.unwrap_or_else(|| content.piece_priority(piece));
            content.picker.set_priority(piece, priority);
        }
    }

    pub(super) fn open_storage(&mut self, id: TorrentId, hooks: &mut dyn Hooks) {
        self.set_state(id, TorrentState::CheckingFiles, hooks);
        self.request_storage(id);
    }

    pub(super) fn request_storage(&mut self, id: TorrentId) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let Some(content) = &torrent.content else { return };
        torrent.storage_closed = false;
        let is_believed = torrent.flags.contains(TorrentFlags::SEED_MODE);
        let left_unsynced = std::mem::take(&mut torrent.left_unsynced);
        let synced = match torrent.resume_have.as_ref().filter(|_| !left_unsynced) {
            Some(have) if have.kept_by.is_none() => Some(have.file_stats.clone()),
            None if is_believed && !left_unsynced => None,
            _ => Some(Vec::new()),
        };
        let open = OpenStorage {
            layout: content.layout.clone(),
            save_path: torrent.save_path.clone(),
            wanted: content.wanted(),
            part_name: hex(torrent.hashes.wire()),
            synced,
        };
        self.emit(Output::Disk(DiskJob { torrent: id, op: DiskOp::Open(Box::new(open)) }));
    }

    /// The files were looked at: believe the resume data as far as they bear it out, and hash the rest.
    pub(super) fn begin_checking(&mut self, id: TorrentId, opened: &Opened, hooks: &mut dyn Hooks) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let resume = torrent.resume_have.take();
        let Some(content) = torrent.content.as_mut() else { return };
        let was_believed = torrent.flags.contains(TorrentFlags::SEED_MODE);
        let seed_mode = was_believed && are_whole(&content.layout, opened);
        if was_believed && !seed_mode {
            torrent.flags = torrent.flags.without(TorrentFlags::SEED_MODE);
            self.unsaved.entry(id).or_default().resume = true;
        }
        let pieces = content.layout.num_pieces();
        let mut to_hash = Vec::new();
        let mut restore = Vec::new();
        let layout = content.layout.clone();
        let vouching = Vouching::new(resume.as_ref(), &layout, opened);
        for piece in 0..pieces {
            match vouching.of(piece) {
                _ if seed_mode => content.picker.we_have(piece),
                Known::Verified => content.picker.we_have(piece),
                Known::Blocks(blocks) => restore.push((piece, blocks)),
                Known::Unsure => to_hash.push(piece),
                Known::Missing => {}
            }
        }
        content.kept_by = opened.mount.filter(|_| opened.unsynced);
        // What nothing vouches for is not remembered, until it is synced.
        let can_lose = opened.unsynced && opened.mount.is_none();
        content.file_stats = opened.files.iter().map(|f| f.filter(|_| !can_lose).unwrap_or_default()).collect();
        content.checking = Some(Checking::new(to_hash));
        let mut writes = Vec::new();
        for (piece, blocks) in restore {
            let expect = content.expect(piece);
            content.picker.restore_blocks(piece, &block_mask(&blocks));
            let ops = content.assembly.restore(&layout, piece, &blocks, expect);
            writes.extend(ops);
        }
        self.submit_writes(id, writes);
        if opened.unsynced {
            self.sync_later(id);
        }
        if was_believed && !seed_mode {
            // A run that ends before the next save must not believe it again.
            self.save_changes(id);
        }
        if !self.is_awake(id, hooks) {
            self.continue_checking(id, hooks);
        }
    }

    fn continue_checking(&mut self, id: TorrentId, hooks: &mut dyn Hooks) {
        let Some(content) = self.torrents.get_mut(&id).and_then(|t| t.content.as_mut()) else { return };
        let Some(checking) = content.checking.as_mut() else { return };
        let next = checking.take();
        let done = checking.is_done();
        let jobs: Vec<DiskJob> = next
            .into_iter()
            .map(|piece| DiskJob { torrent: id, op: DiskOp::CheckPiece { piece, expect: content.expect(piece) } })
            .collect();
        self.outputs.extend(jobs.into_iter().map(Output::Disk));
        if done {
            self.checking_done(id, hooks);
        }
    }

    /// A piece that was on disk before was hashed.
    pub(super) fn existing_piece_checked(
        &mut self,
        id: TorrentId,
        piece: u32,
        outcome: Result<Verdict, DiskError>,
        hooks: &mut dyn Hooks,
    ) {
        let Some(content) = self.torrents.get_mut(&id).and_then(|t| t.content.as_mut()) else { return };
        let Some(checking) = content.checking.as_mut() else { return };
        checking.returned();
        match outcome {
            Ok(Verdict::Passed) => {
                content.picker.we_have(piece);
                self.ask_torrent(id, &TorrentEvent::PiecePassed(piece), hooks);
            }
            Ok(Verdict::Failed) => {}
            Err(error) => {
                checking.cancel();
                self.storage_failed(id, &error, hooks);
            }
        }
        self.continue_checking(id, hooks);
    }

    fn checking_done(&mut self, id: TorrentId, hooks: &mut dyn Hooks) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let Some(content) = torrent.content.as_mut() else { return };
        content.checking = None;
        let (have, total) = (content.picker.num_have(), content.picker.have().len());
        let unsaved = self.unsaved.entry(id).or_default();
        (unsaved.have, unsaved.resume) = (true, true);
        torrent.began_complete = torrent.is_finished();
        self.alert(Alert::TorrentChecked { torrent: id, have, total }, hooks);
        self.ask_torrent(id, &TorrentEvent::FilesChecked, hooks);
        self.set_state(id, TorrentState::Downloading, hooks);
        self.send_pieces_to_all(id);
        self.finish_if_complete(id, hooks);
        self.update_all_interest(id);
        let conns: Vec<ConnId> = self.torrents.get(&id).map(|t| t.peers.iter().copied().collect()).unwrap_or_default();
        for conn in conns {
            self.turn_of(conn, hooks);
        }
        self.dial_now(id, hooks);
    }

    /// Peers that were there before the pieces were known hear of them now.
    fn send_pieces_to_all(&mut self, id: TorrentId) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let Some(content) = &torrent.content else { return };
        if torrent.peers.is_empty() {
            return;
        }
        torrent.new_haves = content.picker.have().iter().collect();
        self.announce_haves(id);
    }

    pub(super) fn set_state(&mut self, id: TorrentId, state: TorrentState, hooks: &mut dyn Hooks) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if torrent.state == state {
            return;
        }
        torrent.state = state;
        torrent.note_activity(self.now);
        self.alert(Alert::StateChanged { torrent: id, state }, hooks);
        self.ask_torrent(id, &TorrentEvent::State(state), hooks);
        self.send_upload_only(id);
        self.announce_soon(id);
    }

    pub(super) fn pause(&mut self, id: TorrentId, hooks: &mut dyn Hooks) {
        if self.torrents.get(&id).is_none_or(|t| t.flags.contains(TorrentFlags::PAUSED))
            || self.ask_torrent(id, &TorrentEvent::Pause, hooks) == super::dispatch::Asked::Skip
        {
            return;
        }
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        torrent.flags = torrent.flags.with(TorrentFlags::PAUSED);
        torrent.note_activity(self.now);
        self.unsaved.entry(id).or_default().resume = true;
        self.save_changes(id);
        self.announce_stopped(id);
        self.close_peers_of(id, "the torrent was paused", hooks);
        self.alert(Alert::TorrentPaused { torrent: id }, hooks);
    }

    pub(super) fn resume(&mut self, id: TorrentId, hooks: &mut dyn Hooks) {
        if self.torrents.get(&id).is_none_or(|t| !t.is_paused())
            || self.ask_torrent(id, &TorrentEvent::Resume, hooks) == super::dispatch::Asked::Skip
        {
            return;
        }
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        torrent.flags = torrent.flags.without(TorrentFlags::PAUSED);
        self.unsaved.entry(id).or_default().resume = true;
        self.save_changes(id);
        let failed = self.torrents.get_mut(&id).is_some_and(|t| {
            let failed = t.error.take().is_some();
            t.note_activity(self.now);
            failed
        });
        self.alert(Alert::TorrentResumed { torrent: id }, hooks);
        if failed {
            self.recheck_after_error(id, hooks);
        }
        self.announce_soon(id);
    }

    /// After a failure of the storage only what is on disk counts.
    fn recheck_after_error(&mut self, id: TorrentId, hooks: &mut dyn Hooks) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        torrent.resume_have = torrent.have();
        self.reopen(id, hooks);
    }

    /// Hashes everything again.
    pub(super) fn recheck(&mut self, id: TorrentId, hooks: &mut dyn Hooks) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        torrent.error = None;
        torrent.note_activity(self.now);
        torrent.finished_on_disk = false;
        self.close_peers_of(id, "the torrent is checked again", hooks);
        self.reopen(id, hooks);
    }

    /// Begins again with the storage, keeping the metadata and the user's choices. What was only believed is hashed.
    fn reopen(&mut self, id: TorrentId, hooks: &mut dyn Hooks) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let Some(content) = torrent.content.take() else { return };
        torrent.left_unsynced = true;
        torrent.flags = torrent.flags.without(TorrentFlags::SEED_MODE);
        self.unsaved.entry(id).or_default().resume = true;
        torrent.params.file_priorities = content.file_priorities;
        self.counters.queued_write_bytes -= content.writing as i64;
        self.held_bytes -= content.assembly.held();
        self.set_content(id, content.meta);
        let closing = self.torrents.get_mut(&id).is_some_and(|t| std::mem::replace(&mut t.reopening, true));
        self.give_up_reading(id, content.reading, hooks);
        self.set_state(id, TorrentState::CheckingFiles, hooks);
        // One that is being closed already is opened once, with what holds by then.
        if !closing {
            self.emit(Output::Disk(DiskJob { torrent: id, op: DiskOp::Close { delete_files: false } }));
        }
    }

    pub(super) fn remove_torrent(
        &mut self,
        id: TorrentId,
        delete_files: bool,
        token: Option<ReplyToken>,
        hooks: &mut dyn Hooks,
    ) {
        self.announce_stopped(id);
        self.close_peers_of(id, "the torrent was removed", hooks);
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        torrent.removing = Some(Removing { token });
        if torrent.content.is_some() {
            self.emit(Output::Disk(DiskJob { torrent: id, op: DiskOp::Close { delete_files } }));
        } else {
            self.storage_closed(id, hooks);
        }
    }

    /// The shell says that it closed a storage, perhaps for a torrent that fell asleep.
    pub(super) fn close_answered(&mut self, id: TorrentId, hooks: &mut dyn Hooks) {
        match self.torrents.get_mut(&id) {
            Some(torrent) if torrent.closes_of_sleep > 0 => torrent.closes_of_sleep -= 1,
            _ => self.storage_closed(id, hooks),
        }
    }

    fn storage_closed(&mut self, id: TorrentId, hooks: &mut dyn Hooks) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if std::mem::take(&mut torrent.reopening) && torrent.removing.is_none() && self.stopping.is_none() {
            return self.open_storage(id, hooks);
        }
        torrent.storage_closed = true;
        let removing = torrent.removing;
        self.closed_for_stop(id);
        let Some(removing) = removing else { return };
        self.end_waking(id, hooks);
        let content = self.torrents.get_mut(&id).and_then(|torrent| torrent.content.as_mut());
        let reading = content.map(|content| std::mem::take(&mut content.reading));
        self.give_up_reading(id, reading.unwrap_or_default(), hooks);
        let Some(torrent) = self.torrents.remove(&id) else { return };
        for hash in wire_hashes(torrent.hashes) {
            if self.by_hash.get(&hash) == Some(&id) {
                self.by_hash.remove(&hash);
            }
        }
        self.unsaved.remove(&id);
        self.counters.num_torrents -= 1;
        if let Some(content) = &torrent.content {
            self.counters.queued_write_bytes -= content.writing as i64;
            self.held_bytes -= content.assembly.held();
        }
        self.trackers.forget(id);
        hooks.remove_torrent(id);
        self.emit(Output::Store(StoreOp::Remove(id)));
        self.alert(Alert::TorrentRemoved { torrent: id, name: torrent.name }, hooks);
        if let Some(token) = removing.token {
            self.emit(Output::Reply { token, reply: Reply::Done });
        }
    }

    pub(super) fn set_file_priorities(&mut self, id: TorrentId, list: &[(u32, u8)], hooks: &mut dyn Hooks) -> Reply {
        let Some(torrent) = self.torrents.get_mut(&id) else { return no_such_torrent(id) };
        let Some(content) = torrent.content.as_mut() else {
            return Reply::Failed(ErrorInfo::new(ErrorCode::NoMetadata, "the torrent has no metadata yet"));
        };
        let files = content.file_priorities.len();
        if let Some((bad, _)) = list.iter().find(|(f, _)| *f as usize >= files) {
            let text = format!("there is no file {bad}: the torrent has {files}, counted from 0");
            return Reply::Failed(ErrorInfo::new(ErrorCode::NoSuchFile, text));
        }
        let newly_wanted = list.iter().any(|&(f, priority)| priority > 0 && content.file_priorities[f as usize] == 0);
        for &(file, priority) in list {
            content.file_priorities[file as usize] = priority.min(7);
        }
        let wanted = content.wanted();
        // What is wanted of a file is wanted of all its pieces.
        torrent.params.piece_priorities.clear();
        self.unsaved.entry(id).or_default().resume = true;
        self.save_changes(id);
        self.emit(Output::Disk(DiskJob { torrent: id, op: DiskOp::SetWanted(wanted) }));
        self.apply_priorities(id);
        self.priorities_changed(id, newly_wanted, hooks);
        Reply::Done
    }

    pub(super) fn set_piece_priorities(&mut self, id: TorrentId, list: &[(u32, u8)], hooks: &mut dyn Hooks) -> Reply {
        let Some(torrent) = self.torrents.get_mut(&id).filter(|t| t.removing.is_none()) else {
            return no_such_torrent(id);
        };
        let Some(content) = torrent.content.as_mut() else {
            return Reply::Failed(ErrorInfo::new(ErrorCode::NoMetadata, "the torrent has no metadata yet"));
        };
        let pieces = content.layout.num_pieces();
        if let Some((bad, _)) = list.iter().find(|(p, _)| *p >= pieces) {
            let text = format!("there is no piece {bad}: the torrent has {pieces}, counted from 0");
            return Reply::Failed(ErrorInfo::new(ErrorCode::NoSuchPiece, text));
        }
        for &(piece, priority) in list {
            content.picker.set_priority(piece, priority);
        }
        torrent.params.piece_priorities = (0..pieces).map(|piece| content.picker.priority(piece)).collect();
        self.unsaved.entry(id).or_default().resume = true;
        self.priorities_changed(id, false, hooks);
        Reply::Done
    }

    /// What is wanted of a torrent has changed: its state follows, and peers hear of it.
    fn priorities_changed(&mut self, id: TorrentId, newly_wanted: bool, hooks: &mut dyn Hooks) {
        self.wishes_changed(id, newly_wanted, hooks);
        self.finish_if_complete(id, hooks);
        self.update_all_interest(id);
        let conns: Vec<ConnId> = self.torrents.get(&id).map(|t| t.peers.iter().copied().collect()).unwrap_or_default();
        for conn in conns {
            self.refill_requests(conn, hooks);
        }
    }

    /// A torrent that was finished is so no more, or only once the files that are wanted now were put in order.
    fn wishes_changed(&mut self, id: TorrentId, newly_wanted: bool, hooks: &mut dyn Hooks) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if !matches!(torrent.state, TorrentState::Finished | TorrentState::Seeding) {
            return;
        }
        if !torrent.is_finished() {
            torrent.finished_on_disk = false;
            torrent.began_complete = false;
            self.set_state(id, TorrentState::Downloading, hooks);
        } else if newly_wanted {
            torrent.finished_on_disk = false;
            self.finish(id, hooks);
        }
    }

    pub(super) fn close_peers_of(&mut self, id: TorrentId, reason: &str, hooks: &mut dyn Hooks) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        for conn in torrent.peers.iter().copied().collect::<Vec<_>>() {
            self.close(conn, reason, hooks);
        }
    }
}

pub(super) fn no_such_torrent(id: TorrentId) -> Reply {
    Reply::Failed(ErrorInfo::new(ErrorCode::NoSuchTorrent, format!("there is no torrent {id}")))
}

/// The 20 bytes by which peers and trackers may name a torrent.
fn wire_hashes(hashes: InfoHashes) -> Vec<[u8; 20]> {
    let v1 = hashes.v1.map(|h| *h.as_bytes());
    v1.into_iter().chain(hashes.v2_truncated()).collect()
}

fn display_name(params: &AddTorrent, hashes: InfoHashes) -> String {
    match &params.metainfo {
        Some(meta) => meta.info.name.clone(),
        None if !params.name.is_empty() => params.name.clone(),
        None => hex(hashes.wire()),
    }
}

/// Whether every file is there with all its bytes, as far as sizes tell.
fn are_whole(layout: &Layout, opened: &Opened) -> bool {
    let mut files = layout.files().iter().zip(&opened.files);
    files.all(|(file, found)| file.pad || file.length == 0 || found.is_some_and(|f| f.size >= file.length))
}

fn hex(bytes: [u8; 20]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn totals(resume: &Resume, now: u64) -> Totals {
    Totals {
        downloaded: resume.total_downloaded,
        uploaded: resume.total_uploaded,
        activity: Activity::new(Times {
            active: Duration::from_secs(resume.active_time),
            finished: Duration::from_secs(resume.finished_time),
            seeding: Duration::from_secs(resume.seeding_time),
        }),
        added_time: if resume.added_time > 0 { resume.added_time } else { now },
        completed_time: resume.completed_time,
        at_start: (resume.total_downloaded, resume.total_uploaded),
        ..Totals::default()
    }
}

/// Priorities from the parameters, from their selection (BEP 53), from the resume data, or the default.
fn file_priorities(params: &AddTorrent, files: usize) -> Vec<u8> {
    let from_resume = params.resume.as_ref().map(|r| &r.file_priorities).filter(|p| !p.is_empty());
    let selected = |i: usize| params.select_only.iter().any(|&(a, b)| (a as usize..=b as usize).contains(&i));
    (0..files)
        .map(|i| {
            if let Some(&p) = params.file_priorities.get(i) {
                p
            } else if !params.select_only.is_empty() {
                if selected(i) { DEFAULT_PRIORITY } else { 0 }
            } else {
                from_resume.and_then(|p| p.get(i).copied()).unwrap_or(DEFAULT_PRIORITY)
            }
        })
        .collect()
}

/// Blocks as bits, as the picker has them: the first in the lowest bit of the first byte.
fn block_mask(blocks: &[u32]) -> Vec<u8> {
    let len = blocks.iter().max().map_or(0, |&b| b as usize / 8 + 1);
    let mut mask = vec![0; len];
    for &b in blocks {
        mask[b as usize / 8] |= 1 << (b % 8);
    }
    mask
}
