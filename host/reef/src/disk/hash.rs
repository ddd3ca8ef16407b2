//! Hashes of pieces: SHA-1 of the bytes (BEP 3) and the root of the piece's tree of SHA-256 block hashes (BEP 52).
//!
//! [`advance`] takes many pieces further at once, side by side: see [`crate::lanes`].

use reef_engine::disk::{Expect, Verdict};
use reef_proto::hash::Sha256Hash;
use reef_proto::layout::{BLOCK_SIZE, Layout};
use reef_proto::merkle;

use crate::lanes::{self, Algorithm, Job, Stream};

/// Hashes one piece as its bytes come, for as many of the two hashes as are asked for.
#[derive(Clone, Debug)]
pub(super) struct PieceHasher {
    v1: Option<Stream>,
    v2: Option<Tree>,
    ended: bool,
}

/// The tree over the blocks of one piece.
#[derive(Clone, Debug)]
struct Tree {
    /// Bytes of the file that are still to come; what follows them is padding, which the tree leaves out.
    left: u64,
    /// How many leaves the finished tree has: a power of two.
    width: u32,
    leaves: Vec<Sha256Hash>,
    /// The block that was begun.
    block: Stream,
}

/// Bytes that follow what was hashed of a piece.
#[derive(Debug)]
pub(super) struct Update<'a> {
    pub(super) hasher: PieceHasher,
    /// The bytes, in parts.
    pub(super) data: Vec<&'a [u8]>,
    /// The piece ends with them.
    pub(super) ends: bool,
}

/// Bytes that belong to one leaf, and whether they end it.
type Leaf<'a> = (Vec<&'a [u8]>, bool);

/// Hashes what came of many pieces, side by side. Returns their hashers in the order of the updates.
pub(super) fn advance(updates: Vec<Update<'_>>) -> Vec<PieceHasher> {
    let mut hashers = Vec::with_capacity(updates.len());
    let (mut streams, mut leaves) = (Vec::new(), Vec::new());
    for Update { mut hasher, data, ends } in updates {
        let index = hashers.len();
        if let Some(tree) = &mut hasher.v2 {
            leaves.extend(tree.cut(&data, ends).into_iter().map(|leaf| (index, leaf)));
        }
        if let Some(stream) = hasher.v1.take() {
            let data = data.into_iter();
            streams.push((index, if ends { Job::last(stream, data) } else { Job::more(stream, data) }));
        }
        hasher.ended |= ends;
        hashers.push(hasher);
    }
    let (of, mut jobs): (Vec<usize>, Vec<_>) = streams.into_iter().unzip();
    lanes::advance(Algorithm::Sha1, &mut jobs);
    of.into_iter().zip(jobs).for_each(|(index, job)| hashers[index].v1 = Some(job.into_stream()));
    advance_leaves(&mut hashers, leaves);
    hashers
}

fn advance_leaves(hashers: &mut [PieceHasher], leaves: Vec<(usize, Leaf<'_>)>) {
    let mut jobs = Vec::with_capacity(leaves.len());
    let mut of = Vec::with_capacity(leaves.len());
    for (index, (data, ends)) in leaves {
        let Some(tree) = &mut hashers[index].v2 else { continue };
        // Only the first of a piece's leaves may have been begun: it finds the stream, the others a fresh one.
        let stream = std::mem::replace(&mut tree.block, Stream::new(Algorithm::Sha256));
        let data = data.into_iter();
        jobs.push(if ends { Job::last(stream, data) } else { Job::more(stream, data) });
        of.push((index, ends));
    }
    lanes::advance(Algorithm::Sha256, &mut jobs);
    for ((index, ends), job) in of.into_iter().zip(jobs) {
        let Some(tree) = &mut hashers[index].v2 else { continue };
        match ends {
            true => tree.leaves.push(job.into_stream().sha256()),
            false => tree.block = job.into_stream(),
        }
    }
}

impl PieceHasher {
    /// Hashes what `expect` needs, from the piece's first byte on.
    pub(super) fn new(expect: Expect, layout: &Layout, piece: u32) -> Self {
        let v1 = expect.v1.map(|_| Stream::new(Algorithm::Sha1));
        Self { v1, v2: expect.v2.map(|_| Tree::new(layout, piece)), ended: false }
    }

    /// Hashes for the v1 hash alone.
    pub(super) fn v1() -> Self {
        Self { v1: Some(Stream::new(Algorithm::Sha1)), v2: None, ended: false }
    }

    /// Hashes nothing: stands where a hasher was taken from.
    pub(super) fn nothing() -> Self {
        Self { v1: None, v2: None, ended: true }
    }

    /// Whether this hashes all that `expect` needs.
    pub(super) fn serves(&self, expect: Expect) -> bool {
        (self.v1.is_some() || expect.v1.is_none()) && (self.v2.is_some() || expect.v2.is_none())
    }

    /// The two hashes, as far as they were asked for.
    pub(super) fn finish(self) -> Expect {
        let ended = match self.ended {
            true => self,
            false => advance(vec![Update { hasher: self, data: Vec::new(), ends: true }]).remove(0),
        };
        Expect { v1: ended.v1.map(|v1| v1.sha1()), v2: ended.v2.map(|v2| v2.root()) }
    }

    /// Whether the bytes hash to what is expected. An expectation without any hash is never met.
    pub(super) fn verdict(self, expect: Expect) -> Verdict {
        if self.serves(expect) { verdict(self.finish(), expect) } else { Verdict::Failed }
    }
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
        Self { left, width, leaves: Vec::new(), block: Stream::new(Algorithm::Sha256) }
    }

    /// Cuts what came into leaves. The first may go on with the block that was begun; all but the last end.
    fn cut<'a>(&mut self, data: &[&'a [u8]], ends: bool) -> Vec<Leaf<'a>> {
        let mut leaves = Vec::new();
        let mut leaf = Vec::new();
        let mut filled = self.block.length() as usize;
        for part in data {
            let mut part = &part[..usize::try_from(self.left).unwrap_or(usize::MAX).min(part.len())];
            self.left -= part.len() as u64;
            while !part.is_empty() {
                let (now, rest) = part.split_at(part.len().min(BLOCK_SIZE as usize - filled));
                leaf.push(now);
                filled += now.len();
                part = rest;
                if filled == BLOCK_SIZE as usize {
                    leaves.push((std::mem::take(&mut leaf), true));
                    filled = 0;
                }
            }
        }
        if filled > 0 {
            leaves.push((leaf, ends));
        }
        leaves
    }

    fn root(self) -> Sha256Hash {
        merkle::root_of_piece(&self.leaves, self.width).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reef_proto::hash::Sha1Hash;
    use reef_proto::layout::FileEntry;
    use sha2::{Digest as _, Sha256};

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
        let in_parts = |part| {
            let mut hasher = PieceHasher::new(expect, &layout, piece);
            for data in data.chunks(part) {
                hasher = advance(vec![Update { hasher, data: vec![data], ends: false }]).remove(0);
            }
            hasher.finish().v2.unwrap().0
        };
        let root = in_parts(1000);
        assert_eq!(root, in_parts(3 * BLOCK));
        root
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
        let check = |v1, verdict| {
            let expect = Expect { v1, v2: None };
            let hasher = PieceHasher::new(expect, &layout, 0);
            let update = Update { hasher, data: vec![b"ab", b"c"], ends: true };
            assert_eq!(advance(vec![update]).remove(0).verdict(expect), verdict);
        };
        check(Some(Sha1Hash::of(b"abc")), Verdict::Passed);
        check(Some(Sha1Hash::of(b"abd")), Verdict::Failed);
        check(None, Verdict::Failed);
        let v2_only_stream = Expect { v1: None, v2: Some(Sha256Hash::of(b"abc")) };
        assert_eq!(PieceHasher::v1().verdict(v2_only_stream), Verdict::Failed);
    }
}
