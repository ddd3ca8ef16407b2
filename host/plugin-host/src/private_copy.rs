//! The copy of a plugin that is mapped, under a name that nobody else uses, in a folder that nobody else can write.
//!
//! The file that the user named is never mapped: overwriting a mapped file kills the process, and the dynamic linker
//! answers a path that it knows with the library that it has. The copy has no name any more once it is mapped.

use crate::error::Problem;
use crate::trust::{Access, this_user};
use std::env;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A file that is deleted when this is dropped.
struct PrivateCopy {
    path: PathBuf,
}

impl Drop for PrivateCopy {
    fn drop(&mut self) {
        // Some systems keep the name of a mapped file. It stays then, and costs only its room.
        if let Err(error) = fs::remove_file(&self.path) {
            log::debug!("{}: not removed: {error}", self.path.display());
        }
    }
}

/// Gives `open` the path of a private copy of `bytes`; tries the next folder where the first takes no copy, or may not
/// be mapped from. `stem` becomes part of the file's name.
pub(crate) fn with_private_copy<T>(
    cache: Option<&Path>,
    stem: &str,
    bytes: &[u8],
    open: impl Fn(&Path) -> Result<T, String>,
) -> Result<T, Problem> {
    let mut refused = String::from("no folder for it");
    for folder in folders(cache) {
        match write(&folder, stem, bytes) {
            Err(error) => refused = format!("{}: {error}", folder.display()),
            Ok(copy) => match open(&copy.path) {
                Ok(opened) => return Ok(opened),
                Err(text) if text.contains(NOEXEC) => refused = text,
                // The message names the copy, which says nothing to the reader.
                Err(text) => return Err(Problem::Open(text.replace(&format!("{}: ", copy.path.display()), ""))),
            },
        }
        log::debug!("no private copy of {stem} in {}: {refused}", folder.display());
    }
    Err(Problem::Copy(refused))
}

/// What the dynamic linker says of a file on a file system that is mounted noexec.
const NOEXEC: &str = "failed to map segment";

/// Where copies may go, first to last.
fn folders(cache: Option<&Path>) -> Vec<PathBuf> {
    if let Some(cache) = cache {
        return vec![cache.to_owned()];
    }
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let user = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    let temporary = env::temp_dir().join(format!("reef-plugins-{}", this_user()));
    user.map(|user| user.join("reef").join("plugins")).into_iter().chain([temporary]).collect()
}

fn write(folder: &Path, stem: &str, bytes: &[u8]) -> io::Result<PrivateCopy> {
    make_private_folder(folder)?;
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    loop {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{stem}-{}-{serial}{}", std::process::id(), env::consts::DLL_SUFFIX));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o700);
        match options.open(&path) {
            // Left over by a process that had our number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
            Ok(mut file) => {
                let copy = PrivateCopy { path };
                file.write_all(bytes)?;
                return Ok(copy);
            }
        }
    }
}

/// Makes the folder if there is none. One that others can write, or a link, is refused.
fn make_private_folder(folder: &Path) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => (),
    }
    let metadata = fs::symlink_metadata(folder)?;
    let private = cfg!(not(unix)) || Access::of(&metadata).is_private(this_user());
    if metadata.is_dir() && private {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "not a folder of ours alone (mode 0700)"))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_copy_lives_as_long_as_it_is_opened() {
        let cache = tempfile::tempdir().expect("a folder");
        let folder = cache.path().join("plugins");
        let seen = with_private_copy(Some(&folder), "x-1.0", b"bytes", |path| {
            assert_eq!(fs::read(path).expect("readable"), b"bytes");
            Ok(path.to_owned())
        });
        let path = seen.expect("opened");
        assert!(path.starts_with(&folder) && !path.exists());
        assert_eq!(fs::metadata(&folder).expect("made").permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_others_can_read_is_refused() {
        let cache = tempfile::tempdir().expect("a folder");
        fs::set_permissions(cache.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        let refused = with_private_copy(Some(cache.path()), "x", b"", |_| Ok(()));
        assert!(matches!(refused, Err(Problem::Copy(_))), "{refused:?}");
    }

    #[test]
    fn the_linkers_message_does_not_name_the_copy() {
        let cache = tempfile::tempdir().expect("a folder");
        let folder = cache.path().join("plugins");
        let refused =
            with_private_copy(Some(&folder), "x", b"", |path| Err::<(), _>(format!("{}: bad", path.display())));
        assert!(matches!(&refused, Err(Problem::Open(text)) if text == "bad"), "{refused:?}");
    }
}
