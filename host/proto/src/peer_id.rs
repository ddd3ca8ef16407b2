//! Peer ids (BEP 3, BEP 20): our own, made from random bytes that are handed in, and a readable name for other people's.
//!
//! A peer id is text from a stranger: nothing here shows a byte of it that is not printable ASCII.

use std::fmt;

mod clients;

/// The 20 bytes by which a peer names itself in handshakes and tracker announces.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub [u8; 20]);

impl PeerId {
    /// What our own ids begin with: client `RF`, version 0.1.0 (BEP 20, Azureus style).
    pub const PREFIX: [u8; 8] = *b"-RF0100-";

    /// An id of our own: [`Self::PREFIX`] and one URL-safe character for each of `random`.
    pub fn generate(random: [u8; 12]) -> Self {
        let mut id = [0; 20];
        let tail = random.iter().map(|byte| url_safe(*byte));
        for (slot, byte) in id.iter_mut().zip(Self::PREFIX.into_iter().chain(tail)) {
            *slot = byte;
        }
        Self(id)
    }

    /// A short, printable name of the client that made this id, with its version where the id tells it: `qBittorrent 4.6.0`. An id that follows no
    /// known convention gives its first eight bytes, escaped. It is a claim, not a fact.
    pub fn client_name(&self) -> String {
        clients::name_of(&self.0)
    }

    /// The bytes as they go on the wire.
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl From<[u8; 20]> for PeerId {
    fn from(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", self.0.escape_ascii())
    }
}

/// One of the 64 characters that need no escaping in a URL.
fn url_safe(byte: u8) -> u8 {
    match byte & 63 {
        n @ 0..=25 => b'A' + n,
        n @ 26..=51 => b'a' + (n - 26),
        n @ 52..=61 => b'0' + (n - 52),
        62 => b'-',
        _ => b'_',
    }
}
