//! A plugin that uses what the interface of `newer.rs` has more than this one, and is compiled against that one alone.

use reef_plugin_api::{
    Flow, HookResult, Host, PeerCx, PeerKey, PeerObj, PeerPlugin, PluginError, SessionCx, SessionPlugin, Settings,
    TorrentCx, TorrentId, TorrentObj, TorrentPlugin, export_plugin, hooks,
};

struct Future;
struct FutureTorrent;
struct FuturePeer;

#[hooks]
impl SessionPlugin for Future {
    const NAME: &'static str = "future";

    fn create(_: Host, _: &Settings) -> Result<Self, PluginError> {
        Ok(Self)
    }
    fn new_torrent(&mut self, _: &mut SessionCx<'_>, _: TorrentId) -> Result<Option<TorrentObj>, PluginError> {
        Ok(Some(TorrentObj::new(FutureTorrent)))
    }
    fn on_tick(&mut self, cx: &mut SessionCx<'_>) -> HookResult {
        log::info!("future {:?}", cx.future(41));
        Ok(Flow::Pass)
    }
    fn on_future(&mut self, _: &mut SessionCx<'_>, value: u32) -> HookResult {
        log::info!("session on_future {value}");
        Ok(Flow::Handled)
    }
}

#[hooks]
impl TorrentPlugin for FutureTorrent {
    fn new_connection(&mut self, _: &mut TorrentCx<'_>, _: PeerKey) -> Result<Option<PeerObj>, PluginError> {
        Ok(Some(PeerObj::new(FuturePeer)))
    }
    fn on_future(&mut self, _: &mut TorrentCx<'_>, value: u32) -> HookResult {
        log::info!("torrent on_future {value}");
        Ok(Flow::Handled)
    }
}

#[hooks]
impl PeerPlugin for FuturePeer {
    fn on_future(&mut self, _: &mut PeerCx<'_>, value: u32) -> HookResult {
        log::info!("peer on_future {value}");
        Ok(Flow::Handled)
    }
    fn tick(&mut self, cx: &mut PeerCx<'_>) -> HookResult {
        let info = cx.info()?;
        log::info!("of the peer {} {}", info.future, info.send_queue);
        Ok(Flow::Pass)
    }
}

export_plugin!(Future);
