//! What sessions want done: the network, the storage and the store of a node.

use super::World;
use super::turns::Event;
use crate::network::{End, Parcel};
use crate::node::{Busy, NodeId};
use bytes::Bytes;
use rand_core::RngCore;
use reef_engine::disk::{DiskJob, DiskOp};
use reef_engine::{CloseCause, ConnId, Input, Output, Time, TorrentId};
use reef_proto::message::{BlockRequest, piece_header};
use std::time::Duration;

/// How long a disk takes for a job at least, and how much longer it may take, in microseconds.
const DISK: (u64, u32) = (500, 4_000);
/// How long a store takes to read.
const LOAD: Duration = Duration::from_millis(1);
/// How often a store commits.
const COMMIT: Duration = Duration::from_secs(2);

impl World {
    pub(super) fn output(&mut self, id: NodeId, output: Output) {
        let start = self.node(id).starts;
        let end = |conn: ConnId| End { node: id, start, conn };
        match output {
            Output::Dial { conn, address } => self.dial(end(conn), address),
            Output::Send { conn, data } => self.transmit(end(conn), data),
            Output::SendBlock { conn, torrent, request, message_id } => {
                self.send_block(end(conn), (torrent, request), message_id);
            }
            Output::ReadAllowance { conn, bytes } => self.set_allowance(end(conn), bytes),
            Output::Close { conn, .. } => self.close(end(conn)),
            Output::Disk(job) => self.submit(id, job),
            Output::Reply { token, reply } => {
                self.node(id).replies.insert(token, reply);
            }
            Output::Alert(alert) => self.node(id).alerts.push(alert),
            Output::Store(op) => self.store(id, op),
            Output::Load(torrent) => self.later(LOAD, Event::Load { node: id, start, torrent }),
            Output::Stopped => {
                let node = self.node(id);
                node.stopped = true;
                node.disk.commit();
            }
            // There are no trackers and no names in this network.
            Output::Datagram { .. } | Output::CancelHttp(_) => {}
            Output::Http(request) => {
                let input = Input::Http { id: request.id, result: Err("no route to host".to_owned()) };
                self.input(id, input);
            }
            Output::Resolve { id: request, .. } => {
                self.input(id, Input::Resolved { id: request, result: Err("no such host".to_owned()) });
            }
        }
    }

    fn set_allowance(&mut self, end: End, bytes: Option<u64>) {
        let allowance = &mut self.node(end.node).allowance;
        match bytes {
            Some(n) => allowance.insert(end.conn, n),
            None => allowance.remove(&end.conn),
        };
        // In a turn of its own: the session is not to be called from within its outputs.
        self.later(Duration::ZERO, Event::Read(end));
    }

    fn dial(&mut self, from: End, address: std::net::SocketAddr) {
        let latency = self.node(from.node).line.latency;
        match NodeId::at(address).filter(|n| self.nodes.contains_key(n)) {
            Some(to) => self.later(latency, Event::Dial { from, to }),
            None => self.later(latency, Event::Closed { at: from, cause: CloseCause::Refused }),
        }
    }

    fn send_block(&mut self, end: End, (torrent, request): (TorrentId, BlockRequest), message_id: u8) {
        let node = self.node(end.node);
        let faults = node.faults;
        let block = match node.disk.block(torrent, &request) {
            Ok(block) => block,
            Err(error) => {
                self.break_connection(end, CloseCause::Reset);
                return self.later(Duration::ZERO, Event::Closed { at: end, cause: CloseCause::Storage(error) });
            }
        };
        node.tally.sent += block.len() as u64;
        if let Some(other) = self.network.other(end) {
            *self.fetched.entry((other.node, request.piece)).or_default() += block.len() as u64;
            self.node(other.node).tally.received += block.len() as u64;
        }
        let mut message = piece_header(request.piece, request.begin, request.length).to_vec();
        message[4] = message_id;
        message.extend_from_slice(&block);
        if self.chance(faults.corrupt_blocks) {
            let at = 13 + self.rng.next_u32() as usize % block.len();
            message[at] ^= 0x55;
        }
        if self.chance(faults.withhold_blocks) {
            let bytes = message.len() as u64;
            return self.later(Duration::from_millis(1), Event::Sent { at: end, bytes });
        }
        self.transmit(end, message.into());
    }

    pub(super) fn transmit(&mut self, end: End, data: Bytes) {
        let Some(other) = self.network.other(end) else { return };
        let faults = self.node(end.node).faults;
        if self.chance(faults.break_connections) {
            return self.break_connection(end, CloseCause::Reset);
        }
        self.push(Parcel { from: end, to: other, data: Some(data) });
    }

    fn push(&mut self, parcel: Parcel) {
        let node = parcel.from.node;
        if self.network.push(parcel) {
            self.next_parcel(node);
        }
    }

    /// A session closes a connection: the other end hears of it behind everything that was sent.
    pub(super) fn close(&mut self, end: End) {
        let Some(other) = self.network.other(end) else { return };
        let node = self.node(end.node);
        node.allowance.remove(&end.conn);
        node.unread.remove(&end.conn);
        self.network.half_close(end);
        self.push(Parcel { from: end, to: other, data: None });
    }

    pub(super) fn break_connection(&mut self, end: End, cause: CloseCause) {
        let other = self.network.part(end);
        for end in std::iter::once(end).chain(other) {
            self.later(Duration::from_millis(1), Event::Closed { at: end, cause: cause.clone() });
        }
    }

    /// Jobs take their time: those of one piece come in order, those of a whole torrent after all earlier ones.
    fn submit(&mut self, id: NodeId, job: DiskJob) {
        let takes = Duration::from_micros(DISK.0 + u64::from(self.rng.next_u32() % DISK.1));
        let now = self.now;
        let node = self.node(id);
        let takes = takes + Duration::from_millis(node.faults.slow_disk.into());
        if matches!(job.op, DiskOp::CheckPiece { .. }) {
            node.tally.checks += 1;
        }
        let at = node.busy.until(now, &job) + takes;
        node.busy.set(&job, at);
        let start = node.starts;
        self.at(at, Event::Disk { node: id, start, job });
    }

    fn store(&mut self, id: NodeId, op: reef_engine::StoreOp) {
        let now = self.now;
        let node = self.node(id);
        node.disk.store(op);
        if node.next_commit <= now {
            node.next_commit = now + COMMIT;
            let at = node.next_commit;
            self.at(at, Event::Commit(id));
        }
    }
}

impl Busy {
    /// When a job can begin.
    fn until(&self, now: Time, job: &DiskJob) -> Time {
        let wait = match piece_of(&job.op) {
            Some(piece) => self.pieces.get(&(job.torrent, piece)).max(self.barriers.get(&job.torrent)),
            None => self.torrents.get(&job.torrent),
        };
        wait.copied().unwrap_or(now).max(now)
    }

    fn set(&mut self, job: &DiskJob, until: Time) {
        match piece_of(&job.op) {
            Some(piece) => self.pieces.insert((job.torrent, piece), until),
            None => self.barriers.insert(job.torrent, until),
        };
        let all = self.torrents.entry(job.torrent).or_insert(until);
        *all = until.max(*all);
    }
}

/// The piece that a job touches; `None` for those that wait for all others.
fn piece_of(op: &DiskOp) -> Option<u32> {
    match op {
        DiskOp::WritePiece { piece, .. }
        | DiskOp::WriteRun { piece, .. }
        | DiskOp::CheckPiece { piece, .. }
        | DiskOp::Read { piece, .. } => Some(*piece),
        DiskOp::Open(_) | DiskOp::SetWanted(_) | DiskOp::Finish { .. } | DiskOp::Close { .. } => None,
    }
}
