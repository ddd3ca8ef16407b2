//! Bans peers by rule: those that lie about their progress, those that take and never give, and clients by name.
//!
//! What a peer did is counted in its own object; whether that is too much is decided by [`Rules::judge`], from plain numbers.
//! A ban is for the address, and lasts as long as the session.

use reef_plugin_api::{
    Alert, Buffer, Flow, HookResult, Host, PeerCx, PeerKey, PeerObj, PeerPlugin, PeerRequest, PluginError, SessionCx,
    SessionPlugin, Settings, TorrentCx, TorrentFlags, TorrentId, TorrentObj, TorrentPlugin, bencode, export_plugin,
    hooks,
};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The number of the alert that says who was banned.
pub const BANNED: u32 = Alert::USER_KIND + 1;

/// The settings, `[plugins.leech_guard]` of `reef.toml`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Clients that are not wanted: what a peer id begins with (`-XL`) or what its handshake's `v` contains, in any case.
    pub clients: Vec<String>,
    /// How many MiB more a peer may take than what it says it has before that counts as a lie; 0 turns the rule off.
    pub fake_progress_mib: u64,
    /// How many MiB a peer may take without giving anything while we want what it has; 0 turns the rule off.
    pub free_mib: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self { clients: Vec::new(), fake_progress_mib: 16, free_mib: 256 }
    }
}

/// What one peer did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deeds {
    /// Bytes that it asked for and did not take back.
    pub asked: u64,
    /// Bytes that it sent us.
    pub given: u64,
    /// Bytes of the pieces that it says it has.
    pub announced: u64,
    /// It said what it has when it came, and so many bytes that was.
    pub had_at_first: u64,
    /// We want something that it has, because we are still downloading.
    pub we_want: bool,
}

impl Rules {
    /// What a peer has done wrong, if anything.
    #[must_use]
    pub fn judge(&self, deeds: &Deeds) -> Option<String> {
        let mib = |bytes: u64| bytes >> 20;
        // What it has got since it came, it must have announced, but for what is still on its way.
        let got = deeds.announced.saturating_sub(deeds.had_at_first);
        if self.fake_progress_mib > 0 && deeds.asked > got.saturating_add(self.fake_progress_mib << 20) {
            return Some(format!("it took {} MiB and says that it has got {}", mib(deeds.asked), mib(got)));
        }
        if self.free_mib > 0 && deeds.we_want && deeds.given == 0 && deeds.asked > self.free_mib << 20 {
            return Some(format!("it took {} MiB and gave nothing", mib(deeds.asked)));
        }
        None
    }

    /// Whether a client of this name or peer id is wanted; if not, why.
    #[must_use]
    pub fn refuses(&self, client: &[u8]) -> Option<String> {
        let name = String::from_utf8_lossy(client).to_lowercase();
        let matches = |rule: &&String| name.contains(&rule.to_lowercase());
        let rule = self.clients.iter().filter(|rule| !rule.is_empty()).find(matches)?;
        Some(format!("clients like {rule:?} are not wanted"))
    }
}

/// One object for each session.
pub struct LeechGuard {
    rules: Arc<Rules>,
}

#[hooks]
impl SessionPlugin for LeechGuard {
    const NAME: &'static str = "leech_guard";

    fn create(_host: Host, settings: &Settings) -> Result<Self, PluginError> {
        Ok(Self { rules: Arc::new(toml::from_str(settings.toml())?) })
    }

    fn new_torrent(&mut self, _cx: &mut SessionCx<'_>, _torrent: TorrentId) -> Result<Option<TorrentObj>, PluginError> {
        Ok(Some(TorrentObj::new(GuardedTorrent { rules: self.rules.clone() })))
    }
}

/// One object for each torrent.
struct GuardedTorrent {
    rules: Arc<Rules>,
}

#[hooks]
impl TorrentPlugin for GuardedTorrent {
    fn new_connection(&mut self, _cx: &mut TorrentCx<'_>, _peer: PeerKey) -> Result<Option<PeerObj>, PluginError> {
        Ok(Some(PeerObj::new(Guard { rules: self.rules.clone(), deeds: Deeds::default(), pieces: BTreeSet::new() })))
    }
}

/// One object for each connection.
struct Guard {
    rules: Arc<Rules>,
    deeds: Deeds,
    /// The pieces that it announced one by one. A peer cannot make it grow: the torrent's pieces are all that count.
    pieces: BTreeSet<u32>,
}

#[hooks]
impl PeerPlugin for Guard {
    fn on_handshake(&mut self, cx: &mut PeerCx<'_>, _reserved: &[u8; 8]) -> HookResult {
        match cx.info()?.peer_id.and_then(|id| self.rules.refuses(id.get(..8).unwrap_or_default())) {
            Some(why) => ban(cx, &why),
            None => Ok(Flow::Pass),
        }
    }

    fn on_extension_handshake(&mut self, cx: &mut PeerCx<'_>, dict: &[u8]) -> HookResult {
        let handshake = bencode::decode(dict)?;
        match handshake.get("v").and_then(|v| v.as_bytes()).and_then(|client| self.rules.refuses(client)) {
            Some(why) => ban(cx, &why),
            None => Ok(Flow::Pass),
        }
    }

    fn on_bitfield(&mut self, cx: &mut PeerCx<'_>, bits: &[u8]) -> HookResult {
        let pieces = bits.iter().map(|byte| u64::from(byte.count_ones())).sum();
        self.came_with(cx, pieces)
    }

    fn on_have_all(&mut self, cx: &mut PeerCx<'_>) -> HookResult {
        self.came_with(cx, u64::MAX)
    }

    fn on_have(&mut self, cx: &mut PeerCx<'_>, piece: u32) -> HookResult {
        let info = cx.torrent().info()?;
        if piece < info.num_pieces && self.pieces.insert(piece) {
            self.deeds.announced = self.deeds.announced.saturating_add(u64::from(info.piece_length));
        }
        Ok(Flow::Pass)
    }

    fn on_request(&mut self, _cx: &mut PeerCx<'_>, request: PeerRequest) -> HookResult {
        self.deeds.asked = self.deeds.asked.saturating_add(u64::from(request.length));
        Ok(Flow::Pass)
    }

    fn on_cancel(&mut self, _cx: &mut PeerCx<'_>, request: PeerRequest) -> HookResult {
        self.deeds.asked = self.deeds.asked.saturating_sub(u64::from(request.length));
        Ok(Flow::Pass)
    }

    fn on_piece(&mut self, _cx: &mut PeerCx<'_>, _request: PeerRequest, data: &Buffer) -> HookResult {
        self.deeds.given = self.deeds.given.saturating_add(data.len() as u64);
        Ok(Flow::Pass)
    }

    /// Once a second is often enough: no hook of a message has to judge.
    fn tick(&mut self, cx: &mut PeerCx<'_>) -> HookResult {
        let torrent = cx.torrent().info()?;
        self.deeds.we_want = !torrent.flags.contains(TorrentFlags::SEED) && self.deeds.announced > 0;
        match self.rules.judge(&self.deeds) {
            Some(why) => ban(cx, &why),
            None => Ok(Flow::Pass),
        }
    }
}

impl Guard {
    fn came_with(&mut self, cx: &PeerCx<'_>, pieces: u64) -> HookResult {
        let info = cx.torrent().info()?;
        let bytes = pieces.min(u64::from(info.num_pieces)) * u64::from(info.piece_length);
        (self.deeds.announced, self.deeds.had_at_first) = (bytes, bytes);
        Ok(Flow::Pass)
    }
}

/// Bans a peer and says so. The ban closes the connection.
fn ban(cx: &mut PeerCx<'_>, why: &str) -> HookResult {
    let addr = cx.info()?.addr;
    let torrent = cx.torrent();
    torrent.ban(addr, why)?;
    let text = format!("{addr} is banned: {why}");
    cx.post_alert(&Alert::new(BANNED, 0x100, "banned_by_rule", &text).with_torrent(torrent.id()))?;
    Ok(Flow::Pass)
}

export_plugin!(LeechGuard);
