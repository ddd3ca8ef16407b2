//! Trackers: what is asked and answered, whatever carries it. [`http`] is BEP 3, 7, 23, 31 and 48, [`udp`] BEP 15 and 41.
//!
//! When to announce, to which tier, and how long to wait after a failure is the engine's policy. Nothing here believes a number that a tracker sends beyond its type.

mod address;
pub mod http;
pub mod udp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub use address::{Scheme, TrackerUrl, UrlError};

use crate::peer_id::PeerId;

/// What a tracker is told when it is asked for peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceRequest {
    /// The torrent: its v1 info-hash, or the first 20 bytes of its v2 info-hash.
    pub info_hash: [u8; 20],
    /// Our id.
    pub peer_id: PeerId,
    /// The port on which we listen.
    pub port: u16,
    /// Bytes sent since the started event.
    pub uploaded: u64,
    /// Bytes received since the started event.
    pub downloaded: u64,
    /// Bytes that are still to be fetched; where the size is unknown yet, anything but 0, which would mean a seed.
    pub left: u64,
    /// What happened, if anything.
    pub event: AnnounceEvent,
    /// A random number that is kept as long as the session, so that the tracker knows us after our address changed.
    pub key: u32,
    /// How many peers we would like; none leaves it to the tracker. A stopped event always asks for none.
    pub num_want: Option<u32>,
    /// The address that the tracker shall hand out instead of the one it sees.
    pub ip: Option<IpAddr>,
    /// Our IPv4 address, for a tracker that is reached over IPv6 (BEP 7).
    pub ipv4: Option<Ipv4Addr>,
    /// Our IPv6 address, for a tracker that is reached over IPv4 (BEP 7).
    pub ipv6: Option<Ipv6Addr>,
    /// What the tracker called itself in an earlier reply.
    pub tracker_id: Option<Vec<u8>>,
}

/// Why an announce is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnnounceEvent {
    /// The interval is over, or more peers are wanted.
    #[default]
    Interval,
    /// The last piece arrived; not sent by who began as a seed.
    Completed,
    /// The first announce of a session.
    Started,
    /// The last announce of a session.
    Stopped,
}

/// What a tracker answers to an announce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnounceReply {
    /// Seconds until the next announce is welcome, as the tracker says; [`DEFAULT_INTERVAL`] where it says nothing sensible.
    pub interval: u32,
    /// Seconds before which no announce is welcome.
    pub min_interval: Option<u32>,
    /// Number of seeds.
    pub complete: Option<u32>,
    /// Number of peers that are no seeds.
    pub incomplete: Option<u32>,
    /// How often the torrent was completed.
    pub downloaded: Option<u32>,
    /// Peers as the tracker names them, at most [`MAX_PEERS`]; see [`crate::address::can_be_dialed`].
    pub peers: Vec<SocketAddr>,
    /// Our address as the tracker sees it (BEP 24).
    pub external_ip: Option<IpAddr>,
    /// Something the user should read, fit to show.
    pub warning: Option<String>,
    /// To be sent with later announces.
    pub tracker_id: Option<Vec<u8>>,
}

/// A torrent's numbers in the answer to a scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrapeStats {
    /// Number of seeds.
    pub complete: u32,
    /// How often the torrent was completed.
    pub downloaded: u32,
    /// Number of peers that are no seeds.
    pub incomplete: u32,
}

/// Seconds between announces to a tracker that names no interval.
pub const DEFAULT_INTERVAL: u32 = 1800;

/// The most peers that are taken from one reply.
pub const MAX_PEERS: usize = 4096;

/// The longest text of a tracker that is shown, in characters.
const MAX_TEXT_CHARS: usize = 256;
