//! A plugin for tests that calls every function of the host, through each context and through the handle, and logs what it is
//! answered. It must never be installed.
//!
//! It names fields one by one: what a record has more in a later version must not change what it says.

use reef_plugin_api::{
    Alert, Buffer, Choking, Files, Flow, HandshakeEntries, HookResult, Host, NewTorrent, Peer, PeerCx, PeerInfo,
    PeerKey, PeerObj, PeerPlugin, PeerRequest, PluginError, Sender, Session, SessionCx, SessionPlugin, Settings,
    Torrent, TorrentCx, TorrentId, TorrentInfo, TorrentObj, TorrentPlugin, export_plugin, hooks, pex_flags, source,
    spawn,
};
use std::fmt::Debug;
use std::time::Duration;

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
        ask_session(&cx.session());
        let host = cx.host()?;
        let thread = spawn(&host.clone(), "caller", move || {
            answer("thread now", &host.now());
            ask_session(&host.session());
            let bytes = PeerRequest { piece: 5, start: 2, length: 5 };
            answer("read_and_wait", &host.torrent(TorrentId(1)).read_and_wait(bytes).map(|data| data.to_vec()));
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
    order_torrent(torrent);
}

/// The functions of the session.
fn ask_session(session: &Session<'_>) {
    answer("session status", &session.status().map(|status| (status.num_torrents, status.num_connections)));
    answer("torrents", &session.torrents());
    answer("setting", &["user_agent", "other"].map(|name| session.setting(name)));
    answer("set_settings", &session.set_settings(&[("user_agent", "other".into())]));
    answer("set_settings back", &session.set_settings(&[("user_agent", "some".into())]));
    answer("add_torrent", &session.add_torrent(&NewTorrent::from_info_hash([7; 20], "folder")));
    answer("set_timer", &session.set_timer(5, Duration::from_secs(2)));
    answer("cancel_timer", &session.cancel_timer(6));
    answer("data_dir", &session.data_dir());
    if let (Ok(counter), Ok(gauge)) =
        (session.counter("caller.count", "Calls."), session.gauge("caller.level", "Of it."))
    {
        answer("statistics", &(counter.add(3), gauge.set(9), gauge.add(-2)));
    }
    let known = session.statistics().map(|all| all.iter().map(|one| (one.name.clone(), one.value)).collect::<Vec<_>>());
    answer("statistics are", &known);
}

/// What a torrent can be made to do, and all that is known of it.
fn order_torrent(torrent: &Torrent<'_>) {
    answer("status", &torrent.status().map(|status| status.name));
    answer("peer_statuses", &torrent.peer_statuses().map(|all| all.len()));
    answer("files", &torrent.files().map(|all| all.len()));
    answer("trackers", &torrent.trackers().map(|all| all.len()));
    answer("pieces", &torrent.pieces().map(|pieces| pieces.count()));
    let block = PeerRequest { piece: 6, start: 0, length: 4 };
    answer("connect", &torrent.connect(([1, 2, 3, 4], 5).into()));
    answer("pause", &torrent.pause());
    answer("resume", &torrent.resume());
    answer("recheck", &torrent.recheck());
    answer("announce", &torrent.announce());
    answer("set_file_priorities", &torrent.set_file_priorities(&[(0, 7), (2, 0)]));
    answer("set_piece_priorities", &torrent.set_piece_priorities(&[(5, 1), (6, 9)]));
    answer("read", &torrent.read(block, 77));
    answer("give_block", &torrent.give_block(block, &Buffer::from(b"abcd".to_vec())));
    answer("remove", &torrent.remove(Files::Delete));
}

fn of_torrent(info: TorrentInfo) -> impl Debug {
    let sizes = (info.num_pieces, info.piece_length, info.total_size, info.num_peers);
    (info.private, info.has_metadata, sizes, info.flags.0, info.state.0, info.info_hash_v1, info.info_hash_v2)
}

fn ask_peer(peer: &Peer<'_>) {
    answer("peer_info", &peer.info().map(of_peer));
    answer("peer_supports", &["x_some", "x_other"].map(|name| peer.supports(name)));
    answer("send_extended", &peer.send_extended("x_some", b"hello"));
    answer("status of the peer", &peer.status().map(|status| status.client));
    answer("send_message", &peer.send_message(4, &[0, 0, 0, 7]));
    answer("choking", &[peer.choke(), peer.unchoke(), peer.set_choking(Choking::Usual)]);
    let block = PeerRequest { piece: 6, start: 0, length: 4 };
    answer("give_block of the peer", &peer.give_block(block, &Buffer::from(b"abcd".to_vec())));
    answer("disconnect", &peer.disconnect("no reason"));
}

fn of_peer(info: PeerInfo) -> impl Debug {
    let connection =
        (info.outgoing, info.connected, info.handshaken, info.encrypted, info.utp, info.extended, info.local);
    (info.addr, info.listen, info.peer_id, connection, info.seed, info.upload_only, info.source, info.send_queue)
}

export_plugin!(Caller);
