//! What stays in memory of a torrent whose metadata and pieces were left to the store, and what waits for them to come
//! back.

use crate::command::Command;
use crate::control::Ticket;
use crate::ids::{ConnId, ReplyToken};
use reef_proto::handshake::Handshake;
use reef_proto::layout::Layout;
use reef_proto::message::BlockRequest;
use reef_proto::metainfo::Metainfo;

/// What is known of a complete torrent without its metadata. The store keeps it with the resume data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Bytes of all files, padding too.
    pub total_size: u64,
    /// Bytes of a piece.
    pub piece_length: u32,
    /// Pieces.
    pub num_pieces: u32,
    /// BEP 27: peers come from its trackers and its user alone.
    pub private: bool,
}

impl Summary {
    pub(crate) fn of(meta: &Metainfo, layout: &Layout) -> Self {
        Self {
            total_size: layout.total_size(),
            piece_length: layout.piece_length(),
            num_pieces: layout.num_pieces(),
            private: meta.info.private,
        }
    }
}

/// Who waits for a torrent's metadata to come back and its files to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Waking {
    /// Peers that connected, with what they said. They are listened to no further until then.
    pub(crate) peers: Vec<(ConnId, Handshake)>,
    /// Commands that cannot be answered without the metadata.
    pub(crate) commands: Vec<(Option<ReplyToken>, Command)>,
    /// What plugins want to read of its files.
    pub(crate) reads: Vec<(BlockRequest, Ticket)>,
}

impl Waking {
    /// Nobody waits: its files are just to be looked at.
    pub(crate) fn is_for_nobody(&self) -> bool {
        self.peers.is_empty() && self.commands.is_empty() && self.reads.is_empty()
    }
}
