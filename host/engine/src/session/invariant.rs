//! What always holds between the parts of a session. Tests look at it now and then; a session never does.

use super::Session;
use crate::peer::pieces::Pieces;
use crate::peer::{Peer, Phase};
use crate::torrent::{Content, Torrent};

impl Session {
    /// Panics if the session contradicts itself. For tests; looks at everything.
    #[doc(hidden)]
    pub fn check_invariant(&self) {
        let contents = || self.torrents.values().filter_map(|t| t.content.as_ref());
        let held: u64 = contents().map(|c| c.assembly.held()).sum();
        assert_eq!(self.held_bytes, held, "bytes held of unfinished pieces");
        let writing: u64 = contents().map(|c| c.writing).sum();
        assert_eq!(self.counters.queued_write_bytes as u64, writing, "bytes that wait for the disk");
        assert_eq!(self.counters.num_torrents as usize, self.torrents.len());
        assert!(self.by_hash.values().all(|id| self.torrents.contains_key(id)), "a hash leads nowhere");
        let half_open = self.peers.values().filter(|p| p.phase == Phase::Connecting).count() as i64;
        assert_eq!(self.dialing.half_open, half_open, "connections that are being dialled");
        for torrent in self.torrents.values() {
            self.check_torrent(torrent);
        }
        for peer in self.peers.values() {
            let listed = peer.torrent.is_none_or(|id| self.torrents[&id].peers.contains(&peer.conn));
            assert!(listed, "connection {} is not in its torrent", peer.conn);
            assert!(peer.local.choking || peer.uploads.len() <= self.settings.max_allowed_in_request_queue as usize);
        }
        assert!(self.unflushed.is_empty(), "messages are left at the end of a turn");
    }

    fn check_torrent(&self, torrent: &Torrent) {
        torrent.peer_list.check_invariant();
        let peers: Vec<&Peer> = torrent.peers.iter().map(|conn| &*self.peers[conn]).collect();
        assert!(peers.iter().all(|p| p.torrent == Some(torrent.id)), "a peer of another torrent");
        let lacking = |p: &&Peer| torrent.lacking.contains(&p.conn) || p.remote.pieces.is_all();
        assert!(peers.iter().all(lacking), "a peer that is told of no new piece");
        assert!(torrent.lacking.is_subset(&torrent.peers), "a peer that is gone");
        let addresses = peers.iter().map(|p| (p.address, p.conn)).collect();
        assert_eq!(torrent.addresses, addresses, "addresses of peers");
        for (peer_id, conn) in &torrent.peer_ids {
            assert!(self.peers.get(conn).is_some_and(|p| p.remote.peer_id == *peer_id), "an id of a peer that is gone");
        }
        let Some(content) = &torrent.content else { return };
        content.picker.check_invariant();
        content.assembly.check_invariant();
        check_availability(content, &peers);
        for peer in peers {
            assert_eq!(content.picker.outstanding(peer.conn), peer.requests.len(), "requests of {}", peer.conn);
        }
    }
}

/// Every piece is counted as available as often as a peer has it.
fn check_availability(content: &Content, peers: &[&Peer]) {
    let all = peers.iter().filter(|p| p.remote.pieces == Pieces::All).count() as u32;
    assert_eq!(content.picker.seeds(), all, "peers with every piece");
    for piece in 0..content.layout.num_pieces() {
        let having = peers.iter().filter(|p| p.remote.pieces.has(piece)).count() as u32;
        assert_eq!(content.picker.availability(piece), having, "availability of piece {piece}");
    }
}
