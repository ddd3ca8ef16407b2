//! One TCP connection: what it may read, what it has to send, and whether its socket is ready for either.

use super::buffer::{BufferPool, Read, ReadBuffer};
use super::close_cause;
use super::pipes::Pipes;
use super::send_queue::{Flushed, SendQueue};
use crate::rt::{Ready, TcpSocket};
use bytes::BytesMut;
use reef_engine::CloseCause;
use reef_engine::disk::{DiskError, DiskErrorKind};
use std::io;
use std::net::SocketAddr;

/// A connection to a peer.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: TcpSocket,
    pub(crate) buffer: ReadBuffer,
    pub(crate) queue: SendQueue,
    /// How many more bytes may be read; `None` for as many as come.
    pub(crate) allowance: Option<u64>,
    stage: Stage,
    /// The socket may have something to read.
    readable: bool,
    /// The socket may take something.
    writable: bool,
    /// The end of the stream lies behind what is still to be read.
    hangup: bool,
    /// A break of the connection was looked for since the last event.
    checked: bool,
    waits_for_turn: bool,
    waits_for_flush: bool,
    /// It is among those whose read buffers are swept.
    pub(crate) is_swept: bool,
}

/// What a connection's turn brought.
#[derive(Debug)]
pub(crate) enum Turn {
    /// The dial succeeded.
    Connected,
    /// Bytes arrived.
    Received(BytesMut),
    /// Nothing for the session.
    Nothing,
    /// The connection is gone.
    Lost(CloseCause),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Dialling,
    Open,
    /// The session closed it; what is queued still goes out and what arrives is dropped.
    Lingering,
    /// All of it went out; the peer's own end is waited for, so that no reset overtakes what was sent.
    Finished,
}

impl Connection {
    /// A connection that is being dialled.
    pub(crate) fn dial(to: SocketAddr, from: Option<SocketAddr>) -> io::Result<Self> {
        Ok(Self::new(TcpSocket::connect(to, from)?, Stage::Dialling))
    }

    /// A connection that a peer opened.
    pub(crate) fn accepted(socket: TcpSocket) -> Self {
        Self::new(socket, Stage::Open)
    }

    fn new(socket: TcpSocket, stage: Stage) -> Self {
        Self {
            socket,
            buffer: ReadBuffer::default(),
            queue: SendQueue::default(),
            allowance: None,
            stage,
            readable: false,
            writable: false,
            hangup: false,
            checked: false,
            is_swept: false,
            waits_for_turn: false,
            waits_for_flush: false,
        }
    }

    /// The session closed it: only what is queued counts. `false` if nothing is queued or it cannot be sent.
    pub(crate) fn linger(&mut self, pool: &mut BufferPool) -> bool {
        self.buffer.release(pool);
        let lingers = self.stage == Stage::Open && !self.queue.is_empty();
        self.stage = Stage::Lingering;
        self.allowance = None;
        lingers
    }

    /// Whether the session closed it.
    pub(crate) const fn is_lingering(&self) -> bool {
        matches!(self.stage, Stage::Lingering | Stage::Finished)
    }

    /// Takes an event of the socket.
    pub(crate) fn note(&mut self, event: Ready) {
        self.readable |= event.readable;
        self.writable |= event.writable;
        self.hangup |= event.hangup;
        self.checked &= !event.hangup;
    }

    /// Whether it has to be put into the queue of turns; from then on it is there.
    pub(crate) fn wants_turn(&mut self) -> bool {
        let something = match self.stage {
            Stage::Dialling => self.writable,
            _ => self.readable && (self.allowance != Some(0) || (self.hangup && !self.checked)),
        };
        something && !std::mem::replace(&mut self.waits_for_turn, true)
    }

    /// Whether it has to be put into the queue of those that send; from then on it is there.
    pub(crate) fn wants_flush(&mut self) -> bool {
        let can = self.writable && self.stage != Stage::Dialling && self.queue.can_send();
        can && !std::mem::replace(&mut self.waits_for_flush, true)
    }

    /// Does one thing: ends the dial, or reads once. `whole` is for [`ReadBuffer::read`].
    pub(crate) fn turn(&mut self, whole: impl FnOnce(usize) -> usize, pool: &mut BufferPool) -> Turn {
        self.waits_for_turn = false;
        if self.stage == Stage::Dialling {
            return match self.socket.take_error() {
                Ok(()) => {
                    self.stage = Stage::Open;
                    Turn::Connected
                }
                Err(e) => Turn::Lost(close_cause(&e)),
            };
        }
        let limit = self.allowance.unwrap_or(u64::MAX);
        if limit == 0 {
            return self.look_for_error();
        }
        match self.buffer.read(&self.socket, limit, whole, pool) {
            Ok(Read::Data { data, drained }) => {
                // Behind the last bytes lies the end, which has no event of its own any more.
                self.readable = !drained || self.hangup;
                self.allowance = self.allowance.map(|left| left.saturating_sub(data.len() as u64));
                if self.is_lingering() { Turn::Nothing } else { Turn::Received(data) }
            }
            Ok(Read::WouldBlock) => {
                self.readable = false;
                Turn::Nothing
            }
            Ok(Read::End) => Turn::Lost(CloseCause::Eof),
            Err(e) => Turn::Lost(close_cause(&e)),
        }
    }

    /// Sends what the socket takes. Returns how much went out, and why the connection is lost if it is.
    pub(crate) fn flush(&mut self, pipes: &mut Pipes) -> (u64, Result<(), CloseCause>) {
        self.waits_for_flush = false;
        let mut sent = 0;
        let outcome = match self.queue.flush(&self.socket, pipes, &mut sent) {
            Ok(Flushed::WouldBlock) => {
                self.writable = false;
                Ok(())
            }
            Ok(Flushed::Empty) => {
                if self.stage == Stage::Lingering {
                    self.stage = Stage::Finished;
                    self.socket.finish();
                }
                Ok(())
            }
            Ok(Flushed::Waiting | Flushed::Quota) => Ok(()),
            Ok(Flushed::FileEnded(path)) => Err(CloseCause::Storage(DiskError {
                kind: DiskErrorKind::Missing,
                path,
                message: "shorter than it was when its data was verified; run a recheck".to_owned(),
            })),
            Err(e) => Err(close_cause(&e)),
        };
        (sent, outcome)
    }

    /// A connection that may not read still ends when it breaks. Its orderly end lies behind bytes that wait.
    fn look_for_error(&mut self) -> Turn {
        self.checked = true;
        match self.socket.take_error() {
            Ok(()) => Turn::Nothing,
            Err(e) => Turn::Lost(close_cause(&e)),
        }
    }
}
