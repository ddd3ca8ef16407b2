//! What a hook may see: plain data, copied out of the session while nothing of it changes.

use crate::hooks::{PeerRef, Sender};
use crate::ids::{ConnId, TorrentId};
use crate::settings::Value;
use crate::status::{FileStatus, PeerSource, PeerStatus, SessionStatus, TorrentState, TorrentStatus};
use crate::time::Time;
use bytes::Bytes;
use reef_proto::bitfield::Bitfield;
use reef_proto::hash::InfoHashes;
use reef_proto::peer_id::PeerId;
use std::net::SocketAddr;

/// The session, to read. Borrowed for one hook call.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(crate) source: &'a dyn Source,
}

/// What a [`View`] is answered with: by the session, or by a test of whoever implements [`crate::Hooks`].
pub trait Source {
    /// See [`View::now`].
    fn now(&self) -> Time;
    /// See [`View::unix_time`].
    fn unix_time(&self) -> u64;
    /// See [`View::random`].
    fn random(&self) -> u64;
    /// See [`View::torrents`].
    fn torrents(&self) -> Vec<TorrentId>;
    /// See [`View::torrent`].
    fn torrent(&self, torrent: TorrentId) -> Option<TorrentView>;
    /// See [`View::metadata`].
    fn metadata(&self, torrent: TorrentId) -> Option<Bytes>;
    /// See [`View::peers`].
    fn peers(&self, torrent: TorrentId) -> Vec<ConnId>;
    /// See [`View::peer`].
    fn peer(&self, at: PeerRef) -> Option<PeerView>;
    /// See [`View::supports`].
    fn supports(&self, at: PeerRef, name: &str) -> bool;
    /// See [`View::handshakes`].
    fn handshakes(&self, _at: PeerRef) -> Option<Handshakes> {
        None
    }
    /// See [`View::has_piece`].
    fn has_piece(&self, torrent: TorrentId, piece: u32) -> bool;
    /// See [`View::block_senders`].
    fn block_senders(&self, torrent: TorrentId, piece: u32) -> Vec<(u32, Sender)>;
    /// See [`View::block`].
    fn block(&self, torrent: TorrentId, piece: u32, block: u32) -> Option<Vec<Bytes>>;
    /// See [`View::setting`].
    fn setting(&self, _name: &str) -> Option<Value> {
        None
    }
    /// See [`View::session_status`].
    fn session_status(&self) -> SessionStatus {
        SessionStatus::default()
    }
    /// See [`View::torrent_status`].
    fn torrent_status(&self, _torrent: TorrentId) -> Option<TorrentStatus> {
        None
    }
    /// See [`View::peer_statuses`].
    fn peer_statuses(&self, _torrent: TorrentId) -> Option<Vec<PeerStatus>> {
        None
    }
    /// See [`View::file_statuses`].
    fn file_statuses(&self, _torrent: TorrentId) -> Option<Vec<FileStatus>> {
        None
    }
    /// See [`View::pieces`].
    fn pieces(&self, _torrent: TorrentId) -> Option<Bitfield> {
        None
    }
}

/// A torrent, for a hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TorrentView {
    /// Its info-hashes.
    pub info_hashes: InfoHashes,
    /// BEP 27: its peers come from its trackers alone. False while the metadata is unknown.
    pub private: bool,
    /// Whether its metadata is known.
    pub has_metadata: bool,
    /// Where it is in its life.
    pub state: TorrentState,
    /// It is paused.
    pub paused: bool,
    /// Pieces; 0 without metadata.
    pub num_pieces: u32,
    /// Bytes a piece (the last may be shorter).
    pub piece_length: u32,
    /// Bytes of all files.
    pub total_size: u64,
    /// Connected peers.
    pub num_peers: u32,
    /// Bytes of metadata at most that the session accepts.
    pub max_metadata_size: u64,
}

/// A peer, for a hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerView {
    /// Its address.
    pub address: SocketAddr,
    /// The port it listens on: the one we dialled, or the one it told us.
    pub listen_port: Option<u16>,
    /// Its id; zeros before the handshake.
    pub peer_id: PeerId,
    /// We dialled it.
    pub outgoing: bool,
    /// The handshake is done.
    pub handshaken: bool,
    /// Its handshake said that it speaks the extension protocol (BEP 10).
    pub extended: bool,
    /// It has every piece.
    pub seed: bool,
    /// It says that it will not download (BEP 21).
    pub upload_only: bool,
    /// The connection is encrypted.
    pub encrypted: bool,
    /// The connection is uTP.
    pub utp: bool,
    /// It relays and answers holepunch messages (BEP 55).
    pub holepunch: bool,
    /// Who named it.
    pub source: PeerSource,
    /// Bytes queued to be sent to it.
    pub queued_bytes: u64,
}

/// What a peer said of itself when it connected: kept for plugins that come later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handshakes {
    /// The eight reserved bytes of its handshake.
    pub reserved: [u8; 8],
    /// Its last extension handshake: a bencoded dictionary.
    pub extension: Option<Bytes>,
}

impl<'a> View<'a> {
    /// What this source answers.
    #[must_use]
    pub fn new(source: &'a dyn Source) -> Self {
        Self { source }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Time {
        self.source.now()
    }
    /// Seconds since 1970.
    #[must_use]
    pub fn unix_time(&self) -> u64 {
        self.source.unix_time()
    }
    /// A random number, from the session's own seed.
    #[must_use]
    pub fn random(&self) -> u64 {
        self.source.random()
    }
    /// Every torrent.
    #[must_use]
    pub fn torrents(&self) -> Vec<TorrentId> {
        self.source.torrents()
    }
    /// A torrent.
    #[must_use]
    pub fn torrent(&self, torrent: TorrentId) -> Option<TorrentView> {
        self.source.torrent(torrent)
    }
    /// A torrent's raw `info` dictionary, once known.
    #[must_use]
    pub fn metadata(&self, torrent: TorrentId) -> Option<Bytes> {
        self.source.metadata(torrent)
    }
    /// The peers attached to a torrent.
    #[must_use]
    pub fn peers(&self, torrent: TorrentId) -> Vec<ConnId> {
        self.source.peers(torrent)
    }
    /// A peer.
    #[must_use]
    pub fn peer(&self, at: PeerRef) -> Option<PeerView> {
        self.source.peer(at)
    }
    /// Whether a peer's extension handshake offered a message name.
    #[must_use]
    pub fn supports(&self, at: PeerRef, name: &str) -> bool {
        self.source.supports(at, name)
    }
    /// What a peer said in its handshakes; `None` before the first.
    #[must_use]
    pub fn handshakes(&self, at: PeerRef) -> Option<Handshakes> {
        self.source.handshakes(at)
    }
    /// Whether a piece is verified and written.
    #[must_use]
    pub fn has_piece(&self, torrent: TorrentId, piece: u32) -> bool {
        self.source.has_piece(torrent, piece)
    }
    /// Who sent the blocks of a piece that is being judged: during `PieceFailed` and `PiecePassed`.
    #[must_use]
    pub fn block_senders(&self, torrent: TorrentId, piece: u32) -> Vec<(u32, Sender)> {
        self.source.block_senders(torrent, piece)
    }
    /// The bytes of a block of a piece that is being judged, in one or more slices: during `PieceFailed`, and during
    /// `PiecePassed` of a watched piece.
    #[must_use]
    pub fn block(&self, torrent: TorrentId, piece: u32, block: u32) -> Option<Vec<Bytes>> {
        self.source.block(torrent, piece, block)
    }
    /// The value of a setting.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<Value> {
        self.source.setting(name)
    }
    /// Everything that is known of the session, without the statistics of plugins.
    #[must_use]
    pub fn session_status(&self) -> SessionStatus {
        self.source.session_status()
    }
    /// Everything that is known of a torrent.
    #[must_use]
    pub fn torrent_status(&self, torrent: TorrentId) -> Option<TorrentStatus> {
        self.source.torrent_status(torrent)
    }
    /// Everything that is known of a torrent's connections.
    #[must_use]
    pub fn peer_statuses(&self, torrent: TorrentId) -> Option<Vec<PeerStatus>> {
        self.source.peer_statuses(torrent)
    }
    /// A torrent's files; none while the metadata is unknown.
    #[must_use]
    pub fn file_statuses(&self, torrent: TorrentId) -> Option<Vec<FileStatus>> {
        self.source.file_statuses(torrent)
    }
    /// A torrent's verified pieces; `None` while the metadata is unknown.
    #[must_use]
    pub fn pieces(&self, torrent: TorrentId) -> Option<Bitfield> {
        self.source.pieces(torrent)
    }
}
