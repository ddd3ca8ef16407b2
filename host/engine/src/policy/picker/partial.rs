//! A piece that was begun: what is known of each of its blocks.
//!
//! A block is free, asked of one peer (in the end game of several) or received. It knows nothing of other pieces.

use super::Speed;
use super::open::{Kind, Place};
use crate::ids::ConnId;

/// Peers at most that one block is asked of at a time, in the end game.
const MAX_ASKERS: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Block {
    Free,
    Requested(ConnId),
    /// Received from a connection; from none if it was restored from an earlier run.
    Received(Option<ConnId>),
}

/// A piece that was begun.
#[derive(Clone, Debug)]
pub(super) struct Partial {
    pub(super) piece: u32,
    blocks: Box<[Block]>,
    /// Askers besides the first, in the end game.
    extra: Vec<(u32, ConnId)>,
    free: u32,
    requested: u32,
    /// No block below this one is free.
    first_free: u32,
    /// Only this peer may be asked: it is to show whether it sends good blocks.
    pub(super) exclusive: Option<ConnId>,
    /// How fast the peer is that began it.
    pub(super) speed: Speed,
    /// Where it is in the picker's list of pieces that have free blocks.
    pub(super) open_at: Option<Place>,
}

/// What became of a block that arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    /// It is the first; this peer was asked for it, and in the end game others.
    First { asker: Option<ConnId>, others: Vec<ConnId> },
    /// It is here already.
    Again,
}

impl Partial {
    pub(super) fn new(piece: u32, blocks: u32, speed: Speed) -> Self {
        Self {
            piece,
            blocks: vec![Block::Free; blocks as usize].into(),
            extra: Vec::new(),
            free: blocks,
            requested: 0,
            first_free: 0,
            exclusive: None,
            speed,
            open_at: None,
        }
    }

    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Blocks that are neither asked for nor received.
    pub(super) fn free(&self) -> u32 {
        self.free
    }

    /// No block below this one is free.
    pub(super) fn first_free(&self) -> u32 {
        self.first_free
    }

    /// Blocks that are asked for.
    pub(super) fn requested(&self) -> u32 {
        self.requested
    }

    /// Whether somebody works on it.
    pub(super) fn kind(&self) -> Kind {
        if self.requested == 0 { Kind::Orphan } else { Kind::Shared }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.free == 0 && self.requested == 0
    }

    /// Nothing is asked for and nothing received.
    pub(super) fn is_untouched(&self) -> bool {
        self.free as usize == self.blocks.len()
    }

    /// Takes the first free block for `peer`.
    pub(super) fn ask(&mut self, peer: ConnId) -> Option<u32> {
        if self.free == 0 {
            return None;
        }
        let from = self.first_free as usize;
        let at = from + self.blocks.get(from..)?.iter().position(|b| *b == Block::Free)?;
        self.blocks[at] = Block::Requested(peer);
        self.free -= 1;
        self.requested += 1;
        self.first_free = at as u32 + 1;
        Some(at as u32)
    }

    /// Takes a block for `peer` that is asked of `others` other peers already, and not of it.
    pub(super) fn ask_again(&mut self, peer: ConnId, others: usize) -> Option<u32> {
        if others + 1 > MAX_ASKERS || self.requested == 0 {
            return None;
        }
        let at = (0..self.blocks.len() as u32).find(|&block| {
            matches!(self.blocks[block as usize], Block::Requested(first) if first != peer)
                && !self.extra.contains(&(block, peer))
                && self.extra.iter().filter(|(b, _)| *b == block).count() + 1 == others
        })?;
        self.extra.push((at, peer));
        Some(at)
    }

    /// Forgets that `block` is asked of `peer`; says whether it was.
    pub(super) fn abort(&mut self, peer: ConnId, block: u32) -> bool {
        let Some(Block::Requested(first)) = self.blocks.get(block as usize).copied() else {
            return false;
        };
        if first != peer {
            return self.drop_extra(block, peer);
        }
        if let Some(next) = self.extra.iter().position(|(b, _)| *b == block) {
            let (_, heir) = self.extra.swap_remove(next);
            self.blocks[block as usize] = Block::Requested(heir);
        } else {
            self.blocks[block as usize] = Block::Free;
            self.free += 1;
            self.requested -= 1;
            self.first_free = self.first_free.min(block);
        }
        true
    }

    /// Forgets everything that is asked of `peer`.
    pub(super) fn abort_all(&mut self, peer: ConnId) {
        self.extra.retain(|(_, asker)| *asker != peer);
        for block in 0..self.blocks.len() as u32 {
            if self.blocks[block as usize] == Block::Requested(peer) {
                self.abort(peer, block);
            }
        }
    }

    /// Marks a block as received; `None` if there is no such block.
    pub(super) fn receive(&mut self, from: Option<ConnId>, block: u32) -> Option<Arrival> {
        let state = self.blocks.get_mut(block as usize)?;
        let before = std::mem::replace(state, Block::Received(from));
        let first = match before {
            Block::Received(_) => {
                *state = before;
                return Some(Arrival::Again);
            }
            Block::Free => {
                self.free -= 1;
                None
            }
            Block::Requested(first) => {
                self.requested -= 1;
                Some(first)
            }
        };
        let mut others = Vec::new();
        if !self.extra.is_empty() {
            self.extra.retain(|&(b, asker)| {
                if b == block {
                    others.push(asker);
                }
                b != block
            });
        }
        Some(Arrival::First { asker: first, others })
    }

    /// Whether `block` is asked of `peer`.
    pub(super) fn is_asked(&self, peer: ConnId, block: u32) -> bool {
        self.blocks.get(block as usize) == Some(&Block::Requested(peer)) || self.extra.contains(&(block, peer))
    }

    /// Whether the block is here.
    pub(super) fn is_received(&self, block: u32) -> bool {
        matches!(self.blocks.get(block as usize), Some(Block::Received(_)))
    }

    /// Every peer that something is asked of, once for each block.
    pub(super) fn askers(&self) -> impl Iterator<Item = ConnId> + '_ {
        let firsts = self.blocks.iter().filter_map(|block| match block {
            Block::Requested(peer) => Some(*peer),
            _ => None,
        });
        firsts.chain(self.extra.iter().map(|(_, peer)| *peer))
    }

    fn drop_extra(&mut self, block: u32, peer: ConnId) -> bool {
        let at = self.extra.iter().position(|entry| *entry == (block, peer));
        if let Some(at) = at {
            self.extra.swap_remove(at);
        }
        at.is_some()
    }
}
