//! What the next commit will hold: the last word on each record, however often it changed meanwhile. Plain data.

use std::collections::BTreeMap;

use bytes::Bytes;
use reef_engine::{StoreOp, TorrentId};
use reef_proto::hash::InfoHashes;

/// Changes that are not committed.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) torrents: BTreeMap<TorrentId, Change>,
    /// Names and values; an empty value removes the name.
    pub(super) state: BTreeMap<String, Bytes>,
}

/// Changes to one torrent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// All that is stored of it goes, before anything else.
    pub(super) removed: bool,
    pub(super) hashes: Option<InfoHashes>,
    pub(super) metainfo: Option<Bytes>,
    pub(super) resume: Option<Bytes>,
    pub(super) have: Option<Bytes>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.torrents.is_empty() && self.state.is_empty()
    }

    pub(super) fn add(&mut self, op: StoreOp) {
        match op {
            StoreOp::PutTorrent { torrent, hashes, metainfo } => {
                let change = self.torrents.entry(torrent).or_default();
                change.hashes = Some(hashes);
                change.metainfo = metainfo.or_else(|| change.metainfo.take());
            }
            StoreOp::PutResume { torrent, resume } => self.torrents.entry(torrent).or_default().resume = Some(resume),
            StoreOp::PutHave { torrent, have } => self.torrents.entry(torrent).or_default().have = Some(have),
            StoreOp::Remove(torrent) => {
                self.torrents.insert(torrent, Change { removed: true, ..Change::default() });
            }
            StoreOp::PutState { key, value } => {
                self.state.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reef_proto::hash::Sha1Hash;

    const T: TorrentId = TorrentId(3);

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn the_last_word_counts() {
        let hashes = InfoHashes::from_v1(Sha1Hash::of(b"x"));
        let mut pending = Pending::default();
        pending.add(StoreOp::PutTorrent { torrent: T, hashes, metainfo: Some(bytes("meta")) });
        pending.add(StoreOp::PutTorrent { torrent: T, hashes, metainfo: None });
        pending.add(StoreOp::PutHave { torrent: T, have: bytes("old") });
        pending.add(StoreOp::PutHave { torrent: T, have: bytes("new") });
        assert_eq!(pending.torrents[&T].metainfo, Some(bytes("meta")));
        assert_eq!(pending.torrents[&T].have, Some(bytes("new")));
        pending.add(StoreOp::Remove(T));
        assert_eq!(pending.torrents[&T], Change { removed: true, ..Change::default() });
    }
}
