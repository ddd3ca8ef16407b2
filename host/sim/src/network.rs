//! The network: connections with latency and bandwidth, in order and without loss until they break.

use crate::node::NodeId;
use bytes::Bytes;
use reef_engine::{ConnId, Time};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// One end of a connection. A session numbers its connections from one each time it starts, so the start belongs to the
/// name: what is still under way to an earlier run must not reach a later one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct End {
    pub(crate) node: NodeId,
    pub(crate) start: u32,
    pub(crate) conn: ConnId,
}

/// What a node's line can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    /// Bytes a second out.
    pub(crate) up: u64,
    /// Bytes a second in.
    pub(crate) down: u64,
    /// From the node to the middle of the network.
    pub(crate) latency: Duration,
}

impl Default for Line {
    fn default() -> Self {
        Self { up: 4 << 20, down: 16 << 20, latency: Duration::from_millis(20) }
    }
}

/// Bytes of one connection that a line carries before it is another's turn.
const TURN: usize = 17 << 10;

/// All connections, and how busy each line is.
#[derive(Debug, Default)]
pub(crate) struct Network {
    peers: BTreeMap<End, End>,
    up: BTreeMap<NodeId, Uplink>,
    down_free: BTreeMap<NodeId, Time>,
    /// When the last byte of each direction reaches the other end's line, so that nothing overtakes it.
    last: BTreeMap<End, Time>,
}

/// What waits to leave a node. Its connections share the line in turns, so that one with much to send does not hold up
/// the others.
#[derive(Debug, Default)]
struct Uplink {
    waiting: BTreeMap<End, VecDeque<Parcel>>,
    turns: VecDeque<End>,
    busy: bool,
}

/// Bytes on their way from one end to the other, or the end of the connection.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) from: End,
    pub(crate) to: End,
    pub(crate) data: Option<Bytes>,
}

impl Network {
    pub(crate) fn join(&mut self, a: End, b: End) {
        self.peers.insert(a, b);
        self.peers.insert(b, a);
    }

    /// The other end, while this one stands.
    pub(crate) fn other(&self, end: End) -> Option<End> {
        self.peers.get(&end).copied()
    }

    /// Takes both ends of a connection down and returns the other one, if it still stood.
    pub(crate) fn part(&mut self, end: End) -> Option<End> {
        let other = self.peers.remove(&end)?;
        for end in [end, other] {
            self.last.remove(&end);
            self.drop_queue(end);
        }
        self.peers.remove(&other).map(|_| other)
    }

    /// One end hears and says nothing more; the other still gets what is under way.
    pub(crate) fn half_close(&mut self, end: End) {
        self.peers.remove(&end);
    }

    /// Every connection of a node.
    pub(crate) fn of(&self, node: NodeId) -> Vec<End> {
        self.peers.keys().filter(|e| e.node == node).copied().collect()
    }

    /// Queues something for a node's line. True if the line was idle, and is to be asked for its next parcel.
    pub(crate) fn push(&mut self, parcel: Parcel) -> bool {
        let uplink = self.up.entry(parcel.from.node).or_default();
        let queue = uplink.waiting.entry(parcel.from).or_default();
        if queue.is_empty() {
            uplink.turns.push_back(parcel.from);
        }
        queue.push_back(parcel);
        !std::mem::replace(&mut uplink.busy, true)
    }

    /// What a node's line carries next, and how long that takes.
    pub(crate) fn next(&mut self, node: NodeId, line: Line) -> Option<(Parcel, Duration)> {
        let uplink = self.up.get_mut(&node)?;
        let Some(end) = uplink.turns.pop_front() else {
            uplink.busy = false;
            return None;
        };
        let queue = uplink.waiting.get_mut(&end)?;
        let first = queue.front_mut()?;
        let rest = first.data.as_mut().filter(|d| d.len() > TURN).map(|d| d.split_to(TURN));
        let parcel = match rest {
            Some(part) => Parcel { from: first.from, to: first.to, data: Some(part) },
            None => queue.pop_front()?,
        };
        if queue.is_empty() {
            uplink.waiting.remove(&end);
        } else {
            uplink.turns.push_back(end);
        }
        let bytes = parcel.data.as_ref().map_or(0, Bytes::len);
        Some((parcel, duration(bytes, line.up)))
    }

    /// When something that leaves one end now reaches the line of the other.
    pub(crate) fn reaches(&mut self, now: Time, from: End, latency: Duration) -> Time {
        let reaches = (now + latency).max(self.last.get(&from).copied().unwrap_or(Time::ZERO));
        self.last.insert(from, reaches);
        reaches
    }

    /// Forgets what has not left yet.
    fn drop_queue(&mut self, end: End) {
        if let Some(uplink) = self.up.get_mut(&end.node)
            && uplink.waiting.remove(&end).is_some()
        {
            uplink.turns.retain(|e| *e != end);
        }
    }

    /// When `bytes` that reach a node's line now are through it.
    pub(crate) fn receive(&mut self, now: Time, node: NodeId, line: Line, bytes: usize) -> Time {
        let through = now.max(self.down_free.get(&node).copied().unwrap_or(Time::ZERO)) + duration(bytes, line.down);
        self.down_free.insert(node, through);
        through
    }
}

fn duration(bytes: usize, rate: u64) -> Duration {
    Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / rate.max(1))
}
