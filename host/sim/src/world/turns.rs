//! The order of things: events in time, and one turn of a session for each.

use super::{STEPS_A_LOOK, World};
use crate::network::{End, Parcel};
use crate::node::NodeId;
use crate::script::Wire;
use bytes::Bytes;
use rand_core::RngCore;
use reef_engine::disk::{DiskJob, DiskOp};
use reef_engine::{CloseCause, Input, ListenerId, Output, Session, Time, TorrentId};
use sha1::Digest;
use std::time::Duration;

pub(super) enum Event {
    Dial {
        from: End,
        to: NodeId,
    },
    Connected(End),
    /// Something has left a node.
    Left(Parcel),
    /// Bytes, or the end of a connection, reach the line of a node.
    Arrive {
        to: End,
        data: Option<Bytes>,
    },
    Deliver {
        to: End,
        data: Bytes,
    },
    /// A session reads again what it was not let read before.
    Read(End),
    Sent {
        at: End,
        bytes: u64,
    },
    Closed {
        at: End,
        cause: CloseCause,
    },
    Disk {
        node: NodeId,
        start: u32,
        job: DiskJob,
    },
    /// The store has what a session wants back.
    Load {
        node: NodeId,
        start: u32,
        torrent: TorrentId,
    },
    Timeout(NodeId),
    Commit(NodeId),
}

impl World {
    pub(super) fn happen(&mut self, event: Event) {
        self.steps += 1;
        match event {
            Event::Dial { from, to } => self.dialled(from, to),
            Event::Connected(at) => self.at_end(at, Input::Connected { conn: at.conn }),
            Event::Left(parcel) => self.left(parcel),
            Event::Arrive { to, data } => self.arrive(to, data),
            Event::Deliver { to, data } => self.deliver(to, data),
            Event::Read(end) => self.read(end),
            Event::Sent { at, bytes } => self.at_end(at, Input::Sent { conn: at.conn, bytes }),
            Event::Closed { at, cause } => self.closed(at, cause),
            Event::Disk { node, start, job } => self.disk_turn(node, start, job),
            Event::Load { node, start, torrent } => self.loaded(node, start, torrent),
            Event::Timeout(node) => self.timeout(node),
            Event::Commit(node) => self.node(node).disk.commit(),
        }
    }

    fn dialled(&mut self, from: End, to: NodeId) {
        if !self.is_current(from) {
            return;
        }
        let refuse = self
            .nodes
            .get(&to)
            .map_or(1000, |n| if n.session.is_some() || n.script.is_some() { n.faults.refuse_dials } else { 1000 });
        if self.chance(refuse) {
            return self.later(Duration::from_millis(1), Event::Closed { at: from, cause: CloseCause::Refused });
        }
        let latency = self.node(to).line.latency + self.node(from.node).line.latency;
        if let Some(script) = &mut self.node(to).script {
            let end = End { node: to, start: 0, conn: script.next_conn() };
            script.accepted.push(Wire(end));
            self.network.join(from, end);
            return self.later(latency, Event::Connected(from));
        }
        let start = self.node(to).starts;
        let Some(session) = &mut self.node(to).session else { return };
        let end = End { node: to, start, conn: session.next_conn_id() };
        self.network.join(from, end);
        // Not the port it listens on: the system gives a dial a port of its own.
        let port = 30_000 + (from.conn.0 % 30_000) as u16;
        let remote = std::net::SocketAddr::new(from.node.address().ip(), port);
        self.input(to, Input::Accepted { conn: end.conn, listener: ListenerId(1), remote });
        self.later(latency, Event::Connected(from));
    }

    fn loaded(&mut self, id: NodeId, start: u32, torrent: TorrentId) {
        let node = self.node(id);
        if node.session.is_some() && node.starts == start {
            let (metainfo, have) = node.disk.content(torrent);
            self.input(id, Input::Loaded { torrent, metainfo, have });
        }
    }

    /// Whether an end belongs to the run of its session that goes on now.
    fn is_current(&self, end: End) -> bool {
        self.nodes.get(&end.node).is_some_and(|n| n.script.is_some() || (n.session.is_some() && n.starts == end.start))
    }

    fn at_end(&mut self, at: End, input: Input) {
        if self.network.other(at).is_some() && self.is_current(at) {
            self.input(at.node, input);
        }
    }

    fn closed(&mut self, at: End, cause: CloseCause) {
        self.network.half_close(at);
        if !self.is_current(at) {
            return;
        }
        match &mut self.node(at.node).script {
            Some(script) => script.closed(at.conn),
            None => self.input(at.node, Input::Closed { conn: at.conn, cause }),
        }
    }

    /// Gives a line its next parcel, if anything waits for it.
    pub(super) fn next_parcel(&mut self, id: NodeId) {
        let line = self.node(id).line;
        if let Some((parcel, takes)) = self.network.next(id, line) {
            self.later(takes, Event::Left(parcel));
        }
    }

    fn left(&mut self, Parcel { from, to, data }: Parcel) {
        let latency = self.node(from.node).line.latency + self.node(to.node).line.latency;
        let reaches = self.network.reaches(self.now, from, latency);
        let bytes = data.as_ref().map_or(0, |d| d.len() as u64);
        self.at(reaches, Event::Arrive { to, data });
        if bytes > 0 {
            self.at_end(from, Input::Sent { conn: from.conn, bytes });
        }
        self.next_parcel(from.node);
    }

    fn arrive(&mut self, to: End, data: Option<Bytes>) {
        let line = self.node(to.node).line;
        let through = self.network.receive(self.now, to.node, line, data.as_ref().map_or(0, Bytes::len));
        let event = match data {
            Some(data) => Event::Deliver { to, data },
            None => Event::Closed { at: to, cause: CloseCause::Eof },
        };
        self.at(through, event);
    }

    fn deliver(&mut self, to: End, data: Bytes) {
        if self.network.other(to).is_none() || !self.is_current(to) {
            return;
        }
        let node = self.node(to.node);
        if let Some(script) = &mut node.script {
            return script.receive(to.conn, data);
        }
        node.unread.entry(to.conn).or_default().push_back(data);
        self.read(to);
    }

    /// Gives a session what has arrived, as far as it wants to read.
    fn read(&mut self, end: End) {
        while self.network.other(end).is_some() && self.is_current(end) {
            let node = self.node(end.node);
            let Some(queue) = node.unread.get_mut(&end.conn) else { return };
            let Some(mut data) = queue.pop_front() else { return };
            if let Some(left) = node.allowance.get_mut(&end.conn) {
                let n = (*left).min(data.len() as u64) as usize;
                if n < data.len() {
                    queue.push_front(data.split_off(n));
                }
                *left -= n as u64;
                if n == 0 {
                    return;
                }
            }
            self.node(end.node).tally.read += data.len() as u64;
            self.input(end.node, Input::Received { conn: end.conn, data: data.into() });
        }
    }

    fn disk_turn(&mut self, id: NodeId, start: u32, job: DiskJob) {
        let node = self.node(id);
        if node.starts != start || node.session.is_none() {
            return;
        }
        if let Some(done) = node.disk.carry_out(job.torrent, job.op) {
            self.input(id, Input::Disk(done));
        }
    }

    fn timeout(&mut self, id: NodeId) {
        let now = self.now;
        let node = self.node(id);
        if node.session.is_none() || node.wake != Some(now) {
            return;
        }
        node.wake = None;
        node.tally.timeouts += 1;
        self.input(id, Input::Timeout);
    }

    /// Gives one input to a node's session and does what it wants done.
    pub(super) fn input(&mut self, id: NodeId, input: Input) {
        let now = self.now;
        let look = self.steps.is_multiple_of(STEPS_A_LOOK);
        let node = self.node(id);
        let local = Time(now.0 - node.started.0);
        let Some(session) = &mut node.session else { return };
        session.handle(local, input, node.hooks.as_mut());
        if look {
            session.check_invariant();
        }
        loop {
            let node = self.node(id);
            let Some(output) = node.session.as_mut().and_then(Session::poll) else { break };
            self.record(id, &output);
            self.output(id, output);
        }
        self.schedule_wake(id);
    }

    fn schedule_wake(&mut self, id: NodeId) {
        let now = self.now;
        let node = self.node(id);
        let Some(local) = node.session.as_ref().and_then(Session::next_timeout) else { return };
        let at = Time(local.0 + node.started.0).max(now);
        if node.wake.is_none_or(|w| at < w) {
            node.wake = Some(at);
            self.at(at, Event::Timeout(id));
        }
    }

    /// Something with a chance of so many in a thousand happens.
    pub(super) fn chance(&mut self, per_thousand: u32) -> bool {
        per_thousand > 0 && self.rng.next_u32() % 1000 < per_thousand
    }

    pub(super) fn later(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    pub(super) fn at(&mut self, time: Time, event: Event) {
        self.next_event += 1;
        self.events.insert((time, self.next_event), event);
    }

    /// Adds an output to the trace. Bytes count as they are: to print them would cost more than the simulation.
    fn record(&mut self, id: NodeId, output: &Output) {
        self.trace.update(id.0.to_be_bytes());
        self.trace.update(self.now.0.to_be_bytes());
        match output {
            Output::Send { conn, data } => {
                self.trace.update(conn.0.to_be_bytes());
                self.trace.update(data);
            }
            Output::Disk(job) => match &job.op {
                DiskOp::WritePiece { piece, data, .. } | DiskOp::WriteRun { piece, data, .. } => {
                    self.trace.update(piece.to_be_bytes());
                    data.iter().for_each(|d| self.trace.update(d));
                }
                op => self.trace.update(format!("{op:?}")),
            },
            output => self.trace.update(format!("{output:?}")),
        }
    }
}
