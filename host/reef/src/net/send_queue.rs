//! What waits to be sent to one peer, in order: bytes, ranges of files, and blocks that a disk thread still reads.
//!
//! Bytes that lie next to each other in the queue leave in one system call. A single block leaves as a gathered send of
//! its header, held back for what follows, and a sendfile. Where several wait, headers and ranges are put into a pipe and
//! leave together, which takes a third less of the processor. (Corking the socket over several blocks gains nothing: TCP is
//! still called twice for each.)

use super::pipes::{Held, Pipes};
use crate::disk::FileRange;
use crate::rt::{FileSent, Heads, More, Pipe, Put, TcpSocket};
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
    /// Holds what was at the front of the queue, as long as there is anything in it.
    pipe: Option<Held>,
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
    Header(Header, u8),
    File(FileRange),
    Waiting(ReadTag),
}

/// The head of a `piece` message.
pub(crate) type Header = [u8; 13];

impl SendQueue {
    /// Queues bytes.
    pub(crate) fn push_bytes(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.entries.push_back(Entry::Bytes(data));
        }
    }

    /// Queues the head of a `piece` message.
    pub(crate) fn push_header(&mut self, header: Header) {
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
        self.entries.is_empty() && self.pipe.is_none()
    }

    /// Whether what is next is there to be sent.
    pub(crate) fn can_send(&self) -> bool {
        self.pipe.is_some() || !matches!(self.entries.front(), None | Some(Entry::Waiting(_)))
    }

    /// Sends what the socket takes, at most about a turn's worth. Adds what went out to `sent`, also when it fails.
    pub(crate) fn flush(&mut self, socket: &TcpSocket, pipes: &mut Pipes, sent: &mut u64) -> io::Result<Flushed> {
        let limit = *sent + TURN;
        loop {
            if *sent >= limit {
                return Ok(Flushed::Quota);
            }
            if self.pipe.is_none() && self.is_worth_a_pipe() {
                self.pipe = pipes.take();
            }
            if let Some(ended) = self.step(socket, pipes, sent)? {
                return Ok(ended);
            }
        }
    }

    /// Sends once; says why nothing more can be sent, if so.
    fn step(&mut self, socket: &TcpSocket, pipes: &mut Pipes, sent: &mut u64) -> io::Result<Option<Flushed>> {
        if let Some(held) = &mut self.pipe {
            if held.pipe.len() < LOW
                && let Some(ended) = fill(&mut held.pipe, pipes, &mut self.entries)?
            {
                return Ok(Some(ended));
            }
            if held.pipe.len() > 0 {
                return self.send_pipe(socket, pipes, sent);
            }
            // A file that does not go into a pipe may still go to a socket.
            self.pipe = None;
        }
        self.send_front(socket, sent)
    }

    /// Sends what is in the pipe.
    fn send_pipe(&mut self, socket: &TcpSocket, pipes: &mut Pipes, sent: &mut u64) -> io::Result<Option<Flushed>> {
        let Some(held) = &mut self.pipe else { return Ok(None) };
        let follows = !matches!(self.entries.front(), None | Some(Entry::Waiting(_)));
        let more = if follows { More::Follows } else { More::Nothing };
        let Some(n) = held.pipe.send(socket, more)? else { return Ok(Some(Flushed::WouldBlock)) };
        *sent += n as u64;
        if held.pipe.len() == 0
            && let Some(empty) = self.pipe.take()
        {
            pipes.give_back(empty);
        }
        Ok(None)
    }

    /// Sends what is at the front of the queue.
    fn send_front(&mut self, socket: &TcpSocket, sent: &mut u64) -> io::Result<Option<Flushed>> {
        let took_all = match self.entries.front() {
            None => return Ok(Some(Flushed::Empty)),
            Some(Entry::Waiting(_)) => return Ok(Some(Flushed::Waiting)),
            Some(Entry::Bytes(_) | Entry::Header(..)) => self.send_bytes(socket, sent)?,
            Some(Entry::File(range)) => match socket.send_file(&range.file, range.offset, range.length)? {
                FileSent::FileEnded => return Ok(Some(Flushed::FileEnded(name_of(&range.file)))),
                FileSent::WouldBlock => false,
                FileSent::Bytes(n) => {
                    *sent += n as u64;
                    self.consume(n);
                    true
                }
            },
        };
        Ok((!took_all).then_some(Flushed::WouldBlock))
    }

    /// Whether several blocks of files are next.
    fn is_worth_a_pipe(&self) -> bool {
        let next = self.entries.iter().take(WORTH_A_PIPE);
        next.filter(|entry| matches!(entry, Entry::Header(..) | Entry::File(_))).count() == WORTH_A_PIPE
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

/// Moves what fits from the front of a queue into a pipe. Says so if a file is shorter than it has to be.
fn fill(pipe: &mut Pipe, pipes: &mut Pipes, entries: &mut VecDeque<Entry>) -> io::Result<Option<Flushed>> {
    let Some(mut heads) = pipes.take_heads() else { return Ok(None) };
    put_heads(&mut heads, pipe, entries)?;
    let filled = move_entries(pipe, &mut heads, entries)?;
    // Those of blocks for which there was no room in the end.
    heads.clear()?;
    pipes.give_back_heads(heads);
    Ok(filled)
}

/// Puts the heads together of the blocks that are next and have room in a pipe.
fn put_heads(heads: &mut Heads, pipe: &Pipe, entries: &VecDeque<Entry>) -> io::Result<()> {
    let whole = entries.iter().filter_map(|entry| match entry {
        Entry::Header(header, 0) => Some(header),
        _ => None,
    });
    let mut together = [0; MOST_HEADS * size_of::<Header>()];
    let mut used = 0;
    for (head, room) in whole.take(pipe.room_for(BLOCK)).zip(together.chunks_exact_mut(size_of::<Header>())) {
        room.copy_from_slice(head);
        used += room.len();
    }
    heads.put(&together[..used])
}

fn move_entries(pipe: &mut Pipe, heads: &mut Heads, entries: &mut VecDeque<Entry>) -> io::Result<Option<Flushed>> {
    while let Some(entry) = entries.front_mut() {
        let is_in = match entry {
            Entry::Bytes(data) if data.len() <= Pipe::MOST_BYTES => pipe.put_bytes(data)?,
            Entry::Header(_, 0) if heads.len() > 0 => heads.move_to(pipe)?,
            Entry::Header(header, sent) => pipe.put_bytes(&header[usize::from(*sent).min(header.len())..])?,
            Entry::File(range) => match pipe.put_file(&range.file, range.offset, range.length)? {
                Put::FileEnded => return Ok(Some(Flushed::FileEnded(name_of(&range.file)))),
                Put::Full => false,
                Put::Bytes(n) => {
                    range.offset += n as u64;
                    range.length = range.length.saturating_sub(n as u64);
                    if range.length > 0 {
                        continue;
                    }
                    true
                }
            },
            Entry::Bytes(_) | Entry::Waiting(_) => false,
        };
        if !is_in {
            break;
        }
        entries.pop_front();
    }
    Ok(None)
}

/// The path of an open file, for people.
fn name_of(file: &File) -> String {
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    std::fs::read_link(link).map_or_else(|_| "a file".to_owned(), |path| path.display().to_string())
}

/// Bytes of a usual block.
const BLOCK: usize = 16 << 10;
/// Heads that are put together, at most: more blocks than a pipe holds.
const MOST_HEADS: usize = 16;
/// Buffers in one gathered send.
const PARTS: usize = 64;
/// So many headers and ranges at the front of the queue make a pipe cheaper than two calls for each block.
const WORTH_A_PIPE: usize = 6;
/// A pipe with fewer bytes in it is filled again before it is sent.
const LOW: usize = 64 << 10;
/// Bytes that one connection sends before the others have their turn.
const TURN: u64 = 256 << 10;

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
        assert!(matches!(queue.flush(&near, &mut Pipes::default(), &mut sent), Ok(Flushed::Waiting)));
        queue.fill(ReadTag(9), Bytes::from_static(b"of nobody"));
        queue.fill(ReadTag(4), Bytes::from_static(b"late"));
        assert!(matches!(queue.flush(&near, &mut Pipes::default(), &mut sent), Ok(Flushed::Empty)));
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
        assert!(matches!(queue.flush(&near, &mut Pipes::default(), &mut 0), Ok(Flushed::FileEnded(_))));
    }

    /// The blocks of a file in a given order as `piece` messages, and the stream they make. Every third block comes as
    /// two ranges, as if it lay in two files.
    fn blocks(content: &[u8], order: &[usize], block: usize) -> (SendQueue, Vec<u8>) {
        let (mut queue, mut stream) = (SendQueue::default(), Vec::new());
        let file = file(content);
        for (number, &at) in order.iter().enumerate() {
            let header = [number as u8; 13];
            queue.push_header(header);
            stream.extend(header);
            let (offset, length) = ((at * block) as u64, block as u64);
            let first = if number % 3 == 0 { length / 3 } else { length };
            queue.push_file(FileRange { file: Arc::clone(&file), offset, length: first });
            queue.push_file(FileRange { file: Arc::clone(&file), offset: offset + first, length: length - first });
            stream.extend(&content[at * block..(at + 1) * block]);
        }
        (queue, stream)
    }

    fn random(length: usize) -> Vec<u8> {
        let mut content = vec![0; length];
        getrandom::fill(&mut content).unwrap();
        content
    }

    /// Flushes until all is sent while a reader takes at most `step` bytes at a time; returns what it read.
    fn transfer(queue: &mut SendQueue, pipes: &mut Pipes, step: usize) -> Vec<u8> {
        let (mut far, near) = pair();
        let reader = std::thread::spawn(move || {
            let (mut got, mut buffer) = (Vec::new(), vec![0; step]);
            loop {
                match far.read(&mut buffer).unwrap() {
                    0 => return got,
                    n => got.extend(&buffer[..n]),
                }
            }
        });
        let mut sent = 0;
        while !matches!(queue.flush(&near, pipes, &mut sent).unwrap(), Flushed::Empty) {
            std::thread::yield_now();
        }
        assert!(queue.is_empty() && !queue.can_send());
        near.finish();
        drop(near);
        let got = reader.join().unwrap();
        assert_eq!(sent, got.len() as u64);
        got
    }

    #[test]
    fn blocks_that_leave_through_a_pipe_are_whole_and_in_order() {
        let content = random(6 << 20);
        // Odd lengths, so that ranges begin and end inside pages.
        for (block, step) in [(16 << 10, 7_001), (16 << 10, 1 << 20), (10_007, 65_536), (700, 4_096)] {
            let many = (content.len() / block).min(400);
            let order: Vec<usize> = (0..many).map(|n| n * 7 % many).collect();
            let (mut queue, stream) = blocks(&content, &order, block);
            let mut pipes = Pipes::default();
            assert!(transfer(&mut queue, &mut pipes, step) == stream, "{block} read by {step}");
        }
    }

    #[test]
    fn without_a_pipe_the_same_bytes_leave() {
        let content = random(2 << 20);
        let order: Vec<usize> = (0..128).collect();
        let mut pipes = Pipes::default();
        let all: Vec<_> = std::iter::from_fn(|| pipes.take()).collect();
        assert!(!all.is_empty());
        let (mut queue, stream) = blocks(&content, &order, 16 << 10);
        assert!(transfer(&mut queue, &mut pipes, 65_536) == stream);
        drop(all);
        assert!(pipes.take().is_some(), "a pipe that was dropped may be made again");
    }

    #[test]
    fn what_stays_in_the_pipe_of_a_connection_goes_out_before_what_is_queued_later() {
        let (mut far, near) = pair();
        let content = random(16 << 20);
        let (mut queue, mut stream) = blocks(&content, &(0..1024).collect::<Vec<_>>(), 16 << 10);
        let (mut pipes, mut sent) = (Pipes::default(), 0);
        while !matches!(queue.flush(&near, &mut pipes, &mut sent).unwrap(), Flushed::WouldBlock) {}
        assert!(queue.pipe.is_some() && queue.can_send());
        for late in [&b"a message"[..], &[7; 20_000]] {
            queue.push_bytes(Bytes::copy_from_slice(late));
            stream.extend(late);
        }
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            far.read_to_end(&mut got).map(|_| got)
        });
        while !matches!(queue.flush(&near, &mut pipes, &mut sent).unwrap(), Flushed::Empty) {
            std::thread::yield_now();
        }
        near.finish();
        assert!(reader.join().unwrap().unwrap() == stream);
    }

    #[test]
    fn a_file_that_ends_among_many_blocks_is_told_and_what_went_out_before_is_right() {
        let (mut far, near) = pair();
        let content = random(1 << 20);
        let (mut queue, stream) = blocks(&content, &(0..64).collect::<Vec<_>>(), 16 << 10);
        let Some(Entry::File(range)) = queue.entries.get(1) else { panic!("a range after the first header") };
        // In the middle of a block, as if somebody had cut it since it was verified.
        range.file.set_len(300_000).unwrap();
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            far.read_to_end(&mut got).map(|_| got)
        });
        let (mut pipes, mut sent) = (Pipes::default(), 0);
        let ended = loop {
            match queue.flush(&near, &mut pipes, &mut sent).unwrap() {
                Flushed::WouldBlock => std::thread::yield_now(),
                other => break other,
            }
        };
        assert!(matches!(ended, Flushed::FileEnded(_)), "{ended:?}");
        near.finish();
        drop((queue, near));
        let got = reader.join().unwrap().unwrap();
        assert_eq!(got.len() as u64, sent);
        assert!(stream.starts_with(&got), "no other byte takes the place of a missing one");
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
        while !matches!(queue.flush(&near, &mut Pipes::default(), &mut sent).unwrap(), Flushed::WouldBlock) {}
        assert!(sent < content.len() as u64);
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            far.read_to_end(&mut got).map(|_| got)
        });
        while !matches!(queue.flush(&near, &mut Pipes::default(), &mut sent).unwrap(), Flushed::Empty) {
            std::thread::yield_now();
        }
        near.finish();
        assert!(reader.join().unwrap().unwrap() == content);
    }
}
