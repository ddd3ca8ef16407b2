//! One torrent's storage: where its bytes are, and how they get there.
//!
//! A byte lies in its file, in the part file (when its file is not wanted and does not exist), or nowhere (pad files,
//! BEP 47: always zero, never written). A file is made when its first byte is written, an empty one when the torrent
//! finishes. Nothing is mapped into memory. It decides nothing about pieces: it is told what to write and when.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use reef_engine::TorrentId;
use reef_engine::disk::{DiskError, DiskErrorKind, Expect, FileStat, Finished, OpenStorage, Opened};
use reef_proto::layout::{FileEntry, FileSlice, Layout};
use reef_proto::message::BlockRequest;
use rustix::fs::Advice;

use super::failure::{failure, refusal, too_short};
use super::folder::{Access, Folder};
use super::hash::PieceHasher;
use super::is_cached;
use super::open_files::{OpenFiles, is_gone};
use super::part_file::PartFile;
use super::stamps::Stamps;
use super::vectored::{Gather, total, write_all_at};

/// A run of bytes in a file.
#[derive(Clone, Debug)]
pub struct FileRange {
    /// The file, open for reading.
    pub file: Arc<File>,
    /// Where in the file the run begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes. The file may turn out to be shorter.
    pub length: u64,
}

/// A torrent's files.
pub(super) struct Storage {
    torrent: TorrentId,
    layout: Arc<Layout>,
    folder: Folder,
    files: Arc<OpenFiles>,
    part: PartFile,
    places: RwLock<Vec<Place>>,
    written: Mutex<Written>,
    stamps: Stamps,
    streams: Mutex<HashMap<u32, Stream>>,
    /// Held while a file is written to. The kernel lets one thread write to a file at a time, and has the others wait at
    /// full speed; here they sleep.
    writing: [Mutex<()>; WRITERS],
}

/// Where a file's bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// In the file, which is wanted.
    Wanted,
    /// In the file, which was there although nobody wants it.
    Unwanted,
    /// In the part file.
    Part,
    /// In the part file although the file is wanted, because moving it failed.
    Stranded,
    /// Nowhere: padding.
    Pad,
}

/// What is not yet on stable storage.
#[derive(Default)]
struct Written {
    files: BTreeSet<usize>,
    /// Files that were found, and may have been written just before.
    found: BTreeSet<usize>,
    /// The first failure to put something there. The kernel reports it once and forgets the bytes, so it stands for as
    /// long as this storage is open.
    lost: Option<DiskError>,
}

/// The hash of a piece's first `position` bytes, which were hashed while they were written.
struct Stream {
    hasher: PieceHasher,
    position: u32,
}

/// Whether a file that was removed after it was opened will do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Handle {
    /// Any.
    Any,
    /// Any, if nobody else changed the file since its pieces were verified.
    Unchanged,
    /// Only the file that now has the name.
    Current,
    /// As [`Self::Current`], by somebody who reads on: files into which he came earlier were looked at then.
    Continued,
}

impl Storage {
    /// Looks at what is there. Makes nothing, but for one case: bytes in the part file whose file is wanted are moved
    /// to it, which an earlier run was told to do and could not finish.
    pub(super) fn open(torrent: TorrentId, open: OpenStorage, files: Arc<OpenFiles>) -> (Self, Opened) {
        let OpenStorage { layout, save_path, wanted, part_name, synced } = open;
        let folder = Folder::new(save_path);
        let part = PartFile::open(&folder, &part_name, &layout);
        let held = part.held_files();
        let mut look = folder.look();
        let mut place = |(index, entry): (usize, &FileEntry)| match (entry.pad, is_wanted(&wanted, index)) {
            (true, _) => Place::Pad,
            _ if held.contains(&index) => Place::Part,
            (false, true) => Place::Wanted,
            (false, false) if look.stat(&entry.path).is_some() => Place::Unwanted,
            (false, false) => Place::Part,
        };
        let places = layout.files().iter().enumerate().map(&mut place).collect();
        let storage = Self {
            torrent,
            layout,
            folder,
            files,
            part,
            places: RwLock::new(places),
            written: Mutex::default(),
            stamps: Stamps::default(),
            streams: Mutex::default(),
            writing: Default::default(),
        };
        if !held.is_empty() {
            storage.set_wanted(&wanted);
        }
        let files = storage.stats();
        if let Some(synced) = synced {
            storage.sync_all_but(&synced, &files);
        }
        let (mount, unsynced) = (storage.folder.mount(), !storage.is_synced());
        let opened = Opened { files, free_space: storage.folder.free_space(), mount, unsynced };
        (storage, opened)
    }

    /// Has the next sync put on stable storage what was found, but for files that are known to be there.
    fn sync_all_but(&self, synced: &[FileStat], found: &[Option<FileStat>]) {
        for (index, found) in found.iter().enumerate() {
            if found.is_none_or(|found| synced.get(index) == Some(&found)) {
                continue;
            }
            match self.place(index) {
                Place::Wanted | Place::Unwanted => drop(self.written().found.insert(index)),
                Place::Part | Place::Stranded => self.part.sync_again(),
                Place::Pad => {}
            }
        }
    }

    fn is_synced(&self) -> bool {
        let written = self.written();
        written.files.is_empty() && written.found.is_empty() && !self.part.is_dirty()
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Moves files between the part file and their own place. What cannot be moved stays where it is, stays readable
    /// there, and is tried again by [`Self::finish`].
    pub(super) fn set_wanted(&self, wanted: &[bool]) {
        let mut look = self.folder.look();
        for (index, entry) in self.layout.files().iter().enumerate() {
            let next = match (self.place(index), is_wanted(wanted, index)) {
                (Place::Pad, _) => Place::Pad,
                (Place::Part | Place::Stranded, true) => match self.export(index) {
                    Ok(()) => Place::Wanted,
                    Err(error) => {
                        log::warn!("the part file's bytes could not be moved to their file: {error}");
                        Place::Stranded
                    }
                },
                (_, true) => Place::Wanted,
                (Place::Wanted, false) if look.stat(&entry.path).is_none() => {
                    self.files.close(self.torrent, index);
                    Place::Part
                }
                (Place::Wanted | Place::Unwanted, false) => Place::Unwanted,
                (Place::Part | Place::Stranded, false) => Place::Part,
            };
            self.places_mut()[index] = next;
        }
    }

    /// Writes the bytes from `begin` of `piece` on; they may go on into the pieces after it.
    pub(super) fn write(&self, piece: u32, begin: u32, data: &[Bytes]) -> Result<(), DiskError> {
        let offset = self.layout.piece_offset(piece) + u64::from(begin);
        let mut gather = Gather::new(data);
        for slice in self.layout.slices_at(offset, total(data)) {
            match self.place(slice.file) {
                Place::Pad => gather.skip(slice.length),
                Place::Part | Place::Stranded => {
                    for (piece, begin, length) in self.by_piece(slice) {
                        self.part.write(slice.file, piece, begin, &mut gather.take(length))?;
                    }
                }
                Place::Wanted | Place::Unwanted => {
                    self.write_file(slice, &mut gather.take(slice.length))?;
                }
            }
        }
        Ok(())
    }

    /// What was hashed of a piece that is written in runs, if a run that begins there continues it; for the first run a
    /// hasher that took nothing in. [`Self::put_stream`] keeps it for the next run.
    pub(super) fn take_stream(&self, piece: u32, begin: u32, length: u64) -> Result<Option<PieceHasher>, DiskError> {
        if u64::from(begin) + length > u64::from(self.layout.piece_size(piece)) {
            return Err(self.outside());
        }
        let mut streams = self.streams();
        let stream = match begin {
            0 => Some(Stream { hasher: PieceHasher::v1(), position: 0 }),
            _ => streams.remove(&piece),
        };
        let Some(stream) = stream else { return Ok(None) };
        match begin.cmp(&stream.position) {
            std::cmp::Ordering::Equal => Ok(Some(stream.hasher)),
            // A run further on: what was hashed still holds.
            std::cmp::Ordering::Greater => {
                streams.insert(piece, stream);
                Ok(None)
            }
            // Bytes that were hashed before are being replaced: the hash is of no use any more.
            std::cmp::Ordering::Less => Ok(None),
        }
    }

    /// Keeps the hash of a piece's first `position` bytes, which are written.
    pub(super) fn put_stream(&self, piece: u32, hasher: PieceHasher, position: u32) {
        self.streams().insert(piece, Stream { hasher, position });
    }

    /// What is left to be read to know whether a piece hashes right: the hasher, and from where on in the torrent.
    pub(super) fn rest_of_check(&self, piece: u32, expect: Expect) -> (PieceHasher, u64) {
        let stream = self.streams().remove(&piece).filter(|stream| stream.hasher.serves(expect));
        let fresh = || Stream { hasher: PieceHasher::new(expect, &self.layout, piece), position: 0 };
        let Stream { hasher, position } = stream.unwrap_or_else(fresh);
        (hasher, self.layout.piece_offset(piece) + u64::from(position))
    }

    /// Reads a range of a piece.
    pub(super) fn read(&self, piece: u32, begin: u32, length: u32) -> Result<Bytes, DiskError> {
        if u64::from(begin) + u64::from(length) > u64::from(self.layout.piece_size(piece)) {
            return Err(self.outside());
        }
        let mut buffer = vec![0; length as usize];
        self.read_at(self.layout.piece_offset(piece) + u64::from(begin), &mut buffer, Handle::Unchanged)?;
        Ok(buffer.into())
    }

    /// Where a block's bytes are, if all of them are in files that are open.
    pub(super) fn ranges(&self, request: &BlockRequest) -> Option<Vec<FileRange>> {
        let end = u64::from(request.begin) + u64::from(request.length);
        if end > u64::from(self.layout.piece_size(request.piece)) {
            return None;
        }
        let slices = self.layout.slices(request.piece, request.begin, request.length);
        let range = |slice: FileSlice| match self.place(slice.file) {
            Place::Wanted | Place::Unwanted => {
                let file = self.files.get(self.torrent, slice.file, Access::Read)?;
                Some(FileRange { file, offset: slice.offset, length: slice.length })
            }
            Place::Part | Place::Stranded | Place::Pad => None,
        };
        slices.map(range).collect()
    }

    /// Whether nobody else changed the files that a block lies in, as far as these are open.
    pub(super) fn is_unchanged(&self, request: &BlockRequest) -> bool {
        let mut slices = self.layout.slices(request.piece, request.begin, request.length);
        slices.all(|slice| {
            let file = self.files.get(self.torrent, slice.file, Access::Read);
            file.is_none_or(|file| self.stamps.is_unchanged(slice.file, &file))
        })
    }

    /// Puts everything that was written on stable storage. Fails once and for all: what is not there then may be lost.
    fn sync(&self) -> Result<(), DiskError> {
        let (mut files, found) = {
            let mut written = self.written();
            (std::mem::take(&mut written.files), std::mem::take(&mut written.found))
        };
        let found_synced = match found.len() > MANY_FOUND {
            true => self.folder.sync_file_system(),
            false => {
                files.extend(found);
                Ok(())
            }
        };
        let sync_file = |index: usize| {
            let file = self.file(index, Access::Read, Handle::Any)?;
            file.sync_data().map_err(|error| failure(&self.path(index), &error))
        };
        let synced =
            found_synced.and_then(|()| files.into_iter().try_for_each(sync_file)).and_then(|()| self.part.sync());
        let mut written = self.written();
        if let Err(error) = synced {
            written.lost.get_or_insert(error);
        }
        written.lost.clone().map_or(Ok(()), Err)
    }

    /// Makes what has no bytes (empty files, links) and gives executables their bit. Syncs if it is told to, or if nobody
    /// could tell later whether what was written is lost. Says what is there then.
    pub(super) fn finish(&self, sync: bool) -> Result<Finished, DiskError> {
        for (index, entry) in self.layout.files().iter().enumerate() {
            match self.place(index) {
                Place::Wanted => {}
                Place::Stranded => {
                    self.export(index)?;
                    self.places_mut()[index] = Place::Wanted;
                }
                Place::Unwanted | Place::Part | Place::Pad => continue,
            }
            if let Some(target) = &entry.symlink {
                self.folder.symlink(&entry.path, target)?;
            } else if entry.length == 0 {
                self.folder.open(&entry.path, Access::Write)?;
            }
            if entry.executable && entry.symlink.is_none() {
                self.make_executable(index)?;
            }
        }
        let mount = self.folder.mount().filter(|_| !sync);
        if mount.is_none() {
            self.sync()?;
        } else if let Some(lost) = self.written().lost.clone() {
            return Err(lost);
        }
        let is_synced = self.is_synced();
        if is_synced {
            self.stamps.settle();
        }
        let files = self.stats().into_iter().map(Option::unwrap_or_default).collect();
        Ok(Finished { files, kept_by: mount.filter(|_| !is_synced) })
    }

    /// Closes the files. What was not synced is left to the system.
    pub(super) fn close(&self) {
        self.files.close_all(self.torrent);
        self.part.close();
    }

    /// Closes and removes the files, the part file and the folders that become empty; the save folder stays.
    pub(super) fn delete(&self) -> Result<(), DiskError> {
        self.files.close_all(self.torrent);
        let mut outcome = self.part.delete();
        let mut folders = BTreeSet::new();
        for entry in self.layout.files().iter().filter(|entry| !entry.pad) {
            // What cannot be removed does not keep the others.
            let removed = self.folder.remove_file(&entry.path);
            outcome = outcome.and(removed);
            folders.extend((1..entry.path.len()).map(|depth| &entry.path[..depth]));
        }
        let mut deepest_first: Vec<_> = folders.into_iter().collect();
        deepest_first.sort_by_key(|path| std::cmp::Reverse(path.len()));
        for folder in deepest_first {
            let removed = self.folder.remove_empty_folder(folder);
            outcome = outcome.and(removed);
        }
        outcome
    }

    /// What is there. A file in the part file has its own length and the part file's time, so that what is known of it is
    /// believed as long as the part file is the same.
    fn stats(&self) -> Vec<Option<FileStat>> {
        let mut look = self.folder.look();
        let held = self.part.held_files();
        let part_time = look.stat(self.part.name()).map(|stat| stat.mtime);
        let files = self.layout.files().iter().enumerate();
        let stat = |(index, entry): (usize, &FileEntry)| match self.place(index) {
            Place::Pad => None,
            Place::Part | Place::Stranded if !held.contains(&index) => None,
            Place::Part | Place::Stranded => Some(FileStat { size: entry.length, mtime: part_time? }),
            Place::Wanted | Place::Unwanted => look.stat(&entry.path),
        };
        files.map(stat).collect()
    }

    /// Reads from an offset in the torrent.
    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8], handle: Handle) -> Result<(), DiskError> {
        let mut rest = buffer;
        for slice in self.layout.slices_at(offset, rest.len() as u64) {
            // A slice is never longer than what it is a slice of.
            let (now, later) = rest.split_at_mut(usize::try_from(slice.length).unwrap_or(0));
            rest = later;
            match self.place(slice.file) {
                Place::Pad => now.fill(0),
                Place::Part | Place::Stranded => {
                    let mut now = now;
                    for (piece, begin, length) in self.by_piece(slice) {
                        let (part, others) = now.split_at_mut(usize::try_from(length).unwrap_or(0));
                        self.part.read(piece, begin, part)?;
                        now = others;
                    }
                }
                Place::Wanted | Place::Unwanted => {
                    let handle = match handle {
                        Handle::Continued if slice.offset > 0 => Handle::Any,
                        Handle::Continued => Handle::Current,
                        other => other,
                    };
                    let file = self.file(slice.file, Access::Read, handle)?;
                    file.read_exact_at(now, slice.offset).map_err(|error| self.read_error(slice.file, &error))?;
                }
            }
        }
        Ok(())
    }

    fn write_file(&self, slice: FileSlice, data: &mut [std::io::IoSlice<'_>]) -> Result<(), DiskError> {
        let file = self.file(slice.file, Access::Write, Handle::Any)?;
        if is_gone(&file) {
            self.files.close(self.torrent, slice.file);
            let message = "was removed or replaced while it was being written";
            return Err(refusal(&self.path(slice.file), DiskErrorKind::Missing, message));
        }
        let alone = self.writing[slice.file % WRITERS].lock().unwrap_or_else(PoisonError::into_inner);
        self.stamps.writes(slice.file);
        let written = write_all_at(&file, data, slice.offset);
        drop(alone);
        written.map_err(|error| failure(&self.path(slice.file), &error))?;
        // Only now: a sync that begins earlier has nothing to do with these bytes, and nobody was told of them.
        self.written().files.insert(slice.file);
        Ok(())
    }

    fn file(&self, index: usize, access: Access, handle: Handle) -> Result<Arc<File>, DiskError> {
        let Some(entry) = self.layout.file(index) else { return Err(self.outside()) };
        let open = || self.folder.open(&entry.path, access);
        let file = self.files.get_or_open(self.torrent, index, access, open)?;
        if handle == Handle::Current && is_gone(&file) {
            self.files.close(self.torrent, index);
            let file = self.files.get_or_open(self.torrent, index, access, open)?;
            self.stamps.verified(index, &file);
            return Ok(file);
        }
        match handle {
            Handle::Any | Handle::Continued => {}
            Handle::Current => self.stamps.verified(index, &file),
            Handle::Unchanged if self.stamps.is_unchanged(index, &file) => {}
            Handle::Unchanged => {
                let message = "was changed, replaced or removed since it was verified";
                return Err(refusal(&self.path(index), DiskErrorKind::Missing, message));
            }
        }
        Ok(file)
    }

    /// Copies a file's bytes out of the part file.
    fn export(&self, index: usize) -> Result<(), DiskError> {
        if !self.part.held_files().contains(&index) {
            return Ok(());
        }
        let pieces = self.part.pieces_held(self.layout.pieces_of_file(index));
        let mut buffer = Vec::new();
        for piece in pieces {
            let slices = self.layout.slices(piece, 0, self.layout.piece_size(piece));
            for slice in slices.filter(|slice| slice.file == index) {
                for (piece, begin, length) in self.by_piece(slice) {
                    buffer.resize(usize::try_from(length).unwrap_or(0), 0);
                    self.part.read(piece, begin, &mut buffer)?;
                    self.write_file(slice, &mut [std::io::IoSlice::new(&buffer)])?;
                }
            }
        }
        if self.written().files.contains(&index) {
            let file = self.file(index, Access::Write, Handle::Any)?;
            file.sync_data().map_err(|error| failure(&self.path(index), &error))?;
        }
        self.part.release(index, &self.layout)
    }

    fn make_executable(&self, index: usize) -> Result<(), DiskError> {
        let file = match self.file(index, Access::Read, Handle::Any) {
            Err(error) if error.kind == DiskErrorKind::Missing => return Ok(()),
            other => other?,
        };
        let set = file.metadata().and_then(|metadata| {
            let mode = metadata.permissions().mode();
            // Whoever may read it may run it.
            let wanted = mode | (mode & 0o444) >> 2;
            if wanted == mode { Ok(()) } else { file.set_permissions(std::fs::Permissions::from_mode(wanted)) }
        });
        set.map_err(|error| failure(&self.path(index), &error))
    }

    /// Tells the kernel what is about to be read, where it is not in memory already.
    pub(super) fn read_ahead(&self, begin: u64, end: u64) {
        for slice in self.layout.slices_at(begin, end - begin) {
            if matches!(self.place(slice.file), Place::Wanted | Place::Unwanted)
                && let Ok(file) = self.file(slice.file, Access::Read, Handle::Any)
                && !is_cached(&file, slice.offset)
            {
                // Advice: what fails here fails again, and is reported, where the bytes are read.
                let _ = rustix::fs::fadvise(&*file, slice.offset, NonZeroU64::new(slice.length), Advice::WillNeed);
            }
        }
    }

    /// A slice of a file cut at the ends of pieces: piece, offset in it, length.
    fn by_piece(&self, slice: FileSlice) -> impl Iterator<Item = (u32, u32, u64)> + use<> {
        let piece_length = u64::from(self.layout.piece_length());
        let mut position = self.layout.file(slice.file).map_or(0, |entry| entry.offset) + slice.offset;
        let end = position + slice.length;
        std::iter::from_fn(move || {
            let begin = position % piece_length;
            let length = (end - position).min(piece_length - begin);
            // Both fit: there are at most MAX_PIECES pieces, and a piece's length is a u32.
            let found = (u32::try_from(position / piece_length).ok()?, u32::try_from(begin).ok()?, length);
            position += length;
            (length > 0).then_some(found)
        })
    }

    fn read_error(&self, index: usize, error: &std::io::Error) -> DiskError {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => too_short(&self.path(index)),
            _ => failure(&self.path(index), error),
        }
    }

    fn outside(&self) -> DiskError {
        refusal(self.folder.path(), DiskErrorKind::Other, "a range that is not in the torrent")
    }

    fn path(&self, index: usize) -> PathBuf {
        self.folder.full(self.layout.file(index).map_or(&[], |entry| &entry.path))
    }

    fn place(&self, index: usize) -> Place {
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        places.get(index).copied().unwrap_or(Place::Pad)
    }

    fn places_mut(&self) -> std::sync::RwLockWriteGuard<'_, Vec<Place>> {
        self.places.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<u32, Stream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_wanted(wanted: &[bool], index: usize) -> bool {
    wanted.get(index).copied().unwrap_or(true)
}

/// More files than these that were found are synced with the whole file system they are on: each by itself would have the
/// device write out its cache each time. An error from before may have been told to somebody else; a file that is written
/// here is synced by itself, so that its errors are told here.
const MANY_FOUND: usize = 64;

/// Files of one torrent that are written to at a time.
const WRITERS: usize = 8;
