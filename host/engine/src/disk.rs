//! The storage seam: what the session asks of a torrent's storage, and what it is told.
//!
//! Operations name (torrent, piece, offset) and never a file: which files those bytes lie in, pad files and the part
//! file are the storage's business. Jobs of one torrent that touch the same piece are carried out in the order given;
//! everything else may overlap, save that `Open`, `Finish` and `Close` come after all earlier jobs of their torrent. Every
//! job but `SetWanted` is answered exactly once.

use crate::ids::TorrentId;
use bytes::Bytes;
use reef_proto::hash::{Sha1Hash, Sha256Hash};
use reef_proto::layout::Layout;
use std::path::PathBuf;
use std::sync::Arc;

/// One operation on one torrent's storage.
#[derive(Clone, Debug)]
pub struct DiskJob {
    /// The torrent whose storage it is.
    pub torrent: TorrentId,
    /// What to do.
    pub op: DiskOp,
}

/// What can be asked of a storage.
#[derive(Clone, Debug)]
pub enum DiskOp {
    /// Makes the storage known. Comes first, once. Creates no file; looks at those that are there.
    Open(Box<OpenStorage>),
    /// Which files are wanted, by index; bytes of the others go to the part file.
    SetWanted(Vec<bool>),
    /// A whole piece in blocks, in order: hash it, and write it only if the hash is right.
    WritePiece {
        /// The piece.
        piece: u32,
        /// Its bytes, from the first to the last.
        data: Vec<Bytes>,
        /// What they must hash to.
        expect: Expect,
    },
    /// A part of a piece that is too large to wait for as a whole: write it, and hash it along if it continues
    /// what was hashed of this piece so far.
    WriteRun {
        /// The piece.
        piece: u32,
        /// Where in the piece the bytes go.
        begin: u32,
        /// The bytes, adjacent to each other.
        data: Vec<Bytes>,
    },
    /// Say whether the piece hashes right, reading back whatever was not hashed while it was written.
    CheckPiece {
        /// The piece.
        piece: u32,
        /// What it must hash to.
        expect: Expect,
    },
    /// Read a range of a piece.
    Read {
        /// The piece.
        piece: u32,
        /// Where in the piece to begin.
        begin: u32,
        /// How many bytes; at most the rest of the piece.
        length: u32,
    },
    /// Create the empty files and give executables their bit. Asked when a torrent is complete, again a while later,
    /// and when the session stops.
    Finish {
        /// Also put what was written on stable storage. A storage that cannot tell its [`MountId`] always does.
        sync: bool,
    },
    /// Close the files. The last job of a torrent, unless `delete_files`.
    Close {
        /// Also delete the torrent's files, its part file and the folders that become empty.
        delete_files: bool,
    },
}

/// What a storage needs to know of its torrent.
#[derive(Clone, Debug)]
pub struct OpenStorage {
    /// Files and pieces.
    pub layout: Arc<Layout>,
    /// The folder that everything is written under.
    pub save_path: PathBuf,
    /// Which files are wanted, by index.
    pub wanted: Vec<bool>,
    /// Names the part file, so that torrents sharing a folder do not share one.
    pub part_name: String,
    /// Files that are known to be on stable storage, by size and time. What else is there is put there with the next sync,
    /// like what is written. `None` if what is there is believed as it is.
    pub synced: Option<Vec<FileStat>>,
}

/// The hashes that a piece must have; at least one is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Expect {
    /// SHA-1 of the piece (BEP 3).
    pub v1: Option<Sha1Hash>,
    /// Root of the piece's Merkle tree (BEP 52).
    pub v2: Option<Sha256Hash>,
}

/// A storage's answer to one job.
#[derive(Clone, Debug)]
pub struct DiskDone {
    /// The torrent.
    pub torrent: TorrentId,
    /// What came of it.
    pub result: DiskResult,
}

/// What came of a job.
#[derive(Clone, Debug)]
pub enum DiskResult {
    /// To [`DiskOp::Open`].
    Opened(Result<Opened, DiskError>),
    /// To [`DiskOp::WritePiece`] and [`DiskOp::CheckPiece`].
    Checked {
        /// The piece.
        piece: u32,
        /// Whether it is right, and then also written.
        outcome: Result<Verdict, DiskError>,
        /// The blocks of a [`DiskOp::WritePiece`], handed back so that the session can show a bad piece to plugins.
        data: Vec<Bytes>,
    },
    /// To [`DiskOp::WriteRun`].
    Written {
        /// The piece.
        piece: u32,
        /// Where the run began.
        begin: u32,
        /// How long it was.
        length: u32,
        /// Whether it is in the file.
        outcome: Result<(), DiskError>,
    },
    /// To [`DiskOp::Read`].
    Read {
        /// The piece.
        piece: u32,
        /// Where the range began.
        begin: u32,
        /// Its bytes.
        outcome: Result<Bytes, DiskError>,
    },
    /// To [`DiskOp::Finish`].
    Finished(Result<Finished, DiskError>),
    /// To [`DiskOp::Close`].
    Closed(Result<(), DiskError>),
}

/// Whether a piece hashed right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Every expected hash matched.
    Passed,
    /// At least one did not, or bytes of the piece are missing on disk.
    Failed,
}

/// What was found on disk.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Opened {
    /// One entry a file of the layout; `None` where there is none. A file whose bytes are in the part file counts with
    /// its full length and the part file's time.
    pub files: Vec<Option<FileStat>>,
    /// Free bytes on the file system of the save path; `None` where it cannot be told.
    pub free_space: Option<u64>,
    /// The mount that the files are on; `None` where it cannot be told.
    pub mount: Option<MountId>,
    /// Some of the files may not be on stable storage.
    pub unsynced: bool,
}

/// How the files are left.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Finished {
    /// One entry a file of the layout; zeros where there is none.
    pub files: Vec<FileStat>,
    /// The mount that keeps what was written, as long as it lasts; `None` if all of it is on stable storage.
    pub kept_by: Option<MountId>,
}

/// A file system as it is mounted now, in this run of the machine. As long as it is the same, what was written is not
/// lost, synced or not, whatever becomes of the process that wrote it. Two with the same bytes are the same; the bytes
/// mean nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MountId(pub [u8; 24]);

/// Size and time of a file, by which resume data is believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileStat {
    /// Bytes.
    pub size: u64,
    /// Last modification, in nanoseconds since 1970.
    pub mtime: u64,
}

/// Why a storage could not do its job.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{path}: {message}")]
pub struct DiskError {
    /// What kind of failure.
    pub kind: DiskErrorKind,
    /// The file or folder, for people.
    pub path: String,
    /// The operating system's text.
    pub message: String,
}

/// Kinds of storage failure that the session treats apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DiskErrorKind {
    /// The device or quota is full, or the file would be larger than allowed.
    NoSpace,
    /// Permission was denied or the file system is read-only.
    Permission,
    /// A file is missing or shorter than it has to be.
    Missing,
    /// Too many open files.
    TooManyFiles,
    /// Anything else.
    Other,
}
