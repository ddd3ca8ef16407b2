//! The network: connections with latency and bandwidth, in order and without loss until they break.

use crate::node::NodeId;
use reef_engine::{ConnId, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// One end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct End {
    pub(crate) node: NodeId,
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
    peers: BTreeMap<(NodeId, ConnId), End>,
    up_free: BTreeMap<NodeId, Time>,
    down_free: BTreeMap<NodeId, Time>,
    /// When the last byte of each direction arrives, so that nothing overtakes it.
    last: BTreeMap<(NodeId, ConnId), Time>,
}

impl Network {
    pub(crate) fn join(&mut self, a: End, b: End) {
        self.peers.insert((a.node, a.conn), b);
        self.peers.insert((b.node, b.conn), a);
    }

    /// The other end, while the connection stands.
    pub(crate) fn other(&self, node: NodeId, conn: ConnId) -> Option<End> {
        self.peers.get(&(node, conn)).copied()
    }

    /// Takes a connection down and returns the other end.
    pub(crate) fn part(&mut self, node: NodeId, conn: ConnId) -> Option<End> {
        let other = self.peers.remove(&(node, conn))?;
        self.peers.remove(&(other.node, other.conn));
        self.last.remove(&(node, conn));
        self.last.remove(&(other.node, other.conn));
        Some(other)
    }

    /// One end hears and says nothing more; the other still gets what is under way.
    pub(crate) fn half_close(&mut self, node: NodeId, conn: ConnId) {
        self.peers.remove(&(node, conn));
    }

    /// Every connection of a node.
    pub(crate) fn of(&self, node: NodeId) -> Vec<ConnId> {
        self.peers.range((node, ConnId(0))..=(node, ConnId(u64::MAX))).map(|((_, conn), _)| *conn).collect()
    }

    /// When `bytes` sent now have left, and when they arrive.
    pub(crate) fn send(
        &mut self,
        now: Time,
        from: (NodeId, ConnId, Line),
        to: (NodeId, Line),
        bytes: usize,
    ) -> (Time, Time) {
        let (node, conn, line) = from;
        let left = now.max(self.up_free.get(&node).copied().unwrap_or(Time::ZERO)) + duration(bytes, line.up);
        self.up_free.insert(node, left);
        let reaches = left + line.latency + to.1.latency;
        let free = self.down_free.get(&to.0).copied().unwrap_or(Time::ZERO);
        let arrives = reaches.max(free + duration(bytes, to.1.down));
        self.down_free.insert(to.0, arrives.max(free));
        let arrives = arrives.max(self.last.get(&(node, conn)).copied().unwrap_or(Time::ZERO));
        self.last.insert((node, conn), arrives);
        (left, arrives)
    }

    /// When something sent behind everything else arrives.
    pub(crate) fn after_last(&self, now: Time, node: NodeId, conn: ConnId, latency: Duration) -> Time {
        (now + latency).max(self.last.get(&(node, conn)).copied().unwrap_or(Time::ZERO))
    }
}

fn duration(bytes: usize, rate: u64) -> Duration {
    Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / rate.max(1))
}
