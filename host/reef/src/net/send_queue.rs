//! What waits to be sent to one peer, in order: bytes, ranges of files, and blocks that a disk thread still reads.
//!
//! Bytes that lie next to each other in the queue leave in one system call. A block's header and its file range leave
//! as a gathered send, held back for what follows, and a sendfile. (Corking the socket over several blocks costs half as
//! much again on the loopback: packets with that many pieces of pages are split.)

use crate::disk::FileRange;
use crate::rt::{FileSent, More, TcpSocket};
use bytes::Bytes;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;

/// Names a block that a disk thread reads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ReadTag(pub(crate) u64);

/// The queue of one connection.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    entries: VecDeque<Entry>,
}

/// Why a flush ended.
#[derive(Debug)]
pub(crate) enum Flushed {
    /// Nothing is left.
    Empty,
    /// The socket takes no more for now.
    WouldBlock,
    /// A block that is next has not been read yet.
    Waiting,
    /// As much as one turn allows went out; there is more.
    Quota,
    /// This file is shorter than it has to be.
    FileEnded(String),
}

#[derive(Debug)]
enum Entry {
    Bytes(Bytes),
    /// The head of a `piece` message, and how much of it is sent.
    Header([u8; 13], u8),
    File(FileRange),
    Waiting(ReadTag),
}

impl SendQueue {
    /// Queues bytes.
    pub(crate) fn push_bytes(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.entries.push_back(Entry::Bytes(data));
        }
    }

    /// Queues the head of a `piece` message.
    pub(crate) fn push_header(&mut self, header: [u8; 13]) {
        self.entries.push_back(Entry::Header(header, 0));
    }

    /// Queues a range of a file.
    pub(crate) fn push_file(&mut self, range: FileRange) {
        if range.length > 0 {
            self.entries.push_back(Entry::File(range));
        }
    }

    /// Queues a block that is being read.
    pub(crate) fn push_waiting(&mut self, tag: ReadTag) {
        self.entries.push_back(Entry::Waiting(tag));
    }

    /// A block was read.
    pub(crate) fn fill(&mut self, tag: ReadTag, data: Bytes) {
        let waiting = |entry: &&mut Entry| matches!(entry, Entry::Waiting(t) if *t == tag);
        if let Some(entry) = self.entries.iter_mut().find(waiting) {
            *entry = Entry::Bytes(data);
        }
    }

    /// Whether nothing is queued.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether what is next is there to be sent.
    pub(crate) fn can_send(&self) -> bool {
        !matches!(self.entries.front(), None | Some(Entry::Waiting(_)))
    }

    /// Sends what the socket takes, at most about a turn's worth. Adds what went out to `sent`, also when it fails.
    pub(crate) fn flush(&mut self, socket: &TcpSocket, sent: &mut u64) -> io::Result<Flushed> {
        let limit = *sent + TURN;
        loop {
            if *sent >= limit {
                return Ok(Flushed::Quota);
            }
            let took_all = match self.entries.front() {
                None => return Ok(Flushed::Empty),
                Some(Entry::Waiting(_)) => return Ok(Flushed::Waiting),
                Some(Entry::Bytes(_) | Entry::Header(..)) => self.send_bytes(socket, sent)?,
                Some(Entry::File(range)) => match socket.send_file(&range.file, range.offset, range.length)? {
                    FileSent::FileEnded => return Ok(Flushed::FileEnded(name_of(&range.file))),
                    FileSent::WouldBlock => false,
                    FileSent::Bytes(n) => {
                        *sent += n as u64;
                        self.consume(n);
                        true
                    }
                },
            };
            if !took_all {
                return Ok(Flushed::WouldBlock);
            }
        }
    }

    /// Sends the bytes at the front in one call; `false` if the socket did not take all of them.
    fn send_bytes(&mut self, socket: &TcpSocket, sent: &mut u64) -> io::Result<bool> {
        let mut parts = [IoSlice::new(&[]); PARTS];
        let (mut count, mut total) = (0, 0);
        let mut more = More::Nothing;
        for entry in &self.entries {
            let data = match entry {
                Entry::Bytes(data) => &data[..],
                Entry::Header(header, sent) => &header[usize::from(*sent).min(header.len())..],
                Entry::Waiting(_) => break,
                Entry::File(_) => {
                    more = More::Follows;
                    break;
                }
            };
            if count == PARTS {
                more = More::Follows;
                break;
            }
            parts[count] = IoSlice::new(data);
            count += 1;
            total += data.len();
        }
        let Some(n) = socket.send(&parts[..count], more)? else {
            return Ok(false);
        };
        *sent += n as u64;
        self.consume(n);
        Ok(n == total)
    }

    /// Drops `n` sent bytes from the front.
    fn consume(&mut self, mut n: usize) {
        while n > 0 {
            let gone = match self.entries.front_mut() {
                Some(Entry::Bytes(data)) => {
                    let part = n.min(data.len());
                    n -= part;
                    bytes::Buf::advance(data, part);
                    data.is_empty()
                }
                Some(Entry::Header(header, sent)) => {
                    let part = n.min(header.len() - usize::from(*sent));
                    n -= part;
                    *sent += u8::try_from(part).unwrap_or(u8::MAX);
                    usize::from(*sent) == header.len()
                }
                Some(Entry::File(range)) => {
                    let part = range.length.min(n as u64);
                    n -= usize::try_from(part).unwrap_or(n);
                    range.offset += part;
                    range.length -= part;
                    range.length == 0
                }
                Some(Entry::Waiting(_)) | None => return,
            };
            if gone {
                self.entries.pop_front();
            }
        }
    }
}

/// The path of an open file, for people.
fn name_of(file: &File) -> String {
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    std::fs::read_link(link).map_or_else(|_| "a file".to_owned(), |path| path.display().to_string())
}

/// Buffers in one gathered send.
const PARTS: usize = 64;
/// Bytes that one connection sends before the others have their turn.
const TURN: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::Arc;

    fn pair() -> (TcpStream, TcpSocket) {
        let listener = TcpSocket::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        loop {
            if let Some((near, _)) = listener.accept().unwrap() {
                return (far, near);
            }
        }
    }

    fn file(content: &[u8]) -> Arc<File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        Arc::new(file)
    }

    fn range(content: &[u8], offset: u64, length: u64) -> FileRange {
        FileRange { file: file(content), offset, length }
    }

    #[test]
    fn bytes_files_and_late_blocks_leave_in_the_order_given() {
        let (mut far, near) = pair();
        let mut queue = SendQueue::default();
        let mut sent = 0;
        queue.push_bytes(Bytes::from_static(b"head "));
        queue.push_file(range(b"..from a file..", 2, 12));
        queue.push_bytes(Bytes::from_static(b"then "));
        queue.push_waiting(ReadTag(4));
        queue.push_bytes(Bytes::from_static(b" end"));
        assert!(matches!(queue.flush(&near, &mut sent), Ok(Flushed::Waiting)));
        queue.fill(ReadTag(9), Bytes::from_static(b"of nobody"));
        queue.fill(ReadTag(4), Bytes::from_static(b"late"));
        assert!(matches!(queue.flush(&near, &mut sent), Ok(Flushed::Empty)));
        near.finish();
        let mut got = String::new();
        far.read_to_string(&mut got).unwrap();
        assert_eq!(got, "head from a file.then late end");
        assert_eq!(sent, got.len() as u64);
    }

    #[test]
    fn a_file_that_ends_too_early_is_told() {
        let (_far, near) = pair();
        let mut queue = SendQueue::default();
        queue.push_file(range(b"short", 0, 6));
        assert!(matches!(queue.flush(&near, &mut 0), Ok(Flushed::FileEnded(_))));
    }

    #[test]
    fn more_than_the_socket_takes_waits_and_goes_on_where_it_stopped() {
        let (mut far, near) = pair();
        let content: Vec<u8> = (0..8_u32 << 20).map(|i| (i % 251) as u8).collect();
        let mut queue = SendQueue::default();
        let file = file(&content);
        for part in 0..8_u32 {
            let offset = part << 20;
            if part % 2 == 0 {
                queue.push_file(FileRange { file: Arc::clone(&file), offset: offset.into(), length: 1 << 20 });
            } else {
                let at = offset as usize;
                queue.push_bytes(Bytes::copy_from_slice(&content[at..at + (1 << 20)]));
            }
        }
        let mut sent = 0;
        while !matches!(queue.flush(&near, &mut sent).unwrap(), Flushed::WouldBlock) {}
        assert!(sent < content.len() as u64);
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            far.read_to_end(&mut got).map(|_| got)
        });
        while !matches!(queue.flush(&near, &mut sent).unwrap(), Flushed::Empty) {
            std::thread::yield_now();
        }
        near.finish();
        assert!(reader.join().unwrap().unwrap() == content);
    }
}
