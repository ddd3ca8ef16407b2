//! Turns the operating system's errors into [`DiskError`]s: the kind that the session acts on, the file's name and a
//! text for people. It must never hide which file it was.

use std::io;
use std::path::Path;

use reef_engine::disk::{DiskError, DiskErrorKind};
use rustix::io::Errno;

/// The error that `error` is when it was met at `path`.
pub(super) fn failure(path: &Path, error: &io::Error) -> DiskError {
    DiskError { kind: kind_of(error), path: path.display().to_string(), message: text_of(error) }
}

/// The same for an error number.
pub(super) fn failed(path: &Path, errno: Errno) -> DiskError {
    failure(path, &io::Error::from(errno))
}

/// An error that is ours and not the operating system's.
pub(super) fn refusal(path: &Path, kind: DiskErrorKind, message: &str) -> DiskError {
    DiskError { kind, path: path.display().to_string(), message: message.to_owned() }
}

/// A file that ends before the bytes that were asked for.
pub(super) fn too_short(path: &Path) -> DiskError {
    refusal(path, DiskErrorKind::Missing, "the file is shorter than it has to be")
}

fn kind_of(error: &io::Error) -> DiskErrorKind {
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => DiskErrorKind::NoSpace,
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => DiskErrorKind::Permission,
        Some(Errno::NOENT) => DiskErrorKind::Missing,
        Some(Errno::MFILE | Errno::NFILE) => DiskErrorKind::TooManyFiles,
        _ if error.kind() == io::ErrorKind::UnexpectedEof => DiskErrorKind::Missing,
        _ => DiskErrorKind::Other,
    }
}

/// The operating system's text without its "(os error 28)", which means nothing to people.
fn text_of(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_kind_that_the_session_acts_on() {
        let check = |errno: Errno, kind: DiskErrorKind| {
            let error = failed(Path::new("/save/a"), errno);
            assert_eq!((error.kind, error.path.as_str()), (kind, "/save/a"), "{error}");
            assert!(!error.message.contains("os error"), "{error}");
        };
        check(Errno::NOSPC, DiskErrorKind::NoSpace);
        check(Errno::DQUOT, DiskErrorKind::NoSpace);
        check(Errno::FBIG, DiskErrorKind::NoSpace);
        check(Errno::ACCESS, DiskErrorKind::Permission);
        check(Errno::ROFS, DiskErrorKind::Permission);
        check(Errno::NOENT, DiskErrorKind::Missing);
        check(Errno::MFILE, DiskErrorKind::TooManyFiles);
        check(Errno::IO, DiskErrorKind::Other);
    }
}
