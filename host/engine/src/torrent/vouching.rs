//! What resume data still vouches for, given the files that were found.

use crate::disk::Opened;
use crate::resume::Have;
use reef_proto::layout::Layout;
use std::collections::BTreeMap;

/// Resume data beside the files that are there now.
pub(crate) struct Vouching<'a> {
    have: Option<&'a Have>,
    layout: &'a Layout,
    /// Blocks of unfinished pieces that the resume data has.
    unfinished: BTreeMap<u32, &'a [u32]>,
    /// Whether each file is as the resume data remembers it.
    unchanged: Vec<bool>,
    /// Whether each file is there with at least the bytes of a piece; by index its size.
    sizes: Vec<Option<u64>>,
}

/// What is known of a piece before anything is hashed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Known {
    /// It is verified.
    Verified,
    /// These blocks of it are on disk, unverified.
    Blocks(Vec<u32>),
    /// Its bytes may be there: hash it.
    Unsure,
    /// Its bytes are not there.
    Missing,
}

impl<'a> Vouching<'a> {
    pub(crate) fn new(have: Option<&'a Have>, layout: &'a Layout, opened: &Opened) -> Self {
        let found = &opened.files;
        let is_kept = |have: &Have| have.kept_by.is_none() || have.kept_by == opened.mount;
        let have = have.filter(|h| h.pieces.len() == layout.num_pieces() && is_kept(h));
        let remembered = |i: usize| have.and_then(|h| h.file_stats.get(i).copied());
        let unchanged = (0..layout.files().len())
            .map(|i| match (found.get(i).copied().flatten(), remembered(i)) {
                (Some(now), Some(then)) => now == then,
                // Nobody asks about files without bytes, and one in the part file is found with the part file's time.
                _ => false,
            })
            .collect();
        let sizes = (0..layout.files().len()).map(|i| found.get(i).copied().flatten().map(|s| s.size)).collect();
        let unfinished = have.into_iter().flat_map(|h| &h.unfinished);
        let unfinished = unfinished.map(|(piece, blocks)| (*piece, &blocks[..])).collect();
        Self { have, layout, unfinished, unchanged, sizes }
    }

    /// What is known of one piece.
    pub(crate) fn of(&self, piece: u32) -> Known {
        let trusted = self.files(piece).all(|f| self.unchanged[f]);
        if let Some(have) = self.have.filter(|_| trusted) {
            if have.pieces.get(piece) {
                return Known::Verified;
            }
            if let Some(blocks) = self.unfinished.get(&piece) {
                return Known::Blocks(blocks.to_vec());
            }
            // The files are as they were when the record was made, so nothing came after it.
            return Known::Missing;
        }
        let reaches = self.layout.slices(piece, 0, self.layout.piece_size(piece)).all(|s| {
            let pad = self.layout.file(s.file).is_some_and(|f| f.pad);
            pad || self.sizes[s.file].is_some_and(|size| size >= s.offset + s.length)
        });
        if reaches { Known::Unsure } else { Known::Missing }
    }

    fn files(&self, piece: u32) -> impl Iterator<Item = usize> + '_ {
        self.layout.files_of_piece(piece).filter(|&f| self.layout.file(f).is_some_and(|f| !f.pad))
    }
}
