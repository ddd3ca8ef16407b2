//! Bencoded values for plugins: extension messages, entries of the extension handshake, saved state (BEP 3).
//!
//! Decoding is bounded in depth and count whatever the input, and borrows from it. Like the deployed clients it takes dictionaries
//! whose keys are not sorted; what it writes is always canonical.

use std::collections::BTreeMap;
use std::fmt;

/// A decoded value, with the bytes it was decoded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    raw: &'a [u8],
    kind: Kind<'a>,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// `i…e`
    Int(i64),
    /// `<length>:<bytes>`
    Bytes(&'a [u8]),
    /// `l…e`
    List(Vec<Value<'a>>),
    /// `d…e`, in the order of the input.
    Dict(Vec<(&'a [u8], Value<'a>)>),
}

/// Decodes a value that is the whole of `input`.
pub fn decode(input: &[u8]) -> Result<Value<'_>, DecodeError> {
    match decode_prefix(input)? {
        (value, []) => Ok(value),
        _ => Err(DecodeError::TrailingBytes),
    }
}

/// Decodes the value at the start of `input`, and returns what follows it: in a `ut_metadata` message, the block.
pub fn decode_prefix(input: &[u8]) -> Result<(Value<'_>, &[u8]), DecodeError> {
    let mut decoder = Decoder { input, at: 0, values: 0, most: MAX_VALUES };
    let value = decoder.value(0)?;
    Ok((value, decoder.rest()))
}

/// Decodes what the other side of this interface made, which may have as many values as it likes.
pub(crate) fn decode_own(input: &[u8]) -> Result<Value<'_>, DecodeError> {
    let mut decoder = Decoder { input, at: 0, values: 0, most: usize::MAX };
    let value = decoder.value(0)?;
    if decoder.rest().is_empty() { Ok(value) } else { Err(DecodeError::TrailingBytes) }
}

impl<'a> Value<'a> {
    /// The bytes it was decoded from.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// What it is.
    pub fn kind(&self) -> &Kind<'a> {
        &self.kind
    }

    /// The number, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        match self.kind {
            Kind::Int(number) => Some(number),
            _ => None,
        }
    }

    /// The string's bytes, if it is one.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match self.kind {
            Kind::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The string, if it is one and UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The items, if it is a list.
    pub fn as_list(&self) -> Option<&[Self]> {
        match &self.kind {
            Kind::List(items) => Some(items),
            _ => None,
        }
    }

    /// The entries in the order of the input, if it is a dictionary.
    pub fn as_dict(&self) -> Option<&[(&'a [u8], Self)]> {
        match &self.kind {
            Kind::Dict(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of a key, if it is a dictionary that has it; the first, if it has it twice.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_dict()?.iter().find(|(name, _)| *name == key.as_bytes()).map(|(_, value)| value)
    }
}

/// Why bytes are no bencoded value.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// Something else stands at this offset than a value can have there; also the end of the input.
    Malformed(usize),
    /// Lists and dictionaries lie more than [`MAX_DEPTH`] deep.
    TooDeep,
    /// More than [`MAX_VALUES`] values.
    TooMany,
    /// Something follows the value.
    TrailingBytes,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(at) => write!(f, "no bencoded value: malformed at byte {at}"),
            Self::TooDeep => write!(f, "bencoded value nested deeper than {MAX_DEPTH} levels"),
            Self::TooMany => write!(f, "bencoded value of more than {MAX_VALUES} values"),
            Self::TrailingBytes => f.write_str("bytes after the bencoded value"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// How deep lists and dictionaries may lie.
pub const MAX_DEPTH: usize = 32;
/// How many values there may be, those inside others included.
pub const MAX_VALUES: usize = 100_000;

struct Decoder<'a> {
    input: &'a [u8],
    at: usize,
    values: usize,
    most: usize,
}

impl<'a> Decoder<'a> {
    fn rest(&self) -> &'a [u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    fn malformed<T>(&self) -> Result<T, DecodeError> {
        Err(DecodeError::Malformed(self.at))
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, DecodeError> {
        self.values += 1;
        if self.values > self.most {
            return Err(DecodeError::TooMany);
        }
        if depth > MAX_DEPTH {
            return Err(DecodeError::TooDeep);
        }
        let start = self.at;
        let kind = match self.rest().first() {
            Some(b'i') => Kind::Int(self.int()?),
            Some(b'l') => Kind::List(self.list(depth)?),
            Some(b'd') => Kind::Dict(self.dict(depth)?),
            _ => Kind::Bytes(self.bytes()?),
        };
        let raw = self.input.get(start..self.at).unwrap_or_default();
        Ok(Value { raw, kind })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Value<'a>>, DecodeError> {
        self.at += 1;
        let mut items = Vec::new();
        while !self.end() {
            items.push(self.value(depth + 1)?);
        }
        Ok(items)
    }

    fn dict(&mut self, depth: usize) -> Result<Vec<(&'a [u8], Value<'a>)>, DecodeError> {
        self.at += 1;
        let mut entries = Vec::new();
        while !self.end() {
            entries.push((self.bytes()?, self.value(depth + 1)?));
        }
        Ok(entries)
    }

    /// Steps over the `e` of a list or dictionary, if it stands here.
    fn end(&mut self) -> bool {
        let end = self.rest().first() == Some(&b'e');
        self.at += usize::from(end);
        end
    }

    fn int(&mut self) -> Result<i64, DecodeError> {
        let Some((text, _)) = self.until(b'e', 1) else { return self.malformed() };
        // `parse` takes a plus sign, bencoding does not; leading zeros are seen in the wild.
        match std::str::from_utf8(text).ok().filter(|text| !text.starts_with('+')).map(str::parse) {
            Some(Ok(number)) => {
                self.at += text.len() + 2;
                Ok(number)
            }
            _ => self.malformed(),
        }
    }

    fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let Some((digits, rest)) = self.until(b':', 0) else { return self.malformed() };
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return self.malformed();
        }
        let len = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<usize>().ok());
        match len.and_then(|len| rest.get(..len)) {
            Some(bytes) => {
                self.at += digits.len() + 1 + bytes.len();
                Ok(bytes)
            }
            None => self.malformed(),
        }
    }

    /// The few bytes from `skip` on that stand before `mark`, and what stands after it.
    fn until(&self, mark: u8, skip: usize) -> Option<(&'a [u8], &'a [u8])> {
        let text = self.rest().get(skip..)?;
        let end = text.iter().take(MAX_NUMBER + 1).position(|byte| *byte == mark)?;
        Some((text.get(..end)?, text.get(end + 1..)?))
    }
}

/// The longest number is that of `i64::MIN`.
const MAX_NUMBER: usize = 20;

/// A number, bencoded.
pub fn int(number: i64) -> Vec<u8> {
    format!("i{number}e").into_bytes()
}

/// A string, bencoded.
pub fn bytes(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let mut encoded = format!("{}:", bytes.len()).into_bytes();
    encoded.extend_from_slice(bytes);
    encoded
}

/// A list of values that are bencoded already.
pub fn list(items: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut encoded = vec![b'l'];
    encoded.extend(items.into_iter().flatten());
    encoded.push(b'e');
    encoded
}

/// A dictionary to encode. Keys may come in any order.
///
/// ```
/// use reef_plugin_api::bencode::Dict;
/// assert_eq!(Dict::new().int("piece", 3).int("msg_type", 0).encode(), b"d8:msg_typei0e5:piecei3ee");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Dict {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Dict {
    /// Without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a number.
    pub fn int(&mut self, key: impl AsRef<[u8]>, number: i64) -> &mut Self {
        self.raw(key, int(number))
    }

    /// Adds a string.
    pub fn bytes(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Self {
        self.raw(key, bytes(value))
    }

    /// Adds a value that is bencoded already.
    pub fn raw(&mut self, key: impl AsRef<[u8]>, bencoded: Vec<u8>) -> &mut Self {
        self.entries.insert(key.as_ref().to_vec(), bencoded);
        self
    }

    /// The dictionary, bencoded.
    pub fn encode(&self) -> Vec<u8> {
        let mut encoded = vec![b'd'];
        for (key, value) in &self.entries {
            encoded.extend(bytes(key));
            encoded.extend_from_slice(value);
        }
        encoded.push(b'e');
        encoded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_refused(input: &[u8], error: DecodeError) {
        assert_eq!(decode(input), Err(error), "{}", String::from_utf8_lossy(input));
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let encoded = Dict::new()
            .raw("list", list([int(-7), bytes("x"), Dict::new().encode()]))
            .bytes("added", [0xff, 0])
            .int("max", i64::MAX)
            .int("min", i64::MIN)
            .encode();
        let value = decode(&encoded).expect("a value");
        assert_eq!(value.raw(), encoded);
        assert_eq!(value.get("added").and_then(Value::as_bytes), Some(&[0xff, 0][..]));
        assert_eq!(value.get("max").and_then(Value::as_int), Some(i64::MAX));
        assert_eq!(value.get("min").and_then(Value::as_int), Some(i64::MIN));
        let list = value.get("list").and_then(Value::as_list).expect("a list");
        assert_eq!(list.iter().map(Value::raw).collect::<Vec<_>>(), [&b"i-7e"[..], b"1:x", b"de"]);
        assert_eq!(list[1].as_str(), Some("x"));
        assert_eq!((value.as_int(), value.get("none"), list[0].get("x")), (None, None, None));
    }

    #[test]
    fn what_follows_is_returned() {
        let (value, rest) = decode_prefix(b"d1:ai1eeblock").expect("a value");
        assert_eq!((value.get("a").and_then(Value::as_int), rest), (Some(1), &b"block"[..]));
        check_refused(b"i1ei2e", DecodeError::TrailingBytes);
    }

    #[test]
    fn nonsense_is_refused() {
        let table: [(&[u8], usize); 16] = [
            (b"", 0),
            (b"e", 0),
            (b"ie", 0),
            (b"i-e", 0),
            (b"i+1e", 0),
            (b"i1", 0),
            (b"i99999999999999999999e", 0),
            (b"3:ab", 0),
            (b":", 0),
            (b"-1:a", 0),
            (b"99999999999999999999:a", 0),
            (b"000000000000000000000000001:a", 0),
            (b"l", 1),
            (b"di1ei1ee", 1),
            (b"d1:a", 4),
            (b"d1:ae", 4),
        ];
        for (input, at) in table {
            check_refused(input, DecodeError::Malformed(at));
        }
    }

    #[test]
    fn depth_and_count_are_bounded() {
        let nested = |depth: usize| [vec![b'l'; depth], vec![b'e'; depth]].concat();
        assert!(decode(&nested(MAX_DEPTH + 1)).is_ok());
        check_refused(&nested(MAX_DEPTH + 2), DecodeError::TooDeep);
        check_refused(&vec![b'l'; 1 << 20], DecodeError::TooDeep);
        check_refused(&b"d0:".repeat(1 << 20), DecodeError::TooDeep);
        let many = |count: usize| [b"l".to_vec(), b"0:".repeat(count), b"e".to_vec()].concat();
        assert!(decode(&many(MAX_VALUES - 1)).is_ok());
        check_refused(&many(MAX_VALUES), DecodeError::TooMany);
    }
}
