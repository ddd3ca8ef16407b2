//! What a peer says, message by message: plugins first, then the standard behaviour.

use super::Session;
use super::dispatch::Asked;
use crate::hooks::{ExtendedMessage, Hooks, PeerEvent, ReceivedBlock, UnknownMessage};
use crate::ids::ConnId;
use bytes::Bytes;
use reef_proto::message::{BlockRequest, Message};

/// Pieces offered or suggested by one peer that are remembered.
const MAX_OFFERS: usize = 64;

impl Session {
    pub(super) fn message(&mut self, conn: ConnId, message: Message, hooks: &mut dyn Hooks) {
        match message {
            Message::Piece { piece, begin, data } => self.on_piece(conn, (piece, begin), data, hooks),
            Message::Request(r) => self.on_request(conn, r, hooks),
            Message::Have(piece) => self.on_have(conn, piece, hooks),
            Message::Choke => self.on_choke(conn, hooks),
            Message::Unchoke => self.on_unchoke(conn, hooks),
            Message::Interested => self.on_interested(conn, hooks),
            Message::NotInterested => self.on_not_interested(conn, hooks),
            Message::Bitfield(bits) => self.on_bitfield(conn, bits, hooks),
            Message::HaveAll => self.on_have_all(conn, hooks),
            Message::HaveNone => self.on_have_none(conn, hooks),
            Message::Cancel(r) => self.on_cancel(conn, r, hooks),
            Message::Reject(r) => self.on_reject(conn, r, hooks),
            Message::AllowedFast(piece) => self.on_allowed_fast(conn, piece, hooks),
            Message::Suggest(piece) => self.on_suggest(conn, piece, hooks),
            Message::Extended { id, payload } => self.on_extended(conn, id, payload, hooks),
            Message::Unknown { id, payload } => self.on_unknown(conn, (id, &payload), hooks),
            // A DHT's port and the questions of BEP 52 mean nothing to a session that speaks neither.
            Message::KeepAlive | Message::Port(_) | Message::Hashes { .. } | Message::HashReject(_) => {}
            Message::HashRequest(r) => self.send(conn, &Message::HashReject(r)),
        }
    }

    fn on_piece(&mut self, conn: ConnId, at: (u32, u32), data: Bytes, hooks: &mut dyn Hooks) {
        let request = BlockRequest { piece: at.0, begin: at.1, length: data.len() as u32 };
        self.imply_have_none(conn, hooks);
        let event = PeerEvent::Piece(ReceivedBlock { request, data: &data });
        if self.ask_peer(conn, &event, hooks) == Asked::Standard {
            self.block_received(conn, request, data, hooks);
        }
    }

    fn on_request(&mut self, conn: ConnId, request: BlockRequest, hooks: &mut dyn Hooks) {
        self.imply_have_none(conn, hooks);
        if self.ask_peer(conn, &PeerEvent::Request(request), hooks) == Asked::Standard {
            self.block_requested(conn, request, hooks);
        }
    }

    /// A peer that asks or gives before it said which pieces it has, has none as far as is known: plugins hear so once.
    fn imply_have_none(&mut self, conn: ConnId, hooks: &mut dyn Hooks) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if !peer.remote.told_pieces && !std::mem::replace(&mut peer.remote.implied_none, true) {
            self.ask_peer(conn, &PeerEvent::HaveNone, hooks);
        }
    }

    fn on_cancel(&mut self, conn: ConnId, request: BlockRequest, hooks: &mut dyn Hooks) {
        if self.ask_peer(conn, &PeerEvent::Cancel(request), hooks) == Asked::Standard {
            self.request_cancelled(conn, request);
        }
    }

    fn on_reject(&mut self, conn: ConnId, request: BlockRequest, hooks: &mut dyn Hooks) {
        if self.ask_peer(conn, &PeerEvent::Reject(request), hooks) == Asked::Skip {
            return;
        }
        if !self.peers.get(&conn).is_some_and(|p| p.remote.fast) {
            return self.close(conn, "reject without the fast extension", hooks);
        }
        self.request_rejected(conn, request);
    }

    fn on_choke(&mut self, conn: ConnId, hooks: &mut dyn Hooks) {
        if self.ask_peer(conn, &PeerEvent::Choke, hooks) == Asked::Standard {
            self.choked_by(conn);
        }
    }

    fn on_unchoke(&mut self, conn: ConnId, hooks: &mut dyn Hooks) {
        if self.ask_peer(conn, &PeerEvent::Unchoke, hooks) == Asked::Standard
            && let Some(peer) = self.peers.get_mut(&conn)
        {
            peer.remote.choking = false;
        }
    }

    fn on_interested(&mut self, conn: ConnId, hooks: &mut dyn Hooks) {
        if self.ask_peer(conn, &PeerEvent::Interested, hooks) == Asked::Standard {
            self.became_interested(conn);
        }
    }

    fn on_not_interested(&mut self, conn: ConnId, hooks: &mut dyn Hooks) {
        if self.ask_peer(conn, &PeerEvent::NotInterested, hooks) == Asked::Standard
            && let Some(peer) = self.peers.get_mut(&conn)
        {
            peer.remote.interested = false;
            peer.last_useful = self.now;
        }
    }

    fn on_allowed_fast(&mut self, conn: ConnId, piece: u32, hooks: &mut dyn Hooks) {
        if self.ask_peer(conn, &PeerEvent::AllowedFast(piece), hooks) == Asked::Standard {
            self.remember_offer(conn, piece, |p| &mut p.remote.allowed_fast);
        }
    }

    fn on_suggest(&mut self, conn: ConnId, piece: u32, hooks: &mut dyn Hooks) {
        if self.ask_peer(conn, &PeerEvent::Suggest(piece), hooks) == Asked::Standard {
            self.remember_offer(conn, piece, |p| &mut p.remote.suggested);
        }
    }

    /// Remembers a piece that is in range, on a list with a limit.
    fn remember_offer(&mut self, conn: ConnId, piece: u32, list: fn(&mut crate::peer::Peer) -> &mut Vec<u32>) {
        let pieces = self.num_pieces_of(conn);
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let list = list(peer);
        if pieces.is_none_or(|n| piece < n) && list.len() < MAX_OFFERS && !list.contains(&piece) {
            list.push(piece);
        }
    }

    fn on_extended(&mut self, conn: ConnId, id: u8, payload: Bytes, hooks: &mut dyn Hooks) {
        if !self.peers.get(&conn).is_some_and(|p| p.remote.extended) {
            return self.close(conn, "extension message without the extension bit", hooks);
        }
        if id == 0 {
            return self.on_extension_handshake(conn, payload, hooks);
        }
        match self.extensions.name(id) {
            Some(name) => {
                let name = name.to_owned();
                let event = PeerEvent::Extended(ExtendedMessage { name: &name, payload: &payload });
                if self.ask_peer(conn, &event, hooks) == Asked::Standard {
                    self.builtin_extended(conn, &name, &payload, hooks);
                }
            }
            None => self.close(conn, &format!("extension message {id}, which was never offered"), hooks),
        }
    }

    fn on_unknown(&mut self, conn: ConnId, (id, payload): (u8, &Bytes), hooks: &mut dyn Hooks) {
        let event = PeerEvent::UnknownMessage(UnknownMessage { id, payload });
        if self.ask_peer(conn, &event, hooks) == Asked::Standard {
            self.close(conn, &format!("unknown message {id}"), hooks);
        }
    }

    /// The number of pieces of a peer's torrent, once known.
    pub(super) fn num_pieces_of(&self, conn: ConnId) -> Option<u32> {
        let torrent = self.torrents.get(&self.peers.get(&conn)?.torrent?)?;
        Some(torrent.content.as_ref()?.layout.num_pieces())
    }
}
