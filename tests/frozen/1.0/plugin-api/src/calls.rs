//! What a host implements so that plugins can call it: ordinary Rust, turned into the table of functions by `table`.

use crate::alert::Alert;
use crate::buffer::Buffer;
use crate::endpoint::{BlockSender, PeerKey, Sender, TorrentId};
use crate::handle::Host;
use crate::info::{PeerInfo, TorrentInfo};
use crate::result::HostError;
use std::net::SocketAddr;

/// A line that a plugin logged.
#[derive(Copy, Clone, Debug)]
#[non_exhaustive]
pub struct LogLine<'a> {
    /// How important.
    pub level: log::Level,
    /// The module that logged it.
    pub target: &'a str,
    /// The text.
    pub message: &'a str,
    /// The source file, may be empty.
    pub file: &'a str,
    /// The line in it.
    pub line: u32,
}

pub(crate) fn level_from_number(level: u32) -> log::Level {
    match level {
        0 | 1 => log::Level::Error,
        2 => log::Level::Warn,
        3 => log::Level::Info,
        4 => log::Level::Debug,
        _ => log::Level::Trace,
    }
}

/// The host's side of every call that a plugin can make.
///
/// Implemented twice by a host: by what it lends to a hook call ([`Call`](crate::Call)), which can read; and by the object behind
/// [`Host`], which other threads use and which for most of it queues. Actions are carried out after the hook has returned: no
/// method may call a hook. Every method has a default that answers [`HostError::Unsupported`].
#[allow(unused_variables)]
pub trait HostCalls {
    /// The handle was taken back: every call then answers [`HostError::Gone`] without reaching any other method.
    fn is_gone(&self) -> bool {
        false
    }

    /// Microseconds since the session's start, virtual in a simulation.
    fn now(&self) -> u64;

    /// The next random number of the session's generator.
    fn random(&self) -> u64;

    /// A line of the plugin's log.
    fn log(&self, line: &LogLine<'_>);

    /// A thread of the plugin, or the `Drop` of one of its objects, panicked. The plugin is to be quarantined.
    fn report_panic(&self, text: &str);

    /// A handle that a plugin may keep and use from any thread.
    fn host(&self) -> Result<Host, HostError> {
        Err(HostError::Unsupported)
    }

    /// Posts an alert in the plugin's name.
    fn post_alert(&self, alert: &Alert<'_>) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// What is known of a torrent.
    fn torrent_info(&self, torrent: TorrentId) -> Result<TorrentInfo, HostError> {
        Err(HostError::Unsupported)
    }

    /// The info dictionary as it was received, [`HostError::NotFound`] while it is not known.
    fn metadata(&self, torrent: TorrentId) -> Result<Buffer, HostError> {
        Err(HostError::Unsupported)
    }

    /// The torrent's connections.
    fn peers(&self, torrent: TorrentId) -> Result<Vec<PeerKey>, HostError> {
        Err(HostError::Unsupported)
    }

    /// This piece is verified.
    fn has_piece(&self, torrent: TorrentId, piece: u32) -> Result<bool, HostError> {
        Err(HostError::Unsupported)
    }

    /// Who sent the blocks of a piece that is being downloaded or has just been verified.
    fn block_senders(&self, torrent: TorrentId, piece: u32) -> Result<Vec<BlockSender>, HostError> {
        Err(HostError::Unsupported)
    }

    /// A block of a piece: within `on_piece_failed`, and within `on_piece_pass` of a watched piece.
    fn read_block(&self, torrent: TorrentId, piece: u32, block: u32) -> Result<Buffer, HostError> {
        Err(HostError::Unsupported)
    }

    /// Keep this piece's blocks readable in its next `on_piece_pass`.
    fn watch_piece(&self, torrent: TorrentId, piece: u32) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Bytes that may be the torrent's info dictionary; the host checks them against the info-hashes. The plugin is told by
    /// `on_metadata` if they are, and by nothing if they are not; so check before.
    fn give_metadata(&self, torrent: TorrentId, info: &[u8]) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// An address to try, with bits of [`source`](crate::source) and of [`pex_flags`](crate::pex_flags).
    fn add_peer(&self, torrent: TorrentId, addr: SocketAddr, source: u32, pex_flags: u8) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Closes connections with this sender and refuses later ones.
    fn ban(&self, torrent: TorrentId, sender: &Sender, reason: &str) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// What is known of a peer.
    fn peer_info(&self, torrent: TorrentId, peer: PeerKey) -> Result<PeerInfo, HostError> {
        Err(HostError::Unsupported)
    }

    /// The peer's extension handshake named this message with an id other than 0.
    fn peer_supports(&self, torrent: TorrentId, peer: PeerKey, name: &str) -> Result<bool, HostError> {
        Err(HostError::Unsupported)
    }

    /// Sends an extension message under the id that the peer gave to `name`; [`HostError::NotFound`] if it gave none.
    fn send_extended(&self, torrent: TorrentId, peer: PeerKey, name: &str, payload: &[u8]) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Closes a connection.
    fn disconnect(&self, torrent: TorrentId, peer: PeerKey, reason: &str) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }
}
