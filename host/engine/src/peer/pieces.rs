//! Which pieces a peer has, also while the number of pieces is unknown.

use crate::policy::picker::Picker;
use bytes::Bytes;
use reef_proto::bitfield::Bitfield;

/// `have` messages kept at most while the number of pieces is unknown.
const MAX_EARLY_HAVES: usize = 4096;

/// The pieces of a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Pieces {
    /// Every piece.
    All,
    /// These.
    Some(Bitfield),
    /// What was said before the metadata is known.
    Early {
        /// The bitfield, unchecked.
        bitfield: Option<Bytes>,
        /// The `have` messages.
        haves: Vec<u32>,
    },
}

impl Pieces {
    /// Nothing was said and the number of pieces is unknown.
    pub(crate) fn unknown() -> Self {
        Self::Early { bitfield: None, haves: Vec::new() }
    }

    /// Whether it is every piece.
    pub(crate) fn is_all(&self) -> bool {
        match self {
            Self::All => true,
            Self::Some(b) => b.is_full(),
            Self::Early { .. } => false,
        }
    }

    /// Whether the peer has this piece.
    pub(crate) fn has(&self, piece: u32) -> bool {
        match self {
            Self::All => true,
            Self::Some(b) => b.get(piece),
            Self::Early { .. } => false,
        }
    }

    /// How many pieces of `total`.
    pub(crate) fn count(&self, total: u32) -> u32 {
        match self {
            Self::All => total,
            Self::Some(b) => b.count(),
            Self::Early { .. } => 0,
        }
    }

    /// Adds a piece; false if it was there, or if it is out of range.
    pub(crate) fn add(&mut self, piece: u32) -> bool {
        match self {
            Self::All => false,
            Self::Some(b) => b.set(piece),
            Self::Early { haves, .. } => {
                if haves.len() < MAX_EARLY_HAVES {
                    haves.push(piece);
                }
                false
            }
        }
    }

    /// Counts these pieces as available.
    pub(crate) fn enter(&self, picker: &mut Picker) {
        match self {
            Self::All => picker.peer_has_all(),
            Self::Some(b) => picker.add_bitfield(b),
            Self::Early { .. } => {}
        }
    }

    /// Counts these pieces as no longer available.
    pub(crate) fn leave(&self, picker: &mut Picker) {
        match self {
            Self::All => picker.peer_lost_all(),
            Self::Some(b) => picker.remove_bitfield(b),
            Self::Early { .. } => {}
        }
    }

    /// Takes a piece away again (BEP 54).
    pub(crate) fn lose(&mut self, piece: u32, num_pieces: u32, picker: &mut Picker) {
        if matches!(self, Self::All) {
            picker.peer_lost_all();
            let all = Bitfield::full(num_pieces);
            picker.add_bitfield(&all);
            *self = Self::Some(all);
        }
        if let Self::Some(b) = self
            && b.clear(piece)
        {
            picker.peer_lost(piece);
        }
    }

    /// Whether a picker wants any of them.
    pub(crate) fn is_interesting(&self, picker: &Picker) -> bool {
        match self {
            Self::All => !picker.is_finished(),
            Self::Some(b) => picker.is_interesting(b),
            Self::Early { .. } => false,
        }
    }

    /// What is meant, once the number of pieces is known.
    ///
    /// # Errors
    /// The bitfield is not one of so many pieces, or a `have` is out of range.
    pub(crate) fn settle(&self, num_pieces: u32) -> Result<Self, String> {
        let Self::Early { bitfield, haves } = self else { return Ok(self.clone()) };
        let mut known = match bitfield {
            Some(bytes) => Bitfield::from_wire(bytes, num_pieces).map_err(|e| e.to_string())?,
            None => Bitfield::new(num_pieces),
        };
        for &piece in haves {
            if piece >= num_pieces {
                return Err(format!("have of piece {piece}, but there are {num_pieces}"));
            }
            known.set(piece);
        }
        Ok(Self::Some(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_early_counts_once_the_number_is_known() {
        let mut p = Pieces::unknown();
        p.add(3);
        let Pieces::Some(b) = p.settle(4).unwrap() else { panic!("still unknown") };
        assert_eq!(b.iter().collect::<Vec<_>>(), [3]);
        assert!(p.settle(3).is_err());
        let early = Pieces::Early { bitfield: Some(Bytes::from_static(&[0xf0])), haves: Vec::new() };
        assert!(early.settle(4).unwrap().is_all());
        assert!(early.settle(9).is_err());
    }
}
