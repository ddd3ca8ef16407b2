//! A plugin that has every hook and does nothing in any of them, to measure what being asked costs.
//!
//! It keeps a number across its replacements, so that a measurement of those can see that its state went along.

use reef_plugin_api::{
    Alert, Flow, HookResult, Host, PeerKey, PeerObj, PeerPlugin, PluginError, SessionCx, SessionPlugin, Settings,
    TorrentCx, TorrentId, TorrentObj, TorrentPlugin, export_plugin,
};

/// How often this plugin was started with the state of an earlier one.
struct EveryHook {
    generation: u32,
}
struct EveryHookTorrent;
struct EveryHookPeer;

// Without `#[hooks]`, every hook is called.
impl SessionPlugin for EveryHook {
    const NAME: &'static str = "every_hook";

    fn create(_host: Host, _settings: &Settings) -> Result<Self, PluginError> {
        Ok(Self { generation: 0 })
    }
    fn new_torrent(&mut self, _: &mut SessionCx<'_>, _: TorrentId) -> Result<Option<TorrentObj>, PluginError> {
        Ok(Some(TorrentObj::new(EveryHookTorrent)))
    }
    fn save_state(&mut self, _: &mut SessionCx<'_>) -> Result<Vec<u8>, PluginError> {
        Ok(self.generation.to_le_bytes().to_vec())
    }
    fn load_state(&mut self, cx: &mut SessionCx<'_>, state: &[u8]) -> HookResult {
        self.generation = state.try_into().map(u32::from_le_bytes)?.saturating_add(1);
        cx.post_alert(&Alert::new(Alert::USER_KIND, 1, "generation", &self.generation.to_string()))?;
        Ok(Flow::Pass)
    }
}

impl TorrentPlugin for EveryHookTorrent {
    fn new_connection(&mut self, _: &mut TorrentCx<'_>, _: PeerKey) -> Result<Option<PeerObj>, PluginError> {
        Ok(Some(PeerObj::new(EveryHookPeer)))
    }
}

impl PeerPlugin for EveryHookPeer {}

export_plugin!(EveryHook);
