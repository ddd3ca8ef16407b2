//! Pieces on their way in: blocks kept until they can go to the storage, and who sent them until the piece is judged.
//!
//! A small piece is handed over whole, to be hashed before it is written. Of a large one, contiguous runs of about
//! [`RUN`] go out as they fill and the check follows the last. Under memory pressure ([`Assembly::relieve`]) whatever is
//! held goes out, in order or not; no bit claims it before the check.

use crate::disk::{DiskOp, Expect};
use crate::hooks::Sender;
use crate::id_map::IdMap;
use bytes::Bytes;
use reef_proto::layout::{BLOCK_SIZE, Layout};

/// Bytes of a large piece that are written at once, and the size up to which a piece counts as small.
pub(crate) const RUN: u32 = 1 << 20;

/// The pieces of one torrent that are neither missing nor judged.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    pieces: IdMap<u32, Buffer>,
    held: u64,
}

#[derive(Debug)]
struct Buffer {
    blocks: Vec<Block>,
    senders: Vec<Option<Sender>>,
    held: u64,
    missing: u32,
    /// The first block of the next run to hand over.
    next: usize,
    /// Something of it was handed over in runs.
    in_runs: bool,
}

/// A block's bytes, and who sent them; a plugin's have no sender.
pub(crate) struct Arrived {
    pub(crate) data: Bytes,
    pub(crate) sender: Option<Sender>,
}

#[derive(Clone, Debug)]
enum Block {
    Missing,
    Held(Bytes),
    HandedOver,
}

impl Assembly {
    /// Bytes of blocks kept here.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// Takes a block and returns what the storage must do now, if anything.
    pub(crate) fn insert(
        &mut self,
        layout: &Layout,
        (piece, block): (u32, u32),
        arrived: Arrived,
        expect: impl FnOnce() -> Expect,
    ) -> Vec<DiskOp> {
        let Arrived { data, sender } = arrived;
        let buffer = self.pieces.get_or_insert_with(piece, || Buffer::new(layout.num_blocks(piece)));
        let index = block as usize;
        if !matches!(buffer.blocks.get(index), Some(Block::Missing)) {
            return Vec::new();
        }
        buffer.held += data.len() as u64;
        self.held += data.len() as u64;
        buffer.blocks[index] = Block::Held(data);
        buffer.senders[index] = sender;
        buffer.missing -= 1;
        let small = layout.piece_size(piece) <= RUN;
        let mut ops = Vec::new();
        if buffer.missing == 0 {
            self.held -= buffer.complete(piece, expect(), &mut ops);
        } else if !small {
            self.held -= buffer.hand_over_runs(piece, &mut ops);
        }
        ops
    }

    /// Marks blocks that are on disk from an earlier run. Returns the check if that completes the piece.
    pub(crate) fn restore(&mut self, layout: &Layout, piece: u32, blocks: &[u32], expect: Expect) -> Vec<DiskOp> {
        let buffer = self.pieces.get_or_insert_with(piece, || Buffer::new(layout.num_blocks(piece)));
        for &b in blocks {
            if let Some(state @ Block::Missing) = buffer.blocks.get_mut(b as usize) {
                *state = Block::HandedOver;
                buffer.missing -= 1;
                buffer.in_runs = true;
            }
        }
        let mut ops = Vec::new();
        if buffer.missing == 0 {
            self.held -= buffer.complete(piece, expect, &mut ops);
        }
        ops
    }

    /// Hands over everything held of unfinished pieces, largest first, until at most `target` bytes are held.
    pub(crate) fn relieve(&mut self, target: u64) -> Vec<DiskOp> {
        let mut by_size: Vec<(u64, u32)> =
            self.pieces.unordered().filter(|(_, b)| b.held > 0).map(|(piece, b)| (b.held, piece)).collect();
        by_size.sort_unstable_by(|a, b| b.cmp(a));
        let mut ops = Vec::new();
        for (_, piece) in by_size {
            if self.held <= target {
                break;
            }
            if let Some(buffer) = self.pieces.get_mut(&piece) {
                self.held -= buffer.hand_over_all(piece, &mut ops);
            }
        }
        ops
    }

    /// Forgets a piece, because it was judged or given up, and returns who sent its blocks.
    pub(crate) fn remove(&mut self, piece: u32) -> Vec<(u32, Sender)> {
        let Some(buffer) = self.pieces.remove(&piece) else { return Vec::new() };
        self.held -= buffer.held;
        let mut senders = Vec::with_capacity(buffer.senders.len());
        senders.extend((0..).zip(buffer.senders).filter_map(|(i, s)| Some((i, s?))));
        senders
    }

    /// The blocks of each unfinished piece that were handed to the storage.
    pub(crate) fn on_disk(&self) -> impl Iterator<Item = (u32, Vec<u32>)> + '_ {
        self.pieces.iter().filter(|(_, b)| b.in_runs).map(|(piece, b)| {
            let blocks = (0..).zip(&b.blocks).filter(|(_, s)| matches!(s, Block::HandedOver)).map(|(i, _)| i);
            (piece, blocks.collect())
        })
    }

    /// Panics if the counts are not those of the blocks. For tests; looks at everything.
    pub(crate) fn check_invariant(&self) {
        for (piece, buffer) in self.pieces.iter() {
            let missing = buffer.blocks.iter().filter(|b| matches!(b, Block::Missing)).count();
            let held: u64 = buffer.blocks.iter().map(|b| if let Block::Held(d) = b { d.len() as u64 } else { 0 }).sum();
            assert_eq!((buffer.missing as usize, buffer.held), (missing, held), "piece {piece}");
        }
        assert_eq!(self.held, self.pieces.values().map(|b| b.held).sum::<u64>());
    }
}

impl Buffer {
    fn new(blocks: u32) -> Self {
        let n = blocks as usize;
        Self {
            blocks: vec![Block::Missing; n],
            senders: vec![None; n],
            held: 0,
            missing: blocks,
            next: 0,
            in_runs: false,
        }
    }

    /// All blocks are here. Returns how many bytes are no longer held.
    fn complete(&mut self, piece: u32, expect: Expect, ops: &mut Vec<DiskOp>) -> u64 {
        if self.in_runs {
            let freed = self.hand_over_all(piece, ops);
            ops.push(DiskOp::CheckPiece { piece, expect });
            return freed;
        }
        let data = self.blocks.iter_mut().map(Block::take).collect();
        ops.push(DiskOp::WritePiece { piece, data, expect });
        std::mem::take(&mut self.held)
    }

    /// Hands over runs of at least [`RUN`] that continue what was handed over.
    fn hand_over_runs(&mut self, piece: u32, ops: &mut Vec<DiskOp>) -> u64 {
        let per_run = (RUN / BLOCK_SIZE) as usize;
        let mut freed = 0;
        loop {
            while matches!(self.blocks.get(self.next), Some(Block::HandedOver)) {
                self.next += 1;
            }
            let run = self.blocks.get(self.next..self.next + per_run);
            if !run.is_some_and(|r| r.iter().all(|b| matches!(b, Block::Held(_)))) {
                return freed;
            }
            freed += self.hand_over(piece, self.next, self.next + per_run, ops);
            self.next += per_run;
        }
    }

    fn hand_over_all(&mut self, piece: u32, ops: &mut Vec<DiskOp>) -> u64 {
        let mut freed = 0;
        let mut at = 0;
        while at < self.blocks.len() {
            if !matches!(self.blocks[at], Block::Held(_)) {
                at += 1;
                continue;
            }
            let end = self.blocks[at..].iter().position(|b| !matches!(b, Block::Held(_)));
            let end = end.map_or(self.blocks.len(), |n| at + n);
            freed += self.hand_over(piece, at, end, ops);
            at = end;
        }
        freed
    }

    fn hand_over(&mut self, piece: u32, from: usize, to: usize, ops: &mut Vec<DiskOp>) -> u64 {
        let data: Vec<Bytes> = self.blocks[from..to].iter_mut().map(Block::take).collect();
        let freed = data.iter().map(|d| d.len() as u64).sum();
        self.held -= freed;
        self.in_runs = true;
        // A piece has at most u32::MAX bytes, so its block offsets fit.
        ops.push(DiskOp::WriteRun { piece, begin: from as u32 * BLOCK_SIZE, data });
        freed
    }
}

impl Block {
    fn take(&mut self) -> Bytes {
        match std::mem::replace(self, Self::HandedOver) {
            Self::Held(data) => data,
            Self::Missing | Self::HandedOver => Bytes::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reef_proto::layout::FileEntry;
    use reef_proto::peer_id::PeerId;

    fn layout(piece_length: u32, total: u64) -> Layout {
        let file = FileEntry { path: vec!["f".into()], length: total, ..FileEntry::default() };
        Layout::new(piece_length, vec![file]).unwrap()
    }

    fn sender() -> Sender {
        Sender { address: ([127, 0, 0, 1], 1).into(), peer_id: PeerId([0; 20]) }
    }

    fn put(a: &mut Assembly, l: &Layout, piece: u32, block: u32) -> Vec<DiskOp> {
        let data = Bytes::from(vec![0; l.block_size(piece, block) as usize]);
        a.insert(l, (piece, block), Arrived { data, sender: Some(sender()) }, Expect::default)
    }

    fn kinds(ops: &[DiskOp]) -> Vec<String> {
        ops.iter()
            .map(|op| match op {
                DiskOp::WritePiece { data, .. } => format!("piece of {}", data.len()),
                DiskOp::WriteRun { begin, data, .. } => format!("run at {begin} of {}", data.len()),
                DiskOp::CheckPiece { .. } => "check".to_owned(),
                _ => "?".to_owned(),
            })
            .collect()
    }

    #[test]
    fn small_piece_is_handed_over_whole_in_any_order() {
        let l = layout(65536, 65536);
        let mut a = Assembly::default();
        for b in [3, 0, 2] {
            assert!(put(&mut a, &l, 0, b).is_empty());
        }
        assert!(put(&mut a, &l, 0, 2).is_empty(), "a second copy changes nothing");
        assert_eq!(a.held(), 3 * 16384);
        assert_eq!(kinds(&put(&mut a, &l, 0, 1)), ["piece of 4"]);
        assert_eq!(a.held(), 0);
        assert_eq!(a.remove(0).len(), 4);
    }

    #[test]
    fn large_piece_goes_out_in_runs_and_is_checked_at_the_end() {
        let l = layout(4 << 20, 4 << 20);
        let mut a = Assembly::default();
        let mut seen = Vec::new();
        for b in 0..256 {
            seen.extend(kinds(&put(&mut a, &l, 0, b)));
        }
        let run = |n: u32| format!("run at {} of 64", n << 20);
        assert_eq!(seen, [run(0), run(1), run(2), run(3), "check".into()]);
        assert_eq!(a.held(), 0);
    }

    #[test]
    fn pressure_hands_over_what_is_held_in_order_or_not() {
        let l = layout(65536, 65536);
        let mut a = Assembly::default();
        put(&mut a, &l, 0, 1);
        put(&mut a, &l, 0, 3);
        assert_eq!(kinds(&a.relieve(0)), ["run at 16384 of 1", "run at 49152 of 1"]);
        assert_eq!(a.held(), 0);
        assert_eq!(a.on_disk().collect::<Vec<_>>(), [(0, vec![1, 3])]);
        put(&mut a, &l, 0, 0);
        assert_eq!(kinds(&put(&mut a, &l, 0, 2)), ["run at 0 of 1", "run at 32768 of 1", "check"]);
    }

    #[test]
    fn restored_blocks_count() {
        let l = layout(65536, 65536);
        let mut a = Assembly::default();
        assert!(a.restore(&l, 0, &[0, 1, 9], Expect::default()).is_empty());
        put(&mut a, &l, 0, 2);
        assert_eq!(kinds(&put(&mut a, &l, 0, 3)), ["run at 32768 of 2", "check"]);
    }
}
