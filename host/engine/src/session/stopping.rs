//! An orderly stop: plugins and trackers told, peers closed, unfinished pieces written, state saved, files closed.

use super::Session;
use crate::command::Reply;
use crate::disk::{DiskJob, DiskOp};
use crate::hooks::{Hooks, SessionEvent};
use crate::ids::{ReplyToken, TorrentId};
use crate::output::Output;
use crate::time::Time;
use std::collections::BTreeSet;
use std::time::Duration;

/// A stop under way.
#[derive(Debug)]
pub(super) struct Stopping {
    tokens: Vec<ReplyToken>,
    /// When trackers are no longer waited for.
    deadline: Time,
    files_closing: bool,
    /// Torrents whose files are still being closed.
    open: BTreeSet<TorrentId>,
    done: bool,
}

impl Session {
    pub(super) fn stop(&mut self, token: ReplyToken, hooks: &mut dyn Hooks) {
        if let Some(stopping) = &mut self.stopping {
            if stopping.done {
                return self.emit(Output::Reply { token, reply: Reply::Done });
            }
            return stopping.tokens.push(token);
        }
        self.ask_session(&SessionEvent::Abort, hooks);
        let deadline = self.now + Duration::from_secs(self.settings.stop_tracker_timeout as u64);
        self.stopping =
            Some(Stopping { tokens: vec![token], deadline, files_closing: false, open: BTreeSet::new(), done: false });
        let ids: Vec<TorrentId> = self.torrents.ids();
        for &id in &ids {
            self.announce_stopped(id);
        }
        for conn in self.peers.keys() {
            self.close(conn, "the session stops", hooks);
        }
        for id in ids {
            self.write_unfinished(id);
        }
        self.continue_stopping();
    }

    /// What is held of unfinished pieces goes to disk, so that it need not be fetched again.
    fn write_unfinished(&mut self, id: TorrentId) {
        let Some(torrent) = self.torrents.get_mut(&id).filter(|t| t.error.is_none()) else { return };
        let Some(content) = torrent.content.as_mut() else { return };
        self.held_bytes -= content.assembly.held();
        let ops = content.assembly.relieve(0);
        if !ops.is_empty() {
            self.unsaved.entry(id).or_default().have = true;
        }
        self.submit_writes(id, ops);
    }

    /// The files of a torrent are closed, or it is gone.
    pub(super) fn closed_for_stop(&mut self, id: TorrentId) {
        if let Some(stopping) = &mut self.stopping {
            stopping.open.remove(&id);
        }
    }

    /// Goes on with the stop once what it waits for has come.
    pub(super) fn continue_stopping(&mut self) {
        let Some(stopping) = &self.stopping else { return };
        if stopping.done {
            return;
        }
        if !stopping.files_closing {
            let writing = self.counters.queued_write_bytes > 0;
            if writing && !self.torrents.values().any(|t| t.error.is_some()) {
                return;
            }
            return self.close_all_files();
        }
        let open = !stopping.open.is_empty();
        let waiting = self.trackers.is_busy() && self.now < stopping.deadline;
        if open || waiting {
            return;
        }
        self.save_all();
        self.trackers.cancel_all(&mut self.outputs);
        let tokens = self.stopping.as_mut().map(|s| {
            s.done = true;
            std::mem::take(&mut s.tokens)
        });
        for token in tokens.unwrap_or_default() {
            self.emit(Output::Reply { token, reply: Reply::Done });
        }
        self.emit(Output::Stopped);
    }

    fn close_all_files(&mut self) {
        for torrent in self.torrents.values() {
            self.unsaved.entry(torrent.id).or_default().resume = true;
        }
        self.save_all();
        let open = self.torrents.values().filter(|t| t.content.is_some() && !t.storage_closed);
        // Whoever stops a download means to go on with it, perhaps after the machine was off. What is complete is kept
        // by the system like any other file that was just written.
        let open: Vec<_> = open.map(|t| (t.id, !t.is_finished())).collect();
        if let Some(stopping) = &mut self.stopping {
            stopping.files_closing = true;
            stopping.open = open.iter().map(|(id, _)| *id).collect();
        }
        for (id, sync) in open {
            // Its answer says which files, by size and time, the next run may believe without hashing them.
            self.emit(Output::Disk(DiskJob { torrent: id, op: DiskOp::Finish { sync } }));
            self.emit(Output::Disk(DiskJob { torrent: id, op: DiskOp::Close { delete_files: false } }));
        }
        self.continue_stopping();
    }
}
