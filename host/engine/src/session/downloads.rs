//! Blocks coming in: asking for them, taking them, and giving whole pieces to the storage.

use super::Session;
use super::dispatch::Asked;
use crate::disk::{DiskJob, DiskOp};
use crate::hooks::{Hooks, PeerEvent, Sender};
use crate::ids::{ConnId, TorrentId};
use crate::output::Output;
use crate::peer::Peer;
use crate::peer::pieces::Pieces;
use crate::peer::requests::Arrival;
use crate::policy::picker::{PeerPieces, PickContext, Received, Speed};
use crate::time::Time;
use crate::torrent::assembly::Arrived;
use crate::torrent::{Content, expect};
use bytes::Bytes;
use reef_proto::layout::BLOCK_SIZE;
use reef_proto::message::{BlockRequest, Message, REQUEST_LEN};

/// No connection has this key: blocks that plugins give come from it.
const NOBODY: ConnId = ConnId(0);

/// Blocks that a peer may send without having been asked before it is closed.
const MAX_UNSOLICITED: u32 = 100;

/// A peer fills one more large piece in turn for each so many bytes a second.
const STREAM_RATE: u64 = 16 << 20;
/// Large pieces that all peers together fill in turn.
const MOST_STREAMS: u64 = 16;

impl Session {
    /// Asks a peer for as many blocks as it should owe us.
    pub(super) fn refill_requests(&mut self, conn: ConnId, hooks: &mut dyn Hooks) {
        let Some(peer) = self.peers.get(&conn) else { return };
        if !peer.local.interested || (peer.remote.choking && peer.remote.allowed_fast.is_empty()) || self.congested {
            return;
        }
        if peer.requests.is_resting(self.now) {
            return;
        }
        let limit = peer.remote.max_requests.unwrap_or(u32::MAX).min(self.settings.max_out_request_queue as u32);
        let target =
            peer.requests.target(peer.download.per_second(self.now), self.settings.request_queue_time as u64, limit);
        let owed = peer.requests.len();
        // In batches: a request a block would cost a system call a block.
        if owed > target - target / 4 || owed >= target {
            return;
        }
        let want = (target - owed) as usize;
        let mut picked = Vec::with_capacity(want);
        self.pick(conn, want, &mut picked);
        if picked.is_empty() && owed == 0 {
            self.update_interest(conn);
        }
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.out.reserve(picked.len() * REQUEST_LEN);
        }
        for request in picked {
            self.send_request(conn, request, hooks);
        }
    }

    fn pick(&mut self, conn: ConnId, want: usize, picked: &mut Vec<BlockRequest>) {
        use rand_core::RngCore;
        let random = self.rng.next_u64();
        let Some(peer) = self.peers.get(&conn) else { return };
        let Some(torrent) = peer.torrent.and_then(|id| self.torrents.get_mut(&id)) else { return };
        if !torrent.is_downloading() {
            return;
        }
        let Some(content) = &mut torrent.content else { return };
        // Unfinished pieces are held in memory, or written in parts and read back: not many more than are needed.
        let streams = streams(peer.download.per_second(self.now), torrent.peers.len() as u64);
        let max_partial = (torrent.peers.len() as u32).saturating_mul(3).saturating_add(8).max(streams);
        let have = match &peer.remote.pieces {
            Pieces::All => PeerPieces::All,
            Pieces::Some(b) => PeerPieces::Some(b),
            Pieces::Early { .. } => return,
        };
        let context = PickContext {
            only: peer.remote.choking.then_some(&peer.remote.allowed_fast),
            suggested: &peer.remote.suggested,
            speed: speed_of(peer, self.now),
            parole: peer.parole,
            max_partial,
            streams,
            ..PickContext::new(conn, have, random)
        };
        content.picker.pick(context, want, picked);
    }

    fn send_request(&mut self, conn: ConnId, request: BlockRequest, hooks: &mut dyn Hooks) {
        let asked = self.ask_peer(conn, &PeerEvent::WriteRequest(request), hooks);
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.requests.push(request, self.now);
        self.counters.requests_sent += 1;
        if asked == Asked::Standard {
            self.send(conn, &Message::Request(request));
        }
    }

    pub(super) fn block_received(&mut self, conn: ConnId, request: BlockRequest, data: Bytes, hooks: &mut dyn Hooks) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let length = data.len() as u64;
        let arrival = peer.requests.arrived(request, now);
        if arrival == Arrival::Unsolicited {
            return self.unsolicited_block(conn, length, hooks);
        }
        peer.download.add(now, length);
        peer.last_useful = now;
        let sender = Sender { address: peer.address, peer_id: peer.remote.peer_id };
        let Some(id) = peer.torrent else { return };
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        torrent.totals.downloaded += length;
        torrent.totals.download.add(now, length);
        self.counters.recv_payload_bytes += length as i64;
        self.take_block((id, Some(conn)), request, data, (Some(sender), arrival));
    }

    /// Puts a block where it belongs, if it is wanted. One that no peer was asked for by the picker, but by a plugin, is too.
    pub(super) fn take_block(
        &mut self,
        (id, conn): (TorrentId, Option<ConnId>),
        request: BlockRequest,
        data: Bytes,
        (sender, arrival): (Option<Sender>, Arrival),
    ) {
        let length = data.len() as u64;
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let Some(content) = torrent.content.as_mut().filter(|_| torrent.error.is_none()) else { return };
        let block = request.begin / BLOCK_SIZE;
        let conn = conn.unwrap_or(NOBODY);
        let received = match arrival {
            Arrival::Late => content.picker.received_late(conn, request.piece, block),
            _ => match content.picker.received(conn, request.piece, block) {
                Received::Unrequested => content.picker.received_late(conn, request.piece, block),
                received => received,
            },
        };
        match received {
            Received::Wanted { cancel } => {
                let Content { meta, layout, assembly, .. } = &mut **content;
                let expect = || expect(meta, request.piece);
                let held = assembly.held();
                let ops = assembly.insert(layout, (request.piece, block), Arrived { data, sender }, expect);
                self.held_bytes = self.held_bytes + assembly.held() - held;
                self.unsaved.entry(id).or_default().resume = true;
                self.submit_writes(id, ops);
                self.cancel_elsewhere(&cancel, request);
                self.relieve_memory();
            }
            Received::Duplicate | Received::Unrequested => {
                torrent.totals.wasted += length;
                self.counters.recv_redundant_bytes += length as i64;
            }
        }
    }

    fn unsolicited_block(&mut self, conn: ConnId, length: u64, hooks: &mut dyn Hooks) {
        self.counters.recv_redundant_bytes += length as i64;
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.unsolicited += 1;
        let too_many = peer.unsolicited > MAX_UNSOLICITED;
        if let Some(torrent) = peer.torrent.and_then(|id| self.torrents.get_mut(&id)) {
            torrent.totals.wasted += length;
        }
        if too_many {
            self.close(conn, "sends blocks that nobody asked for", hooks);
        }
    }

    /// A block came from one of several peers that were asked for it at the end: the others can spare it.
    fn cancel_elsewhere(&mut self, others: &[ConnId], request: BlockRequest) {
        for &other in others {
            if self.peers.get_mut(&other).is_some_and(|p| p.requests.cancel(request)) {
                self.send(other, &Message::Cancel(request));
            }
        }
    }

    /// Gives writes to the storage and counts what they hold.
    pub(super) fn submit_writes(&mut self, id: TorrentId, ops: Vec<DiskOp>) {
        for op in ops {
            let bytes: u64 = match &op {
                DiskOp::WritePiece { data, .. } | DiskOp::WriteRun { data, .. } => {
                    data.iter().map(|d| d.len() as u64).sum()
                }
                _ => 0,
            };
            if let Some(content) = self.torrents.get_mut(&id).and_then(|t| t.content.as_mut()) {
                content.writing += bytes;
                if let DiskOp::WritePiece { piece, .. } | DiskOp::WriteRun { piece, .. } = op {
                    content.forget_stats(piece);
                }
                if let DiskOp::WritePiece { piece, .. } | DiskOp::CheckPiece { piece, .. } = op {
                    let senders = content.assembly.remove(piece);
                    content.judging.insert(piece, senders);
                }
            }
            self.counters.queued_write_bytes += bytes as i64;
            self.emit(Output::Disk(DiskJob { torrent: id, op }));
        }
    }

    /// Keeps what waits for the disk within the setting: first unfinished pieces go out in runs, then reading stops.
    pub(super) fn relieve_memory(&mut self) {
        let limit = self.settings.cache_size as u64;
        let writing = self.counters.queued_write_bytes as u64;
        if self.held_bytes > limit / 2 {
            let ids: Vec<TorrentId> = self.torrents.ids();
            for id in ids {
                let Some(content) = self.torrents.get_mut(&id).and_then(|t| t.content.as_mut()) else { continue };
                let held = content.assembly.held();
                if held > 0 {
                    // To a quarter of what it holds: so many torrents together come down to a quarter of the whole.
                    let ops = content.assembly.relieve(held / 4);
                    self.held_bytes = self.held_bytes + content.assembly.held() - held;
                    self.submit_writes(id, ops);
                }
            }
        }
        if !self.congested && writing + self.held_bytes > limit {
            self.congested = true;
            self.apply_read_allowances();
        }
    }

    /// The storage has let go of some bytes.
    pub(super) fn writes_done(&mut self, id: TorrentId, bytes: u64, hooks: &mut dyn Hooks) {
        if let Some(content) = self.torrents.get_mut(&id).and_then(|t| t.content.as_mut()) {
            content.writing = content.writing.saturating_sub(bytes);
        }
        self.counters.queued_write_bytes -= bytes as i64;
        if self.congested && (self.counters.queued_write_bytes as u64) < self.settings.cache_size as u64 / 4 {
            self.congested = false;
            self.apply_read_allowances();
            for conn in self.peers.keys() {
                self.refill_requests(conn, hooks);
            }
        }
    }

    /// The peer chokes us: what we asked for will not come, unless it is offered fast (BEP 6 rejects each one itself).
    pub(super) fn choked_by(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.remote.choking = true;
        if peer.remote.fast {
            return;
        }
        let lost = peer.requests.clear();
        let Some(torrent) = peer.torrent.and_then(|id| self.torrents.get_mut(&id)) else { return };
        if let Some(content) = &mut torrent.content {
            for request in lost {
                content.picker.abort(conn, request);
            }
        }
    }

    pub(super) fn request_rejected(&mut self, conn: ConnId, request: BlockRequest) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if !peer.requests.reject(request) {
            return;
        }
        if peer.remote.choking {
            peer.remote.allowed_fast.retain(|&p| p != request.piece);
        }
        let Some(torrent) = peer.torrent.and_then(|id| self.torrents.get_mut(&id)) else { return };
        if let Some(content) = &mut torrent.content {
            content.picker.abort(conn, request);
        }
    }

    /// Gives up the requests of a peer that keeps us waiting, so that others take them.
    pub(super) fn snub(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let lost = peer.requests.clear();
        peer.requests.snub(self.now);
        let id = peer.torrent;
        for request in lost {
            self.send(conn, &Message::Cancel(request));
            if let Some(content) = id.and_then(|id| self.torrents.get_mut(&id)).and_then(|t| t.content.as_mut()) {
                content.picker.abort(conn, request);
            }
        }
    }
}

/// How many large pieces a peer fills in turn. Many pieces are hashed faster than one, but one that is begun is of no use
/// until it is complete: only a peer that fills several in a moment does so, and only as many as are worth hashing
/// together in all.
fn streams(rate: u64, peers: u64) -> u32 {
    (rate / STREAM_RATE).min(MOST_STREAMS / peers.max(1)).max(1) as u32
}

/// How fast a peer is, for the choice of its pieces.
fn speed_of(peer: &Peer, now: Time) -> Speed {
    if peer.requests.is_snubbed() {
        return Speed::Snubbed;
    }
    match peer.download.per_second(now) {
        0 => Speed::Medium,
        1..=16_383 => Speed::Slow,
        16_384..=524_287 => Speed::Medium,
        _ => Speed::Fast,
    }
}
