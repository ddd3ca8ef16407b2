//! A plugin to learn from: peers that both have it greet each other with an extension message of their own (BEP 10).
//!
//! It shows the three levels, a setting, a message out and in, an alert, and what to do about a peer that misbehaves.
//! The guide for authors of plugins goes through this file step by step.

use reef_plugin_api::{
    Alert, Flow, HandshakeEntries, HookResult, Host, PeerCx, PeerKey, PeerObj, PeerPlugin, PluginError, SessionCx,
    SessionPlugin, Settings, TorrentCx, TorrentId, TorrentObj, TorrentPlugin, export_plugin, hooks,
};
use std::sync::Arc;

/// The extension message's name, which both sides must agree on. Names of your own begin with the initials of your
/// client and `_` by custom (BEP 10); `x_` is for experiments.
const MESSAGE: &str = "x_hello";

/// The most bytes of a greeting: what a stranger sends is bounded.
const MAX_GREETING: usize = 200;

/// The number of our alert, for programs that embed the engine.
pub const GREETED: u32 = Alert::USER_KIND + 1;

/// One object for each session that the plugin is loaded into.
pub struct Hello {
    greeting: Arc<str>,
}

#[hooks]
impl SessionPlugin for Hello {
    const NAME: &'static str = "hello";

    fn create(_host: Host, settings: &Settings) -> Result<Self, PluginError> {
        let greeting = greeting(settings.toml())?.into();
        Ok(Self { greeting })
    }

    fn new_torrent(&mut self, _cx: &mut SessionCx<'_>, _torrent: TorrentId) -> Result<Option<TorrentObj>, PluginError> {
        Ok(Some(TorrentObj::new(HelloTorrent { greeting: self.greeting.clone() })))
    }
}

/// One object for each torrent.
struct HelloTorrent {
    greeting: Arc<str>,
}

#[hooks]
impl TorrentPlugin for HelloTorrent {
    fn new_connection(&mut self, _cx: &mut TorrentCx<'_>, _peer: PeerKey) -> Result<Option<PeerObj>, PluginError> {
        Ok(Some(PeerObj::new(HelloPeer { greeting: self.greeting.clone(), greeted: false })))
    }
}

/// One object for each connection.
struct HelloPeer {
    greeting: Arc<str>,
    greeted: bool,
}

#[hooks]
impl PeerPlugin for HelloPeer {
    /// Our extension handshake is being written: this claims the message.
    fn add_handshake(&mut self, _cx: &mut PeerCx<'_>, entries: &mut HandshakeEntries) -> HookResult {
        entries.extension(MESSAGE);
        Ok(Flow::Pass)
    }

    /// The peer's has arrived, possibly not for the first time: if it claims the message too, it is greeted once.
    fn on_extension_handshake(&mut self, cx: &mut PeerCx<'_>, _dict: &[u8]) -> HookResult {
        if cx.supports(MESSAGE) && !self.greeted {
            cx.send_extended(MESSAGE, self.greeting.as_bytes())?;
            self.greeted = true;
        }
        Ok(Flow::Pass)
    }

    /// The peer greets us. An error closes the connection, with its text as the reason.
    fn on_extended(&mut self, cx: &mut PeerCx<'_>, _name: &str, payload: &[u8]) -> HookResult {
        if payload.len() > MAX_GREETING {
            return Err(PluginError::new(format!("a greeting of {} bytes", payload.len())));
        }
        let text = format!("{} says: {}", cx.info()?.addr, String::from_utf8_lossy(payload));
        log::info!("{text}");
        cx.post_alert(&Alert::new(GREETED, 1, "hello", &text).with_torrent(cx.torrent().id()))?;
        Ok(Flow::Handled)
    }
}

export_plugin!(Hello);

/// The setting `greeting`, from the table `[plugins.hello]` of `reef.toml`.
fn greeting(settings: &str) -> Result<String, PluginError> {
    let mut table: toml::Table = settings.parse()?;
    let greeting = match table.remove("greeting") {
        None => "good day".to_owned(),
        Some(toml::Value::String(text)) if text.len() <= MAX_GREETING => text,
        Some(_) => return Err(PluginError::new(format!("greeting must be a text of at most {MAX_GREETING} bytes"))),
    };
    match table.keys().next() {
        Some(key) => Err(PluginError::new(format!("{key} is no setting of hello; there is only greeting"))),
        None => Ok(greeting),
    }
}
