//! Torrent files: what a `.torrent` says, for v1, v2 and hybrid torrents (BEP 3, 12, 17, 19, 27, 38, 47, 52).
//!
//! A [`Metainfo`] keeps the raw bytes of `info` beside what was read from them: the info-hashes are taken over those
//! bytes, peers get those bytes (BEP 9), and a `.torrent` is put together around those bytes again. Nothing here
//! re-encodes `info`, follows a link, or opens a file.

mod assemble;
mod error;
mod files;
mod links;
mod parse;
mod tree;
mod urls;

use std::collections::BTreeMap;

use bytes::Bytes;

pub use error::MetainfoError;
pub use urls::tracker_url;

use crate::hash::{InfoHashes, Sha1Hash, Sha256Hash};
use crate::layout::Layout;

/// A torrent file, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metainfo {
    /// The torrent's names, over the raw bytes of `info`.
    pub info_hashes: InfoHashes,
    /// What `info` says.
    pub info: Info,
    /// The raw bytes of `info`, as they stand in the file.
    pub info_bytes: Bytes,
    /// Tracker URLs in tiers (BEP 12); within a tier they are alternatives. A lone `announce` is one tier of one.
    pub trackers: Vec<Vec<String>>,
    /// Web seeds (`url-list`, BEP 19), each once.
    pub web_seeds: Vec<String>,
    /// Web seeds of the older kind (`httpseeds`, BEP 17), each once.
    pub http_seeds: Vec<String>,
    /// DHT nodes to start from: host name or address, and port (BEP 5).
    pub nodes: Vec<(String, u16)>,
    /// A text by the torrent's maker.
    pub comment: Option<String>,
    /// The program that made the file.
    pub created_by: Option<String>,
    /// When the file was made, in seconds since 1970.
    pub creation_date: Option<i64>,
    /// Hashes of v2 pieces: for the root of each file longer than a piece, its layer of 32-byte hashes (BEP 52). Each was
    /// checked against its root. Empty for v1; may lack files, whose layers then come from peers.
    pub piece_layers: BTreeMap<Sha256Hash, Bytes>,
    /// Info-hashes of torrents that share files with this one (BEP 38), those of `info` first.
    pub similar: Vec<Sha1Hash>,
    /// Names of collections whose members may share files (BEP 38), those of `info` first.
    pub collections: Vec<String>,
}

/// What the `info` dictionary of a torrent says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The torrent's name, cleaned (see [`crate::paths`]): the file's name, or the folder's.
    pub name: String,
    /// Whether `info` lists files (the torrent is a folder), be it only one.
    pub multi_file: bool,
    /// Pieces and files.
    pub layout: Layout,
    /// SHA-1 hashes of the v1 pieces, 20 bytes each; empty for a v2-only torrent. See [`Info::piece_hash`].
    pub piece_hashes: Bytes,
    /// BEP 27: peers come from the torrent's trackers alone, not from DHT, PEX or LSD.
    pub private: bool,
    /// The version of the hash-tree part: 2 if there is one (BEP 52).
    pub meta_version: Option<u32>,
    /// A mark by which private trackers tell equal torrents apart.
    pub source: Option<String>,
    /// BEP 38: info-hashes of torrents that share files with this one.
    pub similar: Vec<Sha1Hash>,
    /// BEP 38: names of collections whose members may share files.
    pub collections: Vec<String>,
}

impl Info {
    /// Whether there is a v1 part: SHA-1 piece hashes and a list of files.
    pub fn has_v1(&self) -> bool {
        !self.piece_hashes.is_empty()
    }

    /// Whether there is a v2 part: a file tree with hash-tree roots.
    pub fn has_v2(&self) -> bool {
        self.meta_version.is_some()
    }

    /// The v1 hash of `piece`; none for a v2-only torrent or beyond the end.
    pub fn piece_hash(&self, piece: u32) -> Option<Sha1Hash> {
        let begin = usize::try_from(piece).ok()?.checked_mul(20)?;
        self.piece_hashes.get(begin..begin.checked_add(20)?).and_then(Sha1Hash::from_slice)
    }
}
