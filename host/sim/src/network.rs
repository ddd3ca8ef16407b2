//! The network: connections with latency and bandwidth, in order and without loss until they break.

use crate::node::NodeId;
use reef_engine::{ConnId, Time};
use std::collections::BTreeMap;
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

/// All connections, and how busy each line is.
#[derive(Debug, Default)]
pub(crate) struct Network {
    peers: BTreeMap<End, End>,
    up_free: BTreeMap<NodeId, Time>,
    down_free: BTreeMap<NodeId, Time>,
    /// When the last byte of each direction reaches the other end's line, so that nothing overtakes it.
    last: BTreeMap<End, Time>,
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
        self.last.remove(&end);
        self.last.remove(&other);
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

    /// When `bytes` sent now from one end have left it, and when they reach the line of the other.
    pub(crate) fn send(&mut self, now: Time, from: (End, Line), latency: Duration, bytes: usize) -> (Time, Time) {
        let (end, line) = from;
        let left = now.max(self.up_free.get(&end.node).copied().unwrap_or(Time::ZERO)) + duration(bytes, line.up);
        self.up_free.insert(end.node, left);
        let reaches = (left + line.latency + latency).max(self.last.get(&end).copied().unwrap_or(Time::ZERO));
        self.last.insert(end, reaches);
        (left, reaches)
    }

    /// When `bytes` that reach a node's line now are through it.
    pub(crate) fn receive(&mut self, now: Time, node: NodeId, line: Line, bytes: usize) -> Time {
        let through = now.max(self.down_free.get(&node).copied().unwrap_or(Time::ZERO)) + duration(bytes, line.down);
        self.down_free.insert(node, through);
        through
    }

    /// When something sent behind everything else reaches the other end's line.
    pub(crate) fn after_last(&self, now: Time, end: End, latency: Duration) -> Time {
        (now + latency).max(self.last.get(&end).copied().unwrap_or(Time::ZERO))
    }
}

fn duration(bytes: usize, rate: u64) -> Duration {
    Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / rate.max(1))
}
