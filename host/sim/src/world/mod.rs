//! The world: it owns every node and runs what happens in the order of time.

use crate::content::Torrent;
use crate::disk::Disk;
use crate::faults::Faults;
use crate::network::{End, Line, Network};
use crate::node::{MakeHooks, Node, NodeId};
use bytes::Bytes;
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use reef_engine::disk::{DiskDone, DiskOp};
use reef_engine::status::TorrentStatus;
use reef_engine::{
    AddTorrent, Alert, CloseCause, Command, ConnId, Input, ListenerId, NoHooks, Output, Reply, ReplyToken, Session,
    SessionConfig, Settings, Time, TorrentFlags, TorrentId,
};
use reef_proto::message::piece_header;
use reef_proto::metainfo::Metainfo;
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a disk takes for a job.
const DISK: Duration = Duration::from_millis(2);
/// How often a store commits.
const COMMIT: Duration = Duration::from_secs(2);

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

enum Event {
    Dial { from: End, to: NodeId },
    Connected(End),
    Deliver { to: End, data: Bytes },
    Sent { at: End, bytes: u64 },
    Closed { at: End, cause: CloseCause },
    Disk { node: NodeId, started: Time, done: DiskDone },
    Timeout(NodeId),
    Commit(NodeId),
}

/// Nodes, the network between them, and what is going to happen.
pub struct World {
    seed: u64,
    rng: ChaCha12Rng,
    now: Time,
    nodes: BTreeMap<NodeId, Node>,
    network: Network,
    events: BTreeMap<(Time, u64), Event>,
    next_event: u64,
    next_token: u64,
    trace: Sha1,
    steps: u64,
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
        let id = NodeId(self.nodes.len() as u32 + 1);
        let node = Node {
            session: None,
            hooks: Box::new(NoHooks),
            make_hooks: hooks,
            disk: Disk::default(),
            line: Line::default(),
            faults: Faults::default(),
            started: Time::ZERO,
            starts: 0,
            allowance: BTreeMap::new(),
            unread: BTreeMap::new(),
            replies: BTreeMap::new(),
            alerts: Vec::new(),
            next_commit: Time::ZERO,
            wake: None,
            stopped: false,
        };
        self.nodes.insert(id, node);
        self.start_with(id, settings);
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

    /// A node's torrents as they are now; empty while it is down.
    pub fn torrents(&mut self, id: NodeId) -> Vec<TorrentStatus> {
        match self.command(id, Command::AllTorrents) {
            Some(Reply::Torrents(list)) => list,
            _ => Vec::new(),
        }
    }

    /// Whether a node has torrents and all are complete and on stable storage.
    pub fn is_complete(&mut self, id: NodeId) -> bool {
        let torrents = self.torrents(id);
        !torrents.is_empty() && torrents.iter().all(|t| t.complete)
    }

    /// The machine of a node stops at this moment: what was not synced is lost.
    pub fn crash(&mut self, id: NodeId) {
        self.take_down(id);
        self.node(id).disk.crash();
    }

    /// The process of a node is killed: what was written stays, what it only remembered is gone.
    pub fn kill(&mut self, id: NodeId) {
        self.take_down(id);
        let node = self.node(id);
        node.disk.close_abruptly();
    }

    fn take_down(&mut self, id: NodeId) {
        for conn in self.network.of(id) {
            self.break_connection(id, conn, CloseCause::Reset);
        }
        let node = self.node(id);
        node.session = None;
        node.hooks = Box::new(NoHooks);
        node.allowance.clear();
        node.unread.clear();
        node.wake = None;
    }

    /// Starts a node that is down, with the torrents of its store. `from` are peers to try.
    pub fn restart(&mut self, id: NodeId, from: &[NodeId]) {
        self.start_with(id, Settings::default());
        let stored: Vec<_> = self.disk(id).stored().iter().map(|(t, r)| (*t, r.clone())).collect();
        for (torrent, record) in stored {
            let params = AddTorrent {
                metainfo: record.metainfo.as_deref().and_then(|m| Metainfo::parse(m).ok()).map(Arc::new),
                info_hashes: record.hashes,
                stored_id: Some(torrent),
                resume: None,
                resume_have: None,
                ..Self::params(from)
            };
            self.command(id, Command::AddTorrent(Box::new(params)));
        }
    }

    fn start_with(&mut self, id: NodeId, settings: Settings) {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let now = self.now;
        let node = self.node(id);
        let first = node.disk.stored().keys().last().map_or(1, |t| t.0 + 1);
        node.session = Some(Session::new(SessionConfig { settings, seed, first_torrent_id: TorrentId(first) }));
        if let Some(make) = &mut node.make_hooks {
            node.hooks = make();
        }
        node.started = now;
        node.starts += 1;
        node.stopped = false;
        self.input(id, Input::WallClock(1_700_000_000 + now.as_secs()));
        self.input(id, Input::Listening { listener: ListenerId(1), local: id.address() });
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
            let Some(((time, _), event)) = self.events.pop_first() else { break };
            if time > end {
                break;
            }
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

    fn happen(&mut self, event: Event) {
        self.steps += 1;
        match event {
            Event::Dial { from, to } => self.dialled(from, to),
            Event::Connected(at) => self.at_end(at, Input::Connected { conn: at.conn }),
            Event::Deliver { to, data } => self.deliver(to, data),
            Event::Sent { at, bytes } => self.at_end(at, Input::Sent { conn: at.conn, bytes }),
            Event::Closed { at, cause } => self.input(at.node, Input::Closed { conn: at.conn, cause }),
            Event::Disk { node, started, done } => {
                if self.node(node).started == started {
                    self.input(node, Input::Disk(done));
                }
            }
            Event::Timeout(node) => {
                self.node(node).wake = None;
                self.input(node, Input::Timeout);
            }
            Event::Commit(node) => self.node(node).disk.commit(),
        }
    }

    fn dialled(&mut self, from: End, to: NodeId) {
        let refuse =
            self.nodes.get(&to).map_or(1000, |n| if n.session.is_some() { n.faults.refuse_dials } else { 1000 });
        if self.chance(refuse) {
            return self.later(Duration::from_millis(1), Event::Closed { at: from, cause: CloseCause::Refused });
        }
        let Some(session) = &mut self.node(to).session else { return };
        let end = End { node: to, conn: session.next_conn_id() };
        self.network.join(from, end);
        // Not the port it listens on: the system gives a dial a port of its own.
        let port = 30_000 + (from.conn.0 % 30_000) as u16;
        let remote = std::net::SocketAddr::new(from.node.address().ip(), port);
        self.input(to, Input::Accepted { conn: end.conn, listener: ListenerId(1), remote });
        let latency = self.node(to).line.latency + self.node(from.node).line.latency;
        self.later(latency, Event::Connected(from));
    }

    fn at_end(&mut self, at: End, input: Input) {
        if self.network.other(at.node, at.conn).is_some() {
            self.input(at.node, input);
        }
    }

    fn deliver(&mut self, to: End, data: Bytes) {
        if self.network.other(to.node, to.conn).is_none() {
            return;
        }
        let node = self.node(to.node);
        node.unread.entry(to.conn).or_default().push(data);
        self.read(to.node, to.conn);
    }

    /// Gives a session what has arrived, as far as it wants to read.
    fn read(&mut self, id: NodeId, conn: ConnId) {
        loop {
            let node = self.node(id);
            let Some(queue) = node.unread.get_mut(&conn).filter(|q| !q.is_empty()) else { return };
            let mut data = queue.remove(0);
            if let Some(left) = node.allowance.get_mut(&conn) {
                let n = (*left).min(data.len() as u64) as usize;
                if n < data.len() {
                    let rest = data.split_off(n);
                    queue.insert(0, rest);
                }
                *left -= n as u64;
                if n == 0 {
                    return;
                }
            }
            self.input(id, Input::Received { conn, data });
        }
    }

    /// Gives one input to a node's session and does what it wants done.
    fn input(&mut self, id: NodeId, input: Input) {
        let now = self.now;
        let node = self.node(id);
        let local = Time(now.0 - node.started.0);
        let Some(session) = &mut node.session else { return };
        session.handle(local, input, node.hooks.as_mut());
        loop {
            let node = self.node(id);
            let Some(output) = node.session.as_mut().and_then(Session::poll) else { break };
            self.record(id, &output);
            self.output(id, output);
        }
        self.schedule_wake(id);
    }

    fn schedule_wake(&mut self, id: NodeId) {
        let now = self.now;
        let node = self.node(id);
        let Some(local) = node.session.as_ref().and_then(Session::next_timeout) else { return };
        let at = Time(local.0 + node.started.0).max(now);
        if node.wake.is_none_or(|w| at < w) {
            node.wake = Some(at);
            self.at(at, Event::Timeout(id));
        }
    }

    fn output(&mut self, id: NodeId, output: Output) {
        match output {
            Output::Dial { conn, address } => self.dial(End { node: id, conn }, address),
            Output::Send { conn, data } => self.transmit(id, conn, data),
            Output::SendBlock { conn, torrent, request } => self.send_block(id, conn, (torrent, request)),
            Output::ReadAllowance { conn, bytes } => {
                match bytes {
                    Some(n) => self.node(id).allowance.insert(conn, n),
                    None => self.node(id).allowance.remove(&conn),
                };
                let now = self.now;
                // Read in a turn of its own: the session is not to be called from within its outputs.
                self.at(now, Event::Deliver { to: End { node: id, conn }, data: Bytes::new() });
            }
            Output::Close { conn, .. } => self.close(id, conn),
            Output::Disk(job) => {
                let started = self.node(id).started;
                if let Some(done) = self.node(id).disk.carry_out(job.torrent, job.op) {
                    self.later(DISK, Event::Disk { node: id, started, done });
                }
            }
            Output::Reply { token, reply } => {
                self.node(id).replies.insert(token, reply);
            }
            Output::Alert(alert) => self.node(id).alerts.push(alert),
            Output::Store(op) => self.store(id, op),
            Output::Stopped => {
                let node = self.node(id);
                node.stopped = true;
                node.disk.commit();
            }
            // There are no trackers and no names in this network.
            Output::Datagram { .. } | Output::CancelHttp(_) => {}
            Output::Http(request) => {
                let input = Input::Http { id: request.id, result: Err("no route to host".to_owned()) };
                self.input(id, input);
            }
            Output::Resolve { id: request, .. } => {
                self.input(id, Input::Resolved { id: request, result: Err("no such host".to_owned()) });
            }
        }
    }

    fn dial(&mut self, from: End, address: std::net::SocketAddr) {
        let latency = self.node(from.node).line.latency;
        match NodeId::at(address).filter(|n| self.nodes.contains_key(n)) {
            Some(to) => self.later(latency, Event::Dial { from, to }),
            None => self.later(latency, Event::Closed { at: from, cause: CloseCause::Refused }),
        }
    }

    fn send_block(
        &mut self,
        id: NodeId,
        conn: ConnId,
        (torrent, request): (TorrentId, reef_proto::message::BlockRequest),
    ) {
        let faults = self.node(id).faults;
        let block = match self.node(id).disk.block(torrent, &request) {
            Ok(block) => block,
            Err(error) => {
                self.break_connection(id, conn, CloseCause::Reset);
                let cause = CloseCause::Storage(error);
                return self.later(Duration::ZERO, Event::Closed { at: End { node: id, conn }, cause });
            }
        };
        let mut message = piece_header(request.piece, request.begin, request.length).to_vec();
        message.extend_from_slice(&block);
        if self.chance(faults.corrupt_blocks) {
            let at = 13 + self.rng.next_u32() as usize % block.len();
            message[at] ^= 0x55;
        }
        if self.chance(faults.withhold_blocks) {
            let at = End { node: id, conn };
            return self.later(Duration::from_millis(1), Event::Sent { at, bytes: message.len() as u64 });
        }
        self.transmit(id, conn, message.into());
    }

    fn transmit(&mut self, id: NodeId, conn: ConnId, data: Bytes) {
        let Some(other) = self.network.other(id, conn) else { return };
        let (line, faults) = (self.node(id).line, self.node(id).faults);
        if self.chance(faults.break_connections) {
            return self.break_connection(id, conn, CloseCause::Reset);
        }
        let to = self.node(other.node).line;
        let bytes = data.len() as u64;
        let (left, arrives) = self.network.send(self.now, (id, conn, line), (other.node, to), data.len());
        self.at(left, Event::Sent { at: End { node: id, conn }, bytes });
        self.at(arrives, Event::Deliver { to: other, data });
    }

    /// A session closes a connection: the other end hears of it behind everything that was sent.
    fn close(&mut self, id: NodeId, conn: ConnId) {
        let latency = self.node(id).line.latency;
        let when = self.network.after_last(self.now, id, conn, latency);
        let Some(other) = self.network.other(id, conn) else { return };
        self.node(id).allowance.remove(&conn);
        self.node(id).unread.remove(&conn);
        self.network.half_close(id, conn);
        self.at(when, Event::Closed { at: other, cause: CloseCause::Eof });
    }

    fn break_connection(&mut self, id: NodeId, conn: ConnId, cause: CloseCause) {
        let Some(other) = self.network.part(id, conn) else { return };
        for end in [End { node: id, conn }, other] {
            self.later(Duration::from_millis(1), Event::Closed { at: end, cause: cause.clone() });
        }
    }

    fn store(&mut self, id: NodeId, op: reef_engine::StoreOp) {
        let now = self.now;
        let node = self.node(id);
        node.disk.store(op);
        if node.next_commit <= now {
            node.next_commit = now + COMMIT;
            let at = node.next_commit;
            self.at(at, Event::Commit(id));
        }
    }

    /// Something with a chance of so many in a thousand happens.
    fn chance(&mut self, per_thousand: u32) -> bool {
        per_thousand > 0 && self.rng.next_u32() % 1000 < per_thousand
    }

    fn later(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    fn at(&mut self, time: Time, event: Event) {
        self.next_event += 1;
        self.events.insert((time, self.next_event), event);
    }

    fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("a node of this world")
    }

    /// Adds an output to the trace. Bytes count as they are: to print them would cost more than the simulation.
    fn record(&mut self, id: NodeId, output: &Output) {
        self.trace.update(id.0.to_be_bytes());
        self.trace.update(self.now.0.to_be_bytes());
        match output {
            Output::Send { conn, data } => {
                self.trace.update(conn.0.to_be_bytes());
                self.trace.update(data);
            }
            Output::Disk(job) => match &job.op {
                DiskOp::WritePiece { piece, data, .. } | DiskOp::WriteRun { piece, data, .. } => {
                    self.trace.update(piece.to_be_bytes());
                    data.iter().for_each(|d| self.trace.update(d));
                }
                op => self.trace.update(format!("{op:?}")),
            },
            output => self.trace.update(format!("{output:?}")),
        }
    }
}
