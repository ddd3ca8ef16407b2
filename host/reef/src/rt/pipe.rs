//! A pipe in which the heads of messages and ranges of files are put behind one another, to leave for a socket together.
//!
//! The bytes of a file are not copied: the pipe holds references to the pages of the page cache, and so does the socket.
//! A header and a range that go to the socket by themselves cost two calls into TCP for each block, whereas a pipe hands it
//! the pages of several blocks at once.

use super::{More, TcpSocket};
use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

/// A pipe with both ends in this process.
#[derive(Debug)]
pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    held: usize,
}

/// What became of bytes that were to go into a pipe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Put {
    /// This many are in it, at least one.
    Bytes(usize),
    /// None: the pipe is full.
    Full,
    /// None: the file ends before the range begins.
    FileEnded,
}

impl Pipe {
    /// Bytes at most that [`Self::put_bytes`] takes: so many go in as a whole or not at all.
    pub(crate) const MOST_BYTES: usize = PAGE;

    /// An empty pipe.
    pub(crate) fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A user who has many pipes gets small ones; they will do.
        let size = fcntl_setpipe_size(&write, SIZE).or_else(|_| fcntl_getpipe_size(&write))?;
        if size < Self::MOST_BYTES * 2 {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self { read, write, held: 0 })
    }

    /// How many bytes are in it.
    pub(crate) const fn len(&self) -> usize {
        self.held
    }

    /// Puts all of a few bytes in; `false` if there is no room.
    pub(crate) fn put_bytes(&mut self, data: &[u8]) -> io::Result<bool> {
        debug_assert!(data.len() <= Self::MOST_BYTES, "a longer write may be cut");
        match retry_on_intr(|| rustix::io::write(&self.write, data)) {
            Ok(n) => {
                self.held += n;
                Ok(true)
            }
            Err(Errno::AGAIN) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Puts the first bytes of a file's range in.
    pub(crate) fn put_file(&mut self, file: &File, mut offset: u64, length: u64) -> io::Result<Put> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let flags = SpliceFlags::NONBLOCK;
        match retry_on_intr(|| splice(file, Some(&mut offset), &self.write, None, length, flags)) {
            Ok(0) => Ok(Put::FileEnded),
            Ok(n) => {
                self.held += n;
                Ok(Put::Bytes(n))
            }
            Err(Errno::AGAIN) => Ok(Put::Full),
            Err(e) => Err(e.into()),
        }
    }

    /// How many ranges of `length` bytes that begin with a page, each with a head before it, have room in it.
    pub(crate) const fn room_for(&self, length: usize) -> usize {
        let pages = length.div_ceil(PAGE) + 1;
        SIZE.saturating_sub(self.held) / (pages * PAGE)
    }

    /// Sends what is in it; `None` if the socket takes nothing for now.
    pub(crate) fn send(&mut self, socket: &TcpSocket, more: More) -> io::Result<Option<usize>> {
        let flags = match more {
            More::Follows => SpliceFlags::NONBLOCK | SpliceFlags::MORE,
            More::Nothing => SpliceFlags::NONBLOCK,
        };
        match retry_on_intr(|| splice(&self.read, None, socket, None, self.held, flags)) {
            Ok(n) => {
                self.held = self.held.saturating_sub(n);
                Ok(Some(n))
            }
            Err(Errno::AGAIN) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

/// Heads of messages that share a page. To write a head into a pipe takes a page for a few bytes; to move it there from
/// here takes a reference to this one.
#[derive(Debug)]
pub(crate) struct Heads {
    pipe: Pipe,
    /// How long each is, in bytes.
    length: usize,
}

impl Heads {
    /// An empty page for heads of this length.
    pub(crate) fn new(length: usize) -> io::Result<Self> {
        Ok(Self { pipe: Pipe::new()?, length })
    }

    /// Takes these heads in; there must be none in it.
    pub(crate) fn put(&mut self, heads: &[u8]) -> io::Result<()> {
        debug_assert!(self.pipe.held == 0 && heads.len() <= PAGE, "they would lie on two pages");
        if heads.is_empty() { Ok(()) } else { self.pipe.put_bytes(heads).map(drop) }
    }

    /// How many heads are in it.
    pub(crate) const fn len(&self) -> usize {
        self.pipe.held / self.length
    }

    /// Moves the first into a pipe; `false` if there is no room.
    pub(crate) fn move_to(&mut self, pipe: &mut Pipe) -> io::Result<bool> {
        let flags = SpliceFlags::NONBLOCK;
        match retry_on_intr(|| splice(&self.pipe.read, None, &pipe.write, None, self.length, flags)) {
            Ok(n) => {
                self.pipe.held = self.pipe.held.saturating_sub(n);
                pipe.held += n;
                if n == self.length { Ok(true) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
            }
            Err(Errno::AGAIN) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Forgets what is in it.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        let mut scratch = [0; PAGE];
        while self.pipe.held > 0 {
            let n = retry_on_intr(|| rustix::io::read(&self.pipe.read, &mut scratch[..]))?;
            self.pipe.held = self.pipe.held.saturating_sub(n);
        }
        Ok(())
    }
}

/// Bytes of a page. Where pages are larger, fewer of them hold as much.
const PAGE: usize = 4096;
/// Room for the pages of a dozen blocks with their headers. Larger ones are no faster, and count against what a user's
/// pipes may hold in all.
const SIZE: usize = 256 << 10;
