//! What a thread is at work for, and whether somebody on it catches panics.
//!
//! One thread-local for both, looked up once a hook: in a library that was loaded at run time each look-up is a call. It has no
//! destructor, and so needs none to be registered.

use crate::table::RawHandle;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// The payload of a caught panic. It is never dropped, because its `Drop` may panic again: [`panic_text`] takes it.
pub(crate) type Payload = Box<dyn Any + Send>;

struct AtWork {
    /// The instance whose code runs.
    handle: Cell<Option<RawHandle>>,
    /// How many calls of `catch_unwind` of ours are on the stack.
    catching: Cell<u32>,
}

thread_local! {
    static AT_WORK: AtWork = const { AtWork { handle: Cell::new(None), catching: Cell::new(0) } };
    static PANIC_AT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The instance that this thread is at work for.
pub(crate) fn current() -> Option<RawHandle> {
    AT_WORK.with(|at_work| at_work.handle.get())
}

/// Runs `work` for the instance behind `handle`. Its panics go on.
pub(crate) fn with_current<R>(handle: RawHandle, work: impl FnOnce() -> R) -> R {
    struct Restore(Option<RawHandle>);
    impl Drop for Restore {
        fn drop(&mut self) {
            AT_WORK.with(|at_work| at_work.handle.set(self.0));
        }
    }
    let _restore = Restore(AT_WORK.with(|at_work| at_work.handle.replace(Some(handle))));
    work()
}

/// Runs `work` for the instance behind `handle` and catches its panic. [`prepare`] was called before, by whoever made the object.
#[inline(always)]
pub(crate) fn caught_for<R>(handle: RawHandle, work: impl FnOnce() -> R) -> Result<R, Payload> {
    AT_WORK.with(|at_work| {
        let before = at_work.handle.replace(Some(handle));
        let result = at_work.caught(work);
        at_work.handle.set(before);
        result
    })
}

/// Runs `work` and catches its panic, whose place is kept for [`panic_text`] instead of printed.
pub(crate) fn caught<R>(work: impl FnOnce() -> R) -> Result<R, Payload> {
    prepare();
    AT_WORK.with(|at_work| at_work.caught(work))
}

impl AtWork {
    #[inline(always)]
    fn caught<R>(&self, work: impl FnOnce() -> R) -> Result<R, Payload> {
        let before = self.catching.get();
        self.catching.set(before + 1);
        let result = catch_unwind(AssertUnwindSafe(work));
        self.catching.set(before);
        result
    }
}

/// Once per image: keeps the places of panics that are caught here. A test binary shares its panic hook with its tests, so the
/// others go on to the previous one.
pub(crate) fn prepare() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if AT_WORK.with(|at_work| at_work.catching.get()) == 0 {
                return previous(info);
            }
            let at = info.location().map(|place| format!("{}:{}", place.file(), place.line()));
            PANIC_AT.with(|kept| *kept.borrow_mut() = at);
        }));
    });
}

/// The message and place of a caught panic.
pub(crate) fn panic_text(payload: Payload) -> String {
    let message = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (None, Some(text)) => text.clone(),
        (None, None) => "a panic without a text".to_owned(),
    };
    std::mem::forget(payload);
    match PANIC_AT.with(|kept| kept.borrow_mut().take()) {
        Some(at) => format!("{message} (at {at})"),
        None => message,
    }
}

/// Runs `work`; a panic becomes a line of the log and `None`.
pub(crate) fn contain<R>(what: &str, work: impl FnOnce() -> R) -> Option<R> {
    match caught(work) {
        Ok(done) => Some(done),
        Err(payload) => {
            log::error!("panic in {what}: {}", panic_text(payload));
            None
        }
    }
}
