//! Who is at work, and for how long: a hook that does not return stops the whole session, and this says whose it is.
//!
//! Hooks are not timed, because that would take two looks at a clock each. The host publishes what it calls in one
//! atomic; one thread of the process samples those, and logs a call that it sees for a second or longer.

use crate::conduct::Overrun;
use crate::events::HookId;
use crate::handle::Mailroom;
use reef_engine::Alert;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Called while a hook is stuck.
pub(crate) type OnStuck = Box<dyn Fn(Alert) + Send + Sync>;

/// What one plugin host is calling.
pub(crate) struct Beat {
    /// Sequence (40 bits), plugin (16), hook (8); the hook is [`IDLE`] between calls.
    word: AtomicU64,
    budget: Duration,
    mailroom: Arc<Mailroom>,
    names: Mutex<Vec<String>>,
    /// Calls that took too long and are over.
    overruns: Mutex<Vec<Overrun>>,
    on_stuck: Mutex<Option<OnStuck>>,
}

impl Beat {
    /// Begins to be watched, until it is dropped. A hook may take `budget`.
    pub(crate) fn start(budget: Duration, mailroom: Arc<Mailroom>) -> Arc<Self> {
        let beat = Arc::new(Self::new(budget, mailroom));
        watch(&beat);
        beat
    }

    fn new(budget: Duration, mailroom: Arc<Mailroom>) -> Self {
        let (names, overruns, on_stuck) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { word: AtomicU64::new(IDLE), budget, mailroom, names, overruns, on_stuck }
    }

    /// Gives a plugin a name.
    pub(crate) fn name_plugin(&self, index: usize, name: &str) {
        let mut names = lock(&self.names);
        if names.len() <= index {
            names.resize(index + 1, String::new());
        }
        if let Some(place) = names.get_mut(index) {
            name.clone_into(place);
        }
    }

    /// A hook is called. Sequence numbers begin at 1.
    pub(crate) fn enter(&self, sequence: u64, plugin: usize, hook: HookId) {
        let word = sequence << 24 | (plugin as u64 & 0xffff) << 8 | u64::from(hook.number());
        self.word.store(word, Ordering::Relaxed);
    }

    /// It has returned. The sequence stays, so that a watcher sees that something was called.
    pub(crate) fn leave(&self) {
        self.word.store(self.word.load(Ordering::Relaxed) | IDLE, Ordering::Relaxed);
    }

    pub(crate) fn set_on_stuck(&self, tell: OnStuck) {
        *lock(&self.on_stuck) = Some(tell);
    }

    /// The calls that took too long since the last time.
    pub(crate) fn take_overruns(&self) -> Vec<Overrun> {
        std::mem::take(&mut *lock(&self.overruns))
    }

    /// The plugin and the hook of a word.
    fn read(&self, word: u64) -> (usize, HookId) {
        ((word >> 8 & 0xffff) as usize, HookId::from_number((word & IDLE) as u8))
    }

    fn name(&self, plugin: usize) -> String {
        lock(&self.names).get(plugin).cloned().unwrap_or_default()
    }

    /// Says what was seen.
    fn report(&self, seen: Seen, now: Duration) {
        match seen {
            Seen::Stuck { word, lasted } => {
                let (plugin, hook) = self.read(word);
                let (plugin, hook) = (self.name(plugin), hook.name().to_owned());
                let alert = Alert::PluginStuck { plugin, hook, seconds: lasted.as_secs() };
                log::warn!("{alert}");
                if let Some(tell) = &*lock(&self.on_stuck) {
                    tell(alert);
                }
            }
            Seen::Overran { word, lasted } => {
                let (plugin, hook) = self.read(word);
                let mut overruns = lock(&self.overruns);
                if overruns.len() < MAX_OVERRUNS {
                    overruns.push(Overrun { plugin, hook, lasted, at: now });
                }
                drop(overruns);
                self.mailroom.wake();
            }
        }
    }
}

/// In place of a hook's number: none is at work.
const IDLE: u64 = 0xff;
/// Overruns that wait for the session at most.
const MAX_OVERRUNS: usize = 64;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a look at a host showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    /// A call has not returned for so long.
    Stuck { word: u64, lasted: Duration },
    /// A call that took at least so long has returned.
    Overran { word: u64, lasted: Duration },
}

/// What was seen of one host so far.
#[derive(Default)]
struct Sampler {
    word: u64,
    since: Duration,
    lasted: Duration,
    reported: bool,
}

impl Sampler {
    /// Looks at a host's word. Says once that a call does not return, and when it has, that it took too long.
    fn sample(&mut self, now: Duration, word: u64, budget: Duration) -> Option<Seen> {
        if word != self.word {
            let before = std::mem::replace(self, Self { word, since: now, ..Self::default() });
            let too_long = before.lasted >= budget && before.word & IDLE != IDLE;
            return too_long.then_some(Seen::Overran { word: before.word, lasted: before.lasted });
        }
        if word & IDLE == IDLE {
            return None;
        }
        self.lasted = now.saturating_sub(self.since);
        if self.reported || self.lasted < PATIENCE {
            return None;
        }
        self.reported = true;
        Some(Seen::Stuck { word, lasted: self.lasted })
    }
}

/// How long a hook may take before it is named while it is stuck.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often hosts are looked at that call plugins.
const INTERVAL: Duration = Duration::from_millis(4);
/// How often when none does.
const IDLE_INTERVAL: Duration = Duration::from_millis(250);

static WATCHED: Mutex<Vec<(Weak<Beat>, Sampler)>> = Mutex::new(Vec::new());

fn watch(beat: &Arc<Beat>) {
    static THREAD: OnceLock<Option<Thread>> = OnceLock::new();
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner).push((Arc::downgrade(beat), Sampler::default()));
    let thread = THREAD.get_or_init(|| {
        let spawned = thread::Builder::new().name("reef-watchdog".to_owned()).spawn(run);
        match spawned {
            Ok(handle) => Some(handle.thread().clone()),
            Err(error) => {
                log::warn!("slow plugins will not be named: no thread to watch them: {error}");
                None
            }
        }
    });
    if let Some(thread) = thread {
        thread.unpark();
    }
}

fn run() {
    let start = Instant::now();
    let mut interval = INTERVAL;
    loop {
        match sample_all(start.elapsed()) {
            Activity::None => thread::park(),
            Activity::Calls => interval = INTERVAL,
            Activity::Idle => interval = (interval * 2).min(IDLE_INTERVAL),
        }
        thread::park_timeout(interval);
    }
}

/// What the hosts do.
enum Activity {
    /// There is none.
    None,
    /// None called a plugin since the last look.
    Idle,
    /// Some did.
    Calls,
}

/// Looks at every host.
fn sample_all(now: Duration) -> Activity {
    let mut watched = lock(&WATCHED);
    let mut active = false;
    watched.retain_mut(|(beat, sampler)| {
        let Some(beat) = beat.upgrade() else { return false };
        let word = beat.word.load(Ordering::Relaxed);
        active |= word != sampler.word || word & IDLE != IDLE;
        if let Some(seen) = sampler.sample(now, word, beat.budget) {
            beat.report(seen, now);
        }
        true
    });
    match (watched.is_empty(), active) {
        (true, _) => Activity::None,
        (_, false) => Activity::Idle,
        (_, true) => Activity::Calls,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_millis(10);
    /// Between calls, after the call of the same sequence.
    const DONE: u64 = 9 << 8 | IDLE;

    /// Samples words at these milliseconds; returns when a call was said to be stuck, and when to have overrun.
    fn check(samples: &[(u64, u64)], stuck: &[u64], overran: &[u64]) {
        let mut sampler = Sampler::default();
        let (mut were_stuck, mut had_overrun) = (Vec::new(), Vec::new());
        for &(millis, word) in samples {
            match sampler.sample(Duration::from_millis(millis), word, BUDGET) {
                Some(Seen::Stuck { .. }) => were_stuck.push(millis),
                Some(Seen::Overran { .. }) => had_overrun.push(millis),
                None => (),
            }
        }
        assert_eq!((were_stuck.as_slice(), had_overrun.as_slice()), (stuck, overran));
    }

    #[test]
    fn a_call_that_lasts_is_reported_once_while_it_does() {
        check(&[(0, 9), (500, 9), (1000, 9), (1500, 9), (9000, 9)], &[1000], &[]);
    }

    #[test]
    fn calls_that_return_are_not() {
        check(&[(0, 9), (9, 9), (18, 10), (27, DONE), (3600, DONE), (9999, DONE)], &[], &[]);
    }

    #[test]
    fn a_call_that_took_too_long_is_reported_when_it_returns() {
        check(&[(0, 9), (4, 9), (8, 9), (12, 9), (16, DONE), (20, DONE)], &[], &[16]);
        check(&[(0, 9), (12, 9), (16, 10), (28, 10), (32, 11)], &[], &[16, 32]);
    }

    #[test]
    fn the_next_call_has_its_own_second() {
        check(&[(0, 9), (1000, 9), (1250, 10), (2000, 10), (2250, 10)], &[1000, 2250], &[1250]);
    }

    #[test]
    fn the_report_names_plugin_and_hook() {
        let beat = Beat::new(BUDGET, Arc::default());
        beat.name_plugin(0, "one");
        beat.name_plugin(1, "two");
        let (sender, told) = std::sync::mpsc::channel();
        let sender = Mutex::new(sender);
        beat.set_on_stuck(Box::new(move |alert| lock(&sender).send(alert.to_string()).expect("it is read")));
        beat.enter(77, 1, HookId::NEW_TORRENT);
        let word = beat.word.load(Ordering::Relaxed);
        beat.report(Seen::Stuck { word, lasted: Duration::from_secs(1) }, PATIENCE);
        let expected = "plugin two has not returned from new_torrent for 1 s: nothing else moves until it does";
        assert_eq!(told.recv().as_deref(), Ok(expected));
        beat.leave();
        assert_eq!(beat.word.load(Ordering::Relaxed) & IDLE, IDLE);
    }
}
