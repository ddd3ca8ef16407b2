//! Commands: one arm each, one reply each.

use super::Session;
use super::torrents::no_such_torrent;
use crate::command::{Command, Reply};
use crate::error::{ErrorCode, ErrorInfo};
use crate::hooks::Hooks;
use crate::ids::{ReplyToken, TorrentId};
use crate::output::Output;
use crate::settings::Value;
use crate::status::{FileStatus, PeerSource, PeerStatus, SessionStatus, TorrentStatus};
use crate::torrent::Torrent;

impl Session {
    pub(super) fn command(&mut self, token: ReplyToken, command: Command, hooks: &mut dyn Hooks) {
        let reply = self.perform(command, Some(token), hooks);
        self.reply_to(Some(token), reply);
    }

    /// Gives a reply, if there is one and somebody waits for it.
    pub(super) fn reply_to(&mut self, token: Option<ReplyToken>, reply: Option<Reply>) {
        if let (Some(token), Some(reply)) = (token, reply) {
            self.emit(Output::Reply { token, reply });
        }
    }

    /// Carries a command out. No reply: it comes later, if there is a token for it.
    pub(super) fn perform(
        &mut self,
        command: Command,
        token: Option<ReplyToken>,
        hooks: &mut dyn Hooks,
    ) -> Option<Reply> {
        let command = self.postpone(token, command)?;
        Some(match command {
            Command::AddTorrent(params) => match self.add_torrent(*params, hooks) {
                Ok(id) => Reply::Added(id),
                Err(error) => Reply::Failed(error),
            },
            Command::RemoveTorrent { torrent, delete_files } => {
                if self.torrents.get(&torrent).is_some_and(|t| t.removing.is_none()) {
                    self.remove_torrent(torrent, delete_files, token, hooks);
                    return None;
                }
                no_such_torrent(torrent)
            }
            Command::Stop => {
                self.stop(token?, hooks);
                return None;
            }
            Command::Pause(id) => self.on_torrent(id, |s| s.pause(id, hooks)),
            Command::Resume(id) => self.on_torrent(id, |s| s.resume(id, hooks)),
            Command::Recheck(id) => self.on_torrent(id, |s| s.recheck(id, hooks)),
            Command::Announce(id) => self.on_torrent(id, |s| s.announce_now(id)),
            Command::AddPeer { torrent, address } => {
                self.on_torrent(torrent, |s| s.add_peer_address(torrent, address, (PeerSource::RESUME_DATA, 0), hooks))
            }
            Command::SetFilePriorities { torrent, priorities } => self.set_file_priorities(torrent, &priorities, hooks),
            Command::SetPiecePriorities { torrent, priorities } => {
                self.set_piece_priorities(torrent, &priorities, hooks)
            }
            Command::SetSettings(list) => self.set_settings(&list),
            Command::SetAlertMask(mask) => {
                self.alert_mask = mask;
                Reply::Done
            }
            Command::PluginsChanged => {
                self.plugins_changed(hooks);
                Reply::Done
            }
            Command::SessionStatus => Reply::Session(Box::new(self.status(hooks))),
            question => self.answer(&question),
        })
    }

    fn on_torrent(&mut self, id: TorrentId, act: impl FnOnce(&mut Self)) -> Reply {
        if self.torrents.get(&id).is_none_or(|t| t.removing.is_some()) {
            return no_such_torrent(id);
        }
        act(self);
        Reply::Done
    }

    fn answer(&self, question: &Command) -> Reply {
        match *question {
            Command::AllTorrents => Reply::Torrents(self.torrents.values().map(|t| self.torrent_status(t)).collect()),
            Command::TorrentStatus(id) => self.about(id, |t| Reply::Torrent(Box::new(self.torrent_status(t)))),
            Command::Peers(id) => self.about(id, |t| Reply::Peers(self.peer_statuses(t))),
            Command::Files(id) => self.about(id, |t| Reply::Files(file_statuses(t))),
            Command::Metainfo(id) => self.about(id, |t| match &t.content {
                Some(c) => Reply::Bytes(c.meta.to_bytes().into()),
                None => Reply::Failed(ErrorInfo::new(ErrorCode::NoMetadata, "the torrent has no metadata yet")),
            }),
            Command::ExportResume(id) => self.about(id, |t| Reply::Bytes(super::saving::export(t, self.now))),
            _ => Reply::Done,
        }
    }

    fn about(&self, id: TorrentId, answer: impl FnOnce(&Torrent) -> Reply) -> Reply {
        self.torrents.get(&id).map_or_else(|| no_such_torrent(id), answer)
    }

    fn set_settings(&mut self, list: &[(String, Value)]) -> Reply {
        let mut changed = self.settings.clone();
        for (name, value) in list {
            if let Err(error) = changed.set(name, value) {
                return Reply::Failed(error);
            }
        }
        self.settings = changed;
        self.limits.set(&self.settings);
        self.apply_read_allowances();
        Reply::Done
    }

    fn status(&self, hooks: &dyn Hooks) -> SessionStatus {
        let mut status = self.own_status();
        status.stats.extend(hooks.statistics().into_iter().map(|(name, value)| (name.into(), value)));
        status
    }

    /// What is known without the plugins.
    pub(super) fn own_status(&self) -> SessionStatus {
        let sum = |f: fn(&Torrent) -> &crate::policy::rate::Rate| {
            self.torrents.values().map(|t| f(t).per_second(self.now)).sum()
        };
        SessionStatus {
            listening: self.listening.values().copied().collect(),
            download_rate: sum(|t| &t.totals.download),
            upload_rate: sum(|t| &t.totals.upload),
            num_connections: self.peers.len() as u32,
            num_torrents: self.torrents.len() as u32,
            stats: self.counters.values().into_iter().map(|(name, value)| (name.into(), value)).collect(),
        }
    }

    pub(super) fn torrent_status(&self, t: &Torrent) -> TorrentStatus {
        let peers = || t.peers.iter().filter_map(|c| self.peers.get(c)).filter(|p| p.is_connected());
        let content = t.content.as_ref();
        let times = t.totals.activity.times(self.now);
        // One that is asleep has everything.
        let (all_size, all_pieces) = t.asleep.map_or((0, 0), |s| (s.total_size, s.num_pieces));
        let has_priorities = !t.params.piece_priorities.is_empty();
        let (missing, wanted) = content.map_or((0, all_size), |c| c.bytes_wanted(has_priorities));
        TorrentStatus {
            id: t.id,
            info_hashes: t.hashes,
            name: t.name.clone(),
            state: t.state,
            paused: t.is_paused(),
            error: t.error.clone(),
            has_metadata: t.has_metadata(),
            save_path: t.save_path.clone(),
            total_size: content.map_or(all_size, |c| c.layout.total_size()),
            wanted,
            wanted_done: wanted - missing,
            total_done: t.bytes_done(),
            checked_pieces: content.and_then(|c| c.checking.as_ref()).map_or(0, |c| c.done()),
            num_pieces: content.map_or(all_pieces, |c| c.layout.num_pieces()),
            have_pieces: content.map_or(all_pieces, |c| c.picker.num_have()),
            download_rate: t.totals.download.per_second(self.now),
            upload_rate: t.totals.upload.per_second(self.now),
            downloaded: t.totals.downloaded,
            uploaded: t.totals.uploaded,
            failed_bytes: t.totals.failed,
            wasted_bytes: t.totals.wasted,
            num_peers: peers().count() as u32,
            num_seeds: peers().filter(|p| p.remote.pieces.is_all()).count() as u32,
            known_peers: t.peer_list.len() as u32,
            active_secs: times.active.as_secs(),
            seeding_secs: times.seeding.as_secs(),
            complete: t.finished_on_disk && t.is_finished(),
            trackers: t.announcer.status(),
        }
    }

    pub(super) fn peer_statuses(&self, t: &Torrent) -> Vec<PeerStatus> {
        let total = t.content.as_ref().map_or(0, |c| c.layout.num_pieces());
        let peers = t.peers.iter().filter_map(|c| self.peers.get(c));
        peers
            .map(|p| PeerStatus {
                conn: p.conn,
                address: p.address,
                listen_address: p.listen_address(),
                peer_id: p.remote.peer_id,
                client: p.remote.client.clone(),
                outgoing: p.outgoing,
                handshaken: p.is_connected(),
                seed: p.remote.pieces.is_all(),
                upload_only: p.remote.upload_only,
                remote_interested: p.remote.interested,
                remote_choking: p.remote.choking,
                interesting: p.local.interested,
                choked: p.local.choking,
                snubbed: p.requests.is_snubbed(),
                source: p.source,
                have_pieces: p.remote.pieces.count(total),
                download_rate: p.download.per_second(self.now),
                upload_rate: p.upload.per_second(self.now),
                downloaded: p.download.total(),
                uploaded: p.upload.total(),
                outstanding: p.requests.len(),
                queued_bytes: p.queued,
            })
            .collect()
    }
}

pub(super) fn file_statuses(t: &Torrent) -> Vec<FileStatus> {
    let Some(content) = &t.content else { return Vec::new() };
    let mut done = vec![0; content.layout.files().len()];
    for piece in content.picker.have().iter() {
        for s in content.layout.slices(piece, 0, content.layout.piece_size(piece)) {
            done[s.file] += s.length;
        }
    }
    let files = content.layout.files().iter().zip(&done).zip(&content.file_priorities);
    files
        .map(|((file, &done), &priority)| FileStatus { path: file.display_path(), size: file.length, done, priority })
        .collect()
}
