//! Messages on a socket between two processes of one program: a length, a kind, and bytes.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// What a message is. The host's process sends the first five, the plugin's the others.
pub(super) mod kind {
    /// What to load.
    pub(crate) const LOAD: u8 = 0;
    /// A request for the plugin's objects.
    pub(crate) const REQUEST: u8 = 1;
    /// Which lines of the log to make.
    pub(crate) const LOG_LEVEL: u8 = 2;
    /// The answer to a question.
    pub(crate) const ANSWER: u8 = 3;
    /// Make the instance of what was loaded.
    pub(crate) const CREATE: u8 = 4;
    /// It is done: the reply to each of them but `ANSWER`.
    pub(crate) const REPLY: u8 = 5;
    /// It cannot be done, and why.
    pub(crate) const FAILED: u8 = 6;
    /// A question through a hook's context.
    pub(crate) const ASK_IN_HOOK: u8 = 7;
    /// A question through a `Host` handle.
    pub(crate) const ASK: u8 = 8;
}

/// Why no message came or went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// The other side took too long.
    TooLate,
    /// The other side is gone.
    Gone,
    /// It does not speak as it should.
    Nonsense,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TooLate,
            _ => Self::Gone,
        }
    }
}

/// One end.
pub(super) struct Frames {
    stream: UnixStream,
    /// What was read and not yet taken lies in `buffer[start..end]`.
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

/// Bytes of a message at most: more than the metadata of any torrent.
const MAX_FRAME: usize = 64 << 20;
/// A length and a kind.
const HEAD: usize = 5;

impl Frames {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, buffer: vec![0; 16 << 10].into(), start: 0, end: 0 }
    }

    /// How long each read and each write may take.
    pub(super) fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(patience)?;
        self.stream.set_write_timeout(patience)
    }

    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Whether a message has begun to come.
    pub(super) fn has_more(&self) -> bool {
        self.start < self.end
    }

    pub(super) fn send(&mut self, kind: u8, body: &[u8]) -> Result<(), Fault> {
        let length = u32::try_from(body.len()).map_err(|_| Fault::Nonsense)?;
        if body.len() > MAX_FRAME {
            return Err(Fault::Nonsense);
        }
        let [a, b, c, d] = length.to_ne_bytes();
        let head = [a, b, c, d, kind];
        let sent = loop {
            match self.stream.write_vectored(&[IoSlice::new(&head), IoSlice::new(body)]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                other => break other?,
            }
        };
        self.stream.write_all(head.get(sent..).unwrap_or_default())?;
        self.stream.write_all(body.get(sent.saturating_sub(HEAD)..).unwrap_or_default())?;
        Ok(())
    }

    /// The next message: its kind and bytes.
    pub(super) fn receive(&mut self) -> Result<(u8, Vec<u8>), Fault> {
        while self.end - self.start < HEAD {
            self.fill()?;
        }
        let head = self.buffer.get(self.start..self.start + HEAD).unwrap_or_default();
        let &[a, b, c, d, kind] = head else { return Err(Fault::Nonsense) };
        let length = u32::from_ne_bytes([a, b, c, d]) as usize;
        if length > MAX_FRAME {
            return Err(Fault::Nonsense);
        }
        self.start += HEAD;
        // It grows as the bytes come, not as they are announced.
        let mut body = Vec::with_capacity(length.min(self.buffer.len()));
        loop {
            let wanted = (length - body.len()).min(self.end - self.start);
            body.extend_from_slice(self.buffer.get(self.start..self.start + wanted).unwrap_or_default());
            self.start += wanted;
            if body.len() == length {
                return Ok((kind, body));
            }
            self.fill()?;
        }
    }

    /// Reads what is there, at least a byte.
    fn fill(&mut self) -> Result<(), Fault> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let count = loop {
            match self.stream.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                other => break other?,
            }
        };
        self.end += count;
        if count == 0 { Err(Fault::Gone) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Frames, Frames) {
        let (a, b) = UnixStream::pair().expect("a pair of sockets");
        (Frames::new(a), Frames::new(b))
    }

    #[test]
    fn what_is_sent_arrives_in_order_and_whole() {
        let (mut a, mut b) = pair();
        let large: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
        let sent = large.clone();
        let sender = std::thread::spawn(move || {
            a.send(1, b"abc").expect("it is read");
            a.send(2, &sent).expect("it is read");
            a.send(3, b"").expect("it is read");
        });
        assert_eq!(b.receive(), Ok((1, b"abc".to_vec())));
        assert!(b.receive() == Ok((2, large)));
        assert_eq!(b.receive(), Ok((3, Vec::new())));
        assert_eq!(b.receive(), Err(Fault::Gone));
        sender.join().expect("it ends");
    }

    #[test]
    fn who_says_nothing_is_too_late() {
        let (a, mut b) = pair();
        b.set_patience(Some(Duration::from_millis(1))).expect("a socket");
        assert_eq!(b.receive(), Err(Fault::TooLate));
        drop(a);
        assert_eq!(b.receive(), Err(Fault::Gone));
    }

    #[test]
    fn a_length_without_bounds_is_nonsense_and_half_a_message_is_none() {
        let check = |bytes: &[u8], expected| {
            let (a, mut b) = pair();
            (&a.stream).write_all(bytes).expect("it is read");
            drop(a);
            assert_eq!(b.receive(), Err(expected));
        };
        check(&[0xff; 9], Fault::Nonsense);
        check(&[4, 0, 0, 0, 1, 9, 9], Fault::Gone);
        check(&[4, 0], Fault::Gone);
    }
}
