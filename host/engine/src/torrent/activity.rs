//! How long a torrent was active, finished and seeding, over all runs. Nothing is counted by the second, so that ten
//! thousand idle torrents cost nothing: a change of what the torrent does is noted when it happens.

use crate::time::Time;
use std::time::Duration;

/// What a torrent does, as far as its times go.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) enum Doing {
    /// It is paused or failed.
    #[default]
    Nothing,
    /// It is active.
    Active,
    /// It has all that is wanted of it.
    Finished,
    /// It has everything.
    Seeding,
}

/// A torrent's times.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Activity {
    past: Times,
    doing: Doing,
    since: Time,
}

/// Times at some moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Times {
    /// Active, whatever else.
    pub(crate) active: Duration,
    /// Of that, finished or seeding.
    pub(crate) finished: Duration,
    /// Of that, seeding.
    pub(crate) seeding: Duration,
}

impl Activity {
    /// Goes on from an earlier run.
    pub(crate) fn new(past: Times) -> Self {
        Self { past, ..Self::default() }
    }

    /// The torrent begins to do something else.
    pub(crate) fn change(&mut self, now: Time, doing: Doing) {
        self.past = self.times(now);
        self.doing = doing;
        self.since = now;
    }

    /// The times until now.
    pub(crate) fn times(&self, now: Time) -> Times {
        let passed = |from: Doing| if self.doing >= from { now.since(self.since) } else { Duration::ZERO };
        Times {
            active: self.past.active + passed(Doing::Active),
            finished: self.past.finished + passed(Doing::Finished),
            seeding: self.past.seeding + passed(Doing::Seeding),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_counts_only_while_it_applies() {
        let mut a = Activity::new(Times { active: Duration::from_secs(100), ..Times::default() });
        let at = Time::from_secs;
        a.change(at(10), Doing::Active);
        a.change(at(30), Doing::Seeding);
        a.change(at(35), Doing::Nothing);
        let secs = |t: Times| (t.active.as_secs(), t.finished.as_secs(), t.seeding.as_secs());
        assert_eq!(secs(a.times(at(1000))), (125, 5, 5));
        a.change(at(1000), Doing::Finished);
        assert_eq!(secs(a.times(at(1010))), (135, 15, 5));
    }
}
