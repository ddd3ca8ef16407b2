//! One computer of a world: a session, its hooks, its disk and its line.

use crate::disk::Disk;
use crate::faults::Faults;
use crate::network::Line;
use reef_engine::{Alert, ConnId, Hooks, Reply, ReplyToken, Session, Time};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

/// A node of a world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u32);

impl NodeId {
    /// Where the node listens: an address of its own for each.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        let [_, a, b, c] = self.0.to_be_bytes();
        SocketAddr::from((Ipv4Addr::new(20, a, b, c), 6881))
    }

    /// The node that listens at an address.
    pub(crate) fn at(address: SocketAddr) -> Option<Self> {
        match address {
            SocketAddr::V4(v4) if v4.port() == 6881 && v4.ip().octets()[0] == 20 => {
                let [_, a, b, c] = v4.ip().octets();
                Some(Self(u32::from_be_bytes([0, a, b, c])))
            }
            _ => None,
        }
    }
}

/// Makes the hooks of a session when a node starts.
pub(crate) type MakeHooks = Box<dyn FnMut() -> Box<dyn Hooks>>;

pub(crate) struct Node {
    /// `None` while the node is down.
    pub(crate) session: Option<Session>,
    pub(crate) hooks: Box<dyn Hooks>,
    pub(crate) make_hooks: Option<MakeHooks>,
    pub(crate) disk: Disk,
    pub(crate) line: Line,
    pub(crate) faults: Faults,
    /// The session's start, in the world's time: its own clock begins at zero.
    pub(crate) started: Time,
    pub(crate) starts: u32,
    /// Bytes that may still be read from a connection, where that is limited, and what waits for it.
    pub(crate) allowance: BTreeMap<ConnId, u64>,
    pub(crate) unread: BTreeMap<ConnId, Vec<bytes::Bytes>>,
    pub(crate) replies: BTreeMap<ReplyToken, Reply>,
    pub(crate) alerts: Vec<Alert>,
    pub(crate) next_commit: Time,
    pub(crate) wake: Option<Time>,
    pub(crate) stopped: bool,
}
