//! What plugins can want of a session beyond talking to a peer: commands, messages, choking, reading, timers.
//!
//! Plain data, carried out in order with every other [`crate::Action`]. Who asked is an opaque number to the session.

use crate::command::Command;
use crate::hooks::PeerRef;
use crate::ids::TorrentId;
use bytes::Bytes;
use reef_proto::message::{BlockRequest, Message};
use std::net::SocketAddr;
use std::time::Duration;

/// Whom to tell when something that takes time is done: opaque to the session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket {
    /// Who asked.
    pub owner: u64,
    /// Which of its questions it was.
    pub number: u64,
}

/// Whether a peer may download from us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choking {
    /// As the session's choke rounds decide.
    Usual,
    /// Not, whatever they decide.
    Choked,
    /// Yes, whatever they decide; it takes no slot.
    Unchoked,
}

/// Something that a plugin wants of the session.
#[derive(Clone, Debug)]
pub enum Control {
    /// Give a command. If it fails, an alert says so ([`crate::Alert::PluginActionFailed`]).
    Command {
        /// The plugin's name.
        plugin: String,
        /// The command; [`Command::Stop`] is none for plugins.
        command: Box<Command>,
    },
    /// Send a message. Where it says what the session keeps book of, the session's own state changes with it.
    Send {
        /// The peer.
        peer: PeerRef,
        /// The message.
        message: Message,
        /// Who asks.
        owner: u64,
    },
    /// Choke or unchoke a peer for as long as the plugin takes part.
    SetChoking {
        /// The peer.
        peer: PeerRef,
        /// How.
        choking: Choking,
        /// Who asks.
        owner: u64,
    },
    /// Make an address known and connect to it now, if the limits allow; otherwise when they do.
    Connect {
        /// The torrent.
        torrent: TorrentId,
        /// The address.
        address: SocketAddr,
    },
    /// Read verified bytes of a piece; answered once by [`crate::Hooks::read_done`].
    Read {
        /// The torrent.
        torrent: TorrentId,
        /// Which bytes; any range of one piece.
        request: BlockRequest,
        /// Whom to answer.
        ticket: Ticket,
    },
    /// Take a block as if a peer had sent it.
    GiveBlock {
        /// The torrent.
        torrent: TorrentId,
        /// The peer it is said to come from, which must belong to the torrent.
        from: Option<PeerRef>,
        /// Which block; a whole one.
        request: BlockRequest,
        /// Its bytes.
        data: Bytes,
    },
    /// Call [`crate::Hooks::timer`] after a time. One with the same ticket is replaced.
    SetTimer {
        /// Whom to call.
        ticket: Ticket,
        /// After how long; at least [`LEAST_DELAY`].
        after: Duration,
    },
    /// Forget a timer.
    CancelTimer(Ticket),
    /// Call [`crate::Hooks::consult`]: somebody waits for an answer.
    Consult,
    /// Whoever asked is gone: what was set up for it is undone.
    Leave(u64),
}

/// The shortest time of a timer: one that sets itself again must not hold the session.
pub const LEAST_DELAY: Duration = Duration::from_millis(1);

/// What came of a [`Control::Read`].
#[derive(Clone, Debug)]
pub struct ReadDone {
    /// Whom to answer.
    pub ticket: Ticket,
    /// What was asked for.
    pub request: BlockRequest,
    /// The bytes, or why there are none, in one line.
    pub result: Result<Bytes, String>,
}
