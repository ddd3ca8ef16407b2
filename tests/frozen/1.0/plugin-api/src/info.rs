//! What a plugin can read of a torrent and of a peer. Both may get further fields: see `records`.

use crate::endpoint::{Endpoint, UNSPECIFIED};
use crate::records::{Record, plain};
use std::net::SocketAddr;

/// What a plugin can read of a torrent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TorrentInfo {
    /// BEP 27: peers come from its trackers alone. False as long as the metadata is not known.
    pub private: bool,
    /// The info dictionary is known; without it the sizes below are 0.
    pub has_metadata: bool,
    /// Pieces.
    pub num_pieces: u32,
    /// Bytes in a piece (the last may be shorter).
    pub piece_length: u32,
    /// Bytes of all files, pad files included.
    pub total_size: u64,
    /// Connections, those still in their handshake included.
    pub num_peers: u32,
    /// Settings of this torrent.
    pub flags: TorrentFlags,
    /// What it is doing.
    pub state: TorrentState,
    /// SHA-1 of the info dictionary, if the torrent has a v1 part.
    pub info_hash_v1: Option<[u8; 20]>,
    /// SHA-256 of the info dictionary, if the torrent has a v2 part.
    pub info_hash_v2: Option<[u8; 32]>,
}

/// Settings of a torrent, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TorrentFlags(pub u64);

impl TorrentFlags {
    /// Paused.
    pub const PAUSED: Self = Self(1 << 0);
    /// Started and stopped by the queue.
    pub const AUTO_MANAGED: Self = Self(1 << 1);
    /// Requests nothing.
    pub const UPLOAD_MODE: Self = Self(1 << 2);
    /// Assumed complete until a read says otherwise.
    pub const SEED_MODE: Self = Self(1 << 3);
    /// Downloads only what raises its upload.
    pub const SHARE_MODE: Self = Self(1 << 4);
    /// Pieces in order.
    pub const SEQUENTIAL: Self = Self(1 << 5);
    /// BEP 16.
    pub const SUPER_SEEDING: Self = Self(1 << 6);
    /// No peer exchange for this torrent.
    pub const DISABLE_PEX: Self = Self(1 << 7);
    /// No DHT for this torrent.
    pub const DISABLE_DHT: Self = Self(1 << 8);
    /// No local service discovery for this torrent.
    pub const DISABLE_LSD: Self = Self(1 << 9);
    /// Has every piece.
    pub const SEED: Self = Self(1 << 10);
    /// Stopped by an error.
    pub const ERROR: Self = Self(1 << 11);

    /// Every bit of `other` is set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for TorrentFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a torrent is doing, with libtorrent's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TorrentState(pub u32);

impl TorrentState {
    /// Files are being hashed.
    pub const CHECKING_FILES: Self = Self(1);
    /// Waiting for the info dictionary.
    pub const DOWNLOADING_METADATA: Self = Self(2);
    /// Downloading.
    pub const DOWNLOADING: Self = Self(3);
    /// Has everything that was selected.
    pub const FINISHED: Self = Self(4);
    /// Has everything.
    pub const SEEDING: Self = Self(5);
    /// Resume data is being compared with the files.
    pub const CHECKING_RESUME_DATA: Self = Self(7);
}

/// What a plugin can read of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// The connection's remote address.
    pub addr: SocketAddr,
    /// Where it accepts connections: what we connected to, or the address with the port that it told us.
    pub listen: Option<SocketAddr>,
    /// Its 20-byte peer id, if its handshake was received.
    pub peer_id: Option<[u8; 20]>,
    /// We connected to it.
    pub outgoing: bool,
    /// The connection is up: connected, and not closing.
    pub connected: bool,
    /// Both handshakes are done.
    pub handshaken: bool,
    /// The connection is encrypted.
    pub encrypted: bool,
    /// It runs over uTP.
    pub utp: bool,
    /// The peer has every piece.
    pub seed: bool,
    /// Said that it only uploads (BEP 21).
    pub upload_only: bool,
    /// Its handshake said it speaks the extension protocol (BEP 10).
    pub extended: bool,
    /// Its address or the connection is local (same network).
    pub local: bool,
    /// Where its address was learned, bits of [`source`](crate::source).
    pub source: u32,
    /// Bytes queued for it and not yet given to the socket.
    pub send_queue: u64,
}

impl PeerInfo {
    /// A peer at this address of which nothing else is known.
    pub fn new(addr: SocketAddr) -> Self {
        Self::from_raw(RawPeerInfo { endpoint: addr.into(), ..RawPeerInfo::ZERO })
    }
}

impl Default for PeerInfo {
    fn default() -> Self {
        Self::new(UNSPECIFIED)
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RawTorrentInfo {
    present: u32,
    num_pieces: u32,
    piece_length: u32,
    num_peers: u32,
    total_size: u64,
    flags: u64,
    state: u32,
    info_hash_v1: [u8; 20],
    info_hash_v2: [u8; 32],
}

pub(crate) const PRIVATE: u32 = 1;
pub(crate) const HAS_METADATA: u32 = 2;
pub(crate) const HAS_V1: u32 = 4;
pub(crate) const HAS_V2: u32 = 8;

fn bit(set: bool, bit: u32) -> u32 {
    if set { bit } else { 0 }
}

plain!(RawTorrentInfo {
    present,
    num_pieces,
    piece_length,
    num_peers,
    total_size,
    flags,
    state,
    info_hash_v1,
    info_hash_v2,
});
impl Record for TorrentInfo {
    type Raw = RawTorrentInfo;

    fn to_raw(&self) -> RawTorrentInfo {
        RawTorrentInfo {
            present: bit(self.private, PRIVATE)
                | bit(self.has_metadata, HAS_METADATA)
                | bit(self.info_hash_v1.is_some(), HAS_V1)
                | bit(self.info_hash_v2.is_some(), HAS_V2),
            num_pieces: self.num_pieces,
            piece_length: self.piece_length,
            num_peers: self.num_peers,
            total_size: self.total_size,
            flags: self.flags.0,
            state: self.state.0,
            info_hash_v1: self.info_hash_v1.unwrap_or_default(),
            info_hash_v2: self.info_hash_v2.unwrap_or_default(),
        }
    }

    fn from_raw(raw: RawTorrentInfo) -> Self {
        let has = |bit| raw.present & bit != 0;
        Self {
            private: has(PRIVATE),
            has_metadata: has(HAS_METADATA),
            num_pieces: raw.num_pieces,
            piece_length: raw.piece_length,
            total_size: raw.total_size,
            num_peers: raw.num_peers,
            flags: TorrentFlags(raw.flags),
            state: TorrentState(raw.state),
            info_hash_v1: has(HAS_V1).then_some(raw.info_hash_v1),
            info_hash_v2: has(HAS_V2).then_some(raw.info_hash_v2),
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RawPeerInfo {
    endpoint: Endpoint,
    listen: Endpoint,
    peer_id: [u8; 20],
    flags: u32,
    source: u32,
    reserved: u32,
    send_queue: u64,
}

pub(crate) const OUTGOING: u32 = 1;
pub(crate) const CONNECTED: u32 = 2;
pub(crate) const HANDSHAKEN: u32 = 4;
pub(crate) const ENCRYPTED: u32 = 8;
pub(crate) const UTP: u32 = 0x10;
pub(crate) const SEED: u32 = 0x20;
pub(crate) const UPLOAD_ONLY: u32 = 0x40;
pub(crate) const EXTENDED: u32 = 0x80;
pub(crate) const LOCAL: u32 = 0x100;
pub(crate) const HAS_PEER_ID: u32 = 0x200;

impl RawPeerInfo {
    const ZERO: Self = Self {
        endpoint: Endpoint::NONE,
        listen: Endpoint::NONE,
        peer_id: [0; 20],
        flags: 0,
        source: 0,
        reserved: 0,
        send_queue: 0,
    };
}

plain!(RawPeerInfo { endpoint, listen, peer_id, flags, source, reserved, send_queue });
impl Record for PeerInfo {
    type Raw = RawPeerInfo;

    fn to_raw(&self) -> RawPeerInfo {
        RawPeerInfo {
            endpoint: self.addr.into(),
            listen: self.listen.map_or(Endpoint::NONE, Endpoint::from),
            peer_id: self.peer_id.unwrap_or_default(),
            flags: bit(self.outgoing, OUTGOING)
                | bit(self.connected, CONNECTED)
                | bit(self.handshaken, HANDSHAKEN)
                | bit(self.encrypted, ENCRYPTED)
                | bit(self.utp, UTP)
                | bit(self.seed, SEED)
                | bit(self.upload_only, UPLOAD_ONLY)
                | bit(self.extended, EXTENDED)
                | bit(self.local, LOCAL)
                | bit(self.peer_id.is_some(), HAS_PEER_ID),
            source: self.source,
            reserved: 0,
            send_queue: self.send_queue,
        }
    }

    fn from_raw(raw: RawPeerInfo) -> Self {
        let has = |bit| raw.flags & bit != 0;
        Self {
            addr: raw.endpoint.addr_or_unspecified(),
            listen: raw.listen.addr(),
            peer_id: has(HAS_PEER_ID).then_some(raw.peer_id),
            outgoing: has(OUTGOING),
            connected: has(CONNECTED),
            handshaken: has(HANDSHAKEN),
            encrypted: has(ENCRYPTED),
            utp: has(UTP),
            seed: has(SEED),
            upload_only: has(UPLOAD_ONLY),
            extended: has(EXTENDED),
            local: has(LOCAL),
            source: raw.source,
            send_queue: raw.send_queue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_round_trip<T: Record + PartialEq + std::fmt::Debug>(value: &T) {
        assert_eq!(&T::from_raw(value.to_raw()), value);
    }

    #[test]
    fn what_is_set_arrives() {
        check_round_trip(&TorrentInfo::default());
        check_round_trip(&TorrentInfo {
            private: true,
            num_pieces: 3,
            piece_length: 1 << 20,
            total_size: 1 << 40,
            num_peers: 9,
            flags: TorrentFlags::PAUSED | TorrentFlags::DISABLE_PEX,
            state: TorrentState::SEEDING,
            info_hash_v2: Some([7; 32]),
            ..TorrentInfo::default()
        });
        let v6: SocketAddr = "[fe80::1%3]:80".parse().expect("an address");
        check_round_trip(&PeerInfo::default());
        check_round_trip(&PeerInfo {
            listen: Some("1.2.3.4:5".parse().expect("an address")),
            peer_id: Some([0; 20]),
            utp: true,
            local: true,
            source: crate::source::PEX,
            send_queue: 1 << 33,
            ..PeerInfo::new(v6)
        });
    }
}
