//! Standard output and standard error, for everything that a command says.
//!
//! A reader that goes away (`reef show … | head`) is no failure: what follows is dropped, and the command ends with the
//! status that its work deserves. Any other failure to write is remembered, so that no result is lost unnoticed.

use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use super::failure::{Failure, describe};

static STATE: Mutex<State> = Mutex::new(State::Open);

enum State {
    Open,
    Closed,
    Failed(String),
}

/// Writes one line to standard output and flushes it. The text must be safe to show already.
pub(crate) fn line(text: &str) {
    write(format!("{text}\n").as_bytes());
}

/// Writes bytes to standard output and flushes them.
pub(crate) fn write(bytes: &[u8]) {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    if !matches!(*state, State::Open) {
        return;
    }
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        *state = match error.kind() {
            io::ErrorKind::BrokenPipe => State::Closed,
            _ => State::Failed(describe(&error)),
        };
    }
}

/// Writes one line to standard error, which may be gone. The text must be safe to show already.
pub(crate) fn error_line(text: &str) {
    let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}

/// Whether everything written so far arrived or was not wanted any more.
///
/// # Errors
/// When standard output could not take it, such as a full disk.
pub(crate) fn finish() -> Result<(), Failure> {
    match &*STATE.lock().unwrap_or_else(PoisonError::into_inner) {
        State::Failed(why) => Err(Failure::new(format!("standard output: {why}"))),
        State::Open | State::Closed => Ok(()),
    }
}
