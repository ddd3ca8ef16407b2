//! How fast one peer's requests are answered: as fast as it reads, and no request costs more memory than its number.

use std::collections::VecDeque;

/// One peer's requests that wait for its send queue to become shorter.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    waiting: VecDeque<i64>,
    unread_refusals: u32,
}

/// What to do about a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// Send the block.
    Send,
    /// Send it later: the request was noted.
    Later,
    /// Refuse it.
    Reject,
    /// Close the connection: the peer asks and asks, and reads nothing.
    Close,
}

impl Answers {
    /// Judges a request of a peer for which `send_queue` bytes wait. `exists`: there is such a block to send.
    pub(crate) fn on_request(&mut self, piece: i64, exists: Exists, send_queue: u64) -> Answer {
        let slow = send_queue >= SEND_QUEUE;
        if exists == Exists::Yes {
            if !slow && self.waiting.is_empty() {
                return Answer::Send;
            }
            if self.waiting.len() < MAX_WAITING {
                self.waiting.push_back(piece);
                return Answer::Later;
            }
        }
        self.unread_refusals = if slow { self.unread_refusals + 1 } else { 0 };
        if self.unread_refusals > MAX_UNREAD_REFUSALS { Answer::Close } else { Answer::Reject }
    }

    /// The next request to answer with a block, once `send_queue` is short enough.
    pub(crate) fn next(&mut self, send_queue: u64) -> Option<i64> {
        if send_queue < SEND_QUEUE { self.waiting.pop_front() } else { None }
    }

    /// Whether requests wait.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Whether there is a block to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exists {
    /// There is.
    Yes,
    /// Its number is out of range, or we have no metadata.
    No,
}

/// Bytes in a peer's send queue from which on blocks wait (libtorrent's number).
const SEND_QUEUE: u64 = 160 * 1024;
/// Requests that may wait (libtorrent's number).
const MAX_WAITING: usize = 1024;
/// Refusals to a peer that reads nothing.
const MAX_UNREAD_REFUSALS: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_reads_is_answered_at_once() {
        let mut answers = Answers::default();
        assert_eq!(answers.on_request(0, Exists::Yes, SEND_QUEUE - 1), Answer::Send);
        assert_eq!(answers.on_request(9, Exists::No, SEND_QUEUE - 1), Answer::Reject);
        assert!(answers.is_empty());
    }

    #[test]
    fn requests_wait_in_order_until_the_queue_is_short() {
        let mut answers = Answers::default();
        assert_eq!(answers.on_request(3, Exists::Yes, SEND_QUEUE), Answer::Later);
        assert_eq!(answers.on_request(4, Exists::Yes, 0), Answer::Later);
        assert_eq!(answers.next(SEND_QUEUE), None);
        assert_eq!([answers.next(0), answers.next(0), answers.next(0)], [Some(3), Some(4), None]);
        assert_eq!(answers.on_request(5, Exists::Yes, 0), Answer::Send);
    }

    #[test]
    fn a_flood_costs_a_bounded_queue_and_then_the_connection() {
        let mut answers = Answers::default();
        let mut ask = |queue| answers.on_request(0, Exists::Yes, queue);
        assert!((0..MAX_WAITING).all(|_| ask(SEND_QUEUE) == Answer::Later));
        assert!((0..MAX_UNREAD_REFUSALS).all(|_| ask(SEND_QUEUE) == Answer::Reject));
        assert_eq!(ask(0), Answer::Reject, "it has read something");
        assert!((0..MAX_UNREAD_REFUSALS).all(|_| ask(SEND_QUEUE) == Answer::Reject));
        assert_eq!(ask(SEND_QUEUE), Answer::Close);
    }
}
