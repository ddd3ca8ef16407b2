//! Torrents to try, with their bytes.

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use reef_proto::create::{Content, NewFile, NewTorrent, PieceHashes};
use reef_proto::hash::Sha1Hash;
use reef_proto::metainfo::Metainfo;
use std::sync::Arc;

/// A torrent and the bytes it is made of.
#[derive(Clone, Debug)]
pub struct Torrent {
    /// Its metainfo.
    pub meta: Arc<Metainfo>,
    /// Its bytes, file after file.
    pub data: Bytes,
}

impl Torrent {
    /// One file of `size` random bytes, in pieces of `piece_length`.
    ///
    /// # Panics
    /// If `piece_length` is not a power of two from 16 KiB on.
    #[must_use]
    pub fn random(seed: u64, name: &str, size: u64, piece_length: u32) -> Self {
        Self::build(seed, (name, false), Content::File(size), piece_length, size)
    }

    /// As [`Torrent::random`], and its peers come from its trackers alone (BEP 27).
    ///
    /// # Panics
    /// If `piece_length` is not a power of two from 16 KiB on.
    #[must_use]
    pub fn private(seed: u64, name: &str, size: u64, piece_length: u32) -> Self {
        Self::build(seed, (name, true), Content::File(size), piece_length, size)
    }

    /// A folder of files, by path (`a/b`) and size.
    ///
    /// # Panics
    /// If `piece_length` is not a power of two from 16 KiB on, or two paths are the same.
    #[must_use]
    pub fn folder(seed: u64, name: &str, files: &[(&str, u64)], piece_length: u32) -> Self {
        let file = |&(path, length): &(&str, u64)| NewFile {
            path: path.split('/').map(str::to_owned).collect(),
            length,
            ..NewFile::default()
        };
        let total = files.iter().map(|(_, length)| length).sum();
        Self::build(seed, (name, false), Content::Folder(files.iter().map(file).collect()), piece_length, total)
    }

    fn build(seed: u64, (name, private): (&str, bool), content: Content, piece_length: u32, total: u64) -> Self {
        let mut data = vec![0; usize::try_from(total).expect("a simulated torrent fits in memory")];
        ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut data);
        let new = NewTorrent {
            name: name.to_owned(),
            content,
            piece_length: Some(piece_length),
            private,
            ..NewTorrent::default()
        };
        let hashes = data.chunks(piece_length as usize).map(Sha1Hash::of).collect();
        let plan = new.plan().expect("the torrent can be made");
        let meta = plan.build(PieceHashes::V1(hashes)).expect("the torrent can be made");
        Self { meta: Arc::new(meta), data: data.into() }
    }
}
