//! What a session keeps from one run to the next: torrents, their resume data and verified pieces, and the state of
//! plugins, in one transactional file.
//!
//! Changes are queued to a thread that commits them together every few seconds. A file that is corrupt is moved aside, one
//! of a newer version is refused; nothing is ever thrown away. The records' contents are the engine's business, and are not
//! looked at here.
//!
//! Code map: `database` the only place that names redb; `pending` what the next commit will hold; `lock` one process a
//! store; `path` where a download's store lies.

mod database;
mod lock;
mod path;
mod pending;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reef_engine::{StoreOp, TorrentId};
use reef_proto::hash::InfoHashes;

use database::{Database, OpenError};
use lock::Lock;
use pending::Pending;

pub use path::{default_folder, default_path, plugin_data_path, quarantine_path};

/// A session's store. Dropping it commits what is queued.
pub struct Store {
    inbox: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
    moved_aside: Option<PathBuf>,
}

/// All that a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Larger than every torrent id that was ever stored; at least 1.
    pub next_torrent_id: u64,
    /// The torrents, by ascending id.
    pub torrents: Vec<StoredTorrent>,
    /// Session and plugin state: names and values.
    pub state: Vec<(String, Bytes)>,
}

/// What is kept of one torrent, but for what grows with its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTorrent {
    /// Its key.
    pub id: TorrentId,
    /// Its info-hashes.
    pub hashes: InfoHashes,
    /// The last resume record ([`StoreOp::PutResume`]).
    pub resume: Option<Bytes>,
}

/// What is kept of one torrent and grows with its size: read when it is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredContent {
    /// The .torrent file, once it was known.
    pub metainfo: Option<Bytes>,
    /// The last record of verified pieces ([`StoreOp::PutHave`]).
    pub have: Option<Bytes>,
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has it open.
    #[error("{}: in use by another reef{}; stop that one first", path.display(), process(*pid))]
    InUse {
        /// The store.
        path: PathBuf,
        /// The process, if it could be told.
        pid: Option<u32>,
    },
    /// It was written by a later version.
    #[error("{}: written by a newer version of reef (format {found}, known is {known}); use that version or move the file away", path.display())]
    TooNew {
        /// The store.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The latest format that is known here.
        known: u64,
    },
    /// It cannot be read or written.
    #[error("{}: {message}", path.display())]
    Failed {
        /// The store, or a file beside it.
        path: PathBuf,
        /// What went wrong, in one line.
        message: String,
    },
}

fn process(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

enum Message {
    Op(StoreOp),
    Flush(Answer<()>),
    Load(Answer<Loaded>),
    State(Answer<Vec<(String, Bytes)>>),
    Content(TorrentId, Answer<StoredContent>),
}

/// Called with the outcome, on the store's thread.
type Answer<T> = Box<dyn FnOnce(Result<T, StoreError>) + Send>;

impl Store {
    /// Opens the store at `path`, to be shared with no other process. The file is made at the first commit, so a session
    /// that keeps nothing leaves nothing behind.
    ///
    /// # Errors
    /// When another process uses it, it was written by a newer version, or it cannot be read.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with_interval(path, COMMIT_INTERVAL)
    }

    /// The same with another time between the first change and the commit that holds it.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_with_interval(path: &Path, interval: Duration) -> Result<Self, StoreError> {
        let lock = Lock::take(path)?;
        let mut moved_aside = None;
        let database = match open_existing(path) {
            Err(OpenError::Corrupt(why)) => {
                let aside = move_aside(path)?;
                log::error!("{}: damaged ({why}); kept as {}, and begun anew", path.display(), aside.display());
                moved_aside = Some(aside);
                None
            }
            Err(OpenError::Refused(error)) => return Err(error),
            Ok(database) => database,
        };
        let (inbox, outbox) = channel();
        let mut committer = Committer {
            path: path.to_owned(),
            database,
            interval,
            pending: Pending::default(),
            due: None,
            failing: false,
            _lock: lock,
        };
        let thread = std::thread::Builder::new().name("reef-store".to_owned());
        let thread = thread.spawn(move || committer.run(&outbox)).map_err(|error| failed(path, &error))?;
        Ok(Self { inbox: Some(inbox), thread: Some(thread), path: path.to_owned(), moved_aside })
    }

    /// Queues a change. It is committed with others after a short while, or at [`Self::flush`].
    pub fn put(&self, op: StoreOp) {
        self.send(Message::Op(op));
    }

    /// Commits what is queued and returns when that is on stable storage.
    ///
    /// # Errors
    /// When the commit failed. The changes stay queued and are tried again.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.ask(Message::Flush)
    }

    /// The same without waiting: `answer` is called on the store's thread. What several ask for at once is one commit.
    pub fn flush_then(&self, answer: impl FnOnce(Result<(), StoreError>) + Send + 'static) {
        self.send(Message::Flush(Box::new(answer)));
    }

    /// Reads everything but what grows with the torrents' sizes, with the changes that are queued.
    ///
    /// # Errors
    /// When it cannot be read, or the changes cannot be committed.
    pub fn load(&self) -> Result<Loaded, StoreError> {
        self.ask(Message::Load)
    }

    /// Reads the session and plugin state, with the changes that are queued.
    ///
    /// # Errors
    /// When it cannot be read, or the changes cannot be committed.
    pub fn state(&self) -> Result<Vec<(String, Bytes)>, StoreError> {
        self.ask(Message::State)
    }

    /// Reads a torrent's metainfo and pieces, with the changes that are queued; nothing if it is not there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn content(&self, torrent: TorrentId) -> Result<StoredContent, StoreError> {
        self.ask(|answer| Message::Content(torrent, answer))
    }

    /// The same without waiting: `answer` is called on the store's thread.
    pub fn content_then(
        &self,
        torrent: TorrentId,
        answer: impl FnOnce(Result<StoredContent, StoreError>) + Send + 'static,
    ) {
        self.send(Message::Content(torrent, Box::new(answer)));
    }

    /// Where the file was moved that lay here and was damaged.
    pub fn moved_aside(&self) -> Option<&Path> {
        self.moved_aside.as_deref()
    }

    fn ask<T: Send + 'static>(&self, message: impl FnOnce(Answer<T>) -> Message) -> Result<T, StoreError> {
        let (reply, answer) = sync_channel(1);
        // Whoever asks waits below.
        self.send(message(Box::new(move |outcome| drop(reply.send(outcome)))));
        let gone = |_| StoreError::Failed { path: self.path.clone(), message: "its thread has ended".to_owned() };
        answer.recv().map_err(gone)?
    }

    fn send(&self, message: Message) {
        if self.inbox.as_ref().is_none_or(|inbox| inbox.send(message).is_err()) {
            log::error!("{}: a change is lost, the store's thread has ended", self.path.display());
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The thread ends, with a last commit, when nobody can send to it any more.
        self.inbox = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("{}: the store's thread panicked", self.path.display());
        }
    }
}

/// The thread's side: it alone touches the database.
struct Committer {
    path: PathBuf,
    database: Option<Database>,
    interval: Duration,
    pending: Pending,
    /// When to commit what is pending.
    due: Option<Instant>,
    /// Whether the last commit failed, so that a full disk is reported once.
    failing: bool,
    /// Given back when the thread ends.
    _lock: Lock,
}

impl Committer {
    fn run(&mut self, inbox: &Receiver<Message>) {
        loop {
            let received = match self.due {
                Some(due) => inbox.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match received {
                Ok(Message::Op(op)) => {
                    self.pending.add(op);
                    self.due.get_or_insert_with(|| Instant::now() + self.interval);
                }
                Ok(Message::Flush(answer)) => answer(self.commit()),
                Ok(Message::Load(answer)) => answer(self.load()),
                Ok(Message::State(answer)) => answer(self.state()),
                Ok(Message::Content(torrent, answer)) => answer(self.content(torrent)),
                Err(RecvTimeoutError::Timeout) => self.commit_or_log(),
                Err(RecvTimeoutError::Disconnected) => return self.commit_or_log(),
            }
        }
    }

    fn commit_or_log(&mut self) {
        let was_failing = self.failing;
        if let Err(error) = self.commit() {
            if !was_failing {
                log::error!("{error}; what was downloaded meanwhile is checked again at the next start");
            }
        } else if was_failing {
            log::info!("{}: can be written again", self.path.display());
        }
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.due = None;
        if self.pending.is_empty() {
            return Ok(());
        }
        let committed = self.database().and_then(|(database, pending)| database.apply(pending));
        self.failing = committed.is_err();
        match committed {
            Ok(()) => self.pending = Pending::default(),
            Err(_) => {
                // After an I/O error the database refuses to go on until it is opened again.
                self.database = None;
                self.due = Some(Instant::now() + self.interval);
            }
        }
        committed
    }

    fn load(&mut self) -> Result<Loaded, StoreError> {
        self.commit()?;
        match &self.database {
            Some(database) => database.load(),
            None => Ok(Loaded { next_torrent_id: 1, ..Loaded::default() }),
        }
    }

    fn state(&mut self) -> Result<Vec<(String, Bytes)>, StoreError> {
        self.commit()?;
        self.database.as_ref().map_or(Ok(Vec::new()), Database::state)
    }

    /// What is pending goes before what is committed. Nothing is committed for this: whoever asks is in a hurry.
    fn content(&self, torrent: TorrentId) -> Result<StoredContent, StoreError> {
        let pending = self.pending.torrents.get(&torrent);
        let committed = match &self.database {
            Some(database) if pending.is_none_or(|change| !change.removed) => database.content(torrent)?,
            _ => StoredContent::default(),
        };
        let newer = pending.map(|change| (change.metainfo.clone(), change.have.clone())).unwrap_or_default();
        Ok(StoredContent { metainfo: newer.0.or(committed.metainfo), have: newer.1.or(committed.have) })
    }

    fn database(&mut self) -> Result<(&Database, &Pending), StoreError> {
        let database = match self.database.take() {
            Some(open) => open,
            None => Database::create(&self.path).map_err(|error| match error {
                OpenError::Refused(error) => error,
                OpenError::Corrupt(message) => StoreError::Failed { path: self.path.clone(), message },
            })?,
        };
        Ok((self.database.insert(database), &self.pending))
    }
}

fn open_existing(path: &Path) -> Result<Option<Database>, OpenError> {
    match path.try_exists() {
        Ok(true) => Database::create(path).map(Some),
        Ok(false) => Ok(None),
        Err(error) => Err(OpenError::Refused(failed(path, &error))),
    }
}

/// Renames a damaged store to a name that is free.
fn move_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let name = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{number}"));
        PathBuf::from(name)
    };
    let aside = (1..=u32::MAX).map(name).find(|name| !name.exists()).unwrap_or_else(|| name(0));
    std::fs::rename(path, &aside).map_err(|error| failed(path, &error))?;
    Ok(aside)
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Failed { path: path.to_owned(), message: error.to_string() }
}

/// How long a change may wait for others to be committed with it.
const COMMIT_INTERVAL: Duration = Duration::from_secs(2);
