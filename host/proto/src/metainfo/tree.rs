//! The v2 file tree (BEP 52), and how it goes with the v1 list in a hybrid torrent.

use super::MetainfoError;
use super::files::{FileList, Name, PAD_FOLDER, entry};
use crate::bencode::{Dict, Value};
use crate::hash::Sha256Hash;
use crate::layout::FileEntry;
use crate::paths::{self, MAX_DEPTH};

/// The files of `file tree`, in its order. It is a single file if it holds just one and no v1 list says otherwise.
pub(super) fn v2_files(info: &Dict<'_>, name: &Name) -> Result<FileList, MetainfoError> {
    let tree = info.dict("file tree").filter(|tree| !tree.is_empty()).ok_or(MetainfoError::InvalidFileTree)?;
    let alone =
        tree.len() == 1 && tree.iter().all(|(_, value)| value.as_dict().is_some_and(|dict| as_file(&dict).is_some()));
    let multi_file = !alone || info.list("files").is_some();
    let mut walk = Walk { path: Vec::new(), files: Vec::new(), root: Vec::new() };
    if multi_file {
        walk.root.push(name.as_str().to_owned());
        walk.path.push(name.as_str().to_owned());
    }
    walk.folder(&tree)?;
    if walk.files.is_empty() {
        return Err(MetainfoError::InvalidFileTree);
    }
    Ok(FileList { files: walk.files, multi_file })
}

/// The files of a v2 torrent with the padding that BEP 52 implies: each ends at a piece's boundary.
pub(super) fn pad(list: FileList, piece_length: u32) -> FileList {
    let piece_length = u64::from(piece_length);
    let mut files = Vec::with_capacity(list.files.len());
    for file in list.files {
        let length = file.length.next_multiple_of(piece_length) - file.length;
        let padding = FileEntry { path: pad_path(&file.path, length), length, pad: true, ..FileEntry::default() };
        files.push(file);
        files.extend((length > 0).then_some(padding));
    }
    FileList { files, ..list }
}

/// A hybrid torrent's files: those of the tree, if the v1 list has the same, in the same order and in the same places.
/// Only the padding after the last file may be missing there, and then it is left out.
pub(super) fn merge(v1: &FileList, v2: FileList, piece_length: u32) -> Result<FileList, MetainfoError> {
    let mut merged = pad(v2, piece_length);
    if v1.files.len().checked_add(1) == Some(merged.files.len()) {
        let after_content = merged.files.iter().rposition(|file| file.length > 0);
        after_content
            .filter(|&last| merged.files.get(last).is_some_and(|file| file.pad))
            .map(|at| merged.files.remove(at));
    }
    let same_count = v1.files.len() == merged.files.len();
    if same_count && places(&v1.files).eq(places(&merged.files)) && total(&v1.files) == total(&merged.files) {
        Ok(merged)
    } else {
        Err(MetainfoError::InconsistentFiles)
    }
}

/// What must be alike in both lists: path, target, length, and where the content begins if there is any. The names of
/// pad files differ from maker to maker.
fn places(files: &[FileEntry]) -> impl Iterator<Item = (&[String], Option<&[String]>, u64, u64)> {
    let mut offset: u64 = 0;
    let placed = files.iter().map(move |file| {
        let begin = if file.length == 0 { 0 } else { offset };
        offset = offset.saturating_add(file.length);
        (file, begin)
    });
    placed.filter(|(file, _)| !file.pad).map(|(file, begin)| (&*file.path, file.symlink.as_deref(), file.length, begin))
}

fn total(files: &[FileEntry]) -> u64 {
    files.iter().fold(0, |sum, file| sum.saturating_add(file.length))
}

/// The path of a pad file in the folder that `beside` begins with.
fn pad_path(beside: &[String], length: u64) -> Vec<String> {
    let folder = beside.first().cloned().unwrap_or_default();
    vec![folder, PAD_FOLDER.to_owned(), length.to_string()]
}

struct Walk {
    path: Vec<String>,
    files: Vec<FileEntry>,
    /// The torrent's folder, from which links are meant.
    root: Vec<String>,
}

impl Walk {
    /// Visits what is in a folder. The scanner's limit on depth bounds the recursion.
    fn folder(&mut self, folder: &Dict<'_>) -> Result<(), MetainfoError> {
        for (name, value) in folder.iter() {
            let inside = value.as_dict().ok_or(MetainfoError::InvalidFileTree)?;
            if name.is_empty() {
                return Err(MetainfoError::InvalidFileTree);
            }
            self.path.push(paths::clean_file_element(name));
            if self.path.len() > MAX_DEPTH {
                return Err(MetainfoError::TooDeep);
            }
            match as_file(&inside) {
                Some(file) => self.file(&file)?,
                None => self.folder(&inside)?,
            }
            self.path.pop();
        }
        Ok(())
    }

    fn file(&mut self, dict: &Dict<'_>) -> Result<(), MetainfoError> {
        let file = self.files.len().saturating_add(1);
        let mut entry = entry(dict, &self.root, file)?;
        if entry.pad {
            return Err(MetainfoError::PadFileInTree { file });
        }
        entry.pieces_root = match dict.get("pieces root") {
            _ if entry.symlink.is_some() => None,
            None if entry.length == 0 => None,
            Some(root) if entry.length > 0 => Some(valid_root(root).ok_or(MetainfoError::InvalidRoot { file })?),
            _ => return Err(MetainfoError::InvalidRoot { file }),
        };
        entry.path.clone_from(&self.path);
        self.files.push(entry);
        Ok(())
    }
}

/// The description of a file: the dictionary at the empty key, which stands alone.
fn as_file<'a>(inside: &Dict<'a>) -> Option<Dict<'a>> {
    if inside.len() == 1 { inside.dict("") } else { None }
}

fn valid_root(root: Value<'_>) -> Option<Sha256Hash> {
    Sha256Hash::from_slice(root.as_bytes()?).filter(|hash| !hash.is_zero())
}
