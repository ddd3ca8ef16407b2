//! The world: it owns every node and runs what happens in the order of time.
//!
//! This file makes and reads worlds. Beside it: the order of things ([`turns`]), what sessions want done ([`outputs`]),
//! nodes that stop and start again ([`lives`]), and peers that are no sessions ([`scripts`]).

mod lives;
mod outputs;
mod scripts;
mod turns;

use crate::content::Torrent;
use crate::disk::Disk;
use crate::faults::Faults;
use crate::network::{Line, Network};
use crate::node::{MakeHooks, Node, NodeId, Tally};
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use reef_engine::status::TorrentStatus;
use reef_engine::{Action, AddTorrent, Alert, Command, Input, Reply, ReplyToken, Settings, Time, TorrentFlags};
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use std::time::Duration;

/// How many steps lie between two looks at a session's invariants.
const STEPS_A_LOOK: u64 = 64;

/// A world did not get where it should in the time it had.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("seed {seed}: not done after {seconds} simulated seconds: {state}")]
pub struct NotDone {
    /// The world's seed: with it the run can be repeated.
    pub seed: u64,
    /// How long it was given.
    pub seconds: u64,
    /// What was reached, a node a line.
    pub state: String,
}

/// Nodes, the network between them, and what is going to happen.
pub struct World {
    seed: u64,
    rng: ChaCha12Rng,
    now: Time,
    nodes: BTreeMap<NodeId, Node>,
    network: Network,
    events: BTreeMap<(Time, u64), turns::Event>,
    next_event: u64,
    next_token: u64,
    trace: Sha1,
    steps: u64,
    /// Bytes of each piece's blocks that were sent to each node.
    fetched: BTreeMap<(NodeId, u32), u64>,
}

impl World {
    /// An empty world, in which everything follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            rng: ChaCha12Rng::seed_from_u64(seed),
            now: Time::ZERO,
            nodes: BTreeMap::new(),
            network: Network::default(),
            events: BTreeMap::new(),
            next_event: 0,
            next_token: 1,
            trace: Sha1::new(),
            steps: 0,
            fetched: BTreeMap::new(),
        }
    }

    /// The time in this world.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// How many things have happened.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// A digest of everything that has happened so far. The same seed gives the same digest.
    #[must_use]
    pub fn trace(&self) -> String {
        self.trace.clone().finalize().iter().map(|b| format!("{b:02x}")).collect()
    }

    /// A new node without plugins.
    pub fn add_node(&mut self) -> NodeId {
        self.add_node_with(Settings::default(), None)
    }

    /// A new node with settings of its own and, if given, hooks; they are made anew each time it starts.
    pub fn add_node_with(&mut self, settings: Settings, hooks: Option<MakeHooks>) -> NodeId {
        let id = self.insert(Node::new(settings, hooks, None));
        self.start(id);
        id
    }

    fn insert(&mut self, node: Node) -> NodeId {
        let id = NodeId(self.nodes.len() as u32 + 1);
        self.nodes.insert(id, node);
        id
    }

    /// Sets what goes wrong at a node.
    pub fn set_faults(&mut self, id: NodeId, faults: Faults) {
        self.node(id).faults = faults;
    }

    /// Sets a node's line: bytes a second up and down, and its distance in milliseconds.
    pub fn set_line(&mut self, id: NodeId, up: u64, down: u64, latency_ms: u64) {
        self.node(id).line = Line { up, down, latency: Duration::from_millis(latency_ms) };
    }

    /// A node's disk.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn disk(&self, id: NodeId) -> &Disk {
        &self.nodes.get(&id).expect("a node of this world").disk
    }

    /// A node's disk, to change.
    pub fn disk_mut(&mut self, id: NodeId) -> &mut Disk {
        &mut self.node(id).disk
    }

    /// The alerts that a node's session has posted so far.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn alerts(&self, id: NodeId) -> &[Alert] {
        &self.nodes.get(&id).expect("a node of this world").alerts
    }

    /// Puts a torrent's files on a node's disk and adds the torrent.
    pub fn seed(&mut self, id: NodeId, torrent: &Torrent) {
        self.disk_mut(id).put(torrent);
        self.leech(id, torrent, &[]);
    }

    /// Adds a torrent to a node that begins to download it from these nodes.
    pub fn leech(&mut self, id: NodeId, torrent: &Torrent, from: &[NodeId]) {
        let params = AddTorrent { metainfo: Some(torrent.meta.clone()), ..Self::params(from) };
        self.command(id, Command::AddTorrent(Box::new(params)));
    }

    /// Adds a torrent to a node by its info-hash alone.
    pub fn magnet(&mut self, id: NodeId, torrent: &Torrent, from: &[NodeId]) {
        let params = AddTorrent { info_hashes: torrent.meta.info_hashes, ..Self::params(from) };
        self.command(id, Command::AddTorrent(Box::new(params)));
    }

    fn params(from: &[NodeId]) -> AddTorrent {
        let flags = TorrentFlags::DEFAULT.without(TorrentFlags::PAUSED).without(TorrentFlags::AUTO_MANAGED);
        AddTorrent { flags, peers: from.iter().map(|n| n.address()).collect(), ..AddTorrent::default() }
    }

    /// Gives a command to a node's session and returns the reply if it comes at once.
    pub fn command(&mut self, id: NodeId, command: Command) -> Option<Reply> {
        let token = ReplyToken(self.next_token);
        self.next_token += 1;
        self.input(id, Input::Command { token, command });
        self.node(id).replies.remove(&token)
    }

    /// Has a node's session do what plugins could ask for from threads of their own.
    pub fn act(&mut self, id: NodeId, actions: Vec<Action>) {
        self.input(id, Input::Actions(actions));
    }

    /// A node's torrents as they are now; empty while it is down.
    pub fn torrents(&mut self, id: NodeId) -> Vec<TorrentStatus> {
        match self.command(id, Command::AllTorrents) {
            Some(Reply::Torrents(list)) => list,
            _ => Vec::new(),
        }
    }

    /// Whether a node has torrents and all are complete, with their files in order.
    pub fn is_complete(&mut self, id: NodeId) -> bool {
        let torrents = self.torrents(id);
        !torrents.is_empty() && torrents.iter().all(|t| t.complete)
    }

    /// What a node's sessions did so far.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn tally(&self, id: NodeId) -> Tally {
        self.nodes.get(&id).expect("a node of this world").tally
    }

    /// Bytes of a piece's blocks that were sent to a node so far, whether or not they arrived.
    #[must_use]
    pub fn fetched(&self, id: NodeId, piece: u32) -> u64 {
        self.fetched.get(&(id, piece)).copied().unwrap_or(0)
    }

    /// Runs until `done` is true.
    ///
    /// # Errors
    /// It is not true after `seconds` simulated seconds, or nothing can happen any more.
    pub fn run_until(&mut self, seconds: u64, mut done: impl FnMut(&mut Self) -> bool) -> Result<(), NotDone> {
        let end = self.now + Duration::from_secs(seconds);
        let mut next_look = self.now;
        loop {
            if self.now >= next_look {
                next_look = self.now + Duration::from_millis(100);
                if done(self) {
                    return Ok(());
                }
            }
            let Some(entry) = self.events.first_entry().filter(|e| e.key().0 <= end) else { break };
            let ((time, _), event) = entry.remove_entry();
            self.now = time;
            self.happen(event);
        }
        if done(self) {
            return Ok(());
        }
        Err(NotDone { seed: self.seed, seconds, state: self.describe() })
    }

    /// Runs for so many simulated milliseconds.
    pub fn run_for(&mut self, milliseconds: u64) {
        let end = self.now + Duration::from_millis(milliseconds);
        while let Some(entry) = self.events.first_entry().filter(|e| e.key().0 <= end) {
            let ((time, _), event) = entry.remove_entry();
            self.now = time;
            self.happen(event);
        }
        self.now = end;
    }

    fn describe(&mut self) -> String {
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        let mut text = String::new();
        for id in ids {
            for t in self.torrents(id) {
                let error = t.error.map(|e| format!(", {e}")).unwrap_or_default();
                let line = format!(
                    "\n  node {}: {} {}/{} pieces, {} peers{error}",
                    id.0,
                    t.state.name(),
                    t.have_pieces,
                    t.num_pieces,
                    t.num_peers
                );
                text.push_str(&line);
            }
        }
        text
    }

    fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("a node of this world")
    }
}
