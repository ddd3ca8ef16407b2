//! The v2 file tree (BEP 52), and how it goes with the v1 list in a hybrid torrent.

use super::MetainfoError;
use super::files::{FileList, PAD_FOLDER, entry};
use crate::bencode::{Dict, Value};
use crate::hash::Sha256Hash;
use crate::layout::FileEntry;
use crate::paths::{self, MAX_DEPTH};

/// The files of `file tree`, in its order. It is a single file if it holds just one and no v1 list says otherwise.
pub(super) fn v2_files(info: &Dict<'_>, name: &str) -> Result<FileList, MetainfoError> {
    let tree = info.dict("file tree").filter(|tree| !tree.is_empty()).ok_or(MetainfoError::InvalidFileTree)?;
    let alone =
        tree.len() == 1 && tree.iter().all(|(_, value)| value.as_dict().is_some_and(|dict| as_file(&dict).is_some()));
    let multi_file = !alone || info.get("files").is_some();
    let mut walk = Walk { path: Vec::new(), files: Vec::new(), root: Vec::new() };
    if multi_file {
        walk.root.push(name.to_owned());
        walk.path.push(name.to_owned());
    }
    walk.folder(&tree)?;
    Ok(FileList { files: walk.files, multi_file })
}

/// A v2-only torrent's files with the padding that BEP 52 implies: each ends at a piece's boundary.
pub(super) fn pad(list: FileList, piece_length: u32) -> Result<FileList, MetainfoError> {
    let piece_length = u64::from(piece_length);
    let mut files = Vec::with_capacity(list.files.len());
    for file in list.files {
        let length = file.length.next_multiple_of(piece_length) - file.length;
        let padding = FileEntry { path: pad_path(&file.path, length), length, pad: true, ..FileEntry::default() };
        files.push(file);
        files.extend((length > 0).then_some(padding));
    }
    Ok(FileList { files, ..list })
}

/// A hybrid torrent's files: those of the v1 list, which must be those of the tree in the same order, each with content
/// beginning at a piece's boundary, with the roots of the tree.
pub(super) fn merge(mut v1: FileList, v2: FileList, piece_length: u32) -> Result<FileList, MetainfoError> {
    let mut from_tree = v2.files.into_iter();
    let mut offset: u64 = 0;
    for file in &mut v1.files {
        if !file.pad {
            let twin = from_tree.next().ok_or(MetainfoError::InconsistentFiles)?;
            let aligned = file.length == 0 || offset.is_multiple_of(piece_length.into());
            if !aligned || twin.path != file.path || twin.length != file.length || twin.symlink != file.symlink {
                return Err(MetainfoError::InconsistentFiles);
            }
            file.pieces_root = twin.pieces_root;
        } else {
            // Their names differ from maker to maker and mean nothing: they get those that `pad` gives.
            file.path = pad_path(&file.path, file.length);
        }
        offset = offset.checked_add(file.length).ok_or(MetainfoError::InconsistentFiles)?;
    }
    match from_tree.next() {
        Some(_) => Err(MetainfoError::InconsistentFiles),
        None => Ok(v1),
    }
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
            if name.is_empty() || inside.is_empty() {
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
