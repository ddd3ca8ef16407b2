//! A plugin for tests that calls every function of the host, through each context and through the handle, and logs what it is
//! answered. It must never be installed.
//!
//! It names fields one by one: what a record has more in a later version must not change what it says.

use reef_plugin_api::{
    Alert, Flow, HandshakeEntries, HookResult, Host, Peer, PeerCx, PeerInfo, PeerKey, PeerObj, PeerPlugin, PluginError,
    Sender, SessionCx, SessionPlugin, Settings, Torrent, TorrentCx, TorrentId, TorrentInfo, TorrentObj, TorrentPlugin,
    export_plugin, hooks, pex_flags, source, spawn,
};
use std::fmt::Debug;

struct Caller(Host);
struct CallerTorrent(Host);
struct CallerPeer;

fn answer(call: &str, value: &dyn Debug) {
    log::info!("{call}: {value:?}");
}

#[hooks]
impl SessionPlugin for Caller {
    const NAME: &'static str = "caller";

    fn create(host: Host, settings: &Settings) -> Result<Self, PluginError> {
        answer("settings", &settings.toml());
        Ok(Self(host))
    }
    fn new_torrent(&mut self, cx: &mut SessionCx<'_>, torrent: TorrentId) -> Result<Option<TorrentObj>, PluginError> {
        answer("session has_metadata", &cx.torrent(torrent).info().map(|info| info.has_metadata));
        Ok(Some(TorrentObj::new(CallerTorrent(self.0.clone()))))
    }
    fn on_tick(&mut self, cx: &mut SessionCx<'_>) -> HookResult {
        answer("now", &cx.now());
        answer("random", &(cx.random() != cx.random()));
        let alert = Alert::new(Alert::USER_KIND, 2, "caller", "ticked").with_torrent(TorrentId(1)).with_data(b"de");
        answer("post_alert", &cx.post_alert(&alert));
        answer("unknown torrent", &cx.torrent(TorrentId(99)).info().map(|info| info.num_pieces));
        let host = cx.host()?;
        let thread = spawn(&host.clone(), "caller", move || {
            answer("thread now", &host.now());
            answer("thread post_alert", &host.post_alert(&Alert::new(Alert::USER_KIND, 2, "caller", "from a thread")));
            host.report_panic("nothing happened");
        })?;
        thread.join().map_err(|_| PluginError::new("the thread panicked"))?;
        Ok(Flow::Pass)
    }
}

#[hooks]
impl TorrentPlugin for CallerTorrent {
    fn new_connection(&mut self, _: &mut TorrentCx<'_>, _: PeerKey) -> Result<Option<PeerObj>, PluginError> {
        Ok(Some(PeerObj::new(CallerPeer)))
    }
    fn tick(&mut self, cx: &mut TorrentCx<'_>) -> HookResult {
        ask_torrent(cx);
        ask_torrent(&self.0.torrent(cx.id()));
        Ok(Flow::Pass)
    }
}

#[hooks]
impl PeerPlugin for CallerPeer {
    fn add_handshake(&mut self, _: &mut PeerCx<'_>, entries: &mut HandshakeEntries) -> HookResult {
        entries.extension("x_some");
        entries.set("x_key", *b"i7e");
        Ok(Flow::Pass)
    }
    fn tick(&mut self, cx: &mut PeerCx<'_>) -> HookResult {
        ask_peer(cx);
        Ok(Flow::Pass)
    }
}

fn ask_torrent(torrent: &Torrent<'_>) {
    answer("torrent_info", &torrent.info().map(of_torrent));
    answer("metadata", &torrent.metadata().map(|info| info.to_vec()));
    answer("peers", &torrent.peers().iter().map(|peer| peer.key().0).collect::<Vec<_>>());
    answer("has_piece", &[4, 5].map(|piece| torrent.has_piece(piece)));
    let senders = torrent.block_senders(4);
    answer("block_senders", &senders.iter().map(|sent| (sent.block, sent.sender.addr)).collect::<Vec<_>>());
    answer("read_block", &torrent.read_block(4, 0).map(|block| block.slice(2, 7).map(|part| part.to_vec())));
    answer("watch_piece", &torrent.watch_piece(4));
    answer("give_metadata", &torrent.give_metadata(b"de"));
    let address = ([0xfe80, 0, 0, 0, 0, 0, 0, 1], 80).into();
    answer("add_peer", &torrent.add_peer(address, source::PEX, pex_flags::SEED));
    answer("ban", &torrent.ban(Sender { addr: address, peer_id: [6; 20] }, "no reason"));
}

fn of_torrent(info: TorrentInfo) -> impl Debug {
    let sizes = (info.num_pieces, info.piece_length, info.total_size, info.num_peers);
    (info.private, info.has_metadata, sizes, info.flags.0, info.state.0, info.info_hash_v1, info.info_hash_v2)
}

fn ask_peer(peer: &Peer<'_>) {
    answer("peer_info", &peer.info().map(of_peer));
    answer("peer_supports", &["x_some", "x_other"].map(|name| peer.supports(name)));
    answer("send_extended", &peer.send_extended("x_some", b"hello"));
    answer("disconnect", &peer.disconnect("no reason"));
}

fn of_peer(info: PeerInfo) -> impl Debug {
    let connection =
        (info.outgoing, info.connected, info.handshaken, info.encrypted, info.utp, info.extended, info.local);
    (info.addr, info.listen, info.peer_id, connection, info.seed, info.upload_only, info.source, info.send_queue)
}

export_plugin!(Caller);
