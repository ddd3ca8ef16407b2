//! Blocks to be sent: ranges of open files while they are in the page cache, and the disk pool's reads otherwise.

use crate::disk::{DiskPool, FileRange, OnBlock, in_page_cache};
use crate::net::BlockSource;
use reef_engine::TorrentId;
use reef_engine::disk::DiskJob;
use reef_proto::message::BlockRequest;
use std::sync::Arc;

/// The disk pool, as a source of blocks.
pub(super) struct Blocks {
    pool: Arc<DiskPool>,
    on_block: OnBlock,
    cached: Cached,
    cache_size: i64,
}

impl Blocks {
    /// Blocks out of a pool's storages; those that it has to read go to `on_block`.
    pub(super) fn new(pool: Arc<DiskPool>, on_block: OnBlock) -> Self {
        Self { pool, on_block, cached: Cached::default(), cache_size: 0 }
    }

    /// The setting `cache_size`: up to half of it waits to be hashed side by side.
    pub(super) fn set_memory(&mut self, cache_size: i64) {
        if std::mem::replace(&mut self.cache_size, cache_size) != cache_size {
            self.pool.set_memory(usize::try_from(cache_size / 2).unwrap_or(usize::MAX));
        }
    }

    /// Queues a disk job.
    pub(super) fn submit(&self, job: DiskJob) {
        self.pool.submit(job);
    }
}

impl BlockSource for Blocks {
    fn ranges(&mut self, torrent: TorrentId, block: BlockRequest) -> Option<Vec<FileRange>> {
        let ranges = self.pool.ranges(torrent, &block)?;
        let is_unchanged = || self.pool.is_unchanged(torrent, &block);
        ranges.iter().all(|range| self.cached.holds(range, is_unchanged)).then_some(ranges)
    }

    fn read(&mut self, torrent: TorrentId, block: BlockRequest, tag: u64) {
        self.pool.read_block(torrent, block, tag, &self.on_block);
    }
}

/// Which parts of files were found in the page cache, and unchanged, a moment ago. To ask again for each block would cost more than a
/// third of what sending it does; to be wrong costs one wait for the disk.
struct Cached {
    slots: [Slot; SLOTS],
}

/// A window of a file, and for how many more blocks it is believed.
#[derive(Clone, Copy, Default)]
struct Slot {
    file: usize,
    window: u64,
    uses_left: u32,
}

impl Default for Cached {
    fn default() -> Self {
        Self { slots: [Slot::default(); SLOTS] }
    }
}

impl Cached {
    /// Whether a range can be sent at once. `is_unchanged` is asked where a window is not believed.
    fn holds(&mut self, range: &FileRange, is_unchanged: impl FnOnce() -> bool) -> bool {
        let (file, window) = (Arc::as_ptr(&range.file) as usize, range.offset / WINDOW);
        let last = range.offset + range.length.saturating_sub(1);
        // The files of one process lie a few hundred bytes apart.
        let slot = (file as u64 / 64).wrapping_mul(31).wrapping_add(window) % SLOTS as u64;
        let Some(slot) = self.slots.get_mut(slot as usize) else { return false };
        if last / WINDOW == window && (slot.file, slot.window) == (file, window) && slot.uses_left > 0 {
            slot.uses_left -= 1;
            return true;
        }
        if !is_unchanged() {
            // Whoever reads it says what is wrong.
            return false;
        }
        let whole = FileRange { file: Arc::clone(&range.file), offset: window * WINDOW, length: WINDOW };
        let found = in_page_cache(range);
        if found && in_page_cache(&whole) {
            *slot = Slot { file, window, uses_left: USES };
        }
        found
    }
}

const SLOTS: usize = 256;
const WINDOW: u64 = 256 << 10;
/// Four times the blocks of a window: it is asked for about once a peer in a small swarm.
const USES: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn file(content: &[u8]) -> Arc<std::fs::File> {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(content, 0).unwrap();
        Arc::new(file)
    }

    /// Asks for a block, and checks for how many more its window is then believed; `None` for a window not remembered.
    fn check(cached: &mut Cached, file: &Arc<std::fs::File>, offset: u64, believed: Option<u32>) {
        let range = FileRange { file: Arc::clone(file), offset, length: 16 << 10 };
        assert!(cached.holds(&range, || true));
        let of = |s: &&Slot| s.file == Arc::as_ptr(file) as usize && s.window == offset / WINDOW;
        assert_eq!(cached.slots.iter().find(of).map(|s| s.uses_left), believed, "{offset}");
    }

    #[test]
    fn a_window_is_believed_for_a_while() {
        let (file, mut cached) = (file(&[1; 600 << 10]), Cached::default());
        check(&mut cached, &file, 0, Some(USES));
        for uses in (0..USES).rev() {
            check(&mut cached, &file, 16 << 10, Some(uses));
        }
        check(&mut cached, &file, 16 << 10, Some(USES));
        check(&mut cached, &file, 300 << 10, Some(USES));
    }

    #[test]
    fn a_block_over_the_end_of_a_window_is_looked_at_by_itself() {
        let (file, mut cached) = (file(&[1; 600 << 10]), Cached::default());
        check(&mut cached, &file, WINDOW - 100, Some(USES));
        check(&mut cached, &file, WINDOW - 100, Some(USES));
    }

    #[test]
    fn one_file_is_not_taken_for_another() {
        let (one, other, mut cached) = (file(&[1; 100]), file(&[2; 100]), Cached::default());
        cached.slots.fill(Slot { file: Arc::as_ptr(&one) as usize, window: 0, uses_left: 5 });
        check(&mut cached, &other, 0, Some(USES));
    }
}
