//! Resume data: what is known of a torrent from an earlier run.
use crate::disk::FileStat;
use bytes::Bytes;
use reef_proto::bitfield::Bitfield;
use reef_proto::hash::InfoHashes;
use std::net::SocketAddr;

/// Resume data.
#[derive(Clone, PartialEq, Debug, Default)]
#[allow(missing_docs)]
pub struct Resume {
    pub name: String,
    pub save_path: String,
    pub paused: bool,
    pub auto_managed: bool,
    pub sequential_download: bool,
    pub total_uploaded: u64,
    pub total_downloaded: u64,
    pub active_time: u64,
    pub finished_time: u64,
    pub seeding_time: u64,
    pub added_time: u64,
    pub completed_time: u64,
    pub trackers: Vec<Vec<String>>,
    pub file_priorities: Vec<u8>,
    pub peers: Vec<SocketAddr>,
}
impl Resume {
    /// x
    pub fn encode(&self) -> Bytes {
        Bytes::new()
    }
}
/// Have.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub struct Have {
    pub pieces: Bitfield,
    pub unfinished: Vec<(u32, Vec<u32>)>,
    pub file_stats: Vec<FileStat>,
}
impl Have {
    /// x
    pub fn encode(&self) -> Bytes {
        Bytes::new()
    }
}
/// x
pub fn export(_: &Resume, _: Option<&Have>, _: InfoHashes) -> Bytes {
    Bytes::new()
}
