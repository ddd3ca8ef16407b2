//! Threads for work that may block for long: started when there is work, gone when there was none for a while.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A queue of jobs, and threads that do them. Dropping it drops the jobs that wait; one that is being done ends by
/// itself, since nothing can interrupt it.
pub(crate) struct Workers<J> {
    shared: Arc<Shared<J>>,
    name: &'static str,
    most: usize,
}

/// What one thread does with jobs, with whatever it keeps between them.
pub(crate) type Worker<J> = Box<dyn FnMut(J)>;

struct Shared<J> {
    state: Mutex<State<J>>,
    wake: Condvar,
    make: Box<dyn Fn() -> Worker<J> + Send + Sync>,
}

struct State<J> {
    jobs: VecDeque<J>,
    threads: usize,
    idle: usize,
    stopping: bool,
}

impl<J: Send + 'static> Workers<J> {
    /// No threads yet, and later `most` of them. Each begins by making its worker.
    pub(crate) fn new(name: &'static str, most: usize, make: impl Fn() -> Worker<J> + Send + Sync + 'static) -> Self {
        let state = State { jobs: VecDeque::new(), threads: 0, idle: 0, stopping: false };
        let shared = Shared { state: Mutex::new(state), wake: Condvar::new(), make: Box::new(make) };
        Self { shared: Arc::new(shared), name, most }
    }

    /// Queues a job.
    pub(crate) fn submit(&self, job: J) {
        let mut state = self.shared.state();
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() || state.threads >= self.most {
            self.shared.wake.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        let shared = Arc::clone(&self.shared);
        if let Err(e) = crate::rt::spawn_thread(self.name, move || shared.run()) {
            log::error!("no thread for {}: {e}", self.name);
            self.shared.state().threads -= 1;
        }
    }

    /// Drops the jobs that wait and are not to be kept.
    pub(crate) fn retain(&self, keep: impl FnMut(&J) -> bool) {
        self.shared.state().jobs.retain(keep);
    }
}

impl<J> Drop for Workers<J> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.stopping = true;
        state.jobs.clear();
        drop(state);
        self.shared.wake.notify_all();
    }
}

impl<J> Shared<J> {
    fn run(&self) {
        let mut worker = (self.make)();
        while let Some(job) = self.next_job() {
            worker(job);
        }
    }

    /// Waits for a job; `None` when there was none for a while or none will come.
    fn next_job(&self) -> Option<J> {
        let mut state = self.state();
        let mut waited = false;
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if waited || state.stopping {
                state.threads -= 1;
                return None;
            }
            state.idle += 1;
            let (after, timeout) = self.wake.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = after;
            state.idle -= 1;
            waited = timeout.timed_out();
        }
    }

    fn state(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const IDLE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::mpsc::channel;

    #[test]
    fn jobs_run_side_by_side_up_to_the_limit_and_all_of_them_run() {
        let (sender, results) = channel();
        let together = Arc::new(Barrier::new(3));
        let workers = Workers::new("test", 3, move || {
            let (sender, together) = (sender.clone(), Arc::clone(&together));
            Box::new(move |job: u32| {
                together.wait();
                sender.send(job).unwrap();
            })
        });
        (0..9).for_each(|job| workers.submit(job));
        let mut done: Vec<u32> = results.iter().take(9).collect();
        done.sort_unstable();
        assert_eq!(done, (0..9).collect::<Vec<_>>());
        assert!(workers.shared.state().threads <= 3);
    }

    #[test]
    fn a_job_that_is_not_kept_does_not_run() {
        let (sender, results) = channel();
        let (open, gate) = channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let workers = Workers::new("test", 1, move || {
            let (sender, gate) = (sender.clone(), Arc::clone(&gate));
            Box::new(move |job: u32| {
                gate.lock().unwrap().recv().unwrap();
                sender.send(job).unwrap();
            })
        });
        (0..3).for_each(|job| workers.submit(job));
        workers.retain(|job| *job != 1);
        (0..2).for_each(|_| open.send(()).unwrap());
        assert_eq!(results.iter().take(2).collect::<Vec<_>>(), [0, 2]);
    }
}
