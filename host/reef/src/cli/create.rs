//! `reef create`: a torrent file from a file or a folder.
//!
//! A folder gives its files in the order of their names, whatever the file system says. Links to files are shared as the
//! files they lead to; links to folders are left out, as they may lead round in a circle.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use reef::disk::hash_files;
use reef_proto::bencode::Limits;
use reef_proto::create::{Content, NewFile, NewTorrent, PieceHashes, Plan};
use reef_proto::hash::Sha1Hash;
use reef_proto::magnet::Magnet;
use reef_proto::metainfo::Metainfo;

use super::args::{CreateArgs, Global};
use super::failure::{Exit, Failure, Outcome};
use super::progress::{Counter, warn};
use super::show::torrent_json;
use super::text::{clean, count, size};
use super::{json, out};

/// Makes the torrent file.
pub(crate) fn run(args: &CreateArgs, global: &Global) -> Outcome {
    let found = Found::at(&args.path, args.output.as_deref())?;
    let output = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}.torrent", found.name)));
    refuse_to_overwrite(&output)?;
    let is_shown = !(global.quiet || args.json);
    let metainfo = build(&args.path, found, wishes(args), is_shown)?;
    write(&output, &metainfo.to_bytes())?;
    if args.json {
        json::print(&torrent_json(&metainfo));
    } else if !global.quiet {
        describe(&output, &metainfo);
    }
    Ok(Exit::Success)
}

/// A torrent of one file or folder, with nothing else in it.
pub(crate) fn plain_torrent(path: &Path) -> Result<Metainfo, Failure> {
    build(path, Found::at(path, None)?, NewTorrent::default(), false)
}

fn build(path: &Path, found: Found, wishes: NewTorrent, is_shown: bool) -> Result<Metainfo, Failure> {
    let failed = |why: String| Failure::new(format!("{}: {why}", path.display()));
    let torrent = NewTorrent { name: found.name, content: found.content, ..wishes };
    let plan = torrent.plan().map_err(|error| failed(error.to_string()))?;
    let counter = if is_shown { Counter::new("hashing", plan.layout().num_pieces()) } else { Counter::hidden() };
    let hashes = hash(&plan, &found.paths, &counter)?;
    counter.finish();
    plan.build(PieceHashes::V1(hashes)).map_err(|error| failed(error.to_string()))
}

fn describe(output: &Path, metainfo: &Metainfo) {
    let layout = &metainfo.info.layout;
    let files = count(layout.files().len() as u64, "file");
    let pieces = count(layout.num_pieces().into(), "piece");
    let length = size(layout.piece_length().into());
    let written = format!("{}: {files}, {} in {pieces} of {length}", output.display(), size(layout.size_on_disk()));
    out::line(&clean(&written));
    out::line(&Magnet::of(metainfo).to_string());
}

/// What was asked for, without the content.
fn wishes(args: &CreateArgs) -> NewTorrent {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok();
    NewTorrent {
        piece_length: args.piece_length,
        trackers: args.tracker.iter().map(|url| vec![url.clone()]).collect(),
        web_seeds: args.web_seed.clone(),
        private: args.private,
        comment: args.comment.clone(),
        created_by: Some(concat!("reef/", env!("CARGO_PKG_VERSION")).to_owned()),
        creation_date: now.and_then(|time| i64::try_from(time.as_secs()).ok()),
        ..NewTorrent::default()
    }
}

/// What there is to share.
struct Found {
    name: String,
    content: Content,
    /// Where each file of the content is.
    paths: Vec<PathBuf>,
}

impl Found {
    fn at(path: &Path, output: Option<&Path>) -> Result<Self, Failure> {
        let metadata = fs::metadata(path).map_err(|error| Failure::io(path, &error))?;
        // `.` and `..` have names of their own.
        let real = path.canonicalize().map_err(|error| Failure::io(path, &error))?;
        let named = path.file_name().or_else(|| real.file_name()).unwrap_or_default();
        let name = text(named, path)?;
        if metadata.is_file() {
            return Ok(Self { name, content: Content::File(metadata.len()), paths: vec![path.to_path_buf()] });
        }
        let mut walk = Walk { output: output.and_then(|output| output.canonicalize().ok()), ..Walk::default() };
        walk.folder(path, &[])?;
        if walk.files.is_empty() {
            return Err(Failure::new(format!("{}: there are no files in this folder", path.display())));
        }
        Ok(Self { name, content: Content::Folder(walk.files), paths: walk.paths })
    }
}

/// A walk through a folder.
#[derive(Default)]
struct Walk {
    /// The torrent file to be, which is not shared even if it lies in the folder.
    output: Option<PathBuf>,
    files: Vec<NewFile>,
    paths: Vec<PathBuf>,
}

impl Walk {
    fn folder(&mut self, folder: &Path, above: &[String]) -> Result<(), Failure> {
        let read =
            || fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
        let mut entries = read().map_err(|error| Failure::io(folder, &error))?;
        entries.sort();
        for path in entries {
            let metadata = fs::metadata(&path).map_err(|error| Failure::io(&path, &error))?;
            let element = text(path.file_name().unwrap_or_default(), &path)?;
            let place = [above, &[element]].concat();
            if metadata.is_dir() && path.is_symlink() {
                warn(&format!("{}: left out, as links to folders are not followed", path.display()));
            } else if metadata.is_dir() {
                self.folder(&path, &place)?;
            } else if metadata.is_file() && (self.output.is_none() || path.canonicalize().ok() != self.output) {
                let executable = metadata.permissions().mode() & 0o100 != 0;
                self.files.push(NewFile { path: place, length: metadata.len(), executable });
                self.paths.push(path);
            } else if !metadata.is_file() {
                warn(&format!("{}: left out, as it is no file", path.display()));
            }
        }
        Ok(())
    }
}

fn text(name: &std::ffi::OsStr, path: &Path) -> Result<String, Failure> {
    let text = name.to_str().filter(|name| !name.is_empty());
    text.map(str::to_owned).ok_or_else(|| {
        Failure::new(format!("{}: this name cannot stand in a torrent (it is not UTF-8); rename it", path.display()))
    })
}

/// A torrent file may be made again; anything else that has the name was not meant.
fn refuse_to_overwrite(output: &Path) -> Result<(), Failure> {
    let is_other = match fs::metadata(output) {
        Ok(metadata) if metadata.is_dir() || metadata.len() > Limits::TORRENT.max_size as u64 => true,
        Ok(metadata) if metadata.is_file() && metadata.len() > 0 => {
            fs::read(output).ok().is_none_or(|bytes| Metainfo::parse(&bytes).is_err())
        }
        _ => false,
    };
    if is_other {
        return Err(Failure::new(format!(
            "{}: this is there already and no torrent file; choose another name",
            output.display()
        )));
    }
    Ok(())
}

/// Writes beside the file and renames, so that no half of a torrent is ever there.
fn write(output: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if fs::metadata(output).is_ok_and(|metadata| !metadata.is_file()) {
        // A pipe or a device.
        return fs::write(output, bytes).map_err(|error| Failure::io(output, &error));
    }
    let mut name = output.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = output.with_file_name(name);
    let done = fs::write(&part, bytes).and_then(|()| fs::rename(&part, output));
    done.map_err(|error| {
        // Whatever was written is of no use; that it cannot be removed changes nothing.
        let _ = fs::remove_file(&part);
        Failure::io(output, &error)
    })
}

/// Hashes every piece, on as many threads as there are cores.
fn hash(plan: &Plan, paths: &[PathBuf], counter: &Counter) -> Result<Vec<Sha1Hash>, Failure> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    let hashes = hash_files(plan.layout(), paths, threads, || counter.advance());
    hashes.map_err(|error| Failure::new(error.to_string()))
}
