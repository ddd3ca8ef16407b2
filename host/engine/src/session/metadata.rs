//! Metadata that arrives for a torrent added without it.

use super::Session;
use super::dialing::FOREIGN;
use crate::alert::Alert;
use crate::error::{ErrorCode, ErrorInfo};
use crate::hooks::{Hooks, TorrentEvent};
use crate::ids::{ConnId, TorrentId};
use bytes::Bytes;
use reef_proto::hash::{InfoHashes, Sha1Hash, Sha256Hash};
use reef_proto::metainfo::Metainfo;
use std::sync::Arc;

impl Session {
    /// Takes a raw `info` dictionary, if it is this torrent's.
    pub(super) fn set_metadata(&mut self, id: TorrentId, info: Bytes, hooks: &mut dyn Hooks) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        if torrent.has_metadata() || torrent.removing.is_some() {
            return;
        }
        match self.read_metadata(torrent.hashes, info, id) {
            Ok(meta) => self.metadata_received(id, Arc::new(meta), hooks),
            Err(error) => self.alert(Alert::MetadataFailed { torrent: id, error }, hooks),
        }
    }

    fn read_metadata(&self, hashes: InfoHashes, info: Bytes, id: TorrentId) -> Result<Metainfo, ErrorInfo> {
        let invalid = |text: String| ErrorInfo::new(ErrorCode::InvalidMetadata, text);
        if info.len() as i64 > self.settings.max_metadata_size {
            return Err(invalid(format!("metadata of {} bytes is larger than max_metadata_size", info.len())));
        }
        let v1 = hashes.v1.is_none_or(|h| h == Sha1Hash::of(&info));
        let v2 = hashes.v2.is_none_or(|h| h == Sha256Hash::of(&info));
        if !v1 || !v2 {
            return Err(invalid("metadata does not match the info-hash".to_owned()));
        }
        let trackers = self.torrents.get(&id).map(|t| t.params.trackers.clone()).unwrap_or_default();
        Metainfo::from_info(info, trackers).map_err(|e| invalid(e.to_string()))
    }

    fn metadata_received(&mut self, id: TorrentId, meta: Arc<Metainfo>, hooks: &mut dyn Hooks) {
        let name = meta.info.name.clone();
        if !meta.info.has_v1() {
            let text = format!("{name}: has only a v2 part (BEP 52), which cannot be downloaded yet");
            return self.fail_torrent(id, ErrorInfo::new(ErrorCode::V2Only, text), hooks);
        }
        self.set_content(id, meta);
        self.drop_foreign_peers(id, hooks);
        self.settle_peers(id, hooks);
        self.save_torrent(id);
        self.ask_torrent(id, &TorrentEvent::Metadata, hooks);
        self.alert(Alert::MetadataReceived { torrent: id, name }, hooks);
        self.open_storage(id, hooks);
    }

    /// BEP 27: a magnet link does not say that its torrent is private. Peers that came from elsewhere than its trackers and
    /// its user go when the metadata says so.
    fn drop_foreign_peers(&mut self, id: TorrentId, hooks: &mut dyn Hooks) {
        let Some(torrent) = self.torrents.get_mut(&id).filter(|t| t.is_private()) else { return };
        let foreign = torrent.peer_list.forget_named_by(FOREIGN);
        let conns = torrent.peers.iter().filter(|c| self.peers.get(c).is_some_and(|p| foreign.contains(&p.listed_as)));
        for conn in conns.copied().collect::<Vec<_>>() {
            self.close(conn, "the torrent is private, and its tracker did not name this peer", hooks);
        }
    }

    /// What peers said of their pieces before their number was known means something only now.
    fn settle_peers(&mut self, id: TorrentId, hooks: &mut dyn Hooks) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let Some(content) = &mut torrent.content else { return };
        let pieces = content.layout.num_pieces();
        let mut wrong: Vec<(ConnId, String)> = Vec::new();
        for conn in &torrent.peers {
            let Some(peer) = self.peers.get_mut(conn) else { continue };
            peer.decoder.set_limits(reef_proto::decoder::Limits { pieces: Some(pieces) });
            peer.remote.allowed_fast.retain(|&p| p < pieces);
            peer.remote.suggested.retain(|&p| p < pieces);
            match peer.remote.pieces.settle(pieces) {
                Ok(known) => {
                    known.enter(&mut content.picker);
                    peer.remote.pieces = known;
                }
                Err(why) => wrong.push((*conn, why)),
            }
        }
        for (conn, why) in wrong {
            self.close(conn, &why, hooks);
        }
    }
}
