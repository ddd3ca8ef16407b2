//! One computer of a world: a session, its hooks, its disk and its line; or a scripted peer.

use crate::disk::Disk;
use crate::faults::Faults;
use crate::network::Line;
use crate::script::Script;
use reef_engine::{Alert, ConnId, Hooks, NoHooks, Reply, ReplyToken, Session, Settings, Time, TorrentId};
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};

/// A node of a world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u32);

impl NodeId {
    /// Where the node listens: an address of its own for each, in a network of its own, since BEP 6 offers the same
    /// pieces to all peers of one network.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        let [_, _, a, b] = self.0.to_be_bytes();
        SocketAddr::from((Ipv4Addr::new(20, a, b, 1), 6881))
    }

    /// The node that listens at an address.
    pub(crate) fn at(address: SocketAddr) -> Option<Self> {
        match address {
            SocketAddr::V4(v4) if v4.port() == 6881 => match v4.ip().octets() {
                [20, a, b, 1] => Some(Self(u32::from_be_bytes([0, 0, a, b]))),
                _ => None,
            },
            _ => None,
        }
    }
}

/// What a node's session did since the node was made, over all its starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Pieces of files that it found and hashed.
    pub checks: u64,
    /// Payload of blocks that were sent to it.
    pub received: u64,
    /// Bytes that it read from its connections.
    pub read: u64,
    /// Payload of blocks that it sent.
    pub sent: u64,
    /// Times that its clock rang with nothing else to do.
    pub timeouts: u64,
}

/// Makes the hooks of a session when a node starts.
pub(crate) type MakeHooks = Box<dyn FnMut() -> Box<dyn Hooks>>;

pub(crate) struct Node {
    /// `None` while the node is down.
    pub(crate) session: Option<Session>,
    /// A peer that is no session.
    pub(crate) script: Option<Script>,
    pub(crate) settings: Settings,
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
    pub(crate) unread: BTreeMap<ConnId, VecDeque<bytes::Bytes>>,
    /// When the storage will be done with what was asked of it.
    pub(crate) busy: Busy,
    pub(crate) replies: BTreeMap<ReplyToken, Reply>,
    pub(crate) alerts: Vec<Alert>,
    pub(crate) tally: Tally,
    pub(crate) next_commit: Time,
    pub(crate) wake: Option<Time>,
    pub(crate) stopped: bool,
}

/// When each torrent's storage, and each piece of it, will be idle.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    pub(crate) pieces: BTreeMap<(TorrentId, u32), Time>,
    pub(crate) torrents: BTreeMap<TorrentId, Time>,
    /// When the last job that all others wait for will be done.
    pub(crate) barriers: BTreeMap<TorrentId, Time>,
}

impl Node {
    pub(crate) fn new(settings: Settings, make_hooks: Option<MakeHooks>, script: Option<Script>) -> Self {
        Self {
            session: None,
            script,
            settings,
            hooks: Box::new(NoHooks),
            make_hooks,
            disk: Disk::default(),
            line: Line::default(),
            faults: Faults::default(),
            started: Time::ZERO,
            starts: 0,
            allowance: BTreeMap::new(),
            unread: BTreeMap::new(),
            busy: Busy::default(),
            replies: BTreeMap::new(),
            alerts: Vec::new(),
            tally: Tally::default(),
            next_commit: Time::ZERO,
            wake: None,
            stopped: false,
        }
    }

    /// What is left of it when its session is gone.
    pub(crate) fn forget_session(&mut self) {
        self.session = None;
        self.hooks = Box::new(NoHooks);
        self.allowance.clear();
        self.unread.clear();
        self.busy = Busy::default();
        self.wake = None;
    }
}
