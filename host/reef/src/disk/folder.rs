//! The save folder, and the only way into it.
//!
//! Every path is walked from the save folder down, one component at a time, and no symbolic link is followed on the
//! way: not one that leads outside, nor one that stays inside. So whatever the names in a torrent, and whatever somebody
//! put into the folder, nothing outside it is ever opened, made or removed. The save folder itself may be a link: that
//! is its owner's choice.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use reef_engine::disk::{DiskError, DiskErrorKind, FileStat, MountId};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::failure::{failed, failure, refusal};
use super::mount::mount_of;

/// What a file is opened for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Access {
    /// To read what is there.
    Read,
    /// To read and write; made, with the folders above it, where it is missing.
    Write,
}

/// A save folder.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The name, for people, of the file with these components.
    pub(super) fn full(&self, components: &[String]) -> PathBuf {
        components.iter().fold(self.path.clone(), |path, component| path.join(component))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the regular file with these components.
    pub(super) fn open(&self, components: &[String], access: Access) -> Result<File, DiskError> {
        let (parent, name) = self.parent(components, access)?;
        // Non-blocking, or opening a named pipe that somebody put there would hang a disk thread.
        let common = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let flags = match access {
            Access::Read => common | OFlags::RDONLY,
            Access::Write => common | OFlags::RDWR | OFlags::CREATE,
        };
        let path = || self.full(components);
        let opened = rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o666));
        let file = File::from(opened.map_err(|errno| self.explain(&parent, name, &path(), errno))?);
        let metadata = file.metadata().map_err(|error| failure(&path(), &error))?;
        if !metadata.is_file() {
            return Err(refusal(&path(), DiskErrorKind::Other, "is not a regular file"));
        }
        Ok(file)
    }

    /// Removes a file or link; that there is none is no error.
    pub(super) fn remove_file(&self, components: &[String]) -> Result<(), DiskError> {
        self.remove(components, AtFlags::empty())
    }

    /// Removes a folder if it is there and empty.
    pub(super) fn remove_empty_folder(&self, components: &[String]) -> Result<(), DiskError> {
        self.remove(components, AtFlags::REMOVEDIR)
    }

    /// Makes a symbolic link that leads to `target`, a path below the save folder, unless something is there already.
    pub(super) fn symlink(&self, components: &[String], target: &[String]) -> Result<(), DiskError> {
        let Some(depth) = components.len().checked_sub(1) else { return Ok(()) };
        target.iter().try_for_each(|component| self.checked(component).map(|_| ()))?;
        let mut leads: PathBuf = std::iter::repeat_n("..", depth).collect();
        leads.extend(target);
        let (parent, name) = self.parent(components, Access::Write)?;
        match rustix::fs::symlinkat(&leads, &parent, name) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(failed(&self.full(components), errno)),
        }
    }

    /// A walk over many files, which keeps the folder it is in open.
    pub(super) fn look(&self) -> Look<'_> {
        Look { folder: self, inside: None }
    }

    /// Free bytes on the file system of the save folder, or of the nearest folder above it that exists.
    pub(super) fn free_space(&self) -> Option<u64> {
        self.nearest(|path| {
            let stat = rustix::fs::statvfs(path).ok()?;
            Some(stat.f_bavail.saturating_mul(stat.f_frsize))
        })
    }

    /// The mount of the save folder, or of the nearest folder above it that exists.
    pub(super) fn mount(&self) -> Option<MountId> {
        self.nearest(mount_of)
    }

    /// Puts everything on stable storage that was written to the save folder's file system.
    pub(super) fn sync_file_system(&self) -> Result<(), DiskError> {
        let synced = File::open(&self.path).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
        synced.map_err(|error| failure(&self.path, &error))
    }

    fn nearest<T>(&self, tell: impl Fn(&Path) -> Option<T>) -> Option<T> {
        let or_here = |path: &Path| if path.as_os_str().is_empty() { tell(Path::new(".")) } else { tell(path) };
        self.path.ancestors().find_map(or_here)
    }

    fn remove(&self, components: &[String], flags: AtFlags) -> Result<(), DiskError> {
        let (parent, name) = match self.parent(components, Access::Read) {
            Ok(found) => found,
            // A folder above that is missing, or a link: nothing of ours is there.
            Err(error) if matches!(error.kind, DiskErrorKind::Missing | DiskErrorKind::Other) => return Ok(()),
            Err(error) => return Err(error),
        };
        match rustix::fs::unlinkat(&parent, name, flags) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::NOTEMPTY | Errno::EXIST | Errno::ISDIR) => Ok(()),
            Err(errno) => Err(failed(&self.full(components), errno)),
        }
    }

    /// The open folder that the last component is in, and that component.
    fn parent<'a>(&self, components: &'a [String], access: Access) -> Result<(OwnedFd, &'a str), DiskError> {
        let Some((name, above)) = components.split_last() else {
            return Err(refusal(&self.path, DiskErrorKind::Other, "a file without a name"));
        };
        let name = self.checked(name)?;
        Ok((self.descend(above, access)?, name))
    }

    fn descend(&self, components: &[String], access: Access) -> Result<OwnedFd, DiskError> {
        if access == Access::Write && !self.path.is_dir() {
            std::fs::create_dir_all(&self.path).map_err(|error| failure(&self.path, &error))?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = if self.path.as_os_str().is_empty() { Path::new(".") } else { &self.path };
        let mut at = rustix::fs::open(top, flags, Mode::empty()).map_err(|errno| failed(&self.path, errno))?;
        for (depth, component) in components.iter().enumerate() {
            let name = self.checked(component)?;
            let path = || self.full(&components[..=depth]);
            if access == Access::Write {
                match rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(failed(&path(), errno)),
                }
            }
            let opened = rustix::fs::openat(&at, name, flags | OFlags::NOFOLLOW, Mode::empty());
            at = opened.map_err(|errno| self.explain(&at, name, &path(), errno))?;
        }
        Ok(at)
    }

    /// Names come cleaned from the metainfo; this is the last guard.
    fn checked<'a>(&self, component: &'a str) -> Result<&'a str, DiskError> {
        if matches!(component, "" | "." | "..") || component.contains(['/', '\0']) {
            let message = "a torrent may not name files like this";
            return Err(refusal(&self.path.join(component), DiskErrorKind::Other, message));
        }
        Ok(component)
    }

    /// A link gives a different error from one kind of opening to the next; say what it is.
    fn explain(&self, parent: &OwnedFd, name: &str, path: &Path, errno: Errno) -> DiskError {
        let is_link = matches!(errno, Errno::LOOP | Errno::NOTDIR | Errno::MLINK)
            && rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
        if is_link {
            let message = "is a symbolic link; links inside the save folder are not followed";
            return refusal(path, DiskErrorKind::Other, message);
        }
        failed(path, errno)
    }
}

/// Looks at many files of a folder one after the other; neighbours cost one call each.
pub(super) struct Look<'a> {
    folder: &'a Folder,
    inside: Option<(Vec<String>, Option<OwnedFd>)>,
}

impl Look<'_> {
    /// Size and time of a regular file; `None` where there is none, or it cannot be reached.
    pub(super) fn stat(&mut self, components: &[String]) -> Option<FileStat> {
        let (name, above) = components.split_last()?;
        if self.inside.as_ref().is_none_or(|(inside, _)| inside != above) {
            self.inside = Some((above.to_vec(), self.folder.descend(above, Access::Read).ok()));
        }
        let (_, parent) = self.inside.as_ref()?;
        let name = self.folder.checked(name).ok()?;
        let stat = rustix::fs::statat(parent.as_ref()?, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then(|| file_stat(&stat))
    }
}

/// Size and time of a file that was looked at.
pub(super) fn file_stat(stat: &Stat) -> FileStat {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    let nanos = stat.st_mtime_nsec;
    FileStat {
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime: seconds.saturating_mul(1_000_000_000).saturating_add(nanos),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn components(path: &str) -> Vec<String> {
        path.split('/').map(str::to_owned).collect()
    }

    #[test]
    fn no_link_is_followed_and_no_name_leads_outside() {
        let outside = tempfile::tempdir().unwrap();
        let save = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), b"secret").unwrap();
        symlink(outside.path(), save.path().join("dir")).unwrap();
        symlink(outside.path().join("secret"), save.path().join("file")).unwrap();
        symlink(outside.path().join("fresh"), save.path().join("dangling")).unwrap();
        let folder = Folder::new(save.path().to_owned());
        for path in ["dir/secret", "dir/fresh", "dir/sub/fresh", "file", "dangling"] {
            for access in [Access::Read, Access::Write] {
                let error = folder.open(&components(path), access).unwrap_err();
                assert!(error.message.contains("symbolic link"), "{path}: {error}");
            }
            assert_eq!(folder.look().stat(&components(path)), None, "{path}");
        }
        for path in ["..", "../x", "a/../../x", "", "/etc/x", "./x", "a\0b"] {
            assert!(folder.open(&components(path), Access::Write).is_err(), "{path}");
        }
        folder.remove_file(&components("dir/secret")).unwrap();
        assert_eq!(std::fs::read(outside.path().join("secret")).unwrap(), b"secret");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn folders_are_made_for_writing_alone() {
        let save = tempfile::tempdir().unwrap();
        let folder = Folder::new(save.path().join("not/yet"));
        let path = components("a/b/c");
        assert_eq!(folder.open(&path, Access::Read).unwrap_err().kind, DiskErrorKind::Missing);
        assert!(!save.path().join("not").exists());
        assert!(folder.free_space().unwrap() > 0);
        folder.open(&path, Access::Write).unwrap();
        assert_eq!(folder.look().stat(&path).unwrap().size, 0);
        folder.remove_empty_folder(&components("a")).unwrap();
        assert!(save.path().join("not/yet/a/b/c").exists());
    }

    #[test]
    fn pipes_and_folders_are_not_files() {
        let save = tempfile::tempdir().unwrap();
        std::fs::create_dir(save.path().join("folder")).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        let at = rustix::fs::open(save.path(), OFlags::RDONLY, Mode::empty()).unwrap();
        rustix::fs::mknodat(&at, "pipe", FileType::Fifo, mode, 0).unwrap();
        let folder = Folder::new(save.path().to_owned());
        assert!(folder.open(&components("pipe"), Access::Read).is_err());
        assert!(folder.open(&components("folder"), Access::Read).is_err());
    }
}
