//! Tells peers about each other (BEP 11, `ut_pex`).
//!
//! Every peer that speaks it hears soon after its extension handshake which peers we are connected to, and once a minute what
//! has changed; what it tells us becomes candidates of the torrent. A private torrent's peers are never told, and addresses of
//! our own network are not told to, nor believed from, peers outside of it.
//!
//! - [`torrent`]: the torrent's peers as others are told of them.
//! - [`peer`]: one connection.
//! - [`message`]: the bytes of a message.
//! - [`outbox`]: what a peer has been told, and is to be told next.
//! - [`inbox`]: what a peer may tell us, and how often.

mod inbox;
mod message;
mod outbox;
mod peer;
mod torrent;

use crate::torrent::PexTorrent;
use reef_plugin_api::{
    Host, PluginError, SessionCx, SessionPlugin, Settings, TorrentId, TorrentObj, export_plugin, hooks,
};

/// The extension message's name in the extension handshake.
const NAME: &str = "ut_pex";

/// The plugin: it keeps nothing for the session as a whole.
pub struct UtPex;

#[hooks]
impl SessionPlugin for UtPex {
    const NAME: &'static str = NAME;

    fn create(_host: Host, _settings: &Settings) -> Result<Self, PluginError> {
        Ok(Self)
    }

    /// BEP 27: a private torrent's peers come from its tracker alone.
    fn new_torrent(&mut self, cx: &mut SessionCx<'_>, torrent: TorrentId) -> Result<Option<TorrentObj>, PluginError> {
        let private = cx.torrent(torrent).info()?.private;
        Ok((!private).then(|| TorrentObj::new(PexTorrent::default())))
    }
}

export_plugin!(UtPex);
