//! What is given to add a torrent: the fields and flags of the manual's `add_torrent_params`.

use crate::resume::{Have, Resume};
use reef_proto::hash::InfoHashes;
use reef_proto::metainfo::Metainfo;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Flags of a torrent, with the values that the manual lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TorrentFlags(pub u32);

impl TorrentFlags {
    /// Believe that all files are there and right; hash a piece when it is first asked for.
    pub const SEED_MODE: Self = Self(1);
    /// These parameters win over the resume data's paused, auto_managed and save path.
    pub const OVERRIDE_RESUME_DATA: Self = Self(2);
    /// Make no requests.
    pub const UPLOAD_MODE: Self = Self(4);
    /// Download only what raises the share ratio.
    pub const SHARE_MODE: Self = Self(8);
    /// The address filter applies.
    pub const APPLY_IP_FILTER: Self = Self(16);
    /// Start paused.
    pub const PAUSED: Self = Self(32);
    /// Queued, started and stopped by the session.
    pub const AUTO_MANAGED: Self = Self(64);
    /// Adding it twice is an error.
    pub const DUPLICATE_IS_ERROR: Self = Self(128);
    /// Trackers from the resume data join those given.
    pub const MERGE_RESUME_TRACKERS: Self = Self(256);
    /// Part of state updates.
    pub const UPDATE_SUBSCRIBE: Self = Self(512);
    /// Initial (super) seeding, BEP 16.
    pub const SUPER_SEEDING: Self = Self(1024);
    /// Pieces in order.
    pub const SEQUENTIAL_DOWNLOAD: Self = Self(2048);
    /// The save path of the resume data wins.
    pub const USE_RESUME_SAVE_PATH: Self = Self(4096);
    /// Never unloaded from memory.
    pub const PINNED: Self = Self(8192);

    /// The manual's default set.
    pub const DEFAULT: Self =
        Self(Self::AUTO_MANAGED.0 | Self::PAUSED.0 | Self::APPLY_IP_FILTER.0 | Self::UPDATE_SUBSCRIBE.0);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without the flags of the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether every flag of the other is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Default for TorrentFlags {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How the storage reserves room (manual: storage_mode_t).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StorageMode {
    /// Files grow as pieces arrive.
    #[default]
    Sparse,
    /// The whole file is reserved first.
    Allocate,
}

/// A torrent to add. Limits of -1 mean none.
#[derive(Clone, Debug)]
pub struct AddTorrent {
    /// The metainfo, if known. Its info-hashes then win over `info_hashes`.
    pub metainfo: Option<Arc<Metainfo>>,
    /// The info-hashes of a magnet.
    pub info_hashes: InfoHashes,
    /// The key it had in the store, if it comes from there.
    pub stored_id: Option<crate::TorrentId>,
    /// A name to show until the metadata is known.
    pub name: String,
    /// Tracker tiers, besides those of the metainfo.
    pub trackers: Vec<Vec<String>>,
    /// URLs of web seeds (BEP 19), besides those of the metainfo.
    pub url_seeds: Vec<String>,
    /// URLs of BEP 17 seeds, besides those of the metainfo.
    pub http_seeds: Vec<String>,
    /// Hosts to bootstrap a DHT from.
    pub dht_nodes: Vec<(String, u16)>,
    /// The folder to write under.
    pub save_path: PathBuf,
    /// How room is reserved.
    pub storage_mode: StorageMode,
    /// Flags.
    pub flags: TorrentFlags,
    /// Priority a file, by index; missing ones are 4. 0 is not wanted.
    pub file_priorities: Vec<u8>,
    /// Priority a piece, by index, where the file priorities are not enough.
    pub piece_priorities: Vec<u8>,
    /// Files to select once the metadata is known (BEP 53), when `file_priorities` is empty: inclusive ranges.
    pub select_only: Vec<(u32, u32)>,
    /// New names of files: index and path below the save folder.
    pub renamed_files: Vec<(u32, String)>,
    /// Peers to try.
    pub peers: Vec<SocketAddr>,
    /// Peers never to talk to.
    pub banned_peers: Vec<SocketAddr>,
    /// Connections at most.
    pub max_connections: i32,
    /// Unchoked peers at most.
    pub max_uploads: i32,
    /// Bytes a second out at most.
    pub upload_limit: i64,
    /// Bytes a second in at most.
    pub download_limit: i64,
    /// The id given to the tracker that gave it.
    pub tracker_id: String,
    /// Where the .torrent came from.
    pub url: String,
    /// The feed item it came from.
    pub uuid: String,
    /// Opaque to the session; plugins see it.
    pub userdata: u64,
    /// What is known from an earlier run.
    pub resume: Option<Box<Resume>>,
    /// The pieces and blocks of an earlier run. They count as far as the files' sizes and times bear them out.
    pub resume_have: Option<Have>,
}

impl Default for AddTorrent {
    fn default() -> Self {
        Self {
            metainfo: None,
            info_hashes: InfoHashes::default(),
            stored_id: None,
            name: String::new(),
            trackers: Vec::new(),
            url_seeds: Vec::new(),
            http_seeds: Vec::new(),
            dht_nodes: Vec::new(),
            save_path: PathBuf::from("."),
            storage_mode: StorageMode::Sparse,
            flags: TorrentFlags::DEFAULT,
            file_priorities: Vec::new(),
            piece_priorities: Vec::new(),
            select_only: Vec::new(),
            renamed_files: Vec::new(),
            peers: Vec::new(),
            banned_peers: Vec::new(),
            max_connections: -1,
            max_uploads: -1,
            upload_limit: -1,
            download_limit: -1,
            tracker_id: String::new(),
            url: String::new(),
            uuid: String::new(),
            userdata: 0,
            resume: None,
            resume_have: None,
        }
    }
}
