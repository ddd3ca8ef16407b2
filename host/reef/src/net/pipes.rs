//! The pipes that connections send files through: few, each with one connection for as long as something is in it.
//!
//! A connection without a pipe sends header and file by themselves, which costs more and is as right; so nothing here
//! ever fails, and a process that is short of files gives up none of them for this.

use super::send_queue::Header;
use crate::rt::{Heads, Pipe};
use std::sync::Arc;

/// Empty pipes, and how many there are in all.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    free: Vec<Pipe>,
    /// One more holder than there are pipes.
    count: Arc<()>,
    heads: Option<Heads>,
}

/// A pipe that a connection holds. It is one less when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) pipe: Pipe,
    _counted: Arc<()>,
}

impl Pipes {
    /// A pipe, unless there are enough already.
    pub(crate) fn take(&mut self) -> Option<Held> {
        if Arc::strong_count(&self.count) > MOST {
            return None;
        }
        let pipe = self.free.pop().or_else(|| Pipe::new().ok())?;
        Some(Held { pipe, _counted: Arc::clone(&self.count) })
    }

    /// Where heads are put that are about to go into a pipe; there are none in it.
    pub(crate) fn take_heads(&mut self) -> Option<Heads> {
        self.heads.take().or_else(|| Heads::new(size_of::<Header>()).ok())
    }

    /// Takes that back, empty. After an error it is not given back.
    pub(crate) fn give_back_heads(&mut self, heads: Heads) {
        self.heads = Some(heads);
    }

    /// Takes back a pipe that is empty.
    pub(crate) fn give_back(&mut self, held: Held) {
        if held.pipe.len() == 0 && self.free.len() < KEPT {
            self.free.push(held.pipe);
        }
    }
}

/// Pipes that are held by connections, at most. Each is two open files.
const MOST: usize = 64;
/// Empty pipes that are kept.
const KEPT: usize = 2;
