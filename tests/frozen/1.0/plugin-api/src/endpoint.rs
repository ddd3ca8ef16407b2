//! The names of things on both sides: torrents, connections, requests, addresses, senders of blocks.

use crate::records::{Record, plain, sealed};
use abi_stable::StableAbi;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// A torrent of the session. Never reused within a session.
#[repr(transparent)]
#[derive(StableAbi, Copy, Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TorrentId(pub u64);

/// A connection to a peer. Never reused within a session; says nothing about the 20-byte peer id.
#[repr(transparent)]
#[derive(StableAbi, Copy, Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerKey(pub u64);

/// What a `request`, `piece`, `cancel` or `reject` message names (BEP 3, BEP 6).
#[repr(C)]
#[derive(StableAbi, Copy, Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerRequest {
    /// The piece's index.
    pub piece: u32,
    /// Where in the piece it begins, in bytes.
    pub start: u32,
    /// How many bytes.
    pub length: u32,
}

/// Who sent a block: outlives the connection.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sender {
    /// The connection's remote address.
    pub addr: SocketAddr,
    /// The peer id of its handshake, all zero if unknown.
    pub peer_id: [u8; 20],
}

impl From<SocketAddr> for Sender {
    fn from(addr: SocketAddr) -> Self {
        Self { addr, peer_id: [0; 20] }
    }
}

/// One block of a piece and who sent it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct BlockSender {
    /// The block's index in the piece (16 KiB blocks).
    pub block: u32,
    /// Who sent it.
    pub sender: Sender,
}

/// Where an address was learned: bits of `source` in `on_add_peer` and `add_peer`.
pub mod source {
    /// A tracker.
    pub const TRACKER: u32 = 0x1;
    /// The DHT.
    pub const DHT: u32 = 0x2;
    /// Peer exchange.
    pub const PEX: u32 = 0x4;
    /// Local service discovery.
    pub const LSD: u32 = 0x8;
    /// Resume data.
    pub const RESUME_DATA: u32 = 0x10;
    /// The peer connected to us.
    pub const INCOMING: u32 = 0x20;
}

/// What a peer exchange message says of an address (BEP 11, `added.f`).
pub mod pex_flags {
    /// Prefers encrypted connections.
    pub const ENCRYPTION: u8 = 0x1;
    /// A seed, or uploading only.
    pub const SEED: u8 = 0x2;
    /// Speaks uTP.
    pub const UTP: u8 = 0x4;
    /// Speaks `ut_holepunch`.
    pub const HOLEPUNCH: u8 = 0x8;
    /// Was reachable: the sender connected to it.
    pub const REACHABLE: u8 = 0x10;
}

/// Bits of `flags` in `on_add_peer`.
pub mod add_peer_flags {
    /// The address was not known before.
    pub const FIRST_TIME: u32 = 1;
    /// A filter kept it out of the peer list.
    pub const FILTERED: u32 = 2;
}

/// An address as it crosses. Zero in every field: no address.
#[repr(C)]
#[derive(StableAbi, Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Network order; an IPv4 address is in the first four bytes.
    ip: [u8; 16],
    /// IPv6 scope, else 0.
    scope: u32,
    port: u16,
    /// 4 or 6; 0 means none.
    family: u8,
    reserved: u8,
}

impl Endpoint {
    pub(crate) const NONE: Self = Self { ip: [0; 16], scope: 0, port: 0, family: 0, reserved: 0 };

    pub(crate) fn addr(self) -> Option<SocketAddr> {
        match self.family {
            4 => {
                let [a, b, c, d, ..] = self.ip;
                Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), self.port))
            }
            6 => Some(SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from(self.ip), self.port, 0, self.scope))),
            _ => None,
        }
    }

    /// For a place where an address always is: 0.0.0.0:0 for a family that this version does not know.
    pub(crate) fn addr_or_unspecified(self) -> SocketAddr {
        self.addr().unwrap_or(UNSPECIFIED)
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Self {
        let mut endpoint = Self { port: addr.port(), ..Self::NONE };
        match addr {
            SocketAddr::V4(v4) => {
                endpoint.family = 4;
                let (head, _) = endpoint.ip.split_at_mut(4);
                head.copy_from_slice(&v4.ip().octets());
            }
            SocketAddr::V6(v6) => {
                endpoint.family = 6;
                endpoint.ip = v6.ip().octets();
                endpoint.scope = v6.scope_id();
            }
        }
        endpoint
    }
}

pub(crate) const UNSPECIFIED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A [`BlockSender`] as it crosses, in a list of records.
#[repr(C)]
#[derive(Copy, Clone)]
pub(crate) struct RawBlockSender {
    block: u32,
    endpoint: Endpoint,
    peer_id: [u8; 20],
}

plain!(RawBlockSender { block, endpoint, peer_id });
impl Record for BlockSender {
    type Raw = RawBlockSender;
    fn to_raw(&self) -> RawBlockSender {
        RawBlockSender { block: self.block, endpoint: self.sender.addr.into(), peer_id: self.sender.peer_id }
    }
    fn from_raw(raw: RawBlockSender) -> Self {
        let sender = Sender { addr: raw.endpoint.addr_or_unspecified(), peer_id: raw.peer_id };
        Self { block: raw.block, sender }
    }
}

impl sealed::Plain for u64 {
    #[cfg(test)]
    fn fields() -> Vec<sealed::Field> {
        vec![sealed::Field { name: "key", ty: "u64", offset: 0, size: size_of::<Self>() }]
    }
}
impl Record for PeerKey {
    type Raw = u64;
    fn to_raw(&self) -> u64 {
        self.0
    }
    fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
}
