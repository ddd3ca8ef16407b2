//! How a command fails: one line for people and an exit status for programs.

use std::fmt;
use std::path::Path;

use super::text::clean;

/// How the program ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// All is well.
    Success = 0,
    /// It failed, or something is missing.
    Failure = 1,
    /// The command line or the settings are wrong.
    Usage = 2,
    /// A signal asked to stop.
    Interrupted = 130,
}

impl Exit {
    /// The number that the system sees.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }
}

/// What a command ends with.
pub(crate) type Outcome = Result<Exit, Failure>;

/// Why a command could not do its work: one line that names the thing and, where there is one, the remedy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    /// How to exit.
    pub(crate) exit: Exit,
    message: String,
}

impl Failure {
    /// A failure of the work itself.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failure, message: message.into() }
    }

    /// A mistake in what was typed or configured.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }

    /// The same, as a mistake in what was typed or configured.
    pub(crate) fn into_usage(self) -> Self {
        Self { exit: Exit::Usage, ..self }
    }

    /// What the system said about a file or folder.
    pub(crate) fn io(path: &Path, error: &std::io::Error) -> Self {
        Self::new(format!("{}: {}", path.display(), describe(error)))
    }
}

impl fmt::Display for Failure {
    /// One line that is safe to show.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&clean(&self.message))
    }
}

/// An error of the system in plain words, without its number.
pub(crate) fn describe(error: &std::io::Error) -> String {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::NotFound => "no such file or folder".to_owned(),
        Kind::PermissionDenied => "permission denied; choose another place or change its permissions".to_owned(),
        Kind::StorageFull => "no space left on the file system; make room and run the command again".to_owned(),
        Kind::QuotaExceeded => "your disk quota is used up; make room and run the command again".to_owned(),
        Kind::ReadOnlyFilesystem => "the file system is read-only; choose another place".to_owned(),
        Kind::IsADirectory => "this is a folder, a file is needed".to_owned(),
        Kind::NotADirectory => "this is not a folder".to_owned(),
        Kind::AddrInUse => {
            "the port is in use; choose another with --listen, or stop the program that has it".to_owned()
        }
        Kind::AddrNotAvailable => "this machine has no such address; choose another with --listen".to_owned(),
        _ => {
            let text = error.to_string();
            match text.split_once(" (os error") {
                Some((words, _)) => words.to_lowercase(),
                None => text,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_that_is_safe_to_show() {
        let failure = Failure::new("evil\x1b[2J\nname: no such file");
        assert_eq!(failure.to_string(), "evil\\u{1b}[2J\\u{a}name: no such file");
    }

    #[test]
    fn errors_of_the_system_lose_their_numbers() {
        let error = std::io::Error::from_raw_os_error(rustix::io::Errno::LOOP.raw_os_error());
        assert!(!describe(&error).contains("os error"), "{}", describe(&error));
    }
}
