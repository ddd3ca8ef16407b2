//! Hooks and host calls that cross as bytes, without the processes: what is seen on either side is the same as if they did not.
#![cfg(feature = "host")]

use reef_plugin_api::host::{Answer, Asker, Level, Line, Served, answer, far_host, remote_session, wire_version};
use reef_plugin_api::testing::FakeHost;
use reef_plugin_api::{
    Alert, BlockSender, Buffer, Flow, HandshakeEntries, HookResult, Host, HostError, Outcome, PeerCx, PeerInfo,
    PeerKey, PeerObj, PeerPlugin, PeerRequest, PluginError, Sender, SessionCx, SessionObj, SessionPlugin, Settings,
    TorrentCx, TorrentFlags, TorrentId, TorrentInfo, TorrentObj, TorrentPlugin, hooks,
};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const TORRENT: TorrentId = TorrentId(7);
const PEER: PeerKey = PeerKey(9);

/// A plugin that asks everything and says what it heard.
struct Curious;
struct CuriousTorrent;
struct CuriousPeer;

#[hooks]
impl SessionPlugin for Curious {
    const NAME: &'static str = "curious";
    fn create(_: Host, _: &Settings) -> Result<Self, PluginError> {
        Ok(Self)
    }
    fn new_torrent(&mut self, _: &mut SessionCx<'_>, id: TorrentId) -> Result<Option<TorrentObj>, PluginError> {
        Ok((id == TORRENT).then(|| TorrentObj::new(CuriousTorrent)))
    }
    fn on_alert(&mut self, _: &mut SessionCx<'_>, alert: &Alert<'_>) -> HookResult {
        Err(PluginError::new(format!("{alert:?}")))
    }
    fn save_state(&mut self, _: &mut SessionCx<'_>) -> Result<Vec<u8>, PluginError> {
        Ok(b"kept".to_vec())
    }
    fn get_unchoke_priority(
        &mut self,
        _: &mut SessionCx<'_>,
        torrent: TorrentId,
        peer: PeerKey,
    ) -> Result<Option<u64>, PluginError> {
        Ok((torrent == TORRENT).then_some(peer.0))
    }
    fn on_unknown_torrent(
        &mut self,
        _: &mut SessionCx<'_>,
        info_hash: &[u8; 20],
        from: SocketAddr,
    ) -> Result<Option<reef_plugin_api::NewTorrent>, PluginError> {
        Ok(Some(reef_plugin_api::NewTorrent::from_info_hash(*info_hash, from.to_string())))
    }
}

#[hooks]
impl TorrentPlugin for CuriousTorrent {
    fn new_connection(&mut self, _: &mut TorrentCx<'_>, peer: PeerKey) -> Result<Option<PeerObj>, PluginError> {
        if peer == PEER { Ok(Some(PeerObj::new(CuriousPeer))) } else { Err(PluginError::new("another peer")) }
    }
    fn on_add_peer(&mut self, _: &mut TorrentCx<'_>, addr: SocketAddr, source: u32, flags: u32) -> HookResult {
        Err(PluginError::new(format!("{addr} {source} {flags}")))
    }
}

#[hooks]
impl PeerPlugin for CuriousPeer {
    fn add_handshake(&mut self, _: &mut PeerCx<'_>, entries: &mut HandshakeEntries) -> HookResult {
        entries.extension("x_curious");
        entries.set("key", *b"i1e");
        Ok(Flow::Handled)
    }
    fn on_handshake(&mut self, _: &mut PeerCx<'_>, reserved: &[u8; 8]) -> HookResult {
        Err(PluginError::new(format!("{reserved:?}")))
    }
    fn on_extended(&mut self, cx: &mut PeerCx<'_>, name: &str, payload: &[u8]) -> HookResult {
        log::info!("asked for {name}");
        Err(PluginError::new(ask_everything(cx, payload)))
    }
    fn on_piece(&mut self, _: &mut PeerCx<'_>, request: PeerRequest, data: &Buffer) -> HookResult {
        Err(PluginError::new(format!("{request:?} {:?}", &**data)))
    }
    fn on_have(&mut self, _: &mut PeerCx<'_>, piece: u32) -> HookResult {
        panic!("piece {piece}")
    }
    fn on_choke(&mut self, _: &mut PeerCx<'_>) -> HookResult {
        Ok(Flow::Detach)
    }
}

impl Drop for CuriousPeer {
    fn drop(&mut self) {
        DROPPED.with(|dropped| *dropped.borrow_mut() += 1);
    }
}

thread_local! {
    static DROPPED: RefCell<u32> = const { RefCell::new(0) };
}

/// Asks each question, does each action, through the context and through the handle for threads.
fn ask_everything(cx: &PeerCx<'_>, payload: &[u8]) -> String {
    let torrent = cx.torrent();
    let sender = Sender { addr: "[fe80::1%3]:80".parse().expect("an address"), peer_id: [3; 20] };
    let alert = Alert::new(10_001, 2, "what", "message").with_torrent(TORRENT).with_data(b"de");
    let heard = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {} {} {} {}",
        torrent.info(),
        torrent.metadata().map(|bytes| bytes.to_vec()),
        torrent.peers().iter().map(|peer| peer.key()).collect::<Vec<_>>(),
        torrent.block_senders(1),
        torrent.read_block(1, 0).map(|bytes| bytes.to_vec()),
        cx.info(),
        torrent.peer(PeerKey(1)).info(),
        cx.host().map(|host| (host.now(), host.torrent(TORRENT).watch_piece(8))),
        cx.supports("x_curious"),
        cx.supports("other"),
        torrent.has_piece(1),
        cx.now(),
    );
    let done = [
        cx.post_alert(&alert),
        torrent.watch_piece(4),
        torrent.give_metadata(payload),
        torrent.add_peer("1.2.3.4:5".parse().expect("an address"), 4, 2),
        torrent.ban(sender, "a liar"),
        cx.send_extended("x_curious", payload),
        cx.send_extended("other", payload),
        cx.disconnect("done"),
    ];
    format!("{heard} {done:?}")
}

/// A line without processes. What the plugin's side gets and sends is bytes all the same.
struct Loop {
    served: Mutex<Served>,
    host: Host,
    ids: AtomicU64,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Line for Loop {
    fn exchange(&self, _: &'static str, request: &[u8], answer: Answer<'_>) -> Result<Vec<u8>, String> {
        self.requests.lock().expect("one thread").push(request.to_vec());
        let asker = InHook { answer: RefCell::new(answer), host: self.host.clone() };
        self.served.lock().expect("one thread").serve(request, &asker).ok_or_else(|| "no request".to_owned())
    }
    fn broken(&self, what: &'static str) -> String {
        format!("broken in {what}")
    }
    fn wanted(&self, _: Level, hooks: u64) -> u64 {
        hooks
    }
    fn new_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }
}

struct InHook<'a> {
    answer: RefCell<Answer<'a>>,
    host: Host,
}

impl Asker for InHook<'_> {
    fn ask(&self, question: &[u8]) -> Option<Vec<u8>> {
        self.answer.borrow_mut()(question)
    }
    fn host(&self) -> Option<Host> {
        Some(far_host(Arc::new(Far(self.host.clone()))))
    }
}

/// What threads ask.
struct Far(Host);

impl Asker for Far {
    fn ask(&self, question: &[u8]) -> Option<Vec<u8>> {
        answer(&self.0, question)
    }
    fn host(&self) -> Option<Host> {
        None
    }
}

fn host() -> FakeHost {
    let host = FakeHost::new();
    host.set_now(1234);
    let mut info = TorrentInfo::default();
    (info.num_pieces, info.total_size, info.flags) = (3, 1 << 40, TorrentFlags::SEED_MODE);
    info.info_hash_v2 = Some([5; 32]);
    host.set_torrent(TORRENT, info);
    host.set_metadata(TORRENT, *b"d4:name1:xe");
    let mut peer = PeerInfo::new("9.8.7.6:54".parse().expect("an address"));
    (peer.utp, peer.peer_id) = (true, Some([6; 20]));
    host.set_peer(TORRENT, PEER, peer);
    host.set_supports(TORRENT, PEER, "x_curious");
    host.set_piece(TORRENT, 1);
    let sender = Sender { addr: "1.1.1.1:1".parse().expect("an address"), peer_id: [1; 20] };
    host.set_block(TORRENT, 1, BlockSender { block: 0, sender }, *b"block");
    host
}

/// The plugin on this side, and all requests that its objects make where it is on the other.
fn near(host: &FakeHost) -> SessionObj {
    host.start::<Curious>("").expect("it starts")
}

fn far(host: &FakeHost) -> (SessionObj, Arc<Mutex<Vec<Vec<u8>>>>) {
    let session = near(host);
    let (hooks, requests) = (session.hooks(), Arc::<Mutex<Vec<Vec<u8>>>>::default());
    let served = Mutex::new(Served::new(session));
    let line = Loop { served, host: host.handle(), ids: AtomicU64::new(1), requests: requests.clone() };
    (remote_session(Arc::new(line), hooks), requests)
}

/// Calls a hook of each kind, and returns all that came of it.
fn play(host: &FakeHost, session: &mut SessionObj) -> Vec<String> {
    let call = host.session_call();
    let alert = Alert::new(5, 6, "seven", "eight").with_data(b"nine");
    let from: SocketAddr = "[::1]:2".parse().expect("an address");
    let mut heard = vec![
        format!("{:?}", session.on_alert(&call, &alert)),
        format!("{:?}", session.on_tick(&call)),
        format!("{:?}", session.save_state(&call)),
        format!("{:?}", session.get_unchoke_priority(&call, TORRENT, PEER)),
        format!("{:?}", session.get_unchoke_priority(&call, TorrentId(1), PEER)),
        format!("{:?}", session.on_unknown_torrent(&call, &[4; 20], from)),
        format!("{}", session.new_torrent(&call, TorrentId(1)).is_ok_and(|torrent| torrent.is_none())),
    ];
    let mut torrent = session.new_torrent(&call, TORRENT).expect("no error").expect("an object");
    let call = host.torrent_call(TORRENT);
    heard.push(format!("{:?}", torrent.on_add_peer(&call, from, 1, 2)));
    heard.push(format!("{:?}", torrent.new_connection(&call, PeerKey(2)).err()));
    let mut peer = torrent.new_connection(&call, PEER).expect("no error").expect("an object");
    let call = host.peer_call(TORRENT, PEER);
    let mut entries = HandshakeEntries::new();
    let request = PeerRequest { piece: 1, start: 2, length: 3 };
    heard.extend([
        format!("{:?}", peer.add_handshake(&call, &mut entries)),
        format!("{:?} {:?}", entries.extensions().collect::<Vec<_>>(), entries.values().collect::<Vec<_>>()),
        format!("{:?}", peer.on_handshake(&call, &[1, 2, 3, 4, 5, 6, 7, 8])),
        format!("{:?}", peer.on_extended(&call, "x_curious", b"payload")),
        format!("{:?}", peer.on_piece(&call, request, &Buffer::from(vec![1, 2, 3]))),
        format!("{:?}", peer.on_choke(&call)),
        format!("{:?}", peer.on_have(&call, 4)),
        format!("{:?}", peer.on_choke(&call)),
    ]);
    drop(peer);
    heard.push(format!("{} dropped", DROPPED.with(|dropped| *dropped.borrow())));
    heard.extend(host.actions().iter().map(|action| format!("{action:?}")));
    heard.extend(host.log_lines());
    heard
}

#[test]
fn on_the_other_side_of_a_line_everything_is_the_same() {
    DROPPED.set(0);
    let here = host();
    let heard_here = play(&here, &mut near(&here));
    DROPPED.set(0);
    let there = host();
    let heard_there = play(&there, &mut far(&there).0);
    assert_eq!(heard_here, heard_there);
    assert!(heard_here.iter().any(|line| line.contains("1099511627776")), "{heard_here:?}");
}

#[test]
fn a_handle_that_was_taken_back_is_gone_there_too() {
    let host = host();
    let (mut session, _) = far(&host);
    let handle = far_host(Arc::new(Far(host.handle())));
    assert_eq!(handle.torrent(TORRENT).watch_piece(1), Ok(()));
    host.revoke();
    assert_eq!(handle.torrent(TORRENT).watch_piece(1), Err(HostError::Gone));
    assert_eq!((handle.now(), session.on_tick(&host.session_call())), (0, Outcome::Pass));
}

#[test]
fn what_is_no_message_is_refused_and_nothing_panics() {
    let host = host();
    let (mut session, requests) = far(&host);
    play(&host, &mut session);
    let mut nobody = |_: &[u8]| None;
    let asker = InHook { answer: RefCell::new(&mut nobody), host: host.handle() };
    let mut served = Served::new(near(&host));
    for request in requests.lock().expect("one thread").iter() {
        for length in 0..request.len() {
            // Most are none; those that happen to be a shorter one are carried out.
            drop(served.serve(&request[..length], &asker));
        }
        for at in 0..request.len() {
            let mut other = request.clone();
            other[at] ^= 0xff;
            drop(served.serve(&other, &asker));
        }
    }
    assert_eq!(served.serve(b"", &asker), None);
    for row in 0..64u32 {
        for rest in [&[][..], &[0xff; 64], &[0; 64]] {
            drop(answer(&host.handle(), &[&row.to_ne_bytes(), rest].concat()));
        }
        assert_eq!(answer(&host.handle(), &(row + 1000).to_ne_bytes()), None);
    }
}

#[test]
fn a_line_that_breaks_ends_in_a_reason() {
    struct Broken;
    impl Line for Broken {
        fn exchange(&self, what: &'static str, _: &[u8], _: Answer<'_>) -> Result<Vec<u8>, String> {
            if what == "on_tick" { Ok(vec![9, 9, 9]) } else { Err(format!("gone in {what}")) }
        }
        fn broken(&self, what: &'static str) -> String {
            format!("broken in {what}")
        }
        fn wanted(&self, _: Level, hooks: u64) -> u64 {
            hooks
        }
        fn new_id(&self) -> u64 {
            1
        }
    }
    let host = host();
    let mut session = remote_session(Arc::new(Broken), !0);
    let call = host.session_call();
    assert_eq!(session.on_tick(&call), Outcome::Panicked("broken in on_tick".to_owned()));
    assert_eq!(session.added(&call), Outcome::Panicked("gone in added".to_owned()));
    assert_ne!(wire_version(), 0);
}
