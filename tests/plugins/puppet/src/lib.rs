//! A plugin for tests that does what a peer says. It must never be installed.
//!
//! Each message `x_puppet` is a line `hook WORD…` or `thread WORD…`, and bytes after it. The words name a call of the interface
//! (`calls.rs`); it is made in the hook, or by the plugin's own thread through its `Host`. What came of it is an alert: its name is the call's, its text
//! the outcome. Timers that run out, bytes that were read, and alerts named in the setting `see` are alerts too.
//! `decode = true`: blocks from peers are turned around bit by bit before they count. `hello = "…"`: that is called in `added`.

mod calls;

use calls::{Stage, perform};
use reef_plugin_api::{
    Alert, Buffer, Flow, HandshakeEntries, HookResult, Host, PeerCx, PeerKey, PeerObj, PeerPlugin, PeerRequest,
    PluginError, SessionCx, SessionPlugin, Settings, TorrentCx, TorrentId, TorrentObj, TorrentPlugin, export_plugin,
    hooks, spawn,
};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// One object for each session.
struct Puppet {
    host: Host,
    see: Vec<String>,
    decode: bool,
    hello: Option<String>,
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is to do.
struct Order {
    line: String,
    data: Vec<u8>,
    at: (TorrentId, PeerKey),
}

#[hooks]
impl SessionPlugin for Puppet {
    const NAME: &'static str = "puppet";

    fn create(host: Host, settings: &Settings) -> Result<Self, PluginError> {
        let text = |key: &str| {
            let value = settings.toml().lines().find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('='))?;
            Some(value.trim().trim_matches('"').to_owned())
        };
        let (orders, received) = channel();
        let for_thread = host.clone();
        let thread = spawn(&host, "puppet", move || obey(&for_thread, &received))?;
        let see = text("see").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        let (decode, hello) = (text("decode").is_some(), text("hello"));
        Ok(Self { host, see, decode, hello, orders: Some(orders), thread: Some(thread) })
    }

    fn added(&mut self, _: &mut SessionCx<'_>) -> HookResult {
        if let Some(line) = &self.hello {
            let host = &self.host;
            let torrent = host.torrent(TorrentId(1));
            let stage = Stage { session: host.session(), torrent, peer: torrent.peer(PeerKey(1)) };
            tell(line, &perform(stage, line, &[]), |alert| host.post_alert(alert));
        }
        Ok(Flow::Pass)
    }

    fn new_torrent(&mut self, _: &mut SessionCx<'_>, _: TorrentId) -> Result<Option<TorrentObj>, PluginError> {
        let orders = self.orders.clone().ok_or_else(|| PluginError::new("the session is over"))?;
        Ok(Some(TorrentObj::new(PuppetTorrent { orders, decode: self.decode })))
    }

    fn on_timer(&mut self, cx: &mut SessionCx<'_>, token: u64) -> HookResult {
        let text = format!("{token} at {}", cx.now());
        cx.post_alert(&Alert::new(Alert::USER_KIND, 1, "on_timer", &text))?;
        Ok(Flow::Pass)
    }

    fn on_alert(&mut self, cx: &mut SessionCx<'_>, alert: &Alert<'_>) -> HookResult {
        if self.see.iter().any(|what| what == alert.what()) {
            let text = format!(
                "{} {:#x} {:?} {} {:?}",
                alert.kind(),
                alert.category(),
                alert.torrent().map(|torrent| torrent.0),
                alert.data().escape_ascii(),
                alert.message()
            );
            cx.post_alert(&Alert::new(Alert::USER_KIND, 1, &format!("saw {}", alert.what()), &text))?;
        }
        Ok(Flow::Pass)
    }

    fn abort(&mut self, _: &mut SessionCx<'_>) -> HookResult {
        self.orders = None;
        let _ = self.host.post_alert(&Alert::new(Alert::USER_KIND, 1, "abort", ""));
        Ok(Flow::Pass)
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.orders = None;
        // The objects of torrents and peers, which have the other ends, are gone before the session's.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread: does one thing after another.
fn obey(host: &Host, orders: &Receiver<Order>) {
    for Order { line, data, at: (torrent, peer) } in orders {
        let torrent = host.torrent(torrent);
        let stage = Stage { session: host.session(), torrent, peer: torrent.peer(peer) };
        tell(&line, &perform(stage, &line, &data), |alert| host.post_alert(alert));
    }
}

/// Says what came of a call.
fn tell<E>(line: &str, outcome: &str, post: impl FnOnce(&Alert<'_>) -> Result<(), E>) {
    let what = line.split_whitespace().next().unwrap_or_default();
    // Who is in no session any more has nobody to tell.
    let _ = post(&Alert::new(Alert::USER_KIND + 1, 1, what, outcome));
}

struct PuppetTorrent {
    orders: Sender<Order>,
    decode: bool,
}

#[hooks]
impl TorrentPlugin for PuppetTorrent {
    fn new_connection(&mut self, cx: &mut TorrentCx<'_>, peer: PeerKey) -> Result<Option<PeerObj>, PluginError> {
        let at = (cx.id(), peer);
        Ok(Some(PeerObj::new(PuppetPeer { orders: self.orders.clone(), at, decode: self.decode })))
    }

    fn on_read_done(
        &mut self,
        cx: &mut TorrentCx<'_>,
        token: u64,
        request: PeerRequest,
        data: Result<Buffer, String>,
    ) -> HookResult {
        let text = match data {
            Ok(bytes) => format!("{token} {} {}", request.piece, calls::summary(&bytes)),
            Err(why) => format!("{token} {} {why}", request.piece),
        };
        cx.post_alert(&Alert::new(Alert::USER_KIND, 1, "on_read_done", &text))?;
        Ok(Flow::Pass)
    }
}

struct PuppetPeer {
    orders: Sender<Order>,
    at: (TorrentId, PeerKey),
    decode: bool,
}

#[hooks]
impl PeerPlugin for PuppetPeer {
    fn add_handshake(&mut self, _: &mut PeerCx<'_>, entries: &mut HandshakeEntries) -> HookResult {
        entries.extension("x_puppet");
        Ok(Flow::Pass)
    }

    fn on_extended(&mut self, cx: &mut PeerCx<'_>, _: &str, payload: &[u8]) -> HookResult {
        let end = payload.iter().position(|byte| *byte == b'\n').unwrap_or(payload.len());
        let (line, data) = payload.split_at(end);
        let (line, data) = (std::str::from_utf8(line)?, data.get(1..).unwrap_or_default());
        let (place, line) = line.split_once(' ').ok_or_else(|| PluginError::new("no order"))?;
        if place == "thread" {
            self.orders.send(Order { line: line.to_owned(), data: data.to_vec(), at: self.at })?;
            return Ok(Flow::Handled);
        }
        let stage = Stage { session: cx.session(), torrent: cx.torrent(), peer: cx.torrent().peer(cx.key()) };
        tell(line, &perform(stage, line, data), |alert| cx.post_alert(alert));
        Ok(Flow::Handled)
    }

    fn on_piece(&mut self, cx: &mut PeerCx<'_>, request: PeerRequest, data: &Buffer) -> HookResult {
        if !self.decode {
            return Ok(Flow::Pass);
        }
        let turned: Vec<u8> = data.iter().map(|byte| !byte).collect();
        cx.give_block(request, &Buffer::from(turned))?;
        Ok(Flow::Handled)
    }
}

export_plugin!(Puppet);
