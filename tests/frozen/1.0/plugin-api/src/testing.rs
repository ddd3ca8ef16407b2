//! A host for a plugin's own tests: hooks are called through the real glue, what the plugin asks for is recorded.
//!
//! ```
//! use reef_plugin_api::testing::{Action, FakeHost};
//! # use reef_plugin_api::{hooks, Host, PluginError, SessionCx, SessionPlugin, Settings, Alert, Flow, HookResult};
//! # struct Hello;
//! # #[hooks]
//! # impl SessionPlugin for Hello {
//! #     const NAME: &'static str = "hello";
//! #     fn create(_: Host, _: &Settings) -> Result<Self, PluginError> { Ok(Hello) }
//! #     fn on_tick(&mut self, cx: &mut SessionCx<'_>) -> HookResult {
//! #         cx.post_alert(&Alert::new(10_001, 1, "hello", "ticked"))?;
//! #         Ok(Flow::Pass)
//! #     }
//! # }
//! let host = FakeHost::new();
//! let mut session = host.start::<Hello>("").unwrap();
//! session.on_tick(&host.session_call());
//! assert!(matches!(&host.actions()[..], [Action::Alert { kind: 10_001, .. }]));
//! ```

mod calls;

use crate::buffer::Buffer;
use crate::control::{Choking, Files};
use crate::endpoint::{BlockSender, PeerKey, PeerRequest, Sender, TorrentId};
use crate::glue;
use crate::handle::Host;
use crate::info::{PeerInfo, TorrentInfo};
use crate::new_torrent::NewTorrent;
use crate::query::{Answer, Query};
use crate::result::HostError;
use crate::session::{SessionObj, SessionPlugin};
use crate::setting::SettingValue;
use crate::status::Statistic;
use crate::table::Call;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a plugin asked its host to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)] // The fields are the arguments of the calls.
pub enum Action {
    SendExtended {
        torrent: TorrentId,
        peer: PeerKey,
        name: String,
        payload: Vec<u8>,
    },
    Disconnect {
        torrent: TorrentId,
        peer: PeerKey,
        reason: String,
    },
    Ban {
        torrent: TorrentId,
        sender: Sender,
        reason: String,
    },
    AddPeer {
        torrent: TorrentId,
        addr: SocketAddr,
        source: u32,
        pex_flags: u8,
    },
    GiveMetadata {
        torrent: TorrentId,
        info: Vec<u8>,
    },
    WatchPiece {
        torrent: TorrentId,
        piece: u32,
    },
    Alert {
        kind: u32,
        category: u32,
        torrent: Option<TorrentId>,
        what: String,
        message: String,
        data: Vec<u8>,
    },
    SendMessage {
        torrent: TorrentId,
        peer: PeerKey,
        id: u8,
        payload: Vec<u8>,
    },
    SetChoking {
        torrent: TorrentId,
        peer: PeerKey,
        choking: Choking,
    },
    Connect {
        torrent: TorrentId,
        addr: SocketAddr,
    },
    AddTorrent(NewTorrent),
    RemoveTorrent {
        torrent: TorrentId,
        files: Files,
    },
    PauseTorrent(TorrentId),
    ResumeTorrent(TorrentId),
    RecheckTorrent(TorrentId),
    AnnounceTorrent(TorrentId),
    SetFilePriorities {
        torrent: TorrentId,
        priorities: Vec<(u32, u8)>,
    },
    SetPiecePriorities {
        torrent: TorrentId,
        priorities: Vec<(u32, u8)>,
    },
    /// The test answers it by `on_read_done`.
    Read {
        torrent: TorrentId,
        request: PeerRequest,
        token: u64,
    },
    GiveBlock {
        torrent: TorrentId,
        from: Option<PeerKey>,
        block: PeerRequest,
        data: Vec<u8>,
    },
    SetSettings(Vec<(String, SettingValue)>),
    /// After so many microseconds; see [`FakeHost::due_timers`].
    SetTimer {
        token: u64,
        after: u64,
    },
    CancelTimer {
        token: u64,
    },
    /// A thread or a `Drop` panicked.
    ReportPanic {
        text: String,
    },
}

/// A host that answers from what a test put in and records what the plugin asks for. Clones are the same host.
#[derive(Clone, Default)]
pub struct FakeHost {
    state: Arc<Mutex<State>>,
}

impl FakeHost {
    /// A host with no torrents, its time at 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts an instance of a plugin, with these settings as TOML.
    pub fn start<S: SessionPlugin>(&self, settings: &str) -> Result<SessionObj, String> {
        let level = log::max_level().max(log::LevelFilter::Debug) as u32;
        let created = glue::create::<S>(self.handle().into_raw(), settings.into(), level);
        created.into_result().map_err(String::from)
    }

    /// The handle that a plugin gets.
    pub fn handle(&self) -> Host {
        Host::from_shared(Arc::new(self.clone()))
    }

    /// What to pass to a session's hook.
    pub fn session_call(&self) -> Call<'_> {
        Call::session(self)
    }

    /// What to pass to a torrent's hook.
    pub fn torrent_call(&self, torrent: TorrentId) -> Call<'_> {
        Call::torrent(self, torrent)
    }

    /// What to pass to a peer's hook.
    pub fn peer_call(&self, torrent: TorrentId, peer: PeerKey) -> Call<'_> {
        Call::peer(self, torrent, peer)
    }

    /// The time in microseconds.
    pub fn set_now(&self, now: u64) {
        self.state().now = now;
    }

    /// Lets `micros` microseconds pass.
    pub fn advance(&self, micros: u64) {
        let mut state = self.state();
        state.now = state.now.saturating_add(micros);
    }

    /// Takes the handle back: every call of the plugin answers [`HostError::Gone`].
    pub fn revoke(&self) {
        self.state().gone = true;
    }

    /// Adds a torrent, or says something else of it.
    pub fn set_torrent(&self, torrent: TorrentId, info: TorrentInfo) {
        self.state().torrents.entry(torrent).or_default().info = info;
    }

    /// The torrent's info dictionary.
    pub fn set_metadata(&self, torrent: TorrentId, info: impl Into<Vec<u8>>) {
        let mut state = self.state();
        let torrent = state.torrents.entry(torrent).or_default();
        torrent.info.has_metadata = true;
        torrent.metadata = Some(Buffer::from(info.into()));
    }

    /// Adds a peer, or says something else of it.
    pub fn set_peer(&self, torrent: TorrentId, peer: PeerKey, info: PeerInfo) {
        self.state().torrents.entry(torrent).or_default().peers.entry(peer).or_default().info = info;
    }

    /// Removes a peer.
    pub fn remove_peer(&self, torrent: TorrentId, peer: PeerKey) {
        self.state().torrents.entry(torrent).or_default().peers.remove(&peer);
    }

    /// The peer's extension handshake names this message.
    pub fn set_supports(&self, torrent: TorrentId, peer: PeerKey, name: &str) {
        let mut state = self.state();
        let peers = &mut state.torrents.entry(torrent).or_default().peers;
        peers.entry(peer).or_default().supports.insert(name.to_owned());
    }

    /// This piece is verified.
    pub fn set_piece(&self, torrent: TorrentId, piece: u32) {
        self.state().torrents.entry(torrent).or_default().have.insert(piece);
    }

    /// A block that `read_block` finds and who sent it; the hooks of the piece are the test's to call.
    pub fn set_block(&self, torrent: TorrentId, piece: u32, sender: BlockSender, data: impl Into<Vec<u8>>) {
        let mut state = self.state();
        let blocks = &mut state.torrents.entry(torrent).or_default().blocks;
        blocks.insert((piece, sender.block), (sender.sender, Buffer::from(data.into())));
    }

    /// What a read of this piece finds.
    pub fn set_bytes(&self, torrent: TorrentId, piece: u32, bytes: impl Into<Vec<u8>>) {
        let bytes = Buffer::from(bytes.into());
        self.state().torrents.entry(torrent).or_default().bytes.insert(piece, bytes);
    }

    /// What the session answers to a question about everything of something. Without it, torrents, pieces and the plugin's own statistics are
    /// known from what else the test said, and of the rest there is nothing.
    pub fn set_answer(&self, query: Query, answer: Answer) {
        let mut state = self.state();
        state.answers.retain(|(other, _)| *other != query);
        state.answers.push((query, answer));
    }

    /// A setting of the session, which the plugin may then read and set.
    pub fn set_setting(&self, name: &str, value: impl Into<SettingValue>) {
        self.state().settings.insert(name.to_owned(), value.into());
    }

    /// The folder for data of plugins. It must exist; without it there is none.
    pub fn set_data_dir(&self, folder: &str) {
        self.state().data_dir = Some(folder.to_owned());
    }

    /// The tokens of the timers that have run out by now, in order, each once: for `on_timer`.
    pub fn due_timers(&self) -> Vec<u64> {
        let mut state = self.state();
        let now = state.now;
        let mut due: Vec<(u64, u64)> =
            state.timers.iter().filter(|(_, at)| **at <= now).map(|(token, at)| (*at, *token)).collect();
        due.sort_unstable();
        for (_, token) in &due {
            state.timers.remove(token);
        }
        due.into_iter().map(|(_, token)| token).collect()
    }

    /// The counters and gauges that the plugin registered.
    pub fn statistics(&self) -> Vec<Statistic> {
        self.state().statistics.clone()
    }

    /// What the plugin asked for since this was last called.
    pub fn actions(&self) -> Vec<Action> {
        std::mem::take(&mut self.state().actions)
    }

    /// What the plugin logged since this was last called, as `LEVEL text`.
    pub fn log_lines(&self) -> Vec<String> {
        std::mem::take(&mut self.state().log)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, action: Action) -> Result<(), HostError> {
        self.state().actions.push(action);
        Ok(())
    }

    fn of_torrent<T>(&self, torrent: TorrentId, read: impl FnOnce(&FakeTorrent) -> Option<T>) -> Result<T, HostError> {
        self.state().torrents.get(&torrent).and_then(read).ok_or(HostError::NotFound)
    }

    fn of_peer<T>(&self, torrent: TorrentId, peer: PeerKey, read: impl FnOnce(&FakePeer) -> T) -> Result<T, HostError> {
        self.of_torrent(torrent, |torrent| torrent.peers.get(&peer).map(read))
    }
}

#[derive(Default)]
struct State {
    now: u64,
    random: u64,
    gone: bool,
    torrents: BTreeMap<TorrentId, FakeTorrent>,
    actions: Vec<Action>,
    log: Vec<String>,
    answers: Vec<(Query, Answer)>,
    settings: BTreeMap<String, SettingValue>,
    data_dir: Option<String>,
    /// When each runs out.
    timers: BTreeMap<u64, u64>,
    statistics: Vec<Statistic>,
}

#[derive(Default)]
struct FakeTorrent {
    info: TorrentInfo,
    metadata: Option<Buffer>,
    peers: BTreeMap<PeerKey, FakePeer>,
    have: BTreeSet<u32>,
    blocks: BTreeMap<(u32, u32), (Sender, Buffer)>,
    bytes: BTreeMap<u32, Buffer>,
}

#[derive(Default)]
struct FakePeer {
    info: PeerInfo,
    supports: BTreeSet<String>,
}
