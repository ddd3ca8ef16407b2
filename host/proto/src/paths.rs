//! The one policy for the names of files that a torrent brings along.
//!
//! A torrent is written by a stranger, so its names are wishes. What becomes a path on disk obeys these rules, and
//! there is no other door: every path in a [`Layout`](crate::layout::Layout) has gone through here.
//!
//! An element of a path ([`clean_element`]):
//! - separators (`/` and `\`) are removed, so an element stays one element;
//! - NUL and the invisible characters that turn text around or hide in it are removed;
//! - other control characters become `_`, and so does each sequence of bytes that is not UTF-8;
//! - it is cut to 240 bytes between characters, keeping an extension of up to 8 characters;
//! - what is then empty, `.` or `..` counts as nothing. As a part of a file's path that is `_`. A folder with such a name
//!   gets the info-hash in hexadecimal digits; a torrent of a single file with such a name is refused.
//!
//! Nothing absolute, empty or leading upwards is left, so a path stays below the save folder. Names that are only
//! awkward on other systems (`COM1`, a trailing space) are kept: peers and other programs expect them.
//!
//! Two files of a torrent ([`make_unique`]) never get one path, nor paths that differ in upper and lower case alone,
//! nor does a file get the path of a folder: the file that comes later (or the file that meets a folder) is renamed
//! `name.1.ext`, `name.2.ext` and so on, the first that is free. The same torrent gives the same names everywhere.
//! Pad files are never written and keep out of this.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::layout::FileEntry;

/// The most elements a path may have, the torrent's folder included; a torrent with a longer one is refused.
pub const MAX_DEPTH: usize = 101;

/// What is left of one element of a path; none if that is nothing, or leads to this or the upper folder.
pub fn clean_element(raw: &[u8]) -> Option<String> {
    if raw.is_empty() {
        return Some(FILLER.to_owned());
    }
    let mut clean = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((unit, tail)) = next_unit(rest) {
        match unit {
            Some(c) if is_removed(c) => {}
            Some(c) if !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}') => clean.push(c),
            _ => clean.push('_'),
        }
        rest = tail;
    }
    shorten(&mut clean);
    (!matches!(clean.as_str(), "" | "." | "..")).then_some(clean)
}

/// [`clean_element`], with `_` where nothing is left: an element of a file's path.
pub fn clean_file_element(raw: &[u8]) -> String {
    clean_element(raw).unwrap_or_else(|| FILLER.to_owned())
}

/// Renames files until no two have one path, whatever the case of its letters, and none has the path of a folder.
pub fn make_unique(files: &mut [FileEntry]) {
    let mut names = Names::default();
    let folders: Vec<u32> = files.iter().map(|file| if file.pad { 0 } else { names.folder_of(&file.path) }).collect();
    for (file, folder) in files.iter_mut().zip(folders) {
        if file.pad {
            continue;
        }
        if let Some(name) = file.path.last_mut() {
            names.claim(folder, name);
        }
    }
}

/// The names in use, as a tree over folded elements: what it holds is no larger than the paths that went in.
#[derive(Default)]
struct Names {
    /// (folder, folded name) -> the id of the folder there, or none for a file. The root is folder 0.
    entries: BTreeMap<(u32, String), Option<u32>>,
    folders: u32,
    /// The next number to try for a name that was taken.
    next_number: BTreeMap<(u32, String), u32>,
}

impl Names {
    /// Enters the folders on the way to the file at `path`; the id of the last.
    fn folder_of(&mut self, path: &[String]) -> u32 {
        let Some((_, folders)) = path.split_last() else { return 0 };
        let mut folder = 0;
        for element in folders {
            let fresh = self.folders.saturating_add(1);
            let entry = self.entries.entry((folder, fold(element))).or_insert(None);
            folder = *entry.get_or_insert(fresh);
            self.folders = self.folders.max(folder);
        }
        folder
    }

    /// Takes `name` in `folder` for a file, changing it if it is taken.
    fn claim(&mut self, folder: u32, name: &mut String) {
        let wanted = (folder, fold(name));
        if self.take(wanted.clone()) {
            return;
        }
        let mut number = self.next_number.get(&wanted).copied().unwrap_or(1);
        loop {
            let candidate = numbered(name, number);
            number = number.saturating_add(1);
            if self.take((folder, fold(&candidate))) {
                self.next_number.insert(wanted, number);
                *name = candidate;
                return;
            }
        }
    }

    /// Enters a file, if its place is free.
    fn take(&mut self, place: (u32, String)) -> bool {
        match self.entries.entry(place) {
            Entry::Vacant(free) => {
                free.insert(None);
                true
            }
            Entry::Occupied(_) => false,
        }
    }
}

/// `name` with `.number` before its extension, no longer than file systems allow.
fn numbered(name: &str, number: u32) -> String {
    let dot = name.rfind('.').filter(|dot| name.len() - dot <= MAX_KEPT_EXTENSION);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let number = number.to_string();
    let room = MAX_FILE_NAME.saturating_sub(extension.len() + 1 + number.len());
    let stem = stem.get(..boundary_before(stem, room)).unwrap_or(stem);
    format!("{stem}.{number}{extension}")
}

/// The form in which names that some file system takes for the same are the same.
fn fold(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// Cuts `name` to [`MAX_ELEMENT`] bytes, more by no more than the character there and a short extension.
fn shorten(name: &mut String) {
    if name.len() <= MAX_ELEMENT {
        return;
    }
    let cut = (MAX_ELEMENT..=name.len()).find(|&at| name.is_char_boundary(at)).unwrap_or(name.len());
    let extension = name
        .rfind('.')
        .filter(|&dot| dot >= cut && name.len() - dot <= MAX_EXTENSION)
        .and_then(|dot| name.get(dot..))
        .unwrap_or_default()
        .to_owned();
    name.truncate(cut);
    name.push_str(&extension);
}

/// The first character of `bytes`, or none for a sequence that is not UTF-8, and what follows. A broken sequence goes
/// as far as its first byte announces and continuation bytes go.
fn next_unit(bytes: &[u8]) -> Option<(Option<char>, &[u8])> {
    let first = *bytes.first()?;
    let announced = match first {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        0xf8..=0xfb => 5,
        0xfc..=0xfd => 6,
        _ => 1,
    };
    let continued = bytes.iter().skip(1).take(announced - 1).take_while(|byte| (0x80..0xc0).contains(*byte)).count();
    let (sequence, rest) = bytes.split_at_checked(continued + 1)?;
    let decoded = std::str::from_utf8(sequence).ok().and_then(|text| text.chars().next());
    Some((decoded, rest))
}

/// Separators, NUL, and characters that are not seen but change how the rest is read.
fn is_removed(c: char) -> bool {
    matches!(
        c,
        '/' | '\\' | '\0'
            | '\u{061c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
    )
}

/// The end of the longest part of `text` of at most `limit` bytes that ends between characters.
fn boundary_before(text: &str, limit: usize) -> usize {
    (0..=limit.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

const FILLER: &str = "_";
const MAX_ELEMENT: usize = 240;
const MAX_EXTENSION: usize = 9;
/// Longer than this, what follows the last dot of a name that is renamed is no extension.
const MAX_KEPT_EXTENSION: usize = 32;
/// What common file systems allow for one name, in bytes.
const MAX_FILE_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn check_unique(paths: &[&str], expected: &[&str]) {
        let mut files: Vec<FileEntry> = paths
            .iter()
            .map(|path| FileEntry { path: path.split('/').map(str::to_owned).collect(), ..FileEntry::default() })
            .collect();
        make_unique(&mut files);
        assert_eq!(files.iter().map(FileEntry::display_path).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn equal_paths_are_renamed_in_order() {
        check_unique(&["t/a.txt", "t/a.txt", "t/A.TXT", "t/b"], &["t/a.txt", "t/a.1.txt", "t/A.2.TXT", "t/b"]);
        check_unique(&["t/a", "t/a.1", "t/a"], &["t/a", "t/a.1", "t/a.2"]);
        check_unique(&["t/a", "t/a", "t/a.1"], &["t/a", "t/a.1", "t/a.1.1"]);
        check_unique(&["t/Σ", "t/ς", "t/σ"], &["t/Σ", "t/ς.1", "t/σ.2"]);
        check_unique(&["t/.x", "t/.x"], &["t/.x", "t/.1.x"]);
    }

    #[test]
    fn a_file_gives_way_to_a_folder_wherever_it_stands() {
        check_unique(&["t/a", "t/a/b"], &["t/a.1", "t/a/b"]);
        check_unique(&["t/A/b", "t/a"], &["t/A/b", "t/a.1"]);
        check_unique(&["t", "t/a/b"], &["t.1", "t/a/b"]);
    }

    #[test]
    fn renamed_names_stay_short_enough() {
        let long = format!("{}.é", "é".repeat(126));
        let mut files = vec![FileEntry { path: vec![long], ..FileEntry::default() }; 3];
        make_unique(&mut files);
        assert!(files.iter().all(|file| file.path[0].len() <= MAX_FILE_NAME));
        assert!(files[0].path != files[1].path && files[1].path != files[2].path);
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let check = |raw: String, expected: String| assert_eq!(clean_element(raw.as_bytes()), Some(expected));
        check("a".repeat(240), "a".repeat(240));
        check("a".repeat(300), "a".repeat(240));
        check(format!("{}.test", "a".repeat(300)), format!("{}.test", "a".repeat(240)));
        check(format!("{}.too long to be one", "a".repeat(300)), "a".repeat(240));
        check("☺".repeat(90), "☺".repeat(80));
        check(format!("a{}", "☺".repeat(90)), format!("a{}", "☺".repeat(80)));
    }
}
