use super::*;
use reef_engine::alert::Category;
use reef_engine::{AddTorrent, Alert, TorrentFlags};
use reef_proto::metainfo::Metainfo;
use sha1::{Digest, Sha1};
use std::path::Path;
use std::time::Instant;

const PIECE: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(30);

/// A session on the loopback.
fn session(state: Option<PathBuf>) -> Session {
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    Session::start(Config { listen, state, ..Config::default() }).unwrap()
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
    let stored = again.stored_torrents();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].hashes, metainfo.info_hashes);
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
