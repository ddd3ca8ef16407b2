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

use crate::alert::Alert;
use crate::buffer::Buffer;
use crate::calls::{HostCalls, LogLine};
use crate::endpoint::{BlockSender, PeerKey, Sender, TorrentId};
use crate::glue;
use crate::handle::Host;
use crate::info::{PeerInfo, TorrentInfo};
use crate::result::HostError;
use crate::session::{SessionObj, SessionPlugin};
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
}

#[derive(Default)]
struct FakeTorrent {
    info: TorrentInfo,
    metadata: Option<Buffer>,
    peers: BTreeMap<PeerKey, FakePeer>,
    have: BTreeSet<u32>,
    blocks: BTreeMap<(u32, u32), (Sender, Buffer)>,
}

#[derive(Default)]
struct FakePeer {
    info: PeerInfo,
    supports: BTreeSet<String>,
}

impl HostCalls for FakeHost {
    fn is_gone(&self) -> bool {
        self.state().gone
    }

    fn now(&self) -> u64 {
        self.state().now
    }

    fn random(&self) -> u64 {
        // splitmix64
        let mut state = self.state();
        state.random = state.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state.random ^ (state.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn log(&self, line: &LogLine<'_>) {
        self.state().log.push(format!("{} {}", line.level, line.message));
    }

    fn report_panic(&self, text: &str) {
        self.state().actions.push(Action::ReportPanic { text: text.to_owned() });
    }

    fn host(&self) -> Result<Host, HostError> {
        Ok(self.handle())
    }

    fn post_alert(&self, alert: &Alert<'_>) -> Result<(), HostError> {
        self.record(Action::Alert {
            kind: alert.kind(),
            category: alert.category(),
            torrent: alert.torrent(),
            what: alert.what().to_owned(),
            message: alert.message().to_owned(),
            data: alert.data().to_vec(),
        })
    }

    fn torrent_info(&self, torrent: TorrentId) -> Result<TorrentInfo, HostError> {
        self.of_torrent(torrent, |torrent| Some(torrent.info))
    }

    fn metadata(&self, torrent: TorrentId) -> Result<Buffer, HostError> {
        self.of_torrent(torrent, |torrent| torrent.metadata.clone())
    }

    fn peers(&self, torrent: TorrentId) -> Result<Vec<PeerKey>, HostError> {
        self.of_torrent(torrent, |torrent| Some(torrent.peers.keys().copied().collect()))
    }

    fn has_piece(&self, torrent: TorrentId, piece: u32) -> Result<bool, HostError> {
        self.of_torrent(torrent, |torrent| Some(torrent.have.contains(&piece)))
    }

    fn block_senders(&self, torrent: TorrentId, piece: u32) -> Result<Vec<BlockSender>, HostError> {
        self.of_torrent(torrent, |torrent| {
            let blocks = torrent.blocks.range((piece, 0)..=(piece, u32::MAX));
            Some(blocks.map(|((_, block), (sender, _))| BlockSender { block: *block, sender: *sender }).collect())
        })
    }

    fn read_block(&self, torrent: TorrentId, piece: u32, block: u32) -> Result<Buffer, HostError> {
        self.of_torrent(torrent, |torrent| torrent.blocks.get(&(piece, block)).map(|(_, data)| data.clone()))
    }

    fn watch_piece(&self, torrent: TorrentId, piece: u32) -> Result<(), HostError> {
        self.record(Action::WatchPiece { torrent, piece })
    }

    fn give_metadata(&self, torrent: TorrentId, info: &[u8]) -> Result<(), HostError> {
        self.record(Action::GiveMetadata { torrent, info: info.to_vec() })
    }

    fn add_peer(&self, torrent: TorrentId, addr: SocketAddr, source: u32, pex_flags: u8) -> Result<(), HostError> {
        self.record(Action::AddPeer { torrent, addr, source, pex_flags })
    }

    fn ban(&self, torrent: TorrentId, sender: &Sender, reason: &str) -> Result<(), HostError> {
        self.record(Action::Ban { torrent, sender: *sender, reason: reason.to_owned() })
    }

    fn peer_info(&self, torrent: TorrentId, peer: PeerKey) -> Result<PeerInfo, HostError> {
        self.of_peer(torrent, peer, |peer| peer.info)
    }

    fn peer_supports(&self, torrent: TorrentId, peer: PeerKey, name: &str) -> Result<bool, HostError> {
        self.of_peer(torrent, peer, |peer| peer.supports.contains(name))
    }

    fn send_extended(&self, torrent: TorrentId, peer: PeerKey, name: &str, payload: &[u8]) -> Result<(), HostError> {
        self.record(Action::SendExtended { torrent, peer, name: name.to_owned(), payload: payload.to_vec() })
    }

    fn disconnect(&self, torrent: TorrentId, peer: PeerKey, reason: &str) -> Result<(), HostError> {
        self.record(Action::Disconnect { torrent, peer, reason: reason.to_owned() })
    }
}
