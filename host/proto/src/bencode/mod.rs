//! Bencoding (BEP 3): a bounded scanner, a borrowed view of what it passed, an owned value to write, and typed reading.
//!
//! Nothing from outside is read in any other way. [`scan()`] walks the bytes once, without recursion, and refuses what is
//! malformed, too deep, too large or has too many items; only then is there a [`Value`] to look at, and only then may
//! serde_bencode, which has no limits of its own, see the bytes ([`from_bytes`]). Keys out of order, keys that stand
//! twice and integers with leading zeros are let through, since such files and messages exist, but [`Scan::canonical`]
//! tells: where bytes are hashed and re-made (v2 `info`, DHT items) they must be refused.

mod encode;
mod scan;
mod value;

pub use encode::Item;
pub use scan::{Scan, scan};
pub use value::{Dict, List, Value};

/// What one value may cost at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many lists and dictionaries may be open at once.
    pub max_depth: usize,
    /// How many values and keys there may be in all.
    pub max_items: usize,
    /// How many bytes the value may have.
    pub max_size: usize,
}

impl Limits {
    /// For torrent files and resume data: 100 levels, three million items, 64 MiB.
    pub const TORRENT: Self = Self { max_depth: 100, max_items: 3_000_000, max_size: 64 << 20 };

    /// For what peers and trackers send: 32 levels, 100,000 items, 2 MiB.
    pub const MESSAGE: Self = Self { max_depth: 32, max_items: 100_000, max_size: 2 << 20 };
}

/// Why bytes are not one acceptable bencoded value. Positions are byte offsets from the start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BencodeError {
    /// The bytes end inside a value.
    #[error("the data ends too early, at byte {at}: it was cut off or is not bencoded")]
    UnexpectedEnd {
        /// Where more was needed.
        at: usize,
    },
    /// A byte that begins or continues nothing.
    #[error("byte {at} does not belong there: the data is damaged or not bencoded")]
    UnexpectedByte {
        /// Where it stands.
        at: usize,
    },
    /// A dictionary's key is not a string, or has no value.
    #[error("the dictionary entry at byte {at} is incomplete: it needs a string as its key, and a value")]
    BadEntry {
        /// Where the entry breaks.
        at: usize,
    },
    /// An integer or a string's length has more digits than any number that is in use.
    #[error("the number at byte {at} is too long")]
    NumberTooLong {
        /// Where it begins.
        at: usize,
    },
    /// [`Limits::max_depth`] was passed.
    #[error("lists and dictionaries are nested deeper than {limit} levels")]
    TooDeep {
        /// The limit that was in force.
        limit: usize,
    },
    /// [`Limits::max_items`] was passed.
    #[error("there are more than {limit} items")]
    TooManyItems {
        /// The limit that was in force.
        limit: usize,
    },
    /// [`Limits::max_size`] was passed.
    #[error("the data is larger than {limit} bytes")]
    TooLarge {
        /// The limit that was in force.
        limit: usize,
    },
    /// Something follows the value.
    #[error("there is something after the end of the data, from byte {at} on")]
    TrailingBytes {
        /// Where it begins.
        at: usize,
    },
    /// The value is well formed but not of the type that was asked for.
    #[error("the data has not the expected form: {0}")]
    WrongType(String),
}

/// Reads `bytes`, which must be one value within `limits` and nothing else, into a type.
///
/// # Errors
/// What [`Value::parse`] refuses, and [`BencodeError::WrongType`] when the value does not fit `T`.
pub fn from_bytes<'de, T: serde::Deserialize<'de>>(bytes: &'de [u8], limits: &Limits) -> Result<T, BencodeError> {
    Value::parse(bytes, limits)?;
    serde_bencode::from_bytes(bytes).map_err(|error| BencodeError::WrongType(error.to_string()))
}
