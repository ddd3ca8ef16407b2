//! Hashes of pieces: SHA-1 of the bytes (BEP 3) and the root of the piece's tree of SHA-256 block hashes (BEP 52).
//!
//! [`check_pieces`] takes many pieces at once: it is the place for hashing several side by side.

use reef_engine::disk::{Expect, Verdict};
use reef_proto::hash::{Sha1Hash, Sha256Hash};
use reef_proto::layout::{BLOCK_SIZE, Layout};
use reef_proto::merkle;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use bytes::Bytes;

/// Hashes one piece as its bytes come, for as many of the two hashes as are asked for.
#[derive(Clone)]
pub(super) struct PieceHasher {
    v1: Option<Sha1>,
    v2: Option<Tree>,
}

/// The tree over the blocks of one piece.
#[derive(Clone)]
struct Tree {
    /// Bytes of the file that are still to come; what follows them is padding, which the tree leaves out.
    left: u64,
    /// How many leaves the finished tree has: a power of two.
    width: u32,
    leaves: Vec<Sha256Hash>,
    block: Sha256,
    filled: usize,
}

impl PieceHasher {
    /// Hashes what `expect` needs, from the piece's first byte on.
    pub(super) fn new(expect: Expect, layout: &Layout, piece: u32) -> Self {
        Self { v1: expect.v1.map(|_| Sha1::new()), v2: expect.v2.map(|_| Tree::new(layout, piece)) }
    }

    /// Hashes for the v1 hash alone.
    pub(super) fn v1() -> Self {
        Self { v1: Some(Sha1::new()), v2: None }
    }

    /// Whether this hashes all that `expect` needs.
    pub(super) fn serves(&self, expect: Expect) -> bool {
        (self.v1.is_some() || expect.v1.is_none()) && (self.v2.is_some() || expect.v2.is_none())
    }

    pub(super) fn update(&mut self, data: &[u8]) {
        if let Some(v1) = &mut self.v1 {
            v1.update(data);
        }
        if let Some(v2) = &mut self.v2 {
            v2.update(data);
        }
    }

    /// The two hashes, as far as they were asked for.
    pub(super) fn finish(self) -> Expect {
        Expect { v1: self.v1.map(|v1| Sha1Hash(v1.finalize().into())), v2: self.v2.map(|v2| v2.root()) }
    }

    /// Whether the bytes hash to what is expected. An expectation without any hash is never met.
    pub(super) fn verdict(self, expect: Expect) -> Verdict {
        if self.serves(expect) { verdict(self.finish(), expect) } else { Verdict::Failed }
    }
}

/// Checks whole pieces that are in memory, each against what it must hash to.
pub(super) fn check_pieces(layout: &Layout, pieces: &[(u32, &[Bytes], Expect)]) -> Vec<Verdict> {
    let check = |&(piece, data, expect): &(u32, &[Bytes], Expect)| {
        let mut hasher = PieceHasher::new(expect, layout, piece);
        data.iter().for_each(|block| hasher.update(block));
        hasher.verdict(expect)
    };
    pieces.iter().map(check).collect()
}

fn verdict(found: Expect, expect: Expect) -> Verdict {
    let any = expect.v1.is_some() || expect.v2.is_some();
    let v1 = expect.v1.is_none() || expect.v1 == found.v1;
    let v2 = expect.v2.is_none() || expect.v2 == found.v2;
    if any && v1 && v2 { Verdict::Passed } else { Verdict::Failed }
}

impl Tree {
    /// BEP 52: a file of at most one piece has a tree as wide as its blocks need, every other piece one of full width.
    fn new(layout: &Layout, piece: u32) -> Self {
        let piece_length = u64::from(layout.piece_length());
        let files = layout.slices(piece, 0, layout.piece_size(piece));
        let data = files.filter_map(|slice| {
            let entry = layout.file(slice.file).filter(|entry| !entry.pad)?;
            Some((slice.length, entry.length))
        });
        // In a torrent with a v2 part no piece has bytes of two files.
        let (left, file_length) = data.last().unwrap_or((0, 0));
        let widest = file_length.min(piece_length).div_ceil(u64::from(BLOCK_SIZE)).max(1);
        // At most what a piece holds: 32,767 blocks.
        let width = u32::try_from(widest).unwrap_or(1).next_power_of_two();
        Self { left, width, leaves: Vec::new(), block: Sha256::new(), filled: 0 }
    }

    fn update(&mut self, data: &[u8]) {
        let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
        self.left -= take as u64;
        let mut data = &data[..take];
        while !data.is_empty() {
            let (now, rest) = data.split_at(data.len().min(BLOCK_SIZE as usize - self.filled));
            self.block.update(now);
            self.filled += now.len();
            data = rest;
            if self.filled == BLOCK_SIZE as usize {
                self.end_block();
            }
        }
    }

    fn end_block(&mut self) {
        self.leaves.push(Sha256Hash(self.block.finalize_reset().into()));
        self.filled = 0;
    }

    fn root(mut self) -> Sha256Hash {
        if self.filled > 0 {
            self.end_block();
        }
        merkle::root_of_piece(&self.leaves, self.width).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reef_proto::layout::FileEntry;

    const BLOCK: usize = BLOCK_SIZE as usize;

    fn pair(a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        Sha256::digest([a, b].concat()).into()
    }

    fn leaf(data: &[u8]) -> [u8; 32] {
        Sha256::digest(data).into()
    }

    /// The root that one piece of a torrent with these files (the second is padding) has.
    fn root(piece_length: usize, file: usize, pad: usize, piece: u32, data: &[u8]) -> [u8; 32] {
        let files = vec![
            FileEntry { path: vec!["a".into()], length: file as u64, ..FileEntry::default() },
            FileEntry { path: vec!["p".into()], length: pad as u64, pad: true, ..FileEntry::default() },
        ];
        let layout = Layout::new(u32::try_from(piece_length).unwrap(), files).unwrap();
        let expect = Expect { v1: None, v2: Some(Sha256Hash::default()) };
        let mut hasher = PieceHasher::new(expect, &layout, piece);
        data.chunks(1000).for_each(|chunk| hasher.update(chunk));
        hasher.finish().v2.unwrap().0
    }

    #[test]
    fn the_tree_is_as_wide_as_the_file_or_the_piece() {
        let data: Vec<u8> = (0..4 * BLOCK).map(|i| (i / 100) as u8).collect();
        let leaves: Vec<_> = data.chunks(BLOCK).map(leaf).collect();
        let zero = [0; 32];
        assert_eq!(root(4 * BLOCK, 100, 0, 0, &data[..100]), leaf(&data[..100]));
        assert_eq!(root(4 * BLOCK, 2 * BLOCK, 0, 0, &data[..2 * BLOCK]), pair(leaves[0], leaves[1]));
        let three = pair(pair(leaves[0], leaves[1]), pair(leaves[2], zero));
        assert_eq!(root(4 * BLOCK, 3 * BLOCK, 0, 0, &data[..3 * BLOCK]), three);
        assert_eq!(root(4 * BLOCK, 3 * BLOCK, BLOCK, 0, &[&data[..3 * BLOCK], &[0; BLOCK]].concat()), three);
        let last = pair(pair(leaf(&data[..10]), zero), pair(zero, zero));
        assert_eq!(root(4 * BLOCK, 4 * BLOCK + 10, 0, 1, &data[..10]), last);
    }

    #[test]
    fn nothing_expected_is_nothing_proved() {
        let files = vec![FileEntry { path: vec!["a".into()], length: 3, ..FileEntry::default() }];
        let layout = Layout::new(16, files).unwrap();
        let data = [Bytes::from_static(b"ab"), Bytes::from_static(b"c")];
        let check = |v1, verdict| {
            assert_eq!(check_pieces(&layout, &[(0, &data, Expect { v1, v2: None })]), [verdict]);
        };
        check(Some(Sha1Hash::of(b"abc")), Verdict::Passed);
        check(Some(Sha1Hash::of(b"abd")), Verdict::Failed);
        check(None, Verdict::Failed);
        let v2_only_stream = Expect { v1: None, v2: Some(Sha256Hash::of(b"abc")) };
        assert_eq!(PieceHasher::v1().verdict(v2_only_stream), Verdict::Failed);
    }
}
