//! Hash trees of v2 files (BEP 52): leaves of 16 KiB blocks, piece layers and roots.
//!
//! The leaves of a file are the SHA-256 digests of its blocks, the last block as short as it is. They are filled up
//! with zero digests to a power of two; a node is the digest of its two children. A file's piece layer is the level
//! whose nodes stand for one piece each; past its end stand the roots of all-zero subtrees.

use crate::hash::Sha256Hash;
use crate::layout::BLOCK_SIZE;

/// The digest of two children: a node of the tree.
pub fn parent(left: &Sha256Hash, right: &Sha256Hash) -> Sha256Hash {
    let mut both = [0_u8; 64];
    let halves = left.0.iter().chain(right.0.iter());
    both.iter_mut().zip(halves).for_each(|(to, from)| *to = *from);
    Sha256Hash::of(&both)
}

/// The leaf of each block of `data`, which is a file or begins at a block's boundary.
pub fn leaves(data: &[u8]) -> Vec<Sha256Hash> {
    data.chunks(BLOCK_SIZE as usize).map(Sha256Hash::of).collect()
}

/// The root over `leaves`, filled up with zero digests to a power of two; none if there are no leaves.
pub fn root_of_leaves(leaves: Vec<Sha256Hash>) -> Option<Sha256Hash> {
    root(leaves, Sha256Hash::default())
}

/// The root over a piece layer, filled up with the roots of all-zero subtrees to a power of two; none if it is empty.
/// `blocks_per_piece` is a power of two.
pub fn root_of_layer(layer: Vec<Sha256Hash>, blocks_per_piece: u32) -> Option<Sha256Hash> {
    root(layer, zero_root(blocks_per_piece.trailing_zeros()))
}

/// The piece layer over `leaves`, a node for every `blocks_per_piece` (a power of two) of them.
pub fn piece_layer(leaves: &[Sha256Hash], blocks_per_piece: u32) -> Vec<Sha256Hash> {
    let width = usize::try_from(blocks_per_piece).unwrap_or(usize::MAX).max(1);
    leaves.chunks(width).filter_map(|piece| root_of_piece(piece, blocks_per_piece)).collect()
}

/// The node of one piece: the root over `leaves`, filled up with zero digests to `blocks_per_piece` (a power of two).
pub fn root_of_piece(leaves: &[Sha256Hash], blocks_per_piece: u32) -> Option<Sha256Hash> {
    let own_levels = leaves.len().next_power_of_two().trailing_zeros();
    let node = root_of_leaves(leaves.to_vec())?;
    let missing = own_levels..blocks_per_piece.trailing_zeros();
    Some(missing.fold(node, |node, level| parent(&node, &zero_root(level))))
}

/// The root of a tree of `2^levels` zero leaves.
pub fn zero_root(levels: u32) -> Sha256Hash {
    (0..levels).fold(Sha256Hash::default(), |zero, _| parent(&zero, &zero))
}

/// The number of leaves of the tree over `blocks` blocks, with those that fill it up.
pub fn num_leaves(blocks: u64) -> u64 {
    blocks.checked_next_power_of_two().unwrap_or(u64::MAX)
}

/// The index of the first leaf in a tree of `num_leaves` leaves whose nodes are numbered from the root, level by level.
pub fn first_leaf(num_leaves: u64) -> u64 {
    num_leaves.saturating_sub(1)
}

/// Combines pairs until one is left; `pad` stands where a level has no node.
fn root(mut nodes: Vec<Sha256Hash>, mut pad: Sha256Hash) -> Option<Sha256Hash> {
    while nodes.len() > 1 {
        nodes = nodes
            .chunks(2)
            .filter_map(|pair| match pair {
                [left, right] => Some(parent(left, right)),
                [left] => Some(parent(left, &pad)),
                _ => None,
            })
            .collect();
        pad = parent(&pad, &pad);
    }
    nodes.first().copied()
}
