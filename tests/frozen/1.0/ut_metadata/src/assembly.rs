//! An info dictionary in the making, for one claimed size: which blocks are there, from whom, and which to ask for next.

use crate::message::BLOCK;
use reef_plugin_api::PeerKey;
use std::collections::{BTreeMap, BTreeSet};

/// Blocks of an info dictionary of one size. Memory follows what was asked and what arrived, never the size alone.
#[derive(Debug)]
pub(crate) struct Assembly {
    size: u32,
    /// Blocks that were asked for or have arrived. Those below `fresh` are all in it.
    blocks: BTreeMap<u32, Block>,
    /// The first block that may not be in `blocks`.
    fresh: u32,
    stored: usize,
    complete: u32,
}

#[derive(Debug, Default)]
struct Block {
    data: Option<(PeerKey, Vec<u8>)>,
    asks: u32,
    last_ask: u64,
    /// Who was asked last, unless it has answered or gone.
    asked: Option<PeerKey>,
}

impl Assembly {
    /// One without blocks.
    pub(crate) fn new(size: u32) -> Self {
        Self { size, blocks: BTreeMap::new(), fresh: 0, stored: 0, complete: 0 }
    }

    /// Bytes that have arrived.
    pub(crate) fn stored(&self) -> usize {
        self.stored
    }

    /// Whether every block has arrived.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete == block_count(self.size)
    }

    /// Chooses a block to ask this peer for, and notes that it is asked: one that was asked for least often, the lowest
    /// number of those. `excluded` are those it has been asked for already.
    pub(crate) fn ask(&mut self, peer: PeerKey, excluded: &[u32], now: u64) -> Option<u32> {
        while self.blocks.contains_key(&self.fresh) {
            self.fresh += 1;
        }
        let fresh = (self.fresh..block_count(self.size)).find(|piece| !self.knows(*piece) && !excluded.contains(piece));
        let piece = fresh.or_else(|| self.ask_again(excluded, now))?;
        let block = self.blocks.entry(piece).or_default();
        block.asks = block.asks.saturating_add(1);
        (block.last_ask, block.asked) = (now, Some(peer));
        Some(piece)
    }

    fn knows(&self, piece: u32) -> bool {
        self.blocks.contains_key(&piece)
    }

    fn ask_again(&self, excluded: &[u32], now: u64) -> Option<u32> {
        let free = |block: &Block| {
            block.data.is_none() && (block.asked.is_none() || now.saturating_sub(block.last_ask) >= ASK_AGAIN)
        };
        let open = self.blocks.iter().filter(|(piece, block)| free(block) && !excluded.contains(piece));
        open.min_by_key(|(piece, block)| (block.asks, **piece)).map(|(piece, _)| *piece)
    }

    /// This peer will not send the block: another one may be asked at once.
    pub(crate) fn give_up(&mut self, peer: PeerKey, piece: u32) {
        if let Some(block) = self.blocks.get_mut(&piece).filter(|block| block.asked == Some(peer)) {
            block.asked = None;
        }
    }

    /// Keeps a block, unless there is one already. `false`: a block of this dictionary cannot have this length.
    pub(crate) fn store(&mut self, peer: PeerKey, piece: u32, data: &[u8]) -> bool {
        if block_len(self.size, piece) != Some(data.len()) {
            return false;
        }
        let block = self.blocks.entry(piece).or_default();
        if block.data.is_none() {
            block.data = Some((peer, data.to_vec()));
            self.stored += data.len();
            self.complete += 1;
        }
        true
    }

    /// Whose blocks it is made of.
    pub(crate) fn senders(&self) -> BTreeSet<PeerKey> {
        self.blocks.values().filter_map(|block| block.data.as_ref()).map(|(peer, _)| *peer).collect()
    }

    /// The bytes, if every block has arrived.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        let blocks = self.blocks.values().filter_map(|block| block.data.as_ref());
        self.is_complete().then(|| blocks.map(|(_, data)| data.as_slice()).collect::<Vec<_>>().concat())
    }

    /// What this peer sent, as an assembly of its own.
    pub(crate) fn part_of(&self, peer: PeerKey) -> Self {
        let mut part = Self::new(self.size);
        for (piece, block) in &self.blocks {
            if let Some((_, data)) = block.data.as_ref().filter(|(sender, _)| *sender == peer) {
                part.store(peer, *piece, data);
            }
        }
        part
    }
}

/// After this many microseconds a block is asked from another peer as well (libtorrent's 3 s).
const ASK_AGAIN: u64 = 3_000_000;

fn block_count(size: u32) -> u32 {
    size.div_ceil(BLOCK)
}

fn block_len(size: u32, piece: u32) -> Option<usize> {
    let start = piece.checked_mul(BLOCK)?;
    let rest = size.checked_sub(start).filter(|rest| *rest > 0)?;
    usize::try_from(rest.min(BLOCK)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PeerKey = PeerKey(1);
    const B: PeerKey = PeerKey(2);
    const SIZE: u32 = 2 * BLOCK + 5;

    fn block(byte: u8) -> Vec<u8> {
        vec![byte; BLOCK as usize]
    }

    #[test]
    fn blocks_are_asked_in_order_and_again_after_three_seconds() {
        let mut assembly = Assembly::new(SIZE);
        let asked: Vec<_> = (0..4).map(|_| assembly.ask(A, &[], 0)).collect();
        assert_eq!(asked, [Some(0), Some(1), Some(2), None]);
        assert_eq!(assembly.ask(B, &[], ASK_AGAIN - 1), None);
        assert!(assembly.store(A, 0, &block(0)));
        assert_eq!(assembly.ask(B, &[], ASK_AGAIN), Some(1), "the first that is missing");
        assert_eq!(assembly.ask(B, &[1], ASK_AGAIN), Some(2));
        assert_eq!(assembly.ask(B, &[1, 2], 9 * ASK_AGAIN), None, "never twice from the same");
    }

    #[test]
    fn what_a_peer_gives_up_is_asked_elsewhere_at_once() {
        let mut assembly = Assembly::new(SIZE);
        assert_eq!(assembly.ask(A, &[], 0), Some(0));
        assembly.give_up(B, 0);
        assert_eq!(assembly.ask(B, &[1, 2], 0), None);
        assembly.give_up(A, 0);
        assert_eq!(assembly.ask(B, &[1, 2], 0), Some(0));
    }

    #[test]
    fn only_blocks_of_the_right_length_are_kept() {
        let mut assembly = Assembly::new(SIZE);
        for (piece, len) in [(0, 0), (0, 5), (2, 4), (2, BLOCK as usize), (3, 0), (3, 5), (u32::MAX, 5)] {
            assert!(!assembly.store(A, piece, &vec![0; len]), "{piece} {len}");
        }
        assert_eq!(assembly.stored(), 0);
    }

    #[test]
    fn the_first_of_two_answers_stays_and_the_senders_are_known() {
        let mut assembly = Assembly::new(SIZE);
        assert!(assembly.store(B, 2, &[7; 5]) && assembly.store(A, 0, &block(1)) && assembly.store(B, 0, &block(2)));
        assert_eq!(assembly.bytes(), None);
        assert!(assembly.store(A, 1, &block(3)));
        assert_eq!(assembly.bytes(), Some([block(1), block(3), vec![7; 5]].concat()));
        assert_eq!(assembly.senders(), BTreeSet::from([A, B]));
        assert_eq!(assembly.stored(), SIZE as usize);
        let mut part = assembly.part_of(A);
        assert_eq!((part.stored(), part.senders()), (2 * BLOCK as usize, BTreeSet::from([A])));
        assert_eq!((part.ask(A, &[], 0), part.ask(A, &[2], 0)), (Some(2), None));
    }

    #[test]
    fn one_block_may_be_all() {
        for size in [1, BLOCK] {
            let mut assembly = Assembly::new(size);
            assert_eq!((assembly.ask(A, &[], 0), assembly.ask(A, &[0], 0)), (Some(0), None));
            assert!(assembly.store(A, 0, &vec![1; size as usize]));
            assert!(assembly.is_complete());
        }
    }
}
