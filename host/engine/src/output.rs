//! Everything that a session can want done, as one closed list.

use crate::alert::Alert;
use crate::command::Reply;
use crate::disk::DiskJob;
use crate::ids::{ConnId, ReplyToken, RequestId, TorrentId};
use bytes::Bytes;
use reef_proto::hash::InfoHashes;
use reef_proto::message::BlockRequest;
use std::net::SocketAddr;

/// One thing for the shell to do, in order.
#[derive(Debug)]
pub enum Output {
    /// Connect to a peer over TCP; answered by `Connected` or `Closed`.
    Dial {
        /// The new connection.
        conn: ConnId,
        /// Where to.
        address: SocketAddr,
    },
    /// Queue bytes for a connection.
    Send {
        /// The connection.
        conn: ConnId,
        /// The bytes.
        data: Bytes,
    },
    /// Queue a block as a `piece` message: the 13 bytes of header and the block from the torrent's storage.
    SendBlock {
        /// The connection.
        conn: ConnId,
        /// The torrent.
        torrent: TorrentId,
        /// The block.
        request: BlockRequest,
        /// The number of the `piece` message on this connection.
        message_id: u8,
    },
    /// How many more bytes may be read from a connection: `None` for as many as come. It starts at `None`, a new
    /// value replaces the old, and at zero the shell stops reading.
    ReadAllowance {
        /// The connection.
        conn: ConnId,
        /// Bytes.
        bytes: Option<u64>,
    },
    /// Close a connection. What is queued is still sent if `flush`, for a short while.
    Close {
        /// The connection.
        conn: ConnId,
        /// Whether queued bytes still go out.
        flush: bool,
    },
    /// Send a UDP packet from the listening socket of the address's family.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// The packet.
        data: Bytes,
    },
    /// Do a job on a torrent's storage.
    Disk(DiskJob),
    /// Make an HTTP GET request; answered by [`crate::Input::Http`].
    Http(HttpRequest),
    /// Give up an HTTP request; it is not answered any more.
    CancelHttp(RequestId),
    /// Resolve a host name; answered by [`crate::Input::Resolved`].
    Resolve {
        /// Names the answer.
        id: RequestId,
        /// The host.
        host: String,
    },
    /// Reply to a command. Each is replied to once.
    Reply {
        /// Who waits.
        token: ReplyToken,
        /// The answer.
        reply: Reply,
    },
    /// Something that subscribers may want to know.
    Alert(Alert),
    /// Keep something in the session's store. Commits are grouped.
    Store(StoreOp),
    /// Read what the store has of a torrent, committed or not; answered by [`crate::Input::Loaded`].
    Load(TorrentId),
    /// The last output after [`crate::Command::Stop`].
    Stopped,
}

/// An HTTP GET request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpRequest {
    /// Names the answer.
    pub id: RequestId,
    /// `http:` or `https:`.
    pub url: String,
    /// `User-Agent`.
    pub user_agent: String,
    /// Whole seconds until it counts as failed.
    pub timeout_secs: u64,
    /// The largest body to accept, in bytes.
    pub max_body: usize,
}

/// A change of the session's store.
#[derive(Clone, Debug)]
pub enum StoreOp {
    /// A torrent's hashes and, once known, its metainfo file.
    PutTorrent {
        /// Its key.
        torrent: TorrentId,
        /// Its info-hashes, by which it is found again.
        hashes: InfoHashes,
        /// The .torrent file; `None` while a magnet's metadata is missing.
        metainfo: Option<Bytes>,
    },
    /// A torrent's resume data without its piece bits: a bencoded dictionary of a few hundred bytes.
    PutResume {
        /// Its key.
        torrent: TorrentId,
        /// The dictionary ([`crate::resume::Resume::encode`]).
        resume: Bytes,
    },
    /// A torrent's verified pieces and unfinished blocks.
    PutHave {
        /// Its key.
        torrent: TorrentId,
        /// The record ([`crate::resume::Have::encode`]).
        have: Bytes,
    },
    /// Forget a torrent.
    Remove(TorrentId),
    /// Session or plugin state under a name; empty to forget it.
    PutState {
        /// The name, such as `plugin/ut_pex`.
        key: String,
        /// The bytes.
        value: Bytes,
    },
}
