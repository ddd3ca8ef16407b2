//! How a torrent's bytes lie in its pieces, blocks and files.
//!
//! A torrent is one run of bytes: its files laid end to end in the order of the metainfo, cut into pieces of equal
//! length (BEP 3); a v2 torrent begins every file at a piece boundary, which is modelled with pad files (BEP 47,
//! BEP 52). A [`Layout`] can only be made by [`Layout::new`], which checks the sums, so nobody has to check them again.
//! It knows nothing of hashes and touches no disk.

use std::ops::Range;

use crate::hash::Sha256Hash;

/// The length of a block, the unit of requests between peers, in bytes (16 KiB). The last block of a piece may be shorter.
pub const BLOCK_SIZE: u32 = 16 * 1024;

/// The most pieces a torrent may have; keeps what an index over pieces costs bounded.
pub const MAX_PIECES: u32 = 0x20_0000;

/// The longest piece that is accepted, in bytes: 32,767 blocks.
pub const MAX_PIECE_LENGTH: u32 = 32_767 * BLOCK_SIZE;

/// Where a torrent's bytes lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    piece_length: u32,
    total_size: u64,
    num_pieces: u32,
    files: Vec<FileEntry>,
}

/// One file of a torrent.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FileEntry {
    /// The path below the save folder, cleaned (see [`crate::paths`]); the first element is the torrent's name when it
    /// has several files or a folder. No two files of a torrent have the same path.
    pub path: Vec<String>,
    /// Where the file begins in the torrent, in bytes.
    pub offset: u64,
    /// The file's length in bytes. Zero for a symbolic link.
    pub length: u64,
    /// BEP 47: zeros that only move the next file to a piece boundary; never written, never shown.
    pub pad: bool,
    /// BEP 47: to be made executable.
    pub executable: bool,
    /// BEP 47: to be hidden.
    pub hidden: bool,
    /// BEP 47: this is a symbolic link to that path below the save folder (cleaned like `path`, so it cannot lead outside).
    pub symlink: Option<Vec<String>>,
    /// BEP 52: the root of the file's hash tree; only a non-empty file of a v2 or hybrid torrent has one.
    pub pieces_root: Option<Sha256Hash>,
}

impl FileEntry {
    /// The path with `/` between its elements, as it is shown.
    pub fn display_path(&self) -> String {
        self.path.join("/")
    }
}

/// A part of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSlice {
    /// The file's index in the layout.
    pub file: usize,
    /// Where the part begins in the file, in bytes.
    pub offset: u64,
    /// The part's length in bytes, never zero.
    pub length: u64,
}

/// Why files and a piece length do not make a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The piece length is zero or above [`MAX_PIECE_LENGTH`].
    #[error("the piece length {0} is not between 1 and {MAX_PIECE_LENGTH}")]
    PieceLength(u64),
    /// There are no bytes at all.
    #[error("the torrent has no content: its files are all empty")]
    Empty,
    /// The lengths' sum does not fit, or needs more than [`MAX_PIECES`] pieces.
    #[error("the torrent has more than {MAX_PIECES} pieces, the most that is supported")]
    TooManyPieces,
}

impl Layout {
    /// Lays `files` end to end, in their order (their `offset`s are filled in), and cuts them into pieces of
    /// `piece_length` bytes.
    ///
    /// # Errors
    /// When the piece length is out of range, the files hold nothing, or there would be too many pieces.
    pub fn new(piece_length: u32, mut files: Vec<FileEntry>) -> Result<Self, LayoutError> {
        if piece_length == 0 || piece_length > MAX_PIECE_LENGTH {
            return Err(LayoutError::PieceLength(piece_length.into()));
        }
        let mut total_size: u64 = 0;
        for file in &mut files {
            file.offset = total_size;
            total_size = total_size.checked_add(file.length).ok_or(LayoutError::TooManyPieces)?;
        }
        if total_size == 0 {
            return Err(LayoutError::Empty);
        }
        let num_pieces = u32::try_from(total_size.div_ceil(piece_length.into()))
            .ok()
            .filter(|&pieces| pieces <= MAX_PIECES)
            .ok_or(LayoutError::TooManyPieces)?;
        Ok(Self { piece_length, total_size, num_pieces, files })
    }

    /// The length of every piece but perhaps the last, in bytes.
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// The sum of all files' lengths, pad files included, in bytes.
    pub fn total_size(&self) -> u64 {
        self.total_size
    }

    /// What the torrent takes on disk when complete, in bytes: all files but pad files.
    pub fn size_on_disk(&self) -> u64 {
        self.files.iter().filter(|file| !file.pad).map(|file| file.length).sum()
    }

    /// The files in the torrent's order, pad files included.
    pub fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// The file with index `file`.
    pub fn file(&self, file: usize) -> Option<&FileEntry> {
        self.files.get(file)
    }

    /// The number of pieces, at least one.
    pub fn num_pieces(&self) -> u32 {
        self.num_pieces
    }

    /// The length of `piece` in bytes; zero if there is no such piece.
    pub fn piece_size(&self, piece: u32) -> u32 {
        let rest = self.total_size.saturating_sub(self.piece_offset(piece));
        u32::try_from(rest).unwrap_or(u32::MAX).min(self.piece_length)
    }

    /// Where `piece` begins in the torrent, in bytes.
    pub fn piece_offset(&self, piece: u32) -> u64 {
        u64::from(piece) * u64::from(self.piece_length)
    }

    /// How many blocks `piece` has; zero if there is no such piece.
    pub fn num_blocks(&self, piece: u32) -> u32 {
        self.piece_size(piece).div_ceil(BLOCK_SIZE)
    }

    /// The length of the block that begins at `block * BLOCK_SIZE` in `piece`, in bytes; zero if there is no such block.
    pub fn block_size(&self, piece: u32, block: u32) -> u32 {
        match block.checked_mul(BLOCK_SIZE) {
            Some(begin) => self.piece_size(piece).saturating_sub(begin).min(BLOCK_SIZE),
            None => 0,
        }
    }

    /// The parts of files that hold `length` bytes of `piece` from `begin` on, in order; what lies beyond the end of the
    /// torrent is left out. Pad files appear (as zeros to come from nowhere), empty files do not.
    pub fn slices(&self, piece: u32, begin: u32, length: u32) -> Slices<'_> {
        self.slices_at(self.piece_offset(piece) + u64::from(begin), length.into())
    }

    /// The parts of files that hold `length` bytes from `offset` on in the torrent, in order.
    pub fn slices_at(&self, offset: u64, length: u64) -> Slices<'_> {
        let next = self.file_at(offset);
        let end = offset.saturating_add(length).min(self.total_size);
        Slices { files: &self.files, next, position: offset, end }
    }

    /// The index of the file that holds the byte at `offset`; the number of files if that lies beyond the end.
    pub fn file_at(&self, offset: u64) -> usize {
        self.files.partition_point(|file| file.offset + file.length <= offset)
    }

    /// The pieces that hold some of file `file`; empty for an empty file or none.
    pub fn pieces_of_file(&self, file: usize) -> Range<u32> {
        let Some(entry) = self.files.get(file).filter(|entry| entry.length > 0) else {
            return 0..0;
        };
        let piece_length = u64::from(self.piece_length);
        let first = entry.offset / piece_length;
        let end = (entry.offset + entry.length).div_ceil(piece_length);
        // Both are at most the number of pieces, which is a u32.
        let as_index = |piece: u64| u32::try_from(piece).unwrap_or(self.num_pieces);
        as_index(first)..as_index(end)
    }

    /// The files, by index, that have bytes in `piece`, pad files included.
    pub fn files_of_piece(&self, piece: u32) -> impl Iterator<Item = usize> + '_ {
        self.slices(piece, 0, self.piece_size(piece)).map(|slice| slice.file)
    }
}

/// The parts of files that a run of bytes lies in; see [`Layout::slices`].
#[derive(Clone, Debug)]
pub struct Slices<'a> {
    files: &'a [FileEntry],
    next: usize,
    position: u64,
    end: u64,
}

impl Iterator for Slices<'_> {
    type Item = FileSlice;

    fn next(&mut self) -> Option<FileSlice> {
        while self.position < self.end {
            let file = self.next;
            let entry = self.files.get(file)?;
            self.next += 1;
            let stop = (entry.offset + entry.length).min(self.end);
            let Some(length) = stop.checked_sub(self.position).filter(|&length| length > 0) else {
                continue;
            };
            let offset = self.position - entry.offset;
            self.position = stop;
            return Some(FileSlice { file, offset, length });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(piece_length: u32, lengths: &[u64]) -> Layout {
        let files = lengths
            .iter()
            .enumerate()
            .map(|(i, &length)| FileEntry { path: vec![format!("f{i}")], length, ..FileEntry::default() })
            .collect();
        Layout::new(piece_length, files).unwrap()
    }

    #[test]
    fn pieces_and_blocks_end_with_the_content() {
        let layout = layout(40_000, &[100_000]);
        assert_eq!(layout.num_pieces(), 3);
        assert_eq!([0, 1, 2, 3, u32::MAX].map(|piece| layout.piece_size(piece)), [40_000, 40_000, 20_000, 0, 0]);
        assert_eq!([0, 2, 3].map(|piece| layout.num_blocks(piece)), [3, 2, 0]);
        assert_eq!([0, 1, 2, 3, u32::MAX].map(|block| layout.block_size(0, block)), [16_384, 16_384, 7_232, 0, 0]);
        assert_eq!(layout.block_size(2, 1), 20_000 - 16_384);
    }

    #[test]
    fn a_block_is_found_in_the_files_it_spans() {
        let layout = layout(10, &[3, 0, 4, 8, 0]);
        let slices = |piece, begin, length| {
            layout.slices(piece, begin, length).map(|s| (s.file, s.offset, s.length)).collect::<Vec<_>>()
        };
        assert_eq!(slices(0, 0, 10), [(0, 0, 3), (2, 0, 4), (3, 0, 3)]);
        assert_eq!(slices(0, 3, 2), [(2, 0, 2)]);
        assert_eq!(slices(0, 5, 4), [(2, 2, 2), (3, 0, 2)]);
        assert_eq!(slices(1, 0, 100), [(3, 3, 5)]);
        assert_eq!(slices(2, 0, 1), []);
        assert_eq!(slices(u32::MAX, u32::MAX, u32::MAX), []);
        assert_eq!(
            (0..6).map(|file| layout.pieces_of_file(file)).collect::<Vec<_>>(),
            [0..1, 0..0, 0..1, 0..2, 0..0, 0..0]
        );
        assert_eq!(layout.files_of_piece(0).collect::<Vec<_>>(), [0, 2, 3]);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let check = |piece_length, lengths: &[u64], error| {
            let files = lengths.iter().map(|&length| FileEntry { length, ..FileEntry::default() }).collect();
            assert_eq!(Layout::new(piece_length, files), Err(error));
        };
        check(0, &[1], LayoutError::PieceLength(0));
        check(u32::MAX, &[1], LayoutError::PieceLength(u32::MAX.into()));
        check(16_384, &[], LayoutError::Empty);
        check(16_384, &[0, 0], LayoutError::Empty);
        check(16_384, &[u64::MAX, 1], LayoutError::TooManyPieces);
        check(1, &[u64::from(MAX_PIECES) + 1], LayoutError::TooManyPieces);
    }
}
