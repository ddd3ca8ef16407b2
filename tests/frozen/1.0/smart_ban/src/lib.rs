//! Finds out which peer sent the bad block of a piece that failed, and bans it.
//!
//! When a piece fails, its blocks' senders are suspects. When it is downloaded again and passes, the suspects whose blocks
//! differ from the good ones are guilty. Blocks are hashed then and never otherwise, so a download without failures costs
//! nothing. There are no messages on the wire.
//!
//! Torrents with a v2 part are left alone: they can check each block by itself (BEP 52).
//!
//! - [`torrent`]: the hooks.
//! - [`suspects`]: who sent what for which block.

mod suspects;
mod torrent;

use crate::torrent::BanTorrent;
use reef_plugin_api::{
    Host, PluginError, SessionCx, SessionPlugin, Settings, TorrentId, TorrentObj, export_plugin, hooks,
};

/// The plugin: it keeps nothing for the session as a whole.
pub struct SmartBan;

#[hooks]
impl SessionPlugin for SmartBan {
    const NAME: &'static str = "smart_ban";

    fn create(_host: Host, _settings: &Settings) -> Result<Self, PluginError> {
        Ok(Self)
    }

    fn new_torrent(&mut self, cx: &mut SessionCx<'_>, torrent: TorrentId) -> Result<Option<TorrentObj>, PluginError> {
        let v1_alone = cx.torrent(torrent).info()?.info_hash_v2.is_none();
        Ok(v1_alone.then(|| TorrentObj::new(BanTorrent::default())))
    }
}

export_plugin!(SmartBan);
