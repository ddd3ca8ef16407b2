//! How a plugin behaves: what it may do wrong before it is quarantined.
//!
//! Errors are counted where they are returned and time where the watchdog saw it; nothing here looks at a clock.

use crate::events::HookId;
use std::cell::Cell;
use std::collections::VecDeque;
use std::time::Duration;

/// What plugins may do before they are quarantined. A panic or a flood of requests is always too much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How long a hook may take. One that is seen at work for longer is named in the log.
    pub budget: Duration,
    /// How many hooks may overrun that within a minute; with the next the plugin is quarantined. 0 for any number.
    pub overruns: u32,
    /// How many times in a row the same session or torrent hook may return an error; with the next the plugin is quarantined. 0 for any number.
    pub errors: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { budget: Duration::from_millis(10), overruns: 20, errors: 10 }
    }
}

/// What one plugin did so far.
#[derive(Debug, Default)]
pub(crate) struct Conduct {
    /// Errors that the same hook returned without a success in between.
    errors: Cell<u32>,
    hook: Cell<Option<HookId>>,
    /// When hooks took too long, in the last minute.
    overruns: VecDeque<Duration>,
}

impl Conduct {
    /// A hook did its work.
    #[inline]
    pub(crate) fn succeeded(&self, hook: HookId) {
        if self.errors.get() != 0 && self.hook.get() == Some(hook) {
            self.errors.set(0);
        }
    }

    /// A hook returned an error. Returns the reason to quarantine the plugin, if that was one too many.
    pub(crate) fn failed(&self, hook: HookId, text: &str, limits: &Limits) -> Option<String> {
        let before = if self.hook.replace(Some(hook)) == Some(hook) { self.errors.get() } else { 0 };
        let errors = before.saturating_add(1);
        self.errors.set(errors);
        let excess = limits.errors != 0 && errors > limits.errors;
        excess.then(|| format!("{} failed {errors} times in a row, the last time with: {text}", hook.name()))
    }

    /// The watchdog saw a hook overrun its time. Returns the reason to quarantine the plugin, if that was one too many.
    pub(crate) fn overran(&mut self, seen: &Overrun, budget: Duration, limits: &Limits) -> Option<String> {
        self.overruns.retain(|at| seen.at.saturating_sub(*at) < MINUTE);
        self.overruns.push_back(seen.at);
        let count = self.overruns.len();
        let excess = limits.overruns != 0 && count > limits.overruns as usize;
        excess.then(|| {
            let (lasted, budget) = (seen.lasted.as_millis(), budget.as_millis());
            format!(
                "its hooks overran their {budget} ms {count} times in a minute, {} with {lasted} ms",
                seen.hook.name()
            )
        })
    }
}

/// A call that took too long, as far as was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overrun {
    /// By number.
    pub(crate) plugin: usize,
    pub(crate) hook: HookId,
    /// At least so long.
    pub(crate) lasted: Duration,
    /// By the watchdog's clock.
    pub(crate) at: Duration,
}

const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { budget: Duration::from_millis(10), overruns: 2, errors: 2 };

    #[test]
    fn only_errors_in_a_row_of_one_hook_are_too_many() {
        let conduct = Conduct::default();
        let (a, b) = (HookId::ADDED, HookId::NEW_TORRENT);
        let fails = |hook| conduct.failed(hook, "x", &LIMITS).is_some();
        assert_eq!([fails(a), fails(a), fails(b), fails(a), fails(a)], [false; 5]);
        conduct.succeeded(b);
        assert!(fails(a));
        conduct.succeeded(a);
        assert_eq!([fails(a), fails(a), fails(a)], [false, false, true]);
        let reason = conduct.failed(a, "x", &LIMITS).unwrap_or_default();
        assert_eq!(reason, "added failed 4 times in a row, the last time with: x");
    }

    #[test]
    fn only_overruns_within_a_minute_are_too_many() {
        let mut conduct = Conduct::default();
        let mut overruns = |second| {
            let at = Duration::from_secs(second);
            let seen = Overrun { plugin: 0, hook: HookId::ADDED, lasted: Duration::from_millis(34), at };
            conduct.overran(&seen, LIMITS.budget, &LIMITS)
        };
        assert_eq!([overruns(0), overruns(30), overruns(70)], [None, None, None]);
        let expected = "its hooks overran their 10 ms 3 times in a minute, added with 34 ms";
        assert_eq!(overruns(80), Some(expected.to_owned()));
    }
}
