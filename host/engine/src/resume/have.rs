//! Which pieces and blocks are on disk, and how the files looked when that was written down.
//!
//! The record is binary because it is written every few seconds while a torrent downloads. All numbers are big-endian:
//! version (1 byte: 1, or 2 and then the mount that keeps the files, 24 bytes); number of pieces (4); how they follow (1 byte: 0 none is there, 1 all are, 2 a bit each, as in the
//! bitfield message); number of unfinished pieces (4), each with its index (4), length of its mask (2) and mask (block 0
//! is the highest bit of the first byte); number of files (4), each with its size (8) and modification time (8).

use super::ResumeError;
use crate::disk::{FileStat, MountId};
use bytes::Bytes;
use reef_proto::bitfield::{Bitfield, byte_count};
use reef_proto::layout::{BLOCK_SIZE, MAX_PIECE_LENGTH, MAX_PIECES};

const STABLE: u8 = 1;
const KEPT: u8 = 2;
const NONE: u8 = 0;
const ALL: u8 = 1;
const BITS: u8 = 2;
/// Bytes of the mask of the largest piece.
pub(super) const MAX_MASK: usize = (MAX_PIECE_LENGTH / BLOCK_SIZE).div_ceil(8) as usize;

/// The pieces and blocks that are on disk.
#[derive(Clone, PartialEq, Debug)]
pub struct Have {
    /// Verified pieces.
    pub pieces: Bitfield,
    /// Pieces of which some blocks are on disk, unverified: index and blocks, ascending.
    pub unfinished: Vec<(u32, Vec<u32>)>,
    /// Every file as it was when the pieces were last known to be in it, by index; zeros for one that was written to since.
    pub file_stats: Vec<FileStat>,
    /// Where the files are not on stable storage yet, the mount that keeps them: the record holds as long as it does.
    pub kept_by: Option<MountId>,
}

impl Have {
    /// The record that the store keeps.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = match self.kept_by {
            None => vec![STABLE],
            Some(MountId(mount)) => [&[KEPT][..], &mount].concat(),
        };
        out.extend(self.pieces.len().to_be_bytes());
        match self.pieces.count() {
            0 => out.push(NONE),
            count if count == self.pieces.len() => out.push(ALL),
            _ => {
                out.push(BITS);
                out.extend(self.pieces.to_bytes());
            }
        }
        // Neither list can be longer than u32: indices and files are counted in it.
        out.extend((self.unfinished.len() as u32).to_be_bytes());
        for (piece, blocks) in &self.unfinished {
            let mask = mask_of(blocks);
            out.extend(piece.to_be_bytes());
            out.extend((mask.len() as u16).to_be_bytes());
            out.extend(mask);
        }
        out.extend((self.file_stats.len() as u32).to_be_bytes());
        for stat in &self.file_stats {
            out.extend(stat.size.to_be_bytes());
            out.extend(stat.mtime.to_be_bytes());
        }
        out.into()
    }

    /// Reads what [`Have::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are cut off, too long, of another version, or name what no torrent has.
    pub fn parse(bytes: &[u8]) -> Result<Self, ResumeError> {
        let mut rest = bytes;
        let have = read(&mut rest).filter(|_| rest.is_empty());
        have.ok_or(ResumeError::Have)
    }

    /// Fits the record to a torrent of `pieces` pieces: the dictionary of version 2 rounds their number up to eight.
    /// `None` if it cannot be of this torrent.
    #[must_use]
    pub fn fit(mut self, pieces: u32) -> Option<Self> {
        if self.pieces.len() != pieces {
            if self.pieces.len() != pieces.next_multiple_of(8) {
                return None;
            }
            self.pieces = Bitfield::from_wire(&self.pieces.to_bytes(), pieces).ok()?;
        }
        let fits = self.unfinished.iter().all(|(piece, _)| *piece < pieces);
        fits.then_some(self)
    }
}

fn read(rest: &mut &[u8]) -> Option<Have> {
    let kept_by = match take(rest)? {
        [STABLE] => None,
        [KEPT] => Some(MountId(take(rest)?)),
        _ => return None,
    };
    let pieces = read_pieces(rest)?;
    let mut unfinished = Vec::new();
    for _ in 0..u32::from_be_bytes(take(rest)?) {
        let piece = u32::from_be_bytes(take(rest)?);
        let length = usize::from(u16::from_be_bytes(take(rest)?));
        let (mask, after) = rest.split_at_checked(length).filter(|(mask, _)| mask.len() <= MAX_MASK)?;
        *rest = after;
        unfinished.push((piece, blocks_of(mask)));
        if piece >= pieces.len() {
            return None;
        }
    }
    let mut file_stats = Vec::new();
    for _ in 0..u32::from_be_bytes(take(rest)?) {
        file_stats.push(FileStat { size: u64::from_be_bytes(take(rest)?), mtime: u64::from_be_bytes(take(rest)?) });
    }
    Some(Have { pieces, unfinished, file_stats, kept_by })
}

fn read_pieces(rest: &mut &[u8]) -> Option<Bitfield> {
    let len = Some(u32::from_be_bytes(take(rest)?)).filter(|len| *len <= MAX_PIECES)?;
    match take(rest)? {
        [NONE] => Some(Bitfield::new(len)),
        [ALL] => Some(Bitfield::full(len)),
        [BITS] => {
            let (bits, after) = rest.split_at_checked(byte_count(len))?;
            *rest = after;
            Bitfield::from_wire(bits, len).ok()
        }
        _ => None,
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*head)
}

/// The mask of some blocks: block 0 is the highest bit of the first byte. Blocks that no piece has are left out.
pub(super) fn mask_of(blocks: &[u32]) -> Vec<u8> {
    let mut mask = Vec::new();
    for &block in blocks {
        let at = block as usize / 8;
        if at >= MAX_MASK {
            continue;
        }
        if mask.len() <= at {
            mask.resize(at + 1, 0);
        }
        mask[at] |= 0x80_u8 >> (block % 8);
    }
    mask
}

/// The blocks of a mask, ascending.
pub(super) fn blocks_of(mask: &[u8]) -> Vec<u32> {
    let bits = (0_u32..).zip(mask).flat_map(|(at, byte)| (0..8).map(move |bit| (at * 8 + bit, byte << bit & 0x80)));
    bits.filter(|(_, set)| *set != 0).map(|(block, _)| block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some() -> Have {
        let mut pieces = Bitfield::new(13);
        assert!([0, 3, 12].into_iter().all(|piece| pieces.set(piece)));
        Have {
            pieces,
            unfinished: vec![(1, vec![0, 9, 31]), (2, vec![32_766])],
            file_stats: vec![FileStat { size: 5, mtime: u64::MAX }, FileStat::default()],
            kept_by: Some(MountId([7; 24])),
        }
    }

    #[test]
    fn the_record_survives() {
        let empty = Have { pieces: Bitfield::new(0), unfinished: vec![], file_stats: vec![], kept_by: None };
        let full = Have { pieces: Bitfield::full(100_000), ..empty.clone() };
        assert!(full.encode().len() < 20);
        for have in [empty, full, Have { pieces: Bitfield::new(7), ..some() }, some()] {
            assert_eq!(Have::parse(&have.encode()), Ok(have));
        }
    }

    #[test]
    fn a_record_that_is_cut_off_or_too_long_is_refused() {
        let bytes = some().encode();
        for len in 0..bytes.len() {
            assert_eq!(Have::parse(&bytes[..len]), Err(ResumeError::Have), "{len}");
        }
        assert_eq!(Have::parse(&[&bytes[..], b"x"].concat()), Err(ResumeError::Have));
        assert_eq!(Have::parse(&[&[3], &bytes[1..]].concat()), Err(ResumeError::Have));
    }

    #[test]
    fn what_no_torrent_has_is_refused() {
        let check = |bytes: &[u8]| assert_eq!(Have::parse(bytes), Err(ResumeError::Have), "{bytes:?}");
        check(b"\x01\xff\xff\xff\xff\x01\0\0\0\0\0\0\0\0");
        check(b"\x01\0\0\0\x08\x03\0\0\0\0\0\0\0\0");
        check(b"\x01\0\0\0\x07\x02\xff\0\0\0\0\0\0\0\0");
        check(b"\x01\0\0\0\x08\x01\xff\xff\xff\xff\0\0\0\0");
        check(b"\x01\0\0\0\x08\x01\0\0\0\0\xff\xff\xff\xff");
        let beyond = Have { unfinished: vec![(13, vec![0])], ..some() };
        check(&beyond.encode());
    }

    #[test]
    fn a_number_rounded_up_to_eight_is_fitted() {
        let mut pieces = Bitfield::new(16);
        pieces.set(12);
        let have = Have { pieces, unfinished: vec![(1, vec![0])], file_stats: vec![], kept_by: None };
        let fitted = have.clone().fit(13).unwrap();
        assert_eq!((fitted.pieces.len(), fitted.pieces.iter().collect::<Vec<_>>()), (13, vec![12]));
        assert_eq!(have.clone().fit(16), Some(have.clone()));
        for pieces in [8, 12, 17, 24] {
            assert_eq!(have.clone().fit(pieces), None, "{pieces}");
        }
        assert_eq!(Have { unfinished: vec![(14, vec![0])], ..have }.fit(13), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_read_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), version in 0..3_u8) {
            if version > 0 && !bytes.is_empty() {
                bytes[0] = version;
            }
            if let Ok(have) = Have::parse(&bytes) {
                prop_assert_eq!(Have::parse(&have.encode()), Ok(have));
            }
        }

        #[test]
        fn masks_name_their_blocks(mut blocks in proptest::collection::btree_set(0..32_767_u32, 0..40)) {
            let list: Vec<u32> = std::mem::take(&mut blocks).into_iter().collect();
            prop_assert_eq!(blocks_of(&mask_of(&list)), list);
        }
    }
}
