//! What an instance holds of the session for a time: timers, reads under way, registered statistics. Each kind is bounded.

use crate::statistics::Value;
use reef_plugin_api::{Buffer, HostError, PeerRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Timers that an instance may have.
const MAX_TIMERS: usize = 256;
/// Statistics that an instance may register.
const MAX_STATISTICS: usize = 64;
/// Reads that it may have under way.
const MAX_READS: usize = 256;
/// Bytes in them; a single one may be larger.
const MAX_READ_BYTES: u64 = 64 << 20;

/// What an instance holds.
#[derive(Default)]
pub(crate) struct Holdings(Mutex<Held>);

#[derive(Default)]
struct Held {
    timers: BTreeSet<u64>,
    statistics: Vec<Value>,
    reads: BTreeMap<u64, Read>,
    read_bytes: u64,
    next_read: u64,
}

struct Read {
    bytes: u64,
    reader: Reader,
}

/// Who reads.
pub(crate) enum Reader {
    /// A hook, with its token.
    Hook(u64),
    /// A thread that waits.
    Thread(SyncSender<Result<Buffer, HostError>>),
}

impl Holdings {
    /// Whether there was none of that token.
    pub(crate) fn add_timer(&self, token: u64) -> Result<bool, HostError> {
        let mut held = self.held();
        if held.timers.len() >= MAX_TIMERS && !held.timers.contains(&token) {
            return Err(HostError::Busy);
        }
        Ok(held.timers.insert(token))
    }

    /// Whether there was one.
    pub(crate) fn remove_timer(&self, token: u64) -> bool {
        self.held().timers.remove(&token)
    }

    /// The number of a read that begins.
    pub(crate) fn begin_read(&self, request: PeerRequest, reader: Reader) -> Result<u64, HostError> {
        let mut held = self.held();
        let bytes = u64::from(request.length);
        let total = held.read_bytes + bytes;
        if !held.reads.is_empty() && (held.reads.len() >= MAX_READS || total > MAX_READ_BYTES) {
            return Err(HostError::Busy);
        }
        let number = held.next_read;
        held.next_read += 1;
        held.read_bytes = total;
        held.reads.insert(number, Read { bytes, reader });
        Ok(number)
    }

    /// Who waits for a read that has ended.
    pub(crate) fn end_read(&self, number: u64) -> Option<Reader> {
        let mut held = self.held();
        let read = held.reads.remove(&number)?;
        held.read_bytes -= read.bytes;
        Some(read.reader)
    }

    pub(crate) fn add_statistic(&self, make: impl FnOnce() -> Result<Value, HostError>) -> Result<u32, HostError> {
        let mut held = self.held();
        if held.statistics.len() >= MAX_STATISTICS {
            return Err(HostError::Busy);
        }
        let value = make()?;
        held.statistics.push(value);
        Ok(held.statistics.len() as u32 - 1)
    }

    pub(crate) fn statistic(
        &self,
        number: u32,
        change: impl FnOnce(&Value) -> Result<(), HostError>,
    ) -> Result<(), HostError> {
        change(self.held().statistics.get(number as usize).ok_or(HostError::NotFound)?)
    }

    /// Threads that wait for reads hear that nothing will come.
    pub(crate) fn send_readers_away(&self) {
        self.held().reads.retain(|_, read| matches!(read.reader, Reader::Hook(_)));
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(length: u32) -> PeerRequest {
        PeerRequest { piece: 0, start: 0, length }
    }

    #[test]
    fn timers_are_bounded_and_one_may_be_set_again() {
        let all = Holdings::default();
        let set = (0..MAX_TIMERS as u64).filter(|token| all.add_timer(*token).is_ok()).count();
        assert_eq!(set, MAX_TIMERS);
        assert_eq!((all.add_timer(1), all.add_timer(1000)), (Ok(false), Err(HostError::Busy)));
        assert!(all.remove_timer(1) && !all.remove_timer(1));
        assert_eq!(all.add_timer(1000), Ok(true));
    }

    #[test]
    fn reads_are_bounded_and_the_first_may_be_large() {
        let all = Holdings::default();
        let large = all.begin_read(request(u32::MAX), Reader::Hook(7)).expect("the first");
        assert_eq!(all.begin_read(request(1), Reader::Hook(8)), Err(HostError::Busy));
        assert!(matches!(all.end_read(large), Some(Reader::Hook(7))));
        assert!(all.end_read(large).is_none());
        let begun = (0..2 * MAX_READS).filter(|_| all.begin_read(request(1), Reader::Hook(0)).is_ok()).count();
        assert_eq!(begun, MAX_READS);
    }

    #[test]
    fn statistics_are_bounded() {
        let all = Holdings::default();
        assert_eq!(all.statistic(0, |_| Ok(())), Err(HostError::NotFound));
        assert_eq!(all.add_statistic(|| Err(HostError::Taken)), Err(HostError::Taken));
        let list = crate::statistics::Statistics::default();
        let make = |n: usize| {
            let name = format!("a.{n}");
            let wanted = reef_plugin_api::NewStatistic { name: &name, kind: Default::default(), doc: "" };
            all.add_statistic(|| list.register(("a", 1), &wanted))
        };
        assert_eq!((make(0), all.statistic(0, |value| value.add(1))), (Ok(0), Ok(())));
        let made = (1..2 * MAX_STATISTICS).filter(|n| make(*n).is_ok()).count();
        assert_eq!(made, MAX_STATISTICS - 1);
    }
}
