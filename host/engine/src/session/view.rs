//! What hooks see of the session.

use super::Session;
use crate::hooks::{PeerRef, Sender};
use crate::ids::{ConnId, TorrentId};
use crate::settings::Value;
use crate::status::{FileStatus, PeerStatus, SessionStatus, TorrentStatus};
use crate::time::Time;
use crate::torrent::Torrent;
use crate::torrent::sleep::Summary;
use crate::view::{Handshakes, PeerView, Source, TorrentView};
use bytes::Bytes;
use reef_proto::bitfield::Bitfield;
use reef_proto::layout::BLOCK_SIZE;

impl Session {
    fn judged(&self, id: TorrentId, piece: u32) -> Option<&crate::torrent::Judged> {
        self.torrents.get(&id)?.judged.as_ref().filter(|j| j.piece == piece)
    }

    fn peer_at(&self, at: PeerRef) -> Option<&crate::peer::Peer> {
        let peer = &**self.peers.get(&at.conn)?;
        (peer.torrent == Some(at.torrent)).then_some(peer)
    }
}

impl Source for Session {
    fn now(&self) -> Time {
        self.now
    }

    fn unix_time(&self) -> u64 {
        Self::unix_time(self)
    }

    fn random(&self) -> u64 {
        // SplitMix64: a hook only borrows the session, so its numbers come from a generator of their own.
        let state = self.plugin_random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.plugin_random.set(state);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn torrents(&self) -> Vec<TorrentId> {
        self.torrents.ids()
    }

    fn torrent(&self, id: TorrentId) -> Option<TorrentView> {
        self.torrents.get(&id).map(|t| torrent_view(t, self.settings.max_metadata_size as u64))
    }

    fn metadata(&self, id: TorrentId) -> Option<Bytes> {
        Some(self.torrents.get(&id)?.content.as_ref()?.meta.info_bytes.clone())
    }

    fn peers(&self, id: TorrentId) -> Vec<ConnId> {
        self.torrents.get(&id).map(|t| t.peers.iter().copied().collect()).unwrap_or_default()
    }

    fn peer(&self, at: PeerRef) -> Option<PeerView> {
        let p = self.peer_at(at)?;
        Some(PeerView {
            address: p.address,
            listen_port: p.listen_address().map(|a| a.port()),
            peer_id: p.remote.peer_id,
            outgoing: p.outgoing,
            handshaken: p.is_connected(),
            extended: p.remote.extended,
            seed: p.remote.pieces.is_all(),
            upload_only: p.remote.upload_only,
            encrypted: false,
            utp: false,
            holepunch: p.remote.names.contains_key("ut_holepunch"),
            source: p.source,
            queued_bytes: p.queued + p.out.len() as u64,
        })
    }

    fn supports(&self, at: PeerRef, name: &str) -> bool {
        self.peer_at(at).is_some_and(|p| p.remote.names.contains_key(name))
    }

    fn handshakes(&self, at: PeerRef) -> Option<Handshakes> {
        let peer = self.peer_at(at).filter(|p| p.is_connected())?;
        Some(Handshakes { reserved: peer.remote.reserved.0, extension: peer.remote.extension_handshake.clone() })
    }

    fn has_piece(&self, id: TorrentId, piece: u32) -> bool {
        self.torrents.get(&id).is_some_and(|t| match (&t.content, &t.asleep) {
            (Some(content), _) => content.picker.has(piece),
            (None, Some(summary)) => piece < summary.num_pieces,
            (None, None) => false,
        })
    }

    fn block_senders(&self, id: TorrentId, piece: u32) -> Vec<(u32, Sender)> {
        self.judged(id, piece).map(|j| j.senders.clone()).unwrap_or_default()
    }

    fn block(&self, id: TorrentId, piece: u32, block: u32) -> Option<Vec<Bytes>> {
        let judged = self.judged(id, piece)?;
        slice_of(&judged.data, block.checked_mul(BLOCK_SIZE)? as usize)
    }

    fn setting(&self, name: &str) -> Option<Value> {
        self.settings.get(name)
    }

    fn session_status(&self) -> SessionStatus {
        self.own_status()
    }

    fn torrent_status(&self, id: TorrentId) -> Option<TorrentStatus> {
        self.torrents.get(&id).map(|t| Self::torrent_status(self, t))
    }

    fn peer_statuses(&self, id: TorrentId) -> Option<Vec<PeerStatus>> {
        self.torrents.get(&id).map(|t| Self::peer_statuses(self, t))
    }

    fn file_statuses(&self, id: TorrentId) -> Option<Vec<FileStatus>> {
        self.torrents.get(&id).map(super::commands::file_statuses)
    }

    fn pieces(&self, id: TorrentId) -> Option<Bitfield> {
        let torrent = self.torrents.get(&id)?;
        match (&torrent.content, &torrent.asleep) {
            (Some(content), _) => Some(content.picker.have().clone()),
            (None, Some(summary)) => Some(Bitfield::full(summary.num_pieces)),
            (None, None) => None,
        }
    }
}

fn torrent_view(t: &Torrent, max_metadata_size: u64) -> TorrentView {
    let about = t.asleep.or_else(|| t.content.as_ref().map(|c| Summary::of(&c.meta, &c.layout)));
    TorrentView {
        info_hashes: t.hashes,
        private: t.is_private(),
        has_metadata: about.is_some(),
        state: t.state,
        paused: t.is_paused(),
        num_pieces: about.map_or(0, |a| a.num_pieces),
        piece_length: about.map_or(0, |a| a.piece_length),
        total_size: about.map_or(0, |a| a.total_size),
        num_peers: t.peers.len() as u32,
        max_metadata_size,
    }
}

/// At most a block from `offset` on, out of adjacent slices.
fn slice_of(data: &[Bytes], offset: usize) -> Option<Vec<Bytes>> {
    let mut out = Vec::new();
    let (mut skip, mut want) = (offset, BLOCK_SIZE as usize);
    for part in data {
        if skip >= part.len() {
            skip -= part.len();
            continue;
        }
        let n = want.min(part.len() - skip);
        out.push(part.slice(skip..skip + n));
        skip = 0;
        want -= n;
        if want == 0 {
            break;
        }
    }
    (!out.is_empty()).then_some(out)
}
