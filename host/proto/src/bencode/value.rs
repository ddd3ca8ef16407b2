//! A borrowed view of bytes that the scanner passed: look-ups without copying, and the raw bytes of any part.

use std::fmt;

use super::scan::{number, scan};
use super::{BencodeError, Limits};

/// One bencoded value, as a view of its bytes. Costs nothing to copy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    // Exactly the bytes of one value that the scanner passed.
    span: &'a [u8],
}

impl<'a> Value<'a> {
    /// The one value that `bytes` are.
    ///
    /// # Errors
    /// When they are malformed, pass one of `limits`, or go on after the value.
    pub fn parse(bytes: &'a [u8], limits: &Limits) -> Result<Self, BencodeError> {
        match Self::parse_prefix(bytes, limits)? {
            (value, []) => Ok(value),
            (value, _) => Err(BencodeError::TrailingBytes { at: value.span.len() }),
        }
    }

    /// The value at the start of `bytes`, and what follows it (BEP 9 sends metadata after a dictionary).
    ///
    /// # Errors
    /// When the value is malformed or passes one of `limits`.
    pub fn parse_prefix(bytes: &'a [u8], limits: &Limits) -> Result<(Self, &'a [u8]), BencodeError> {
        let (span, rest) = bytes.split_at_checked(scan(bytes, limits)?.len).unwrap_or_default();
        Ok((Self { span }, rest))
    }

    /// The bytes of the value as they stand, for hashing or keeping.
    pub fn raw(&self) -> &'a [u8] {
        self.span
    }

    /// The integer, if this is one and it fits 64 bits with a sign.
    pub fn as_int(&self) -> Option<i64> {
        let text = self.span.strip_prefix(b"i")?.strip_suffix(b"e")?;
        std::str::from_utf8(text).ok()?.parse().ok()
    }

    /// The string's bytes, if this is a string.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        if !self.span.first()?.is_ascii_digit() {
            return None;
        }
        let colon = self.span.iter().position(|&byte| byte == b':')?;
        self.span.get(colon.checked_add(1)?..)
    }

    /// The string, if this is a string and UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The list's values in order, if this is a list.
    pub fn as_list(&self) -> Option<List<'a>> {
        Some(List { rest: self.span.strip_prefix(b"l")? })
    }

    /// The dictionary, if this is one.
    pub fn as_dict(&self) -> Option<Dict<'a>> {
        let mut rest = List { rest: self.span.strip_prefix(b"d")? };
        let mut entries = Vec::new();
        while let (Some(key), Some(value)) = (rest.next(), rest.next()) {
            entries.push((key.as_bytes()?, value));
        }
        Some(Dict { span: self.span, entries })
    }

    /// Whether some dictionary in here has one key twice, so that readers could differ about its meaning; that key.
    pub fn duplicate_key(&self) -> Option<&'a [u8]> {
        if let Some(mut list) = self.as_list() {
            return list.find_map(|value| value.duplicate_key());
        }
        let dict = self.as_dict()?;
        dict.duplicate_key().or_else(|| dict.iter().find_map(|(_, value)| value.duplicate_key()))
    }
}

impl fmt::Debug for Value<'_> {
    /// The bytes with everything but printable ASCII escaped, cut off after some.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.span.get(..80).unwrap_or(self.span);
        write!(f, "`{}`", shown.escape_ascii())
    }
}

/// The values of a list, in order.
#[derive(Clone, Debug)]
pub struct List<'a> {
    // What is left of the list, with its closing `e`.
    rest: &'a [u8],
}

impl<'a> Iterator for List<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let (span, rest) = self.rest.split_at_checked(value_len(self.rest)?)?;
        self.rest = rest;
        Some(Value { span })
    }
}

/// A dictionary's entries in the order of the bytes, with look-ups by key. Of a key that stands twice the first counts.
#[derive(Clone, Debug)]
pub struct Dict<'a> {
    span: &'a [u8],
    entries: Vec<(&'a [u8], Value<'a>)>,
}

impl<'a> Dict<'a> {
    /// The dictionary that `bytes` are.
    ///
    /// # Errors
    /// What [`Value::parse`] refuses, and [`BencodeError::WrongType`] if the value is no dictionary.
    pub fn parse(bytes: &'a [u8], limits: &Limits) -> Result<Self, BencodeError> {
        Value::parse(bytes, limits)?.as_dict().ok_or_else(no_dict)
    }

    /// The dictionary at the start of `bytes`, and what follows it.
    ///
    /// # Errors
    /// What [`Value::parse_prefix`] refuses, and [`BencodeError::WrongType`] if the value is no dictionary.
    pub fn parse_prefix(bytes: &'a [u8], limits: &Limits) -> Result<(Self, &'a [u8]), BencodeError> {
        let (value, rest) = Value::parse_prefix(bytes, limits)?;
        Ok((value.as_dict().ok_or_else(no_dict)?, rest))
    }

    /// The value of `key`.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Value<'a>> {
        let key = key.as_ref();
        self.entries.iter().find(|entry| entry.0 == key).map(|entry| entry.1)
    }

    /// The integer at `key`, if there is one.
    pub fn int(&self, key: impl AsRef<[u8]>) -> Option<i64> {
        self.get(key)?.as_int()
    }

    /// The string at `key`, if there is one.
    pub fn bytes(&self, key: impl AsRef<[u8]>) -> Option<&'a [u8]> {
        self.get(key)?.as_bytes()
    }

    /// The string at `key`, if there is one and it is UTF-8.
    pub fn str(&self, key: impl AsRef<[u8]>) -> Option<&'a str> {
        self.get(key)?.as_str()
    }

    /// The list at `key`, if there is one.
    pub fn list(&self, key: impl AsRef<[u8]>) -> Option<List<'a>> {
        self.get(key)?.as_list()
    }

    /// The dictionary at `key`, if there is one.
    pub fn dict(&self, key: impl AsRef<[u8]>) -> Option<Self> {
        self.get(key)?.as_dict()
    }

    /// The entries in the order of the bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> + '_ {
        self.entries.iter().copied()
    }

    /// The first key that stands twice in this dictionary, not in what it holds.
    pub fn duplicate_key(&self) -> Option<&'a [u8]> {
        let mut keys: Vec<_> = self.entries.iter().map(|entry| entry.0).collect();
        keys.sort_unstable();
        keys.windows(2).find_map(|pair| match pair {
            [a, b] if a == b => Some(*a),
            _ => None,
        })
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of the dictionary as they stand.
    pub fn raw(&self) -> &'a [u8] {
        self.span
    }
}

fn no_dict() -> BencodeError {
    BencodeError::WrongType("a dictionary is needed".to_owned())
}

/// The length of the value at the start of scanned bytes; none where there is only the end of a list or nothing.
fn value_len(bytes: &[u8]) -> Option<usize> {
    let mut depth: usize = 0;
    let mut at: usize = 0;
    loop {
        let rest = bytes.get(at..)?;
        let step = match rest.first()? {
            b'i' => rest.iter().position(|&byte| byte == b'e')?.checked_add(1)?,
            b'l' | b'd' => {
                depth = depth.checked_add(1)?;
                1
            }
            b'e' => {
                depth = depth.checked_sub(1)?;
                1
            }
            _ => {
                let colon = rest.iter().position(|&byte| byte == b':')?;
                colon.checked_add(1)?.checked_add(number(rest.get(..colon)?)?)?
            }
        };
        at = at.checked_add(step)?;
        if depth == 0 {
            return Some(at);
        }
    }
}
