//! Sessions as an embedding program has them, with real sockets and files.

use super::*;
use bytes::BytesMut;
use reef_engine::alert::{Category, CustomAlert};
use reef_engine::{Action, AddTorrent, Alert, Hooks, TorrentFlags};
use reef_plugin_host::{PluginHost, PluginHostConfig};
use reef_proto::handshake::{Feature, Handshake, Reserved};
use reef_proto::message::{BlockRequest, Message, id};
use reef_proto::metainfo::Metainfo;
use reef_proto::peer_id::PeerId;
use sha1::{Digest, Sha1};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

const PIECE: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(30);

/// A session on the loopback.
fn session(state: Option<PathBuf>) -> Session {
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    Session::start(Config { listen, state, ..Config::default() }).unwrap()
}

#[test]
fn who_subscribes_with_the_start_hears_where_the_session_listens() {
    let config = Config { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Config::default() };
    let (session, mut alerts) = Session::start_subscribed(config, Category::ALL.0, 100).unwrap();
    let heard = alerts.next_blocking(PATIENCE);
    let listens = session.listen_addresses()[0];
    assert!(matches!(&heard, NextAlert::Alert(Alert::ListenSucceeded { address }) if *address == listens), "{heard:?}");
}

#[test]
fn the_first_command_finds_the_session_listening() {
    let session = session(None);
    let Reply::Session(status) = session.command_blocking(Command::SessionStatus) else { panic!("no status") };
    assert_eq!(status.listening, session.listen_addresses());
}

/// Some bytes that are not alike anywhere.
fn content(length: usize) -> Vec<u8> {
    let mut x = 1_u64;
    let step = |_| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    };
    (0..length).map(step).collect()
}

fn torrent(content: &[u8]) -> Arc<Metainfo> {
    let mut info = format!("d6:lengthi{}e4:name4:file12:piece lengthi{PIECE}e", content.len()).into_bytes();
    info.extend(format!("6:pieces{}:", content.chunks(PIECE).count() * 20).into_bytes());
    content.chunks(PIECE).for_each(|piece| info.extend(Sha1::digest(piece)));
    info.push(b'e');
    Arc::new(Metainfo::from_info(info.into(), Vec::new()).unwrap())
}

fn add(session: &Session, metainfo: &Arc<Metainfo>, folder: &Path, peers: Vec<SocketAddr>) -> TorrentId {
    let flags = TorrentFlags::DEFAULT.without(TorrentFlags::PAUSED.with(TorrentFlags::AUTO_MANAGED));
    let torrent = AddTorrent {
        metainfo: Some(Arc::clone(metainfo)),
        save_path: folder.to_owned(),
        flags,
        peers,
        ..AddTorrent::default()
    };
    match session.command_blocking(Command::AddTorrent(Box::new(torrent))) {
        Reply::Added(id) => id,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn wait_for(alerts: &mut AlertStream, mut wanted: impl FnMut(&Alert) -> bool) {
    let end = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        match alerts.next_blocking(end.saturating_duration_since(Instant::now())) {
            NextAlert::Alert(alert) if wanted(&alert) => return,
            NextAlert::Alert(alert) => seen.push(alert.to_string()),
            other => panic!("{other:?} after {seen:#?}"),
        }
    }
}

#[test]
fn a_file_goes_from_one_session_to_another() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let content = content(40 * PIECE + 12_345);
    std::fs::create_dir_all(&from).unwrap();
    std::fs::write(from.join("file"), &content).unwrap();
    let metainfo = torrent(&content);
    let seed = session(None);
    let get = session(Some(folder.path().join("state")));
    let mut alerts = get.subscribe(Category::ALL.0, 1000);
    let mut seed_alerts = seed.subscribe(Category::ALL.0, 1000);
    add(&seed, &metainfo, &from, Vec::new());
    wait_for(&mut seed_alerts, |a| matches!(a, Alert::TorrentChecked { .. }));
    add(&get, &metainfo, &to, seed.listen_addresses().to_vec());
    wait_for(&mut alerts, |a| matches!(a, Alert::TorrentFinished { .. }));
    assert!(std::fs::read(to.join("file")).unwrap() == content);
    assert!(rt::block_on(get.stop(PATIENCE)));
    assert!(rt::block_on(seed.stop(PATIENCE)));
    drop(get);
    let again = session(Some(folder.path().join("state")));
    let stored = again.take_stored_torrents();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].hashes, metainfo.info_hashes);
}

/// A peer that asks a seed for one block at a time.
struct Asker {
    stream: TcpStream,
}

impl Asker {
    /// Connects and is unchoked.
    fn new(seed: &Session, metainfo: &Metainfo) -> Self {
        let mut stream = TcpStream::connect(seed.listen_addresses()[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let reserved = Reserved([0; 8]).with(Feature::Fast);
        let peer_id = PeerId(*b"-XX0001-asksforblock");
        let handshake = Handshake { reserved, info_hash: metainfo.info_hashes.wire(), peer_id };
        stream.write_all(&handshake.to_bytes()).unwrap();
        stream.read_exact(&mut [0; 68]).unwrap();
        let mut asker = Self { stream };
        assert!(asker.say(&Message::HaveNone) && asker.say(&Message::Interested));
        while asker.hear().expect("an unchoke").first() != Some(&id::UNCHOKE) {}
        asker
    }

    fn say(&mut self, message: &Message) -> bool {
        let mut out = BytesMut::new();
        message.encode_into(&mut out);
        self.stream.write_all(&out).is_ok()
    }

    /// The next message without its length; `None` when the connection is closed, also in the middle of one.
    fn hear(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.read(&mut length)?;
        let mut message = vec![0; u32::from_be_bytes(length) as usize];
        self.read(&mut message)?;
        Some(message)
    }

    fn read(&mut self, into: &mut [u8]) -> Option<()> {
        match self.stream.read_exact(into) {
            Ok(()) => Some(()),
            Err(e) if matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => None,
            Err(e) => panic!("{e}"),
        }
    }

    /// A block from the start of a piece; `None` if the connection closes over it.
    fn block(&mut self, piece: u32) -> Option<Vec<u8>> {
        self.say(&Message::Request(BlockRequest { piece, begin: 0, length: 16 << 10 }));
        loop {
            let message = self.hear()?;
            if message.first() == Some(&id::PIECE) {
                assert_eq!(message[1..9], [piece.to_be_bytes(), [0; 4]].concat());
                return Some(message[9..].to_vec());
            }
        }
    }
}

/// Seeds a file that is then changed: whatever is sent is whole blocks, and after some of them (a window of a file is
/// believed for a while) the connection closes and the torrent stops with an error.
#[track_caller]
fn check_changed(change: impl Fn(&Path), is_right_to_the_end: bool) {
    let folder = tempfile::tempdir().unwrap();
    let content = content(40 * PIECE);
    std::fs::write(folder.path().join("file"), &content).unwrap();
    let metainfo = torrent(&content);
    let seed = session(None);
    let mut alerts = seed.subscribe(Category::ALL.0, 1000);
    add(&seed, &metainfo, folder.path(), Vec::new());
    wait_for(&mut alerts, |a| matches!(a, Alert::TorrentChecked { .. }));
    let mut asker = Asker::new(&seed, &metainfo);
    let right = |piece: u32| &content[piece as usize * PIECE..][..16 << 10];
    for piece in [39, 0, 1, 39] {
        assert!(asker.block(piece).expect("a block") == right(piece));
    }
    change(folder.path());
    let mut closed = false;
    for _ in 0..1000 {
        match asker.block(39) {
            Some(block) => assert!(!is_right_to_the_end || block == right(39)),
            None => {
                closed = true;
                break;
            }
        }
    }
    assert!(closed, "it goes on");
    wait_for(&mut alerts, |a| matches!(a, Alert::TorrentError { error, .. } if error.code == ErrorCode::MissingFile));
}

#[test]
fn a_file_that_is_cut_while_it_is_served_closes_the_connection_and_stops_the_torrent() {
    let cut = |folder: &Path| {
        let file = std::fs::File::options().write(true).open(folder.join("file")).unwrap();
        file.set_len(39 * PIECE as u64 + 100).unwrap();
    };
    check_changed(cut, true);
}

#[test]
fn a_file_that_is_replaced_while_it_is_served_stops_the_torrent_and_none_of_the_other_file_is_sent() {
    let replace = |folder: &Path| {
        std::fs::write(folder.join("other"), vec![7; 40 * PIECE]).unwrap();
        std::fs::rename(folder.join("other"), folder.join("file")).unwrap();
    };
    check_changed(replace, true);
}

#[test]
fn a_file_that_is_removed_while_it_is_served_stops_the_torrent() {
    check_changed(|folder| std::fs::remove_file(folder.join("file")).unwrap(), true);
}

#[test]
fn a_file_that_is_written_by_somebody_else_while_it_is_served_stops_the_torrent() {
    check_changed(|folder| std::fs::write(folder.join("file"), vec![7; 40 * PIECE]).unwrap(), false);
}

#[test]
fn a_session_that_has_ended_answers_that_it_has() {
    let session = session(None);
    let mut alerts = session.subscribe(Category::ALL.0, 9);
    assert!(matches!(session.command_blocking(Command::SessionStatus), Reply::Session(_)));
    assert!(rt::block_on(session.stop(PATIENCE)));
    let reply = session.command_blocking(Command::SessionStatus);
    assert!(matches!(reply, Reply::Failed(ErrorInfo { code: ErrorCode::Stopping, .. })));
    while alerts.try_next().is_some() {}
    assert_eq!(alerts.next_blocking(PATIENCE), NextAlert::Ended);
}

#[test]
fn a_port_in_use_and_a_state_file_in_use_are_one_line_each() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let first = session(Some(state.clone()));
    let listen = first.listen_addresses().to_vec();
    let check = |config: Config, expected: &str| {
        let why = Session::start(config).err().unwrap().to_string();
        assert!(why.contains(expected) && !why.contains('\n'), "{why}");
    };
    check(Config { listen, ..Config::default() }, "port in use: choose another with --listen");
    check(Config { state: Some(state), ..Config::default() }, "in use by another reef");
}

type Waker = Box<dyn Fn() + Send + Sync>;

/// Plugins that want no hook.
#[derive(Default)]
struct Double {
    waker: Arc<Mutex<Option<Waker>>>,
    panics: bool,
}

impl Hooks for Double {}

impl Plugins for Double {
    fn take_requests(&mut self) -> Vec<Action> {
        assert!(!self.panics, "as the test wants");
        let (plugin, what, message) = ("double".to_owned(), "awake".to_owned(), "awake".to_owned());
        let alert =
            CustomAlert { plugin, what, message, kind: 10_001, category: u32::MAX, torrent: None, data: Vec::new() };
        vec![Action::PostAlert(alert)]
    }

    fn set_waker(&self, waker: Waker) {
        *self.waker.lock().unwrap() = Some(waker);
    }

    fn save_state(&mut self) -> Vec<(String, Vec<u8>)> {
        vec![("plugin/double".to_owned(), b"kept".to_vec())]
    }
}

#[test]
fn what_plugins_ask_for_is_done_and_what_they_save_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let state = Some(folder.path().join("state"));
    let plugins = Double::default();
    let waker = Arc::clone(&plugins.waker);
    let config = Config { state: state.clone(), plugins: Some(Box::new(plugins)), ..Config::default() };
    let session = Session::start(config).unwrap();
    let mut alerts = session.subscribe(Category::PLUGIN.0, 9);
    (waker.lock().unwrap().as_ref().unwrap())();
    wait_for(&mut alerts, |a| a.what() == "awake");
    drop(session);
    let again = Session::start(Config { state, ..Config::default() }).unwrap();
    assert_eq!(again.stored_state(), [("plugin/double".to_owned(), "kept".into())]);
}

#[test]
fn a_session_without_a_plugin_host_says_so() {
    let session = session(None);
    let change = Change::Withdraw("ut_pex".to_owned());
    assert!(matches!(rt::block_on(session.change_plugin(change)), Err(ChangeError::NoHost)));
    assert!(rt::block_on(session.plugins()).is_empty());
}

#[test]
fn a_plugin_that_is_not_there_cannot_be_withdrawn() {
    let host = PluginHost::new(PluginHostConfig::default());
    let session = Session::start(Config { plugins: Some(Box::new(host)), ..Config::default() }).unwrap();
    let change = Change::Withdraw("ut_pex".to_owned());
    let refused = rt::block_on(session.change_plugin(change));
    assert!(matches!(&refused, Err(ChangeError::Load(_))), "{refused:?}");
}

#[test]
fn nobody_waits_for_a_session_that_panicked() {
    let plugins = Double { panics: true, ..Double::default() };
    let waker = Arc::clone(&plugins.waker);
    let session = Session::start(Config { plugins: Some(Box::new(plugins)), ..Config::default() }).unwrap();
    let mut alerts = session.subscribe(Category::ALL.0, 9);
    (waker.lock().unwrap().as_ref().unwrap())();
    assert_eq!(rt::block_on(alerts.next()), None);
    let reply = session.command_blocking(Command::SessionStatus);
    assert!(matches!(reply, Reply::Failed(ErrorInfo { code: ErrorCode::Stopping, .. })));
}
