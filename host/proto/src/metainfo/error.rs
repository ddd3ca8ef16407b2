//! Why bytes are not an acceptable torrent, in words for the person who brought them.

use crate::bencode::BencodeError;
use crate::layout::{LayoutError, MAX_PIECE_LENGTH};
use crate::paths::MAX_DEPTH;

/// Why a torrent file, or metadata from peers, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetainfoError {
    /// The bytes are not bencoded, or not within limits.
    #[error("not a torrent: {0}")]
    Bencode(#[from] BencodeError),
    /// The bytes are something else than a dictionary.
    #[error("not a torrent: {0}")]
    NotADictionary(&'static str),
    /// There is no `info` dictionary.
    #[error("not a torrent: it has no `info` dictionary")]
    MissingInfo,
    /// A key stands twice in a dictionary.
    #[error("ambiguous torrent: the key `{0}` stands twice in one dictionary; ask its maker for a correct one")]
    DuplicateKey(String),
    /// A v2 `info` with another valid form, so that its hash would name more than one torrent.
    #[error("invalid v2 torrent: `info` is not in the one form BEP 52 allows (keys sorted, no needless zeros)")]
    NotCanonical,
    /// `meta version` is one that is not known.
    #[error("the torrent is of version {0}, and only versions 1 and 2 are known; a newer program may open it")]
    UnknownVersion(i64),
    /// `name` is missing, no string, or empty.
    #[error("invalid torrent: `name` is missing, empty or not a text")]
    MissingName,
    /// A file has no `path`, or an empty one.
    #[error("invalid torrent: file {file} has no name (`path` is missing or empty)")]
    MissingPath {
        /// The file's place in the list, from 1.
        file: usize,
    },
    /// A file's `path` or `symlink path` holds something other than strings.
    #[error("invalid torrent: the name of file {file} is not a list of texts")]
    InvalidPath {
        /// The file's place in the list, from 1.
        file: usize,
    },
    /// A path has too many elements.
    #[error("the torrent has folders nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// `piece length` is missing or out of range.
    #[error("invalid torrent: `piece length` is missing or not a number from 1 to {MAX_PIECE_LENGTH}")]
    InvalidPieceLength,
    /// `piece length` of a v2 torrent is not a power of two of at least 16 KiB.
    #[error("invalid v2 torrent: `piece length` is {0}, not a power of two of at least 16384")]
    InvalidV2PieceLength(u32),
    /// `pieces` is missing or no string.
    #[error("invalid torrent: `pieces`, the hashes of its content, is missing or not a text")]
    MissingPieces,
    /// `pieces` has not 20 bytes for each piece.
    #[error("invalid torrent: `pieces` has {found} bytes, and the files' sizes need {expected} (20 for each piece)")]
    WrongPieces {
        /// How many bytes there are.
        found: usize,
        /// How many bytes there must be.
        expected: usize,
    },
    /// Neither `length` nor a usable `files`, or an empty one.
    #[error("invalid torrent: it lists no files")]
    NoFiles,
    /// A file's `length` is missing, no integer or negative.
    #[error("invalid torrent: the length of file {file} is missing or not a number")]
    InvalidLength {
        /// The file's place in the list, from 1.
        file: usize,
    },
    /// The files and the piece length do not fit together.
    #[error("invalid torrent: {0}")]
    Layout(#[from] LayoutError),
    /// An entry of `file tree` is neither a folder nor a file.
    #[error(
        "invalid v2 torrent: `file tree` is missing, empty, or holds something that is neither a file nor a folder"
    )]
    InvalidFileTree,
    /// A pad file in `file tree`.
    #[error("invalid v2 torrent: file {file} is marked as padding, which `file tree` does not allow")]
    PadFileInTree {
        /// The file's place in the tree, from 1.
        file: usize,
    },
    /// A file with content has no usable root, or an empty one has a root.
    #[error(
        "invalid v2 torrent: file {file} has no valid `pieces root` (32 bytes, not all zero, for a file with content)"
    )]
    InvalidRoot {
        /// The file's place in the tree, from 1.
        file: usize,
    },
    /// The v1 and v2 lists of files differ.
    #[error("invalid hybrid torrent: its v1 and v2 parts describe different files")]
    InconsistentFiles,
    /// An entry of `piece layers` has a wrong form or does not hash to its root.
    #[error("invalid v2 torrent: `piece layers` does not match the files' roots")]
    InvalidPieceLayer,
}
