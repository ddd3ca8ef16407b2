//! A torrent that a hook gives to the session, as a bencoded dictionary that crosses as bytes. Keys that a reader does not know
//! are ignored, so the dictionary may grow.

use crate::bencode::{Dict, Value, bytes, decode, list};

/// A torrent to be added: all of its metainfo, or an info-hash whose metadata peers have.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct NewTorrent {
    /// The bytes of a .torrent file; empty for none.
    pub metainfo: Vec<u8>,
    /// The info-hash (BEP 3) where there is no metainfo.
    pub info_hash: Option<[u8; 20]>,
    /// The folder to write under; empty for the session's working directory.
    pub save_path: String,
    /// It is not started: nothing is downloaded until it is resumed.
    pub paused: bool,
    /// Tiers of trackers, besides those of the metainfo.
    pub trackers: Vec<Vec<String>>,
}

impl NewTorrent {
    /// From the bytes of a .torrent file.
    pub fn from_metainfo(metainfo: impl Into<Vec<u8>>, save_path: impl Into<String>) -> Self {
        Self { metainfo: metainfo.into(), save_path: save_path.into(), ..Self::default() }
    }

    /// From an info-hash alone; the metadata is then fetched from peers.
    pub fn from_info_hash(info_hash: [u8; 20], save_path: impl Into<String>) -> Self {
        Self { info_hash: Some(info_hash), save_path: save_path.into(), ..Self::default() }
    }

    /// As it crosses.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut dict = Dict::new();
        dict.bytes("metainfo", &self.metainfo).bytes("save_path", &self.save_path);
        if let Some(hash) = self.info_hash {
            dict.bytes("info_hash", hash);
        }
        if self.paused {
            dict.int("paused", 1);
        }
        if !self.trackers.is_empty() {
            let tier = |urls: &Vec<String>| list(urls.iter().map(bytes));
            dict.raw("trackers", list(self.trackers.iter().map(tier)));
        }
        dict.encode()
    }

    /// From what crossed; `None` if it is neither metainfo nor an info-hash.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let dict = decode(bytes).ok()?;
        let field = |key| dict.get(key).and_then(|value| value.as_bytes());
        let info_hash = field("info_hash").and_then(|hash| hash.try_into().ok());
        let metainfo = field("metainfo").unwrap_or_default().to_vec();
        let save_path = dict.get("save_path").and_then(|path| path.as_str()).unwrap_or_default().to_owned();
        let paused = dict.get("paused").and_then(Value::as_int).is_some_and(|paused| paused != 0);
        let tiers = dict.get("trackers").and_then(Value::as_list).unwrap_or_default().iter();
        let urls = |tier: &Value<'_>| {
            let urls = tier.as_list().unwrap_or_default().iter();
            urls.filter_map(|url| url.as_str().map(str::to_owned)).collect()
        };
        let trackers = tiers.map(urls).collect();
        (!metainfo.is_empty() || info_hash.is_some()).then_some(Self {
            metainfo,
            info_hash,
            save_path,
            paused,
            trackers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_arrives() {
        let check = |torrent: NewTorrent| assert_eq!(NewTorrent::from_bytes(&torrent.to_bytes()), Some(torrent));
        check(NewTorrent::from_metainfo(*b"d4:infode", "folder"));
        check(NewTorrent::from_info_hash([7; 20], ""));
        let trackers = vec![vec!["http://a/announce".to_owned()], vec!["udp://b:1".to_owned(), "udp://c:1".to_owned()]];
        check(NewTorrent { paused: true, trackers, ..NewTorrent::from_info_hash([7; 20], "") });
        assert_eq!(NewTorrent::from_bytes(b""), None);
        assert_eq!(NewTorrent::from_bytes(&NewTorrent::default().to_bytes()), None);
    }
}
