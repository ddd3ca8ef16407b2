//! The memory that sockets are read into, and how much of it a peer deserves.
//!
//! A buffer is filled by several reads. The fresh part of each goes to the session as a slice of the buffer, so a
//! buffer's memory returns when the last slice is dropped. Large buffers are then used again; small ones are the
//! allocator's business. An idle peer holds none. Of a large buffer only as much is filled as ends with a message, as far as
//! that can be told before: a message that lies in two buffers has to be copied.

use crate::rt::TcpSocket;
use bytes::{Buf, BytesMut};
use std::collections::VecDeque;
use std::io;

/// What a read found.
#[derive(Debug)]
pub(crate) enum Read {
    /// Bytes. `drained` says that there are no more for now.
    Data {
        /// The bytes.
        data: BytesMut,
        /// Whether the socket is empty.
        drained: bool,
    },
    /// Nothing for now.
    WouldBlock,
    /// The peer sends nothing more.
    End,
}

/// A connection's share of read memory: the buffer it fills, if any, and the size of its next one.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    current: Option<Buffer>,
    next_size: usize,
    since_sweep: usize,
}

/// A buffer that is being filled: always empty, its room is what is left to be filled.
#[derive(Debug)]
struct Buffer {
    room: BytesMut,
    size: usize,
    /// How much of the room is still to be filled.
    left: usize,
}

impl Default for ReadBuffer {
    fn default() -> Self {
        Self { current: None, next_size: SMALLEST, since_sweep: 0 }
    }
}

impl ReadBuffer {
    /// One read of at most `limit` bytes. `whole` says how many bytes, at most so many, end with a message.
    pub(crate) fn read(
        &mut self,
        socket: &TcpSocket,
        limit: u64,
        whole: impl FnOnce(usize) -> usize,
        pool: &mut BufferPool,
    ) -> io::Result<Read> {
        let mut buffer = self.current.take().unwrap_or_else(|| pool.take(self.next_size, whole));
        let spare = buffer.room.spare_capacity_mut();
        let all = spare.len().min(buffer.left);
        let room = all.min(usize::try_from(limit).unwrap_or(usize::MAX));
        let outcome = match socket.receive(&mut spare[..room]) {
            Ok(Some(0)) => Ok(Read::End),
            Ok(None) => Ok(Read::WouldBlock),
            Err(e) => Err(e),
            Ok(Some(got)) => {
                // SAFETY: the room was empty and the system call initialised the first `got` bytes of it.
                unsafe { buffer.room.set_len(got) };
                buffer.left -= got;
                self.since_sweep += got;
                if got == all {
                    self.next_size = (self.next_size * GROWTH).min(LARGE);
                }
                Ok(Read::Data { data: buffer.room.split_to(got), drained: got < room })
            }
        };
        // The rest is kept if it is worth a read.
        if buffer.left >= WORTH_A_READ.min(buffer.size / 2) {
            self.current = Some(buffer);
        } else {
            pool.put(buffer);
        }
        outcome
    }

    /// Called every second: lets go of a buffer that was hardly used, and of size that the peer does not need. Returns
    /// whether a buffer is still held.
    pub(crate) fn sweep(&mut self, pool: &mut BufferPool) -> bool {
        let used = std::mem::take(&mut self.since_sweep);
        if used < self.next_size {
            self.release(pool);
            self.next_size = (self.next_size / GROWTH).max(SMALLEST);
        }
        self.current.is_some()
    }

    /// Lets go of the buffer.
    pub(crate) fn release(&mut self, pool: &mut BufferPool) {
        if let Some(buffer) = self.current.take() {
            pool.put(buffer);
        }
    }

    /// Whether a buffer is held.
    pub(crate) const fn is_held(&self) -> bool {
        self.current.is_some()
    }
}

/// Large buffers that were handed out in slices and may have come back.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    /// The ends of buffers, oldest first. The memory before such an end is free once no slice holds it.
    used: VecDeque<BytesMut>,
    taken_since_sweep: usize,
}

impl BufferPool {
    fn take(&mut self, size: usize, whole: impl FnOnce(usize) -> usize) -> Buffer {
        if size < LARGE {
            return Buffer { room: BytesMut::with_capacity(size), size, left: size };
        }
        let mut room = self.take_large();
        skip_to_start(&mut room);
        Buffer { room, size, left: whole(MOST).min(MOST) }
    }

    fn take_large(&mut self) -> BytesMut {
        self.taken_since_sweep += 1;
        for _ in 0..LOOKS.min(self.used.len()) {
            if let Some(mut room) = self.used.pop_front() {
                if room.try_reclaim(LARGE) {
                    return room;
                }
                self.used.push_back(room);
            }
        }
        BytesMut::with_capacity(LARGE)
    }

    fn put(&mut self, buffer: Buffer) {
        if buffer.size == LARGE {
            if self.used.len() == MOST_KEPT {
                self.used.pop_front();
            }
            self.used.push_back(buffer.room);
        }
    }

    /// Whether it remembers no buffer.
    pub(crate) fn is_empty(&self) -> bool {
        self.used.is_empty()
    }

    /// Called every second: memory that nobody needed since the last time goes back to the system.
    pub(crate) fn sweep(&mut self) {
        let keep = std::mem::take(&mut self.taken_since_sweep);
        self.used.truncate(keep);
    }
}

/// Leaves out the bytes before [`START`] of a page. A peer's blocks come out of its page cache, so a block's pages are copied to
/// where its head ends here; and some processors copy five times slower to an address that lies 1 to 31 bytes further in its
/// page than the source in its own.
fn skip_to_start(room: &mut BytesMut) {
    let skipped = START.wrapping_sub(room.as_ptr() as usize) % PAGE;
    room.resize(skipped, 0);
    room.advance(skipped);
}

const PAGE: usize = 4096;
const START: usize = 32;
const SMALLEST: usize = 4 << 10;
const GROWTH: usize = 4;
/// Small reads cost a third more than reads of this size: 16 blocks of 16 KiB with their heads.
const LARGE: usize = 264 << 10;
/// What is filled of it at most.
const MOST: usize = LARGE - PAGE;
/// What is left of a large buffer is given up below this: a block would be cut anyway.
const WORTH_A_READ: usize = 16 << 10;
/// How many buffers are tried before a fresh one is made.
const LOOKS: usize = 8;
/// 32 MiB of large buffers are remembered at most.
const MOST_KEPT: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpStream;

    /// A connected pair: the far end and ours.
    fn pair() -> (TcpStream, TcpSocket) {
        let listener = TcpSocket::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        loop {
            if let Some((near, _)) = listener.accept().unwrap() {
                return (far, near);
            }
        }
    }

    /// Reads until nothing more is there.
    fn drain(near: &TcpSocket, buffer: &mut ReadBuffer, pool: &mut BufferPool) -> Vec<BytesMut> {
        let mut parts = Vec::new();
        while let Read::Data { data, .. } = buffer.read(near, u64::MAX, |most| most, pool).unwrap() {
            parts.push(data);
        }
        parts
    }

    #[test]
    fn reads_that_follow_each_other_lie_side_by_side() {
        let (mut far, near) = pair();
        let (mut buffer, mut pool) = (ReadBuffer::default(), BufferPool::default());
        far.write_all(b"one").unwrap();
        let one = drain(&near, &mut buffer, &mut pool);
        far.write_all(b"two").unwrap();
        let two = drain(&near, &mut buffer, &mut pool);
        assert_eq!((&one[0][..], &two[0][..]), (&b"one"[..], &b"two"[..]));
        assert_eq!(one[0].as_ptr_range().end, two[0].as_ptr());
    }

    #[test]
    fn a_read_takes_no_more_than_it_may() {
        let (mut far, near) = pair();
        let (mut buffer, mut pool) = (ReadBuffer::default(), BufferPool::default());
        far.write_all(b"abcdef").unwrap();
        let Read::Data { data, drained } = buffer.read(&near, 4, |most| most, &mut pool).unwrap() else { panic!() };
        assert_eq!((&data[..], drained), (&b"abcd"[..], false));
    }

    #[test]
    fn a_fast_peer_gets_large_buffers_which_are_used_again_and_an_idle_one_holds_none() {
        let (far, near) = pair();
        let (mut buffer, mut pool) = (ReadBuffer::default(), BufferPool::default());
        let writer = std::thread::spawn(move || (&far).write_all(&vec![7; 8 << 20]).map(|()| far));
        let (mut total, mut largest, mut ends_whole, mut parts_at) = (0, 0, 0, Vec::new());
        while total < 8 << 20 {
            let is_fresh = buffer.current.is_none() && buffer.next_size == LARGE;
            match buffer.read(&near, u64::MAX, |most| (total + most) / 1000 * 1000 - total, &mut pool).unwrap() {
                Read::Data { data, .. } => {
                    assert!(data.iter().all(|b| *b == 7));
                    parts_at.extend(is_fresh.then_some(data.as_ptr() as usize));
                    total += data.len();
                    largest = largest.max(data.len());
                    ends_whole += u32::from(buffer.next_size == LARGE && buffer.current.is_none() && total % 1000 == 0);
                }
                Read::WouldBlock => std::thread::yield_now(),
                Read::End => panic!("ended after {total} bytes"),
            }
        }
        let far = writer.join().unwrap().unwrap();
        assert_eq!(buffer.next_size, LARGE);
        assert!(parts_at.iter().all(|at| at % PAGE == START), "{parts_at:?}");
        assert!(largest > 64 << 10 && ends_whole > 0, "{largest}, {ends_whole}");
        assert!(pool.used.len() <= 1, "{} buffers for a reader that keeps nothing", pool.used.len());
        assert!(buffer.sweep(&mut pool) || buffer.current.is_none());
        pool.sweep();
        while buffer.next_size > SMALLEST {
            buffer.sweep(&mut pool);
        }
        pool.sweep();
        assert!(!buffer.is_held() && pool.used.is_empty());
        drop(far);
        assert!(matches!(buffer.read(&near, u64::MAX, |most| most, &mut pool).unwrap(), Read::End));
    }
}
