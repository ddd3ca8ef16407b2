//! The store's file: tables, their encoding, and the format's version. The only place that names redb.
//!
//! Torrents are keyed by their id; an index for each kind of info-hash leads to it. The metainfo, which is large, is
//! written once; what changes often is in tables of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::{ReadableTable as _, TableDefinition};
use reef_engine::TorrentId;
use reef_proto::hash::{InfoHashes, Sha1Hash, Sha256Hash};

use super::pending::{Change, Pending};
use super::{Loaded, StoreError, StoredContent, StoredTorrent, failed};

/// An open store.
pub(super) struct Database {
    path: PathBuf,
    database: redb::Database,
}

/// Why a file could not be opened.
pub(super) enum OpenError {
    /// Its contents make no sense.
    Corrupt(String),
    /// It must be left alone.
    Refused(StoreError),
}

/// An error of redb's, which are too large to hand around as they are.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Fault(Box<redb::Error>);

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self(Box::new(error.into()))
    }
}

type Numbers = TableDefinition<'static, &'static str, u64>;
type ByTorrent = TableDefinition<'static, u64, &'static [u8]>;
type ByHash = TableDefinition<'static, &'static [u8], u64>;
type ByName = TableDefinition<'static, &'static str, &'static [u8]>;

const NUMBERS: Numbers = TableDefinition::new("numbers");
const TORRENTS: ByTorrent = TableDefinition::new("torrents");
const METAINFO: ByTorrent = TableDefinition::new("metainfo");
const RESUME: ByTorrent = TableDefinition::new("resume");
const HAVE: ByTorrent = TableDefinition::new("have");
const BY_V1: ByHash = TableDefinition::new("by_v1");
const BY_V2: ByHash = TableDefinition::new("by_v2");
const STATE: ByName = TableDefinition::new("state");

/// Keys of [`NUMBERS`].
const VERSION: &str = "version";
const NEXT_TORRENT_ID: &str = "next_torrent_id";

/// The format that is written here. Raised when an older reef would misread what is written.
const FORMAT: u64 = 1;

/// The whole of what a session keeps is small and mostly written; a large cache would only be memory.
const CACHE: usize = 2 * 1024 * 1024;

impl Database {
    /// Opens the file, or makes one with empty tables.
    pub(super) fn create(path: &Path) -> Result<Self, OpenError> {
        // A file that is damaged in the middle can make redb panic, which is an answer too.
        let opened = catch_unwind(AssertUnwindSafe(|| open(path)));
        let opened =
            opened.unwrap_or_else(|_| Err(redb::Error::Corrupted("the database library gave up".to_owned()).into()));
        let (database, version) = opened.map_err(|error| sort_out(path, error))?;
        if version > FORMAT {
            let (path, found, known) = (path.to_owned(), version, FORMAT);
            return Err(OpenError::Refused(StoreError::TooNew { path, found, known }));
        }
        Ok(Self { path: path.to_owned(), database })
    }

    /// Commits all changes, or none.
    pub(super) fn apply(&self, pending: &Pending) -> Result<(), StoreError> {
        self.try_apply(pending).map_err(|error| failed(&self.path, &error))
    }

    /// Reads the session and plugin state.
    pub(super) fn state(&self) -> Result<Vec<(String, Bytes)>, StoreError> {
        self.try_state().map_err(|error| failed(&self.path, &error))
    }

    /// Reads a torrent's metainfo and pieces.
    pub(super) fn content(&self, torrent: TorrentId) -> Result<StoredContent, StoreError> {
        self.try_content(torrent).map_err(|error| failed(&self.path, &error))
    }

    /// Reads everything but what grows with the torrents' sizes.
    pub(super) fn load(&self) -> Result<Loaded, StoreError> {
        self.try_load().map_err(|error| failed(&self.path, &error))
    }

    fn try_apply(&self, pending: &Pending) -> Result<(), Fault> {
        let transaction = self.database.begin_write()?;
        {
            let mut tables = Tables::open(&transaction)?;
            for (torrent, change) in &pending.torrents {
                tables.change(*torrent, change)?;
            }
            let mut state = transaction.open_table(STATE)?;
            for (name, value) in &pending.state {
                match value.is_empty() {
                    true => drop(state.remove(name.as_str())?),
                    false => drop(state.insert(name.as_str(), &value[..])?),
                }
            }
        }
        Ok(transaction.commit()?)
    }

    fn try_load(&self) -> Result<Loaded, Fault> {
        let transaction = self.database.begin_read()?;
        let numbers = transaction.open_table(NUMBERS)?;
        let next_torrent_id = numbers.get(NEXT_TORRENT_ID)?.map_or(1, |next| next.value());
        let resume = transaction.open_table(RESUME)?;
        let mut torrents = Vec::new();
        for entry in transaction.open_table(TORRENTS)?.iter()? {
            let (id, hashes) = entry?;
            let (id, hashes) = (id.value(), decode_hashes(hashes.value()));
            torrents.push(StoredTorrent { id: TorrentId(id), hashes, resume: copy_of(&resume, id)? });
        }
        Ok(Loaded { next_torrent_id, torrents, state: self.try_state()? })
    }

    fn try_state(&self) -> Result<Vec<(String, Bytes)>, Fault> {
        let mut state = Vec::new();
        for entry in self.database.begin_read()?.open_table(STATE)?.iter()? {
            let (name, value) = entry?;
            state.push((name.value().to_owned(), Bytes::copy_from_slice(value.value())));
        }
        Ok(state)
    }

    fn try_content(&self, TorrentId(id): TorrentId) -> Result<StoredContent, Fault> {
        let transaction = self.database.begin_read()?;
        let metainfo = copy_of(&transaction.open_table(METAINFO)?, id)?;
        Ok(StoredContent { metainfo, have: copy_of(&transaction.open_table(HAVE)?, id)? })
    }
}

fn copy_of(table: &redb::ReadOnlyTable<u64, &'static [u8]>, id: u64) -> Result<Option<Bytes>, Fault> {
    Ok(table.get(id)?.map(|value| Bytes::copy_from_slice(value.value())))
}

/// The tables about torrents, open for writing.
struct Tables<'a> {
    numbers: redb::Table<'a, &'static str, u64>,
    torrents: redb::Table<'a, u64, &'static [u8]>,
    metainfo: redb::Table<'a, u64, &'static [u8]>,
    resume: redb::Table<'a, u64, &'static [u8]>,
    have: redb::Table<'a, u64, &'static [u8]>,
    by_v1: redb::Table<'a, &'static [u8], u64>,
    by_v2: redb::Table<'a, &'static [u8], u64>,
}

impl<'a> Tables<'a> {
    fn open(transaction: &'a redb::WriteTransaction) -> Result<Self, Fault> {
        Ok(Self {
            numbers: transaction.open_table(NUMBERS)?,
            torrents: transaction.open_table(TORRENTS)?,
            metainfo: transaction.open_table(METAINFO)?,
            resume: transaction.open_table(RESUME)?,
            have: transaction.open_table(HAVE)?,
            by_v1: transaction.open_table(BY_V1)?,
            by_v2: transaction.open_table(BY_V2)?,
        })
    }

    fn change(&mut self, TorrentId(id): TorrentId, change: &Change) -> Result<(), Fault> {
        if change.removed {
            self.set_hashes(id, None)?;
            self.metainfo.remove(id)?;
            self.resume.remove(id)?;
            self.have.remove(id)?;
        }
        if let Some(hashes) = &change.hashes {
            self.set_hashes(id, Some(hashes))?;
        }
        if let Some(metainfo) = &change.metainfo
            && self.metainfo.get(id)?.is_none_or(|stored| stored.value() != metainfo)
        {
            self.metainfo.insert(id, &metainfo[..])?;
        }
        if let Some(resume) = &change.resume {
            self.resume.insert(id, &resume[..])?;
        }
        if let Some(have) = &change.have {
            self.have.insert(id, &have[..])?;
        }
        // Ids are never used again, not even those of removed torrents.
        let next = self.numbers.get(NEXT_TORRENT_ID)?.map_or(1, |next| next.value());
        if id >= next {
            self.numbers.insert(NEXT_TORRENT_ID, id.saturating_add(1))?;
        }
        Ok(())
    }

    /// Sets or forgets a torrent's hashes, and keeps the indices in step.
    fn set_hashes(&mut self, id: u64, hashes: Option<&InfoHashes>) -> Result<(), Fault> {
        let old = match hashes {
            Some(hashes) => self.torrents.insert(id, &encode_hashes(hashes)[..])?,
            None => self.torrents.remove(id)?,
        };
        let old = old.map(|old| decode_hashes(old.value())).unwrap_or_default();
        if let Some(v1) = old.v1 {
            self.by_v1.remove(&v1.0[..])?;
        }
        if let Some(v2) = old.v2 {
            self.by_v2.remove(&v2.0[..])?;
        }
        let InfoHashes { v1, v2 } = hashes.copied().unwrap_or_default();
        if let Some(v1) = v1 {
            self.by_v1.insert(&v1.0[..], id)?;
        }
        if let Some(v2) = v2 {
            self.by_v2.insert(&v2.0[..], id)?;
        }
        Ok(())
    }
}

/// Opens the database and says which format it has; a fresh one gets the tables and the mark.
fn open(path: &Path) -> Result<(redb::Database, u64), Fault> {
    let database = redb::Builder::new().set_cache_size(CACHE).create_with_file_format_v3(true).create(path)?;
    if let Some(version) = version_of(&database)? {
        return Ok((database, version));
    }
    let transaction = database.begin_write()?;
    {
        Tables::open(&transaction)?.numbers.insert(VERSION, FORMAT)?;
        transaction.open_table(STATE)?;
    }
    transaction.commit()?;
    Ok((database, FORMAT))
}

fn version_of(database: &redb::Database) -> Result<Option<u64>, Fault> {
    match database.begin_read()?.open_table(NUMBERS) {
        Ok(numbers) => Ok(numbers.get(VERSION)?.map(|version| version.value())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether a file is damaged, or has to be left alone for another reason.
fn sort_out(path: &Path, Fault(error): Fault) -> OpenError {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    match *error {
        redb::Error::UpgradeRequired(_) => OpenError::Refused(failed(path, &error)),
        redb::Error::Io(io) if !matches!(io.kind(), InvalidData | UnexpectedEof) => {
            OpenError::Refused(failed(path, &io))
        }
        other => OpenError::Corrupt(other.to_string()),
    }
}

/// Twenty bytes of v1 and thirty-two of v2, each after a byte that says whether it is there.
fn encode_hashes(hashes: &InfoHashes) -> Vec<u8> {
    let mut bytes = vec![u8::from(hashes.v1.is_some())];
    bytes.extend(hashes.v1.unwrap_or_default().0);
    bytes.push(u8::from(hashes.v2.is_some()));
    bytes.extend(hashes.v2.unwrap_or_default().0);
    bytes
}

/// The hashes of a record; none where it is not one.
fn decode_hashes(bytes: &[u8]) -> InfoHashes {
    let present = |flag: usize| bytes.get(flag) == Some(&1);
    InfoHashes {
        v1: bytes.get(1..21).filter(|_| present(0)).and_then(Sha1Hash::from_slice),
        v2: bytes.get(22..54).filter(|_| present(21)).and_then(Sha256Hash::from_slice),
    }
}

/// Marks a store as one of another format.
#[cfg(test)]
pub(super) fn write_version(path: &Path, version: u64) {
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(NUMBERS).unwrap().insert(VERSION, version).unwrap();
    transaction.commit().unwrap();
}
