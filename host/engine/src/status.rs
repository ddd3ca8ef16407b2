//! What can be read about a session, its torrents and its peers: plain data, copied out.

use crate::error::ErrorInfo;
use crate::ids::{ConnId, TorrentId};
use reef_proto::hash::InfoHashes;
use reef_proto::peer_id::PeerId;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a torrent is in its life (manual: torrent_status::state_t). Paused, error and the like are flags beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TorrentState {
    /// Its files are being looked at or hashed.
    CheckingFiles = 1,
    /// It has no metadata yet.
    DownloadingMetadata = 2,
    /// It fetches pieces.
    Downloading = 3,
    /// It has every piece that is wanted, but not all.
    Finished = 4,
    /// It has every piece.
    Seeding = 5,
}

impl TorrentState {
    /// The state's stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CheckingFiles => "checking_files",
            Self::DownloadingMetadata => "downloading_metadata",
            Self::Downloading => "downloading",
            Self::Finished => "finished",
            Self::Seeding => "seeding",
        }
    }
}

/// Who named a peer: a set of sources (manual: peer_info::peer_source_flags).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PeerSource(pub u8);

impl PeerSource {
    /// A tracker.
    pub const TRACKER: Self = Self(0x1);
    /// The DHT.
    pub const DHT: Self = Self(0x2);
    /// Peer exchange.
    pub const PEX: Self = Self(0x4);
    /// Local service discovery.
    pub const LSD: Self = Self(0x8);
    /// Resume data, or the user.
    pub const RESUME_DATA: Self = Self(0x10);
    /// It connected to us.
    pub const INCOMING: Self = Self(0x20);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the sets share a source.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A torrent, as it is now.
#[derive(Clone, PartialEq, Debug)]
pub struct TorrentStatus {
    /// Its key.
    pub id: TorrentId,
    /// Its info-hashes.
    pub info_hashes: InfoHashes,
    /// Its name; for a magnet without one, its info-hash.
    pub name: String,
    /// Where it is in its life.
    pub state: TorrentState,
    /// It is paused.
    pub paused: bool,
    /// Why it stopped, if it did.
    pub error: Option<ErrorInfo>,
    /// Whether its metadata is known.
    pub has_metadata: bool,
    /// The folder its files lie in.
    pub save_path: PathBuf,
    /// Bytes of all files.
    pub total_size: u64,
    /// Bytes of the wanted pieces.
    pub wanted: u64,
    /// Verified bytes of the wanted pieces.
    pub wanted_done: u64,
    /// Verified bytes.
    pub total_done: u64,
    /// While checking: how many pieces were looked at.
    pub checked_pieces: u32,
    /// Pieces in all; 0 without metadata.
    pub num_pieces: u32,
    /// Verified pieces.
    pub have_pieces: u32,
    /// Payload bytes a second coming in.
    pub download_rate: u64,
    /// Payload bytes a second going out.
    pub upload_rate: u64,
    /// Payload bytes received, over all runs.
    pub downloaded: u64,
    /// Payload bytes sent, over all runs.
    pub uploaded: u64,
    /// Bytes of pieces that failed their hash check.
    pub failed_bytes: u64,
    /// Bytes received that were of no use.
    pub wasted_bytes: u64,
    /// Connected peers (handshake done).
    pub num_peers: u32,
    /// Connected peers that have everything.
    pub num_seeds: u32,
    /// Addresses known.
    pub known_peers: u32,
    /// Seconds active in all.
    pub active_secs: u64,
    /// Seconds it seeded in all.
    pub seeding_secs: u64,
    /// It has everything that is wanted, verified and in its files.
    pub complete: bool,
    /// What the last announces said, a row a tracker.
    pub trackers: Vec<TrackerStatus>,
}

/// One tracker of a torrent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrackerStatus {
    /// Its URL.
    pub url: String,
    /// Its tier; lower is tried first.
    pub tier: u32,
    /// What it last said of itself or why it failed; empty if neither.
    pub message: String,
    /// Failures since the last success.
    pub fails: u32,
    /// Whether it has answered since the torrent was added.
    pub verified: bool,
    /// Seeds it counted.
    pub seeds: Option<u32>,
    /// Downloaders it counted.
    pub leeches: Option<u32>,
}

/// A connected peer, as it is now.
#[derive(Clone, PartialEq, Debug)]
pub struct PeerStatus {
    /// The connection.
    pub conn: ConnId,
    /// Its address.
    pub address: SocketAddr,
    /// Where it says it listens, if it said so or we dialled it.
    pub listen_address: Option<SocketAddr>,
    /// Its id; zeros before the handshake.
    pub peer_id: PeerId,
    /// What program it says it is, cleaned for display.
    pub client: String,
    /// We dialled it.
    pub outgoing: bool,
    /// The handshake is done.
    pub handshaken: bool,
    /// It has every piece.
    pub seed: bool,
    /// It says it will not download.
    pub upload_only: bool,
    /// It is interested in us.
    pub remote_interested: bool,
    /// It chokes us.
    pub remote_choking: bool,
    /// We are interested in it.
    pub interesting: bool,
    /// We choke it.
    pub choked: bool,
    /// It keeps us waiting.
    pub snubbed: bool,
    /// Who named it.
    pub source: PeerSource,
    /// Pieces it has.
    pub have_pieces: u32,
    /// Payload bytes a second from it.
    pub download_rate: u64,
    /// Payload bytes a second to it.
    pub upload_rate: u64,
    /// Payload bytes from it.
    pub downloaded: u64,
    /// Payload bytes to it.
    pub uploaded: u64,
    /// Blocks asked of it and not yet here.
    pub outstanding: u32,
    /// Bytes queued to be sent to it.
    pub queued_bytes: u64,
}

/// A file of a torrent, as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileStatus {
    /// Its cleaned path below the save folder, with `/` between the parts.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Verified bytes.
    pub done: u64,
    /// 0 not wanted, 1 to 7 (manual: file priorities; 4 is the default).
    pub priority: u8,
}

/// The session as a whole.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SessionStatus {
    /// Where peers can reach it.
    pub listening: Vec<SocketAddr>,
    /// Payload bytes a second coming in.
    pub download_rate: u64,
    /// Payload bytes a second going out.
    pub upload_rate: u64,
    /// Connections, also half-open ones.
    pub num_connections: u32,
    /// Torrents.
    pub num_torrents: u32,
    /// Every counter and gauge by its name: the session's own ([`crate::counters`]), then those of plugins.
    pub stats: Vec<(Cow<'static, str>, i64)>,
}
