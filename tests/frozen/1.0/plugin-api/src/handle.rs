//! The handle for a plugin's own threads, and the way to start one.

use crate::alert::Alert;
use crate::at_work::{caught, panic_text, with_current};
use crate::calls::HostCalls;
use crate::context::{Calls, Torrent, host_call};
use crate::endpoint::TorrentId;
use crate::result::HostError;
use crate::session_view::Session;
use crate::table::{RawHandle, shared_handle};
use std::{fmt, io, sync::Arc, thread};

/// A handle to the host that may be kept, cloned and used from any thread.
///
/// Actions through it are queued and carried out by the session when it comes to them, in order. Questions wait until the session
/// has come to them, after the actions before: ten seconds at most, then [`HostError::TimedOut`]. A hook must not ask through it
/// ([`HostError::InHook`]), nor wait for a thread that does. Once the session stops, or the plugin is removed or quarantined, questions and
/// then every call answer [`HostError::Gone`].
pub struct Host(RawHandle);

// SAFETY: made from an `Arc` of a `Send + Sync` host object; the table's functions are called with nothing but that.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl Host {
    /// For a host: a handle that calls this object.
    pub fn from_shared<H: HostCalls + Send + Sync + 'static>(host: Arc<H>) -> Self {
        Self(shared_handle(host))
    }

    /// # Safety
    /// `raw` is a shared handle, and its count becomes this handle's.
    pub(crate) unsafe fn from_raw(raw: RawHandle) -> Self {
        Self(raw)
    }

    pub(crate) fn into_raw(self) -> RawHandle {
        let raw = self.0;
        std::mem::forget(self);
        raw
    }

    pub(crate) fn raw(&self) -> RawHandle {
        self.0
    }

    /// The session.
    pub fn session(&self) -> Session<'_> {
        Session::new(self.0)
    }

    /// A torrent of the session.
    pub fn torrent(&self, id: TorrentId) -> Torrent<'_> {
        Torrent::new(self.0, id)
    }

    /// Microseconds since the session's start.
    pub fn now(&self) -> u64 {
        Calls(self.0).now()
    }

    /// A random number. Of the session's generator in hooks alone; from other threads it is no part of a simulation.
    pub fn random(&self) -> u64 {
        Calls(self.0).random()
    }

    /// Queues an alert in this plugin's name.
    pub fn post_alert(&self, alert: &Alert<'_>) -> Result<(), HostError> {
        Calls(self.0).post_alert(alert)
    }

    /// Says that a thread of this plugin panicked: the plugin is then quarantined. [`spawn`] does this by itself.
    pub fn report_panic(&self, text: &str) {
        // A handle that was taken back needs no further report.
        let _ = host_call!(self.0, report_panic(text.into()));
    }

    /// Runs `work` with this thread's `log` lines going to this host: for threads that [`spawn`] did not start.
    pub fn with_log<R>(&self, work: impl FnOnce() -> R) -> R {
        with_current(self.0, work)
    }
}

impl Clone for Host {
    fn clone(&self) -> Self {
        (self.0.table.retain())(self.0.ctx);
        Self(self.0)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        (self.0.table.release())(self.0.ctx);
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Host")
    }
}

/// Starts a named thread whose log lines reach the host and whose panic is reported to it instead of vanishing.
pub fn spawn(host: &Host, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<thread::JoinHandle<()>> {
    let (host, thread_name) = (host.clone(), name.to_owned());
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        host.with_log(|| {
            if let Err(payload) = caught(work) {
                host.report_panic(&format!("panic in thread {thread_name}: {}", panic_text(payload)));
            }
        });
    })
}
