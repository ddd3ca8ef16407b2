//! A plugin's hooks through the real glue: what arrives, what is answered, and what happens to failures.

use reef_plugin_api::testing::{Action, FakeHost};
use reef_plugin_api::{
    Alert, BlockSender, Buffer, Flow, HandshakeEntries, HookResult, Host, HostError, Outcome, PeerCx, PeerInfo,
    PeerKey, PeerObj, PeerPlugin, PeerRequest, PluginError, Sender, SessionCx, SessionObj, SessionPlugin, Settings,
    TorrentCx, TorrentId, TorrentInfo, TorrentObj, TorrentPlugin, TorrentState, bits, hooks, spawn,
};
use std::net::SocketAddr;

struct Probe {
    host: Host,
    name: String,
}
struct ProbeTorrent;
struct ProbePeer {
    fuse: Fuse,
}
/// Panics when it is dropped, if it is lit.
struct Fuse(bool);

impl Drop for Fuse {
    fn drop(&mut self) {
        assert!(!self.0, "lit");
    }
}

#[hooks]
impl SessionPlugin for Probe {
    const NAME: &'static str = "probe";

    fn create(host: Host, settings: &Settings) -> Result<Self, PluginError> {
        match settings.toml() {
            "panic" => panic!("no good settings"),
            "error" => Err(PluginError::new("no settings")),
            name => Ok(Self { host, name: name.to_owned() }),
        }
    }

    fn new_torrent(&mut self, cx: &mut SessionCx<'_>, torrent: TorrentId) -> Result<Option<TorrentObj>, PluginError> {
        Ok((!cx.torrent(torrent).info()?.private).then(|| TorrentObj::new(ProbeTorrent)))
    }

    fn on_tick(&mut self, cx: &mut SessionCx<'_>) -> HookResult {
        log::info!("{} ticks at {}", self.name, cx.now());
        cx.host()?.post_alert(&Alert::new(10_001, 2, "probe", "tick").with_torrent(TorrentId(3)).with_data(b"de"))?;
        Ok(Flow::Handled)
    }

    fn on_alert(&mut self, _: &mut SessionCx<'_>, alert: &Alert<'_>) -> HookResult {
        let name = self.name.clone();
        let text = alert.message().to_owned();
        let thread = spawn(&self.host, "probe", move || {
            log::warn!("{name} in a thread");
            panic!("{text}");
        })?;
        thread.join().map_err(|_| PluginError::new("the panic left the thread"))?;
        Ok(Flow::Pass)
    }

    fn save_state(&mut self, _: &mut SessionCx<'_>) -> Result<Vec<u8>, PluginError> {
        Ok(self.name.clone().into_bytes())
    }

    fn load_state(&mut self, _: &mut SessionCx<'_>, state: &[u8]) -> HookResult {
        self.name = std::str::from_utf8(state)?.to_owned();
        Ok(Flow::Pass)
    }
}

#[hooks]
impl TorrentPlugin for ProbeTorrent {
    fn new_connection(&mut self, cx: &mut TorrentCx<'_>, peer: PeerKey) -> Result<Option<PeerObj>, PluginError> {
        let lit = cx.peer(peer).info()?.seed;
        Ok(Some(PeerObj::new(ProbePeer { fuse: Fuse(lit) })))
    }

    fn on_piece_failed(&mut self, cx: &mut TorrentCx<'_>, piece: u32) -> HookResult {
        for BlockSender { block, sender } in cx.block_senders(piece) {
            if cx.read_block(piece, block).is_some_and(|data| data.contains(&b'!')) {
                cx.ban(sender, "sent a bad block")?;
            }
        }
        cx.watch_piece(piece)?;
        Ok(Flow::Pass)
    }

    fn on_state(&mut self, _: &mut TorrentCx<'_>, state: TorrentState) -> HookResult {
        Ok(if state == TorrentState::SEEDING { Flow::Detach } else { Flow::Pass })
    }

    fn on_add_peer(&mut self, cx: &mut TorrentCx<'_>, addr: SocketAddr, source: u32, flags: u32) -> HookResult {
        cx.add_peer(addr, source, flags as u8)?;
        Ok(Flow::Pass)
    }

    fn on_metadata(&mut self, cx: &mut TorrentCx<'_>) -> HookResult {
        let metadata = cx.metadata().ok_or_else(|| PluginError::new("none"))?;
        cx.give_metadata(&metadata)?;
        Ok(Flow::Pass)
    }
}

#[hooks]
impl PeerPlugin for ProbePeer {
    fn add_handshake(&mut self, _: &mut PeerCx<'_>, entries: &mut HandshakeEntries) -> HookResult {
        entries.extension("x_probe");
        entries.set("x_size", reef_plugin_api::bencode::int(7));
        Ok(Flow::Pass)
    }

    fn on_handshake(&mut self, _: &mut PeerCx<'_>, reserved: &[u8; 8]) -> HookResult {
        Ok(if reserved[5] & 0x10 == 0 { Flow::Detach } else { Flow::Pass })
    }

    fn on_extended(&mut self, cx: &mut PeerCx<'_>, name: &str, payload: &[u8]) -> HookResult {
        for peer in cx.torrent().peers() {
            if peer.key() != cx.key() && peer.supports(name) {
                peer.send_extended(name, payload)?;
            }
        }
        Ok(Flow::Handled)
    }

    fn on_have(&mut self, _: &mut PeerCx<'_>, piece: u32) -> HookResult {
        let pieces: [u32; 0] = [];
        Ok(if pieces[piece as usize] == 0 { Flow::Pass } else { Flow::Handled })
    }

    fn on_piece(&mut self, cx: &mut PeerCx<'_>, request: PeerRequest, data: &Buffer) -> HookResult {
        let kept = data.clone();
        cx.disconnect(&format!("{} {}", request.piece, kept.len()))?;
        Ok(Flow::Pass)
    }

    fn tick(&mut self, cx: &mut PeerCx<'_>) -> HookResult {
        cx.send_extended("x", b"")?;
        let _ = &self.fuse;
        Ok(Flow::Pass)
    }
}

const T: TorrentId = TorrentId(1);
const P: PeerKey = PeerKey(2);

struct Bench {
    host: FakeHost,
    session: SessionObj,
    torrent: TorrentObj,
    peer: PeerObj,
}

/// A session with a torrent and a peer, whose `Drop` panics if it is a seed.
fn bench(seed: bool) -> Bench {
    let host = FakeHost::new();
    host.set_torrent(T, TorrentInfo::default());
    let mut info = PeerInfo::default();
    info.seed = seed;
    host.set_peer(T, P, info);
    let mut session = host.start::<Probe>("one").expect("it starts");
    let mut torrent = session.new_torrent(&host.session_call(), T).expect("no failure").expect("taken");
    let peer = torrent.new_connection(&host.torrent_call(T), P).expect("no failure").expect("taken");
    Bench { host, session, torrent, peer }
}

fn check_error(outcome: &Outcome, start: &str) {
    match outcome {
        Outcome::Error(text) | Outcome::Panicked(text) => assert!(text.starts_with(start), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn masks_have_the_bits_of_the_implemented_hooks() {
    let Bench { session, torrent, peer, .. } = bench(false);
    use bits::{PeerPlugin as P, SessionPlugin as S, TorrentPlugin as T};
    assert_eq!(session.hooks(), S::new_torrent | S::on_tick | S::on_alert | S::save_state | S::load_state);
    assert_eq!(torrent.hooks(), T::new_connection | T::on_piece_failed | T::on_state | T::on_add_peer | T::on_metadata);
    assert_eq!(peer.hooks(), P::add_handshake | P::on_handshake | P::on_extended | P::on_have | P::on_piece | P::tick);
}

struct Generic<T>(T);

#[hooks]
impl<T: Into<Vec<u8>> + Send + 'static> PeerPlugin for Generic<T> {
    fn on_choke(&mut self, _: &mut PeerCx<'_>) -> HookResult {
        // A function within a method is no hook.
        fn tick() -> Flow {
            Flow::Handled
        }
        let _ = &self.0;
        Ok(tick())
    }
}

struct Unmarked;
impl PeerPlugin for Unmarked {}

#[test]
fn masks_of_generic_and_unmarked_impls() {
    assert_eq!(PeerObj::new(Generic(Vec::new())).hooks(), bits::PeerPlugin::on_choke);
    let mut unmarked = PeerObj::new(Unmarked);
    assert_eq!(unmarked.hooks(), !0);
    assert_eq!(unmarked.on_choke(&FakeHost::new().peer_call(T, P)), Outcome::Pass);
}

#[test]
fn an_unimplemented_hook_passes() {
    let mut bench = bench(false);
    let call = bench.host.peer_call(T, P);
    assert_eq!(bench.peer.on_choke(&call), Outcome::Pass);
    assert_eq!(bench.peer.save_state(&call), Ok(Vec::new()));
}

#[test]
fn handshake_entries_arrive() {
    let mut bench = bench(false);
    let mut entries = HandshakeEntries::new();
    assert_eq!(bench.peer.add_handshake(&bench.host.peer_call(T, P), &mut entries), Outcome::Pass);
    assert_eq!(entries.extensions().collect::<Vec<_>>(), ["x_probe"]);
    assert_eq!(entries.values().collect::<Vec<_>>(), [("x_size", &b"i7e"[..])]);
}

#[test]
fn a_peer_hook_reads_its_torrent_and_sends_to_others() {
    let mut bench = bench(false);
    for key in [3, 4] {
        bench.host.set_peer(T, PeerKey(key), PeerInfo::default());
    }
    bench.host.set_supports(T, P, "x_probe");
    bench.host.set_supports(T, PeerKey(4), "x_probe");
    assert_eq!(bench.peer.on_extended(&bench.host.peer_call(T, P), "x_probe", b"hi"), Outcome::Handled);
    let sent = Action::SendExtended { torrent: T, peer: PeerKey(4), name: "x_probe".into(), payload: b"hi".into() };
    assert_eq!(bench.host.actions(), [sent]);
}

#[test]
fn a_block_arrives_without_a_copy_and_may_be_kept() {
    let mut bench = bench(false);
    let request = PeerRequest { piece: 9, start: 0, length: 3 };
    assert_eq!(bench.peer.on_piece(&bench.host.peer_call(T, P), request, &Buffer::from(vec![1, 2, 3])), Outcome::Pass);
    assert_eq!(bench.host.actions(), [Action::Disconnect { torrent: T, peer: P, reason: "9 3".into() }]);
}

#[test]
fn a_torrent_hook_reads_blocks_and_bans_their_sender() {
    let mut bench = bench(false);
    let senders = [("1.2.3.4:5", "good"), ("[2001:db8::1]:6", "bad!")];
    for (block, (addr, data)) in senders.iter().enumerate() {
        let sender = Sender { addr: addr.parse().expect("an address"), peer_id: [block as u8; 20] };
        bench.host.set_block(T, 7, BlockSender { block: block as u32, sender }, *data);
    }
    assert_eq!(bench.torrent.on_piece_failed(&bench.host.torrent_call(T), 7), Outcome::Pass);
    let sender = Sender { addr: senders[1].0.parse().expect("an address"), peer_id: [1; 20] };
    let banned = Action::Ban { torrent: T, sender, reason: "sent a bad block".into() };
    assert_eq!(bench.host.actions(), [banned, Action::WatchPiece { torrent: T, piece: 7 }]);
}

#[test]
fn values_cross_in_both_directions() {
    let mut bench = bench(false);
    let call = bench.host.torrent_call(T);
    let addr: SocketAddr = "[fe80::1%9]:80".parse().expect("an address");
    assert_eq!(bench.torrent.on_add_peer(&call, addr, 4, 0x12), Outcome::Pass);
    assert_eq!(bench.host.actions(), [Action::AddPeer { torrent: T, addr, source: 4, pex_flags: 0x12 }]);
    check_error(&bench.torrent.on_metadata(&call), "none");
    bench.host.set_metadata(T, *b"d4:name1:xe");
    assert_eq!(bench.torrent.on_metadata(&call), Outcome::Pass);
    assert_eq!(bench.host.actions(), [Action::GiveMetadata { torrent: T, info: b"d4:name1:xe".into() }]);
    assert_eq!(bench.torrent.on_state(&call, TorrentState::DOWNLOADING), Outcome::Pass);
    assert_eq!(bench.torrent.on_state(&call, TorrentState::SEEDING), Outcome::Detach);
    let call = bench.host.session_call();
    assert_eq!(bench.session.load_state(&call, "zwei".as_bytes()), Outcome::Pass);
    assert_eq!(bench.session.save_state(&call), Ok(b"zwei".to_vec()));
    check_error(&bench.session.load_state(&call, &[0xff]), "invalid utf-8");
}

#[test]
fn a_plugin_may_leave_a_torrent_alone() {
    let mut bench = bench(false);
    let mut info = TorrentInfo::default();
    info.private = true;
    bench.host.set_torrent(T, info);
    assert!(bench.session.new_torrent(&bench.host.session_call(), T).expect("no failure").is_none());
    let unknown = bench.session.new_torrent(&bench.host.session_call(), TorrentId(99));
    check_error(&unknown.err().expect("unknown"), &HostError::NotFound.to_string());
}

#[test]
fn a_panic_is_contained_with_its_place_and_poisons_the_object() {
    let mut bench = bench(false);
    let call = bench.host.peer_call(T, P);
    let outcome = bench.peer.on_have(&call, 5);
    check_error(&outcome, "panic in on_have: index out of bounds");
    assert!(matches!(&outcome, Outcome::Panicked(text) if text.contains("glue.rs:")), "{outcome:?}");
    assert!(matches!(bench.peer.tick(&call), Outcome::Panicked(_)));
    assert_eq!(bench.host.actions(), []);
}

#[test]
fn a_panic_of_drop_is_contained_and_reported() {
    let bench = bench(true);
    drop(bench.peer);
    let actions = bench.host.actions();
    assert!(
        matches!(&actions[..], [Action::ReportPanic { text }] if text.starts_with("panic in drop: lit")),
        "{actions:?}"
    );
}

#[test]
fn a_failing_create_is_an_error() {
    let host = FakeHost::new();
    assert_eq!(host.start::<Probe>("error").err(), Some("no settings".into()));
    let text = host.start::<Probe>("panic").err().expect("a panic");
    assert!(text.starts_with("panic in create: no good settings (at "), "{text}");
}

#[test]
fn each_of_many_instances_logs_and_posts_to_its_own_host() {
    let hosts = [FakeHost::new(), FakeHost::new(), FakeHost::new()];
    let mut sessions: Vec<_> =
        ["a", "b", "c"].iter().zip(&hosts).map(|(name, host)| host.start::<Probe>(name).expect("it starts")).collect();
    for (i, host) in hosts.iter().enumerate() {
        host.set_now(i as u64);
        assert_eq!(sessions[i].on_tick(&host.session_call()), Outcome::Handled);
        let alert = Alert::new(1, 1, "x", "thread bug");
        assert_eq!(sessions[i].on_alert(&host.session_call(), &alert), Outcome::Pass);
    }
    for (name, (i, host)) in ["a", "b", "c"].iter().zip(hosts.iter().enumerate()) {
        assert_eq!(host.log_lines(), [format!("INFO {name} ticks at {i}"), format!("WARN {name} in a thread")]);
        let actions = host.actions();
        assert!(
            matches!(&actions[..], [
                Action::Alert { kind: 10_001, category: 2, torrent: Some(TorrentId(3)), data, .. },
                Action::ReportPanic { text },
            ] if data == b"de" && text.starts_with("panic in thread probe: thread bug (at ")),
            "{actions:?}"
        );
    }
}

#[test]
fn a_revoked_handle_answers_gone() {
    let mut bench = bench(false);
    bench.host.revoke();
    check_error(&bench.peer.tick(&bench.host.peer_call(T, P)), &HostError::Gone.to_string());
    let host = bench.host.handle();
    assert_eq!(host.torrent(T).peer(P).disconnect("x"), Err(HostError::Gone));
    assert_eq!(host.torrent(T).info(), Err(HostError::Gone));
    assert_eq!((host.now(), host.torrent(T).peers().len()), (0, 0));
}
