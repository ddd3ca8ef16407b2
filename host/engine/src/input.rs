//! Everything that can happen to a session, as one closed list.

use crate::command::Command;
use crate::disk::{DiskDone, DiskError};
use crate::hooks::Action;
use crate::ids::{ConnId, ListenerId, ReplyToken, RequestId, TorrentId};
use bytes::{Bytes, BytesMut};
use std::net::{IpAddr, SocketAddr};

/// One thing that happened. Give it to [`crate::Session::handle`], then drain [`crate::Session::poll`].
#[derive(Debug)]
pub enum Input {
    /// The time of day, in seconds since 1970. Given at the start and when it may have jumped.
    WallClock(u64),
    /// A socket listens for peers (TCP) on this address.
    Listening {
        /// The socket.
        listener: ListenerId,
        /// Where it listens.
        local: SocketAddr,
    },
    /// A listening socket could not be opened.
    ListenFailed {
        /// Where it should have listened.
        address: SocketAddr,
        /// The operating system's text.
        message: String,
    },
    /// A peer connected to us. `conn` comes from [`crate::Session::next_conn_id`].
    Accepted {
        /// The new connection.
        conn: ConnId,
        /// The socket it came in by.
        listener: ListenerId,
        /// The peer's address.
        remote: SocketAddr,
    },
    /// A dial succeeded.
    Connected {
        /// The connection of [`crate::Output::Dial`].
        conn: ConnId,
    },
    /// Bytes arrived. The buffer may be as large as the shell likes; blocks in it are not copied again, nor those that go on in
    /// the next one, if that lies behind it in memory.
    Received {
        /// The connection.
        conn: ConnId,
        /// The bytes.
        data: BytesMut,
    },
    /// Bytes that were queued for a connection are now in the kernel's hands.
    Sent {
        /// The connection.
        conn: ConnId,
        /// How many since the last such input.
        bytes: u64,
    },
    /// A connection is gone (also answers a failed dial). Not given for one that the session closed itself.
    Closed {
        /// The connection.
        conn: ConnId,
        /// Why.
        cause: CloseCause,
    },
    /// A UDP packet arrived.
    Datagram {
        /// Its sender.
        from: SocketAddr,
        /// Its bytes.
        data: Bytes,
    },
    /// A storage answers a job.
    Disk(DiskDone),
    /// An HTTP request ended.
    Http {
        /// The request.
        id: RequestId,
        /// What came of it: any status with its body (bounded), or why there is none.
        result: Result<HttpReply, String>,
    },
    /// What the store has of a torrent ([`crate::Output::Load`]).
    Loaded {
        /// The torrent.
        torrent: TorrentId,
        /// Its .torrent file.
        metainfo: Option<Bytes>,
        /// The record of its pieces ([`crate::resume::Have::encode`]).
        have: Option<Bytes>,
    },
    /// A name was resolved.
    Resolved {
        /// The request.
        id: RequestId,
        /// The addresses, or why there are none.
        result: Result<Vec<IpAddr>, String>,
    },
    /// A command of the program that embeds the session.
    Command {
        /// Whom to reply to.
        token: ReplyToken,
        /// The command.
        command: Command,
    },
    /// Actions that plugins queued from threads of their own.
    Actions(Vec<Action>),
    /// Nothing happened, but [`crate::Session::next_timeout`] has come.
    Timeout,
}

/// Why a connection ended, as far as the shell can tell.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CloseCause {
    /// The peer closed it in order.
    Eof,
    /// Nobody listens there.
    Refused,
    /// The network gave up.
    TimedOut,
    /// The peer reset it.
    Reset,
    /// This process has too many files open.
    TooManyFiles,
    /// A block to be sent could not be read.
    Storage(DiskError),
    /// Anything else, in the operating system's words.
    Other(String),
}

/// The answer to an HTTP request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpReply {
    /// Status code.
    pub status: u16,
    /// Body, decompressed, at most as long as the request allowed.
    pub body: Bytes,
}
