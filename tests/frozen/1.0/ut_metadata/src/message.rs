//! The three messages of BEP 9: a bencoded dictionary, in `data` followed by the block's bytes.

use reef_plugin_api::bencode::{DecodeError, Dict, Value, decode_prefix};
use std::fmt;

/// Bytes of a block; the last of a dictionary may be shorter.
pub(crate) const BLOCK: u32 = 16 * 1024;
/// Bytes of a message at most: a block and its dictionary, with room for keys that nobody has thought of.
const MAX_MESSAGE: usize = 17 * 1024;

/// A message of a peer. Numbers are as sent, which may be nonsense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Message<'a> {
    /// It wants a block.
    Request {
        /// Which.
        piece: i64,
    },
    /// It sends a block.
    Data(Data<'a>),
    /// It will not send a block.
    Reject {
        /// Which.
        piece: i64,
    },
    /// Of a type that BEP 9 does not name, and says to ignore.
    Unknown,
}

/// A block as sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Data<'a> {
    /// Which block.
    pub(crate) piece: i64,
    /// Bytes of the whole info dictionary, if the peer says so.
    pub(crate) total_size: Option<i64>,
    /// The block.
    pub(crate) block: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a message.
    pub(crate) fn decode(payload: &'a [u8]) -> Result<Self, MessageError> {
        if payload.len() > MAX_MESSAGE {
            return Err(MessageError::TooLong(payload.len()));
        }
        let (dict, block) = decode_prefix(payload)?;
        let number = |key| dict.get(key).and_then(Value::as_int);
        let kind = number("msg_type").ok_or(MessageError::Missing("msg_type"))?;
        let piece = number("piece").ok_or(MessageError::Missing("piece"));
        Ok(match kind {
            REQUEST => Self::Request { piece: piece? },
            DATA => Self::Data(Data { piece: piece?, total_size: number("total_size"), block }),
            REJECT => Self::Reject { piece: piece? },
            _ => Self::Unknown,
        })
    }
}

/// A request for a block.
pub(crate) fn request(piece: u32) -> Vec<u8> {
    Dict::new().int("msg_type", REQUEST).int("piece", piece.into()).encode()
}

/// A refusal; it repeats the number that was asked for, whatever that was.
pub(crate) fn reject(piece: i64) -> Vec<u8> {
    Dict::new().int("msg_type", REJECT).int("piece", piece).encode()
}

/// A block of this dictionary, if there is such a block.
pub(crate) fn data(piece: i64, metadata: &[u8]) -> Option<Vec<u8>> {
    let total = i64::try_from(metadata.len()).ok()?;
    let start = usize::try_from(piece).ok()?.checked_mul(BLOCK as usize)?;
    let rest = metadata.get(start..).filter(|rest| !rest.is_empty())?;
    let block = rest.get(..BLOCK as usize).unwrap_or(rest);
    let mut message = Dict::new().int("msg_type", DATA).int("piece", piece).int("total_size", total).encode();
    message.extend_from_slice(block);
    Some(message)
}

/// Why bytes are no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub(crate) enum MessageError {
    /// More bytes than a block and its dictionary can have.
    TooLong(usize),
    /// It does not begin with a bencoded value.
    Bencode(DecodeError),
    /// A number without which it means nothing is not there.
    Missing(&'static str),
}

impl From<DecodeError> for MessageError {
    fn from(error: DecodeError) -> Self {
        Self::Bencode(error)
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(bytes) => write!(f, "ut_metadata message of {bytes} bytes"),
            Self::Bencode(error) => write!(f, "ut_metadata message: {error}"),
            Self::Missing(key) => write!(f, "ut_metadata message without {key}"),
        }
    }
}

impl std::error::Error for MessageError {}

const REQUEST: i64 = 0;
const DATA: i64 = 1;
const REJECT: i64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(payload: &[u8], expected: Result<Message<'_>, MessageError>) {
        assert_eq!(Message::decode(payload), expected, "{}", String::from_utf8_lossy(payload));
    }

    #[test]
    fn the_examples_of_bep_9_are_read() {
        check(b"d8:msg_typei0e5:piecei0ee", Ok(Message::Request { piece: 0 }));
        let data = Data { piece: 0, total_size: Some(34256), block: b"xyz" };
        check(b"d8:msg_typei1e5:piecei0e10:total_sizei34256eexyz", Ok(Message::Data(data)));
        check(b"d8:msg_typei2e5:piecei0ee", Ok(Message::Reject { piece: 0 }));
    }

    #[test]
    fn unknown_types_mean_nothing_and_nonsense_is_refused() {
        check(b"d8:msg_typei9e5:piecei0ee", Ok(Message::Unknown));
        check(b"d8:msg_typei-1ee", Ok(Message::Unknown));
        check(b"d8:msg_typei0e5:piecei-1ee", Ok(Message::Request { piece: -1 }));
        check(b"d8:msg_typei0ee", Err(MessageError::Missing("piece")));
        check(b"d5:piecei0ee", Err(MessageError::Missing("msg_type")));
        check(b"d8:msg_type1:05:piecei0ee", Err(MessageError::Missing("msg_type")));
        check(b"i1e", Err(MessageError::Missing("msg_type")));
        check(b"", Err(MessageError::Bencode(DecodeError::Malformed(0))));
        check(b"d8:msg_type", Err(MessageError::Bencode(DecodeError::Malformed(11))));
        check(&vec![b'd'; MAX_MESSAGE + 1], Err(MessageError::TooLong(MAX_MESSAGE + 1)));
    }

    #[test]
    fn what_is_written_is_read() {
        check(&request(7), Ok(Message::Request { piece: 7 }));
        check(&reject(-7), Ok(Message::Reject { piece: -7 }));
        let metadata = [vec![1; BLOCK as usize], vec![2; 5]].concat();
        let total_size = Some(i64::from(BLOCK) + 5);
        for (piece, block) in [(0, &[1; BLOCK as usize][..]), (1, &[2; 5])] {
            let message = data(piece, &metadata).expect("a block");
            check(&message, Ok(Message::Data(Data { piece, total_size, block })));
        }
    }

    #[test]
    fn there_is_no_block_outside_of_the_dictionary() {
        let whole = vec![0; 2 * BLOCK as usize];
        for piece in [-1, 2, 3, i64::from(u32::MAX), i64::MIN, i64::MAX] {
            assert_eq!(data(piece, &whole), None, "{piece}");
        }
        assert_eq!(data(0, b""), None);
    }
}
