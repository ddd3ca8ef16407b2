//! What a plugin's own threads reach: a queue for requests, which can be taken back.
//!
//! Requests are queued and never carried out here, so no call from a thread ever enters the session or another plugin. What
//! plugins can call is in [`crate::handle_calls`].

use crate::holdings::Holdings;
use crate::question::{Question, this_thread};
use crate::statistics::Statistics;
use crate::translate;
use reef_engine::Action;
use reef_engine::alert::CustomAlert;
use reef_plugin_api as api;
use reef_plugin_api::{HostCalls as _, HostError, LogLine};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Called when there is something in a queue that was empty.
pub(crate) type Waker = Box<dyn Fn() + Send + Sync>;

/// What all instances of a session share.
#[derive(Default)]
pub(crate) struct Mailroom {
    /// Some queue may not be empty.
    pending: AtomicBool,
    /// The session's time at its last tick or thereabouts, in microseconds.
    now: AtomicU64,
    /// The thread on which hooks run.
    hook_thread: AtomicUsize,
    /// What the plugins count.
    pub(crate) statistics: Statistics,
    waker: Mutex<Option<Arc<Waker>>>,
}

impl Mailroom {
    pub(crate) fn set_waker(&self, waker: Waker) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(waker));
    }

    pub(crate) fn set_now(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// Plugins' code is going to run on this thread for the session.
    pub(crate) fn enter_hooks(&self) {
        self.hook_thread.store(this_thread(), Ordering::Relaxed);
    }

    /// Whether the session waits for what runs on this thread.
    pub(crate) fn is_hook_thread(&self) -> bool {
        self.hook_thread.load(Ordering::Relaxed) == this_thread()
    }

    /// Whether some queue may not be empty.
    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Relaxed)
    }

    /// All queues are about to be emptied.
    pub(crate) fn clear_pending(&self) {
        self.pending.store(false, Ordering::SeqCst);
    }

    pub(crate) fn wake(&self) {
        if !self.pending.swap(true, Ordering::SeqCst) {
            let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(waker) = waker {
                waker();
            }
        }
    }
}

/// Something that an instance asked for outside of a hook's context.
#[derive(Debug)]
pub(crate) enum Request {
    /// An action for the session.
    Action(Action),
    /// A question, for which a thread waits.
    Question(Question),
    /// One of its threads, or the `Drop` of one of its objects, panicked; or it asked for far too much.
    Panicked(String),
}

/// Who an instance is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// Its plugin's name.
    pub(crate) name: String,
    /// Its number in its session, which is never another's.
    pub(crate) number: u64,
    /// What its threads' random numbers follow from.
    pub(crate) seed: u64,
    /// The folder in which plugins have theirs.
    pub(crate) data_dir: Option<PathBuf>,
}

/// The object behind an instance's [`api::Host`] handles.
pub(crate) struct InstanceHandle {
    pub(crate) identity: Identity,
    /// For handles that it makes of itself.
    pub(crate) me: Weak<Self>,
    gone: AtomicBool,
    /// It is told that the session ends: nobody waits for an answer any more.
    closing: AtomicBool,
    random: AtomicU64,
    pub(crate) holdings: Holdings,
    queue: Mutex<Queue>,
    /// What its hooks asked for in this second.
    spent: AtomicU32,
    pub(crate) mailroom: Arc<Mailroom>,
}

#[derive(Default)]
struct Queue {
    requests: VecDeque<Request>,
    bytes: usize,
    /// How many were refused since the session last looked.
    refused: usize,
}

impl InstanceHandle {
    pub(crate) fn new(identity: Identity, mailroom: Arc<Mailroom>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            gone: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            random: AtomicU64::new(identity.seed),
            identity,
            holdings: Holdings::default(),
            queue: Mutex::default(),
            spent: AtomicU32::new(0),
            mailroom,
        })
    }

    /// Takes the handle back: every later call of the plugin answers `Gone`, and what is queued is forgotten.
    pub(crate) fn revoke(&self) {
        self.gone.store(true, Ordering::Release);
        let forgotten = std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        drop(forgotten);
        self.holdings.send_readers_away();
        self.mailroom.statistics.forget(self.identity.number);
    }

    /// Its threads are to end and are waited for: who waits for an answer hears that there will be none. What they ask to be done
    /// still is.
    pub(crate) fn send_askers_away(&self) {
        self.closing.store(true, Ordering::Release);
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.requests.retain(|request| !matches!(request, Request::Question(_)));
        drop(queue);
        self.holdings.send_readers_away();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(crate) fn next_random(&self) -> u64 {
        split_mix(self.random.fetch_add(GOLDEN, Ordering::Relaxed))
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(crate) fn take(&self) -> VecDeque<Request> {
        std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner)).requests
    }

    pub(crate) fn push(&self, request: Request, bytes: usize) -> Result<(), HostError> {
        {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            // Looked at with the lock held, so that nothing is left in a queue that nobody empties.
            let too_late = self.is_closing() && matches!(request, Request::Question(_));
            if self.is_revoked() || too_late {
                return Err(HostError::Gone);
            }
            let total = queue.bytes.saturating_add(bytes);
            let urgent = matches!(request, Request::Panicked(_));
            if !urgent && (queue.requests.len() >= MAX_REQUESTS || total > MAX_BYTES) {
                queue.refused += 1;
                if queue.refused == FLOOD {
                    let reason = format!("it flooded its queue: {FLOOD} requests beyond those that fit");
                    queue.requests.push_back(Request::Panicked(reason));
                }
                return Err(HostError::Busy);
            }
            queue.requests.push_back(request);
            queue.bytes = total;
        }
        self.mailroom.wake();
        Ok(())
    }

    /// A second of the session begins.
    pub(crate) fn begin_second(&self) {
        self.spent.store(0, Ordering::Relaxed);
    }

    /// Whether a hook may ask for one more thing in this second. Asking on regardless is a flood.
    pub(crate) fn may_act(&self) -> bool {
        let spent = self.spent.load(Ordering::Relaxed).saturating_add(1);
        self.spent.store(spent, Ordering::Relaxed);
        if spent as usize == MAX_A_SECOND + FLOOD {
            self.report_panic(&format!("its hooks flooded the session: {spent} actions in a second"));
        }
        spent as usize <= MAX_A_SECOND
    }

    pub(crate) fn write_log(&self, line: &LogLine<'_>) {
        if line.level > log::max_level() {
            return;
        }
        let target = format!("plugin:{}:{}", self.identity.name, line.target);
        let mut record = log::Record::builder();
        record.level(line.level).target(&target).file(Some(line.file)).line(Some(line.line));
        log::logger().log(&record.args(format_args!("{}", line.message)).build());
    }

    pub(crate) fn custom_alert(&self, alert: &api::Alert<'_>) -> Result<CustomAlert, HostError> {
        translate::custom_alert(&self.identity.name, alert)
    }

    pub(crate) fn action(&self, action: Action, bytes: usize) -> Result<(), HostError> {
        self.push(Request::Action(action), bytes)
    }
}

/// Requests that an instance may have waiting.
const MAX_REQUESTS: usize = 4096;
/// Requests beyond those that an instance may make before it is quarantined.
const FLOOD: usize = 4 * MAX_REQUESTS;
/// What its hooks may ask for in a second.
const MAX_A_SECOND: usize = 65_536;
/// Bytes of messages in them.
const MAX_BYTES: usize = 16 << 20;

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// One step of SplitMix64: threads of plugins get numbers that are well spread, and no more is promised.
fn split_mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle() -> (Arc<InstanceHandle>, Arc<Mailroom>) {
        let mailroom = Arc::new(Mailroom::default());
        let identity = Identity { name: "x".to_owned(), number: 0, seed: 7, data_dir: None };
        (InstanceHandle::new(identity, mailroom.clone()), mailroom)
    }

    fn ban(handle: &InstanceHandle) -> Result<(), HostError> {
        handle.watch_piece(api::TorrentId(1), 2)
    }

    #[test]
    fn a_queue_that_was_empty_wakes_the_session_once() {
        let (handle, mailroom) = handle();
        let woken = Arc::new(AtomicU32::new(0));
        let counter = woken.clone();
        mailroom.set_waker(Box::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        }));
        assert_eq!((ban(&handle), ban(&handle)), (Ok(()), Ok(())));
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        assert!(mailroom.is_pending());
        mailroom.clear_pending();
        assert_eq!(handle.take().len(), 2);
        assert_eq!(ban(&handle), Ok(()));
        assert_eq!(woken.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_full_queue_is_busy_and_still_takes_a_panic() {
        let (handle, _) = handle();
        for _ in 0..MAX_REQUESTS {
            assert_eq!(ban(&handle), Ok(()));
        }
        assert_eq!(ban(&handle), Err(HostError::Busy));
        handle.report_panic("x");
        assert!(matches!(handle.take().back(), Some(Request::Panicked(_))));
    }

    #[test]
    fn who_goes_on_when_the_queue_is_full_is_reported_once() {
        let (handle, _) = handle();
        for _ in 0..MAX_REQUESTS + 2 * FLOOD {
            let _ = ban(&handle);
        }
        let taken = handle.take();
        let floods =
            taken.iter().filter(|request| matches!(request, Request::Panicked(text) if text.contains("flooded")));
        assert_eq!((floods.count(), taken.len()), (1, MAX_REQUESTS + 1));
    }

    #[test]
    fn hooks_have_so_many_actions_a_second() {
        let (handle, _) = handle();
        let allowed = (0..MAX_A_SECOND + FLOOD).filter(|_| handle.may_act()).count();
        assert_eq!(allowed, MAX_A_SECOND);
        assert!(matches!(handle.take().back(), Some(Request::Panicked(_))));
        handle.begin_second();
        assert!(handle.may_act());
    }

    #[test]
    fn what_messages_hold_is_bounded() {
        let (handle, _) = handle();
        let large = vec![0; MAX_BYTES];
        assert_eq!(handle.give_metadata(api::TorrentId(1), &large), Ok(()));
        assert_eq!(handle.give_metadata(api::TorrentId(1), b"x"), Err(HostError::Busy));
        handle.take();
        assert_eq!(handle.give_metadata(api::TorrentId(1), b"x"), Ok(()));
    }

    #[test]
    fn a_handle_that_was_taken_back_is_gone_and_forgets() {
        let (shared, _) = handle();
        let host = api::Host::from_shared(shared.clone());
        assert_eq!(host.torrent(api::TorrentId(1)).watch_piece(2), Ok(()));
        shared.revoke();
        assert_eq!(host.torrent(api::TorrentId(1)).watch_piece(2), Err(HostError::Gone));
        assert!(shared.take().is_empty());
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let ((a, _), (b, _)) = (handle(), handle());
        let first = [a.random(), a.random()];
        assert_eq!(first, [b.random(), b.random()]);
        assert_ne!(first[0], first[1]);
    }
}
