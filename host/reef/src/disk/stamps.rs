//! Whether a file is still the one whose bytes were verified.
//!
//! Each file's size and time are remembered when it is looked at for the first time and when pieces of it are verified. A
//! file that has since been replaced, removed or written by somebody else is not served: its pieces are claimed, and what
//! would go out is not what the torrent's hashes say. Files that this storage writes have no fixed time and are trusted
//! until it is done with them.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Mutex, MutexGuard, PoisonError};

use reef_engine::disk::FileStat;

use super::folder::file_stat;

/// What is known of a torrent's files, by index.
#[derive(Default)]
pub(super) struct Stamps(Mutex<HashMap<usize, Known>>);

#[derive(Clone, Copy)]
enum Known {
    /// As it was when it was looked at.
    As(FileStat),
    /// This storage writes it.
    Written,
}

impl Stamps {
    /// A file is about to be written.
    pub(super) fn writes(&self, index: usize) {
        self.lock().insert(index, Known::Written);
    }

    /// No write is under way and all are on stable storage.
    pub(super) fn settle(&self) {
        self.lock().retain(|_, known| matches!(known, Known::As(_)));
    }

    /// The file's bytes are being verified as they are.
    pub(super) fn verified(&self, index: usize, file: &File) {
        let mut table = self.lock();
        if !matches!(table.get(&index), Some(Known::Written))
            && let Some((stat, _)) = look(file)
        {
            table.insert(index, Known::As(stat));
        }
    }

    /// Whether nobody else changed the file, as far as its size, time and name tell.
    pub(super) fn is_unchanged(&self, index: usize, file: &File) -> bool {
        // The table stays locked while the file is looked at: a write that begins meanwhile says so before.
        let mut table = self.lock();
        let Some((stat, is_gone)) = look(file) else { return true };
        match table.get(&index) {
            _ if is_gone => false,
            Some(Known::As(known)) => *known == stat,
            Some(Known::Written) => true,
            None => {
                table.insert(index, Known::As(stat));
                true
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Size and time of an open file, and whether no name leads to it any more. `None` where that cannot be told; then what
/// is wrong shows when it is read.
fn look(file: &File) -> Option<(FileStat, bool)> {
    let stat = rustix::fs::fstat(file).ok()?;
    Some((file_stat(&stat), stat.st_nlink == 0))
}
