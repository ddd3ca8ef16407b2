//! The part file: bytes of files that are not wanted, which had to be fetched because a wanted file shares a piece with
//! them. It lies in the save folder as `.NAME.parts` and goes away when nothing is left in it.
//!
//! On disk, all numbers little-endian: an 8-byte mark, piece length, number of pieces and number of files as u32; one
//! byte a file, which is 1 while that file's bytes are here; one u32 a piece, which is 0 or 1 + its slot; then, from the
//! next multiple of 4096 on, the slots, each as long as a piece, holding bytes at the place that they have in it. The
//! file marks decide where a byte is: a file that became wanted is copied out as a whole and only then loses its mark,
//! so that a crash between the two repeats the copy and loses nothing.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use reef_engine::disk::DiskError;
use reef_proto::layout::Layout;

use super::failure::{failure, too_short};
use super::folder::{Access, Folder};
use super::vectored::write_all_at;

/// One torrent's part file, whether it exists or not.
pub(super) struct PartFile {
    folder: Folder,
    name: [String; 1],
    shape: Shape,
    state: Mutex<State>,
}

/// What the header is computed from.
#[derive(Clone, Copy)]
struct Shape {
    piece_length: u32,
    pieces: u32,
    files: u32,
}

#[derive(Default)]
struct State {
    file: Option<(File, Access)>,
    slots: HashMap<u32, u32>,
    free: BTreeSet<u32>,
    holds: BTreeSet<usize>,
    dirty: bool,
}

impl PartFile {
    /// Looks for the part file of that name; makes none. One that does not belong to a torrent of this shape is
    /// treated as empty, and written over when needed.
    pub(super) fn open(folder: &Folder, part_name: &str, layout: &Layout) -> Self {
        let shape = Shape {
            piece_length: layout.piece_length(),
            pieces: layout.num_pieces(),
            files: u32::try_from(layout.files().len()).unwrap_or(u32::MAX),
        };
        let name = [format!(".{part_name}.parts")];
        let state = match folder.open(&name, Access::Read).ok().map(|file| shape.read_header(&file)) {
            Some(Ok(state)) => state,
            Some(Err(error)) => {
                log::warn!("{}: not a part file of this torrent, ignored: {error}", folder.full(&name).display());
                State::default()
            }
            None => State::default(),
        };
        Self { folder: folder.clone(), name, shape, state: Mutex::new(state) }
    }

    /// The part file's name below the save folder.
    pub(super) fn name(&self) -> &[String] {
        &self.name
    }

    /// The files, by index, whose bytes are here.
    pub(super) fn held_files(&self) -> BTreeSet<usize> {
        self.lock().holds.clone()
    }

    /// Writes bytes of file `index` that lie at `begin` of `piece`.
    pub(super) fn write(
        &self,
        index: usize,
        piece: u32,
        begin: u32,
        slices: &mut [IoSlice<'_>],
    ) -> Result<(), DiskError> {
        let mut state = self.lock();
        self.write_locked(&mut state, (index, piece, begin), slices).map_err(|error| failure(&self.path(), &error))
    }

    /// Reads bytes that lie at `begin` of `piece`.
    pub(super) fn read(&self, piece: u32, begin: u32, buffer: &mut [u8]) -> Result<(), DiskError> {
        let mut state = self.lock();
        let Some(&slot) = state.slots.get(&piece) else { return Err(too_short(&self.path())) };
        let offset = self.shape.slot_offset(slot) + u64::from(begin);
        let read = self.file(&mut state, Access::Read).and_then(|file| file.read_exact_at(buffer, offset));
        read.map_err(|error| failure(&self.path(), &error))
    }

    /// Which of these pieces have bytes here.
    pub(super) fn pieces_held(&self, pieces: std::ops::Range<u32>) -> Vec<u32> {
        let state = self.lock();
        pieces.filter(|piece| state.slots.contains_key(piece)).collect()
    }

    /// Forgets file `index`, whose bytes were copied out, and the slots of pieces that no held file has bytes in.
    pub(super) fn release(&self, index: usize, layout: &Layout) -> Result<(), DiskError> {
        let mut state = self.lock();
        self.release_locked(&mut state, index, layout).map_err(|error| failure(&self.path(), &error))
    }

    /// Puts what was written on stable storage.
    pub(super) fn sync(&self) -> Result<(), DiskError> {
        let mut state = self.lock();
        if !std::mem::take(&mut state.dirty) {
            return Ok(());
        }
        let synced = self.file(&mut state, Access::Read).and_then(|file| file.sync_data());
        state.dirty = synced.is_err();
        synced.map_err(|error| failure(&self.path(), &error))
    }

    /// Whether something was written that is not on stable storage.
    pub(super) fn is_dirty(&self) -> bool {
        self.lock().dirty
    }

    /// Has the next [`Self::sync`] sync what an earlier run wrote.
    pub(super) fn sync_again(&self) {
        self.lock().dirty = true;
    }

    /// Closes the file; it is opened again when needed.
    pub(super) fn close(&self) {
        self.lock().file = None;
    }

    /// Removes the file and forgets everything in it.
    pub(super) fn delete(&self) -> Result<(), DiskError> {
        *self.lock() = State::default();
        self.folder.remove_file(&self.name)
    }

    fn write_locked(
        &self,
        state: &mut State,
        (index, piece, begin): (usize, u32, u32),
        slices: &mut [IoSlice<'_>],
    ) -> io::Result<()> {
        self.file(state, Access::Write)?;
        let State { file: Some((file, _)), slots, free, holds, dirty } = state else { return Ok(()) };
        let slot = match slots.get(&piece) {
            Some(&slot) => slot,
            None => {
                // Slots are numbered without gaps: those in use and the free ones.
                let next = u32::try_from(slots.len() + free.len()).unwrap_or(u32::MAX);
                let slot = free.pop_first().unwrap_or(next);
                file.write_all_at(&(slot + 1).to_le_bytes(), self.shape.slot_entry(piece))?;
                slots.insert(piece, slot);
                slot
            }
        };
        if !holds.contains(&index) {
            file.write_all_at(&[1], self.shape.file_entry(index))?;
            holds.insert(index);
        }
        write_all_at(file, slices, self.shape.slot_offset(slot) + u64::from(begin))?;
        *dirty = true;
        Ok(())
    }

    fn release_locked(&self, state: &mut State, index: usize, layout: &Layout) -> io::Result<()> {
        if !state.holds.contains(&index) {
            return Ok(());
        }
        self.file(state, Access::Write)?;
        let State { file: Some((file, _)), slots, free, holds, dirty } = state else { return Ok(()) };
        file.write_all_at(&[0], self.shape.file_entry(index))?;
        holds.remove(&index);
        for piece in layout.pieces_of_file(index) {
            if layout.files_of_piece(piece).any(|file| holds.contains(&file)) {
                continue;
            }
            if let Some(slot) = slots.remove(&piece) {
                file.write_all_at(&[0; 4], self.shape.slot_entry(piece))?;
                free.insert(slot);
            }
        }
        *dirty = true;
        if slots.is_empty() {
            *state = State::default();
            self.folder.remove_file(&self.name).map_err(|error| io::Error::other(error.message))?;
        }
        Ok(())
    }

    /// The open file; for writing it is made, with its header, where there is none that fits.
    fn file<'a>(&self, state: &'a mut State, access: Access) -> io::Result<&'a File> {
        if state.file.as_ref().is_none_or(|(_, open)| *open < access) {
            let file = self.folder.open(&self.name, access).map_err(|error| io::Error::other(error.message))?;
            if access == Access::Write && state.slots.is_empty() && state.holds.is_empty() {
                file.set_len(0)?;
                file.set_len(self.shape.header_length())?;
                file.write_all_at(&self.shape.mark(), 0)?;
            }
            state.file = Some((file, access));
        }
        state.file.as_ref().map(|(file, _)| file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn path(&self) -> PathBuf {
        self.folder.full(&self.name)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change leaves the state whole at each step, so a poisoned one can be used.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Shape {
    fn mark(&self) -> [u8; MARK_LENGTH] {
        let mut mark = [0; MARK_LENGTH];
        mark[..8].copy_from_slice(MAGIC);
        mark[8..12].copy_from_slice(&self.piece_length.to_le_bytes());
        mark[12..16].copy_from_slice(&self.pieces.to_le_bytes());
        mark[16..].copy_from_slice(&self.files.to_le_bytes());
        mark
    }

    fn file_entry(&self, index: usize) -> u64 {
        MARK_LENGTH as u64 + index as u64
    }

    fn slot_entry(&self, piece: u32) -> u64 {
        MARK_LENGTH as u64 + u64::from(self.files) + 4 * u64::from(piece)
    }

    fn header_length(&self) -> u64 {
        self.slot_entry(self.pieces).next_multiple_of(4096)
    }

    fn slot_offset(&self, slot: u32) -> u64 {
        self.header_length() + u64::from(slot) * u64::from(self.piece_length)
    }

    fn read_header(&self, file: &File) -> io::Result<State> {
        let bad = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let mut mark = [0; MARK_LENGTH];
        file.read_exact_at(&mut mark, 0)?;
        if mark != self.mark() {
            return Err(bad("another mark or shape"));
        }
        let mut flags = vec![0; self.files as usize];
        file.read_exact_at(&mut flags, self.file_entry(0))?;
        let mut table = vec![0; self.pieces as usize * 4];
        file.read_exact_at(&mut table, self.slot_entry(0))?;
        let holds = flags.iter().enumerate().filter(|(_, flag)| **flag == 1).map(|(index, _)| index).collect();
        let mut state = State { holds, ..State::default() };
        let mut used = BTreeSet::new();
        for (piece, entry) in (0..).zip(table.chunks_exact(4)) {
            let slot = u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]);
            let Some(slot) = slot.checked_sub(1) else { continue };
            if slot >= self.pieces || !used.insert(slot) {
                return Err(bad("slots that contradict each other"));
            }
            state.slots.insert(piece, slot);
        }
        let end = used.last().map_or(0, |last| last + 1);
        state.free = (0..end).filter(|slot| !used.contains(slot)).collect();
        Ok(state)
    }
}

const MAGIC: &[u8; 8] = b"reefpar1";
const MARK_LENGTH: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use reef_proto::layout::FileEntry;

    fn layout(lengths: &[u64]) -> Layout {
        let files = lengths
            .iter()
            .enumerate()
            .map(|(i, &length)| FileEntry { path: vec![format!("f{i}")], length, ..FileEntry::default() })
            .collect();
        Layout::new(16, files).unwrap()
    }

    fn write(part: &PartFile, index: usize, piece: u32, begin: u32, bytes: &[u8]) {
        part.write(index, piece, begin, &mut [IoSlice::new(bytes)]).unwrap();
    }

    fn read(part: &PartFile, piece: u32, begin: u32) -> Option<[u8; 4]> {
        let mut buffer = [0; 4];
        part.read(piece, begin, &mut buffer).ok().map(|()| buffer)
    }

    #[test]
    fn bytes_are_found_again_after_a_restart() {
        let save = tempfile::tempdir().unwrap();
        let folder = Folder::new(save.path().to_owned());
        let layout = layout(&[20, 20, 20, 20]);
        let part = PartFile::open(&folder, "x", &layout);
        assert!(std::fs::read_dir(save.path()).unwrap().next().is_none(), "nothing is made before it is needed");
        assert_eq!(read(&part, 1, 4), None);
        write(&part, 1, 1, 4, b"abcd");
        write(&part, 2, 3, 2, b"efgh");
        part.sync().unwrap();
        drop(part);
        let part = PartFile::open(&folder, "x", &layout);
        assert_eq!(part.held_files(), BTreeSet::from([1, 2]));
        assert_eq!(part.pieces_held(0..5), [1, 3]);
        assert_eq!((read(&part, 1, 4), read(&part, 3, 2)), (Some(*b"abcd"), Some(*b"efgh")));
        part.release(1, &layout).unwrap();
        drop(part);
        let part = PartFile::open(&folder, "x", &layout);
        assert_eq!((read(&part, 1, 4), read(&part, 3, 2)), (None, Some(*b"efgh")));
        write(&part, 3, 4, 0, b"ijkl");
        assert_eq!((read(&part, 4, 0), read(&part, 3, 2)), (Some(*b"ijkl"), Some(*b"efgh")));
        part.release(2, &layout).unwrap();
        part.release(3, &layout).unwrap();
        assert!(std::fs::read_dir(save.path()).unwrap().next().is_none(), "an empty one is deleted");
        write(&part, 1, 1, 4, b"mnop");
        assert_eq!(read(&part, 1, 4), Some(*b"mnop"));
    }

    #[test]
    fn a_part_file_of_another_torrent_is_not_believed() {
        let save = tempfile::tempdir().unwrap();
        let folder = Folder::new(save.path().to_owned());
        let part = PartFile::open(&folder, "x", &layout(&[20, 20]));
        write(&part, 1, 1, 4, b"abcd");
        let other = layout(&[20, 20, 20]);
        let part = PartFile::open(&folder, "x", &other);
        assert_eq!((part.held_files(), read(&part, 1, 4)), (BTreeSet::new(), None));
        write(&part, 2, 2, 8, b"efgh");
        let part = PartFile::open(&folder, "x", &other);
        assert_eq!((part.held_files(), read(&part, 2, 8)), (BTreeSet::from([2]), Some(*b"efgh")));
        std::fs::write(save.path().join(".x.parts"), b"short").unwrap();
        assert_eq!(PartFile::open(&folder, "x", &other).held_files(), BTreeSet::new());
    }
}
