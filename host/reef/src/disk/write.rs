//! Bytes of pieces on their way to disk: hashed side by side, then written in large calls.
//!
//! A whole piece is written only if it hashes right. A run of a larger piece is written in any case, and hashed if it
//! continues what was hashed of its piece; no bit claims it before the whole is checked.

use std::sync::Arc;

use bytes::Bytes;
use reef_engine::TorrentId;
use reef_engine::disk::{DiskDone, DiskError, DiskResult, Expect, Verdict};

use super::hash::{PieceHasher, Update, advance};
use super::storage::Storage;
use super::vectored::total;

/// A piece, or a run of one, to write.
pub(super) struct Write {
    pub(super) torrent: TorrentId,
    pub(super) storage: Result<Arc<Storage>, DiskError>,
    pub(super) piece: u32,
    pub(super) begin: u32,
    pub(super) data: Vec<Bytes>,
    /// What a whole piece must hash to; none for a run.
    pub(super) expect: Option<Expect>,
}

/// What hashing said of a write.
enum Hashed {
    /// It is not to be written, for this reason or because it is wrong.
    Refused(Result<Verdict, DiskError>),
    /// A piece that is right, or a run that does not continue what was hashed.
    ToWrite(Arc<Storage>),
    /// A run that does.
    Continues(Arc<Storage>, Box<PieceHasher>),
}

/// Hashes all, writes what is to be written, neighbours in one go, and says what came of each.
pub(super) fn hash_and_write(mut writes: Vec<Write>) -> Vec<DiskDone> {
    writes.sort_by_key(|write| (write.torrent, write.piece, write.begin));
    let hashed = hash(&writes);
    let mut outcomes: Vec<Option<Result<(), DiskError>>> = Vec::new();
    outcomes.resize_with(writes.len(), || None);
    let mut start = 0;
    while start < writes.len() {
        let end = end_of_neighbours(&writes, &hashed, start);
        if let Some(storage) = hashed[start].storage() {
            write_neighbours(storage, &writes[start..end], &mut outcomes[start..end]);
        }
        start = end;
    }
    let all = writes.into_iter().zip(hashed).zip(outcomes);
    all.map(|((write, hashed), outcome)| answer(write, hashed, outcome)).collect()
}

fn hash(writes: &[Write]) -> Vec<Hashed> {
    let mut updates = Vec::with_capacity(writes.len());
    let mut of = Vec::with_capacity(writes.len());
    let mut hashed = Vec::with_capacity(writes.len());
    for (index, write) in writes.iter().enumerate() {
        let begun = write.begin_hash();
        if let Ok((_, Some(hasher))) = &begun {
            let data = write.data.iter().map(|block| &block[..]).collect();
            updates.push(Update { hasher: hasher.clone(), data, ends: write.expect.is_some() });
            of.push(index);
        }
        hashed.push(match begun {
            Ok((storage, _)) => Hashed::ToWrite(storage),
            Err(outcome) => Hashed::Refused(outcome),
        });
    }
    for (index, hasher) in of.into_iter().zip(advance(updates)) {
        let Hashed::ToWrite(storage) = &hashed[index] else { continue };
        match writes[index].expect {
            None => hashed[index] = Hashed::Continues(storage.clone(), Box::new(hasher)),
            Some(expect) if hasher.verdict(expect) == Verdict::Passed => {}
            Some(_) => hashed[index] = Hashed::Refused(Ok(Verdict::Failed)),
        }
    }
    hashed
}

/// What is written with one call from `start` on ends before this index.
fn end_of_neighbours(writes: &[Write], hashed: &[Hashed], start: usize) -> usize {
    let (mut end, mut size) = (start + 1, total(&writes[start].data));
    while let (Some(next), Some(last)) = (writes.get(end), writes.get(end - 1)) {
        let both = hashed[start].storage().is_some() && hashed[end].storage().is_some();
        if !both || !last.is_followed_by(next) || size >= LARGE_WRITE {
            break;
        }
        size += total(&next.data);
        end += 1;
    }
    end
}

/// Writes neighbours as one. If that fails each is tried by itself, so that each has its own outcome.
fn write_neighbours(storage: &Storage, writes: &[Write], outcomes: &mut [Option<Result<(), DiskError>>]) {
    if let [first, _, ..] = writes {
        let data: Vec<Bytes> = writes.iter().flat_map(|write| write.data.iter().cloned()).collect();
        if storage.write(first.piece, first.begin, &data).is_ok() {
            outcomes.fill_with(|| Some(Ok(())));
            return;
        }
    }
    for (write, outcome) in writes.iter().zip(outcomes) {
        *outcome = Some(storage.write(write.piece, write.begin, &write.data));
    }
}

fn answer(write: Write, hashed: Hashed, outcome: Option<Result<(), DiskError>>) -> DiskDone {
    let Write { torrent, piece, begin, data, expect, .. } = write;
    let length = u32::try_from(total(&data)).unwrap_or(u32::MAX);
    let outcome = match (hashed, outcome) {
        (Hashed::Refused(outcome), _) => outcome,
        (_, Some(Err(error))) => Err(error),
        (Hashed::Continues(storage, hasher), _) => {
            storage.put_stream(piece, *hasher, begin.saturating_add(length));
            Ok(Verdict::Passed)
        }
        (Hashed::ToWrite(_), _) => Ok(Verdict::Passed),
    };
    let result = match expect {
        Some(_) => DiskResult::Checked { piece, outcome, data },
        None => DiskResult::Written { piece, begin, length, outcome: outcome.map(|_| ()) },
    };
    DiskDone { torrent, result }
}

impl Write {
    /// The storage, and the hasher that takes the bytes in, if any does.
    fn begin_hash(&self) -> Result<(Arc<Storage>, Option<PieceHasher>), Result<Verdict, DiskError>> {
        let storage = self.storage.clone().map_err(Err)?;
        let length = total(&self.data);
        let hasher = match self.expect {
            None => storage.take_stream(self.piece, self.begin, length).map_err(Err)?,
            Some(_) if length != u64::from(storage.layout().piece_size(self.piece)) => {
                return Err(Ok(Verdict::Failed));
            }
            Some(expect) => Some(PieceHasher::new(expect, storage.layout(), self.piece)),
        };
        Ok((storage, hasher))
    }

    /// Whether `next` begins where this ends. Runs of one piece never stand side by side here.
    fn is_followed_by(&self, next: &Self) -> bool {
        let both_whole = self.expect.is_some() && next.expect.is_some();
        both_whole && self.torrent == next.torrent && self.piece + 1 == next.piece
    }
}

impl Hashed {
    fn storage(&self) -> Option<&Arc<Storage>> {
        match self {
            Self::Refused(_) => None,
            Self::ToWrite(storage) | Self::Continues(storage, _) => Some(storage),
        }
    }
}

/// Neighbours are added to a write until it has so many bytes.
const LARGE_WRITE: u64 = 1 << 20;
