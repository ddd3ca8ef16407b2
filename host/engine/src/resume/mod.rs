//! Resume data: what is known of a torrent from an earlier run.
//!
//! Two records are kept apart because they change at different speeds: [`Resume`], small, and [`Have`], the pieces. Both
//! together are the manual's bencoded dictionary ([`export`], [`import`]), which other clients read and write too.
//!
//! Nothing here is trusted: records come from disk and may be another program's, damaged or hostile. A path that a record
//! names never leaves the save folder. Whether a piece is believed is not decided here, but by the files that are found.

mod fastresume;
mod fields;
mod have;

pub use fastresume::{Imported, export, import};
pub use have::Have;

use crate::add_torrent::StorageMode;
use crate::torrent::sleep::Summary;
use bytes::Bytes;
use reef_proto::bencode::{BencodeError, Dict, Item, Limits};
use std::net::SocketAddr;

/// What is known of a torrent besides its pieces. The names are those of the manual's dictionary; -1 means no limit.
#[derive(Clone, PartialEq, Debug)]
pub struct Resume {
    /// Its name, for a magnet whose metadata never came.
    pub name: String,
    /// The folder its files lie in.
    pub save_path: String,
    /// How room is reserved (`allocation`).
    pub allocation: StorageMode,
    /// It is paused.
    pub paused: bool,
    /// The session starts and stops it.
    pub auto_managed: bool,
    /// Pieces in order.
    pub sequential_download: bool,
    /// Its files are believed to be right until a hash says otherwise.
    pub seed_mode: bool,
    /// It makes no requests.
    pub upload_mode: bool,
    /// It downloads only what raises the share ratio.
    pub share_mode: bool,
    /// Initial seeding (BEP 16).
    pub super_seeding: bool,
    /// Payload bytes sent, over all runs.
    pub total_uploaded: u64,
    /// Payload bytes received, over all runs.
    pub total_downloaded: u64,
    /// Seconds it was not paused.
    pub active_time: u64,
    /// Seconds it had all that was wanted.
    pub finished_time: u64,
    /// Seconds it seeded.
    pub seeding_time: u64,
    /// When it was added, in seconds since 1970; 0 if not known.
    pub added_time: u64,
    /// When it was complete, in seconds since 1970; 0 if it was not.
    pub completed_time: u64,
    /// When a whole copy of it was last seen in the swarm, in seconds since 1970; 0 if never.
    pub last_seen_complete: u64,
    /// Seeds that the tracker counted, or that were met.
    pub num_seeds: Option<u32>,
    /// Downloaders that the tracker counted, or that were met.
    pub num_downloaders: Option<u32>,
    /// Bytes a second out at most.
    pub upload_rate_limit: i64,
    /// Bytes a second in at most.
    pub download_rate_limit: i64,
    /// Connections at most.
    pub max_connections: i32,
    /// Unchoked peers at most.
    pub max_uploads: i32,
    /// Priority a file, by index.
    pub file_priorities: Vec<u8>,
    /// Priority a piece, by index; empty where those of the files say it all.
    pub piece_priorities: Vec<u8>,
    /// Tracker tiers.
    pub trackers: Vec<Vec<String>>,
    /// URLs of web seeds (BEP 19).
    pub url_seeds: Vec<String>,
    /// URLs of BEP 17 seeds.
    pub http_seeds: Vec<String>,
    /// Files that were renamed: index and path below the save folder.
    pub renamed_files: Vec<(u32, String)>,
    /// Peers that were known.
    pub peers: Vec<SocketAddr>,
    /// Peers never to talk to.
    pub banned_peers: Vec<SocketAddr>,
    /// What to know of a complete torrent without its metadata. It is in the store's record alone, not in the manual's
    /// dictionary.
    pub summary: Option<Summary>,
}

/// Why bytes are not resume data.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// They are not bencoded, or larger than any resume data.
    #[error("the resume data is damaged: {0}")]
    Bencode(#[from] BencodeError),
    /// They are something else.
    #[error("this is not resume data (its `file-format` is not `{}`)", fastresume::FORMAT)]
    Format,
    /// Their version is unknown.
    #[error("resume data of version {0} is not known; versions 1 and 2 are")]
    Version(i64),
    /// They do not say which torrent they are of.
    #[error("the resume data names no torrent (it has no `info-hash`)")]
    NoInfoHash,
    /// The metadata they carry is that of another torrent.
    #[error("the resume data carries the metadata of another torrent")]
    WrongInfo,
    /// A record of pieces is cut off, too long or of another version.
    #[error("the record of pieces is damaged")]
    Have,
}

impl Default for Resume {
    fn default() -> Self {
        Self {
            name: String::new(),
            save_path: String::new(),
            allocation: StorageMode::default(),
            paused: false,
            auto_managed: false,
            sequential_download: false,
            seed_mode: false,
            upload_mode: false,
            share_mode: false,
            super_seeding: false,
            total_uploaded: 0,
            total_downloaded: 0,
            active_time: 0,
            finished_time: 0,
            seeding_time: 0,
            added_time: 0,
            completed_time: 0,
            last_seen_complete: 0,
            num_seeds: None,
            num_downloaders: None,
            upload_rate_limit: -1,
            download_rate_limit: -1,
            max_connections: -1,
            max_uploads: -1,
            file_priorities: Vec::new(),
            piece_priorities: Vec::new(),
            trackers: Vec::new(),
            url_seeds: Vec::new(),
            http_seeds: Vec::new(),
            renamed_files: Vec::new(),
            peers: Vec::new(),
            banned_peers: Vec::new(),
            summary: None,
        }
    }
}

impl Resume {
    /// What of it a torrent does not know by itself; `None` if that is nothing.
    pub(crate) fn rest(self) -> Option<Self> {
        let own = Self::default();
        let rest = Self {
            name: own.name,
            save_path: own.save_path,
            paused: own.paused,
            auto_managed: own.auto_managed,
            sequential_download: own.sequential_download,
            seed_mode: own.seed_mode,
            total_uploaded: own.total_uploaded,
            total_downloaded: own.total_downloaded,
            active_time: own.active_time,
            finished_time: own.finished_time,
            seeding_time: own.seeding_time,
            added_time: own.added_time,
            completed_time: own.completed_time,
            trackers: own.trackers,
            summary: own.summary,
            ..self
        };
        (rest != Self::default()).then_some(rest)
    }

    /// The record that the store keeps: the manual's dictionary without the pieces and without what is as by default.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut entries = fields::write_changed(self);
        if let Some(summary) = self.summary {
            entries.insert(SUMMARY.into(), write_summary(summary));
        }
        Item::Dict(entries).to_bytes().into()
    }

    /// Reads what [`Resume::encode`] wrote. What is missing, or is not of the right kind, is as by default.
    ///
    /// # Errors
    /// When the bytes are no bencoded dictionary.
    pub fn parse(bytes: &[u8]) -> Result<Self, ResumeError> {
        let dict = Dict::parse(bytes, &Limits::TORRENT)?;
        let summary = dict.get(SUMMARY).and_then(|summary| read_summary(&summary.as_dict()?));
        Ok(Self { summary, ..fields::read(&dict) })
    }
}

const SUMMARY: &str = "summary";

fn write_summary(summary: Summary) -> Item {
    Item::dict([
        ("total_size", Item::Int(i64::try_from(summary.total_size).unwrap_or(i64::MAX))),
        ("piece_length", summary.piece_length.into()),
        ("num_pieces", summary.num_pieces.into()),
        ("private", Item::Int(summary.private.into())),
    ])
}

fn read_summary(dict: &Dict<'_>) -> Option<Summary> {
    Some(Summary {
        total_size: u64::try_from(dict.int("total_size")?).ok()?,
        piece_length: u32::try_from(dict.int("piece_length")?).ok()?,
        num_pieces: u32::try_from(dict.int("num_pieces")?).ok()?,
        private: dict.int("private")? != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_survives_and_is_small() {
        assert_eq!(Resume::default().encode(), "de");
        assert_eq!(Resume::parse(b"de"), Ok(Resume::default()));
        let full = fields::tests::full();
        assert_eq!(Resume::parse(&full.encode()), Ok(full));
        let usual =
            Resume { save_path: "/srv/files".into(), total_uploaded: 1 << 40, paused: true, ..Resume::default() };
        assert!(usual.encode().len() < 100, "{:?}", usual.encode());
        assert_eq!(Resume::parse(&usual.encode()), Ok(usual));
        let summary = Summary { total_size: 1 << 40, piece_length: 1 << 20, num_pieces: 1 << 20, private: true };
        let complete = Resume { summary: Some(summary), ..Resume::default() };
        assert_eq!(Resume::parse(&complete.encode()), Ok(complete));
    }

    #[test]
    fn what_is_no_dictionary_is_refused() {
        for bytes in [&b""[..], b"le", b"i1e", b"d", b"de1:a", b"d1:ae"] {
            assert!(matches!(Resume::parse(bytes), Err(ResumeError::Bencode(_))), "{bytes:?}");
        }
    }
}
