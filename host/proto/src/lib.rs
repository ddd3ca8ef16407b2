//! BitTorrent formats and messages: bytes to values and back, with no I/O.
//!
//! Everything here is a function of its arguments: no clock, no randomness of the system, no thread, no socket, no file.
//! What comes from outside is never trusted: every parser is bounded in depth, size and count, and none panics.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod address;
pub mod bencode;
pub mod bitfield;
pub mod compact;
pub mod create;
pub mod decoder;
pub mod extended;
pub mod fast;
pub mod handshake;
pub mod hash;
pub mod layout;
pub mod magnet;
pub mod merkle;
pub mod message;
pub mod message_ids;
pub mod metainfo;
pub mod paths;
pub mod peer_id;
pub mod peer_priority;
pub mod text;
pub mod tracker;

pub use bitfield::Bitfield;
pub use hash::{InfoHashes, Sha1Hash, Sha256Hash};
pub use message::{BlockRequest, Message};
pub use peer_id::PeerId;
