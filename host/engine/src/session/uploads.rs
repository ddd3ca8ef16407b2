//! Blocks going out: taking requests, and handing blocks to the shell a little ahead of the socket.

use super::Session;
use crate::hooks::{Hooks, PeerEvent, peer_bits};
use crate::ids::ConnId;
use crate::output::Output;
use reef_proto::layout::BLOCK_SIZE;
use reef_proto::message::{BlockRequest, Message, id};

/// Bytes that are queued for a peer however slow its line is.
const LEAST_QUEUE: u64 = 64 << 10;

/// Bytes of header before a block.
const PIECE_HEADER: u64 = 13;

impl Session {
    pub(super) fn block_requested(&mut self, conn: ConnId, request: BlockRequest, hooks: &mut dyn Hooks) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let content = peer.torrent.and_then(|id| self.torrents.get(&id)).and_then(|t| t.content.as_ref());
        let good = content.is_some_and(|c| {
            let size = c.layout.piece_size(request.piece);
            request.piece < c.layout.num_pieces()
                && request.length > 0
                && request.length <= BLOCK_SIZE
                && request.begin.checked_add(request.length).is_some_and(|end| end <= size)
                && c.picker.has(request.piece)
        });
        let allowed = !peer.local.choking || peer.local.allowed_fast.contains(&request.piece);
        let room = (peer.uploads.len() as i64) < self.settings.max_allowed_in_request_queue;
        if good && allowed && room {
            peer.uploads.push_back(request);
        } else if peer.remote.fast {
            self.send(conn, &Message::Reject(request));
        } else if !good {
            // Without BEP 6 there is no way to refuse a request, and one that can never be met would be waited for.
            self.close(conn, "asks for what does not exist", hooks);
        }
    }

    pub(super) fn request_cancelled(&mut self, conn: ConnId, request: BlockRequest) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let Some(at) = peer.uploads.iter().position(|r| *r == request) else { return };
        peer.uploads.remove(at);
        if peer.remote.fast {
            self.send(conn, &Message::Reject(request));
        }
    }

    /// Hands blocks to the shell until enough is queued for the socket or the rate limit says stop.
    pub(super) fn serve(&mut self, conn: ConnId, hooks: &mut dyn Hooks) {
        let Some(peer) = self.peers.get(&conn).filter(|p| !p.uploads.is_empty()) else { return };
        // A second of what its line takes: what is queued delays every later message, and cannot be cancelled.
        let watermark =
            peer.drained.per_second(self.now).max(LEAST_QUEUE).min(self.settings.send_buffer_watermark as u64);
        loop {
            let Some(peer) = self.peers.get_mut(&conn) else { return };
            let Some(torrent) = peer.torrent else { return };
            let Some(&request) = peer.uploads.front() else { return };
            if peer.queued >= watermark {
                return;
            }
            let bytes = u64::from(request.length) + PIECE_HEADER;
            let wanted = (peer.uploads.len() as u64).saturating_mul(bytes).min(watermark - peer.queued);
            if !self.limits.may_upload(conn, bytes, wanted, self.now) {
                return;
            }
            self.flush(conn, hooks);
            let Some(peer) = self.peers.get_mut(&conn) else { return };
            peer.uploads.pop_front();
            if peer.hooks & peer_bits::WriteMessage != 0 && !self.may_send_block(conn, request, hooks) {
                continue;
            }
            let Some(peer) = self.peers.get_mut(&conn) else { return };
            let message_id = peer.ids.as_ref().map_or(id::PIECE, |ids| ids.to_wire(id::PIECE));
            if let Some(payload) = &mut peer.payload {
                payload.push(PIECE_HEADER, request.length.into());
            }
            peer.queued += bytes;
            peer.last_sent = self.now;
            peer.last_useful = self.now;
            peer.upload.add(self.now, u64::from(request.length));
            self.counters.sent_bytes += bytes as i64;
            self.counters.sent_payload_bytes += i64::from(request.length);
            self.counters.blocks_uploaded += 1;
            if let Some(t) = self.torrents.get_mut(&torrent) {
                t.totals.uploaded += u64::from(request.length);
                t.totals.upload.add(self.now, u64::from(request.length));
                self.unsaved.entry(torrent).or_default().resume = true;
            }
            self.emit(Output::SendBlock { conn, torrent, request, message_id });
            self.ask_peer(conn, &PeerEvent::SentPiece(request), hooks);
        }
    }

    pub(super) fn sent(&mut self, conn: ConnId, bytes: u64, hooks: &mut dyn Hooks) {
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.queued = peer.queued.saturating_sub(bytes);
            peer.drained.add(self.now, bytes);
            if peer.payload.is_some() {
                self.tell_payload(conn, bytes, hooks);
            }
            self.serve(conn, hooks);
        }
    }
}
