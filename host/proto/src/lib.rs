//! BitTorrent formats and messages: bytes to values and back, with no I/O.
//!
//! Everything here is a function of its arguments: no clock, no randomness of the system, no thread, no socket, no file.
//! What comes from outside is never trusted: every parser is bounded in depth, size and count, and none panics.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod hash;
pub mod layout;
pub mod metainfo;

pub use hash::{InfoHashes, Sha1Hash, Sha256Hash};
