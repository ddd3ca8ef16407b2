//! Hashes files that are to become a torrent, on several threads.
//!
//! Unlike a storage this reads whatever paths it is given and follows links: they were chosen by the user, not by a
//! torrent. Each thread takes the next few pieces, reads a little of each in turn and hashes them side by side.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use reef_engine::disk::{DiskError, DiskErrorKind};
use reef_proto::hash::Sha1Hash;
use reef_proto::layout::{FileSlice, Layout};

use super::failure::{failure, refusal};
use super::hash::{PieceHasher, Update, advance};
use super::scratch::Scratch;

/// The SHA-1 hashes of all pieces of a torrent whose file `i` is at `paths[i]`. `on_piece` is called after each piece, on
/// the thread that hashed it.
///
/// # Errors
/// When a file cannot be read or has not the length that the layout says.
pub fn hash_files(
    layout: &Layout,
    paths: &[PathBuf],
    threads: usize,
    on_piece: impl Fn() + Sync,
) -> Result<Vec<Sha1Hash>, DiskError> {
    let work = Work { layout, paths, on_piece, next: AtomicU32::new(0), failed: AtomicBool::new(false) };
    let parts: Vec<Result<_, DiskError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(|| work.run())).collect();
        let lost = || Err(refusal(Path::new(""), DiskErrorKind::Other, "a thread that hashes was lost"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| lost())).collect()
    });
    let mut hashes = parts.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    hashes.sort_unstable_by_key(|(piece, _)| *piece);
    Ok(hashes.into_iter().map(|(_, hash)| hash).collect())
}

struct Work<'a, P> {
    layout: &'a Layout,
    paths: &'a [PathBuf],
    on_piece: P,
    next: AtomicU32,
    /// Set by a thread that gives up, so that the others do not go on for nothing.
    failed: AtomicBool,
}

/// The file that a thread opened last.
type Open = Option<(usize, Arc<File>)>;

/// A piece that is being read.
struct Reading {
    piece: u32,
    hasher: PieceHasher,
    /// What is still to be read, the first part last.
    rest: Vec<(FileSlice, Arc<File>)>,
}

impl<P: Fn() + Sync> Work<'_, P> {
    fn run(&self) -> Result<Vec<(u32, Sha1Hash)>, DiskError> {
        let mut scratch = Scratch::default();
        let mut hashes = Vec::new();
        let mut open = None;
        while !self.failed.load(Ordering::Relaxed) {
            let first = self.next.fetch_add(TOGETHER, Ordering::Relaxed);
            let end = first.saturating_add(TOGETHER).min(self.layout.num_pieces());
            if first >= end {
                break;
            }
            let hashed = self.hash(first..end, &mut open, scratch.buffer());
            hashes.extend(hashed.inspect_err(|_| self.failed.store(true, Ordering::Relaxed))?);
        }
        Ok(hashes)
    }

    fn hash(
        &self,
        pieces: std::ops::Range<u32>,
        open: &mut Open,
        scratch: &mut [u8],
    ) -> Result<Vec<(u32, Sha1Hash)>, DiskError> {
        let mut readings = pieces.map(|piece| self.begin(piece, open)).collect::<Result<Vec<_>, _>>()?;
        let step = scratch.len() / TOGETHER as usize;
        let mut hashes = Vec::new();
        while !readings.is_empty() {
            let mut updates = Vec::with_capacity(readings.len());
            for (reading, buffer) in readings.iter_mut().zip(scratch.chunks_mut(step)) {
                let data = self.read(reading, buffer)?;
                let hasher = std::mem::replace(&mut reading.hasher, PieceHasher::nothing());
                updates.push(Update { hasher, data: vec![data], ends: reading.rest.is_empty() });
            }
            let mut still = Vec::with_capacity(readings.len());
            for (reading, hasher) in readings.into_iter().zip(advance(updates)) {
                if reading.rest.is_empty() {
                    hashes.push((reading.piece, hasher.finish().v1.unwrap_or_default()));
                    (self.on_piece)();
                } else {
                    still.push(Reading { hasher, ..reading });
                }
            }
            readings = still;
        }
        Ok(hashes)
    }

    fn begin(&self, piece: u32, open: &mut Open) -> Result<Reading, DiskError> {
        let mut rest = Vec::new();
        for slice in self.layout.slices(piece, 0, self.layout.piece_size(piece)) {
            let file = match open.take().filter(|(index, _)| *index == slice.file) {
                Some((_, file)) => file,
                None => Arc::new(self.open(slice.file)?),
            };
            *open = Some((slice.file, file.clone()));
            rest.push((slice, file));
        }
        rest.reverse();
        Ok(Reading { piece, hasher: PieceHasher::v1(), rest })
    }

    /// The next bytes of a piece, as many as the buffer takes.
    fn read<'a>(&self, reading: &mut Reading, buffer: &'a mut [u8]) -> Result<&'a [u8], DiskError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let Some((slice, file)) = reading.rest.last_mut() else { break };
            let step = (buffer.len() - filled).min(usize::try_from(slice.length).unwrap_or(usize::MAX));
            file.read_exact_at(&mut buffer[filled..][..step], slice.offset).map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => changed(self.path(slice.file)),
                _ => failure(self.path(slice.file), &error),
            })?;
            filled += step;
            slice.offset += step as u64;
            slice.length -= step as u64;
            if slice.length == 0 {
                reading.rest.pop();
            }
        }
        Ok(&buffer[..filled])
    }

    fn path(&self, file: usize) -> &Path {
        self.paths.get(file).map_or_else(|| Path::new(""), PathBuf::as_path)
    }

    fn open(&self, index: usize) -> Result<File, DiskError> {
        let path = self.path(index);
        let file = File::open(path).map_err(|error| failure(path, &error))?;
        let length = file.metadata().map_err(|error| failure(path, &error))?.len();
        if self.layout.file(index).is_some_and(|entry| entry.length != length) {
            return Err(changed(path));
        }
        Ok(file)
    }
}

/// Pieces that one thread hashes at once.
const TOGETHER: u32 = 16;

fn changed(path: &Path) -> DiskError {
    refusal(path, DiskErrorKind::Missing, "its length changed while it was hashed; try again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use reef_proto::layout::FileEntry;

    #[test]
    fn hashes_are_those_of_the_files_laid_end_to_end() {
        let folder = tempfile::tempdir().unwrap();
        let lengths = [3_000_000_usize, 0, 5, 1, 2_500_000];
        let content: Vec<u8> = (0..lengths.iter().sum::<usize>()).map(|i| (i % 251) as u8).collect();
        let (mut files, mut paths, mut rest) = (vec![], vec![], &content[..]);
        for (index, length) in lengths.into_iter().enumerate() {
            let (now, later) = rest.split_at(length);
            rest = later;
            paths.push(folder.path().join(index.to_string()));
            std::fs::write(&paths[index], now).unwrap();
            files.push(FileEntry { path: vec![index.to_string()], length: length as u64, ..FileEntry::default() });
        }
        for piece_length in [16_384, 65_536, 4 << 20] {
            let layout = Layout::new(piece_length, files.clone()).unwrap();
            for threads in [1, 3] {
                let pieces = AtomicU32::new(0);
                let count = || {
                    pieces.fetch_add(1, Ordering::Relaxed);
                };
                let hashes = hash_files(&layout, &paths, threads, count).unwrap();
                let expected: Vec<_> = content.chunks(piece_length as usize).map(Sha1Hash::of).collect();
                assert_eq!(hashes, expected);
                assert_eq!(pieces.into_inner(), layout.num_pieces());
            }
        }
        std::fs::write(&paths[3], b"longer").unwrap();
        let layout = Layout::new(16_384, files).unwrap();
        let error = hash_files(&layout, &paths, 2, || ()).unwrap_err();
        assert_eq!(error.path, paths[3].display().to_string());
    }
}
