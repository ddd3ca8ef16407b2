//! `reef check`: hashes what is there and says which files are damaged or missing.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, mpsc};

use reef::disk::{DiskPool, PoolConfig};
use reef_engine::TorrentId;
use reef_engine::disk::{DiskDone, DiskJob, DiskOp, DiskResult, Expect, FileStat, OpenStorage, Verdict};
use reef_proto::hash::Sha256Hash;
use reef_proto::layout::FileEntry;
use reef_proto::metainfo::Metainfo;
use serde_json::{Value, json};

use super::args::{CheckArgs, Global};
use super::failure::{Exit, Failure, Outcome};
use super::progress::Counter;
use super::text::{clean, count, size};
use super::{content, json, out, source};

/// The storage needs a key; there is one torrent.
const TORRENT: TorrentId = TorrentId(1);

/// How many pieces wait to be hashed at a time.
const QUEUED: u32 = 64;

/// Hashes the torrent's files and says what is wrong with them.
pub(crate) fn run(args: &CheckArgs, global: &Global) -> Outcome {
    let metainfo = source::read_torrent(&args.torrent)?;
    let dir = content::folder(&args.dir, &metainfo.info)?;
    let counter = if global.quiet || args.json {
        Counter::hidden()
    } else {
        Counter::new("checking", metainfo.info.layout.num_pieces())
    };
    let report = hash(&metainfo, &dir, &counter)?;
    counter.finish();
    let files = report.judge(&metainfo);
    if args.json {
        json::print(&describe(&metainfo, &report, &files));
    } else {
        show(&metainfo, &report, &files, global.quiet);
    }
    Ok(if is_complete(&report, &files) { Exit::Success } else { Exit::Failure })
}

/// What was found.
struct Report {
    /// Size and time of each file; none where it is missing.
    stats: Vec<Option<FileStat>>,
    /// Pieces that are missing or wrong.
    bad: BTreeSet<u32>,
}

/// What is wrong with a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Judgement {
    /// All of it is there.
    Right,
    /// Some of it is wrong.
    Damaged,
    /// It is not there.
    Missing,
}

impl Judgement {
    const fn name(self) -> &'static str {
        match self {
            Self::Right => "ok",
            Self::Damaged => "damaged",
            Self::Missing => "missing",
        }
    }
}

impl Report {
    /// Judges each file. Where a wrong piece lies in several files, those that are missing or too short are to blame, or
    /// else all of them.
    fn judge(&self, metainfo: &Metainfo) -> Vec<Judgement> {
        let layout = &metainfo.info.layout;
        let files = layout.files();
        let stat = |file: usize| self.stats.get(file).copied().flatten();
        let is_short =
            |file: usize| stat(file).is_none_or(|stat| files.get(file).is_some_and(|f| stat.size < f.length));
        let mut damaged = BTreeSet::new();
        for &piece in &self.bad {
            let of_piece: Vec<usize> = layout.files_of_piece(piece).filter(|&file| !is_pad(files.get(file))).collect();
            let short: Vec<usize> = of_piece.iter().copied().filter(|&file| is_short(file)).collect();
            damaged.extend(if short.is_empty() { of_piece } else { short });
        }
        let judge = |(number, file): (usize, &FileEntry)| match stat(number) {
            None if !file.pad && file.symlink.is_none() => Judgement::Missing,
            _ if damaged.contains(&number) => Judgement::Damaged,
            _ => Judgement::Right,
        };
        files.iter().enumerate().map(judge).collect()
    }
}

fn is_pad(file: Option<&FileEntry>) -> bool {
    file.is_none_or(|file| file.pad)
}

fn is_complete(report: &Report, files: &[Judgement]) -> bool {
    report.bad.is_empty() && files.iter().all(|&file| file == Judgement::Right)
}

/// Hashes every piece on the threads that sessions use.
fn hash(metainfo: &Metainfo, dir: &Path, counter: &Counter) -> Result<Report, Failure> {
    let layout = Arc::new(metainfo.info.layout.clone());
    let (sender, answers) = mpsc::channel();
    let on_done = Arc::new(move |done: DiskDone| {
        // Nobody listens any more once the report has failed.
        let _ = sender.send(done.result);
    });
    let pool = DiskPool::start(PoolConfig::default(), on_done)
        .map_err(|error| Failure::new(format!("the threads that hash could not be started: {error}")))?;
    let submit = |op| pool.submit(DiskJob { torrent: TORRENT, op });
    submit(DiskOp::Open(Box::new(OpenStorage {
        layout: layout.clone(),
        save_path: dir.to_path_buf(),
        wanted: vec![true; layout.files().len()],
        part_name: metainfo.info_hashes.to_string(),
        synced: None,
    })));
    let check = |piece| submit(DiskOp::CheckPiece { piece, expect: expect(metainfo, piece) });
    let mut report = Report { stats: Vec::new(), bad: BTreeSet::new() };
    let mut waiting = 1;
    let mut next = 0;
    while waiting > 0 {
        let answer = answers.recv().map_err(|_| Failure::new("the threads that hash ended too early"))?;
        waiting -= 1;
        match answer {
            DiskResult::Opened(opened) => report.stats = opened.map_err(|error| Failure::new(error.to_string()))?.files,
            DiskResult::Checked { piece, outcome, .. } => {
                counter.advance();
                match outcome {
                    Ok(Verdict::Passed) => {}
                    Ok(Verdict::Failed) => drop(report.bad.insert(piece)),
                    Err(error) => {
                        log::info!("piece {piece}: {error}");
                        report.bad.insert(piece);
                    }
                }
            }
            _ => {}
        }
        while waiting < QUEUED && next < layout.num_pieces() {
            check(next);
            next += 1;
            waiting += 1;
        }
    }
    Ok(report)
}

/// What a piece must hash to: by its v1 hash where there is one, or else by its hash tree.
fn expect(metainfo: &Metainfo, piece: u32) -> Expect {
    match metainfo.info.piece_hash(piece) {
        Some(hash) => Expect { v1: Some(hash), v2: None },
        // A file whose hashes are not in the torrent file cannot be checked; zeros are the hash of nothing.
        None => Expect { v1: None, v2: Some(v2_hash(metainfo, piece).unwrap_or_default()) },
    }
}

fn v2_hash(metainfo: &Metainfo, piece: u32) -> Option<Sha256Hash> {
    let layout = &metainfo.info.layout;
    let number = layout.file_at(layout.piece_offset(piece));
    let file = layout.file(number)?;
    let root = file.pieces_root?;
    if file.length <= layout.piece_length().into() {
        return Some(root);
    }
    let in_file = usize::try_from(piece.checked_sub(layout.pieces_of_file(number).start)?).ok()?;
    let begin = in_file.checked_mul(32)?;
    Sha256Hash::from_slice(metainfo.piece_layers.get(&root)?.get(begin..begin.checked_add(32)?)?)
}

fn describe(metainfo: &Metainfo, report: &Report, judgements: &[Judgement]) -> Value {
    let layout = &metainfo.info.layout;
    let files = || layout.files().iter().zip(judgements).filter(|(file, _)| !file.pad);
    let with = |wanted: Judgement| -> Vec<String> {
        files().filter(|(_, found)| **found == wanted).map(|(file, _)| file.display_path()).collect()
    };
    json!({
        "name": metainfo.info.name,
        "info_hash_v1": metainfo.info_hashes.v1.map(|hash| hash.to_string()),
        "info_hash_v2": metainfo.info_hashes.v2.map(|hash| hash.to_string()),
        "complete": is_complete(report, judgements),
        "num_pieces": layout.num_pieces(),
        "have_pieces": have(metainfo, report),
        "bad_pieces": report.bad,
        "damaged": with(Judgement::Damaged),
        "missing": with(Judgement::Missing),
        "files": files()
            .map(|(file, found)| json!({ "path": file.display_path(), "size": file.length, "state": found.name() }))
            .collect::<Vec<_>>(),
    })
}

fn have(metainfo: &Metainfo, report: &Report) -> u64 {
    u64::from(metainfo.info.layout.num_pieces()).saturating_sub(report.bad.len() as u64)
}

fn show(metainfo: &Metainfo, report: &Report, judgements: &[Judgement], quiet: bool) {
    let layout = &metainfo.info.layout;
    let mut wrong = 0;
    for (file, found) in layout.files().iter().zip(judgements).filter(|(_, found)| **found != Judgement::Right) {
        wrong += 1;
        out::line(&clean(&format!("{}: {}", file.display_path(), found.name())));
    }
    let name = &metainfo.info.name;
    let all = layout.num_pieces();
    if wrong > 0 || !report.bad.is_empty() {
        let have = have(metainfo, report);
        let files = count(wrong, "file");
        let text = format!(
            "{name}: {have} of {} are right; {files} damaged or missing; `reef get` fetches them",
            count(all.into(), "piece")
        );
        out::line(&clean(&text));
    } else if !quiet {
        let text = format!("{name}: complete, {} in {}", size(layout.size_on_disk()), count(all.into(), "piece"));
        out::line(&clean(&text));
    }
}
