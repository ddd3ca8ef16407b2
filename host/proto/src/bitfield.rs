//! A set of pieces of fixed size, in the order of BEP 3's bitfield message (piece 0 is the highest bit of byte 0).
//!
//! It must never hold a bit beyond its length: every operation on whole words relies on the spare bits being zero.

use thiserror::Error;

/// A fixed number of bits, one for each piece. Reads out of range give `false`, writes out of range do nothing.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Bitfield {
    words: Box<[u64]>,
    len: u32,
    count: u32,
}

/// Why the payload of a bitfield message is not a bitfield for this many pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BitfieldError {
    /// Not exactly one bit for each piece, rounded up to bytes.
    #[error("bitfield of {got} bytes where {expected} are right")]
    Length {
        /// Bytes that came.
        got: usize,
        /// Bytes that this many pieces take.
        expected: usize,
    },
    /// A bit beyond the last piece is set.
    #[error("bitfield with a bit set beyond the last piece")]
    SpareBits,
}

impl Bitfield {
    /// `len` bits, none set.
    pub fn new(len: u32) -> Self {
        Self { words: vec![0; word_count(len)].into(), len, count: 0 }
    }

    /// `len` bits, all set.
    pub fn full(len: u32) -> Self {
        let mut all = Self { words: vec![u64::MAX; word_count(len)].into(), len, count: len };
        if let Some(last) = all.words.last_mut() {
            *last = last_word_mask(len);
        }
        all
    }

    /// Reads the payload of a bitfield message for a torrent of `len` pieces. The length must be exact and the spare bits zero (BEP 3).
    pub fn from_wire(bytes: &[u8], len: u32) -> Result<Self, BitfieldError> {
        let expected = byte_count(len);
        if bytes.len() != expected {
            return Err(BitfieldError::Length { got: bytes.len(), expected });
        }
        let words: Box<[u64]> = bytes.chunks(8).map(be_word).collect();
        if words.last().is_some_and(|last| last & !last_word_mask(len) != 0) {
            return Err(BitfieldError::SpareBits);
        }
        let count = words.iter().map(|word| word.count_ones()).sum();
        Ok(Self { words, len, count })
    }

    /// The payload of a bitfield message.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.truncate(byte_count(self.len));
        bytes
    }

    /// Number of bits, set or not.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether no bit is set.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether every bit is set (true where there are no bits).
    pub fn is_full(&self) -> bool {
        self.count == self.len
    }

    /// Number of bits that are set. Costs nothing: it is kept up to date.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether bit `index` is set.
    pub fn get(&self, index: u32) -> bool {
        self.words.get(word_of(index)).is_some_and(|word| word & mask_of(index) != 0)
    }

    /// Sets bit `index`; says whether that changed anything.
    pub fn set(&mut self, index: u32) -> bool {
        if index >= self.len {
            return false;
        }
        let Some(word) = self.words.get_mut(word_of(index)) else {
            return false;
        };
        let fresh = *word & mask_of(index) == 0;
        *word |= mask_of(index);
        self.count += u32::from(fresh);
        fresh
    }

    /// Clears bit `index`; says whether that changed anything.
    pub fn clear(&mut self, index: u32) -> bool {
        let Some(word) = self.words.get_mut(word_of(index)) else {
            return false;
        };
        let was_set = *word & mask_of(index) != 0;
        *word &= !mask_of(index);
        self.count -= u32::from(was_set);
        was_set
    }

    /// The bits that are set, ascending.
    pub fn iter(&self) -> Ones<'_> {
        Ones { words: &self.words, base: 0, current: 0 }
    }

    /// Whether this has a bit that `other` lacks: the question behind "interested".
    pub fn has_any_missing_in(&self, other: &Self) -> bool {
        let theirs = other.words.iter().copied().chain(std::iter::repeat(0));
        self.words.iter().zip(theirs).any(|(mine, theirs)| mine & !theirs != 0)
    }

    /// The bits as words, bit 0 being the highest bit of the first word; bits beyond the length are zero.
    pub fn words(&self) -> &[u64] {
        &self.words
    }
}

impl std::fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bitfield({} of {})", self.count, self.len)
    }
}

impl<'a> IntoIterator for &'a Bitfield {
    type Item = u32;
    type IntoIter = Ones<'a>;

    fn into_iter(self) -> Ones<'a> {
        self.iter()
    }
}

/// Iterator over the set bits of a [`Bitfield`].
#[derive(Clone, Debug)]
pub struct Ones<'a> {
    words: &'a [u64],
    /// Index of the bit after the current word; 0 before the first word is read.
    base: u32,
    current: u64,
}

impl Iterator for Ones<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        while self.current == 0 {
            let (first, rest) = self.words.split_first()?;
            self.current = *first;
            self.words = rest;
            self.base = self.base.saturating_add(64);
        }
        let offset = self.current.leading_zeros();
        self.current &= !mask_of(offset);
        Some((self.base - 64) + offset)
    }
}

/// Bytes that a bitfield message of `len` pieces carries.
pub fn byte_count(len: u32) -> usize {
    len.div_ceil(8) as usize
}

fn word_count(len: u32) -> usize {
    len.div_ceil(64) as usize
}

fn word_of(index: u32) -> usize {
    (index / 64) as usize
}

fn mask_of(index: u32) -> u64 {
    (1 << 63) >> (index % 64)
}

/// The bits of the last word that belong to pieces.
fn last_word_mask(len: u32) -> u64 {
    match len % 64 {
        0 => u64::MAX,
        used => !(u64::MAX >> used),
    }
}

/// Up to eight bytes as the upper end of a word.
fn be_word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    for (slot, byte) in word.iter_mut().zip(bytes) {
        *slot = *byte;
    }
    u64::from_be_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_bits_read_from_the_high_end() {
        let bits = Bitfield::from_wire(&[0x21, 0, 0, 0, 0x80], 37).unwrap();
        assert_eq!(bits.iter().collect::<Vec<_>>(), [2, 7, 32]);
        assert_eq!(bits.to_bytes(), [0x21, 0, 0, 0, 0x80]);
        let bits = Bitfield::from_wire(&[0x81, 0x06], 16).unwrap();
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 7, 13, 14]);
    }

    #[test]
    fn wrong_length_and_spare_bits_are_refused() {
        assert_eq!(Bitfield::from_wire(&[0; 3], 16), Err(BitfieldError::Length { got: 3, expected: 2 }));
        assert_eq!(Bitfield::from_wire(&[0; 1], 16), Err(BitfieldError::Length { got: 1, expected: 2 }));
        assert_eq!(Bitfield::from_wire(&[0xff, 0x01], 15), Err(BitfieldError::SpareBits));
        assert!(Bitfield::from_wire(&[0xff, 0xfe], 15).unwrap().is_full());
        assert_eq!(Bitfield::from_wire(&[], 0), Ok(Bitfield::new(0)));
    }

    #[test]
    fn counts_follow_every_change() {
        for len in [0, 1, 63, 64, 65, 128, 1000] {
            let mut bits = Bitfield::new(len);
            for index in 0..len {
                assert!(bits.set(index));
                assert!(!bits.set(index));
            }
            assert!(!bits.set(len));
            assert_eq!(bits, Bitfield::full(len));
            assert!(bits.is_full());
            assert_eq!(Bitfield::from_wire(&bits.to_bytes(), len).unwrap(), bits);
            assert_eq!(bits.iter().collect::<Vec<_>>(), (0..len).collect::<Vec<_>>());
            for index in 0..len {
                assert!(bits.clear(index));
                assert!(!bits.clear(index));
            }
            assert!(!bits.get(len) && !bits.clear(len));
            assert!(bits.is_empty());
        }
    }

    #[test]
    fn interest_is_a_bit_the_other_lacks() {
        let mut seed = Bitfield::full(100);
        let mut leech = Bitfield::full(100);
        assert!(!seed.has_any_missing_in(&leech));
        leech.clear(99);
        assert!(seed.has_any_missing_in(&leech));
        seed.clear(99);
        assert!(!seed.has_any_missing_in(&leech));
    }
}
