//! The threads that do disk jobs. They share one queue and one table of open files; each has one buffer to read into.
//! A thread never waits for another one while it holds a lock.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reef_engine::TorrentId;
use reef_engine::disk::{DiskDone, DiskError, DiskErrorKind, DiskJob, DiskOp, DiskResult, OpenStorage};
use reef_proto::message::BlockRequest;

use super::check::{Check, check_pieces};
use super::open_files::OpenFiles;
use super::queue::{Patience, Queue, scope};
use super::scratch::Scratch;
use super::storage::{FileRange, Storage};
use super::write::{Write, hash_and_write};
use crate::lanes;

/// How a [`DiskPool`] is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PoolConfig {
    /// Threads that hash, read and write; at least one.
    pub threads: usize,
    /// How many files are kept open.
    pub max_open_files: usize,
    /// How many pieces are waited for, a short while, to be hashed side by side.
    pub streams: usize,
    /// How many bytes of pieces wait for that at most; see [`DiskPool::set_memory`].
    pub memory: usize,
}

impl Default for PoolConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self { threads: cores.clamp(2, 4), max_open_files: 256, streams: lanes::width(), memory: 16 << 20 }
    }
}

/// Called with the answer to each job, on one of the pool's threads.
pub type OnDone = Arc<dyn Fn(DiskDone) + Send + Sync>;

/// Called with a block and the tag it was asked for with, on one of the pool's threads.
pub type OnBlock = Arc<dyn Fn(u64, Result<Bytes, DiskError>) + Send + Sync>;

/// The threads that do disk jobs. Dropping it drops the jobs that wait and joins the threads.
pub struct DiskPool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    work: Mutex<Work>,
    wake: Condvar,
    storages: RwLock<HashMap<TorrentId, Arc<Storage>>>,
    files: Arc<OpenFiles>,
    on_done: OnDone,
}

struct Work {
    jobs: Queue,
    blocks: VecDeque<BlockRead>,
    /// Blocks that were read since the last job.
    blocks_in_a_row: u32,
    /// Threads that wait.
    idle: usize,
    /// Those of them that look again by themselves.
    watching: usize,
    /// When something last began to wait for company.
    company_at: Option<Instant>,
    stopping: bool,
}

struct BlockRead {
    torrent: TorrentId,
    request: BlockRequest,
    tag: u64,
    on_block: OnBlock,
}

enum Task {
    Jobs(Vec<DiskJob>),
    Block(BlockRead),
}

impl DiskPool {
    /// Starts the threads. `on_done` gets the answer to each job.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(config: PoolConfig, on_done: OnDone) -> std::io::Result<Self> {
        let PoolConfig { streams, memory, .. } = config;
        let patience = Patience { streams, bytes: WORTH_A_TURN.min(memory), most: memory, time: PATIENCE };
        let work = Work {
            jobs: Queue::new(patience),
            blocks: VecDeque::new(),
            blocks_in_a_row: 0,
            idle: 0,
            watching: 0,
            company_at: None,
            stopping: false,
        };
        let shared = Arc::new(Shared {
            work: Mutex::new(work),
            wake: Condvar::new(),
            storages: RwLock::default(),
            files: Arc::new(OpenFiles::new(config.max_open_files)),
            on_done,
        });
        let mut pool = Self { shared, threads: Vec::new() };
        for number in 0..config.threads.max(1) {
            let shared = pool.shared.clone();
            let thread = std::thread::Builder::new().name(format!("reef-disk-{number}"));
            pool.threads.push(thread.spawn(move || shared.run())?);
        }
        Ok(pool)
    }

    /// Queues a job. It is answered once, through `on_done`; a [`DiskOp::SetWanted`] has no answer.
    pub fn submit(&self, job: DiskJob) {
        let now = Instant::now();
        let mut work = self.shared.work();
        let waited = work.jobs.due().is_some();
        work.jobs.push(job, now);
        let waits = !waited && work.jobs.due().is_some();
        if waits {
            work.company_at = Some(now);
        }
        // Somebody must know when what waits for company has waited long enough.
        if waits && work.idle > 0 && work.watching == 0 {
            drop(work);
            self.shared.wake.notify_one();
        } else {
            self.shared.wake_for(work, now);
        }
    }

    /// Sets how many bytes of pieces wait at most until they are hashed side by side.
    pub fn set_memory(&self, bytes: usize) {
        let mut work = self.shared.work();
        work.jobs.patience.most = bytes;
        work.jobs.patience.bytes = WORTH_A_TURN.min(bytes);
    }

    /// Reads a block for a peer, ahead of the jobs that wait. `on_block` gets the tag with it.
    pub fn read_block(&self, torrent: TorrentId, request: BlockRequest, tag: u64, on_block: &OnBlock) {
        let on_block = on_block.clone();
        let mut work = self.shared.work();
        work.blocks.push_back(BlockRead { torrent, request, tag, on_block });
        self.shared.wake_for(work, Instant::now());
    }

    /// Where a block's bytes are, in order, if all of them are in files that are open; otherwise
    /// [`Self::read_block`] finds them (and opens the files). Does no I/O. The block is not looked at: whether the
    /// bytes are in the page cache is told by [`super::in_page_cache`].
    pub fn ranges(&self, torrent: TorrentId, request: &BlockRequest) -> Option<Vec<FileRange>> {
        self.shared.storage(torrent)?.ranges(request)
    }

    /// Whether nobody else changed the files of a block since they were verified. A block of changed files is refused by
    /// [`Self::read_block`].
    pub fn is_unchanged(&self, torrent: TorrentId, request: &BlockRequest) -> bool {
        self.shared.storage(torrent).is_none_or(|storage| storage.is_unchanged(request))
    }

    /// A torrent's storage, for tests of what a disk thread does with several jobs at once.
    #[cfg(test)]
    pub(super) fn storage_of(&self, torrent: TorrentId) -> Arc<Storage> {
        self.shared.storage(torrent).expect("it was opened")
    }
}

impl Drop for DiskPool {
    fn drop(&mut self) {
        self.shared.work().stopping = true;
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a disk thread panicked");
            }
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut scratch = Scratch::default();
        while let Some(task) = self.next_task() {
            match task {
                Task::Block(read) => self.do_block(&read),
                Task::Jobs(jobs) => self.do_jobs(jobs, scratch.buffer()),
            }
        }
    }

    /// Waits for something to do; `None` when the pool stops.
    fn next_task(&self) -> Option<Task> {
        let mut work = self.work();
        loop {
            if work.stopping {
                return None;
            }
            let now = Instant::now();
            if let Some(task) = work.take(now) {
                self.wake_for(work, now);
                return Some(task);
            }
            let watch = work.watch_for(now);
            work.idle += 1;
            work.watching += usize::from(watch.is_some());
            work = match watch {
                None => self.wake.wait(work).unwrap_or_else(PoisonError::into_inner),
                Some(time) => self.wake.wait_timeout(work, time).unwrap_or_else(PoisonError::into_inner).0,
            };
            work.idle -= 1;
            work.watching -= usize::from(watch.is_some());
        }
    }

    /// Wakes a thread if there is something to do and one that waits for it. A woken one does the same, so that as many
    /// wake as are needed, and nobody pays for a call to the kernel that wakes no one.
    fn wake_for(&self, work: MutexGuard<'_, Work>, now: Instant) {
        let wake = work.idle > 0 && work.has_tasks(now);
        drop(work);
        if wake {
            self.wake.notify_one();
        }
    }

    fn do_block(&self, read: &BlockRead) {
        let BlockRequest { piece, begin, length } = read.request;
        let storage = self.storage(read.torrent).ok_or_else(not_open);
        (read.on_block)(read.tag, storage.and_then(|storage| storage.read(piece, begin, length)));
    }

    fn do_jobs(&self, jobs: Vec<DiskJob>, scratch: &mut [u8]) {
        let scopes: Vec<_> = jobs.iter().map(scope).collect();
        let (mut writes, mut checks) = (Vec::new(), Vec::new());
        for DiskJob { torrent, op } in jobs {
            let storage = || self.storage(torrent).ok_or_else(not_open);
            match op {
                DiskOp::WritePiece { piece, data, expect } => {
                    writes.push(Write { torrent, storage: storage(), piece, begin: 0, data, expect: Some(expect) });
                }
                DiskOp::WriteRun { piece, begin, data } => {
                    writes.push(Write { torrent, storage: storage(), piece, begin, data, expect: None });
                }
                DiskOp::CheckPiece { piece, expect } => {
                    checks.push(Check { torrent, storage: storage(), piece, expect })
                }
                other => {
                    if let Some(result) = self.do_one(torrent, other) {
                        (self.on_done)(DiskDone { torrent, result });
                    }
                }
            }
        }
        hash_and_write(writes).into_iter().for_each(|done| (self.on_done)(done));
        check_pieces(checks, scratch, &|done| (self.on_done)(done));
        let now = Instant::now();
        let mut work = self.work();
        scopes.into_iter().for_each(|scope| work.jobs.done(scope, now));
    }

    fn do_one(&self, torrent: TorrentId, op: DiskOp) -> Option<DiskResult> {
        let storage = || self.storage(torrent).ok_or_else(not_open);
        Some(match op {
            DiskOp::Open(open) => DiskResult::Opened(Ok(self.open(torrent, *open))),
            DiskOp::SetWanted(wanted) => {
                if let Ok(storage) = storage() {
                    storage.set_wanted(&wanted);
                }
                return None;
            }
            DiskOp::Read { piece, begin, length } => {
                let outcome = storage().and_then(|storage| storage.read(piece, begin, length));
                DiskResult::Read { piece, begin, outcome }
            }
            DiskOp::Finish { sync } => DiskResult::Finished(storage().and_then(|storage| storage.finish(sync))),
            DiskOp::Close { delete_files } => DiskResult::Closed(self.close(torrent, delete_files)),
            // These are done many at a time.
            DiskOp::WritePiece { .. } | DiskOp::WriteRun { .. } | DiskOp::CheckPiece { .. } => return None,
        })
    }

    fn open(&self, torrent: TorrentId, open: OpenStorage) -> reef_engine::disk::Opened {
        let (storage, opened) = Storage::open(torrent, open, self.files.clone());
        self.storages.write().unwrap_or_else(PoisonError::into_inner).insert(torrent, Arc::new(storage));
        opened
    }

    fn close(&self, torrent: TorrentId, delete_files: bool) -> Result<(), DiskError> {
        let storage = self.storages.write().unwrap_or_else(PoisonError::into_inner).remove(&torrent);
        let Some(storage) = storage else { return Ok(()) };
        if delete_files {
            return storage.delete();
        }
        storage.close();
        Ok(())
    }

    fn storage(&self, torrent: TorrentId) -> Option<Arc<Storage>> {
        self.storages.read().unwrap_or_else(PoisonError::into_inner).get(&torrent).cloned()
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    fn has_tasks(&self, now: Instant) -> bool {
        !self.blocks.is_empty() || self.jobs.has_ready(now)
    }

    /// How long a thread with nothing to do waits before it looks again; `None` for until it is woken. While pieces come,
    /// one thread looks every now and then, so that nobody has to be woken for each that begins to wait.
    fn watch_for(&self, now: Instant) -> Option<Duration> {
        let is_busy = || self.company_at.is_some_and(|at| now.saturating_duration_since(at) < BUSY);
        match self.jobs.due() {
            Some(due) => Some(due.saturating_duration_since(now)),
            None => (self.watching == 0 && is_busy()).then_some(PATIENCE),
        }
    }

    /// Blocks for peers go first, but not for ever.
    fn take(&mut self, now: Instant) -> Option<Task> {
        let jobs_first = self.blocks_in_a_row >= MAX_BLOCKS_IN_A_ROW && self.jobs.has_ready(now);
        if !jobs_first && let Some(read) = self.blocks.pop_front() {
            self.blocks_in_a_row += 1;
            return Some(Task::Block(read));
        }
        self.blocks_in_a_row = 0;
        self.jobs.take(now).map(Task::Jobs)
    }
}

fn not_open() -> DiskError {
    let message = "the torrent's storage is not open".to_owned();
    DiskError { kind: DiskErrorKind::Other, path: String::new(), message }
}

/// After so many blocks for peers one job is done, if there is any.
const MAX_BLOCKS_IN_A_ROW: u32 = 8;

/// Pieces wait until they are so many bytes together: waking a thread for less costs more a byte.
const WORTH_A_TURN: usize = 4 << 20;

/// Pieces are expected for so long after the last one.
const BUSY: Duration = Duration::from_secs(1);

/// What came of a piece waits so long for others to be hashed with.
const PATIENCE: Duration = Duration::from_millis(50);
