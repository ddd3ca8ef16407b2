//! What a host implements so that plugins can call it: ordinary Rust, turned into the table of functions by `table`.

use crate::alert::Alert;
use crate::buffer::Buffer;
use crate::control::{Choking, Files, StatisticKind};
use crate::endpoint::{BlockSender, PeerKey, PeerRequest, Sender, TorrentId};
use crate::handle::Host;
use crate::info::{PeerInfo, TorrentInfo};
use crate::new_torrent::NewTorrent;
use crate::query::{Answer, Query};
use crate::result::HostError;
use crate::setting::SettingValue;
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

/// A counter or gauge that a plugin registers.
#[derive(Copy, Clone, Debug)]
pub struct NewStatistic<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it only grows.
    pub kind: StatisticKind,
    /// What it counts.
    pub doc: &'a str,
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

    /// Sends a message by its standard number; see [`Peer::send_message`](crate::Peer::send_message).
    fn send_message(&self, torrent: TorrentId, peer: PeerKey, id: u8, payload: &[u8]) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Says whether choke rounds decide about a peer.
    fn set_choking(&self, torrent: TorrentId, peer: PeerKey, choking: Choking) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Connects to an address as soon as the limits allow.
    fn connect(&self, torrent: TorrentId, addr: SocketAddr) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Adds a torrent.
    fn add_torrent(&self, torrent: &NewTorrent) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Removes a torrent.
    fn remove_torrent(&self, torrent: TorrentId, files: Files) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Stops a torrent's transfers.
    fn pause_torrent(&self, torrent: TorrentId) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Starts a torrent's transfers.
    fn resume_torrent(&self, torrent: TorrentId) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Hashes a torrent's files again.
    fn recheck_torrent(&self, torrent: TorrentId) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Announces to a torrent's trackers.
    fn announce_torrent(&self, torrent: TorrentId) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Sets files' priorities, by index.
    fn set_file_priorities(&self, torrent: TorrentId, priorities: &[(u32, u8)]) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Sets pieces' priorities, by index.
    fn set_piece_priorities(&self, torrent: TorrentId, priorities: &[(u32, u8)]) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Reads bytes of a verified piece, answered by the hook `on_read_done`.
    fn read(&self, torrent: TorrentId, request: PeerRequest, token: u64) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Reads bytes of a verified piece and waits for them; [`HostError::InHook`] in a hook.
    fn read_and_wait(&self, torrent: TorrentId, request: PeerRequest) -> Result<Buffer, HostError> {
        Err(HostError::Unsupported)
    }

    /// Takes a block as if a peer had sent it, or this peer.
    fn give_block(
        &self,
        torrent: TorrentId,
        from: Option<PeerKey>,
        block: PeerRequest,
        data: &Buffer,
    ) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Everything that is known of something: the answer of the question's name.
    fn query(&self, query: Query) -> Result<Answer, HostError> {
        Err(HostError::Unsupported)
    }

    /// The value of a setting.
    fn setting(&self, name: &str) -> Result<SettingValue, HostError> {
        Err(HostError::Unsupported)
    }

    /// Changes settings, all or none.
    fn set_settings(&self, settings: &[(String, SettingValue)]) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Calls the hook `on_timer` after so many microseconds.
    fn set_timer(&self, token: u64, after: u64) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Forgets a timer.
    fn cancel_timer(&self, token: u64) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Registers a counter or gauge; the answer is its number in this instance.
    fn register_statistic(&self, statistic: &NewStatistic<'_>) -> Result<u32, HostError> {
        Err(HostError::Unsupported)
    }

    /// Adds to a registered counter or gauge. At once, and from any thread.
    fn add_to_statistic(&self, number: u32, difference: i64) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Sets a registered gauge. At once, and from any thread.
    fn set_statistic(&self, number: u32, value: i64) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// The plugin's own folder, which exists.
    fn data_dir(&self) -> Result<String, HostError> {
        Err(HostError::Unsupported)
    }
}
