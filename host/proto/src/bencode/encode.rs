//! An owned bencoded value, for writing: keys come out sorted, whatever the order they went in.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Value;

/// A value to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An integer.
    Int(i64),
    /// A string of bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Self>),
    /// A dictionary; its keys are written in order.
    Dict(BTreeMap<Vec<u8>, Self>),
    /// Bytes that are one bencoded value already and are written as they stand (`info`).
    Raw(Bytes),
}

impl Item {
    /// A dictionary of these entries; of a key that stands twice the last counts.
    pub fn dict<K: Into<Vec<u8>>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Dict(entries.into_iter().map(|(key, item)| (key.into(), item)).collect())
    }

    /// A list of these items.
    pub fn list<T: Into<Self>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }

    /// The bencoded bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_to(&mut out);
        out
    }

    /// Appends the bencoded bytes to `out`.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(value) => {
                out.push(b'i');
                out.extend_from_slice(value.to_string().as_bytes());
                out.push(b'e');
            }
            Self::Bytes(bytes) => write_string(bytes, out),
            Self::List(items) => {
                out.push(b'l');
                items.iter().for_each(|item| item.write_to(out));
                out.push(b'e');
            }
            Self::Dict(entries) => {
                out.push(b'd');
                for (key, item) in entries {
                    write_string(key, out);
                    item.write_to(out);
                }
                out.push(b'e');
            }
            Self::Raw(bytes) => out.extend_from_slice(bytes),
        }
    }
}

impl From<Value<'_>> for Item {
    /// A copy that writes itself with sorted keys; an integer beyond 64 bits keeps its bytes.
    fn from(value: Value<'_>) -> Self {
        if let Some(int) = value.as_int() {
            return Self::Int(int);
        }
        if let Some(bytes) = value.as_bytes() {
            return Self::Bytes(bytes.to_vec());
        }
        if let Some(list) = value.as_list() {
            return Self::list(list);
        }
        match value.as_dict() {
            Some(dict) => Self::dict(dict.iter().map(|(key, value)| (key, value.into()))),
            None => Self::Raw(Bytes::copy_from_slice(value.raw())),
        }
    }
}

impl From<i64> for Item {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Item {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<&str> for Item {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }
}

impl From<&String> for Item {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&[u8]> for Item {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<Vec<u8>> for Item {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

fn write_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(bytes.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(bytes);
}
