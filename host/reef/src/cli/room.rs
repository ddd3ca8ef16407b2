//! Whether a folder can take a download: it is there or can be made, it is writable, and there is room.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};

use super::failure::Failure;
use super::text::size;

/// Makes the folder if it is missing.
///
/// # Errors
/// When it cannot be made or written to, with the remedy.
pub(crate) fn prepare(dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(|error| Failure::io(dir, &error))?;
    access(dir, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|_| Failure::new(format!("{}: this folder is not writable; choose another with -o", dir.display())))
}

/// Checks that wanted files, given as their paths below the folder and their lengths, fit into the folder's file system
/// as far as they are not there yet.
///
/// # Errors
/// When they do not fit, with how much is needed.
pub(crate) fn check(name: &str, files: impl Iterator<Item = (PathBuf, u64)>, dir: &Path) -> Result<(), Failure> {
    let Some(free) = free_bytes(dir) else {
        return Ok(());
    };
    let missing = |(path, length): (PathBuf, u64)| length.saturating_sub(allocated_bytes(&dir.join(path)));
    let needed: u64 = files.map(missing).fold(0, u64::saturating_add);
    if needed <= free {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{name}: not enough room in {}: {} more are needed and {} are free; make room, choose another folder with -o, \
         or fewer files with --select",
        dir.display(),
        size(needed),
        size(free)
    )))
}

/// What a file takes on the disk; nothing if it is not there.
fn allocated_bytes(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |metadata| metadata.blocks().saturating_mul(512))
}

/// What the file system still takes; none if it does not say.
fn free_bytes(dir: &Path) -> Option<u64> {
    let stat = statvfs(dir).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_needs_room() {
        let dir = tempfile::tempdir().unwrap();
        let huge = [(PathBuf::from("huge"), 1 << 44), (PathBuf::from("small"), 5)];
        let failure = check("film", huge.clone().into_iter(), dir.path()).unwrap_err().to_string();
        assert!(failure.contains("film: not enough room") && failure.contains("16.0 TiB more"), "{failure}");
        check("film", huge.into_iter().skip(1), dir.path()).unwrap();
        fs::write(dir.path().join("there"), [1; 8192]).unwrap();
        assert!(allocated_bytes(&dir.path().join("there")) >= 8192);
        assert_eq!(allocated_bytes(&dir.path().join("absent")), 0);
    }

    #[test]
    fn a_folder_is_made_and_a_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        prepare(&dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(prepare(&dir.path().join("file")).is_err());
        assert!(prepare(&dir.path().join("file/below")).is_err());
    }
}
