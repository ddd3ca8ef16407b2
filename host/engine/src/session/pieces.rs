//! Which pieces peers have and which we have: bitfields and haves in both directions, and interest.

use super::Session;
use super::dispatch::Asked;
use crate::hooks::{Hooks, PeerEvent};
use crate::ids::{ConnId, TorrentId};
use crate::peer::pieces::Pieces;
use bytes::Bytes;
use reef_proto::bitfield::Bitfield;
use reef_proto::fast::allowed_fast_set;
use reef_proto::message::Message;
use std::time::Duration;

impl Session {
    pub(super) fn on_have(&mut self, conn: ConnId, piece: u32, hooks: &mut dyn Hooks) {
        if self.ask_peer(conn, &PeerEvent::Have(piece), hooks) == Asked::Skip {
            return;
        }
        if self.num_pieces_of(conn).is_some_and(|n| piece >= n) {
            return self.close(conn, "have of a piece that does not exist", hooks);
        }
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.remote.told_pieces = true;
        if !peer.remote.pieces.add(piece) {
            return;
        }
        let Some(torrent) = peer.torrent.and_then(|id| self.torrents.get_mut(&id)) else { return };
        let Some(content) = &mut torrent.content else { return };
        content.picker.peer_has(piece);
        if !peer.local.interested && content.picker.is_missing(piece) {
            self.update_interest(conn);
        }
        self.close_if_redundant(conn, hooks);
    }

    pub(super) fn on_bitfield(&mut self, conn: ConnId, bits: Bytes, hooks: &mut dyn Hooks) {
        if self.ask_peer(conn, &PeerEvent::Bitfield(&bits), hooks) == Asked::Skip {
            return;
        }
        let pieces = match self.num_pieces_of(conn) {
            None => Pieces::Early { bitfield: Some(bits), haves: Vec::new() },
            Some(n) => match Bitfield::from_wire(&bits, n) {
                Ok(b) => Pieces::Some(b),
                Err(e) => return self.close(conn, &format!("bitfield: {e}"), hooks),
            },
        };
        self.set_remote_pieces(conn, pieces, hooks);
    }

    pub(super) fn on_have_all(&mut self, conn: ConnId, hooks: &mut dyn Hooks) {
        if self.ask_peer(conn, &PeerEvent::HaveAll, hooks) == Asked::Standard && self.is_first_word(conn, hooks) {
            self.set_remote_pieces(conn, Pieces::All, hooks);
        }
    }

    pub(super) fn on_have_none(&mut self, conn: ConnId, hooks: &mut dyn Hooks) {
        if self.ask_peer(conn, &PeerEvent::HaveNone, hooks) == Asked::Standard && self.is_first_word(conn, hooks) {
            let pieces = self.num_pieces_of(conn).map_or_else(Pieces::unknown, |n| Pieces::Some(Bitfield::new(n)));
            self.set_remote_pieces(conn, pieces, hooks);
        }
    }

    /// Whether a peer has not said yet which pieces it has. BEP 6: `have all` and `have none` after that are a mistake.
    fn is_first_word(&mut self, conn: ConnId, hooks: &mut dyn Hooks) -> bool {
        let first = self.peers.get(&conn).is_some_and(|p| !p.remote.told_pieces);
        if !first {
            self.close(conn, "told its pieces twice", hooks);
        }
        first
    }

    /// The peer's word on all its pieces. BEP 3 allows it as the first message alone, but aria2 sends a bitfield in place
    /// of many haves as well, so a later one replaces what was known.
    fn set_remote_pieces(&mut self, conn: ConnId, pieces: Pieces, hooks: &mut dyn Hooks) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if matches!(pieces, Pieces::All) && !peer.remote.fast {
            return self.close(conn, "have all without the fast extension", hooks);
        }
        peer.remote.told_pieces = true;
        let before = std::mem::replace(&mut peer.remote.pieces, pieces);
        if let Some(torrent) = peer.torrent.and_then(|id| self.torrents.get_mut(&id)) {
            torrent.lacking.insert(conn);
            if let Some(content) = &mut torrent.content {
                before.leave(&mut content.picker);
                peer.remote.pieces.enter(&mut content.picker);
            }
        }
        self.update_interest(conn);
        self.close_if_redundant(conn, hooks);
    }

    /// Tells a peer that we want something of it, or no longer do.
    pub(super) fn update_interest(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let Some(torrent) = peer.torrent.and_then(|id| self.torrents.get(&id)) else { return };
        let Some(content) = &torrent.content else { return };
        let wants = torrent.is_downloading() && peer.remote.pieces.is_interesting(&content.picker);
        if wants == peer.local.interested || !peer.is_connected() {
            return;
        }
        peer.local.interested = wants;
        if wants {
            peer.last_useful = self.now;
        }
        self.send(conn, if wants { &Message::Interested } else { &Message::NotInterested });
    }

    /// Updates the interest in every peer of a torrent, after its wishes changed.
    pub(super) fn update_all_interest(&mut self, id: TorrentId) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        for conn in torrent.peers.iter().copied().collect::<Vec<_>>() {
            self.update_interest(conn);
        }
    }

    /// Tells a peer which pieces we have, once.
    pub(super) fn send_pieces(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let Some(torrent) = peer.torrent.and_then(|id| self.torrents.get(&id)) else { return };
        if peer.local.pieces_sent || !peer.is_connected() {
            return;
        }
        peer.local.pieces_sent = true;
        let fast = peer.remote.fast;
        let message = match &torrent.content {
            Some(c) if c.picker.is_seed() && fast => Message::HaveAll,
            Some(c) if c.picker.num_have() > 0 => Message::Bitfield(Bytes::from(c.picker.have().to_bytes())),
            _ if fast => Message::HaveNone,
            _ => return,
        };
        self.send(conn, &message);
    }

    /// Offers a peer some pieces that it may ask for while it is choked (BEP 6).
    pub(super) fn send_allowed_fast(&mut self, conn: ConnId) {
        let count = self.settings.allowed_fast_set_size as usize;
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let Some(torrent) = peer.torrent.and_then(|id| self.torrents.get(&id)) else { return };
        let Some(content) = torrent.content.as_ref().filter(|_| peer.remote.fast && count > 0) else { return };
        if peer.remote.upload_only || peer.remote.pieces.count(content.layout.num_pieces()) as usize > count {
            return;
        }
        let set = allowed_fast_set(peer.address.ip(), torrent.hashes.wire(), content.layout.num_pieces(), count);
        peer.local.allowed_fast = set.into_iter().filter(|&p| content.picker.has(p)).collect();
        for piece in peer.local.allowed_fast.clone() {
            self.send(conn, &Message::AllowedFast(piece));
        }
    }

    /// A piece was verified: peers are told soon, of several together where there are several.
    pub(super) fn have_new_piece(&mut self, id: TorrentId, piece: u32) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        torrent.new_haves.push(piece);
        self.haves_of.insert(id);
        if torrent.new_haves.len() >= HAVES_TOGETHER {
            self.announce_haves(id);
        } else {
            self.haves_due.get_or_insert(self.now + HAVES_WAIT);
        }
    }

    /// Tells the peers of every torrent of the pieces that were verified.
    pub(super) fn announce_all_haves(&mut self) {
        self.haves_due = None;
        std::mem::take(&mut self.haves_of).into_iter().for_each(|id| self.announce_haves(id));
    }

    /// Tells peers of the pieces that were verified; those who have one already are spared.
    pub(super) fn announce_haves(&mut self, id: TorrentId) {
        let Some(torrent) = self.torrents.get_mut(&id).filter(|torrent| !torrent.new_haves.is_empty()) else { return };
        let haves = std::mem::take(&mut torrent.new_haves);
        let peers = &self.peers;
        torrent.lacking.retain(|conn| peers.get(conn).is_some_and(|p| !p.remote.pieces.is_all()));
        let conns: Vec<ConnId> = torrent.lacking.iter().copied().collect();
        for conn in conns {
            let Some(peer) = self.peers.get(&conn).filter(|p| p.local.pieces_sent) else { continue };
            let new: Vec<u32> = haves.iter().copied().filter(|&p| !peer.remote.pieces.has(p)).collect();
            for piece in new {
                self.send(conn, &Message::Have(piece));
            }
        }
    }
}

/// Verified pieces of which peers are told together.
const HAVES_TOGETHER: usize = 64;
/// How long peers are not told of a piece, in case there are more.
const HAVES_WAIT: Duration = Duration::from_millis(20);
