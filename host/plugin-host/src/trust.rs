//! Who else could change what we load: owners and permissions of plugin files and their folders.
//!
//! A plugin is native code with all our rights, so a file that another user could have written is never mapped. This
//! stops accidents and the neighbours on a shared machine; it is no defence against the user's own files.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a file or folder is not trusted.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum TrustError {
    /// Anybody may write it.
    #[error("{what} is writable by everybody: run chmod o-w {}", path.display())]
    WorldWritable {
        /// The file, or its folder.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
    },
    /// It belongs to somebody else.
    #[error("{what} belongs to another user (uid {owner}): copy it to a folder of your own")]
    ForeignOwner {
        /// The file, or its folder.
        what: &'static str,
        /// Its owner.
        owner: u32,
    },
}

/// Who owns what and who may write it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    owner: u32,
    mode: u32,
    folder: bool,
}

impl Access {
    #[cfg(unix)]
    pub(crate) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self { owner: metadata.uid(), mode: metadata.mode(), folder: metadata.is_dir() }
    }

    /// Where files have no owner in this sense, nothing is refused.
    #[cfg(not(unix))]
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { owner: 0, mode: 0, folder: metadata.is_dir() }
    }

    /// Whether we (`user`) may load from it.
    pub(crate) fn check(self, user: u32, path: &Path) -> Result<(), TrustError> {
        let what = if self.folder { "its folder" } else { "the file" };
        if self.owner != user && self.owner != ROOT {
            return Err(TrustError::ForeignOwner { what, owner: self.owner });
        }
        // In a sticky folder such as /tmp nobody but its owner can replace a file.
        let sticky = self.folder && self.mode & STICKY != 0;
        if self.mode & OTHERS_WRITE != 0 && !sticky {
            return Err(TrustError::WorldWritable { what, path: path.to_owned() });
        }
        Ok(())
    }

    /// Whether it is ours alone: nobody else may even read it.
    pub(crate) fn is_private(self, user: u32) -> bool {
        self.owner == user && self.mode & 0o077 == 0
    }
}

/// The user that this process acts as.
#[cfg(unix)]
pub(crate) fn this_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Where users have no numbers.
#[cfg(not(unix))]
pub(crate) fn this_user() -> u32 {
    ROOT
}

const ROOT: u32 = 0;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(owner: u32, mode: u32, folder: bool, allowed: bool) {
        let access = Access { owner, mode, folder };
        assert_eq!(access.check(1000, Path::new("x")).is_ok(), allowed, "{access:?} for user 1000");
    }

    #[test]
    fn own_and_root_files_are_trusted_and_others_are_not() {
        check(1000, 0o644, false, true);
        check(0, 0o755, false, true);
        check(1001, 0o644, false, false);
        check(1001, 0o755, true, false);
    }

    #[test]
    fn what_everybody_may_write_is_not_trusted() {
        check(1000, 0o666, false, false);
        check(1000, 0o777, true, false);
        check(0, 0o777, true, false);
        check(1000, 0o775, true, true);
    }

    #[test]
    fn a_sticky_folder_protects_the_files_in_it() {
        check(0, 0o1777, true, true);
        check(1000, 0o1666, false, false);
        check(1001, 0o1777, true, false);
    }

    #[test]
    fn the_refusal_names_the_file_and_the_remedy() {
        let folder = Access { owner: 1000, mode: 0o777, folder: true }.check(1000, Path::new("/p"));
        let expected = "its folder is writable by everybody: run chmod o-w /p";
        assert_eq!(folder.map_err(|e| e.to_string()), Err(expected.to_owned()));
    }

    #[test]
    fn private_means_nobody_else() {
        assert!(Access { owner: 7, mode: 0o700, folder: true }.is_private(7));
        assert!(!Access { owner: 7, mode: 0o750, folder: true }.is_private(7));
        assert!(!Access { owner: 0, mode: 0o700, folder: true }.is_private(7));
    }
}
