//! Pieces that are on disk, read and hashed side by side.
//!
//! A little of each piece is read in turn, so that it is still in the processor's cache when it is hashed; the kernel is told
//! to read much more of each ahead, so that a real disk moves its head rarely.

use std::sync::Arc;

use reef_engine::TorrentId;
use reef_engine::disk::{DiskDone, DiskError, DiskErrorKind, DiskResult, Expect, Verdict};

use super::hash::{PieceHasher, Update, advance};
use super::storage::{Handle, Storage};

/// A piece to check.
pub(super) struct Check {
    pub(super) torrent: TorrentId,
    pub(super) storage: Result<Arc<Storage>, DiskError>,
    pub(super) piece: u32,
    pub(super) expect: Expect,
}

/// A piece that is being read.
struct Reading {
    torrent: TorrentId,
    storage: Arc<Storage>,
    piece: u32,
    expect: Expect,
    hasher: PieceHasher,
    /// Where in the torrent the next byte to read is, and where the piece ends.
    at: u64,
    end: u64,
    /// Up to where the kernel was told to read.
    ahead: u64,
    handle: Handle,
}

/// Says whether the pieces hash right, each as soon as it is known. A missing or short file is a wrong hash.
pub(super) fn check_pieces(checks: Vec<Check>, scratch: &mut [u8], on_done: &dyn Fn(DiskDone)) {
    let answer = |torrent, piece, outcome| {
        on_done(DiskDone { torrent, result: DiskResult::Checked { piece, outcome, data: Vec::new() } });
    };
    let mut readings = Vec::with_capacity(checks.len());
    for Check { torrent, storage, piece, expect } in checks {
        match storage {
            Ok(storage) => readings.push(Reading::begin(torrent, storage, (piece, expect))),
            Err(error) => answer(torrent, piece, Err(error)),
        }
    }
    while !readings.is_empty() {
        let step = (scratch.len() / readings.len()).clamp(SMALLEST_STEP, LARGEST_STEP);
        let mut updates = Vec::with_capacity(readings.len());
        let mut still = Vec::with_capacity(readings.len());
        for (mut reading, buffer) in readings.into_iter().zip(scratch.chunks_mut(step)) {
            match reading.read(buffer) {
                Ok(data) => {
                    let ends = reading.at == reading.end;
                    let hasher = std::mem::replace(&mut reading.hasher, PieceHasher::nothing());
                    updates.push(Update { hasher, data: vec![data], ends });
                    still.push(reading);
                }
                Err(error) if error.kind == DiskErrorKind::Missing => {
                    answer(reading.torrent, reading.piece, Ok(Verdict::Failed));
                }
                Err(error) => answer(reading.torrent, reading.piece, Err(error)),
            }
        }
        readings = Vec::with_capacity(still.len());
        for (mut reading, hasher) in still.into_iter().zip(advance(updates)) {
            if reading.at == reading.end {
                answer(reading.torrent, reading.piece, Ok(hasher.verdict(reading.expect)));
            } else {
                reading.hasher = hasher;
                readings.push(reading);
            }
        }
    }
}

impl Reading {
    fn begin(torrent: TorrentId, storage: Arc<Storage>, (piece, expect): (u32, Expect)) -> Self {
        let (hasher, at) = storage.rest_of_check(piece, expect);
        let layout = storage.layout();
        let end = layout.piece_offset(piece) + u64::from(layout.piece_size(piece));
        Self { torrent, storage, piece, expect, hasher, at, end, ahead: at, handle: Handle::Current }
    }

    /// The next bytes of the piece, as many as the buffer takes.
    fn read<'a>(&mut self, buffer: &'a mut [u8]) -> Result<&'a [u8], DiskError> {
        let length = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        if self.at + length as u64 > self.ahead {
            let to = self.end.min(self.ahead + READ_AHEAD);
            self.storage.read_ahead(self.ahead, to);
            self.ahead = to;
        }
        let buffer = &mut buffer[..length];
        self.storage.read_at(self.at, buffer, self.handle)?;
        self.handle = Handle::Continued;
        self.at += length as u64;
        Ok(buffer)
    }
}

/// How much of a piece is read at once, in bytes: 16 pieces together fit into the processor's second cache.
const SMALLEST_STEP: usize = 32 << 10;
const LARGEST_STEP: usize = 128 << 10;
/// How far ahead of a check the kernel is told to read, in bytes.
const READ_AHEAD: u64 = 4 << 20;
