//! Fetches and serves torrent metadata between peers (BEP 9, `ut_metadata`).
//!
//! A torrent that is known by its info-hash alone gets its info dictionary from its peers in blocks of 16 KiB, and whoever
//! has the dictionary serves it. What peers claim is believed only as far as it costs little: memory follows what arrived,
//! never a number in a message, and nothing is given to the host before its hash is right.
//!
//! - [`torrent`]: what the connections of a torrent share.
//! - [`peer`]: one connection.
//! - [`message`]: the bytes of a message.
//! - [`fetch`], [`assembly`]: which block to ask whom, and what the answers amount to.
//! - [`answers`]: how fast requests are answered.

mod answers;
mod assembly;
mod fetch;
mod message;
mod peer;
mod torrent;

use crate::torrent::MetadataTorrent;
use reef_plugin_api::{
    Host, PluginError, SessionCx, SessionPlugin, Settings, TorrentId, TorrentObj, export_plugin, hooks,
};

/// The extension message's name in the extension handshake.
const NAME: &str = "ut_metadata";

/// The plugin: it keeps nothing for the session as a whole.
pub struct UtMetadata;

#[hooks]
impl SessionPlugin for UtMetadata {
    const NAME: &'static str = NAME;

    fn create(_host: Host, _settings: &Settings) -> Result<Self, PluginError> {
        Ok(Self)
    }

    /// Private torrents are left alone: who may have them is for their tracker to say.
    fn new_torrent(&mut self, cx: &mut SessionCx<'_>, torrent: TorrentId) -> Result<Option<TorrentObj>, PluginError> {
        let info = cx.torrent(torrent).info()?;
        Ok((!info.private).then(|| TorrentObj::new(MetadataTorrent::new(&info))))
    }
}

export_plugin!(UtMetadata);
