//! A plugin for tests, whose behaviour its settings choose. It must never be installed.
//!
//! Each hook of it posts an alert under the hook's name. Then, if `at` in the settings is that name, it does what `do`
//! says: `panic`, `error`, `detach`, `handled`, `slow` (take 30 ms), `flood` (ask for far too much), `thread` (start a thread that
//! panics), `flood_thread` (one that asks for far too much), `stuck` (not return until the file that `until` names is there), `print`, or what only a process of its own
//! contains (see `worst`). `at` may also be `create`,
//! `drop_peer`, `drop_torrent` or `drop_session`. `claim` is the extension message that it claims; `state` what it saves; `quiet` leaves the alerts out.

use reef_plugin_api::{
    Alert, Buffer, Flow, HandshakeEntries, HookResult, Host, HostError, PeerCx, PeerKey, PeerObj, PeerPlugin,
    PeerRequest, PluginError, SessionCx, SessionPlugin, Settings, TorrentCx, TorrentId, TorrentObj, TorrentPlugin,
    export_plugin, hooks, spawn,
};
use std::sync::Arc;

/// What the settings ask for.
struct Orders {
    host: Host,
    at: String,
    act: String,
    claim: Option<String>,
    state: Option<String>,
    quiet: bool,
    until: Option<String>,
}

impl Orders {
    fn new(host: Host, settings: &Settings) -> Self {
        let text = |key: &str| {
            let value = settings.toml().lines().find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('='))?;
            Some(value.trim().trim_matches('"').to_owned())
        };
        let or_empty = |key| text(key).unwrap_or_default();
        let (claim, state, quiet) = (text("claim"), text("state"), text("quiet").is_some());
        Self { host, at: or_empty("at"), act: or_empty("do"), claim, state, quiet, until: text("until") }
    }

    /// Reports a hook, and does what is ordered for it.
    fn hook(&self, name: &str, mut post: impl FnMut(&Alert<'_>) -> Result<(), HostError>) -> HookResult {
        if self.at == name && self.act == "flood" {
            for _ in 0..6000 {
                let _ = post(&Alert::new(Alert::USER_KIND, 1, "flood", ""));
            }
            return Ok(Flow::Pass);
        }
        if !self.quiet {
            post(&Alert::new(Alert::USER_KIND, 1, name, "called"))?;
        }
        self.obey(name)
    }

    fn obey(&self, name: &str) -> HookResult {
        if self.at != name {
            return Ok(Flow::Pass);
        }
        match self.act.as_str() {
            "panic" => panic!("ordered to panic"),
            "error" => Err(PluginError::new("ordered to fail")),
            "detach" => Ok(Flow::Detach),
            "handled" => Ok(Flow::Handled),
            "thread" => {
                spawn(&self.host, "evil", || panic!("ordered to panic"))?;
                Ok(Flow::Pass)
            }
            "slow" => {
                // Busy, not asleep: what the watchdog must see is a hook that does not return.
                let start = std::time::Instant::now();
                while start.elapsed() < std::time::Duration::from_millis(30) {
                    std::hint::spin_loop();
                }
                Ok(Flow::Pass)
            }
            "flood_thread" => {
                let host = self.host.clone();
                spawn(
                    &self.host,
                    "evil",
                    move || while host.torrent(TorrentId(1)).watch_piece(7) != Err(HostError::Gone) {},
                )?;
                Ok(Flow::Pass)
            }
            "stuck" => {
                let start = std::time::Instant::now();
                while !self.until.as_ref().is_some_and(|file| std::path::Path::new(file).exists()) {
                    // A test that failed must not leave a process at work.
                    assert!(start.elapsed() < std::time::Duration::from_secs(120), "nobody came");
                    std::thread::yield_now();
                }
                log::warn!("{name} returns at last");
                Ok(Flow::Pass)
            }
            "action" => {
                let host = self.host.clone();
                spawn(&self.host, "evil", move || {
                    let _ = host.torrent(TorrentId(1)).watch_piece(7);
                })?;
                Ok(Flow::Pass)
            }
            "print" => {
                println!("printed\nin two lines");
                eprintln!("and an error");
                Ok(Flow::Pass)
            }
            "abort_thread" => {
                spawn(&self.host, "evil", || std::process::abort())?;
                Ok(Flow::Pass)
            }
            act => {
                worst::obey(act);
                Ok(Flow::Pass)
            }
        }
    }

    fn drop_of(&self, name: &str) {
        if self.at == name {
            assert!(self.act != "panic", "ordered to panic");
            worst::obey(&self.act);
        }
    }
}

/// What takes a whole process down, or never ends.
mod worst {
    use std::hint::black_box;

    pub(crate) fn obey(act: &str) {
        match act {
            "loop" => loop {
                std::hint::spin_loop();
            },
            "abort" => std::process::abort(),
            "exit" => std::process::exit(3),
            "segfault" => {
                let nowhere = black_box(std::ptr::null_mut::<u8>()).wrapping_add(64);
                // SAFETY: there is none: to fault is what was ordered.
                unsafe { nowhere.write_volatile(1) }
            }
            "overflow" => {
                black_box(deeper(black_box(1)));
            }
            "exhaust" => {
                let mut kept = Vec::new();
                loop {
                    kept.push(black_box(vec![1u8; 1 << 20]));
                }
            }
            _ => (),
        }
    }

    fn deeper(level: u64) -> u64 {
        let room = black_box([level; 512]);
        if room[7] == 0 {
            return 0;
        }
        deeper(black_box(level + 1)) + room[5]
    }
}

struct Evil(Arc<Orders>);
struct EvilTorrent(Arc<Orders>);
struct EvilPeer(Arc<Orders>);

#[hooks]
impl SessionPlugin for Evil {
    const NAME: &'static str = "evil";

    fn create(host: Host, settings: &Settings) -> Result<Self, PluginError> {
        let orders = Orders::new(host, settings);
        orders.obey("create")?;
        log::info!("evil plugin created");
        Ok(Self(Arc::new(orders)))
    }
    fn added(&mut self, cx: &mut SessionCx<'_>) -> HookResult {
        self.0.hook("added", |alert| cx.post_alert(alert))
    }
    fn new_torrent(&mut self, cx: &mut SessionCx<'_>, _: TorrentId) -> Result<Option<TorrentObj>, PluginError> {
        self.0.hook("new_torrent", |alert| cx.post_alert(alert))?;
        Ok(Some(TorrentObj::new(EvilTorrent(self.0.clone()))))
    }
    fn on_tick(&mut self, cx: &mut SessionCx<'_>) -> HookResult {
        self.0.hook("on_tick", |alert| cx.post_alert(alert))
    }
    fn abort(&mut self, cx: &mut SessionCx<'_>) -> HookResult {
        self.0.hook("abort", |alert| cx.post_alert(alert))
    }
    fn save_state(&mut self, _: &mut SessionCx<'_>) -> Result<Vec<u8>, PluginError> {
        self.0.obey("save_state")?;
        Ok(self.0.state.clone().unwrap_or_default().into_bytes())
    }
    fn load_state(&mut self, cx: &mut SessionCx<'_>, state: &[u8]) -> HookResult {
        let text = format!("load_state {}", state.escape_ascii());
        self.0.hook(&text, |alert| cx.post_alert(alert))?;
        self.0.obey("load_state")
    }
}

#[hooks]
impl TorrentPlugin for EvilTorrent {
    fn new_connection(&mut self, cx: &mut TorrentCx<'_>, _: PeerKey) -> Result<Option<PeerObj>, PluginError> {
        self.0.hook("new_connection", |alert| cx.post_alert(alert))?;
        Ok(Some(PeerObj::new(EvilPeer(self.0.clone()))))
    }
    fn on_piece_failed(&mut self, cx: &mut TorrentCx<'_>, _: u32) -> HookResult {
        self.0.hook("on_piece_failed", |alert| cx.post_alert(alert))
    }
    fn on_metadata(&mut self, cx: &mut TorrentCx<'_>) -> HookResult {
        self.0.hook("on_metadata", |alert| cx.post_alert(alert))
    }
    fn save_state(&mut self, _: &mut TorrentCx<'_>) -> Result<Vec<u8>, PluginError> {
        Ok(self.0.state.clone().unwrap_or_default().into_bytes())
    }
    fn load_state(&mut self, cx: &mut TorrentCx<'_>, state: &[u8]) -> HookResult {
        let text = format!("load_torrent {}", state.escape_ascii());
        self.0.hook(&text, |alert| cx.post_alert(alert))
    }
}

#[hooks]
impl PeerPlugin for EvilPeer {
    fn add_handshake(&mut self, cx: &mut PeerCx<'_>, entries: &mut HandshakeEntries) -> HookResult {
        if let Some(name) = &self.0.claim {
            entries.extension(name);
        }
        entries.set("x_evil", *b"i1e");
        self.0.hook("add_handshake", |alert| cx.post_alert(alert))
    }
    fn on_extension_handshake(&mut self, cx: &mut PeerCx<'_>, _: &[u8]) -> HookResult {
        self.0.hook("on_extension_handshake", |alert| cx.post_alert(alert))
    }
    fn on_extended(&mut self, cx: &mut PeerCx<'_>, name: &str, payload: &[u8]) -> HookResult {
        cx.send_extended(name, payload)?;
        self.0.hook("on_extended", |alert| cx.post_alert(alert))
    }
    fn on_have(&mut self, cx: &mut PeerCx<'_>, _: u32) -> HookResult {
        self.0.hook("on_have", |alert| cx.post_alert(alert))
    }
    fn on_piece(&mut self, cx: &mut PeerCx<'_>, _: PeerRequest, data: &Buffer) -> HookResult {
        let text = format!("on_piece {}", data.escape_ascii());
        self.0.hook(&text, |alert| cx.post_alert(alert))?;
        self.0.obey("on_piece")
    }
    fn on_disconnect(&mut self, cx: &mut PeerCx<'_>, _: &str) -> HookResult {
        self.0.hook("on_disconnect", |alert| cx.post_alert(alert))
    }
}

impl Drop for Evil {
    fn drop(&mut self) {
        self.0.drop_of("drop_session");
    }
}

impl Drop for EvilTorrent {
    fn drop(&mut self) {
        self.0.drop_of("drop_torrent");
    }
}

impl Drop for EvilPeer {
    fn drop(&mut self) {
        self.0.drop_of("drop_peer");
    }
}

export_plugin!(Evil);
