//! A plugin host with plugins from a folder of their own, and a session that answers little.

use bytes::Bytes;
use reef_engine::hooks::{HandshakeEntries, PeerEvent, SessionEvent, TorrentEvent, Verdict};
use reef_engine::view::{Handshakes, PeerView, Source, TorrentView};
use reef_engine::{Action, Actions, ConnId, Hooks as _, PeerRef, Time, TorrentId, View};
use reef_plugin_host::{
    Change, LoadError, PluginHost, PluginHostConfig, PluginImage, PluginInfo, PluginState, library_file,
};
use reef_tests::plugins::plugin_library;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Torrent 1, and connection 2 of it.
pub(crate) const TORRENT: TorrentId = TorrentId(1);
pub(crate) const PEER: PeerRef = PeerRef { torrent: TORRENT, conn: ConnId(2) };

/// A session at second 3 that supports every message.
struct Answers;

impl Source for Answers {
    fn now(&self) -> Time {
        Time::from_secs(3)
    }
    fn unix_time(&self) -> u64 {
        0
    }
    fn random(&self) -> u64 {
        4
    }
    fn torrents(&self) -> Vec<TorrentId> {
        vec![TORRENT]
    }
    fn torrent(&self, _: TorrentId) -> Option<TorrentView> {
        None
    }
    fn metadata(&self, _: TorrentId) -> Option<Bytes> {
        None
    }
    fn peers(&self, _: TorrentId) -> Vec<ConnId> {
        vec![PEER.conn]
    }
    fn peer(&self, _: PeerRef) -> Option<PeerView> {
        None
    }
    fn supports(&self, _: PeerRef, _: &str) -> bool {
        true
    }
    fn handshakes(&self, _: PeerRef) -> Option<Handshakes> {
        Some(Handshakes { reserved: [1; 8], extension: Some(Bytes::from_static(b"de")) })
    }
    fn has_piece(&self, _: TorrentId, _: u32) -> bool {
        false
    }
    fn block_senders(&self, _: TorrentId, _: u32) -> Vec<(u32, reef_engine::hooks::Sender)> {
        Vec::new()
    }
    fn block(&self, _: TorrentId, _: u32, _: u32) -> Option<Vec<Bytes>> {
        None
    }
}

pub(crate) struct Rig {
    pub(crate) host: PluginHost,
    /// What hooks asked for since it was last taken.
    pub(crate) actions: Actions,
    pub(crate) folder: TempDir,
    pub(crate) errors: Vec<String>,
}

impl Rig {
    /// Copies of the evil plugin under these names, with these settings, loaded from one folder.
    pub(crate) fn new(plugins: &[(&str, &str)]) -> Self {
        Self::with_saved(plugins, BTreeMap::new())
    }

    pub(crate) fn with_saved(plugins: &[(&str, &str)], saved: BTreeMap<String, Vec<u8>>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, _) in plugins {
            write_plugin(folder.path(), name);
        }
        Self::of_folder(folder, plugins, saved)
    }

    /// The plugins of this folder, with these settings.
    pub(crate) fn of_folder(folder: TempDir, plugins: &[(&str, &str)], saved: BTreeMap<String, Vec<u8>>) -> Self {
        let settings = plugins.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let cache_dir = Some(folder.path().join("cache"));
        // The program that includes this file says where its plugins run.
        let (isolation, plugin_program) = crate::isolation(plugins);
        let settings = settings.collect();
        let config =
            PluginHostConfig { settings, saved, cache_dir, isolation, plugin_program, ..PluginHostConfig::default() };
        let mut host = PluginHost::new(config);
        let errors = host.load_dirs(&[folder.path().to_owned()]);
        let errors = errors.iter().map(LoadError::to_string).collect();
        Self { host, actions: Actions::default(), folder, errors }
    }

    /// The same with a torrent and a peer.
    pub(crate) fn connected(plugins: &[(&str, &str)]) -> Self {
        let mut rig = Self::new(plugins);
        assert_eq!(rig.errors, [""; 0]);
        rig.add();
        rig
    }

    pub(crate) fn add(&mut self) -> (u64, u64) {
        let view = View::new(&Answers);
        let torrent = self.host.add_torrent(TORRENT, &view, &mut self.actions);
        (torrent, self.host.add_peer(PEER, &view, &mut self.actions))
    }

    pub(crate) fn peer(&mut self, event: &PeerEvent<'_>) -> Verdict {
        self.host.on_peer(PEER, event, &View::new(&Answers), &mut self.actions)
    }

    pub(crate) fn torrent(&mut self, event: &TorrentEvent) -> Verdict {
        self.host.on_torrent(TORRENT, event, &View::new(&Answers), &mut self.actions)
    }

    pub(crate) fn session(&mut self, event: &SessionEvent<'_>) -> Verdict {
        self.host.on_session(event, &View::new(&Answers), &mut self.actions)
    }

    pub(crate) fn handshake(&mut self) -> HandshakeEntries {
        self.host.extension_handshake(PEER, &View::new(&Answers), &mut self.actions)
    }

    /// Changes the plugins as the session would.
    pub(crate) fn change(&mut self, change: Change) -> Result<PluginInfo, String> {
        self.host.request_change(change);
        self.host.change_plugins(&View::new(&Answers), &mut self.actions);
        self.host.changes_made().pop().expect("one change").map_err(|error| error.to_string())
    }

    /// Another version of the evil plugin under this name.
    pub(crate) fn version(&self, name: &str, version: &str) -> PluginImage {
        let path = write_version(self.folder.path(), name, version);
        self.host.loader().open(&path).expect("a plugin")
    }

    /// Which hooks were called since the last time, as `plugin hook`, and what else was asked for.
    pub(crate) fn calls(&mut self) -> Vec<String> {
        let actions = std::mem::take(&mut self.actions);
        actions.queued().iter().filter_map(describe).collect()
    }

    /// Why a plugin is in quarantine.
    pub(crate) fn quarantined(&self, name: &str) -> Option<String> {
        let plugin = self.host.plugins().into_iter().find(|plugin| plugin.name == name).expect("it was loaded");
        match plugin.state {
            PluginState::Quarantined { reason } => Some(reason),
            _ => None,
        }
    }
}

/// An action as a text; nothing for alerts of loading.
pub(crate) fn describe(action: &Action) -> Option<String> {
    match action {
        Action::PostAlert(alert) => Some(format!("{} {}", alert.plugin, alert.what)),
        Action::Report(reef_engine::Alert::PluginLoaded { .. }) => None,
        // What it had set up is undone; most have set up nothing.
        Action::Control(reef_engine::Control::Leave(_)) => None,
        Action::Report(alert) => Some(alert.what().to_owned()),
        Action::SendExtended { name, payload, .. } => Some(format!("send {name} {}", payload.escape_ascii())),
        Action::Disconnect { reason, .. } => Some(format!("disconnect {reason}")),
        other => Some(format!("{other:?}")),
    }
}

/// The library of the evil plugin.
pub(crate) fn evil_bytes() -> Vec<u8> {
    fs::read(plugin_library("evil-plugin")).expect("it was built")
}

/// Where its manifest begins: sixteen bytes of magic, the interface's version, hooks, and the name at 32.
pub(crate) fn manifest_at(file: &[u8]) -> usize {
    let is_manifest =
        |at: &usize| file[*at..].starts_with(b"\x7freef-plugin-v1\n") && file[at + 32..].starts_with(b"evil\0");
    (0..file.len() - 256).step_by(64).find(is_manifest).expect("it has a manifest")
}

/// Writes the evil plugin under another name, which makes it another plugin.
pub(crate) fn write_plugin(folder: &Path, name: &str) -> PathBuf {
    write_version(folder, name, "0.1.0")
}

/// Writes the evil plugin under another name and as another version, of as many letters as its own.
pub(crate) fn write_version(folder: &Path, name: &str, version: &str) -> PathBuf {
    let mut bytes = evil_bytes();
    let at = manifest_at(&bytes) + 32;
    bytes[at..at + 64].fill(0);
    bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
    let own = (at..at + 224).find(|at| bytes[*at..].starts_with(b"0.1.0")).expect("it has a version");
    bytes[own..own + 5].copy_from_slice(version.as_bytes());
    let path = folder.join(library_file(name));
    fs::write(&path, bytes).expect("written");
    path
}
