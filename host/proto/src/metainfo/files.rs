//! The v1 list of files (BEP 3) with its attributes (BEP 47).

use super::{MetainfoError, links};
use crate::bencode::{Dict, Value};
use crate::layout::FileEntry;
use crate::paths::{self, MAX_DEPTH};

/// Files in the order of the torrent, with cleaned paths that may still be equal.
pub(super) struct FileList {
    pub(super) files: Vec<FileEntry>,
    /// Whether the paths begin with the torrent's name as a folder.
    pub(super) multi_file: bool,
}

impl FileList {
    /// The files with links that lead to something in the torrent and paths that are all different.
    pub(super) fn finish(mut self) -> Vec<FileEntry> {
        links::settle(&mut self.files, usize::from(self.multi_file));
        paths::make_unique(&mut self.files);
        self.files
    }
}

/// The name of a torrent, which is a folder's or its single file's.
pub(super) enum Name {
    /// What its maker called it, cleaned.
    Given(String),
    /// Something else, since nothing was left of that.
    Replaced(String),
}

impl Name {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Given(name) | Self::Replaced(name) => name,
        }
    }
}

/// The files of `info`: those of `files`, or the single one of `length`.
pub(super) fn v1_files(info: &Dict<'_>, name: &Name) -> Result<FileList, MetainfoError> {
    match info.list("files") {
        Some(list) => {
            let name = name.as_str();
            let files = list.enumerate().map(|(i, file)| listed_file(file, name, i.saturating_add(1)));
            let files: Vec<_> = files.collect::<Result<_, _>>()?;
            if files.is_empty() {
                return Err(MetainfoError::NoFiles);
            }
            Ok(FileList { files, multi_file: true })
        }
        None => {
            let Name::Given(name) = name else { return Err(MetainfoError::MissingName) };
            let mut file = entry(info, &[], 1)?;
            file.path = vec![name.clone()];
            Ok(FileList { files: vec![file], multi_file: false })
        }
    }
}

/// A file as `dict` describes it, but for its path and root. What it links to is meant to lie below `folder`.
pub(super) fn entry(dict: &Dict<'_>, folder: &[String], file: usize) -> Result<FileEntry, MetainfoError> {
    let attr = dict.bytes("attr").unwrap_or_default();
    let has = |flag: u8| attr.contains(&flag);
    let mut entry = FileEntry { pad: has(b'p'), executable: has(b'x'), hidden: has(b'h'), ..FileEntry::default() };
    if !has(b'l') {
        let length = dict.int("length").and_then(|length| u64::try_from(length).ok());
        entry.length = length.ok_or(MetainfoError::InvalidLength { file })?;
    } else if let Some(elements) = dict.list("symlink path").filter(|target| target.clone().next().is_some()) {
        // A link takes no bytes of the torrent, whatever its length says; without a target it is an empty file.
        let mut target = folder.to_vec();
        for element in elements {
            let raw = element.as_bytes().ok_or(MetainfoError::InvalidPath { file })?;
            target.extend(paths::clean_element(raw));
        }
        if target.len() > MAX_DEPTH {
            return Err(MetainfoError::TooDeep);
        }
        entry.symlink = Some(target);
    }
    Ok(entry)
}

fn listed_file(value: Value<'_>, name: &str, file: usize) -> Result<FileEntry, MetainfoError> {
    let dict = value.as_dict().ok_or(MetainfoError::InvalidLength { file })?;
    let folder = [name.to_owned()];
    let mut entry = entry(&dict, &folder, file)?;
    entry.path.extend(folder);
    let elements = dict.list("path.utf-8").or_else(|| dict.list("path"));
    for element in elements.into_iter().flatten() {
        let raw = element.as_bytes().ok_or(MetainfoError::InvalidPath { file })?;
        entry.path.push(paths::clean_file_element(raw));
    }
    if entry.path.len() > MAX_DEPTH {
        return Err(MetainfoError::TooDeep);
    }
    if entry.path.len() == 1 {
        if !entry.pad {
            return Err(MetainfoError::MissingPath { file });
        }
        entry.path = vec![PAD_FOLDER.to_owned(), entry.length.to_string()];
    }
    // What one client wrote before there was an attribute for it.
    entry.pad |= entry.path.iter().any(|name| name.contains("_____padding_file_"));
    Ok(entry)
}

/// The folder in which pad files lie that have no name of their own (BEP 47).
pub(super) const PAD_FOLDER: &str = ".pad";
