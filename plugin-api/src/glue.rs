//! What runs between the host and an author's code, compiled into the plugin: catching panics, keeping error texts, starting.
//!
//! No panic may leave a function of this module's callers: unwinding over the boundary aborts the process. The payload of a
//! caught panic is never dropped, because its `Drop` may panic again.

use crate::context::Calls;
use crate::handle::Host;
use crate::logger::{self, Instance};
use crate::result::{Flow, HookResult, HookRet, PluginError};
use crate::session::{SessionObj, SessionPlugin};
use crate::table::{RawCx, RawHandle};
use abi_stable::std_types::{RResult, RStr, RString};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// What `[plugins.<name>]` of the host's configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    text: String,
}

impl Settings {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: text.to_owned() }
    }

    /// The table as TOML text, its keys at the top level; empty if there is none.
    pub fn toml(&self) -> &str {
        &self.text
    }
}

/// What the pointer of a plugin object points to.
pub(crate) struct Slot<T> {
    pub(crate) inner: T,
    error: Option<String>,
    poisoned: bool,
    /// For what happens outside of a hook call: log lines and panics of `Drop`.
    owner: Option<Host>,
    /// A session object is an instance of the plugin.
    instance: Option<Instance>,
}

impl<T> Slot<T> {
    /// For an object that an author makes in a hook.
    pub(crate) fn new(inner: T) -> Self {
        let owner = logger::current().and_then(|handle| Calls(handle).host().ok());
        Self { inner, error: None, poisoned: false, owner, instance: None }
    }

    fn of_instance(inner: T, host: Host) -> Self {
        let instance = Some(Instance::begin(&host));
        Self { inner, error: None, poisoned: false, owner: Some(host), instance }
    }
}

/// Calls one hook of the object at `slot`.
///
/// # Safety
/// `slot` is a living `Slot<T>`, used by no one else during the call.
#[inline(always)]
pub(crate) unsafe fn guard<T>(
    slot: *mut (),
    cx: &RawCx,
    hook: &'static str,
    body: impl FnOnce(&mut T) -> HookResult,
) -> HookRet {
    // SAFETY: the caller's promise.
    let slot = unsafe { &mut *slot.cast::<Slot<T>>() };
    if slot.poisoned {
        return HookRet::PANICKED;
    }
    let inner = &mut slot.inner;
    match logger::with_current(cx.handle, || caught(|| body(inner))) {
        Ok(Ok(Flow::Pass)) => HookRet::PASS,
        Ok(Ok(Flow::Handled)) => HookRet::HANDLED,
        Ok(Ok(Flow::Detach)) => HookRet::DETACH,
        Ok(Err(error)) => failed(&mut slot.error, error),
        Err(payload) => panicked(&mut slot.error, &mut slot.poisoned, hook, payload),
    }
}

#[cold]
#[inline(never)]
fn failed(place: &mut Option<String>, error: PluginError) -> HookRet {
    *place = Some(error.into_text());
    HookRet::ERROR
}

#[cold]
#[inline(never)]
fn panicked(place: &mut Option<String>, poisoned: &mut bool, hook: &str, payload: Payload) -> HookRet {
    *place = Some(format!("panic in {hook}: {}", panic_text(payload)));
    *poisoned = true;
    HookRet::PANICKED
}

/// The text of the last failed hook, once.
///
/// # Safety
/// As for [`guard`].
pub(crate) unsafe extern "C" fn take_error<T>(slot: *mut ()) -> RString {
    // SAFETY: the caller's promise.
    let slot = unsafe { &mut *slot.cast::<Slot<T>>() };
    slot.error.take().map_or_else(|| RString::from("poisoned by an earlier panic"), RString::from)
}

/// Drops the object.
///
/// # Safety
/// `slot` came from `Box::into_raw` of a `Slot<T>` and is used no more.
pub(crate) unsafe extern "C" fn drop_slot<T>(slot: *mut ()) {
    // SAFETY: the caller's promise.
    let slot = unsafe { Box::from_raw(slot.cast::<Slot<T>>()) };
    let Slot { inner, owner, instance: _instance, .. } = *slot;
    let dropped = match &owner {
        Some(host) => host.with_log(|| caught(move || drop(inner))),
        None => caught(move || drop(inner)),
    };
    if let Err(payload) = dropped {
        let text = format!("panic in drop: {}", panic_text(payload));
        match &owner {
            Some(host) => host.report_panic(&text),
            None => log::error!("{text}"),
        }
    }
}

/// Starts one instance of the plugin `S`.
pub(crate) fn create<S: SessionPlugin>(
    host: RawHandle,
    settings: RStr<'_>,
    level: u32,
) -> RResult<SessionObj, RString> {
    // SAFETY: the host hands a shared handle over, with its count.
    let host = unsafe { Host::from_raw(host) };
    logger::install(level);
    let settings = Settings::new(settings.as_str());
    let created = host.with_log(|| caught(|| S::create(host.clone(), &settings)));
    match created {
        Ok(Ok(plugin)) => RResult::ROk(SessionObj::from_slot(Slot::of_instance(plugin, host))),
        Ok(Err(error)) => RResult::RErr(error.into_text().into()),
        Err(payload) => RResult::RErr(format!("panic in create: {}", panic_text(payload)).into()),
    }
}

type Payload = Box<dyn Any + Send>;

/// `catch_unwind` with the panic's place kept for [`panic_text`] instead of printed.
pub(crate) fn caught<R>(work: impl FnOnce() -> R) -> Result<R, Payload> {
    static HOOK: Once = Once::new();
    HOOK.call_once(keep_places_of_caught_panics);
    let _leave = Leave(CATCHING.replace(CATCHING.get() + 1));
    catch_unwind(AssertUnwindSafe(work))
}

thread_local! {
    static CATCHING: Cell<u32> = const { Cell::new(0) };
    static PANIC_AT: RefCell<Option<String>> = const { RefCell::new(None) };
}

struct Leave(u32);

impl Drop for Leave {
    fn drop(&mut self) {
        CATCHING.set(self.0);
    }
}

/// Once per image. A test binary shares its hook with its tests, so panics that nobody here catches go on to the previous one.
fn keep_places_of_caught_panics() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if CATCHING.get() == 0 {
            return previous(info);
        }
        let at = info.location().map(|place| format!("{}:{}", place.file(), place.line()));
        PANIC_AT.with(|kept| *kept.borrow_mut() = at);
    }));
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
