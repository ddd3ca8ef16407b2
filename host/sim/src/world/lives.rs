//! Nodes that stop, in order or not, and start again from what their disks hold.

use super::World;
use crate::node::NodeId;
use rand_core::RngCore;
use reef_engine::resume::{Have, Resume};
use reef_engine::{
    AddTorrent, CloseCause, Command, Input, ListenerId, Session, SessionConfig, TorrentFlags, TorrentId, Unloading,
};
use reef_proto::metainfo::Metainfo;
use std::sync::Arc;

impl World {
    /// The machine of a node stops at this moment: what was not synced is lost.
    pub fn crash(&mut self, id: NodeId) {
        self.take_down(id);
        self.node(id).disk.crash();
    }

    /// The process of a node is killed: what was written stays, what it only remembered is gone.
    pub fn kill(&mut self, id: NodeId) {
        self.take_down(id);
        self.node(id).disk.close_abruptly();
    }

    /// Stops a node in order and waits for it, for up to `seconds` simulated seconds. False if it did not stop.
    pub fn stop(&mut self, id: NodeId, seconds: u64) -> bool {
        self.command(id, Command::Stop);
        let stopped = self.run_until(seconds, |w| w.node(id).stopped).is_ok();
        self.take_down(id);
        self.node(id).disk.close_abruptly();
        stopped
    }

    fn take_down(&mut self, id: NodeId) {
        for end in self.network.of(id) {
            self.break_connection(end, CloseCause::Reset);
        }
        self.node(id).forget_session();
    }

    /// Starts a node that is down, with its settings and the torrents of its store. `from` are peers to try.
    pub fn restart(&mut self, id: NodeId, from: &[NodeId]) {
        self.start(id);
        let stored: Vec<_> = self.disk(id).stored().iter().map(|(t, r)| (*t, r.clone())).collect();
        for (torrent, record) in stored {
            let resume = record.resume.as_deref().map(|r| Resume::parse(r).expect("a session's own resume data"));
            let have = record.have.as_deref().map(|h| Have::parse(h).expect("a session's own record of pieces"));
            let paused = resume.as_ref().is_some_and(|r| r.paused);
            let asleep = resume.as_ref().is_some_and(|r| r.summary.is_some());
            let metainfo = record.metainfo.as_deref().filter(|_| !asleep).and_then(|m| Metainfo::parse(m).ok());
            let mut params = AddTorrent {
                metainfo: metainfo.map(Arc::new),
                info_hashes: record.hashes,
                stored_id: Some(torrent),
                resume: resume.map(Box::new),
                resume_have: have,
                ..Self::params(from)
            };
            if paused {
                params.flags = params.flags.with(TorrentFlags::PAUSED);
            }
            self.command(id, Command::AddTorrent(Box::new(params)));
        }
    }

    pub(super) fn start(&mut self, id: NodeId) {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let now = self.now;
        let node = self.node(id);
        let first = node.disk.stored().keys().last().map_or(1, |t| t.0 + 1);
        let settings = node.settings.clone();
        node.session = Some(Session::new(SessionConfig {
            settings,
            seed,
            first_torrent_id: TorrentId(first),
            unloading: Unloading::WhenIdle,
        }));
        if let Some(make) = &mut node.make_hooks {
            node.hooks = make();
        }
        node.started = now;
        node.starts += 1;
        node.stopped = false;
        self.input(id, Input::WallClock(1_700_000_000 + now.as_secs()));
        self.input(id, Input::Listening { listener: ListenerId(1), local: id.address() });
    }
}
