//! Carries out the session's disk jobs ([`reef_engine::disk`]) on a few threads: hashing, reading, writing.
//!
//! What is never done here: write outside a torrent's save folder, follow a symbolic link inside it, write a whole piece
//! that hashed wrong, map a file into memory, or decide anything about a torrent.
//!
//! Code map: `pool` the threads; `queue` what is next, and what waits for company; `write` pieces hashed side by side and
//! written; `check` pieces read and hashed side by side; `storage` one torrent's files; `part_file` bytes of unwanted
//! files; `folder` the only way into the save folder; `open_files` which files are open; `hash` SHA-1 and trees of pieces;
//! `hash_files` hashing what is to become a torrent; `scratch` the buffer for it; `vectored` writing many buffers at once;
//! `stamps` files that somebody else changed; `mount` whether what was not synced is still there; `failure` errors.

mod check;
mod failure;
mod folder;
mod hash;
mod hash_files;
mod mount;
mod open_files;
mod part_file;
mod pool;
mod queue;
mod scratch;
mod stamps;
mod storage;
#[cfg(test)]
mod tests;
mod vectored;
mod write;

use std::fs::File;
use std::io::IoSliceMut;

use rustix::io::{Errno, ReadWriteFlags};

pub use hash_files::hash_files;
pub use pool::{DiskPool, OnBlock, OnDone, PoolConfig};
pub use storage::FileRange;

/// Whether these bytes of a file can be read without waiting for the disk, as far as a look at the first and the last of
/// them tells. Where the file system cannot say, they count as there.
pub fn in_page_cache(range: &FileRange) -> bool {
    let last = range.offset + range.length.saturating_sub(1);
    is_cached(&range.file, range.offset) && (last / PAGE == range.offset / PAGE || is_cached(&range.file, last))
}

fn is_cached(file: &File, offset: u64) -> bool {
    let mut byte = [0];
    let read = rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT);
    !matches!(read, Err(Errno::AGAIN))
}

const PAGE: u64 = 4096;
