//! A torrent that a hook gives to the session, as a bencoded dictionary that crosses as bytes. Keys that a reader does not know
//! are ignored, so the dictionary may grow.

use crate::bencode::{Dict, decode};

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
}

impl NewTorrent {
    /// From the bytes of a .torrent file.
    pub fn from_metainfo(metainfo: impl Into<Vec<u8>>, save_path: impl Into<String>) -> Self {
        Self { metainfo: metainfo.into(), info_hash: None, save_path: save_path.into() }
    }

    /// From an info-hash alone; the metadata is then fetched from peers.
    pub fn from_info_hash(info_hash: [u8; 20], save_path: impl Into<String>) -> Self {
        Self { metainfo: Vec::new(), info_hash: Some(info_hash), save_path: save_path.into() }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut dict = Dict::new();
        dict.bytes("metainfo", &self.metainfo).bytes("save_path", &self.save_path);
        if let Some(hash) = self.info_hash {
            dict.bytes("info_hash", hash);
        }
        dict.encode()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let dict = decode(bytes).ok()?;
        let field = |key| dict.get(key).and_then(|value| value.as_bytes());
        let info_hash = field("info_hash").and_then(|hash| hash.try_into().ok());
        let metainfo = field("metainfo").unwrap_or_default().to_vec();
        let save_path = dict.get("save_path").and_then(|path| path.as_str()).unwrap_or_default().to_owned();
        (!metainfo.is_empty() || info_hash.is_some()).then_some(Self { metainfo, info_hash, save_path })
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
        assert_eq!(NewTorrent::from_bytes(b""), None);
        assert_eq!(NewTorrent::from_bytes(&NewTorrent::default().to_bytes()), None);
    }
}
