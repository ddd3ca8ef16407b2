//! The plugin's `log` lines on their way to the host.
//!
//! Every cdylib has its own `log`, and one image serves many instances in one process. So the one logger of the image holds no
//! instance: it asks the thread which one is at work. A hook call sets that, and so does a thread of `spawn`; lines of other
//! threads go to the youngest living instance.

use crate::at_work::current;
use crate::context::host_call;
use crate::handle::Host;
use crate::result::HostError;
use crate::table::{RawHandle, RawLogLine};
use std::sync::{Mutex, MutexGuard, PoisonError};

static LIVING: Mutex<Vec<Host>> = Mutex::new(Vec::new());

/// An instance at work: lines of threads that nobody knows go to the youngest.
pub(crate) struct Instance(Host);

impl Instance {
    pub(crate) fn begin(host: &Host) -> Self {
        living().push(host.clone());
        Self(host.clone())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let ended = {
            let mut living = living();
            let place = living.iter().position(|other| std::ptr::eq(other.raw().ctx, self.0.raw().ctx));
            place.map(|place| living.remove(place))
        };
        // Dropped without the lock: the host's code runs here.
        drop(ended);
    }
}

fn living() -> MutexGuard<'static, Vec<Host>> {
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes this image's `log` use us. A test binary may have a logger of its own, which then stays.
pub(crate) fn install(level: u32) {
    let _ = log::set_logger(&Forward);
    set_level(level);
}

pub(crate) fn set_level(level: u32) {
    log::set_max_level(match level {
        0 => log::LevelFilter::Off,
        level => crate::calls::level_from_number(level).to_level_filter(),
    });
}

struct Forward;

impl log::Log for Forward {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        match current() {
            Some(handle) => send(handle, record),
            None => {
                let youngest = living().last().cloned();
                if let Some(host) = youngest {
                    send(host.raw(), record);
                }
            }
        }
    }

    fn flush(&self) {}
}

pub(crate) fn send(handle: RawHandle, record: &log::Record<'_>) {
    let text = match record.args().as_str() {
        Some(text) => std::borrow::Cow::Borrowed(text),
        None => std::borrow::Cow::Owned(record.args().to_string()),
    };
    let line = RawLogLine {
        level: record.level() as u32,
        line: record.line().unwrap_or(0),
        target: record.target().into(),
        message: (&*text).into(),
        file: record.file().unwrap_or("").into(),
    };
    // Where a line cannot be logged there is nowhere to say so.
    let _: Result<(), HostError> = host_call!(handle, log(&line));
}
