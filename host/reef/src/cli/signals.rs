//! Ctrl-C and its relatives: the first asks to stop in order, the second stops at once.
//!
//! Signals are waited for by a thread of their own; nothing runs inside a signal handler but what `signal-hook` does.

use std::io;
use std::process;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::failure::Exit;

/// How long an orderly stop may take before the program ends all the same.
const PATIENCE: Duration = Duration::from_millis(4500);

type Action = Box<dyn FnOnce() + Send>;

/// What the first signal does; with none it ends the program, as there is nothing to put in order.
static FIRST: Mutex<Option<Action>> = Mutex::new(None);

/// Begins to wait for signals.
///
/// # Errors
/// When the system allows no handler or no thread.
pub(crate) fn install() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            match FIRST.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(action) => {
                    action();
                    end_later();
                }
                None => end(),
            }
        }
    })?;
    Ok(())
}

/// Has the first signal do `action`, which must be quick and must lead to an end of the program.
pub(crate) fn on_first(action: impl FnOnce() + Send + 'static) {
    *FIRST.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(action));
}

fn end_later() {
    let timer = || {
        thread::sleep(PATIENCE);
        end();
    };
    // Without a thread there is no timer, and the second signal still ends the program.
    let _ = thread::Builder::new().name("stop timer".to_owned()).spawn(timer);
}

fn end() -> ! {
    process::exit(Exit::Interrupted.code().into())
}
