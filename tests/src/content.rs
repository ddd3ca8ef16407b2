//! Files to transfer, the same in every run, and the comparison of what arrived.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A file or a folder of files, in a temporary folder of its own.
pub struct Content {
    folder: TempDir,
    name: String,
}

impl Content {
    /// A folder with files in folders, an empty one among them, one smaller than a block, and pieces that lie in several
    /// files; the last piece of it is short.
    pub fn tree() -> Self {
        Self::of_files(
            "a tree",
            &[
                ("a/first.bin", 100_000),
                ("a/empty", 0),
                ("b/tiny.txt", 7),
                ("b/c/über größe.bin", 1_300_001),
                ("last.bin", 333),
            ],
        )
    }

    /// One file, smaller than a block.
    pub fn smaller_than_a_block() -> Self {
        Self::of_files("small.bin", &[("", 1_000)])
    }

    /// One file whose last piece is short.
    pub fn file(length: usize) -> Self {
        Self::of_files("one file.bin", &[("", length)])
    }

    /// Files with these names below `name`, or `name` itself where the name is empty.
    ///
    /// # Panics
    /// If they cannot be written.
    pub fn of_files(name: &str, files: &[(&str, usize)]) -> Self {
        let folder = temporary();
        for (number, (file, length)) in files.iter().enumerate() {
            let top = folder.path().join(name);
            let path = if file.is_empty() { top } else { top.join(file) };
            fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the folder is writable");
            fs::write(path, noise(number as u64 + 1, *length)).expect("the folder is writable");
        }
        Self { folder, name: name.to_owned() }
    }

    /// The folder that holds the file or folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file or folder.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    /// The name of the file or folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Fails unless exactly these files lie in `folder`, byte for byte.
    ///
    /// # Panics
    /// With what differs.
    #[track_caller]
    pub fn assert_is_in(&self, folder: &Path) {
        self.assert_same(folder, |_| true);
    }

    /// The same for a client that makes no empty files (transmission).
    ///
    /// # Panics
    /// With what differs.
    #[track_caller]
    pub fn assert_is_in_but_for_empty_files(&self, folder: &Path) {
        self.assert_same(folder, |bytes| !bytes.is_empty());
    }

    #[track_caller]
    fn assert_same(&self, folder: &Path, counts: impl Fn(&[u8]) -> bool) {
        let expected: BTreeMap<_, _> = files_in(self.folder()).into_iter().filter(|(_, bytes)| counts(bytes)).collect();
        let actual: BTreeMap<_, _> = files_in(folder).into_iter().filter(|(_, bytes)| counts(bytes)).collect();
        let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&actual), names(&expected), "other files are in {}", folder.display());
        for (name, bytes) in &expected {
            assert!(actual[name] == *bytes, "{} differs in {}", name.display(), folder.display());
        }
    }
}

/// A temporary folder.
///
/// # Panics
/// If there is no place for one.
pub fn temporary() -> TempDir {
    tempfile::tempdir().expect("there is a place for temporary files")
}

/// Bytes that do not repeat, the same for the same seed (xorshift64*).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Every file below a folder, by its path from there.
fn files_in(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("the folder is readable") {
            let path = entry.expect("the folder is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("it is below").to_path_buf();
                files.insert(name, fs::read(&path).expect("the file is readable"));
            }
        }
    }
    files
}
