//! Hashes files that are to become a torrent, on several threads.
//!
//! Unlike a storage this reads whatever paths it is given and follows links: they were chosen by the user, not by a
//! torrent. Each thread takes the next piece, reads it from the first byte to the last, and keeps the file it is in open.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use reef_engine::disk::{DiskError, DiskErrorKind, Expect};
use reef_proto::hash::Sha1Hash;
use reef_proto::layout::Layout;

use super::failure::{failure, refusal};
use super::hash::PieceHasher;
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

/// The file that a thread reads.
type Open = Option<(usize, File)>;

impl<P: Fn() + Sync> Work<'_, P> {
    fn run(&self) -> Result<Vec<(u32, Sha1Hash)>, DiskError> {
        let mut scratch = Scratch::default();
        let mut hashes = Vec::new();
        let mut open = None;
        while !self.failed.load(Ordering::Relaxed) {
            let piece = self.next.fetch_add(1, Ordering::Relaxed);
            if piece >= self.layout.num_pieces() {
                break;
            }
            let hash = self.hash(piece, &mut open, scratch.buffer());
            hashes.push((piece, hash.inspect_err(|_| self.failed.store(true, Ordering::Relaxed))?));
            (self.on_piece)();
        }
        Ok(hashes)
    }

    fn hash(&self, piece: u32, open: &mut Open, scratch: &mut [u8]) -> Result<Sha1Hash, DiskError> {
        let mut hasher = PieceHasher::v1();
        for slice in self.layout.slices(piece, 0, self.layout.piece_size(piece)) {
            let path = self.paths.get(slice.file).map_or_else(|| Path::new(""), PathBuf::as_path);
            let file = match open.take().filter(|(index, _)| *index == slice.file) {
                Some((_, file)) => file,
                None => self.open(slice.file, path)?,
            };
            let mut done = 0;
            while done < slice.length {
                let step = scratch.len().min(usize::try_from(slice.length - done).unwrap_or(usize::MAX));
                let buffer = &mut scratch[..step];
                let read = file.read_exact_at(buffer, slice.offset + done);
                read.map_err(|error| match error.kind() {
                    std::io::ErrorKind::UnexpectedEof => changed(path),
                    _ => failure(path, &error),
                })?;
                hasher.update(buffer);
                done += step as u64;
            }
            *open = Some((slice.file, file));
        }
        let Expect { v1, .. } = hasher.finish();
        Ok(v1.unwrap_or_default())
    }

    fn open(&self, index: usize, path: &Path) -> Result<File, DiskError> {
        let file = File::open(path).map_err(|error| failure(path, &error))?;
        let length = file.metadata().map_err(|error| failure(path, &error))?.len();
        if self.layout.file(index).is_some_and(|entry| entry.length != length) {
            return Err(changed(path));
        }
        Ok(file)
    }
}

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
