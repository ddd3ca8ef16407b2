//! Which pieces are to be hashed before a torrent may start, a few at a time.

use std::collections::VecDeque;

/// Checks under way at once: several threads hash many side by side.
const AT_ONCE: usize = 128;

/// A check of files that are there already.
#[derive(Debug)]
pub(crate) struct Checking {
    todo: VecDeque<u32>,
    running: usize,
    done: u32,
}

impl Checking {
    /// To check these pieces.
    pub(crate) fn new(pieces: impl IntoIterator<Item = u32>) -> Self {
        Self { todo: pieces.into_iter().collect(), running: 0, done: 0 }
    }

    /// The next pieces to give to the storage.
    pub(crate) fn take(&mut self) -> Vec<u32> {
        let n = AT_ONCE.saturating_sub(self.running).min(self.todo.len());
        self.running += n;
        self.todo.drain(..n).collect()
    }

    /// One came back.
    pub(crate) fn returned(&mut self) {
        self.running = self.running.saturating_sub(1);
        self.done += 1;
    }

    /// Gives up what was not begun.
    pub(crate) fn cancel(&mut self) {
        self.todo.clear();
    }

    /// Whether all came back.
    pub(crate) fn is_done(&self) -> bool {
        self.todo.is_empty() && self.running == 0
    }

    /// How many came back.
    pub(crate) fn done(&self) -> u32 {
        self.done
    }
}
