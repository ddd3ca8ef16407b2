//! Which job is done next: jobs of one piece in the order given, everything else side by side.
//!
//! What came of pieces waits for company, since many pieces are hashed faster side by side than one after the other; but
//! not for long, and not beyond the memory that there is. Opening, finishing, closing a storage and changing what is wanted
//! concern the whole torrent: such a job waits for all that came before it, and what comes after it waits for it. Plain
//! data: threads, locks and the clock are [`super::pool`]'s.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reef_engine::TorrentId;
use reef_engine::disk::{DiskJob, DiskOp};

/// When pieces have waited for company long enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Patience {
    /// So many pieces are worth hashing together,
    pub(super) streams: usize,
    /// if they have at least so many bytes.
    pub(super) bytes: usize,
    /// So many bytes wait for nobody.
    pub(super) most: usize,
    /// Nobody waits longer.
    pub(super) time: Duration,
}

/// Jobs that wait, and jobs that may be done now.
pub(super) struct Queue {
    lanes: HashMap<TorrentId, Lane>,
    next: Next,
    pub(super) patience: Patience,
}

/// Jobs that nothing stands in the way of.
#[derive(Default)]
struct Next {
    ready: VecDeque<DiskJob>,
    /// Pieces that are on disk, to be read and hashed.
    checks: VecDeque<DiskJob>,
    /// Bytes of pieces, to be hashed and written.
    company: VecDeque<DiskJob>,
    company_bytes: usize,
    /// When the first of them came.
    since: Option<Instant>,
    /// Somebody waits for them to be done: what concerns the whole torrent, or the next part of a piece, which shows that
    /// there are not many pieces to wait for.
    pressed: bool,
}

/// A torrent's jobs. A torrent without any has no lane.
#[derive(Default)]
struct Lane {
    /// Jobs that were let through and are not done, whether ready or behind another of their piece.
    admitted: usize,
    /// Whether the one job that was let through concerns the whole torrent.
    exclusive: bool,
    /// Jobs that were not let through yet.
    waiting: VecDeque<DiskJob>,
    /// For each piece that has a job under way or ready: the ones that come after it.
    behind: HashMap<u32, VecDeque<DiskJob>>,
}

/// What a job must be in order with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Scope {
    torrent: TorrentId,
    /// `None` for the whole torrent.
    piece: Option<u32>,
}

impl Queue {
    pub(super) fn new(patience: Patience) -> Self {
        Self { lanes: HashMap::new(), next: Next::default(), patience }
    }

    /// Takes a job in.
    pub(super) fn push(&mut self, job: DiskJob, now: Instant) {
        let lane = self.lanes.entry(job.torrent).or_default();
        lane.waiting.push_back(job);
        lane.advance(&mut self.next, now);
    }

    /// Whether a job could be taken.
    pub(super) fn has_ready(&self, now: Instant) -> bool {
        !self.next.ready.is_empty() || !self.next.checks.is_empty() || self.is_company_due(now)
    }

    /// When a job can be taken though none can now and nothing comes.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next.since.map(|since| since + self.patience.time)
    }

    /// The next job, and with it others that are cheaper done together: parts of pieces to hash and write, or pieces to
    /// check. Each must be reported to [`Self::done`].
    pub(super) fn take(&mut self, now: Instant) -> Option<Vec<DiskJob>> {
        if let Some(job) = self.next.ready.pop_front() {
            return Some(vec![job]);
        }
        if self.is_company_due(now) {
            return Some(self.take_company());
        }
        let checks = self.next.checks.len().min(CHECKS);
        (checks > 0).then(|| self.next.checks.drain(..checks).collect())
    }

    fn is_company_due(&self, now: Instant) -> bool {
        let Next { company, company_bytes, since, pressed, .. } = &self.next;
        let Patience { streams, bytes, most, time } = self.patience;
        let enough = company.len() >= streams && *company_bytes >= bytes;
        let late = || since.is_some_and(|since| since + time <= now);
        !company.is_empty() && (enough || *company_bytes >= most || *pressed || late())
    }

    /// As many as are worth hashing together: others may be left for another thread.
    fn take_company(&mut self) -> Vec<DiskJob> {
        let Patience { streams, bytes, most, .. } = self.patience;
        let (mut jobs, mut size) = (Vec::new(), 0);
        while (jobs.len() < streams || size < bytes) && (size < most || jobs.is_empty()) {
            let Some(job) = self.next.company.pop_front() else { break };
            size += bytes_of(&job);
            jobs.push(job);
        }
        self.next.company_bytes -= size;
        if self.next.company.is_empty() {
            self.next.since = None;
            self.next.pressed = false;
        }
        jobs
    }

    /// A job that was taken is done: what waited for it may follow.
    pub(super) fn done(&mut self, scope: Scope, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&scope.torrent) else { return };
        lane.admitted = lane.admitted.saturating_sub(1);
        match scope.piece {
            None => lane.exclusive = false,
            Some(piece) => match lane.behind.get_mut(&piece).map(|behind| (behind.pop_front(), behind.front())) {
                Some((Some(next), after)) => {
                    self.next.push(next, now);
                    self.next.pressed |= after.is_some_and(is_write) && !self.next.company.is_empty();
                }
                _ => {
                    lane.behind.remove(&piece);
                }
            },
        }
        lane.advance(&mut self.next, now);
        if lane.admitted == 0 {
            self.lanes.remove(&scope.torrent);
        }
    }
}

impl Next {
    fn push(&mut self, job: DiskJob, now: Instant) {
        if is_write(&job) {
            self.company_bytes += bytes_of(&job);
            self.company.push_back(job);
            self.since.get_or_insert(now);
        } else if matches!(job.op, DiskOp::CheckPiece { .. }) {
            self.checks.push_back(job);
        } else {
            self.ready.push_back(job);
        }
    }
}

impl Lane {
    /// Lets through what may go.
    fn advance(&mut self, next: &mut Next, now: Instant) {
        while !self.exclusive {
            let Some(job) = self.waiting.pop_front() else { return };
            match scope(&job).piece {
                None if self.admitted > 0 => {
                    self.waiting.push_front(job);
                    // What it waits for may be pieces that wait for company.
                    next.pressed = !next.company.is_empty();
                    return;
                }
                None => {
                    self.exclusive = true;
                    next.push(job, now);
                }
                Some(piece) => match self.behind.get_mut(&piece) {
                    Some(behind) => {
                        next.pressed |= is_write(&job) && !next.company.is_empty();
                        behind.push_back(job);
                    }
                    None => {
                        self.behind.insert(piece, VecDeque::new());
                        next.push(job, now);
                    }
                },
            }
            self.admitted += 1;
        }
    }
}

/// What a job must be in order with.
pub(super) fn scope(job: &DiskJob) -> Scope {
    let piece = match job.op {
        DiskOp::WritePiece { piece, .. }
        | DiskOp::WriteRun { piece, .. }
        | DiskOp::CheckPiece { piece, .. }
        | DiskOp::Read { piece, .. } => Some(piece),
        DiskOp::Open(_) | DiskOp::SetWanted(_) | DiskOp::Finish { .. } | DiskOp::Close { .. } => None,
    };
    Scope { torrent: job.torrent, piece }
}

fn is_write(job: &DiskJob) -> bool {
    matches!(job.op, DiskOp::WritePiece { .. } | DiskOp::WriteRun { .. })
}

fn bytes_of(job: &DiskJob) -> usize {
    match &job.op {
        DiskOp::WritePiece { data, .. } | DiskOp::WriteRun { data, .. } => data.iter().map(Bytes::len).sum(),
        _ => 0,
    }
}

/// Pieces that one thread checks at once.
const CHECKS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use reef_engine::disk::Expect;

    const PATIENCE: Patience = Patience { streams: 3, bytes: 30, most: 100, time: Duration::from_millis(50) };

    /// A queue, and a clock that stands still until it is told.
    struct Bench {
        queue: Queue,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self { queue: Queue::new(PATIENCE), now: Instant::now() }
        }

        fn push(&mut self, jobs: impl IntoIterator<Item = DiskJob>) {
            jobs.into_iter().for_each(|job| self.queue.push(job, self.now));
        }

        fn done(&mut self, scope: Scope) {
            self.queue.done(scope, self.now);
        }

        /// What is taken at once, by name.
        fn take(&mut self) -> Vec<String> {
            self.queue.take(self.now).unwrap_or_default().iter().map(name).collect()
        }

        fn take_all(&mut self) -> (Vec<String>, Vec<Scope>) {
            let jobs: Vec<_> = std::iter::from_fn(|| self.queue.take(self.now)).flatten().collect();
            (jobs.iter().map(name).collect(), jobs.iter().map(scope).collect())
        }
    }

    fn read(torrent: u64, piece: u32, begin: u32) -> DiskJob {
        whole(torrent, DiskOp::Read { piece, begin, length: 1 })
    }

    fn check(piece: u32) -> DiskJob {
        whole(1, DiskOp::CheckPiece { piece, expect: Expect::default() })
    }

    fn whole(torrent: u64, op: DiskOp) -> DiskJob {
        DiskJob { torrent: TorrentId(torrent), op }
    }

    fn piece(torrent: u64, piece: u32, size: usize) -> DiskJob {
        let data = vec![Bytes::from(vec![0; size])];
        whole(torrent, DiskOp::WritePiece { piece, data, expect: Expect::default() })
    }

    fn run(piece: u32, begin: u32) -> DiskJob {
        whole(1, DiskOp::WriteRun { piece, begin, data: vec![Bytes::from(vec![0; 10])] })
    }

    fn name(job: &DiskJob) -> String {
        let torrent = job.torrent;
        match &job.op {
            DiskOp::Read { piece, begin, .. } => format!("{torrent}:read {piece}+{begin}"),
            DiskOp::WritePiece { piece, .. } => format!("{torrent}:piece {piece}"),
            DiskOp::WriteRun { piece, begin, .. } => format!("{torrent}:run {piece}+{begin}"),
            DiskOp::CheckPiece { piece, .. } => format!("{torrent}:check {piece}"),
            DiskOp::Finish { .. } => format!("{torrent}:finish"),
            DiskOp::SetWanted(_) => format!("{torrent}:wanted"),
            _ => format!("{torrent}:other"),
        }
    }

    #[test]
    fn jobs_of_one_piece_are_taken_one_after_the_other() {
        let mut bench = Bench::new();
        bench.push([read(1, 0, 0), read(1, 0, 1), read(1, 1, 0), read(2, 0, 0), read(1, 0, 2)]);
        let (jobs, scopes) = bench.take_all();
        assert_eq!(jobs, ["1:read 0+0", "1:read 1+0", "2:read 0+0"]);
        bench.done(scopes[1]);
        assert!(!bench.queue.has_ready(bench.now));
        bench.done(scopes[0]);
        let (jobs, scopes) = bench.take_all();
        assert_eq!(jobs, ["1:read 0+1"]);
        bench.done(scopes[0]);
        assert_eq!(bench.take_all().0, ["1:read 0+2"]);
    }

    #[test]
    fn a_job_for_the_whole_torrent_waits_and_is_waited_for() {
        let mut bench = Bench::new();
        bench.push([
            read(1, 0, 0),
            read(1, 0, 1),
            whole(1, DiskOp::Finish { sync: true }),
            whole(1, DiskOp::SetWanted(vec![])),
        ]);
        bench.push([read(1, 5, 0), whole(2, DiskOp::Finish { sync: true })]);
        let (jobs, scopes) = bench.take_all();
        assert_eq!(jobs, ["1:read 0+0", "2:finish"]);
        bench.done(scopes[0]);
        let (jobs, scopes) = bench.take_all();
        assert_eq!(jobs, ["1:read 0+1"]);
        bench.done(scopes[0]);
        for expected in ["1:finish", "1:wanted", "1:read 5+0"] {
            let (jobs, scopes) = bench.take_all();
            assert_eq!(jobs, [expected]);
            bench.done(scopes[0]);
        }
        bench.done(Scope { torrent: TorrentId(2), piece: None });
        assert!(bench.queue.lanes.is_empty(), "an idle torrent costs nothing");
    }

    #[test]
    fn pieces_wait_until_there_are_enough_of_them() {
        let mut bench = Bench::new();
        bench.push([piece(1, 3, 10), read(1, 9, 0), piece(2, 0, 10)]);
        assert_eq!(bench.take(), ["1:read 9+0"]);
        assert_eq!(bench.take(), [""; 0]);
        bench.push([run(1, 0), piece(1, 4, 10)]);
        assert_eq!(bench.take(), ["1:piece 3", "2:piece 0", "1:run 1+0"]);
        assert_eq!(bench.take(), [""; 0]);
        bench.push([piece(1, 5, 4), piece(1, 6, 4), piece(1, 7, 4)]);
        assert_eq!(bench.take(), [""; 0], "so few bytes are not worth it");
    }

    #[test]
    fn pieces_wait_no_longer_than_allowed_and_for_nobody_when_memory_is_short() {
        let mut bench = Bench::new();
        bench.push([piece(1, 0, 10)]);
        assert_eq!(bench.queue.due(), Some(bench.now + PATIENCE.time));
        bench.now += PATIENCE.time;
        assert_eq!(bench.take(), ["1:piece 0"]);
        assert_eq!(bench.queue.due(), None);
        bench.push([piece(1, 1, 100)]);
        assert_eq!(bench.take(), ["1:piece 1"]);
    }

    #[test]
    fn pieces_do_not_keep_their_torrent_from_closing() {
        let mut bench = Bench::new();
        bench.push([piece(1, 0, 10), whole(1, DiskOp::Finish { sync: true })]);
        let (jobs, scopes) = bench.take_all();
        assert_eq!(jobs, ["1:piece 0"]);
        bench.done(scopes[0]);
        assert_eq!(bench.take(), ["1:finish"]);
    }

    #[test]
    fn a_part_of_a_piece_waits_for_the_part_before_it_and_the_check_for_all() {
        let mut bench = Bench::new();
        bench.push([run(0, 0), check(1)]);
        assert_eq!(bench.take(), ["1:check 1"]);
        // The second part shows that the first waits for nobody; then the second waits for company.
        bench.push([run(0, 10), check(0)]);
        for expected in ["1:run 0+0", "1:run 0+10"] {
            let (jobs, scopes) = bench.take_all();
            assert_eq!(jobs, [expected]);
            bench.done(scopes[0]);
            bench.now += PATIENCE.time;
        }
        assert_eq!(bench.take(), ["1:check 0"]);
    }

    #[test]
    fn checks_are_taken_together() {
        let mut bench = Bench::new();
        bench.push((0..20).map(check));
        assert_eq!(bench.take().len(), CHECKS);
        assert_eq!(bench.take().len(), 4);
    }
}
