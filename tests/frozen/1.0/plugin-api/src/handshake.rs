//! What a plugin adds to our extension handshake with a peer (BEP 10).

use abi_stable::{
    StableAbi,
    std_types::{RString, RVec},
};

/// The entries that plugins add to our extension handshake with one peer.
#[repr(C)]
#[derive(StableAbi, Debug, Default)]
pub struct HandshakeEntries {
    extensions: RVec<RString>,
    values: RVec<HandshakeValue>,
}

#[repr(C)]
#[derive(StableAbi, Debug)]
pub(crate) struct HandshakeValue {
    key: RString,
    bencoded: RVec<u8>,
}

impl HandshakeEntries {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Claims the extension message `name` for this plugin: the host chooses its id, puts it in the handshake's `m`, and calls
    /// `on_extended` of this object for messages with it.
    pub fn extension(&mut self, name: &str) {
        self.extensions.push(name.into());
    }

    /// Puts `key` in the handshake, its value bencoded (see [`bencode`](crate::bencode)). A later plugin's value wins.
    pub fn set(&mut self, key: &str, bencoded: impl Into<Vec<u8>>) {
        self.values.push(HandshakeValue { key: key.into(), bencoded: bencoded.into().into() });
    }

    /// The claimed names, in order.
    pub fn extensions(&self) -> impl Iterator<Item = &str> {
        self.extensions.iter().map(|name| name.as_str())
    }

    /// The keys and their bencoded values, in order.
    pub fn values(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.values.iter().map(|value| (value.key.as_str(), value.bencoded.as_slice()))
    }
}
