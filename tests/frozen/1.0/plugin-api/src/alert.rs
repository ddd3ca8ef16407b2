//! Something that happened, as plugins see it and as they post it.

use crate::endpoint::TorrentId;
use abi_stable::{
    StableAbi,
    std_types::{RSlice, RStr},
};

/// An alert. What may grow is in `data`, a bencoded dictionary.
#[repr(C)]
#[derive(StableAbi, Copy, Clone, Debug)]
pub struct Alert<'a> {
    kind: u32,
    category: u32,
    torrent: TorrentId,
    has_torrent: u32,
    reserved: u32,
    what: RStr<'a>,
    message: RStr<'a>,
    data: RSlice<'a, u8>,
}

impl<'a> Alert<'a> {
    /// The lowest number for alerts of plugins; those below belong to the host.
    pub const USER_KIND: u32 = 10_000;

    /// An alert of this number and these categories (bits), named `what`, with a text for a log.
    pub fn new(kind: u32, category: u32, what: &'a str, message: &'a str) -> Self {
        Self {
            kind,
            category,
            torrent: TorrentId(0),
            has_torrent: 0,
            reserved: 0,
            what: what.into(),
            message: message.into(),
            data: RSlice::EMPTY,
        }
    }

    /// The same about a torrent.
    #[must_use]
    pub fn with_torrent(mut self, torrent: TorrentId) -> Self {
        (self.torrent, self.has_torrent) = (torrent, 1);
        self
    }

    /// The same with its fields: a bencoded dictionary.
    #[must_use]
    pub fn with_data(mut self, bencoded: &'a [u8]) -> Self {
        self.data = bencoded.into();
        self
    }

    /// Which alert it is.
    pub fn kind(&self) -> u32 {
        self.kind
    }

    /// The categories it belongs to, as bits.
    pub fn category(&self) -> u32 {
        self.category
    }

    /// The torrent it is about.
    pub fn torrent(&self) -> Option<TorrentId> {
        (self.has_torrent != 0).then_some(self.torrent)
    }

    /// The name of its kind.
    pub fn what(&self) -> &'a str {
        self.what.as_str()
    }

    /// A text for a log.
    pub fn message(&self) -> &'a str {
        self.message.as_str()
    }

    /// Its fields as a bencoded dictionary; empty if it has none.
    pub fn data(&self) -> &'a [u8] {
        self.data.as_slice()
    }
}
