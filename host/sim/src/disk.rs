//! A disk in memory: it outlives the session that writes to it, and a crash loses what was not synced: whole files, or only
//! their bytes, so that they look as if they were there.

use crate::content::Torrent;
use bytes::Bytes;
use reef_engine::TorrentId;
use reef_engine::disk::{
    DiskDone, DiskError, DiskErrorKind, DiskOp, DiskResult, Expect, FileStat, Finished, MountId, OpenStorage, Opened,
    Verdict,
};
use reef_engine::output::StoreOp;
use reef_proto::hash::{InfoHashes, Sha1Hash};
use reef_proto::layout::Layout;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What others write has a time that no write of a session has.
const OTHERS_TIME: u64 = 1 << 32;

/// One node's disk, with its session's store.
#[derive(Debug, Default)]
pub struct Disk {
    files: BTreeMap<String, File>,
    open: BTreeMap<TorrentId, Storage>,
    stored: BTreeMap<TorrentId, Record>,
    /// Store operations that are not committed yet.
    pending: Vec<StoreOp>,
    /// Bytes it has room for.
    room: Option<u64>,
    clock: u64,
    /// How often the machine stopped.
    crashes: u8,
    /// Nobody can tell which mount it is.
    nameless: bool,
    /// The next sync of a torrent fails.
    fails_sync: bool,
}

/// One torrent's storage.
#[derive(Clone, Debug)]
struct Storage {
    layout: Arc<Layout>,
    wanted: Vec<bool>,
    part_name: String,
    /// Something was written that was not synced, or may have been by an earlier run.
    unsynced: bool,
    /// A sync failed.
    lost: bool,
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
        for file in layout.files().iter().filter(|f| !f.pad && f.symlink.is_none()) {
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
            f.pad || f.symlink.is_some() || self.files.get(&f.display_path()).is_some_and(|got| got.bytes == want)
        })
    }

    /// Whether one piece of a torrent is there, byte for byte, in its files or in its part file.
    #[must_use]
    pub fn holds_piece(&self, torrent: &Torrent, piece: u32) -> bool {
        let layout = &torrent.meta.info.layout;
        let from = layout.piece_offset(piece) as usize;
        let want = &torrent.data[from..from + layout.piece_size(piece) as usize];
        let storage = Storage::of(torrent);
        self.read(&storage, piece, 0, layout.piece_size(piece)).is_ok_and(|got| got == want)
    }

    /// A file's bytes; `None` if there is none.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(|f| f.bytes.as_slice())
    }

    /// Somebody else cuts a file off.
    pub fn truncate(&mut self, path: &str, length: usize) {
        self.clock += 1;
        if let Some(file) = self.files.get_mut(path) {
            file.bytes.truncate(length);
            file.mtime = self.clock + OTHERS_TIME;
        }
    }

    /// A byte of a file changes by itself, and its time does not.
    pub fn spoil(&mut self, path: &str, at: usize) {
        if let Some(byte) = self.files.get_mut(path).and_then(|f| f.bytes.get_mut(at)) {
            *byte ^= 0x55;
        }
    }

    /// Bytes that are used.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.files.values().map(|f| f.bytes.len() as u64).sum()
    }

    /// Bytes that fit on it in all; `None` for no end.
    pub fn set_room(&mut self, bytes: Option<u64>) {
        self.room = bytes;
    }

    /// The next sync of a torrent's files fails: what was not synced before never will be, and nobody is told again.
    pub fn fail_next_sync(&mut self) {
        self.fails_sync = true;
    }

    /// From now on nobody can tell whether it is still mounted as it was, as on some systems.
    pub fn hide_mount(&mut self) {
        self.nameless = true;
    }

    /// The torrents that the store has committed.
    #[must_use]
    pub fn stored(&self) -> &BTreeMap<TorrentId, Record> {
        &self.stored
    }

    /// The machine stops: what was not synced is lost, torrent by torrent storages are closed.
    pub(crate) fn crash(&mut self) {
        self.close_abruptly();
        self.crashes += 1;
        self.files.retain(|_, file| file.lose_unsynced());
    }

    /// What is known of a torrent's files, as a session is told when it opens them with everything wanted.
    #[must_use]
    pub fn look(&self, torrent: &Torrent) -> Opened {
        self.opened(&Storage { wanted: vec![true; torrent.meta.info.layout.files().len()], ..Storage::of(torrent) })
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

    /// Commits what the store was told.
    pub(crate) fn commit(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        for op in std::mem::take(&mut self.pending) {
            match op {
                StoreOp::PutTorrent { torrent, hashes, metainfo } => {
                    let record = self.stored.entry(torrent).or_default();
                    record.hashes = hashes;
                    record.metainfo = metainfo.or_else(|| record.metainfo.take());
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

    /// A torrent's metainfo and pieces, committed or not.
    pub(crate) fn content(&self, torrent: TorrentId) -> (Option<Bytes>, Option<Bytes>) {
        let record = self.stored.get(&torrent).cloned().unwrap_or_default();
        let (mut metainfo, mut have) = (record.metainfo, record.have);
        for op in &self.pending {
            match op {
                StoreOp::PutTorrent { torrent: of, metainfo: Some(new), .. } if *of == torrent => {
                    metainfo = Some(new.clone());
                }
                StoreOp::PutHave { torrent: of, have: new } if *of == torrent => have = Some(new.clone()),
                StoreOp::Remove(of) if *of == torrent => (metainfo, have) = (None, None),
                _ => {}
            }
        }
        (metainfo, have)
    }

    /// Syncs the files of a torrent. After an error the system believes that it did.
    fn sync(&mut self, storage: &Storage) {
        for (index, entry) in storage.layout.files().iter().enumerate() {
            for path in [entry.display_path(), storage.part(index)] {
                if let Some(file) = self.files.get_mut(&path).filter(|file| !file.is_synced()) {
                    let bytes = if storage.lost { vec![0; file.bytes.len()] } else { file.bytes.clone() };
                    file.synced = Some((bytes, file.mtime));
                }
            }
        }
    }

    /// Does one job.
    pub(crate) fn carry_out(&mut self, torrent: TorrentId, op: DiskOp) -> Option<DiskDone> {
        let result = match op {
            DiskOp::Open(open) => DiskResult::Opened(Ok(self.open(torrent, *open))),
            DiskOp::SetWanted(wanted) => {
                self.set_wanted(torrent, wanted);
                return None;
            }
            DiskOp::Finish { sync } => DiskResult::Finished(self.finish(torrent, sync)),
            DiskOp::Close { delete_files } => {
                if let Some(storage) = self.open.remove(&torrent).filter(|_| delete_files) {
                    self.delete(&storage);
                }
                DiskResult::Closed(Ok(()))
            }
            DiskOp::WritePiece { piece, data, expect } => {
                self.will_write(torrent);
                let outcome = self.write_piece(torrent, piece, &data, expect);
                DiskResult::Checked { piece, outcome, data }
            }
            DiskOp::WriteRun { piece, begin, data } => {
                self.will_write(torrent);
                let bytes = data.concat();
                let outcome = self.storage(torrent).and_then(|s| self.write(&s, (piece, begin), &bytes));
                DiskResult::Written { piece, begin, length: bytes.len() as u32, outcome }
            }
            DiskOp::CheckPiece { piece, expect } => {
                DiskResult::Checked { piece, outcome: self.check(torrent, piece, expect), data: Vec::new() }
            }
            DiskOp::Read { piece, begin, length } => {
                let outcome = self.storage(torrent).and_then(|s| self.read(&s, piece, begin, length));
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
        self.storage(torrent).and_then(|s| self.read(&s, r.piece, r.begin, r.length))
    }

    fn open(&mut self, torrent: TorrentId, open: OpenStorage) -> Opened {
        let OpenStorage { layout, wanted, part_name, synced, .. } = open;
        let mut storage = Storage { layout, wanted, part_name, unsynced: false, lost: false };
        self.move_wanted(&storage);
        let opened = self.opened(&storage);
        let may_be_unsynced = |synced: Vec<FileStat>| {
            let mut found = opened.files.iter().enumerate();
            found.any(|(index, found)| found.is_some_and(|found| synced.get(index) != Some(&found)))
        };
        storage.unsynced = synced.is_some_and(may_be_unsynced);
        let opened = Opened { unsynced: storage.unsynced, ..opened };
        self.open.insert(torrent, storage);
        opened
    }

    fn opened(&self, storage: &Storage) -> Opened {
        let files = (0..storage.layout.files().len()).map(|file| self.stat(storage, file)).collect();
        let free_space = self.room.map(|room| room.saturating_sub(self.used()));
        Opened { files, free_space, mount: self.mount(), unsynced: false }
    }

    fn mount(&self) -> Option<MountId> {
        (!self.nameless).then_some(MountId([self.crashes; 24]))
    }

    fn set_wanted(&mut self, torrent: TorrentId, wanted: Vec<bool>) {
        let Some(storage) = self.open.get_mut(&torrent) else { return };
        storage.wanted = wanted;
        let storage = storage.clone();
        self.move_wanted(&storage);
    }

    /// What the part file has of files that are wanted goes to their places.
    fn move_wanted(&mut self, storage: &Storage) {
        for (index, entry) in storage.layout.files().iter().enumerate() {
            if storage.wanted[index]
                && let Some(file) = self.files.remove(&storage.part(index))
            {
                self.files.insert(entry.display_path(), file);
            }
        }
    }

    fn delete(&mut self, storage: &Storage) {
        for (index, entry) in storage.layout.files().iter().enumerate() {
            self.files.remove(&entry.display_path());
            self.files.remove(&storage.part(index));
        }
    }

    fn finish(&mut self, torrent: TorrentId, sync: bool) -> Result<Finished, DiskError> {
        let mut storage = self.storage(torrent)?;
        for (index, file) in storage.layout.files().iter().enumerate() {
            if file.length == 0 && !file.pad && file.symlink.is_none() && storage.wanted[index] {
                self.files.entry(file.display_path()).or_default();
            }
        }
        if sync || self.nameless {
            storage.lost |= std::mem::take(&mut self.fails_sync);
            self.sync(&storage);
            storage.unsynced = false;
        }
        let files = self.opened(&storage).files.into_iter().map(Option::unwrap_or_default).collect();
        let kept_by = self.mount().filter(|_| storage.unsynced);
        let lost = storage.lost;
        self.open.insert(torrent, storage);
        if lost { Err(error(DiskErrorKind::Other, "", "input/output error")) } else { Ok(Finished { files, kept_by }) }
    }

    /// What is told of a file: one in the part file counts with its full length.
    fn stat(&self, storage: &Storage, index: usize) -> Option<FileStat> {
        let entry = storage.layout.file(index)?;
        if let Some(file) = self.files.get(&entry.display_path()) {
            return Some(FileStat { size: file.bytes.len() as u64, mtime: file.mtime });
        }
        let part = self.files.get(&storage.part(index))?;
        Some(FileStat { size: entry.length, mtime: part.mtime })
    }

    /// The name under which a file's bytes are kept.
    fn place(&self, storage: &Storage, index: usize, path: String) -> String {
        if storage.wanted[index] || self.files.contains_key(&path) { path } else { storage.part(index) }
    }

    fn storage(&self, torrent: TorrentId) -> Result<Storage, DiskError> {
        self.open.get(&torrent).cloned().ok_or_else(|| error(DiskErrorKind::Other, "", "the storage is not open"))
    }

    fn will_write(&mut self, torrent: TorrentId) {
        if let Some(storage) = self.open.get_mut(&torrent) {
            storage.unsynced = true;
        }
    }

    fn write_piece(
        &mut self,
        torrent: TorrentId,
        piece: u32,
        data: &[Bytes],
        expect: Expect,
    ) -> Result<Verdict, DiskError> {
        let storage = self.storage(torrent)?;
        let bytes = data.concat();
        if expect.v1 != Some(Sha1Hash::of(&bytes)) {
            return Ok(Verdict::Failed);
        }
        self.write(&storage, (piece, 0), &bytes).map(|()| Verdict::Passed)
    }

    fn check(&self, torrent: TorrentId, piece: u32, expect: Expect) -> Result<Verdict, DiskError> {
        let storage = self.storage(torrent)?;
        match self.read(&storage, piece, 0, storage.layout.piece_size(piece)) {
            Ok(bytes) if expect.v1 == Some(Sha1Hash::of(&bytes)) => Ok(Verdict::Passed),
            Ok(_) => Ok(Verdict::Failed),
            Err(e) if e.kind == DiskErrorKind::Missing => Ok(Verdict::Failed),
            Err(e) => Err(e),
        }
    }

    fn write(&mut self, storage: &Storage, (piece, begin): (u32, u32), bytes: &[u8]) -> Result<(), DiskError> {
        self.clock += 1;
        let mut at = 0;
        let mut used = self.used();
        for slice in storage.layout.slices(piece, begin, bytes.len() as u32) {
            let (from, to) = (slice.offset as usize, (slice.offset + slice.length) as usize);
            let part = &bytes[at..at + slice.length as usize];
            at += part.len();
            let Some(entry) = storage.layout.file(slice.file).filter(|f| !f.pad) else { continue };
            let path = self.place(storage, slice.file, entry.display_path());
            let length = self.files.get(&path).map_or(0, |f| f.bytes.len());
            let grows = to.saturating_sub(length) as u64;
            if grows > 0 && self.room.is_some_and(|room| used + grows > room) {
                return Err(error(DiskErrorKind::NoSpace, &path, "no space left on device"));
            }
            used += grows;
            let file = self.files.entry(path).or_default();
            if file.bytes.len() < to {
                file.bytes.resize(to, 0);
            }
            file.bytes[from..to].copy_from_slice(part);
            file.mtime = self.clock;
        }
        Ok(())
    }

    fn read(&self, storage: &Storage, piece: u32, begin: u32, length: u32) -> Result<Vec<u8>, DiskError> {
        let mut out = Vec::with_capacity(length as usize);
        for slice in storage.layout.slices(piece, begin, length) {
            let Some(entry) = storage.layout.file(slice.file) else { continue };
            if entry.pad {
                out.resize(out.len() + slice.length as usize, 0);
                continue;
            }
            let path = self.place(storage, slice.file, entry.display_path());
            let range = slice.offset as usize..(slice.offset + slice.length) as usize;
            let part = self.files.get(&path).and_then(|f| f.bytes.get(range));
            out.extend_from_slice(part.ok_or_else(|| error(DiskErrorKind::Missing, &path, "the file ends too early"))?);
        }
        Ok(out)
    }
}

impl File {
    fn is_synced(&self) -> bool {
        self.synced.as_ref().is_some_and(|(_, mtime)| *mtime == self.mtime)
    }

    /// The machine stops. Whether the file is there afterwards. Every other write had its size and time put on stable
    /// storage, and not its bytes.
    fn lose_unsynced(&mut self) -> bool {
        let synced = self.synced.take();
        if self.mtime.is_multiple_of(2) {
            let size = self.bytes.len();
            self.bytes = synced.map(|(bytes, _)| bytes).unwrap_or_default();
            self.bytes.resize(size, 0);
        } else {
            let Some((bytes, mtime)) = synced else { return false };
            (self.bytes, self.mtime) = (bytes, mtime);
        }
        self.synced = Some((self.bytes.clone(), self.mtime));
        true
    }
}

impl Storage {
    /// The storage of a torrent none of whose files is wanted: it finds what is in the files or in the part file.
    fn of(torrent: &Torrent) -> Self {
        let layout = Arc::new(torrent.meta.info.layout.clone());
        let wanted = vec![false; layout.files().len()];
        let part_name = torrent.meta.info_hashes.wire().iter().map(|b| format!("{b:02x}")).collect();
        Self { layout, wanted, part_name, unsynced: false, lost: false }
    }

    /// The name of a file's place in the part file.
    fn part(&self, index: usize) -> String {
        format!(".{}.parts/{index}", self.part_name)
    }
}

fn error(kind: DiskErrorKind, path: &str, message: &str) -> DiskError {
    DiskError { kind, path: path.to_owned(), message: message.to_owned() }
}
