//! Why plugins were quarantined, kept in a folder so that another process can say it: a small file a plugin, by its name.
//!
//! It is written when a session quarantines a plugin, and removed when a session starts with that plugin again. It says
//! something to people and decides nothing: whatever is wrong with such a file, plugins are loaded as if there were none.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A folder of such files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuarantineFolder(PathBuf);

/// What became of a plugin when it last took part in a session.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct QuarantineRecord {
    /// The version that was quarantined.
    pub version: String,
    /// When, in seconds since 1970.
    pub at: u64,
    /// What it did, in one line.
    pub reason: String,
}

/// Bytes of a file at most: a reason has the text of a panic in it.
const MAX_FILE: u64 = 8 << 10;
/// Characters of a reason at most.
const MAX_REASON: usize = 2000;

impl QuarantineFolder {
    /// The folder at this path, which is made when something is written.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// What is known of a plugin; nothing if another version of it was quarantined.
    #[must_use]
    pub fn read(&self, plugin: &str, version: &str) -> Option<QuarantineRecord> {
        let mut text = String::new();
        File::open(self.file(plugin)?).ok()?.take(MAX_FILE).read_to_string(&mut text).ok()?;
        let mut lines = text.lines();
        let (written, at, reason) = (lines.next()?, lines.next()?, lines.next()?);
        (written == version).then_some(QuarantineRecord {
            version: written.to_owned(),
            at: at.parse().ok()?,
            reason: reason.to_owned(),
        })
    }

    /// Forgets what is known of a plugin; whether something was.
    ///
    /// # Errors
    /// If the file is there and cannot be removed.
    pub fn forget(&self, plugin: &str) -> io::Result<bool> {
        let Some(file) = self.file(plugin) else { return Ok(false) };
        match fs::remove_file(file) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes down why a plugin is quarantined now.
    pub(crate) fn write(&self, plugin: &str, version: &str, reason: &str) -> io::Result<()> {
        let Some(file) = self.file(plugin) else { return Ok(()) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let reason: String = reason.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_REASON).collect();
        fs::create_dir_all(&self.0)?;
        // Under a name of this process first: a reader sees the old file or the new one, whole. No plugin has a dot in its name.
        let fresh = self.0.join(format!("{plugin}.{}", std::process::id()));
        fs::write(&fresh, format!("{version}\n{now}\n{reason}\n"))?;
        fs::rename(&fresh, file)
    }

    /// A plugin's file. What is no name of a plugin names no file.
    fn file(&self, plugin: &str) -> Option<PathBuf> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        (!plugin.is_empty() && plugin.bytes().all(fits)).then(|| self.0.join(plugin))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, QuarantineFolder) {
        let place = tempfile::tempdir().expect("a folder");
        let folder = QuarantineFolder::new(place.path().join("not/there/yet"));
        (place, folder)
    }

    #[test]
    fn what_was_written_is_read_until_it_is_forgotten() {
        let (_place, folder) = folder();
        assert_eq!(folder.read("one", "1.0"), None);
        folder.write("one", "1.0", "panic in on_have:\n  ordered").expect("ours");
        let record = folder.read("one", "1.0").expect("it is there");
        assert_eq!((record.version.as_str(), record.reason.as_str()), ("1.0", "panic in on_have: ordered"));
        assert!(record.at > 1_700_000_000);
        assert_eq!((folder.read("one", "1.1"), folder.read("two", "1.0")), (None, None));
        assert_eq!((folder.forget("one").ok(), folder.forget("one").ok()), (Some(true), Some(false)));
        assert_eq!(folder.read("one", "1.0"), None);
    }

    #[test]
    fn what_is_no_such_file_says_nothing() {
        let (_place, folder) = folder();
        folder.write("one", "1.0", &"long ".repeat(10_000)).expect("ours");
        assert_eq!(folder.read("one", "1.0").map(|record| record.reason.len()), Some(MAX_REASON));
        for text in ["", "1.0", "1.0\nwhen\nwhy", "1.0\n5", "\u{fffd}"] {
            fs::write(folder.path().join("one"), text).expect("ours");
            assert_eq!(folder.read("one", "1.0"), None, "{text:?}");
        }
        fs::write(folder.path().join("one"), [0xff; 100]).expect("ours");
        assert_eq!(folder.read("one", "1.0"), None);
        assert_eq!(folder.read("../not/there/yet/one", "1.0"), None);
        assert!(folder.write("..", "1.0", "x").is_ok() && folder.read("..", "1.0").is_none());
    }
}
