//! A plugin for tests that implements every hook. It must never be installed.
//!
//! Each call becomes an alert: the hook's name, and its arguments as text. If `at` in the settings is the hook's name, or its level and its
//! name (`peer.tick`), it answers what `do` says: `handled`, `detach`, `error`; or it panics for `panic`. `ids = "4 200"` swaps two message numbers, `priority` answers `get_unchoke_priority`,
//! `hash` (40 hexadecimal digits) is the torrent given for an unknown one. `ask = true` has each tick set a timer and each good piece read.

use reef_plugin_api::{
    Alert, Buffer, Flow, HandshakeEntries, HookResult, Host, HostError, NewTorrent, PeerCx, PeerKey, PeerObj,
    PeerPlugin, PeerRequest, PluginError, SessionCx, SessionPlugin, Settings, TorrentCx, TorrentId, TorrentObj,
    TorrentPlugin, TorrentState, export_plugin,
};
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What the settings ask for.
struct Orders {
    at: Option<String>,
    act: Option<String>,
    ids: Option<String>,
    priority: Option<u64>,
    hash: Option<String>,
    asks: bool,
}

impl Orders {
    fn new(settings: &Settings) -> Self {
        let text = |key: &str| {
            let value = settings.toml().lines().find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('='))?;
            Some(value.trim().trim_matches('"').to_owned())
        };
        let priority = text("priority").and_then(|number| number.parse().ok());
        Self {
            at: text("at"),
            act: text("do"),
            ids: text("ids"),
            priority,
            hash: text("hash"),
            asks: text("ask").is_some(),
        }
    }

    /// Records a call and answers as ordered.
    fn record(
        &self,
        (level, name): (&str, &str),
        arguments: &dyn Debug,
        post: impl FnOnce(&Alert<'_>) -> Result<(), HostError>,
    ) -> HookResult {
        // What is said while a session ends, or by a torrent that is gone, may find nobody.
        let _ = post(&Alert::new(Alert::USER_KIND, 1, name, &format!("{arguments:?}")));
        let is_meant = |at: &&str| *at == name || at.split_once('.') == Some((level, name));
        match self.act.as_deref().filter(|_| self.at.as_deref().is_some_and(|at| is_meant(&at))) {
            Some("panic") => panic!("ordered to panic"),
            Some("handled") => Ok(Flow::Handled),
            Some("detach") => Ok(Flow::Detach),
            Some("error") => Err(PluginError::new("ordered to fail")),
            _ => Ok(Flow::Pass),
        }
    }

    /// The torrent that is given for one that is not there.
    fn torrent(&self) -> Option<NewTorrent> {
        let digits = self.hash.as_deref()?;
        let mut hash = [0; 20];
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(NewTorrent::from_info_hash(hash, ""))
    }
}

struct Recorder(Arc<Orders>);
struct RecorderTorrent(Arc<Orders>);
struct RecorderPeer(Arc<Orders>);

/// Methods that record and answer.
macro_rules! recorded {
    ($cx:ident $level:literal: $($name:ident($($arg:ident: $ty:ty),*);)*) => { $(
        fn $name(&mut self, cx: &mut $cx<'_>, $($arg: $ty),*) -> HookResult {
            self.0.record(($level, stringify!($name)), &($(&$arg,)*), |alert| cx.post_alert(alert))
        }
    )* };
}

// Without `#[hooks]`, every hook is called.
impl SessionPlugin for Recorder {
    const NAME: &'static str = "recorder";

    fn create(_host: Host, settings: &Settings) -> Result<Self, PluginError> {
        Ok(Self(Arc::new(Orders::new(settings))))
    }
    fn new_torrent(&mut self, cx: &mut SessionCx<'_>, torrent: TorrentId) -> Result<Option<TorrentObj>, PluginError> {
        self.0.record(("session", "new_torrent"), &torrent, |alert| cx.post_alert(alert))?;
        Ok(Some(TorrentObj::new(RecorderTorrent(self.0.clone()))))
    }
    fn on_alert(&mut self, cx: &mut SessionCx<'_>, alert: &Alert<'_>) -> HookResult {
        // Its own would go round in a circle.
        if alert.kind() >= Alert::USER_KIND {
            return Ok(Flow::Pass);
        }
        self.0.record(("session", "on_alert"), &alert.what(), |alert| cx.post_alert(alert))
    }
    fn on_unknown_torrent(
        &mut self,
        cx: &mut SessionCx<'_>,
        info_hash: &[u8; 20],
        _: SocketAddr,
    ) -> Result<Option<NewTorrent>, PluginError> {
        self.0.record(("session", "on_unknown_torrent"), info_hash, |alert| cx.post_alert(alert))?;
        Ok(self.0.torrent())
    }
    fn get_unchoke_priority(
        &mut self,
        cx: &mut SessionCx<'_>,
        torrent: TorrentId,
        _: PeerKey,
    ) -> Result<Option<u64>, PluginError> {
        self.0.record(("session", "get_unchoke_priority"), &torrent, |alert| cx.post_alert(alert))?;
        Ok(self.0.priority)
    }
    fn on_dht_request(
        &mut self,
        cx: &mut SessionCx<'_>,
        query: &str,
        _: SocketAddr,
        _: &[u8],
    ) -> Result<Vec<u8>, PluginError> {
        self.0.record(("session", "on_dht_request"), &query, |alert| cx.post_alert(alert))?;
        Ok(Vec::new())
    }
    fn on_tick(&mut self, cx: &mut SessionCx<'_>) -> HookResult {
        if self.0.asks {
            cx.session().set_timer(7, Duration::ZERO)?;
        }
        self.0.record(("session", "on_tick"), &(), |alert| cx.post_alert(alert))
    }
    fn save_state(&mut self, cx: &mut SessionCx<'_>) -> Result<Vec<u8>, PluginError> {
        self.0.record(("session", "save_state"), &(), |alert| cx.post_alert(alert))?;
        Ok(b"session".to_vec())
    }
    recorded! { SessionCx "session":
        added();
        on_timer(token: u64);
        abort();
        load_state(state: &[u8]);
    }
}

impl TorrentPlugin for RecorderTorrent {
    fn new_connection(&mut self, cx: &mut TorrentCx<'_>, _: PeerKey) -> Result<Option<PeerObj>, PluginError> {
        self.0.record(("torrent", "new_connection"), &(), |alert| cx.post_alert(alert))?;
        Ok(Some(PeerObj::new(RecorderPeer(self.0.clone()))))
    }
    fn on_piece_pass(&mut self, cx: &mut TorrentCx<'_>, piece: u32) -> HookResult {
        if self.0.asks {
            cx.read(PeerRequest { piece, start: 0, length: 10 }, 7)?;
        }
        self.0.record(("torrent", "on_piece_pass"), &(piece,), |alert| cx.post_alert(alert))
    }
    fn save_state(&mut self, cx: &mut TorrentCx<'_>) -> Result<Vec<u8>, PluginError> {
        self.0.record(("torrent", "save_state"), &(), |alert| cx.post_alert(alert))?;
        Ok(b"torrent".to_vec())
    }
    recorded! { TorrentCx "torrent":
        on_piece_failed(piece: u32);
        tick();
        on_pause();
        on_resume();
        on_files_checked();
        on_state(state: TorrentState);
        on_add_peer(addr: SocketAddr, source: u32, flags: u32);
        on_metadata();
        on_read_done(token: u64, request: PeerRequest, data: Result<Buffer, String>);
        load_state(state: &[u8]);
    }
}

impl PeerPlugin for RecorderPeer {
    fn add_handshake(&mut self, cx: &mut PeerCx<'_>, entries: &mut HandshakeEntries) -> HookResult {
        entries.extension("x_recorder");
        self.0.record(("peer", "add_handshake"), &(), |alert| cx.post_alert(alert))
    }
    fn on_piece(&mut self, cx: &mut PeerCx<'_>, request: PeerRequest, data: &Buffer) -> HookResult {
        self.0.record(("peer", "on_piece"), &(request, data.len()), |alert| cx.post_alert(alert))
    }
    fn message_ids(&mut self, cx: &mut PeerCx<'_>) -> Result<Vec<u8>, PluginError> {
        self.0.record(("peer", "message_ids"), &(), |alert| cx.post_alert(alert))?;
        let Some(swapped) = &self.0.ids else { return Ok(Vec::new()) };
        let mut table: Vec<u8> = (0..=u8::MAX).collect();
        if let Some((a, b)) = swapped.split_once(' ') {
            let (a, b): (u8, u8) = (a.parse()?, b.parse()?);
            table.swap(a.into(), b.into());
        }
        Ok(table)
    }
    fn save_state(&mut self, cx: &mut PeerCx<'_>) -> Result<Vec<u8>, PluginError> {
        self.0.record(("peer", "save_state"), &(), |alert| cx.post_alert(alert))?;
        Ok(b"peer".to_vec())
    }
    recorded! { PeerCx "peer":
        on_handshake(reserved: &[u8; 8]);
        on_extension_handshake(dict: &[u8]);
        on_extended(name: &str, payload: &[u8]);
        on_choke();
        on_unchoke();
        on_interested();
        on_not_interested();
        on_have(piece: u32);
        on_bitfield(bits: &[u8]);
        on_have_all();
        on_have_none();
        on_allowed_fast(piece: u32);
        on_request(request: PeerRequest);
        on_cancel(request: PeerRequest);
        on_reject(request: PeerRequest);
        on_suggest(piece: u32);
        on_unknown_message(id: u8, payload: &[u8]);
        on_piece_pass(piece: u32);
        on_piece_failed(piece: u32);
        tick();
        write_request(request: PeerRequest);
        on_connected();
        on_disconnect(reason: &str);
        load_state(state: &[u8]);
        on_dont_have(piece: u32);
        can_disconnect(reason: &str);
        write_message(id: u8, payload: &[u8]);
        sent_choke();
        sent_unchoke();
        sent_interested();
        sent_not_interested();
        sent_have(piece: u32);
        sent_bitfield(bits: &[u8]);
        sent_have_all();
        sent_have_none();
        sent_allowed_fast(piece: u32);
        sent_suggest(piece: u32);
        sent_request(request: PeerRequest);
        sent_piece(request: PeerRequest);
        sent_cancel(request: PeerRequest);
        sent_reject(request: PeerRequest);
        sent_payload(bytes: u64);
    }
}

export_plugin!(Recorder);
