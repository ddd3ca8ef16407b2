//! Why a plugin could not be loaded: one line that names the file and the remedy.

use crate::elf::ElfError;
use crate::trust::TrustError;
use reef_plugin_api::host;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A file or folder that could not be loaded, and why.
#[derive(Debug, Error)]
#[error("{}: {problem}", path.display())]
#[non_exhaustive]
pub struct LoadError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a plugin file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Problem {
    /// There is no such file.
    #[error("no such file")]
    NoFile,
    /// There is no such folder.
    #[error("no such plugin folder: create it, or leave it out of the plugin folders")]
    NoFolder,
    /// A folder or a device.
    #[error("not a file")]
    NotAFile,
    /// Larger than any plugin.
    #[error("{size} bytes are too many for a plugin (at most {MAX_FILE})")]
    TooLarge {
        /// Its size.
        size: u64,
    },
    /// The operating system does not let us read it.
    #[error("cannot be read: {0}")]
    Read(io::Error),
    /// Somebody else could have changed it.
    #[error("{0}")]
    Trust(#[from] TrustError),
    /// Not a shared library for this machine.
    #[error("{0}")]
    Elf(#[from] ElfError),
    /// Somebody's library.
    #[error("a shared library, but not a reef plugin (it has no manifest)")]
    NoManifest,
    /// Its interface has another first number.
    #[error("plugin {name} {version} was built for plugin-api {}.{}, this host speaks {host}.x: rebuild it", built.0, built.1)]
    ApiMajor {
        /// The plugin.
        name: String,
        /// Its version.
        version: String,
        /// The interface that it was built for.
        built: (u32, u32),
        /// The first number of ours.
        host: u32,
    },
    /// No folder could take the private copy that is mapped.
    #[error(
        "no private copy could be made: {0}; set XDG_CACHE_HOME to a folder of your own that is not mounted noexec"
    )]
    Copy(String),
    /// The dynamic linker refuses it.
    #[error("the dynamic linker refuses it: {0}")]
    Open(String),
    /// It panicked while it was opened, or its functions are not laid out as this host expects.
    #[error("{0}")]
    Interface(#[from] host::LoadError),
    /// It does not want to start.
    #[error("plugin {name} did not start: {reason}")]
    Init {
        /// The plugin.
        name: String,
        /// Its words.
        reason: String,
    },
    /// A new version could not take the place of the one that takes part.
    #[error("plugin {name} was not replaced, the version before goes on: {reason}")]
    NotReplaced {
        /// The plugin.
        name: String,
        /// What went wrong.
        reason: String,
    },
    /// Nobody of this name takes part.
    #[error("no plugin of this name takes part in the session")]
    NotLoaded,
    /// A plugin of this name is there.
    #[error("plugin {name} is left out: {} was loaded first", first.display())]
    Duplicate {
        /// The name.
        name: String,
        /// Where the other one came from.
        first: PathBuf,
    },
}

/// Bytes of a plugin file at most. A debug build has some ten million.
pub(crate) const MAX_FILE: u64 = 512 << 20;

impl LoadError {
    pub(crate) fn new(path: &Path, problem: impl Into<Problem>) -> Self {
        Self { path: path.to_owned(), problem: problem.into() }
    }

    /// Whether a plugin of its name from another folder goes before it. That is usual; in one folder it is an accident.
    #[must_use]
    pub fn is_overruled(&self) -> bool {
        matches!(&self.problem, Problem::Duplicate { first, .. } if first.parent() != self.path.parent())
    }
}
