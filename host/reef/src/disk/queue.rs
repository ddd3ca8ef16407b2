//! Which job is done next: jobs of one piece in the order given, everything else side by side.
//!
//! Opening, finishing, closing a storage and changing what is wanted concern the whole torrent: such a job waits for all
//! that came before it, and what comes after it waits for it. Plain data: threads and locks are [`super::pool`]'s.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use reef_engine::TorrentId;
use reef_engine::disk::{DiskJob, DiskOp};

/// Jobs that wait, and jobs that may be done now.
#[derive(Default)]
pub(super) struct Queue {
    lanes: HashMap<TorrentId, Lane>,
    ready: VecDeque<DiskJob>,
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
    /// Takes a job in.
    pub(super) fn push(&mut self, job: DiskJob) {
        let lane = self.lanes.entry(job.torrent).or_default();
        lane.waiting.push_back(job);
        lane.advance(&mut self.ready);
    }

    /// How many jobs could be taken.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// The next job, and with it others that are cheaper done together: whole pieces of the same torrent to write, up to
    /// `batch` bytes. Each must be reported to [`Self::done`].
    pub(super) fn take(&mut self, batch: usize) -> Option<Vec<DiskJob>> {
        let first = self.ready.pop_front()?;
        let torrent = first.torrent;
        let mut size = piece_data(&first).map_or(batch, bytes_in);
        let mut jobs = vec![first];
        let mut index = 0;
        while size < batch && index < self.ready.len().min(LOOK_AHEAD) {
            let joins = |job: &DiskJob| job.torrent == torrent && piece_data(job).is_some();
            match self.ready.get(index) {
                Some(job) if joins(job) => {
                    size += piece_data(job).map_or(0, bytes_in);
                    jobs.extend(self.ready.remove(index));
                }
                _ => index += 1,
            }
        }
        Some(jobs)
    }

    /// A job that was taken is done: what waited for it may follow.
    pub(super) fn done(&mut self, scope: Scope) {
        let Some(lane) = self.lanes.get_mut(&scope.torrent) else { return };
        lane.admitted = lane.admitted.saturating_sub(1);
        match scope.piece {
            None => lane.exclusive = false,
            Some(piece) => match lane.behind.get_mut(&piece).map(VecDeque::pop_front) {
                Some(Some(next)) => self.ready.push_back(next),
                _ => {
                    lane.behind.remove(&piece);
                }
            },
        }
        lane.advance(&mut self.ready);
        if lane.admitted == 0 {
            self.lanes.remove(&scope.torrent);
        }
    }
}

impl Lane {
    /// Lets through what may go.
    fn advance(&mut self, ready: &mut VecDeque<DiskJob>) {
        while !self.exclusive {
            let Some(next) = self.waiting.pop_front() else { return };
            let piece = scope(&next).piece;
            match piece {
                None if self.admitted > 0 => {
                    self.waiting.push_front(next);
                    return;
                }
                None => {
                    self.exclusive = true;
                    ready.push_back(next);
                }
                Some(piece) => match self.behind.get_mut(&piece) {
                    Some(behind) => behind.push_back(next),
                    None => {
                        self.behind.insert(piece, VecDeque::new());
                        ready.push_back(next);
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
        DiskOp::Open(_) | DiskOp::SetWanted(_) | DiskOp::Finish | DiskOp::Close { .. } => None,
    };
    Scope { torrent: job.torrent, piece }
}

fn piece_data(job: &DiskJob) -> Option<&[Bytes]> {
    match &job.op {
        DiskOp::WritePiece { data, .. } => Some(data),
        _ => None,
    }
}

fn bytes_in(data: &[Bytes]) -> usize {
    data.iter().map(Bytes::len).sum()
}

/// How many waiting jobs are looked at for ones to be done together.
const LOOK_AHEAD: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use reef_engine::disk::Expect;

    fn read(torrent: u64, piece: u32, begin: u32) -> DiskJob {
        DiskJob { torrent: TorrentId(torrent), op: DiskOp::Read { piece, begin, length: 1 } }
    }

    fn whole(torrent: u64, op: DiskOp) -> DiskJob {
        DiskJob { torrent: TorrentId(torrent), op }
    }

    fn piece(torrent: u64, piece: u32, size: usize) -> DiskJob {
        let data = vec![Bytes::from(vec![0; size])];
        whole(torrent, DiskOp::WritePiece { piece, data, expect: Expect::default() })
    }

    fn name(job: &DiskJob) -> String {
        let torrent = job.torrent;
        match &job.op {
            DiskOp::Read { piece, begin, .. } => format!("{torrent}:read {piece}+{begin}"),
            DiskOp::WritePiece { piece, .. } => format!("{torrent}:piece {piece}"),
            DiskOp::Finish => format!("{torrent}:finish"),
            DiskOp::SetWanted(_) => format!("{torrent}:wanted"),
            _ => format!("{torrent}:other"),
        }
    }

    fn take_all(queue: &mut Queue) -> (Vec<String>, Vec<Scope>) {
        let jobs: Vec<_> = std::iter::from_fn(|| queue.take(0)).flatten().collect();
        (jobs.iter().map(name).collect(), jobs.iter().map(scope).collect())
    }

    #[test]
    fn jobs_of_one_piece_are_taken_one_after_the_other() {
        let mut queue = Queue::default();
        for job in [read(1, 0, 0), read(1, 0, 1), read(1, 1, 0), read(2, 0, 0), read(1, 0, 2)] {
            queue.push(job);
        }
        let (jobs, scopes) = take_all(&mut queue);
        assert_eq!(jobs, ["1:read 0+0", "1:read 1+0", "2:read 0+0"]);
        queue.done(scopes[1]);
        assert_eq!(queue.ready(), 0);
        queue.done(scopes[0]);
        let (jobs, scopes) = take_all(&mut queue);
        assert_eq!(jobs, ["1:read 0+1"]);
        queue.done(scopes[0]);
        assert_eq!(take_all(&mut queue).0, ["1:read 0+2"]);
    }

    #[test]
    fn a_job_for_the_whole_torrent_waits_and_is_waited_for() {
        let mut queue = Queue::default();
        for job in [read(1, 0, 0), read(1, 0, 1), whole(1, DiskOp::Finish), whole(1, DiskOp::SetWanted(vec![]))] {
            queue.push(job);
        }
        queue.push(read(1, 5, 0));
        queue.push(whole(2, DiskOp::Finish));
        let (jobs, scopes) = take_all(&mut queue);
        assert_eq!(jobs, ["1:read 0+0", "2:finish"]);
        queue.done(scopes[0]);
        let (jobs, scopes) = take_all(&mut queue);
        assert_eq!(jobs, ["1:read 0+1"]);
        queue.done(scopes[0]);
        for expected in ["1:finish", "1:wanted", "1:read 5+0"] {
            let (jobs, scopes) = take_all(&mut queue);
            assert_eq!(jobs, [expected]);
            queue.done(scopes[0]);
        }
        queue.done(Scope { torrent: TorrentId(2), piece: None });
        assert!(queue.lanes.is_empty(), "an idle torrent costs nothing");
    }

    #[test]
    fn whole_pieces_of_one_torrent_are_taken_together() {
        let mut queue = Queue::default();
        for job in [piece(1, 3, 10), read(1, 9, 0), piece(2, 0, 10), piece(1, 1, 10), piece(1, 2, 10), piece(1, 4, 10)]
        {
            queue.push(job);
        }
        let names = |jobs: Option<Vec<DiskJob>>| jobs.unwrap().iter().map(name).collect::<Vec<_>>();
        assert_eq!(names(queue.take(30)), ["1:piece 3", "1:piece 1", "1:piece 2"]);
        assert_eq!(names(queue.take(30)), ["1:read 9+0"]);
        assert_eq!(names(queue.take(30)), ["2:piece 0"]);
        assert_eq!(names(queue.take(5)), ["1:piece 4"]);
    }
}
