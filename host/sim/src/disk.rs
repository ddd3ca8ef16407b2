//! A disk in memory: it outlives the session that writes to it, and a crash loses what was not synced.

use crate::content::Torrent;
use bytes::Bytes;
use reef_engine::TorrentId;
use reef_engine::disk::{
    DiskDone, DiskError, DiskErrorKind, DiskOp, DiskResult, Expect, FileStat, OpenStorage, Opened, Verdict,
};
use reef_engine::output::StoreOp;
use reef_proto::hash::{InfoHashes, Sha1Hash};
use reef_proto::layout::Layout;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One node's disk, with its session's store.
#[derive(Debug, Default)]
pub struct Disk {
    files: BTreeMap<String, File>,
    open: BTreeMap<TorrentId, Arc<Layout>>,
    stored: BTreeMap<TorrentId, Record>,
    /// Store operations that are not committed yet.
    pending: Vec<StoreOp>,
    /// Bytes it has room for.
    room: Option<u64>,
    clock: u64,
}

#[derive(Clone, Debug, Default)]
struct File {
    bytes: Vec<u8>,
    mtime: u64,
    /// What is on stable storage.
    synced: Option<(Vec<u8>, u64)>,
}

/// What the store keeps of a torrent.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Its info-hashes.
    pub hashes: InfoHashes,
    /// Its metainfo file, once known.
    pub metainfo: Option<Bytes>,
    /// Its resume data.
    pub resume: Option<Bytes>,
    /// Its pieces.
    pub have: Option<Bytes>,
}

impl Disk {
    /// Puts a torrent's files on the disk, complete.
    pub fn put(&mut self, torrent: &Torrent) {
        let layout = &torrent.meta.info.layout;
        for file in layout.files() {
            let (from, to) = (file.offset as usize, (file.offset + file.length) as usize);
            let bytes = torrent.data[from..to].to_vec();
            let synced = Some((bytes.clone(), 1));
            self.files.insert(file.display_path(), File { bytes, mtime: 1, synced });
        }
    }

    /// Whether every file of a torrent is there, byte for byte.
    #[must_use]
    pub fn holds(&self, torrent: &Torrent) -> bool {
        torrent.meta.info.layout.files().iter().all(|f| {
            let want = &torrent.data[f.offset as usize..(f.offset + f.length) as usize];
            f.pad || self.files.get(&f.display_path()).is_some_and(|got| got.bytes == want)
        })
    }

    /// Whether one piece of a torrent is there, byte for byte.
    #[must_use]
    pub fn holds_piece(&self, torrent: &Torrent, piece: u32) -> bool {
        let layout = &torrent.meta.info.layout;
        let from = layout.piece_offset(piece) as usize;
        let want = &torrent.data[from..from + layout.piece_size(piece) as usize];
        self.read(layout, piece, 0, layout.piece_size(piece)).is_ok_and(|got| got == want)
    }

    /// Bytes that fit on it in all; `None` for no end.
    pub fn set_room(&mut self, bytes: Option<u64>) {
        self.room = bytes;
    }

    /// The torrents that the store has committed.
    #[must_use]
    pub fn stored(&self) -> &BTreeMap<TorrentId, Record> {
        &self.stored
    }

    /// The machine stops: what was not synced is lost, torrent by torrent storages are closed.
    pub(crate) fn crash(&mut self) {
        self.open.clear();
        self.pending.clear();
        self.files.retain(|_, f| f.synced.is_some());
        for file in self.files.values_mut() {
            if let Some((bytes, mtime)) = &file.synced {
                file.bytes.clone_from(bytes);
                file.mtime = *mtime;
            }
        }
    }

    /// The session's process is killed: the machine goes on, so what was written is not lost, only what the store had
    /// not committed.
    pub(crate) fn close_abruptly(&mut self) {
        self.pending.clear();
        self.open.clear();
    }

    pub(crate) fn store(&mut self, op: StoreOp) {
        self.pending.push(op);
    }

    /// Commits what the store was told, after the files it vouches for.
    pub(crate) fn commit(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        self.sync();
        for op in std::mem::take(&mut self.pending) {
            match op {
                StoreOp::PutTorrent { torrent, hashes, metainfo } => {
                    let record = self.stored.entry(torrent).or_default();
                    record.hashes = hashes;
                    record.metainfo = metainfo.or(record.metainfo.take());
                }
                StoreOp::PutResume { torrent, resume } => self.stored.entry(torrent).or_default().resume = Some(resume),
                StoreOp::PutHave { torrent, have } => self.stored.entry(torrent).or_default().have = Some(have),
                StoreOp::Remove(torrent) => {
                    self.stored.remove(&torrent);
                }
                StoreOp::PutState { .. } => {}
            }
        }
    }

    fn sync(&mut self) {
        for file in self.files.values_mut() {
            if file.synced.as_ref().is_none_or(|(_, mtime)| *mtime != file.mtime) {
                file.synced = Some((file.bytes.clone(), file.mtime));
            }
        }
    }

    /// Does one job, at once; the world delays the answer.
    pub(crate) fn carry_out(&mut self, torrent: TorrentId, op: DiskOp) -> Option<DiskDone> {
        let result = match op {
            DiskOp::Open(open) => DiskResult::Opened(Ok(self.open(torrent, &open))),
            DiskOp::SetWanted(_) => return None,
            DiskOp::Finish => DiskResult::Finished(Ok(self.finish(torrent))),
            DiskOp::Close { delete_files } => {
                if let Some(layout) = self.open.remove(&torrent).filter(|_| delete_files) {
                    layout.files().iter().for_each(|f| drop(self.files.remove(&f.display_path())));
                }
                DiskResult::Closed(Ok(()))
            }
            DiskOp::WritePiece { piece, data, expect } => {
                let outcome = self.write_piece(torrent, piece, &data, expect);
                DiskResult::Checked { piece, outcome, data }
            }
            DiskOp::WriteRun { piece, begin, data } => {
                let bytes = data.concat();
                let outcome = self.layout(torrent).and_then(|l| self.write(&l, (piece, begin), &bytes));
                DiskResult::Written { piece, begin, length: bytes.len() as u32, outcome }
            }
            DiskOp::CheckPiece { piece, expect } => {
                DiskResult::Checked { piece, outcome: self.check(torrent, piece, expect), data: Vec::new() }
            }
            DiskOp::Read { piece, begin, length } => {
                let outcome = self.layout(torrent).and_then(|l| self.read(&l, piece, begin, length));
                DiskResult::Read { piece, begin, outcome: outcome.map(Bytes::from) }
            }
        };
        Some(DiskDone { torrent, result })
    }

    /// Reads a block to be sent.
    pub(crate) fn block(
        &self,
        torrent: TorrentId,
        r: &reef_proto::message::BlockRequest,
    ) -> Result<Vec<u8>, DiskError> {
        self.layout(torrent).and_then(|l| self.read(&l, r.piece, r.begin, r.length))
    }

    fn open(&mut self, torrent: TorrentId, open: &OpenStorage) -> Opened {
        let stat =
            |path: String| self.files.get(&path).map(|f| FileStat { size: f.bytes.len() as u64, mtime: f.mtime });
        let files = open.layout.files().iter().map(|f| stat(f.display_path())).collect();
        self.open.insert(torrent, open.layout.clone());
        let used: u64 = self.files.values().map(|f| f.bytes.len() as u64).sum();
        Opened { files, free_space: self.room.map(|room| room.saturating_sub(used)) }
    }

    fn finish(&mut self, torrent: TorrentId) -> Vec<FileStat> {
        let Ok(layout) = self.layout(torrent) else { return Vec::new() };
        for file in layout.files().iter().filter(|f| f.length == 0 && !f.pad) {
            self.files.entry(file.display_path()).or_default();
        }
        self.sync();
        let stat = |f: &File| FileStat { size: f.bytes.len() as u64, mtime: f.mtime };
        layout.files().iter().map(|f| self.files.get(&f.display_path()).map(stat).unwrap_or_default()).collect()
    }

    fn layout(&self, torrent: TorrentId) -> Result<Arc<Layout>, DiskError> {
        self.open.get(&torrent).cloned().ok_or_else(|| error(DiskErrorKind::Other, "", "the storage is not open"))
    }

    fn write_piece(
        &mut self,
        torrent: TorrentId,
        piece: u32,
        data: &[Bytes],
        expect: Expect,
    ) -> Result<Verdict, DiskError> {
        let layout = self.layout(torrent)?;
        let bytes = data.concat();
        if expect.v1 != Some(Sha1Hash::of(&bytes)) {
            return Ok(Verdict::Failed);
        }
        self.write(&layout, (piece, 0), &bytes).map(|()| Verdict::Passed)
    }

    fn check(&self, torrent: TorrentId, piece: u32, expect: Expect) -> Result<Verdict, DiskError> {
        let layout = self.layout(torrent)?;
        match self.read(&layout, piece, 0, layout.piece_size(piece)) {
            Ok(bytes) if expect.v1 == Some(Sha1Hash::of(&bytes)) => Ok(Verdict::Passed),
            Ok(_) => Ok(Verdict::Failed),
            Err(e) if e.kind == DiskErrorKind::Missing => Ok(Verdict::Failed),
            Err(e) => Err(e),
        }
    }

    fn write(&mut self, layout: &Layout, (piece, begin): (u32, u32), bytes: &[u8]) -> Result<(), DiskError> {
        self.clock += 1;
        let mut at = 0;
        for slice in layout.slices(piece, begin, bytes.len() as u32) {
            let (from, to) = (slice.offset as usize, (slice.offset + slice.length) as usize);
            let part = &bytes[at..at + slice.length as usize];
            at += part.len();
            let Some(entry) = layout.file(slice.file).filter(|f| !f.pad) else { continue };
            let path = entry.display_path();
            let used: u64 = self.files.values().map(|f| f.bytes.len() as u64).sum();
            let file = self.files.entry(path.clone()).or_default();
            let grows = to.saturating_sub(file.bytes.len()) as u64;
            if self.room.is_some_and(|room| used + grows > room) {
                return Err(error(DiskErrorKind::NoSpace, &path, "no space left on device"));
            }
            if file.bytes.len() < to {
                file.bytes.resize(to, 0);
            }
            file.bytes[from..to].copy_from_slice(part);
            file.mtime = self.clock;
        }
        Ok(())
    }

    fn read(&self, layout: &Layout, piece: u32, begin: u32, length: u32) -> Result<Vec<u8>, DiskError> {
        let mut out = Vec::with_capacity(length as usize);
        for slice in layout.slices(piece, begin, length) {
            let Some(entry) = layout.file(slice.file) else { continue };
            if entry.pad {
                out.resize(out.len() + slice.length as usize, 0);
                continue;
            }
            let path = entry.display_path();
            let range = slice.offset as usize..(slice.offset + slice.length) as usize;
            let part = self.files.get(&path).and_then(|f| f.bytes.get(range));
            out.extend_from_slice(part.ok_or_else(|| error(DiskErrorKind::Missing, &path, "the file ends too early"))?);
        }
        Ok(out)
    }
}

fn error(kind: DiskErrorKind, path: &str, message: &str) -> DiskError {
    DiskError { kind, path: path.to_owned(), message: message.to_owned() }
}
