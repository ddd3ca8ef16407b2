//! Digests and info-hashes: the names by which torrents, pieces and files are known.
//!
//! An info-hash is always taken over the raw bytes of `info`, never over a re-encoding of it (BEP 3, BEP 52); this
//! module hashes what it is given and must never know about bencoding.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use sha1::Digest as _;

/// A 20-byte SHA-1 digest: a v1 info-hash or the hash of a v1 piece (BEP 3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sha1Hash(pub [u8; 20]);

/// A 32-byte SHA-256 digest: a v2 info-hash or a node of a file's hash tree (BEP 52).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sha256Hash(pub [u8; 32]);

impl Sha1Hash {
    /// The SHA-1 digest of `data`.
    pub fn of(data: &[u8]) -> Self {
        Self(sha1::Sha1::digest(data).into())
    }

    /// The digest that `bytes` holds, if they are exactly 20.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The 20 bytes of the digest.
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl Sha256Hash {
    /// The SHA-256 digest of `data`.
    pub fn of(data: &[u8]) -> Self {
        Self(sha2::Sha256::digest(data).into())
    }

    /// The digest that `bytes` holds, if they are exactly 32.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The 32 bytes of the digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 20 bytes, which stand for the whole in handshakes, tracker requests and the DHT (BEP 52).
    pub fn truncated(&self) -> [u8; 20] {
        let mut short = [0; 20];
        for (to, from) in short.iter_mut().zip(self.0) {
            *to = from;
        }
        short
    }

    /// Whether every bit is zero; BEP 52 uses that digest for padding only, so no file has it as its root.
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 32]
    }
}

/// The one or two info-hashes of a torrent. A hybrid torrent has both; a magnet link may know only one of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct InfoHashes {
    /// SHA-1 of `info`, if the torrent has a v1 part.
    pub v1: Option<Sha1Hash>,
    /// SHA-256 of `info`, if the torrent has a v2 part.
    pub v2: Option<Sha256Hash>,
}

impl InfoHashes {
    /// Info-hashes of a torrent of which only the v1 hash is known.
    pub fn from_v1(hash: Sha1Hash) -> Self {
        Self { v1: Some(hash), v2: None }
    }

    /// Info-hashes of a torrent of which only the v2 hash is known.
    pub fn from_v2(hash: Sha256Hash) -> Self {
        Self { v1: None, v2: Some(hash) }
    }

    /// The 20 bytes that name the torrent on the wire: the v1 hash, or else the v2 hash cut to 20 bytes (BEP 52).
    /// All zero if no hash is known.
    pub fn wire(&self) -> [u8; 20] {
        match self.v1 {
            Some(v1) => v1.0,
            None => self.v2_truncated().unwrap_or_default(),
        }
    }

    /// The v2 hash cut to 20 bytes, as it stands in handshakes and announces (BEP 52).
    pub fn v2_truncated(&self) -> Option<[u8; 20]> {
        self.v2.map(|hash| hash.truncated())
    }

    /// Whether 20 bytes from the wire name this torrent, by either hash.
    pub fn matches_wire(&self, wire: [u8; 20]) -> bool {
        self.v1.is_some_and(|hash| hash.0 == wire) || self.v2_truncated() == Some(wire)
    }

    /// Whether both hashes are known.
    pub fn is_hybrid(&self) -> bool {
        self.v1.is_some() && self.v2.is_some()
    }

    /// Whether no hash is known.
    pub fn is_empty(&self) -> bool {
        self.v1.is_none() && self.v2.is_none()
    }

    /// Whether the two have a hash in common and none that contradicts the other: they may be the same torrent.
    pub fn is_same_torrent(&self, other: &Self) -> bool {
        fn clash<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
            matches!((a, b), (Some(a), Some(b)) if a != b)
        }
        fn shared<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
            matches!((a, b), (Some(a), Some(b)) if a == b)
        }
        !clash(self.v1, other.v1)
            && !clash(self.v2, other.v2)
            && (shared(self.v1, other.v1) || shared(self.v2, other.v2))
    }
}

impl fmt::Display for InfoHashes {
    /// The hash that stands for the torrent in a log line or a file name: v1 in hex, or else v2 in hex.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.v1, self.v2) {
            (Some(v1), _) => v1.fmt(f),
            (None, Some(v2)) => v2.fmt(f),
            (None, None) => f.write_str("unknown"),
        }
    }
}

/// A text that is not the hexadecimal form of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a hash: {expected} hexadecimal digits are needed")]
#[non_exhaustive]
pub struct ParseHashError {
    /// How many digits this kind of digest has.
    pub expected: usize,
}

macro_rules! hex_text {
    ($hash:ident, $len:literal) => {
        impl fmt::Display for $hash {
            /// Lower-case hexadecimal digits.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $hash {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($hash))
            }
        }

        impl FromStr for $hash {
            type Err = ParseHashError;

            /// Reads hexadecimal digits of either case, and nothing around them.
            fn from_str(text: &str) -> Result<Self, ParseHashError> {
                let error = ParseHashError { expected: $len * 2 };
                let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| error)?;
                Self::from_slice(&bytes).ok_or(error)
            }
        }

        impl AsRef<[u8]> for $hash {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl From<[u8; $len]> for $hash {
            fn from(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }
        }
    };
}

hex_text!(Sha1Hash, 20);
hex_text!(Sha256Hash, 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standards() {
        assert_eq!(Sha1Hash::of(b"abc").to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            Sha256Hash::of(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn hex_is_read_in_either_case_and_at_its_length_alone() {
        let hash = Sha1Hash::of(b"abc");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(hash.to_string().to_uppercase().parse(), Ok(hash));
        for bad in ["", "a9", "a9993e364706816aba3e25717850c26c9cd0d89dff", "g9993e364706816aba3e25717850c26c9cd0d89d"]
        {
            assert!(bad.parse::<Sha1Hash>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_hybrid_answers_to_both_wire_names() {
        let v2 = Sha256Hash::of(b"v2");
        let both = InfoHashes { v1: Some(Sha1Hash::of(b"v1")), v2: Some(v2) };
        assert!(both.matches_wire(both.wire()) && both.matches_wire(v2.truncated()));
        assert!(!both.matches_wire([0; 20]));
        assert_eq!(InfoHashes::from_v2(v2).wire(), v2.truncated());
        assert!(both.is_same_torrent(&InfoHashes::from_v2(v2)));
        assert!(!both.is_same_torrent(&InfoHashes::from_v1(Sha1Hash::of(b"other"))));
        assert!(!InfoHashes::default().is_same_torrent(&InfoHashes::default()));
    }
}
