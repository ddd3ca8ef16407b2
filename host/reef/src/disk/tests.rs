//! The pool as a whole, on real folders.

use std::collections::HashMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use reef_engine::TorrentId;
use reef_engine::disk::*;
use reef_proto::hash::Sha1Hash;
use reef_proto::layout::{FileEntry, Layout};
use reef_proto::message::BlockRequest;

use super::write::{Write, hash_and_write};
use super::{DiskPool, OnBlock, PoolConfig, in_page_cache};

const T: TorrentId = TorrentId(7);
const BLOCK: u32 = 16 * 1024;

/// One torrent on one pool, in a folder of its own.
struct Bench {
    save: tempfile::TempDir,
    layout: Arc<Layout>,
    /// All bytes of the torrent.
    content: Vec<u8>,
    pool: DiskPool,
    answers: Mutex<Receiver<DiskDone>>,
}

impl Bench {
    /// Files as `name:length`, with `!` after it for padding and `x` for an executable.
    fn new(piece_length: u32, files: &[&str]) -> Self {
        let layout = Arc::new(Layout::new(piece_length, files.iter().map(|file| entry(file)).collect()).unwrap());
        let mut content = noise(layout.total_size());
        for file in layout.files().iter().filter(|file| file.pad) {
            content[file.offset as usize..][..file.length as usize].fill(0);
        }
        let (sender, answers) = channel();
        let sender = Mutex::new(sender);
        let on_done = Arc::new(move |done| sender.lock().unwrap().send(done).unwrap());
        let config = PoolConfig { threads: 3, max_open_files: 2, ..PoolConfig::default() };
        let pool = DiskPool::start(config, on_done).unwrap();
        let save = tempfile::tempdir().unwrap();
        Self { save, layout, content, pool, answers: Mutex::new(answers) }
    }

    /// The same, opened with every file wanted.
    fn opened(piece_length: u32, files: &[&str]) -> Self {
        let bench = Self::new(piece_length, files);
        bench.open(&[]);
        bench
    }

    fn do_job(&self, op: DiskOp) -> DiskResult {
        self.pool.submit(DiskJob { torrent: T, op });
        self.answer()
    }

    fn answer(&self) -> DiskResult {
        let done = self.answers.lock().unwrap().recv_timeout(std::time::Duration::from_secs(20)).unwrap();
        assert_eq!(done.torrent, T);
        done.result
    }

    /// Opens with these files unwanted.
    fn open(&self, unwanted: &[usize]) -> Opened {
        self.open_after(unwanted, None)
    }

    fn open_after(&self, unwanted: &[usize], synced: Option<Vec<FileStat>>) -> Opened {
        let open = OpenStorage {
            layout: self.layout.clone(),
            save_path: self.path(""),
            wanted: self.wanted(unwanted),
            part_name: "t".to_owned(),
            synced,
        };
        match self.do_job(DiskOp::Open(Box::new(open))) {
            DiskResult::Opened(opened) => opened.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn wanted(&self, unwanted: &[usize]) -> Vec<bool> {
        (0..self.layout.files().len()).map(|index| !unwanted.contains(&index)).collect()
    }

    fn set_wanted(&self, unwanted: &[usize]) {
        self.pool.submit(DiskJob { torrent: T, op: DiskOp::SetWanted(self.wanted(unwanted)) });
    }

    fn bytes_of(&self, piece: u32) -> &[u8] {
        &self.content[self.layout.piece_offset(piece) as usize..][..self.layout.piece_size(piece) as usize]
    }

    fn expect(&self, piece: u32) -> Expect {
        Expect { v1: Some(Sha1Hash::of(self.bytes_of(piece))), v2: None }
    }

    fn write_op(&self, piece: u32) -> DiskOp {
        let data = blocks(self.bytes_of(piece));
        DiskOp::WritePiece { piece, data, expect: self.expect(piece) }
    }

    fn write(&self, piece: u32) -> Result<Verdict, DiskError> {
        self.checked(self.write_op(piece)).0
    }

    fn write_all(&self) {
        for piece in 0..self.layout.num_pieces() {
            assert_eq!(self.write(piece), Ok(Verdict::Passed), "piece {piece}");
        }
    }

    /// Writes pieces in one go, as a disk thread does that finds them together.
    fn write_as_one(&self, pieces: std::ops::Range<u32>) -> Vec<(u32, Result<Verdict, DiskError>)> {
        let of = |piece| Write {
            torrent: T,
            storage: Ok(self.pool.storage_of(T)),
            piece,
            begin: 0,
            data: blocks(self.bytes_of(piece)),
            expect: Some(self.expect(piece)),
        };
        let done = hash_and_write(pieces.map(of).collect());
        let outcome = |done: DiskDone| match done.result {
            DiskResult::Checked { piece, outcome, .. } => (piece, outcome),
            other => panic!("{other:?}"),
        };
        done.into_iter().map(outcome).collect()
    }

    fn check(&self, piece: u32) -> Result<Verdict, DiskError> {
        self.checked(DiskOp::CheckPiece { piece, expect: self.expect(piece) }).0
    }

    fn checked(&self, op: DiskOp) -> (Result<Verdict, DiskError>, Vec<Bytes>) {
        match self.do_job(op) {
            DiskResult::Checked { outcome, data, .. } => (outcome, data),
            other => panic!("{other:?}"),
        }
    }

    fn run(&self, piece: u32, begin: u32, length: u32) -> Result<(), DiskError> {
        let data = blocks(&self.bytes_of(piece)[begin as usize..][..length as usize]);
        match self.do_job(DiskOp::WriteRun { piece, begin, data }) {
            DiskResult::Written { outcome, begin: b, length: l, .. } if (b, l) == (begin, length) => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn read(&self, piece: u32, begin: u32, length: u32) -> Result<Bytes, DiskError> {
        match self.do_job(DiskOp::Read { piece, begin, length }) {
            DiskResult::Read { outcome, .. } => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn finish(&self) -> Result<Vec<FileStat>, DiskError> {
        let finished = self.finish_and(true)?;
        assert_eq!(finished.kept_by, None, "all is on stable storage");
        Ok(finished.files)
    }

    fn finish_and(&self, sync: bool) -> Result<Finished, DiskError> {
        match self.do_job(DiskOp::Finish { sync }) {
            DiskResult::Finished(finished) => finished,
            other => panic!("{other:?}"),
        }
    }

    fn close(&self, delete_files: bool) -> Result<(), DiskError> {
        match self.do_job(DiskOp::Close { delete_files }) {
            DiskResult::Closed(closed) => closed,
            other => panic!("{other:?}"),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.save.path().join("save").join(path)
    }

    /// Every file below the save folder with its content.
    fn on_disk(&self) -> HashMap<String, Vec<u8>> {
        let mut found = HashMap::new();
        collect(&self.path(""), &self.path(""), &mut found);
        found
    }

    /// What is on disk is the torrent and nothing else.
    #[track_caller]
    fn assert_complete(&self) {
        let mut found = self.on_disk();
        for file in self.layout.files().iter().filter(|file| !file.pad) {
            let content = &self.content[file.offset as usize..][..file.length as usize];
            assert_eq!(found.remove(&file.display_path()).as_deref(), Some(content), "{}", file.display_path());
        }
        assert!(found.is_empty(), "{:?}", found.keys());
    }
}

fn entry(file: &str) -> FileEntry {
    let (path, length) = file.split_once(':').unwrap();
    FileEntry {
        path: path.split('/').map(str::to_owned).collect(),
        length: length.trim_end_matches(['!', 'x']).parse().unwrap(),
        pad: length.ends_with('!'),
        executable: length.ends_with('x'),
        ..FileEntry::default()
    }
}

fn noise(length: u64) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn blocks(data: &[u8]) -> Vec<Bytes> {
    data.chunks(BLOCK as usize).map(Bytes::copy_from_slice).collect()
}

fn collect(top: &Path, folder: &Path, found: &mut HashMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(top, &path, found);
        } else {
            let name = path.strip_prefix(top).unwrap().display().to_string();
            found.insert(name, std::fs::read(&path).unwrap());
        }
    }
}

/// Shapes of torrents: piece length and files.
const SHAPES: &[(u32, &[&str])] = &[
    (BLOCK, &["one:1"]),
    (BLOCK, &["exact:32768"]),
    (BLOCK, &["t/a:10", "t/empty:0", "t/b:20000", "t/sub/c:5", "t/d:40001"]),
    (4 * BLOCK, &["t/tiny:3", "t/also:4", "t/big:300000", "t/e:0"]),
    (2 * BLOCK, &["t/a:100", "t/.pad/32668:32668!", "t/b:70000", "t/.pad/2:28304!", "t/c:1"]),
    (1000, &["t/a:999", "t/b:1", "t/c:4321", "t/bin:17x"]),
    (64 * BLOCK, &["t/a:1048575", "t/b:1048577", "t/c:3"]),
];

#[test]
fn what_is_written_in_any_order_is_the_torrent() {
    for (piece_length, files) in SHAPES {
        let bench = Bench::opened(*piece_length, files);
        let pieces = bench.layout.num_pieces();
        // A fixed shuffle: 7919 is prime and divides none of the piece counts.
        let order: Vec<u32> = (0..pieces).map(|index| index * 7919 % pieces).collect();
        for &piece in &order {
            bench.pool.submit(DiskJob { torrent: T, op: bench.write_op(piece) });
            bench.pool.submit(DiskJob { torrent: T, op: DiskOp::Read { piece, begin: 0, length: 1 } });
        }
        let (mut written, mut read) = (vec![], vec![]);
        for _ in 0..2 * pieces {
            match bench.answer() {
                DiskResult::Checked { piece, outcome: Ok(Verdict::Passed), data } => {
                    assert_eq!(data.concat(), bench.bytes_of(piece));
                    written.push(piece);
                }
                DiskResult::Read { piece, outcome: Ok(bytes), .. } => {
                    assert_eq!(bytes, bench.bytes_of(piece)[..1]);
                    assert!(written.contains(&piece), "a read overtook the write before it");
                    read.push(piece);
                }
                other => panic!("{other:?}"),
            }
        }
        read.sort_unstable();
        assert_eq!(read, (0..pieces).collect::<Vec<_>>());
        for piece in 0..pieces {
            assert_eq!(bench.check(piece), Ok(Verdict::Passed));
            let half = bench.layout.piece_size(piece) / 2;
            assert_eq!(bench.read(piece, half, 1).unwrap(), bench.bytes_of(piece)[half as usize..][..1]);
        }
        let stats = bench.finish().unwrap();
        for (stat, file) in stats.iter().zip(bench.layout.files()) {
            assert_eq!(stat.size, if file.pad { 0 } else { file.length });
        }
        bench.assert_complete();
        bench.close(false).unwrap();
        let opened = bench.open(&[]);
        let found: Vec<_> = opened.files.iter().map(|file| file.unwrap_or_default()).collect();
        assert_eq!(found, stats);
        bench.close(true).unwrap();
        assert_eq!(std::fs::read_dir(bench.path("")).unwrap().count(), 0);
    }
}

#[test]
fn opening_makes_nothing_and_finishing_makes_what_has_no_bytes() {
    let bench = Bench::new(BLOCK, &["t/a:10x", "t/empty:0", "t/unwanted:0"]);
    let opened = bench.open(&[2]);
    assert_eq!(opened.files, [None, None, None]);
    assert!(opened.free_space.unwrap() > 0);
    assert!(!bench.path("").exists());
    bench.write_all();
    bench.finish().unwrap();
    assert_eq!(bench.on_disk().len(), 2);
    let mode = std::fs::metadata(bench.path("t/a")).unwrap().permissions().mode();
    assert_eq!(mode & 0o100, 0o100);
}

#[test]
fn a_wrong_piece_leaves_the_disk_untouched() {
    let bench = Bench::opened(BLOCK, &["t/a:20000", "t/b:20000"]);
    let mut data = bench.bytes_of(1).to_vec();
    data[5] ^= 1;
    let wrong = |data: Vec<u8>| DiskOp::WritePiece { piece: 1, data: blocks(&data), expect: bench.expect(1) };
    let (outcome, back) = bench.checked(wrong(data.clone()));
    assert_eq!((outcome, back.concat()), (Ok(Verdict::Failed), data));
    assert_eq!(bench.checked(wrong(vec![])).0, Ok(Verdict::Failed));
    let nothing = DiskOp::WritePiece { piece: 1, data: blocks(bench.bytes_of(1)), expect: Expect::default() };
    assert_eq!(bench.checked(nothing).0, Ok(Verdict::Failed));
    assert!(!bench.path("").exists());
}

#[test]
fn a_large_piece_is_hashed_as_its_runs_come() {
    let bench = Bench::opened(8 * BLOCK, &["t/a:50000", "t/b:300000"]);
    let size = bench.layout.piece_size(0);
    for (begin, length) in [(0, BLOCK), (BLOCK, 3 * BLOCK), (4 * BLOCK, size - 4 * BLOCK)] {
        bench.run(0, begin, length).unwrap();
    }
    // All was hashed while it was written, so the files are not asked.
    std::fs::remove_dir_all(bench.path("t")).unwrap();
    assert_eq!(bench.check(0), Ok(Verdict::Passed));
    assert_eq!(bench.check(0), Ok(Verdict::Failed));
}

#[test]
fn runs_out_of_order_are_read_back() {
    for order in [[2, 0, 1], [0, 2, 1], [1, 1, 0], [0, 0, 1]] {
        let bench = Bench::opened(6 * BLOCK, &["t/a:50000", "t/b:300000"]);
        for run in order {
            bench.run(1, run * 2 * BLOCK, 2 * BLOCK).unwrap();
        }
        let complete = (0..3).all(|run| order.contains(&run));
        let expected = if complete { Verdict::Passed } else { Verdict::Failed };
        assert_eq!(bench.check(1), Ok(expected), "{order:?}");
        for run in order {
            bench.run(1, run * 2 * BLOCK, 2 * BLOCK).unwrap();
        }
        (0..3).for_each(|run| bench.run(1, run * 2 * BLOCK, 2 * BLOCK).unwrap());
        assert_eq!(bench.check(1), Ok(Verdict::Passed));
    }
}

#[test]
fn a_run_that_replaces_hashed_bytes_is_hashed_again() {
    let bench = Bench::opened(4 * BLOCK, &["a:200000"]);
    bench.run(0, 0, 4 * BLOCK).unwrap();
    let bad = DiskOp::WriteRun { piece: 0, begin: BLOCK, data: vec![Bytes::from_static(b"bad")] };
    assert!(matches!(bench.do_job(bad), DiskResult::Written { outcome: Ok(()), length: 3, .. }));
    assert_eq!(bench.check(0), Ok(Verdict::Failed));
    let outside = DiskOp::WriteRun { piece: 0, begin: 4 * BLOCK - 1, data: vec![Bytes::from_static(b"bad")] };
    assert!(matches!(bench.do_job(outside), DiskResult::Written { outcome: Err(_), .. }));
    assert!(bench.read(0, 4 * BLOCK - 1, 2).is_err());
}

#[test]
fn missing_short_and_changed_files_fail_the_check() {
    let bench = Bench::opened(BLOCK, &["t/a:40000", "t/b:40000"]);
    bench.write_all();
    std::fs::File::options().write(true).open(bench.path("t/b")).unwrap().set_len(30_000).unwrap();
    let verdicts = || (0..5).map(|piece| bench.check(piece).unwrap() == Verdict::Passed).collect::<Vec<_>>();
    assert_eq!(verdicts(), [true, true, true, true, false]);
    let error = bench.read(4, 10_000, 100).unwrap_err();
    assert_eq!((error.kind, error.path), (DiskErrorKind::Missing, bench.path("t/b").display().to_string()));
    // Replaced while it is open: what has the name counts.
    std::fs::write(bench.path("new"), vec![1; 40_000]).unwrap();
    std::fs::rename(bench.path("new"), bench.path("t/b")).unwrap();
    assert_eq!(verdicts(), [true, true, false, false, false]);
    std::fs::remove_file(bench.path("t/a")).unwrap();
    assert_eq!(verdicts(), [false; 5]);
}

#[test]
fn a_block_of_a_file_that_somebody_else_changed_is_refused_until_it_is_verified_again() {
    let bench = Bench::opened(BLOCK, &["t/a:40000", "t/b:40000"]);
    bench.write_all();
    let a = BlockRequest { piece: 0, begin: 0, length: BLOCK };
    // What the session itself writes may change as often as it does.
    assert!(bench.read(0, 0, BLOCK).is_ok() && bench.pool.is_unchanged(T, &a));
    bench.write_all();
    assert!(bench.read(0, 0, BLOCK).is_ok() && bench.pool.is_unchanged(T, &a));
    bench.finish().unwrap();
    assert!(bench.read(0, 0, BLOCK).is_ok() && bench.pool.is_unchanged(T, &a));
    let changed = std::fs::File::options().write(true).open(bench.path("t/a")).unwrap();
    changed.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert!(!bench.pool.is_unchanged(T, &a));
    let error = bench.read(0, 0, BLOCK).unwrap_err();
    assert_eq!((error.kind, error.path), (DiskErrorKind::Missing, bench.path("t/a").display().to_string()));
    assert!(bench.read(4, 0, 100).is_ok(), "the other file is what it was");
    assert_eq!(bench.check(0), Ok(Verdict::Passed));
    assert!(bench.read(0, 0, BLOCK).is_ok() && bench.pool.is_unchanged(T, &a));
}

#[test]
fn a_file_removed_while_it_is_written_is_noticed() {
    let bench = Bench::opened(BLOCK, &["t/a:40000"]);
    assert_eq!(bench.write(0), Ok(Verdict::Passed));
    std::fs::remove_file(bench.path("t/a")).unwrap();
    let error = bench.write(1).unwrap_err();
    assert_eq!((error.kind, error.path), (DiskErrorKind::Missing, bench.path("t/a").display().to_string()));
    assert_eq!(bench.check(0), Ok(Verdict::Failed));
    bench.write_all();
    bench.assert_complete();
}

#[test]
fn bytes_of_unwanted_files_stay_out_of_sight_until_they_are_wanted() {
    let bench = Bench::new(2 * BLOCK, &["t/a:40000", "t/b:10", "t/c:40000", "t/d:20000", "t/e:0"]);
    bench.open(&[1, 2]);
    bench.write_all();
    bench.finish().unwrap();
    let names = || {
        let mut names: Vec<_> = bench.on_disk().into_keys().collect();
        names.sort();
        names
    };
    assert_eq!(names(), [".t.parts", "t/a", "t/d", "t/e"]);
    assert_eq!((0..4).map(|piece| bench.check(piece)).collect::<Vec<_>>(), vec![Ok(Verdict::Passed); 4]);
    let stats = bench.finish().unwrap();
    assert_eq!([stats[1].size, stats[2].size], [10, 40000]);
    bench.close(false).unwrap();

    let opened = bench.open(&[1, 2]);
    assert_eq!(opened.files.iter().map(|file| file.unwrap()).collect::<Vec<_>>(), stats);
    std::fs::rename(bench.path(".t.parts"), bench.path("gone")).unwrap();
    assert_eq!(bench.open(&[1, 2]).files[1..3], [None, None]);
    std::fs::rename(bench.path("gone"), bench.path(".t.parts")).unwrap();
    bench.open(&[2]);
    assert_eq!(names(), [".t.parts", "t/a", "t/b", "t/d", "t/e"], "b was moved at the next start");
    assert_eq!((0..4).map(|piece| bench.check(piece)).collect::<Vec<_>>(), vec![Ok(Verdict::Passed); 4]);
    bench.set_wanted(&[]);
    bench.finish().unwrap();
    bench.assert_complete();
    // A file that exists is not hidden again.
    bench.set_wanted(&[0]);
    assert_eq!(bench.write(0), Ok(Verdict::Passed));
    bench.assert_complete();
}

#[test]
fn bytes_that_cannot_be_moved_out_of_the_part_file_stay_there() {
    let bench = Bench::new(2 * BLOCK, &["a:40000", "sub/b:40000"]);
    bench.open(&[1]);
    bench.write_all();
    std::fs::write(bench.path("sub"), b"in the way").unwrap();
    bench.set_wanted(&[]);
    let pieces = || (0..3).map(|piece| bench.check(piece)).collect::<Vec<_>>();
    assert_eq!(pieces(), vec![Ok(Verdict::Passed); 3]);
    let error = bench.finish().unwrap_err();
    assert!(error.path.ends_with("sub"), "{error}");
    std::fs::remove_file(bench.path("sub")).unwrap();
    bench.finish().unwrap();
    bench.assert_complete();
    assert_eq!(pieces(), vec![Ok(Verdict::Passed); 3]);
}

#[test]
fn deleting_removes_the_part_file_and_spares_what_is_not_ours() {
    let bench = Bench::new(2 * BLOCK, &["t/a:40000", "t/x/b:10", "t/x/y/c:40000"]);
    bench.open(&[1]);
    bench.write_all();
    std::fs::write(bench.path("t/x/mine"), b"mine").unwrap();
    bench.close(true).unwrap();
    assert_eq!(bench.on_disk(), HashMap::from([("t/x/mine".to_owned(), b"mine".to_vec())]));
}

#[test]
fn links_in_the_save_folder_lead_nowhere() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("a"), vec![7; 40_000]).unwrap();
    let bench = Bench::new(BLOCK, &["t/a:40000", "u:40000"]);
    std::fs::create_dir(bench.path("")).unwrap();
    symlink(outside.path(), bench.path("t")).unwrap();
    symlink(outside.path().join("a"), bench.path("u")).unwrap();
    assert_eq!(bench.open(&[]).files, [None, None]);
    for piece in 0..5 {
        let error = bench.write(piece).unwrap_err();
        assert!(error.message.contains("symbolic link"), "{error}");
        assert!(bench.check(piece).is_err());
    }
    bench.close(true).unwrap();
    assert_eq!(std::fs::read(outside.path().join("a")).unwrap(), vec![7; 40_000]);
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn links_of_the_torrent_stay_inside() {
    let mut files = vec![entry("t/data/a:10"), entry("t/links/l:0")];
    files[1].symlink = Some(vec!["t".into(), "data".into(), "a".into()]);
    let layout = Arc::new(Layout::new(BLOCK, files).unwrap());
    let bench = Bench { layout, ..Bench::new(BLOCK, &["t/data/a:10"]) };
    bench.open(&[]);
    bench.write_all();
    bench.finish().unwrap();
    bench.finish().unwrap();
    assert_eq!(std::fs::read_link(bench.path("t/links/l")).unwrap(), Path::new("../../t/data/a"));
    assert_eq!(std::fs::read(bench.path("t/links/l")).unwrap(), bench.content);
}

#[test]
fn a_full_device_is_told_apart_and_names_the_file() {
    // Every write to this device fails with "no space left".
    let bench = Bench::new(BLOCK, &["full:40000"]);
    std::fs::create_dir(bench.path("")).unwrap();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let error = super::vectored::write_all_at(&full, &mut [std::io::IoSlice::new(b"x")], 0).unwrap_err();
    let error = super::failure::failure(&bench.path("full"), &error);
    assert_eq!((error.kind, error.message.as_str()), (DiskErrorKind::NoSpace, "no space left on device"));
    assert!(error.to_string().contains("save/full"));
}

#[test]
fn a_file_may_grow_no_further_than_allowed() {
    // The limit holds for the whole process, so the test runs itself as a child.
    if std::env::var_os("REEF_TEST_LIMITED").is_none() {
        let name = "disk::tests::a_file_may_grow_no_further_than_allowed";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", name, "--nocapture"]).env("REEF_TEST_LIMITED", "1").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let bench = Bench::opened(BLOCK, &["t/a:40000", "t/b:40000"]);
    // Writes beyond it fail with EFBIG once the signal that comes with it is not deadly.
    let _flag = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default()).unwrap();
    let limit = rustix::process::Rlimit { current: Some(20_000), maximum: None };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
    assert_eq!(bench.write(0), Ok(Verdict::Passed));
    let error = bench.write(1).unwrap_err();
    assert_eq!(error.kind, DiskErrorKind::NoSpace, "{error}");
    assert_eq!(error.path, bench.path("t/a").display().to_string());
    assert_eq!(bench.check(0), Ok(Verdict::Passed));
    assert_eq!(bench.check(1), Ok(Verdict::Failed));
}

#[test]
fn of_pieces_written_as_one_each_that_is_there_is_right_and_each_other_has_the_error() {
    if std::env::var_os("REEF_TEST_LIMITED").is_none() {
        let name = "disk::tests::of_pieces_written_as_one_each_that_is_there_is_right_and_each_other_has_the_error";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", name, "--nocapture"]).env("REEF_TEST_LIMITED", "1").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    // Ten neighbours, and room in the first file for three and a half of them.
    let bench = Bench::opened(BLOCK, &["t/a:131072", "t/b:32768"]);
    let _flag = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default()).unwrap();
    let limit = |bytes| {
        let limit = rustix::process::Rlimit { current: bytes, maximum: None };
        rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
    };
    limit(Some(u64::from(BLOCK) * 7 / 2));
    for (piece, outcome) in bench.write_as_one(0..10) {
        match outcome {
            Ok(verdict) => assert!(verdict == Verdict::Passed && !(3..8).contains(&piece), "{piece}"),
            Err(error) => assert!(error.kind == DiskErrorKind::NoSpace && (3..8).contains(&piece), "{piece}: {error}"),
        }
    }
    let there = |piece: &u32| bench.check(*piece) == Ok(Verdict::Passed);
    assert_eq!((0..10).filter(there).collect::<Vec<_>>(), [0, 1, 2, 8, 9]);
    limit(None);
    assert!(bench.write_as_one(3..8).into_iter().all(|(_, outcome)| outcome == Ok(Verdict::Passed)));
    bench.finish().unwrap();
    bench.assert_complete();
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_with_its_name() {
    let bench = Bench::new(BLOCK, &["t/a:10"]);
    std::fs::write(bench.path(""), b"a file").unwrap_err();
    std::fs::write(bench.save.path().join("save"), b"a file").unwrap();
    bench.open(&[]);
    let error = bench.write(0).unwrap_err();
    assert!(error.path.ends_with("save") || error.path.ends_with("save/"), "{error}");
    assert!(bench.finish().is_ok() && bench.close(true).is_ok());
}

#[test]
fn a_closed_storage_answers_every_job() {
    let bench = Bench::new(BLOCK, &["a:40000"]);
    assert!(bench.write(0).is_err() && bench.check(0).is_err() && bench.read(0, 0, 1).is_err());
    assert!(bench.run(0, 0, 1).is_err() && bench.finish().is_err() && bench.close(true).is_ok());
}

#[test]
fn blocks_for_peers_come_from_the_pool_or_straight_from_files() {
    let bench = Bench::new(2 * BLOCK, &["t/a:40000", "t/.pad/1:25536!", "t/b:100", "t/c:70000"]);
    bench.open(&[2]);
    bench.write_all();
    let (sender, blocks) = channel();
    let sender = Mutex::new(sender);
    let on_block: OnBlock = Arc::new(move |tag, block| sender.lock().unwrap().send((tag, block)).unwrap());
    let mut tag = 0;
    let mut check = |piece: u32, begin: u32, length: u32, straight: Option<usize>| {
        let request = BlockRequest { piece, begin, length };
        tag += 1;
        bench.pool.read_block(T, request, tag, &on_block);
        let (got, block) = blocks.recv().unwrap();
        assert_eq!(
            (got, block.unwrap()),
            (tag, bench.bytes_of(piece)[begin as usize..][..length as usize].to_vec().into())
        );
        let ranges = bench.pool.ranges(T, &request);
        assert_eq!(ranges.as_ref().map(Vec::len), straight, "{request:?}");
        let mut bytes = vec![];
        for range in ranges.iter().flatten() {
            use std::os::unix::fs::FileExt as _;
            assert!(in_page_cache(range));
            let mut part = vec![0; range.length as usize];
            range.file.read_exact_at(&mut part, range.offset).unwrap();
            bytes.extend(part);
        }
        assert!(straight.is_none() || bytes == bench.bytes_of(piece)[begin as usize..][..length as usize]);
    };
    check(0, 0, BLOCK, Some(1));
    check(1, 0, BLOCK, None);
    check(1, 0, 7232, Some(1));
    check(2, 0, BLOCK, None);
    check(2, 100, BLOCK, Some(1));
    let beyond = BlockRequest { piece: 0, begin: BLOCK, length: BLOCK + 1 };
    assert!(bench.pool.ranges(T, &beyond).is_none());
    assert!(bench.pool.ranges(TorrentId(99), &beyond).is_none());
    bench.pool.read_block(T, beyond, 0, &on_block);
    assert!(blocks.recv().unwrap().1.is_err());
}

#[test]
fn a_sync_that_failed_is_told_whatever_is_asked_later() {
    let bench = Bench::opened(BLOCK, &["a:40000", "b:40000"]);
    bench.write_all();
    bench.finish().unwrap();
    bench.close(false).unwrap();
    bench.open_after(&[], Some(vec![]));
    std::fs::remove_file(bench.path("a")).unwrap();
    assert!(bench.finish_and(true).is_err());
    assert!(bench.finish_and(false).is_err(), "what was lost is not said to be safe");
    assert!(bench.finish_and(true).is_err());
    bench.close(false).unwrap();
}

#[test]
fn many_files_that_were_found_are_synced_as_one() {
    let files: Vec<String> = (0..100).map(|number| format!("{number:03}:400")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let bench = Bench::opened(BLOCK, &files);
    bench.write_all();
    let stats = bench.finish().unwrap();
    bench.close(false).unwrap();
    assert!(bench.open_after(&[], Some(vec![])).unsynced);
    assert_eq!(bench.finish(), Ok(stats));
    assert!(!bench.open_after(&[], Some(bench.finish().unwrap())).unsynced);
}

#[test]
fn what_is_not_synced_is_said_to_be_kept_by_its_mount() {
    let bench = Bench::new(BLOCK, &["a:40000", "b:40000"]);
    let mount = bench.open(&[1]).mount;
    assert_eq!(bench.finish_and(false).unwrap().kept_by, None, "nothing was written");
    bench.write_all();
    let kept = bench.finish_and(false).unwrap();
    assert_eq!((kept.kept_by, bench.finish_and(false).unwrap()), (mount, kept.clone()));
    assert_eq!(bench.finish(), Ok(kept.files.clone()), "the same files, on stable storage");
    assert_eq!(bench.finish_and(false).unwrap().kept_by, None);
    bench.close(false).unwrap();
    // As runs do that find what an earlier one synced, or did not.
    for (synced, unsynced) in [(None, false), (Some(kept.files.clone()), false), (Some(vec![]), true)] {
        let opened = bench.open_after(&[1], synced.clone());
        assert_eq!((opened.mount, opened.unsynced), (mount, unsynced), "{synced:?}");
        assert_eq!(bench.finish_and(false).unwrap().kept_by, mount.filter(|_| unsynced), "{synced:?}");
        assert_eq!(bench.finish(), Ok(kept.files.clone()));
        bench.close(false).unwrap();
    }
}
