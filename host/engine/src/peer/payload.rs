//! Where the bytes of blocks lie in what is queued for a connection, to tell how many of those that went out they are.
//! Kept only while somebody wants to know.

use std::collections::VecDeque;

/// Runs of bytes that are queued, in order.
#[derive(Debug, Default)]
pub(crate) struct Payload(VecDeque<Run>);

#[derive(Debug)]
struct Run {
    bytes: u64,
    is_payload: bool,
}

impl Payload {
    /// Begins to watch a queue that holds so many bytes of which nothing is known.
    pub(crate) fn after(queued: u64) -> Self {
        let mut new = Self::default();
        new.push(queued, 0);
        new
    }

    /// Bytes are queued: so many of a protocol, then so many of a block.
    pub(crate) fn push(&mut self, protocol: u64, payload: u64) {
        for (bytes, is_payload) in [(protocol, false), (payload, true)] {
            match self.0.back_mut() {
                Some(last) if last.is_payload == is_payload => last.bytes += bytes,
                _ if bytes > 0 => self.0.push_back(Run { bytes, is_payload }),
                _ => {}
            }
        }
    }

    /// So many bytes went out; returns how many of them were of blocks.
    pub(crate) fn sent(&mut self, mut bytes: u64) -> u64 {
        let mut payload = 0;
        while let Some(run) = self.0.front_mut() {
            let part = run.bytes.min(bytes);
            run.bytes -= part;
            bytes -= part;
            payload += if run.is_payload { part } else { 0 };
            if run.bytes > 0 {
                break;
            }
            self.0.pop_front();
        }
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_is_told_from_what_surrounds_it() {
        let mut queue = Payload::after(10);
        queue.push(13, 100);
        queue.push(17, 0);
        queue.push(13, 50);
        assert_eq!([5, 20, 90, 48, 100].map(|sent| queue.sent(sent)), [0, 2, 90, 18, 40]);
    }
}
