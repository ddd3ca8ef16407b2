//! New torrent files, from a list of files and the hashes of their pieces.
//!
//! Made in two steps, since hashing needs the disk and is the caller's: [`NewTorrent::plan`] says how the files lie in
//! pieces, [`Plan::build`] takes the pieces' hashes. The files are not looked at here, and the clock is not read. What is
//! built is read back before it is given out: a torrent that this program would read differently is never made.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::bencode::Item;
use crate::hash::Sha1Hash;
use crate::layout::{BLOCK_SIZE, FileEntry, Layout, LayoutError, MAX_PIECE_LENGTH, MAX_PIECES};
use crate::metainfo::{Metainfo, MetainfoError};
use crate::paths;

/// What is to become a torrent.
#[derive(Clone, Debug, Default)]
pub struct NewTorrent {
    /// The file's name, or the folder's.
    pub name: String,
    /// The files in the order in which they shall lie in the torrent.
    pub content: Content,
    /// The length of a piece in bytes, a power of two of at least 16 KiB; chosen by size if nothing is said.
    pub piece_length: Option<u32>,
    /// Trackers in tiers (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// Web seeds (BEP 19).
    pub web_seeds: Vec<String>,
    /// BEP 27: peers come from the trackers alone.
    pub private: bool,
    /// A mark by which private trackers tell equal torrents apart; it changes the info-hash.
    pub source: Option<String>,
    /// A text for people.
    pub comment: Option<String>,
    /// The program that makes the torrent.
    pub created_by: Option<String>,
    /// When it is made, in seconds since 1970.
    pub creation_date: Option<i64>,
}

/// One file, or a folder of files.
#[derive(Clone, Debug)]
pub enum Content {
    /// A single file of this length in bytes; the torrent has its name.
    File(u64),
    /// Files below a folder; the torrent has the folder's name.
    Folder(Vec<NewFile>),
}

impl Default for Content {
    fn default() -> Self {
        Self::Folder(Vec::new())
    }
}

/// A file below the torrent's folder.
#[derive(Clone, Debug, Default)]
pub struct NewFile {
    /// The path below the folder.
    pub path: Vec<String>,
    /// The length in bytes.
    pub length: u64,
    /// BEP 47: to be made executable.
    pub executable: bool,
}

/// How a new torrent's files lie in pieces; lacks only the pieces' hashes.
#[derive(Clone, Debug)]
pub struct Plan {
    torrent: NewTorrent,
    layout: Layout,
}

/// The hashes of a new torrent's pieces. Other versions of the format need others.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PieceHashes {
    /// SHA-1 of each piece, in order (BEP 3).
    V1(Vec<Sha1Hash>),
}

/// Why no torrent can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// Sizes that make no torrent.
    #[error("{0}")]
    Layout(#[from] LayoutError),
    /// The piece length that was asked for is no allowed one.
    #[error("a piece length of {0} bytes is not possible: it must be a power of two from {BLOCK_SIZE} to 268435456")]
    PieceLength(u32),
    /// A name that would be changed by whoever reads the torrent.
    #[error("the name `{0}` cannot be used in a torrent as it is: rename the file")]
    Name(String),
    /// Two files whose names differ in upper and lower case alone, or not at all.
    #[error("`{0}` has the name of another file or folder where upper and lower case are the same: rename one of them")]
    SameName(String),
    /// Not one hash for each piece.
    #[error("{found} piece hashes were given for {expected} pieces")]
    WrongHashes {
        /// How many were given.
        found: usize,
        /// How many pieces there are.
        expected: u32,
    },
    /// What was built is not read as it was meant, by a tracker's URL with no scheme for example.
    #[error("the torrent would not be read as it is meant: {0}")]
    NotReadable(String),
}

impl NewTorrent {
    /// Checks names and sizes, and lays the files out.
    ///
    /// # Errors
    /// When there is nothing to share, or a name or the piece length cannot be used.
    pub fn plan(self) -> Result<Plan, CreateError> {
        check_name(&self.name)?;
        let files = self.entries()?;
        let total = files.iter().map(|file| file.length).fold(0, u64::saturating_add);
        let piece_length = self.piece_length.unwrap_or_else(|| choose_piece_length(total));
        if !piece_length.is_power_of_two() || !(BLOCK_SIZE..=MAX_PIECE_LENGTH).contains(&piece_length) {
            return Err(CreateError::PieceLength(piece_length));
        }
        let layout = Layout::new(piece_length, files)?;
        Ok(Plan { torrent: self, layout })
    }

    /// The files as the layout has them.
    fn entries(&self) -> Result<Vec<FileEntry>, CreateError> {
        let files = match &self.content {
            Content::File(length) => {
                return Ok(vec![FileEntry { path: vec![self.name.clone()], length: *length, ..FileEntry::default() }]);
            }
            Content::Folder(files) => files,
        };
        let mut entries = Vec::with_capacity(files.len());
        for file in files {
            if file.path.is_empty() || file.path.len() >= paths::MAX_DEPTH {
                return Err(CreateError::Name(file.path.join("/")));
            }
            file.path.iter().try_for_each(|element| check_name(element))?;
            let path = [std::slice::from_ref(&self.name), &file.path].concat();
            entries.push(FileEntry { path, length: file.length, executable: file.executable, ..FileEntry::default() });
        }
        let wanted = entries.clone();
        paths::make_unique(&mut entries);
        match wanted.iter().zip(&entries).find(|(wanted, unique)| wanted.path != unique.path) {
            Some((same, _)) => Err(CreateError::SameName(same.display_path())),
            None => Ok(entries),
        }
    }
}

impl Plan {
    /// How the files lie in pieces; file `i` is file `i` of what was planned.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The torrent, given the hashes of its pieces. [`Metainfo::to_bytes`] gives the file's bytes.
    ///
    /// # Errors
    /// When there is not one hash for each piece, or the result would not be read as it is meant.
    pub fn build(self, hashes: PieceHashes) -> Result<Metainfo, CreateError> {
        let PieceHashes::V1(hashes) = hashes;
        let expected = self.layout.num_pieces();
        if u32::try_from(hashes.len()) != Ok(expected) {
            return Err(CreateError::WrongHashes { found: hashes.len(), expected });
        }
        let info = Bytes::from(self.info(&hashes).to_bytes());
        let not_readable = |error: MetainfoError| CreateError::NotReadable(error.to_string());
        let mut metainfo = Metainfo::from_info(info, self.torrent.trackers).map_err(not_readable)?;
        metainfo.web_seeds = self.torrent.web_seeds;
        metainfo.comment = self.torrent.comment.filter(|text| !text.is_empty());
        metainfo.created_by = self.torrent.created_by.filter(|text| !text.is_empty());
        metainfo.creation_date = self.torrent.creation_date;
        let read = Metainfo::parse(&metainfo.to_bytes()).map_err(not_readable)?;
        if read.info.layout != self.layout {
            return Err(CreateError::NotReadable("its files would be others".to_owned()));
        }
        let lost =
            metainfo.trackers.iter().flatten().find(|url| !read.trackers.iter().flatten().any(|kept| kept == *url));
        if let Some(url) = lost {
            return Err(CreateError::NotReadable(format!(
                "`{url}` is no tracker's URL, such as udp://host:port/announce"
            )));
        }
        Ok(read)
    }

    fn info(&self, hashes: &[Sha1Hash]) -> Item {
        let pieces: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
        let mut info: BTreeMap<Vec<u8>, Item> = BTreeMap::new();
        let mut add = |key: &str, item: Item| info.insert(key.into(), item);
        add("name", Item::from(&self.torrent.name));
        add("piece length", Item::from(self.layout.piece_length()));
        add("pieces", Item::from(pieces));
        match &self.torrent.content {
            Content::File(length) => add("length", size(*length)),
            Content::Folder(files) => add("files", Item::List(files.iter().map(file_item).collect())),
        };
        if self.torrent.private {
            add("private", Item::Int(1));
        }
        if let Some(source) = &self.torrent.source {
            add("source", Item::from(source));
        }
        Item::Dict(info)
    }
}

/// The piece length for `total` bytes of content: a power of two that makes about a thousand to two thousand pieces,
/// between 16 KiB and 16 MiB, and longer only where there would be too many pieces.
pub fn choose_piece_length(total: u64) -> u32 {
    let mut length = BLOCK_SIZE;
    let pieces = |length: u32| total.div_ceil(length.into());
    while length < MAX_PIECE_LENGTH / 2
        && (pieces(length) > u64::from(MAX_PIECES) || pieces(length) > WANTED_PIECES && length < LONG_PIECE)
    {
        length *= 2;
    }
    length
}

fn check_name(name: &str) -> Result<(), CreateError> {
    if paths::clean_element(name.as_bytes()).as_deref() == Some(name) {
        Ok(())
    } else {
        Err(CreateError::Name(name.escape_debug().to_string()))
    }
}

fn file_item(file: &NewFile) -> Item {
    let mut entries = vec![("length", size(file.length)), ("path", Item::list(&file.path))];
    if file.executable {
        entries.push(("attr", Item::from("x")));
    }
    Item::dict(entries)
}

/// A length; those of a layout are far below the largest integer.
fn size(length: u64) -> Item {
    Item::Int(i64::try_from(length).unwrap_or(i64::MAX))
}

const WANTED_PIECES: u64 = 2048;
const LONG_PIECE: u32 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn piece_lengths_grow_with_the_content() {
        let check = |total: u64, length: u32| assert_eq!(choose_piece_length(total), length, "{total}");
        check(0, 16 << 10);
        check(32 << 20, 16 << 10);
        check((32 << 20) + 1, 32 << 10);
        check(1 << 30, 512 << 10);
        check(100 << 30, 16 << 20);
        check(64 << 40, 32 << 20);
        check(u64::MAX, 256 << 20);
    }
}
