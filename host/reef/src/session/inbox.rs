//! What other threads have for the session's thread: one queue, and one wake-up for however much lies in it.

use crate::rt::{Notifier, Sender};
use crate::store::{StoreError, StoredContent};
use bytes::Bytes;
use reef_engine::disk::{DiskDone, DiskError};
use reef_engine::{Command, HttpReply, Reply, RequestId, TorrentId};
use reef_plugin_host::{Change, LoadError, PluginInfo};
use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// One thing from another thread.
pub(super) enum Event {
    /// A disk job is done.
    Disk(DiskDone),
    /// A block to be sent was read.
    Block(u64, Result<Bytes, DiskError>),
    /// An HTTP request ended.
    Http(RequestId, Result<HttpReply, String>),
    /// A name was resolved.
    Resolved(RequestId, Result<Vec<IpAddr>, String>),
    /// A command, and who waits for its reply.
    Command(Command, Sender<Reply>),
    /// Somebody wants to know when all that is to be kept by now is on stable storage.
    Save(Sender<Result<(), StoreError>>),
    /// Somebody wants what the store has of a torrent.
    Content(TorrentId, Sender<StoredContent>),
    /// The engine gets back what it left to the store.
    Loaded(TorrentId, StoredContent),
    /// Somebody subscribed to alerts or left.
    Subscribers,
    /// A change to the plugins, and who waits for what becomes of it.
    Change(Change, Sender<Result<PluginInfo, LoadError>>),
    /// Somebody wants to know which plugins there are.
    Plugins(Sender<Vec<PluginInfo>>),
    /// Plugins' own threads want something.
    PluginRequests,
    /// End at once.
    Abort,
}

/// The queue.
pub(super) struct Inbox {
    events: Mutex<Vec<Event>>,
    notifier: Notifier,
}

impl Inbox {
    /// An empty queue.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { events: Mutex::default(), notifier: Notifier::new()? })
    }

    /// Queues an event; never waits for the session.
    pub(super) fn push(&self, event: Event) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = events.is_empty();
        events.push(event);
        drop(events);
        if was_empty {
            self.notifier.notify();
        }
    }

    /// Queues several events at once.
    pub(super) fn push_all(&self, several: impl IntoIterator<Item = Event>) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = events.is_empty();
        events.extend(several);
        let is_empty = events.is_empty();
        drop(events);
        if was_empty && !is_empty {
            self.notifier.notify();
        }
    }

    /// Exchanges the queued events for an empty list.
    pub(super) fn take(&self, into: &mut Vec<Event>) {
        self.notifier.clear();
        std::mem::swap(into, &mut self.events.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What wakes the session's thread.
    pub(super) fn notifier(&self) -> Notifier {
        self.notifier.clone()
    }
}
