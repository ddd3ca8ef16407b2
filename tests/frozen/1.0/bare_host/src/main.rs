//! A host of nothing but the plugin interface: it loads one plugin, calls every hook once, and prints each answer and what the
//! plugin asked for. For tests of one version of the interface against another; it must use nothing of the rest of reef.
//!
//! `bare-host FILE [SETTINGS]`. It ends with 1 and one line if the plugin cannot be loaded.

use reef_plugin_api::host::{Root, SYMBOL};
use reef_plugin_api::manifest::Manifest;
use reef_plugin_api::testing::FakeHost;
use reef_plugin_api::{
    API_MAJOR, API_MINOR, Alert, Answer, BlockSender, Buffer, HandshakeEntries, PeerInfo, PeerKey, PeerObj,
    PeerRequest, PeerStatus, Query, Sender, SessionObj, SessionStatus, TorrentId, TorrentInfo, TorrentObj,
    TorrentState,
};
use std::fmt::Debug;
use std::net::SocketAddr;
use std::process::ExitCode;

const TORRENT: TorrentId = TorrentId(1);
const PEER: PeerKey = PeerKey(2);
const OTHER: PeerKey = PeerKey(3);
const REQUEST: PeerRequest = PeerRequest { piece: 4, start: 16384, length: 16384 };

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (file, settings) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    match open(&file).and_then(|root| run(&root, &settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            say("refused", &why);
            ExitCode::FAILURE
        }
    }
}

fn open(file: &str) -> Result<Root, String> {
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    let manifest = Manifest::find(&bytes).ok_or("no manifest")?;
    // SAFETY: a test's own plugin, whose constructors do nothing.
    let library = unsafe { libloading::Library::new(file) }.map_err(|error| error.to_string())?;
    // It stays mapped for as long as the process is.
    let library = Box::leak(Box::new(library));
    // SAFETY: the symbol is only looked at through `Root::open`, which checks what it is.
    let symbol = unsafe { library.get::<*const std::ffi::c_void>(SYMBOL) }.map_err(|error| error.to_string())?;
    // SAFETY: the symbol of this mapped library, with its manifest; `try_as_raw_ptr` is the symbol's own address.
    let root = unsafe { Root::open(symbol.try_as_raw_ptr().unwrap_or_default(), &manifest) };
    root.map_err(|error| error.to_string())
}

/// Prints one line; nobody reads on where that fails.
fn say(what: &str, value: &dyn Debug) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{what}: {value:?}");
}

struct Stage {
    host: FakeHost,
}

impl Stage {
    /// Prints a hook's answer and what the plugin asked for in it.
    fn came(&self, hook: &str, answer: &dyn Debug) {
        say(hook, answer);
        self.host.actions().iter().for_each(|action| say("  asked", action));
        self.host.log_lines().iter().for_each(|line| say("  logged", line));
    }
}

/// Calls hooks of an object by name, each with its arguments.
macro_rules! call {
    ($stage:ident, $object:ident, $call:expr; $($hook:ident($($argument:expr),*);)*) => { $(
        let answer = $object.$hook(&$call $(, $argument)*);
        $stage.came(concat!(stringify!($object), " ", stringify!($hook)), &answer);
    )* };
}

fn run(root: &Root, settings: &str) -> Result<(), String> {
    let stage = Stage { host: host() };
    say("host", &(API_MAJOR, API_MINOR));
    say("plugin", &(root.name(), root.api_version()));
    let mut session = root.init(stage.host.handle(), settings, log::LevelFilter::Info)?;
    stage.came("create", &());
    call_session(&stage, &mut session);
    let torrent = session.new_torrent(&stage.host.session_call(), TORRENT);
    stage.came("session new_torrent", &torrent.as_ref().map(Option::is_some));
    if let Ok(Some(mut torrent)) = torrent {
        call_torrent(&stage, &mut torrent);
        let peer = torrent.new_connection(&stage.host.torrent_call(TORRENT), PEER);
        stage.came("torrent new_connection", &peer.as_ref().map(Option::is_some));
        if let Ok(Some(mut peer)) = peer {
            call_peer(&stage, &mut peer);
            call_peer_of_what_is_sent(&stage, &mut peer);
        }
    }
    call! { stage, session, stage.host.session_call(); abort(); }
    drop(session);
    stage.came("dropped", &());
    Ok(())
}

fn address() -> SocketAddr {
    SocketAddr::from(([1, 2, 3, 4], 5))
}

/// A session with one torrent and two peers, of which much is known.
fn host() -> FakeHost {
    let host = FakeHost::new();
    host.set_now(3_000_000);
    let mut info = TorrentInfo::default();
    (info.private, info.num_pieces, info.piece_length, info.total_size) = (true, 16, 65536, 1 << 20);
    (info.num_peers, info.state, info.info_hash_v1) = (2, TorrentState::DOWNLOADING, Some([7; 20]));
    host.set_torrent(TORRENT, info);
    host.set_metadata(TORRENT, *b"d4:name1:xe");
    let mut peer = PeerInfo::new(address());
    (peer.outgoing, peer.handshaken, peer.peer_id, peer.send_queue) = (true, true, Some([9; 20]), 77);
    host.set_peer(TORRENT, PEER, peer);
    host.set_peer(TORRENT, OTHER, PeerInfo::default());
    host.set_supports(TORRENT, PEER, "x_some");
    host.set_piece(TORRENT, 5);
    let sender = BlockSender { block: 0, sender: Sender { addr: address(), peer_id: [9; 20] } };
    host.set_block(TORRENT, 4, sender, *b"a block");
    host.set_bytes(TORRENT, 5, *b"a piece");
    host.set_setting("user_agent", "some");
    host.set_data_dir("/var/some");
    host.set_answer(Query::Session, Answer::Session(SessionStatus::default()));
    host.set_answer(Query::Torrent(TORRENT), Answer::Torrent(Box::default()));
    host.set_answer(Query::Peers(TORRENT), Answer::Peers(vec![PeerStatus::default()]));
    host.set_answer(Query::Files(TORRENT), Answer::Files(Vec::new()));
    host.set_answer(Query::Trackers(TORRENT), Answer::Trackers(Vec::new()));
    host
}

fn call_session(stage: &Stage, session: &mut SessionObj) {
    let alert = Alert::new(7, 1, "an_alert", "something").with_torrent(TORRENT).with_data(b"de");
    call! { stage, session, stage.host.session_call();
        load_state(b"saved");
        added();
        on_tick();
        on_alert(&alert);
        save_state();
        on_unknown_torrent(&[8; 20], address());
        get_unchoke_priority(TORRENT, PEER);
        on_dht_request("ping", address(), b"de");
        on_timer(5);
    }
}

fn call_torrent(stage: &Stage, torrent: &mut TorrentObj) {
    call! { stage, torrent, stage.host.torrent_call(TORRENT);
        load_state(b"saved");
        on_files_checked();
        on_metadata();
        on_state(TorrentState::SEEDING);
        on_piece_pass(5);
        on_piece_failed(4);
        tick();
        on_pause();
        on_resume();
        on_add_peer(address(), 1, 2);
        on_read_done(5, REQUEST, Ok(Buffer::from(vec![1, 2, 3])));
        on_read_done(6, REQUEST, Err("gone".to_owned()));
        save_state();
    }
}

fn call_peer(stage: &Stage, peer: &mut PeerObj) {
    let mut entries = HandshakeEntries::new();
    call! { stage, peer, stage.host.peer_call(TORRENT, PEER);
        load_state(b"saved");
        on_connected();
        on_handshake(&[1; 8]);
        message_ids();
        add_handshake(&mut entries);
        on_extension_handshake(b"de");
        on_extended("x_some", b"hello");
        on_bitfield(&[0x80]);
        on_have(1);
        on_have_all();
        on_have_none();
        on_dont_have(1);
        on_allowed_fast(1);
        on_suggest(1);
        on_choke();
        on_unchoke();
        on_interested();
        on_not_interested();
        on_request(REQUEST);
        on_piece(REQUEST, &Buffer::from(vec![1, 2, 3]));
        on_cancel(REQUEST);
        on_reject(REQUEST);
        on_unknown_message(99, b"what");
        on_piece_pass(1);
        on_piece_failed(1);
        tick();
        can_disconnect("nothing to do");
        save_state();
    }
    say("  claimed", &entries.extensions().collect::<Vec<_>>());
    say("  offered", &entries.values().collect::<Vec<_>>());
}

fn call_peer_of_what_is_sent(stage: &Stage, peer: &mut PeerObj) {
    call! { stage, peer, stage.host.peer_call(TORRENT, PEER);
        write_request(REQUEST);
        write_message(4, &[0, 0, 0, 1]);
        sent_choke();
        sent_unchoke();
        sent_interested();
        sent_not_interested();
        sent_have(1);
        sent_bitfield(&[0x80]);
        sent_have_all();
        sent_have_none();
        sent_allowed_fast(1);
        sent_suggest(1);
        sent_request(REQUEST);
        sent_piece(REQUEST);
        sent_cancel(REQUEST);
        sent_reject(REQUEST);
        sent_payload(16384);
        on_disconnect("the end");
    }
}
