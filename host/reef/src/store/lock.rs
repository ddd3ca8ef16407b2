//! One process a store: a file `STORE.lock` beside it, locked as long as the store is open, with the process's id in it.
//! The kernel releases the lock when the process ends, however it ends.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::{StoreError, failed};

/// Held while the store is open.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Takes the lock of the store at `path`, whose folder is made if need be.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        loop {
            let mut options = File::options();
            let opened = options.read(true).write(true).create(true).truncate(false).open(&lock);
            let mut file = opened.map_err(|error| failed(&lock, &error))?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    return Err(StoreError::InUse { path: path.to_owned(), pid: pid_in(&mut file) });
                }
                Err(errno) => return Err(failed(&lock, &errno)),
            }
            // The holder before us removed the file at his end: what we locked may be a file without a name.
            let same = |named: std::fs::Metadata, open: std::fs::Metadata| {
                (named.dev(), named.ino()) == (open.dev(), open.ino())
            };
            if let (Ok(named), Ok(open)) = (std::fs::metadata(&lock), file.metadata())
                && same(named, open)
            {
                let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
                written.map_err(|error| failed(&lock, &error))?;
                return Ok(Self { path: lock, _file: file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked, so nobody else counts on this file. If it stays, it only lies there.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
