//! What a session wanted to say to a peer that has not proven itself yet.

use reef_plugin_api::PluginError;
use std::collections::VecDeque;

/// Messages held back, in order, and those of our own that may pass.
#[derive(Debug, Default)]
pub(crate) struct Held {
    messages: Vec<(u8, Vec<u8>)>,
    bytes: usize,
    passing: VecDeque<Vec<u8>>,
}

/// Messages at most: what a session says when it meets a peer are a few.
const MAX_MESSAGES: usize = 128;
/// Bytes at most: a bitfield has one for eight pieces.
const MAX_BYTES: usize = 4 << 20;

/// `choke`, `unchoke`, `interested`, `not interested`, `request`, `piece`, `cancel` and `reject request`: what follows from what a peer said. A peer
/// that has not proven itself said nothing, and said again later they would mean something else to the session.
const ANSWERS: [u8; 8] = [0, 1, 2, 3, 6, 7, 8, 16];

impl Held {
    /// The extension message with this payload may pass, once.
    pub(crate) fn let_pass(&mut self, payload: &[u8]) {
        self.passing.push_back(payload.to_vec());
    }

    /// Whether this extension message may pass.
    pub(crate) fn may_pass(&mut self, payload: &[u8]) -> bool {
        let next = self.passing.front().is_some_and(|passing| passing == payload);
        if next {
            self.passing.pop_front();
        }
        next
    }

    /// Holds a message back.
    pub(crate) fn keep(&mut self, id: u8, payload: &[u8]) -> Result<(), PluginError> {
        if ANSWERS.contains(&id) {
            return Err(PluginError::new(format!("message {id} for a peer that has said nothing")));
        }
        self.bytes = self.bytes.saturating_add(payload.len());
        if self.messages.len() >= MAX_MESSAGES || self.bytes > MAX_BYTES {
            return Err(PluginError::new("there is too much to say to a peer that has not proven itself"));
        }
        self.messages.push((id, payload.to_vec()));
        Ok(())
    }

    /// The messages, which can be said now.
    pub(crate) fn take(&mut self) -> Vec<(u8, Vec<u8>)> {
        std::mem::take(&mut self.messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_comes_back_in_order_and_has_a_limit() {
        let mut held = Held::default();
        assert!(held.keep(14, b"").is_ok() && held.keep(20, &[1, 2]).is_ok());
        assert_eq!(held.take(), [(14, vec![]), (20, vec![1, 2])]);
        assert!((0..MAX_MESSAGES).all(|_| held.keep(4, &[0, 0, 0, 1]).is_ok()));
        assert!(held.keep(4, &[0, 0, 0, 1]).is_err());
        let mut large = Held::default();
        assert!(large.keep(5, &vec![0; MAX_BYTES + 1]).is_err());
        assert!(ANSWERS.iter().all(|id| Held::default().keep(*id, b"").is_err()));
    }

    #[test]
    fn own_messages_pass_once() {
        let mut held = Held::default();
        held.let_pass(b"one");
        assert!(!held.may_pass(b"two") && held.may_pass(b"one") && !held.may_pass(b"one"));
    }
}
