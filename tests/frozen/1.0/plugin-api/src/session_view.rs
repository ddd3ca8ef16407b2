//! The session as seen through a context or a [`Host`]: settings, statistics, timers, torrents, the plugin's folder.

use crate::buffer::Buffer;
use crate::context::{Calls, host_call, host_value};
use crate::control::StatisticKind;
use crate::endpoint::TorrentId;
use crate::handle::Host;
use crate::new_torrent::NewTorrent;
use crate::query::{Answer, Query};
use crate::result::HostError;
use crate::setting::{SettingValue, settings_to_bytes};
use crate::status::{SessionStatus, Statistic};
use crate::table::RawHandle;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

/// The session as seen through a context or a [`Host`].
///
/// Through a context, questions are answered at once. Through a [`Host`] they wait for the session, for ten seconds at most
/// ([`HostError::TimedOut`]); on the thread that runs hooks they answer [`HostError::InHook`], because the session could not answer.
#[derive(Copy, Clone)]
pub struct Session<'a> {
    handle: RawHandle,
    life: PhantomData<&'a ()>,
}

/// Asks a question whose answer has the question's name.
macro_rules! asked {
    ($handle:expr, $name:ident $(($torrent:expr))?) => {
        match $crate::session_view::ask($handle, $crate::query::Query::$name $(($torrent))?) {
            Ok($crate::query::Answer::$name(answer)) => Ok(answer),
            Ok(_) => Err($crate::HostError::Failed),
            Err(error) => Err(error),
        }
    };
}
pub(crate) use asked;

pub(crate) fn ask(handle: RawHandle, query: Query) -> Result<Answer, HostError> {
    let (number, torrent) = query.number();
    let bytes = host_value!(Buffer::empty(), handle, query(number, torrent))?;
    query.read(&bytes).ok_or(HostError::Failed)
}

impl<'a> Session<'a> {
    pub(crate) fn new(handle: RawHandle) -> Self {
        Self { handle, life: PhantomData }
    }

    /// Its status.
    pub fn status(&self) -> Result<SessionStatus, HostError> {
        asked!(self.handle, Session)
    }

    /// Every torrent.
    pub fn torrents(&self) -> Result<Vec<TorrentId>, HostError> {
        asked!(self.handle, Torrents)
    }

    /// Every counter and gauge, those of plugins included.
    pub fn statistics(&self) -> Result<Vec<Statistic>, HostError> {
        asked!(self.handle, Statistics)
    }

    /// The value of a setting of the session (`reef settings` lists them).
    pub fn setting(&self, name: &str) -> Result<SettingValue, HostError> {
        let bytes = host_value!(Buffer::empty(), self.handle, setting(name.into()))?;
        SettingValue::from_bytes(&bytes).ok_or(HostError::Failed)
    }

    /// Action: change settings of the session. Names, types and ranges are checked now, all of them or none is set.
    pub fn set_settings(&self, settings: &[(&str, SettingValue)]) -> Result<(), HostError> {
        host_call!(self.handle, set_settings(settings_to_bytes(settings).as_slice().into()))
    }

    /// Action: add a torrent. The plugin hears of it by `new_torrent`, or by the alert `plugin_action_failed`.
    pub fn add_torrent(&self, torrent: &NewTorrent) -> Result<(), HostError> {
        host_call!(self.handle, add_torrent(torrent.to_bytes().as_slice().into()))
    }

    /// Action: call `on_timer` with this token after a time, once; a millisecond at least. One with the same token is replaced. A plugin
    /// has 256 timers at most. In a simulation time is virtual.
    pub fn set_timer(&self, token: u64, after: Duration) -> Result<(), HostError> {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        host_call!(self.handle, set_timer(token, micros))
    }

    /// Action: forget a timer. None of that token: nothing happens.
    pub fn cancel_timer(&self, token: u64) -> Result<(), HostError> {
        host_call!(self.handle, cancel_timer(token))
    }

    /// Registers a counter of the plugin's own, which appears among the session's statistics until the plugin leaves. Lower case letters,
    /// digits, `_`, `-` and dots, at most 64 bytes; such as `chat.lines`. A replacement that registers it too goes on from its value.
    /// [`HostError::Taken`] if the session or another plugin has the name, [`HostError::Busy`] beyond 64 of them.
    pub fn counter(&self, name: &str, doc: &str) -> Result<Counter, HostError> {
        self.register(name, StatisticKind::Counter, doc).map(Counter)
    }

    /// Registers a gauge, as [`counter`](Self::counter) does a counter.
    pub fn gauge(&self, name: &str, doc: &str) -> Result<Gauge, HostError> {
        self.register(name, StatisticKind::Gauge, doc).map(Gauge)
    }

    fn register(&self, name: &str, kind: StatisticKind, doc: &str) -> Result<Registered, HostError> {
        let host = Calls(self.handle).host()?;
        let kind = kind.number();
        let number = host_value!(0, self.handle, register_statistic(name.into(), kind, doc.into()))?;
        Ok(Registered { host, number })
    }

    /// A folder of the plugin's own, which is there and private to the user. [`HostError::Unsupported`] where there is none, as in a
    /// simulation that was not given one.
    pub fn data_dir(&self) -> Result<PathBuf, HostError> {
        let path = host_value!(Buffer::empty(), self.handle, data_dir())?;
        std::str::from_utf8(&path).map(PathBuf::from).map_err(|_| HostError::Failed)
    }
}

/// A statistic of the plugin's own, by its number in this instance.
#[derive(Clone, Debug)]
struct Registered {
    host: Host,
    number: u32,
}

/// A counter of the plugin's own. Counting is one step of an atomic, from any thread and from hooks.
#[derive(Clone, Debug)]
pub struct Counter(Registered);

impl Counter {
    /// Counts so many more.
    pub fn add(&self, more: u64) -> Result<(), HostError> {
        let more = i64::try_from(more).map_err(|_| HostError::BadArgument)?;
        host_call!(self.0.host.raw(), add_to_statistic(self.0.number, more))
    }
}

/// A gauge of the plugin's own.
#[derive(Clone, Debug)]
pub struct Gauge(Registered);

impl Gauge {
    /// Is this now.
    pub fn set(&self, value: i64) -> Result<(), HostError> {
        host_call!(self.0.host.raw(), set_statistic(self.0.number, value))
    }

    /// Is so much more, or less.
    pub fn add(&self, difference: i64) -> Result<(), HostError> {
        host_call!(self.0.host.raw(), add_to_statistic(self.0.number, difference))
    }
}
