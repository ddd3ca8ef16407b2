//! Every socket of a session: connections, listeners and UDP, on the session's one thread.
//!
//! It moves bytes between sockets and the session's inputs and outputs and understands none of them. Sockets with
//! something to do stand in one queue and have their turn in order, one read each, so that no peer starves another and
//! the cost of a turn does not grow with the peers that are idle. What the session sends is queued and leaves at the
//! end of a turn. Nothing here waits, for a peer or for a disk.

mod buffer;
mod connection;
mod endpoint;
mod pipes;
mod send_queue;

use crate::disk::FileRange;
use crate::rt::{Notifier, Readiness, Ready, TcpSocket, is_out_of_files};
use buffer::BufferPool;
use bytes::Bytes;
use connection::{Connection, Turn};
use endpoint::{Endpoints, Knock};
use pipes::Pipes;
use reef_engine::disk::DiskError;
use reef_engine::{CloseCause, ConnId, Input, ListenerId, TorrentId};
use reef_proto::message::{BlockRequest, piece_header};
use send_queue::ReadTag;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use endpoint::ListenError;

/// Why a session has no sockets.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// An address could not be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The operating system gave no means to wait for sockets.
    #[error("no way to wait for sockets: {0}")]
    System(#[from] io::Error),
}

impl OpenError {
    /// Whether somebody else has an address that was to be listened on.
    pub(crate) fn is_in_use(&self) -> bool {
        matches!(self, Self::Listen(error) if error.source.kind() == io::ErrorKind::AddrInUse)
    }
}

/// Where blocks to be sent come from.
pub(crate) trait BlockSource {
    /// The file ranges that a block lies in, in order, if all of it is in open files and in the page cache; otherwise
    /// it has to be read.
    fn ranges(&mut self, torrent: TorrentId, block: BlockRequest) -> Option<Vec<FileRange>>;
    /// Reads a block on another thread, which answers with [`Net::block_read`].
    fn read(&mut self, torrent: TorrentId, block: BlockRequest, tag: u64);
}

/// Whoever the connections are for.
pub(crate) trait Owner {
    /// A fresh key for a connection that was accepted.
    fn new_conn(&mut self) -> ConnId;
    /// How many bytes, at most `most`, to read so that what a peer sends is not cut.
    fn next_read(&self, conn: ConnId, most: usize) -> usize;
}

/// The sockets of a session.
pub(crate) struct Net {
    readiness: Readiness,
    connections: HashMap<ConnId, Connection>,
    endpoints: Endpoints,
    /// Sockets that may have something to give, each once.
    ready: VecDeque<Key>,
    /// Connections with something to send that their sockets may take, each once.
    unsent: VecDeque<ConnId>,
    /// Inputs that are there already.
    inputs: VecDeque<Input>,
    /// Connections that the session closed and that still send, by the moment they end.
    lingering: VecDeque<(Instant, ConnId)>,
    /// Connections that hold a read buffer.
    holders: Vec<ConnId>,
    pool: BufferPool,
    pipes: Pipes,
    next_sweep: Option<Instant>,
    /// Blocks that a disk thread reads, and for whom.
    reading: HashMap<ReadTag, ConnId>,
    next_tag: u64,
    happened: Vec<Ready>,
}

#[derive(Clone, Copy, Debug)]
enum Key {
    Connection(ConnId),
    Listener(usize),
    Udp(usize),
}

impl Net {
    /// Listens on each address, over TCP and UDP on the same port. The notifier ends [`Self::wait`] from other threads.
    pub(crate) fn open(addresses: &[SocketAddr], notifier: Notifier) -> Result<Self, OpenError> {
        let readiness = Readiness::new(notifier)?;
        let endpoints = Endpoints::open(addresses)?;
        for (index, (tcp, udp)) in endpoints.sockets().enumerate() {
            readiness.add(tcp, Key::Listener(index).pack())?;
            readiness.add(udp, Key::Udp(index).pack())?;
        }
        let listening = |(index, local)| Input::Listening { listener: listener_id(index), local };
        let inputs = endpoints.addresses().enumerate().map(listening).collect();
        Ok(Self {
            readiness,
            connections: HashMap::new(),
            endpoints,
            ready: VecDeque::new(),
            unsent: VecDeque::new(),
            inputs,
            lingering: VecDeque::new(),
            holders: Vec::new(),
            pool: BufferPool::default(),
            pipes: Pipes::default(),
            next_sweep: None,
            reading: HashMap::new(),
            next_tag: 0,
            happened: Vec::new(),
        })
    }

    /// Where it listens, in the order given; a port 0 became a real one.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.endpoints.addresses().collect()
    }

    /// Begins to connect to a peer.
    pub(crate) fn dial(&mut self, conn: ConnId, to: SocketAddr) {
        let dialled = Connection::dial(to, self.endpoints.source_for(to)).and_then(|connection| {
            self.readiness.add(&connection.socket, Key::Connection(conn).pack())?;
            Ok(connection)
        });
        match dialled {
            Ok(connection) => {
                self.connections.insert(conn, connection);
            }
            Err(e) => self.inputs.push_back(Input::Closed { conn, cause: close_cause(&e) }),
        }
    }

    /// Queues bytes for a connection.
    pub(crate) fn send(&mut self, conn: ConnId, data: Bytes) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.queue.push_bytes(data);
            note_unsent(&mut self.unsent, conn, connection);
        }
    }

    /// Queues a block for a connection, as a `piece` message under the number that the connection has for it.
    pub(crate) fn send_block(
        &mut self,
        conn: ConnId,
        torrent: TorrentId,
        (block, message_id): (BlockRequest, u8),
        source: &mut dyn BlockSource,
    ) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let mut header = piece_header(block.piece, block.begin, block.length);
        header[4] = message_id;
        connection.queue.push_header(header);
        if let Some(ranges) = source.ranges(torrent, block) {
            ranges.into_iter().for_each(|range| connection.queue.push_file(range));
        } else {
            let tag = ReadTag(self.next_tag);
            self.next_tag += 1;
            connection.queue.push_waiting(tag);
            self.reading.insert(tag, conn);
            source.read(torrent, block, tag.0);
        }
        note_unsent(&mut self.unsent, conn, connection);
    }

    /// A block that [`BlockSource::read`] was asked for.
    pub(crate) fn block_read(&mut self, tag: u64, outcome: Result<Bytes, DiskError>) {
        let tag = ReadTag(tag);
        let Some(conn) = self.reading.remove(&tag) else { return };
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        match outcome {
            Ok(data) => {
                connection.queue.fill(tag, data);
                note_unsent(&mut self.unsent, conn, connection);
            }
            Err(e) => self.lose(conn, CloseCause::Storage(e)),
        }
    }

    /// How many more bytes may be read from a connection.
    pub(crate) fn allow(&mut self, conn: ConnId, bytes: Option<u64>) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.allowance = bytes;
            note_ready(&mut self.ready, conn, connection);
        }
    }

    /// Closes a connection; with `flush` after what is queued went out, for a short while.
    pub(crate) fn close(&mut self, conn: ConnId, flush: bool) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        if flush && connection.linger(&mut self.pool) {
            self.lingering.push_back((Instant::now() + LINGER, conn));
            note_ready(&mut self.ready, conn, connection);
        } else {
            self.forget(conn);
        }
    }

    /// Sends a UDP packet.
    pub(crate) fn datagram(&mut self, to: SocketAddr, data: &[u8]) {
        match self.endpoints.send(to, data) {
            Ok(None) => {}
            Ok(Some((index, socket))) => {
                if let Err(e) = self.readiness.add(socket, Key::Udp(index).pack()) {
                    log::warn!("cannot wait for UDP packets: {e}");
                }
            }
            Err(e) => log::debug!("UDP packet to {to} not sent: {e}"),
        }
    }

    /// Whether there is something to do before the next wait.
    pub(crate) fn has_work(&self) -> bool {
        !(self.inputs.is_empty() && self.ready.is_empty() && self.unsent.is_empty())
    }

    /// Asks which sockets are ready, and does what is due. Returns how many calls of [`Self::next_input`] make a turn.
    pub(crate) fn begin_turn(&mut self, now: Instant) -> usize {
        self.readiness.collect(&mut self.happened);
        let mut happened = std::mem::take(&mut self.happened);
        happened.drain(..).for_each(|event| self.note(event));
        self.happened = happened;
        for index in self.endpoints.resume(now) {
            self.note_endpoint(Key::Listener(index));
        }
        while let Some((_, conn)) = self.lingering.front().copied().filter(|(end, _)| *end <= now) {
            self.lingering.pop_front();
            self.forget(conn);
        }
        if self.next_sweep.is_some_and(|at| at <= now) {
            self.sweep(now);
        }
        self.inputs.len() + self.ready.len()
    }

    /// One step: the next thing that happened, or `None` if the step brought nothing for the session.
    pub(crate) fn next_input(&mut self, now: Instant, owner: &mut impl Owner) -> Option<Input> {
        if let Some(input) = self.inputs.pop_front() {
            return Some(input);
        }
        match self.ready.pop_front()? {
            Key::Connection(conn) => self.turn(conn, now, owner),
            Key::Listener(index) => {
                self.accept_some(index, now, || owner.new_conn());
                self.inputs.pop_front()
            }
            Key::Udp(index) => {
                let (from, data) = self.endpoints.receive(index)?;
                self.note_endpoint(Key::Udp(index));
                Some(Input::Datagram { from, data })
            }
        }
    }

    /// Sends what is queued, as far as the sockets take it; what went out is told by the next inputs.
    pub(crate) fn flush(&mut self) {
        for _ in 0..self.unsent.len() {
            let Some(conn) = self.unsent.pop_front() else { return };
            let Some(connection) = self.connections.get_mut(&conn) else { continue };
            let (sent, outcome) = connection.flush(&mut self.pipes);
            if sent > 0 && !connection.is_lingering() {
                self.inputs.push_back(Input::Sent { conn, bytes: sent });
            }
            match outcome {
                Ok(()) => note_unsent(&mut self.unsent, conn, connection),
                Err(cause) => self.lose(conn, cause),
            }
        }
    }

    /// Waits until there is something to do, `until` has come, or the notifier was used.
    pub(crate) async fn wait(&mut self, until: Option<Instant>) {
        let own = [self.next_sweep, self.endpoints.resumes_at(), self.lingering.front().map(|(at, _)| *at)];
        let until = own.into_iter().chain([until]).flatten().min();
        self.readiness.wait(until).await;
    }

    fn note(&mut self, event: Ready) {
        match Key::unpack(event.key) {
            Key::Connection(conn) => {
                let Some(connection) = self.connections.get_mut(&conn) else { return };
                connection.note(event);
                note_ready(&mut self.ready, conn, connection);
                note_unsent(&mut self.unsent, conn, connection);
            }
            key if event.readable => self.note_endpoint(key),
            Key::Listener(_) | Key::Udp(_) => {}
        }
    }

    fn note_endpoint(&mut self, key: Key) {
        let wants_turn = match key {
            Key::Listener(index) => self.endpoints.listener_wants_turn(index),
            Key::Udp(index) => self.endpoints.udp_wants_turn(index),
            Key::Connection(_) => false,
        };
        if wants_turn {
            self.ready.push_back(key);
        }
    }

    fn turn(&mut self, conn: ConnId, now: Instant, owner: &impl Owner) -> Option<Input> {
        let connection = self.connections.get_mut(&conn)?;
        let input = match connection.turn(|most| owner.next_read(conn, most), &mut self.pool) {
            Turn::Connected => {
                note_unsent(&mut self.unsent, conn, connection);
                Some(Input::Connected { conn })
            }
            Turn::Received(data) => Some(Input::Received { conn, data }),
            Turn::Nothing => None,
            Turn::Lost(cause) => {
                let told = !connection.is_lingering();
                self.forget(conn);
                return told.then_some(Input::Closed { conn, cause });
            }
        };
        if connection.buffer.is_held() && !std::mem::replace(&mut connection.is_swept, true) {
            self.holders.push(conn);
            self.next_sweep.get_or_insert(now + SWEEP_INTERVAL);
        }
        note_ready(&mut self.ready, conn, connection);
        input
    }

    /// Lets several peers in, so that one who comes while others transfer waits no longer than they.
    fn accept_some(&mut self, index: usize, now: Instant, mut new_conn: impl FnMut() -> ConnId) {
        for _ in 0..ACCEPTED_A_TURN {
            match self.endpoints.accept(index, now) {
                Knock::Nobody => return,
                Knock::Failed => {}
                Knock::Peer(socket, remote) => self.accept(socket, (index, remote), new_conn()),
            }
        }
        self.note_endpoint(Key::Listener(index));
    }

    fn accept(&mut self, socket: TcpSocket, (index, remote): (usize, SocketAddr), conn: ConnId) {
        if let Err(e) = self.readiness.add(&socket, Key::Connection(conn).pack()) {
            log::warn!("{remote}: connection dropped: {e}");
            return;
        }
        self.connections.insert(conn, Connection::accepted(socket));
        self.inputs.push_back(Input::Accepted { conn, listener: listener_id(index), remote });
    }

    /// A connection is gone; the session is told, unless it closed it itself.
    fn lose(&mut self, conn: ConnId, cause: CloseCause) {
        let told = self.connections.get(&conn).is_some_and(|connection| !connection.is_lingering());
        self.forget(conn);
        if told {
            self.inputs.push_back(Input::Closed { conn, cause });
        }
    }

    fn forget(&mut self, conn: ConnId) {
        if let Some(mut connection) = self.connections.remove(&conn) {
            connection.buffer.release(&mut self.pool);
        }
    }

    fn sweep(&mut self, now: Instant) {
        let Self { holders, connections, pool, .. } = self;
        holders.retain(|conn| {
            connections.get_mut(conn).is_some_and(|c| {
                c.is_swept = c.buffer.sweep(pool);
                c.is_swept
            })
        });
        pool.sweep();
        let more = !(holders.is_empty() && pool.is_empty());
        self.next_sweep = more.then_some(now + SWEEP_INTERVAL);
    }
}

impl Key {
    const fn pack(self) -> u64 {
        match self {
            Self::Connection(conn) => conn.0,
            Self::Listener(index) => LISTENER | index as u64,
            Self::Udp(index) => UDP | index as u64,
        }
    }

    const fn unpack(key: u64) -> Self {
        // An index was packed from a usize.
        let index = (key & !(LISTENER | UDP)) as usize;
        match key & (LISTENER | UDP) {
            LISTENER => Self::Listener(index),
            UDP => Self::Udp(index),
            _ => Self::Connection(ConnId(key)),
        }
    }
}

fn note_ready(ready: &mut VecDeque<Key>, conn: ConnId, connection: &mut Connection) {
    if connection.wants_turn() {
        ready.push_back(Key::Connection(conn));
    }
}

fn note_unsent(unsent: &mut VecDeque<ConnId>, conn: ConnId, connection: &mut Connection) {
    if connection.wants_flush() {
        unsent.push_back(conn);
    }
}

fn listener_id(index: usize) -> ListenerId {
    ListenerId(u32::try_from(index).unwrap_or(u32::MAX))
}

/// What an error of a socket means to the session.
fn close_cause(e: &io::Error) -> CloseCause {
    match e.kind() {
        io::ErrorKind::ConnectionRefused => CloseCause::Refused,
        io::ErrorKind::TimedOut => CloseCause::TimedOut,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            CloseCause::Reset
        }
        _ if is_out_of_files(e) => CloseCause::TooManyFiles,
        _ => CloseCause::Other(e.to_string()),
    }
}

const LISTENER: u64 = 1 << 63;
const UDP: u64 = 1 << 62;
/// How long a closed connection may take to send what was queued.
const LINGER: Duration = Duration::from_secs(1);
const ACCEPTED_A_TURN: usize = 32;
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
