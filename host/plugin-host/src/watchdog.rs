//! Who is at work, and for how long: a hook that does not return stops the whole session, and this says whose it is.
//!
//! Hooks are not timed, because that would take two looks at a clock each. The host publishes what it calls in one
//! atomic; one thread of the process samples those, and logs a call that it sees for a second or longer.

use crate::events::HookId;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// What one plugin host is calling.
pub(crate) struct Beat {
    /// Sequence (40 bits), plugin (16), hook (8); 0 between calls.
    word: AtomicU64,
    names: Mutex<Vec<String>>,
}

impl Beat {
    /// Begins to be watched, until it is dropped.
    pub(crate) fn start() -> Arc<Self> {
        let beat = Arc::new(Self { word: AtomicU64::new(0), names: Mutex::default() });
        watch(&beat);
        beat
    }

    /// Gives the next plugin a name.
    pub(crate) fn add_plugin(&self, name: &str) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
    }

    /// A hook is called. Sequence numbers begin at 1.
    pub(crate) fn enter(&self, sequence: u64, plugin: usize, hook: HookId) {
        let word = sequence << 24 | (plugin as u64 & 0xffff) << 8 | u64::from(hook.number());
        self.word.store(word, Ordering::Relaxed);
    }

    /// It has returned.
    pub(crate) fn leave(&self) {
        self.word.store(0, Ordering::Relaxed);
    }

    fn describe(&self, word: u64) -> String {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let plugin = usize::try_from(word >> 8 & 0xffff).ok().and_then(|index| names.get(index));
        let hook = HookId::from_number((word & 0xff) as u8);
        format!("plugin {} has not returned from {}", plugin.map_or("?", String::as_str), hook.name())
    }
}

/// What was seen of one host so far.
#[derive(Default)]
struct Sampler {
    word: u64,
    since: Duration,
    reported: bool,
}

impl Sampler {
    /// Looks at a host's word. Returns for how long it has been the same, once, when that is too long.
    fn sample(&mut self, now: Duration, word: u64) -> Option<Duration> {
        if word == 0 || word != self.word {
            *self = Self { word, since: now, reported: false };
            return None;
        }
        let lasted = now.saturating_sub(self.since);
        if self.reported || lasted < PATIENCE {
            return None;
        }
        self.reported = true;
        Some(lasted)
    }
}

/// How long a hook may take before it is named.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(250);

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
    loop {
        if sample_all(start.elapsed()) == 0 {
            thread::park();
        } else {
            thread::park_timeout(INTERVAL);
        }
    }
}

/// Looks at every host; returns how many there are.
fn sample_all(now: Duration) -> usize {
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    watched.retain_mut(|(beat, sampler)| {
        let Some(beat) = beat.upgrade() else { return false };
        let word = beat.word.load(Ordering::Relaxed);
        if let Some(lasted) = sampler.sample(now, word) {
            log::warn!("{} for {} s: nothing else moves until it does", beat.describe(word), lasted.as_secs());
        }
        true
    });
    watched.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples words at these milliseconds; returns at which of them it was reported.
    fn check(samples: &[(u64, u64)], reported: &[u64]) {
        let mut sampler = Sampler::default();
        let at = |&(millis, word): &(u64, u64)| sampler.sample(Duration::from_millis(millis), word).map(|_| millis);
        assert_eq!(samples.iter().filter_map(at).collect::<Vec<_>>(), reported);
    }

    #[test]
    fn a_call_that_lasts_is_reported_once() {
        check(&[(0, 9), (500, 9), (1000, 9), (1500, 9), (9000, 9)], &[1000]);
    }

    #[test]
    fn calls_that_return_are_not() {
        check(&[(0, 9), (900, 10), (1800, 9), (2700, 0), (3600, 0), (9999, 0)], &[]);
    }

    #[test]
    fn the_next_call_has_its_own_second() {
        check(&[(0, 9), (1000, 9), (1250, 10), (2000, 10), (2250, 10)], &[1000, 2250]);
    }

    #[test]
    fn the_report_names_plugin_and_hook() {
        let beat = Beat { word: AtomicU64::new(0), names: Mutex::default() };
        beat.add_plugin("one");
        beat.add_plugin("two");
        beat.enter(77, 1, HookId::NEW_TORRENT);
        let word = beat.word.load(Ordering::Relaxed);
        assert_eq!(beat.describe(word), "plugin two has not returned from new_torrent");
        beat.leave();
        assert_eq!(beat.word.load(Ordering::Relaxed), 0);
    }
}
