//! What runs between the host and an author's code, compiled into the plugin: calling hooks, keeping error texts, starting.
//!
//! No panic may leave a function that the host calls: unwinding over the boundary aborts the process.

use crate::at_work::{self, Payload, caught, caught_for, panic_text};
use crate::context::Calls;
use crate::handle::Host;
use crate::logger::{self, Instance};
use crate::result::{Flow, HookResult, HookRet, PluginError};
use crate::session::{SessionObj, SessionPlugin};
use crate::table::{RawCx, RawHandle};
use abi_stable::std_types::{RResult, RStr, RString};

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
        at_work::prepare();
        let owner = at_work::current().and_then(|handle| Calls(handle).host().ok());
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
    match caught_for(cx.handle, || body(inner)) {
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
