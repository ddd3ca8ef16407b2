//! A download whose file may not grow in the middle of a run of pieces stops, claims nothing that is not there, and goes on when
//! there is room. Alone in its process, because the limit is the process's.

use reef::{AlertStream, Config, NextAlert, Session};
use reef_engine::alert::Category;
use reef_engine::{AddTorrent, Alert, Command, ErrorCode, Reply, TorrentFlags, TorrentId};
use reef_proto::metainfo::Metainfo;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sha1::{Digest, Sha1};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PIECE: usize = 64 << 10;
const PIECES: usize = 128;
/// Fifty and a half pieces: a run of a mebibyte does not end there.
const ROOM: u64 = 101 * PIECE as u64 / 2;
const PATIENCE: Duration = Duration::from_secs(30);

fn session() -> Session {
    let mut config = Config { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Config::default() };
    config.settings.min_reconnect_time = 1;
    Session::start(config).unwrap()
}

/// A file and its torrent.
fn torrent() -> (Vec<u8>, Arc<Metainfo>) {
    let mut x = 1_u64;
    let step = |_| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    };
    let content: Vec<u8> = (0..PIECES * PIECE).map(step).collect();
    let mut info = format!("d6:lengthi{}e4:name4:file12:piece lengthi{PIECE}e", content.len()).into_bytes();
    info.extend(format!("6:pieces{}:", PIECES * 20).into_bytes());
    content.chunks(PIECE).for_each(|piece| info.extend(Sha1::digest(piece)));
    info.push(b'e');
    (content, Arc::new(Metainfo::from_info(info.into(), Vec::new()).unwrap()))
}

fn add(session: &Session, metainfo: &Arc<Metainfo>, folder: &Path, peers: Vec<SocketAddr>) -> TorrentId {
    let flags = TorrentFlags::DEFAULT.without(TorrentFlags::PAUSED.with(TorrentFlags::AUTO_MANAGED));
    let torrent = AddTorrent {
        metainfo: Some(metainfo.clone()),
        save_path: folder.to_owned(),
        flags: flags.with(TorrentFlags::SEQUENTIAL_DOWNLOAD),
        peers,
        ..AddTorrent::default()
    };
    match session.command_blocking(Command::AddTorrent(Box::new(torrent))) {
        Reply::Added(id) => id,
        other => panic!("{other:?}"),
    }
}

/// Waits for an alert, and returns the pieces that were said to be there before it.
#[track_caller]
fn pieces_until(alerts: &mut AlertStream, wanted: impl Fn(&Alert) -> bool) -> Vec<u32> {
    let (end, mut pieces) = (Instant::now() + PATIENCE, Vec::new());
    loop {
        match alerts.next_blocking(end.saturating_duration_since(Instant::now())) {
            NextAlert::Alert(alert) if wanted(&alert) => return pieces,
            NextAlert::Alert(Alert::PieceFinished { piece, .. }) => pieces.push(piece),
            NextAlert::Alert(Alert::HashFailed { piece, .. }) => panic!("piece {piece} is wrong"),
            NextAlert::Alert(_) => {}
            other => panic!("{other:?} after {pieces:?}"),
        }
    }
}

/// Files may grow up to so many bytes.
fn set_limit(bytes: Option<u64>) {
    setrlimit(Resource::Fsize, Rlimit { current: bytes, ..getrlimit(Resource::Fsize) }).unwrap();
}

#[test]
fn a_download_that_finds_no_room_in_the_middle_of_a_run_stops_and_goes_on_when_there_is_some() {
    // Writes beyond the limit fail once the signal that comes with it is not deadly.
    let _flag = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let (content, metainfo) = torrent();
    std::fs::create_dir_all(&from).unwrap();
    std::fs::write(from.join("file"), &content).unwrap();
    set_limit(Some(ROOM));
    let (seed, get) = (session(), session());
    let mut seed_alerts = seed.subscribe(Category::ALL.0, 1000);
    let mut alerts = get.subscribe(Category::ALL.0, 10_000);
    add(&seed, &metainfo, &from, Vec::new());
    pieces_until(&mut seed_alerts, |alert| matches!(alert, Alert::TorrentChecked { .. }));
    let id = add(&get, &metainfo, &to, seed.listen_addresses().to_vec());

    let no_room =
        |alert: &Alert| matches!(alert, Alert::TorrentError { error, .. } if error.code == ErrorCode::NoSpace);
    let mut claimed = pieces_until(&mut alerts, no_room);
    let Reply::Torrent(stopped) = get.command_blocking(Command::TorrentStatus(id)) else { panic!("no torrent") };
    assert_eq!(stopped.error.map(|error| error.code), Some(ErrorCode::NoSpace));
    assert_eq!(stopped.num_peers, 0);

    set_limit(None);
    assert!(matches!(get.command_blocking(Command::Resume(id)), Reply::Done));
    claimed.extend(pieces_until(&mut alerts, |alert| matches!(alert, Alert::TorrentResumed { .. })));
    let on_disk = std::fs::read(to.join("file")).unwrap();
    for &piece in &claimed {
        let at = piece as usize * PIECE..(piece as usize + 1) * PIECE;
        assert!(on_disk.get(at.clone()) == Some(&content[at]), "piece {piece} is not there");
    }
    let seed_address = seed.listen_addresses()[0];
    assert!(matches!(get.command_blocking(Command::AddPeer { torrent: id, address: seed_address }), Reply::Done));
    let rest = pieces_until(&mut alerts, |alert| matches!(alert, Alert::TorrentFinished { .. }));
    assert!(std::fs::read(to.join("file")).unwrap() == content);
    let fetched: BTreeSet<u32> = claimed.iter().chain(&rest).copied().collect();
    assert_eq!(fetched.len(), claimed.len() + rest.len(), "a piece that was there was fetched again");
    let Reply::Torrent(done) = get.command_blocking(Command::TorrentStatus(id)) else { panic!("no torrent") };
    assert_eq!((done.have_pieces as usize, done.error), (PIECES, None));
}
