//! Error codes: stable numbers with stable names, so that a program can act on them and a front end translate them.

use std::fmt;

/// Why a torrent or a command failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErrorInfo {
    /// The stable code.
    pub code: ErrorCode,
    /// What exactly, in plain English; one line.
    pub message: String,
}

impl ErrorInfo {
    /// An error with its message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for ErrorInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ErrorInfo {}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// The codes. A number is never reused for another meaning.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum ErrorCode { $($(#[$doc])* $variant = $number,)* }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable number.
            #[must_use]
            pub const fn number(self) -> u32 {
                self as u32
            }

            /// The stable name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

codes! {
    /// No torrent has that id.
    NoSuchTorrent = 1, "no_such_torrent";
    /// The torrent is in the session already.
    DuplicateTorrent = 2, "duplicate_torrent";
    /// Neither metadata nor an info-hash was given.
    NoInfoHash = 3, "no_info_hash";
    /// The torrent has only a v2 info-hash.
    V2Only = 4, "v2_only";
    /// Metadata that does not parse.
    InvalidMetadata = 5, "invalid_metadata";
    /// The torrent has no metadata yet.
    NoMetadata = 6, "no_metadata";
    /// The file system is full.
    NoSpace = 7, "no_space";
    /// A file or folder may not be read or written.
    Permission = 8, "permission";
    /// A file is missing or too short.
    MissingFile = 9, "missing_file";
    /// Any other failure of the storage.
    Storage = 10, "storage";
    /// A setting does not exist.
    UnknownSetting = 11, "unknown_setting";
    /// A setting's value is of the wrong type or out of range.
    InvalidSetting = 12, "invalid_setting";
    /// The session is stopping.
    Stopping = 13, "stopping";
    /// No file has that index.
    NoSuchFile = 14, "no_such_file";
    /// Resume data that does not parse or belongs to another torrent.
    InvalidResume = 15, "invalid_resume";
    /// No piece has that index.
    NoSuchPiece = 16, "no_such_piece";
    /// Another plugin has the name.
    NameTaken = 17, "name_taken";
}
