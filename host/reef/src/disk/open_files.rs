//! The files that are open, of all torrents together: opened when needed, at most so many, the one that was not used
//! for longest closed first. A file that somebody still reads stays open until he is done with it.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, MutexGuard};

use reef_engine::TorrentId;
use reef_engine::disk::{DiskError, DiskErrorKind};

use super::folder::Access;

/// Open files by torrent and index of the file.
pub(super) struct OpenFiles {
    limit: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    open: HashMap<(TorrentId, usize), Open>,
    uses: u64,
}

struct Open {
    file: Arc<File>,
    access: Access,
    used: u64,
}

impl OpenFiles {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), table: Mutex::default() }
    }

    /// The file if it is open for at least that access.
    pub(super) fn get(&self, torrent: TorrentId, index: usize, access: Access) -> Option<Arc<File>> {
        let mut table = self.lock();
        table.uses += 1;
        let now = table.uses;
        let open = table.open.get_mut(&(torrent, index)).filter(|open| open.access >= access)?;
        open.used = now;
        Some(open.file.clone())
    }

    /// The file, opened by `open` if it is not. If the process has too many files open, half of these are closed and it
    /// is tried once more.
    pub(super) fn get_or_open(
        &self,
        torrent: TorrentId,
        index: usize,
        access: Access,
        open: impl Fn() -> Result<File, DiskError>,
    ) -> Result<Arc<File>, DiskError> {
        if let Some(file) = self.get(torrent, index, access) {
            return Ok(file);
        }
        let file = match open() {
            Err(error) if error.kind == DiskErrorKind::TooManyFiles => {
                self.lock().shrink(self.limit / 2);
                open()?
            }
            other => other?,
        };
        let file = Arc::new(file);
        let mut table = self.lock();
        if table.open.len() >= self.limit {
            // Several at once, or each file that is opened would look at all that are open.
            table.shrink((self.limit - self.limit / 8).min(self.limit - 1));
        }
        table.uses += 1;
        let used = table.uses;
        table.open.insert((torrent, index), Open { file: file.clone(), access, used });
        Ok(file)
    }

    /// Closes one file.
    pub(super) fn close(&self, torrent: TorrentId, index: usize) {
        self.lock().open.remove(&(torrent, index));
    }

    /// Closes all files of a torrent.
    pub(super) fn close_all(&self, torrent: TorrentId) {
        self.lock().open.retain(|(of, _), _| *of != torrent);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while the table is being changed, so a poisoned one is whole.
        self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Table {
    /// Closes the files that were not used for longest until at most `keep` are left.
    fn shrink(&mut self, keep: usize) {
        let surplus = self.open.len().saturating_sub(keep);
        if surplus == 0 {
            return;
        }
        let mut by_use: Vec<_> = self.open.iter().map(|(key, open)| (open.used, *key)).collect();
        by_use.sort_unstable();
        for (_, key) in by_use.into_iter().take(surplus) {
            self.open.remove(&key);
        }
    }
}

/// Whether the file that this was opened as was since removed or replaced.
pub(super) fn is_gone(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const T: TorrentId = TorrentId(1);

    fn opened() -> Result<File, DiskError> {
        Ok(File::open("/dev/null").unwrap())
    }

    #[test]
    fn the_file_unused_for_longest_is_closed_first() {
        let files = OpenFiles::new(3);
        for index in [0, 1, 2, 0, 3] {
            files.get_or_open(T, index, Access::Read, opened).unwrap();
        }
        let open = (0..4).filter(|&index| files.get(T, index, Access::Read).is_some()).collect::<Vec<_>>();
        assert_eq!(open, [0, 2, 3]);
        files.close_all(T);
        assert!(files.get(T, 0, Access::Read).is_none());
    }

    #[test]
    fn a_file_open_for_reading_is_opened_again_for_writing() {
        let files = OpenFiles::new(3);
        files.get_or_open(T, 0, Access::Read, opened).unwrap();
        assert!(files.get(T, 0, Access::Write).is_none());
        files.get_or_open(T, 0, Access::Write, opened).unwrap();
        assert!(files.get(T, 0, Access::Read).is_some());
    }

    #[test]
    fn too_many_files_closes_some_and_tries_again() {
        let files = OpenFiles::new(4);
        for index in 0..4 {
            files.get_or_open(T, index, Access::Read, opened).unwrap();
        }
        let tries = Cell::new(0);
        let scarce = || {
            tries.set(tries.get() + 1);
            let message = String::new();
            let error = DiskError { kind: DiskErrorKind::TooManyFiles, path: String::new(), message };
            if tries.get() == 1 { Err(error) } else { opened() }
        };
        files.get_or_open(T, 9, Access::Read, scarce).unwrap();
        assert_eq!((0..4).filter(|&index| files.get(T, index, Access::Read).is_some()).count(), 2);
    }
}
