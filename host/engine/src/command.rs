//! What an embedding program can ask of a session. There is no other door.

use crate::add_torrent::AddTorrent;
use crate::error::ErrorInfo;
use crate::ids::TorrentId;
use crate::settings::Value;
use crate::status::{FileStatus, PeerStatus, SessionStatus, TorrentStatus};
use bytes::Bytes;
use std::net::SocketAddr;

/// One request, answered by one [`Reply`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Command {
    /// Add a torrent. Reply: `Added`.
    AddTorrent(Box<AddTorrent>),
    /// Remove a torrent, with its files if `delete_files`. Reply: `Done`, when its files are closed.
    RemoveTorrent {
        /// The torrent.
        torrent: TorrentId,
        /// Whether its files go too.
        delete_files: bool,
    },
    /// Stop a torrent's transfers. Reply: `Done`.
    Pause(TorrentId),
    /// Start a torrent's transfers, also after an error. Reply: `Done`.
    Resume(TorrentId),
    /// Read a torrent. Reply: `Torrent`.
    TorrentStatus(TorrentId),
    /// Read every torrent. Reply: `Torrents`.
    AllTorrents,
    /// Read a torrent's connected peers. Reply: `Peers`.
    Peers(TorrentId),
    /// Read a torrent's files. Reply: `Files`.
    Files(TorrentId),
    /// Read a torrent's metainfo as a .torrent file. Reply: `Bytes`.
    Metainfo(TorrentId),
    /// Read a torrent's resume data as the manual's bencoded dictionary. Reply: `Bytes`.
    ExportResume(TorrentId),
    /// Read the session. Reply: `Session`.
    SessionStatus,
    /// Set files' priorities, by index. Reply: `Done`.
    SetFilePriorities {
        /// The torrent.
        torrent: TorrentId,
        /// Index and priority, 0 to 7.
        priorities: Vec<(u32, u8)>,
    },
    /// Set pieces' priorities, by index, until its files' priorities are set. Reply: `Done`.
    SetPiecePriorities {
        /// The torrent.
        torrent: TorrentId,
        /// Index and priority, 0 to 7.
        priorities: Vec<(u32, u8)>,
    },
    /// Make a peer's address known. Reply: `Done`.
    AddPeer {
        /// The torrent.
        torrent: TorrentId,
        /// The address.
        address: SocketAddr,
    },
    /// Announce to the trackers now. Reply: `Done`.
    Announce(TorrentId),
    /// Hash a torrent's files again. Reply: `Done`, when it has begun.
    Recheck(TorrentId),
    /// Change settings by name; all or none. Reply: `Done`.
    SetSettings(Vec<(String, Value)>),
    /// Which alerts to make, as an OR of [`crate::alert::Category`] bits. Reply: `Done`.
    SetAlertMask(u32),
    /// Let the set of plugins change ([`crate::Hooks::change_plugins`]), then ask for masks and handshake entries again.
    /// Reply: `Done`.
    PluginsChanged,
    /// Stop in order: tell trackers, close peers, save state. Reply: `Done`, just before [`crate::Output::Stopped`].
    Stop,
}

impl Command {
    /// What it does, for people.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AddTorrent(_) => "add a torrent",
            Self::RemoveTorrent { .. } => "remove a torrent",
            Self::Pause(_) => "pause a torrent",
            Self::Resume(_) => "resume a torrent",
            Self::SetFilePriorities { .. } => "set file priorities",
            Self::SetPiecePriorities { .. } => "set piece priorities",
            Self::AddPeer { .. } => "add a peer",
            Self::Announce(_) => "announce to trackers",
            Self::Recheck(_) => "check a torrent again",
            Self::SetSettings(_) => "change settings",
            Self::SetAlertMask(_) => "choose alerts",
            Self::PluginsChanged => "change plugins",
            Self::Stop => "stop",
            Self::TorrentStatus(_)
            | Self::AllTorrents
            | Self::Peers(_)
            | Self::Files(_)
            | Self::Metainfo(_)
            | Self::ExportResume(_)
            | Self::SessionStatus => "read a status",
        }
    }
}

/// The answer to a command.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reply {
    /// It is done.
    Done,
    /// The torrent's key.
    Added(TorrentId),
    /// A torrent.
    Torrent(Box<TorrentStatus>),
    /// All torrents.
    Torrents(Vec<TorrentStatus>),
    /// A torrent's peers.
    Peers(Vec<PeerStatus>),
    /// A torrent's files.
    Files(Vec<FileStatus>),
    /// A file's bytes.
    Bytes(Bytes),
    /// The session.
    Session(Box<SessionStatus>),
    /// It could not be done.
    Failed(ErrorInfo),
}
