//! A closed network: two peers prove to each other that they know a shared key, in the extension handshake (BEP 10), before either says
//! anything else. To whoever does not, nothing is said: no bitfield, no request, no metadata, not even what the client is called.
//!
//! 1. Right after the handshake of BEP 3 each side sends an extension handshake with nothing in it but random bytes (`cn_nonce`), and the peer id
//!    that it saw of the other (`cn_you`).
//! 2. With the other's random bytes each side can make its proof and sends it, in a second extension handshake (`cn_proof`).
//! 3. What the session wanted to say meanwhile is held back by `write_message`, and said when the other's proof is right.
//!
//! A peer that says anything else before its proof, whose proof is wrong, or who does not prove itself in time, is disconnected.

mod gate;
mod held;
pub mod proof;

use gate::Gate;
use proof::{Key, Nonce, SHORTEST_KEY};
use reef_plugin_api::{
    Host, PeerKey, PeerObj, PluginError, SessionCx, SessionPlugin, Settings, TorrentCx, TorrentId, TorrentObj,
    TorrentPlugin, export_plugin, hooks,
};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// The settings, `[plugins.closed_network]` of `reef.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    key: String,
    /// Seconds that a peer has to prove itself.
    #[serde(default = "ten")]
    deadline: u32,
    /// Whether messages have other numbers than the standard ones.
    #[serde(default)]
    message_ids: bool,
}

fn ten() -> u32 {
    10
}

/// What every peer of the network shares.
#[derive(Debug)]
struct Network {
    key: Key,
    deadline: Duration,
    message_ids: bool,
}

/// One object for each session.
pub struct ClosedNetwork(Arc<Network>);

#[hooks]
impl SessionPlugin for ClosedNetwork {
    const NAME: &'static str = "closed_network";

    fn create(_: Host, settings: &Settings) -> Result<Self, PluginError> {
        let rules: Rules = toml::from_str(settings.toml())
            .map_err(|error| PluginError::new(format!("[plugins.closed_network]: {}", error.message())))?;
        let short =
            || PluginError::new(format!("[plugins.closed_network]: a key has at least {SHORTEST_KEY} characters"));
        let key = Key::new(&rules.key).ok_or_else(short)?;
        let deadline = Duration::from_secs(rules.deadline.into());
        Ok(Self(Arc::new(Network { key, deadline, message_ids: rules.message_ids })))
    }

    fn new_torrent(&mut self, _: &mut SessionCx<'_>, _: TorrentId) -> Result<Option<TorrentObj>, PluginError> {
        Ok(Some(TorrentObj::new(ClosedTorrent(self.0.clone()))))
    }
}

/// One object for each torrent.
struct ClosedTorrent(Arc<Network>);

#[hooks]
impl TorrentPlugin for ClosedTorrent {
    fn new_connection(&mut self, cx: &mut TorrentCx<'_>, _: PeerKey) -> Result<Option<PeerObj>, PluginError> {
        let mut nonce = Nonce::default();
        for part in nonce.chunks_exact_mut(8) {
            part.copy_from_slice(&cx.random().to_be_bytes());
        }
        Ok(Some(PeerObj::new(Gate::new(self.0.clone(), nonce))))
    }
}

export_plugin!(ClosedNetwork);
