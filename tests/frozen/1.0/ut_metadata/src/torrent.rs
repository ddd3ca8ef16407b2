//! What the connections of one torrent share: the search for its metadata, or the knowledge that it is known.

use crate::NAME;
use crate::fetch::{Fetch, Hashes};
use crate::message;
use crate::peer::MetadataPeer;
use reef_plugin_api::{
    Flow, HookResult, PeerKey, PeerObj, PluginError, Torrent, TorrentCx, TorrentInfo, TorrentPlugin, hooks,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The plugin's part in one torrent.
pub(crate) struct MetadataTorrent {
    shared: Shared,
}

impl MetadataTorrent {
    /// For a torrent of which this is known.
    pub(crate) fn new(info: &TorrentInfo) -> Self {
        let hashes = Hashes { v1: info.info_hash_v1, v2: info.info_hash_v2 };
        let stage = if info.has_metadata { Stage::Known } else { Stage::Fetching(Fetch::new(hashes)) };
        Self { shared: Shared(Arc::new(Mutex::new(stage))) }
    }
}

#[hooks]
impl TorrentPlugin for MetadataTorrent {
    fn new_connection(&mut self, _cx: &mut TorrentCx<'_>, peer: PeerKey) -> Result<Option<PeerObj>, PluginError> {
        Ok(Some(PeerObj::new(MetadataPeer::new(peer, self.shared.clone()))))
    }

    fn on_metadata(&mut self, cx: &mut TorrentCx<'_>) -> HookResult {
        *self.shared.lock() = Stage::Known;
        Ok(if cx.info()?.private { Flow::Detach } else { Flow::Pass })
    }
}

/// How far a torrent is, as its connections share it. All hooks run on one thread, so the lock is always free; it is there
/// because plugin objects may be dropped elsewhere.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Stage>>);

impl Shared {
    /// How far it is, to read and change.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far a torrent is.
pub(crate) enum Stage {
    /// Its metadata is being fetched.
    Fetching(Fetch),
    /// This is it, but the host had no room for it yet.
    Found(Vec<u8>),
    /// The host has it, or is reading it.
    Known,
}

impl Stage {
    /// Asks this peer for as many blocks as it may be asked for.
    pub(crate) fn ask(&mut self, torrent: Torrent<'_>, peer: PeerKey, now: u64) {
        let Self::Fetching(fetch) = self else { return };
        while let Some(piece) = fetch.ask(peer, now) {
            if let Err(error) = torrent.peer(peer).send_extended(NAME, &message::request(piece)) {
                log::debug!("cannot ask {peer:?} for metadata block {piece}: {error}");
                fetch.on_reject(peer, piece.into(), now);
            }
        }
    }

    /// Asks every peer: what one was asked for has become free for others.
    pub(crate) fn ask_all(&mut self, torrent: Torrent<'_>, now: u64) {
        let Self::Fetching(fetch) = self else { return };
        for peer in fetch.sources() {
            self.ask(torrent, peer, now);
        }
    }

    /// Gives the host what was found, if it has not taken it yet.
    pub(crate) fn give(&mut self, torrent: Torrent<'_>) {
        let Self::Found(bytes) = self else { return };
        match torrent.give_metadata(bytes) {
            Ok(()) => *self = Self::Known,
            Err(error) => log::warn!("metadata of {} bytes is complete, but {error}", bytes.len()),
        }
    }
}
