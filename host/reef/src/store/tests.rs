//! The store as a whole, with real files and other processes.

use std::process::{Command, Output};

use super::*;
use reef_proto::hash::{Sha1Hash, Sha256Hash};

const LONG: Duration = Duration::from_secs(3600);

fn open(path: &Path) -> Store {
    Store::open_with_interval(path, LONG).unwrap()
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn hybrid() -> InfoHashes {
    InfoHashes { v1: Some(Sha1Hash::of(b"a")), v2: Some(Sha256Hash::of(b"a")) }
}

fn put_torrent(store: &Store, id: u64, hashes: InfoHashes, metainfo: Option<&str>) {
    store.put(StoreOp::PutTorrent { torrent: TorrentId(id), hashes, metainfo: metainfo.map(bytes) });
}

fn put_have(store: &Store, id: u64, have: &str) {
    store.put(StoreOp::PutHave { torrent: TorrentId(id), have: bytes(have) });
}

fn have_of(store: &Store, id: u64) -> Option<String> {
    let have = store.content(TorrentId(id)).unwrap().have?;
    Some(String::from_utf8(have.to_vec()).unwrap())
}

/// Runs one test of this binary in another process, with a variable that tells it what to do.
fn in_another_process(test: &str, path: &Path) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(OTHER_PROCESS, path).output().unwrap()
}

const OTHER_PROCESS: &str = "REEF_TEST_STORE";

#[test]
fn what_was_put_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/state.redb");
    let store = open(&path);
    assert_eq!(store.load().unwrap(), Loaded { next_torrent_id: 1, ..Loaded::default() });
    assert!(!path.exists(), "made when there is something to keep");
    put_torrent(&store, 5, hybrid(), Some("metainfo"));
    put_torrent(&store, 2, InfoHashes::from_v1(Sha1Hash::of(b"b")), None);
    store.put(StoreOp::PutResume { torrent: TorrentId(5), resume: bytes("resume") });
    put_have(&store, 5, "have");
    store.put(StoreOp::PutState { key: "plugin/x".into(), value: bytes("state") });
    store.put(StoreOp::PutState { key: "plugin/y".into(), value: bytes("state") });
    drop(store);
    let store = open(&path);
    let loaded = store.load().unwrap();
    let first = StoredTorrent { id: TorrentId(2), hashes: InfoHashes::from_v1(Sha1Hash::of(b"b")), resume: None };
    let second = StoredTorrent { id: TorrentId(5), hashes: hybrid(), resume: Some(bytes("resume")) };
    let content = StoredContent { metainfo: Some(bytes("metainfo")), have: Some(bytes("have")) };
    assert_eq!(store.content(TorrentId(5)).unwrap(), content);
    assert_eq!(store.state().unwrap(), loaded.state);
    assert_eq!(loaded.torrents, [first.clone(), second]);
    assert_eq!(loaded.state, [("plugin/x".into(), bytes("state")), ("plugin/y".into(), bytes("state"))]);
    assert_eq!(loaded.next_torrent_id, 6);
    store.put(StoreOp::Remove(TorrentId(5)));
    store.put(StoreOp::PutState { key: "plugin/x".into(), value: Bytes::new() });
    put_torrent(&store, 2, hybrid(), Some("late"));
    store.flush().unwrap();
    let loaded = store.load().unwrap();
    assert_eq!(loaded.torrents, [StoredTorrent { hashes: hybrid(), ..first }]);
    assert_eq!(store.content(TorrentId(2)).unwrap().metainfo, Some(bytes("late")));
    assert_eq!(store.content(TorrentId(5)).unwrap(), StoredContent::default());
    assert_eq!(loaded.state.len(), 1);
    assert_eq!(loaded.next_torrent_id, 6, "an id is never used again");
}

#[test]
fn changes_are_committed_together_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let store = open(&path);
    for round in 0..100 {
        for id in 1..=4 {
            put_torrent(&store, id, InfoHashes::from_v1(Sha1Hash::of(&[id as u8])), None);
            put_have(&store, id, &format!("{round}"));
        }
    }
    // Whoever reads comes after what was put, and a commit would have made the file.
    assert_eq!(have_of(&store, 4), Some("99".into()));
    assert!(!path.exists());
    store.flush().unwrap();
    store.flush().unwrap();
    assert_eq!((have_of(&store, 1), have_of(&store, 4)), (Some("99".into()), Some("99".into())));
    assert_eq!(store.load().unwrap().torrents.len(), 4);
}

#[test]
fn a_change_is_committed_after_a_while_without_being_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let store = Store::open_with_interval(&path, Duration::from_millis(5)).unwrap();
    put_have(&store, 1, "have");
    let until = Instant::now() + Duration::from_secs(20);
    while !path.exists() {
        assert!(Instant::now() < until, "no commit in 20 seconds");
        std::thread::yield_now();
    }
}

#[test]
fn a_second_process_is_told_who_has_the_store() {
    if let Some(path) = std::env::var_os(OTHER_PROCESS) {
        match Store::open(Path::new(&path)) {
            Err(error) => println!("refused: {error}"),
            Ok(store) => println!("opened: {:?}", store.load().unwrap()),
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let name = "store::tests::a_second_process_is_told_who_has_the_store";
    let store = open(&path);
    put_torrent(&store, 1, hybrid(), None);
    store.flush().unwrap();
    let said = String::from_utf8(in_another_process(name, &path).stdout).unwrap();
    let expected = format!("refused: {}: in use by another reef (process {})", path.display(), std::process::id());
    assert!(said.contains(&expected), "{said}");
    assert!(matches!(Store::open(&path), Err(StoreError::InUse { pid: Some(_), .. })));
    drop(store);
    let said = String::from_utf8(in_another_process(name, &path).stdout).unwrap();
    assert!(said.contains("opened: Loaded { next_torrent_id: 2"), "{said}");
    assert!(!path.with_extension("redb.lock").exists());
}

#[test]
fn a_process_that_dies_loses_only_what_was_not_committed() {
    if let Some(path) = std::env::var_os(OTHER_PROCESS) {
        let store = open(Path::new(&path));
        put_torrent(&store, 1, hybrid(), Some("metainfo"));
        put_have(&store, 1, "committed");
        store.flush().unwrap();
        put_have(&store, 1, "lost");
        std::process::abort();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let output = in_another_process("store::tests::a_process_that_dies_loses_only_what_was_not_committed", &path);
    assert!(!output.status.success());
    let store = open(&path);
    assert_eq!(have_of(&store, 1).as_deref(), Some("committed"));
    assert_eq!(store.moved_aside(), None);
    // A copy taken while the store is in use is what a crash of the machine leaves.
    put_have(&store, 1, "later");
    store.flush().unwrap();
    let copy = folder.path().join("copy.redb");
    std::fs::copy(&path, &copy).unwrap();
    assert_eq!(have_of(&open(&copy), 1).as_deref(), Some("later"));
}

#[test]
fn a_damaged_store_is_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let store = open(&path);
    put_torrent(&store, 1, hybrid(), Some("metainfo"));
    drop(store);
    let whole = std::fs::read(&path).unwrap();
    let garbage = vec![0x5a; 100_000];
    let cut = whole[..whole.len() / 3].to_vec();
    for (number, damaged) in [b"not a store".to_vec(), garbage, cut].into_iter().enumerate() {
        std::fs::write(&path, &damaged).unwrap();
        let store = open(&path);
        let aside = folder.path().join(format!("state.redb.damaged-{}", number + 1));
        assert_eq!(store.moved_aside(), Some(&*aside));
        assert_eq!(std::fs::read(&aside).unwrap().len(), damaged.len());
        assert!(store.load().unwrap().torrents.is_empty());
        put_torrent(&store, 1, hybrid(), None);
        drop(store);
        assert_eq!(open(&path).load().unwrap().torrents.len(), 1);
    }
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    drop({
        let store = open(&path);
        put_torrent(&store, 1, hybrid(), None);
        store
    });
    database::write_version(&path, 2);
    let error = Store::open(&path).err().unwrap();
    assert!(matches!(error, StoreError::TooNew { found: 2, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("newer version"));
    assert!(path.exists() && !folder.path().join("state.redb.damaged-1").exists());
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), b"").unwrap();
    let error = Store::open(&folder.path().join("file/state.redb")).err().unwrap();
    assert!(error.to_string().contains("/file"), "{error}");
}

#[test]
fn content_that_is_not_committed_yet_can_be_read_and_content_that_goes_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let store = open(&path);
    put_torrent(&store, 1, hybrid(), Some("metainfo"));
    put_have(&store, 1, "first");
    assert_eq!(have_of(&store, 1).as_deref(), Some("first"));
    assert!(!path.exists(), "a question is no commit");
    store.flush().unwrap();
    put_have(&store, 1, "second");
    let content = store.content(TorrentId(1)).unwrap();
    assert_eq!((content.metainfo, content.have), (Some(bytes("metainfo")), Some(bytes("second"))));
    store.put(StoreOp::Remove(TorrentId(1)));
    assert_eq!(store.content(TorrentId(1)).unwrap(), StoredContent::default());
}
