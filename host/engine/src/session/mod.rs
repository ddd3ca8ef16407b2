//! The session: the one owner of all state, and the dispatcher of everything that happens.
//!
//! Each file beside this one is one concern of the dispatcher. Torrents and peers are plain data that it passes on; they
//! never point back here. Hooks are only called from [`dispatch`].

mod choking;
mod commands;
mod connections;
mod control;
mod dialing;
mod disk;
mod dispatch;
mod downloads;
mod extensions;
mod gate;
mod invariant;
mod limits;
mod messages;
mod metadata;
mod pieces;
mod reading;
mod saving;
mod sleeping;
mod stopping;
mod table;
mod ticks;
mod timers;
mod torrents;
mod trackers;
mod uploads;
mod view;

pub use sleeping::Unloading;

use crate::alert::{Alert, Category};
use crate::counters::Counters;
use crate::hooks::{Action, Hooks};
use crate::id_map::IdMap;
use crate::ids::{ConnId, ListenerId, TorrentId};
use crate::input::Input;
use crate::output::Output;
use crate::peer::Peer;
use crate::settings::Settings;
use crate::time::Time;
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use reef_proto::layout::BLOCK_SIZE;
use reef_proto::peer_id::PeerId;
use saving::Unsaved;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes of a `piece` message with a block of the usual size.
const BLOCK_MESSAGE: usize = 13 + BLOCK_SIZE as usize;

/// How often the session looks after everything that has no event of its own.
const TICK: Duration = Duration::from_secs(1);

/// The connections. Each has a place of its own in memory, so that one more moves no others.
type Peers = IdMap<ConnId, Box<Peer>>;

/// How often in one turn actions may lead to messages and messages to actions.
const ROUNDS_A_TURN: usize = 4;

/// What a session starts from.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Settings.
    pub settings: Settings,
    /// Every random choice follows from this: from the operating system, or given by a test.
    pub seed: [u8; 32],
    /// The first key for a new torrent: one more than the largest in the store.
    pub first_torrent_id: TorrentId,
    /// Whether idle torrents leave memory.
    pub unloading: Unloading,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            seed: [0; 32],
            first_torrent_id: TorrentId(1),
            unloading: Unloading::default(),
        }
    }
}

/// A BitTorrent session. See the crate's documentation for how to drive it.
pub struct Session {
    settings: Settings,
    rng: ChaCha12Rng,
    /// Random numbers for plugins, which only borrow the session.
    plugin_random: Cell<u64>,
    now: Time,
    /// The time of day at some moment of the session.
    wall: (Time, u64),
    peer_id: PeerId,
    torrents: table::Table,
    /// Torrents of which the store may not know everything.
    unsaved: BTreeMap<TorrentId, Unsaved>,
    /// When to put the files of complete torrents on stable storage; the earliest first.
    syncs_due: VecDeque<(Time, TorrentId)>,
    unloading: Unloading,
    sleeping: sleeping::State,
    by_hash: BTreeMap<[u8; 20], TorrentId>,
    peers: Peers,
    extensions: extensions::Extensions,
    listening: BTreeMap<ListenerId, SocketAddr>,
    counters: Counters,
    outputs: VecDeque<Output>,
    /// Peers that have messages to send at the end of the turn.
    unflushed: Vec<ConnId>,
    /// What plugins want done, in order.
    actions: VecDeque<Action>,
    refresh: dispatch::Refresh,
    alert_mask: u32,
    next_conn: u64,
    next_torrent: u64,
    next_request: u64,
    next_tick: Time,
    choking: choking::State,
    dialing: dialing::State,
    limits: limits::Limits,
    trackers: trackers::Trackers,
    timers: timers::Timers,
    stopping: Option<stopping::Stopping>,
    /// Bytes of unfinished pieces in memory.
    held_bytes: u64,
    /// So much waits for the disk that nothing more is read from peers.
    congested: bool,
    /// When peers are told of pieces that were verified, if there are any.
    haves_due: Option<Time>,
    /// The torrents of these pieces.
    haves_of: BTreeSet<TorrentId>,
}

impl Session {
    /// A session without torrents or sockets.
    #[must_use]
    pub fn new(config: SessionConfig) -> Self {
        let mut rng = ChaCha12Rng::from_seed(config.seed);
        let mut tail = [0; 12];
        rng.fill_bytes(&mut tail);
        let plugin_random = Cell::new(rng.next_u64());
        let limits = limits::Limits::new(&config.settings);
        Self {
            settings: config.settings,
            plugin_random,
            rng,
            now: Time::ZERO,
            wall: (Time::ZERO, 0),
            peer_id: PeerId::generate(tail),
            torrents: table::Table::default(),
            unsaved: BTreeMap::new(),
            syncs_due: VecDeque::new(),
            unloading: config.unloading,
            sleeping: sleeping::State::default(),
            by_hash: BTreeMap::new(),
            peers: Peers::default(),
            extensions: extensions::Extensions::default(),
            listening: BTreeMap::new(),
            counters: Counters::default(),
            outputs: VecDeque::new(),
            unflushed: Vec::new(),
            actions: VecDeque::new(),
            refresh: dispatch::Refresh::default(),
            alert_mask: Category::ALL.0,
            next_conn: 1,
            next_torrent: config.first_torrent_id.0,
            next_request: 1,
            next_tick: Time::ZERO + TICK,
            choking: choking::State::default(),
            dialing: dialing::State::default(),
            limits,
            trackers: trackers::Trackers::default(),
            timers: timers::Timers::default(),
            stopping: None,
            held_bytes: 0,
            congested: false,
            haves_due: None,
            haves_of: BTreeSet::new(),
        }
    }

    /// A fresh key for a connection that was accepted.
    pub fn next_conn_id(&mut self) -> ConnId {
        let id = ConnId(self.next_conn);
        self.next_conn += 1;
        id
    }

    /// Takes one thing that happened. `now` never goes back.
    pub fn handle(&mut self, now: Time, input: Input, hooks: &mut dyn Hooks) {
        self.now = self.now.max(now);
        match input {
            Input::Received { conn, data } => self.received(conn, data, hooks),
            Input::Sent { conn, bytes } => self.sent(conn, bytes, hooks),
            Input::Disk(done) => self.disk_done(done, hooks),
            Input::Accepted { conn, listener, remote } => self.accepted(conn, listener, remote),
            Input::Connected { conn } => self.connected(conn, hooks),
            Input::Closed { conn, cause } => self.closed(conn, &cause, hooks),
            Input::Datagram { from, data } => self.datagram(from, &data, hooks),
            Input::Http { id, result } => self.http_done(id, result, hooks),
            Input::Loaded { torrent, metainfo, have } => self.loaded(torrent, metainfo.as_ref(), have.as_ref(), hooks),
            Input::Resolved { id, result } => self.resolved(id, result),
            Input::Command { token, command } => self.command(token, command, hooks),
            Input::Actions(actions) => self.actions.extend(actions),
            Input::Listening { listener, local } => self.listening(listener, local, hooks),
            Input::ListenFailed { address, message } => self.alert(Alert::ListenFailed { address, message }, hooks),
            Input::WallClock(seconds) => self.wall = (self.now, seconds),
            Input::Timeout => {}
        }
        self.run_timers(hooks);
        // What plugins want done when they see a message go out is part of the turn too, within a limit.
        for _ in 0..ROUNDS_A_TURN {
            self.carry_out_actions(hooks);
            self.fill_free_slots();
            self.flush_peers(hooks);
            if self.actions.is_empty() && self.unflushed.is_empty() {
                break;
            }
        }
    }

    /// The next thing for the shell to do, in order; `None` when there is nothing more for now.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// How many bytes, at most `most`, to read next from a peer that sends blocks, so that none of them is cut: one that is has
    /// to be copied. It is advice; nothing is wrong with any other length.
    #[must_use]
    pub fn next_read(&self, conn: ConnId, most: usize) -> usize {
        let begun = self.peers.get(&conn).map_or(0, |peer| peer.decoder.missing());
        let whole = most.saturating_sub(begun) / BLOCK_MESSAGE * BLOCK_MESSAGE;
        if whole == 0 { most } else { begun + whole }
    }

    /// When to give [`Input::Timeout`] if nothing else happens before.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        let sooner = [self.limits.next_refill(), self.timers.next(), self.haves_due];
        Some(sooner.into_iter().flatten().fold(self.next_tick, Time::min))
    }

    /// The settings that hold.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How often a torrent was looked at so far. For tests: idle torrents must not be.
    #[doc(hidden)]
    #[must_use]
    pub fn torrent_looks(&self) -> u64 {
        self.torrents.looks()
    }

    /// Seconds since 1970.
    fn unix_time(&self) -> u64 {
        self.wall.1 + self.now.since(self.wall.0).as_secs()
    }

    fn random(&mut self) -> u64 {
        self.rng.next_u64()
    }

    fn request_id(&mut self) -> crate::RequestId {
        let id = crate::RequestId(self.next_request);
        self.next_request += 1;
        id
    }

    fn emit(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Sends the messages of this turn, one buffer a peer.
    fn flush_peers(&mut self, hooks: &mut dyn Hooks) {
        let mut conns = std::mem::take(&mut self.unflushed);
        for conn in conns.drain(..) {
            self.flush(conn, hooks);
        }
        if self.unflushed.is_empty() {
            self.unflushed = conns;
        }
    }

    fn flush(&mut self, conn: ConnId, hooks: &mut dyn Hooks) {
        let Some(peer) = self.peers.get(&conn) else { return };
        if !peer.gated.is_empty() {
            self.pass_gate(conn, hooks);
        }
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if peer.out.is_empty() {
            return;
        }
        let data = peer.out.split().freeze();
        peer.queued += data.len() as u64;
        if let Some(payload) = &mut peer.payload {
            payload.push(data.len() as u64, 0);
        }
        peer.last_sent = self.now;
        self.counters.sent_bytes += data.len() as i64;
        self.outputs.push_back(Output::Send { conn, data });
    }

    /// Queues a message for a peer.
    fn send(&mut self, conn: ConnId, message: &reef_proto::message::Message) {
        if let Some(peer) = self.peers.get_mut(&conn) {
            if peer.out.is_empty() && peer.gated.is_empty() {
                self.unflushed.push(conn);
            }
            if peer.hooks & gate::GATED == 0 && peer.gated.is_empty() {
                peer.send(message);
            } else {
                peer.gated.push(message.clone());
            }
        }
    }
}
