//! Plugins that come, go and are replaced while their session runs.
//!
//! A replacement lives beside the old version until it has everything: the state, the objects, the handshakes. Only
//! then the old one leaves, so whatever fails before that leaves the session as it was. No peer is ever closed by it.

use crate::context::Context;
use crate::error::{LoadError, Problem};
use crate::events::HookId;
use crate::host::{PluginHost, PluginInfo, PluginState};
use crate::image::{FileInfo, Image, PluginFile};
use crate::isolation::{Isolation, Launch, Process};
use reef_engine::hooks::{PeerEvent, PeerRef};
use reef_engine::{Action, Actions, Alert, ConnId, View};
use reef_plugin_api::manifest::Manifest;
use reef_plugin_api::{Call, Outcome, PeerKey, TorrentId};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A plugin file that was read and checked, ready to be started. Making one takes the time of reading the file, and of starting a process
/// for a plugin that runs in one of its own, so do it on a thread that may wait.
pub struct PluginImage {
    pub(crate) info: FileInfo,
    file: Box<PluginFile>,
    mapped: Mapped,
}

/// Where the library is mapped.
enum Mapped {
    /// In this process.
    Here(&'static Image),
    /// In a process of its own, which waits for the instance and ends with this; or why there is none. `None` once it has its instance.
    Apart(Mutex<Option<Result<Box<Process>, String>>>),
}

/// Reads plugin files as one host will start them, on any thread.
#[derive(Clone, Default, Debug)]
pub struct Loader {
    pub(crate) cache_dir: Option<PathBuf>,
    /// The plugins that run in processes of their own.
    pub(crate) isolation: BTreeMap<String, Isolation>,
    pub(crate) plugin_program: Option<PathBuf>,
}

impl Loader {
    /// Reads and checks a file, and maps it: in this process, or in one that is started for it if the plugin runs in a process of its own. That such
    /// a process does not start is said when the plugin is to.
    ///
    /// # Errors
    /// Any [`Problem`] but `Init`, `Duplicate` and `NotLoaded`.
    pub fn open(&self, path: &Path) -> Result<PluginImage, LoadError> {
        let file = PluginFile::read(path);
        file.and_then(|file| self.image(path, file)).map_err(|problem| LoadError::new(path, problem))
    }

    pub(crate) fn image(&self, path: &Path, file: PluginFile) -> Result<PluginImage, Problem> {
        let mapped = match self.isolation.get(&file.manifest.name) {
            None => Mapped::Here(file.image(self.cache_dir.as_deref())?),
            Some(isolation) => Mapped::Apart(Mutex::new(Some(self.process(path, &file.manifest, *isolation)))),
        };
        Ok(PluginImage { info: file.info(path), file: Box::new(file), mapped })
    }

    /// A process that has loaded the plugin.
    fn process(&self, path: &Path, manifest: &Manifest, isolation: Isolation) -> Result<Box<Process>, String> {
        let no_program = "this host has no program to run it in a process of its own: name one, or do not isolate it";
        let program = self.plugin_program.as_deref().ok_or_else(|| no_program.to_owned())?;
        let launch = Launch { program, path, manifest, cache_dir: self.cache_dir.as_deref(), isolation };
        Process::load(&launch).map(Box::new)
    }
}

impl PluginImage {
    /// Reads, checks and maps a file. Private copies are made in `cache_dir`, or in the user's cache. For a host that runs plugins in
    /// processes of their own use its [`Loader`]: what is mapped here has run code of the plugin in this process.
    ///
    /// # Errors
    /// Any [`Problem`] but `Init`, `Duplicate` and `NotLoaded`.
    pub fn open(path: &Path, cache_dir: Option<&Path>) -> Result<Self, LoadError> {
        Loader { cache_dir: cache_dir.map(Path::to_owned), ..Loader::default() }.open(path)
    }

    /// Its library in this process.
    pub(crate) fn here(&self, cache_dir: Option<&Path>) -> Result<&'static Image, Problem> {
        match &self.mapped {
            Mapped::Here(image) => Ok(image),
            Mapped::Apart(_) => self.file.image(cache_dir),
        }
    }

    /// A process that has loaded it and has no instance: the one that waits, or another of this host.
    pub(crate) fn process(&self, loader: &Loader, isolation: Isolation) -> Result<Box<Process>, String> {
        let waiting = match &self.mapped {
            Mapped::Here(_) => None,
            Mapped::Apart(process) => process.lock().unwrap_or_else(PoisonError::into_inner).take(),
        };
        waiting.unwrap_or_else(|| loader.process(&self.info.path, &self.file.manifest, isolation))
    }

    /// What it says of itself.
    #[must_use]
    pub fn info(&self) -> &FileInfo {
        &self.info
    }
}

/// A change to the plugins of a running session.
pub enum Change {
    /// Load a plugin; refused if one of its name takes part.
    Load(PluginImage),
    /// Put it in the place of the plugin of its name, which goes on if it fails; load it if there is none.
    Replace(PluginImage),
    /// Take the plugin of this name out; what it saves is kept for when it is loaded again.
    Withdraw(String),
}

impl PluginHost {
    /// Has a change made when the session next calls with [`reef_engine::Command::PluginsChanged`]; then
    /// [`PluginHost::changes_made`] has its outcome.
    pub fn request_change(&mut self, change: Change) {
        self.changes.push_back(change);
    }

    /// What became of the changes since the last call, in order: the plugin as it is now, or was when it left.
    pub fn changes_made(&mut self) -> Vec<Result<PluginInfo, LoadError>> {
        std::mem::take(&mut self.changed)
    }

    /// Makes the changes that were asked for, and gives plugins that came without one their objects.
    pub(crate) fn make_changes(&mut self, view: &View<'_>, actions: &mut Actions) {
        for index in self.order.clone() {
            self.meet(index, view, actions);
        }
        while let Some(change) = self.changes.pop_front() {
            let changed = match change {
                Change::Load(image) => self.load_image(&image, view, actions),
                Change::Replace(image) => match self.index_of(&image.info.name) {
                    Some(old) => self.replace(old, &image, view, actions),
                    None => self.load_image(&image, view, actions),
                },
                Change::Withdraw(name) => self.withdraw(&name, actions),
            };
            if let Err(error) = &changed {
                log::warn!("{error}");
            }
            self.changed.push(changed);
        }
    }

    fn load_image(
        &mut self,
        image: &PluginImage,
        view: &View<'_>,
        actions: &mut Actions,
    ) -> Result<PluginInfo, LoadError> {
        let failed = |problem| LoadError::new(&image.info.path, problem);
        let name = image.info.name.clone();
        if let Some(first) = self.loaded_from(&name) {
            return Err(failed(Problem::Duplicate { first: first.to_owned(), name }));
        }
        let index = self.start(image).map_err(failed)?;
        self.meet(index, view, actions);
        self.settle(actions);
        self.still_loaded(index).map_err(|reason| failed(Problem::Init { name, reason }))
    }

    fn replace(
        &mut self,
        old: usize,
        image: &PluginImage,
        view: &View<'_>,
        actions: &mut Actions,
    ) -> Result<PluginInfo, LoadError> {
        let name = image.info.name.clone();
        let failed = |reason| {
            let name = name.clone();
            LoadError::new(&image.info.path, Problem::NotReplaced { name, reason })
        };
        self.keep_state(old);
        self.peer_states = self.save_peers(old);
        let index = self.instantiate(image).map_err(|problem| failed(problem.to_string()))?;
        let place = self.order.iter().position(|other| *other == old).map_or(self.order.len(), |at| at + 1);
        self.order.insert(place, index);
        // What it asks for counts only if it stays.
        let mut wishes = Actions::default();
        let outcome = self.introduce(index).and_then(|()| {
            self.meet(index, view, &mut wishes);
            self.settle(&mut wishes);
            self.still_loaded(index)
        });
        self.peer_states.clear();
        if let Err(reason) = outcome {
            self.forget(index, &reason);
            self.hide(index);
            return Err(failed(reason));
        }
        if let Some(plugin) = self.plugins.get_mut(index) {
            plugin.trial = false;
        }
        for owner in self.claims.values_mut().filter(|owner| **owner == old) {
            *owner = index;
        }
        self.retire(old, actions);
        actions.append(&mut wishes);
        actions.refresh_masks();
        actions.refresh_handshakes();
        self.announce(index, actions);
        self.still_loaded(index).map_err(failed)
    }

    fn withdraw(&mut self, name: &str, actions: &mut Actions) -> Result<PluginInfo, LoadError> {
        let Some(index) = self.index_of(name) else {
            return Err(LoadError::new(Path::new(name), Problem::NotLoaded));
        };
        self.keep_state(index);
        let info = self.plugins.get(index).map(|plugin| plugin.info.clone());
        self.retire(index, actions);
        self.claims.retain(|_, owner| *owner != index);
        actions.refresh_masks();
        actions.refresh_handshakes();
        log::info!("plugin {name} withdrawn");
        actions.push(Action::Report(Alert::PluginWithdrawn { plugin: name.to_owned() }));
        info.ok_or_else(|| LoadError::new(Path::new(name), Problem::NotLoaded))
    }

    /// Saves a plugin's state as if the session ended, for the instance that comes after it.
    fn keep_state(&mut self, index: usize) {
        let saved = self.save_instance(index);
        self.config.saved.extend(saved.iter().cloned());
        self.left.extend(saved);
    }

    /// A plugin leaves in order: it is told, its handle is taken back, and its objects go from the peers up.
    fn retire(&mut self, index: usize, actions: &mut Actions) {
        self.tell_end(index);
        self.settle(actions);
        self.forget(index, "withdrawn");
        self.hide(index);
    }

    fn hide(&mut self, index: usize) {
        if let Some(plugin) = self.plugins.get_mut(index) {
            plugin.hidden = true;
        }
    }

    /// The plugin if it takes part, or why it does not.
    fn still_loaded(&self, index: usize) -> Result<PluginInfo, String> {
        let Some(plugin) = self.plugins.get(index) else { return Err(String::new()) };
        match (&plugin.info.state, &plugin.fault) {
            (PluginState::Quarantined { reason }, _) | (_, Some(reason)) => Err(reason.clone()),
            _ => Ok(plugin.info.clone()),
        }
    }

    /// Gives an instance its objects for the torrents and peers that are there, and the handshakes that it missed.
    fn meet(&mut self, index: usize, view: &View<'_>, actions: &mut Actions) {
        let Some(plugin) = self.plugins.get_mut(index).filter(|plugin| !plugin.met) else { return };
        plugin.met = true;
        for torrent in self.torrents.ids() {
            self.new_torrent(index, torrent, view, actions);
        }
        for at in self.peers.all() {
            if !self.peers.get(at).is_some_and(|parts| parts.has(index)) {
                self.new_connection(index, at, view, actions);
                self.restore_peer(index, at, view, actions);
                self.replay(index, at, view, actions);
            }
        }
        actions.refresh_masks();
        actions.refresh_handshakes();
    }

    /// What a plugin wants to keep of each connection for the instance that takes its place.
    fn save_peers(&mut self, index: usize) -> BTreeMap<ConnId, Vec<u8>> {
        let mut states = BTreeMap::new();
        self.mailroom.enter_hooks();
        for at in self.peers.all() {
            let parts = self.peers.get_mut(at).map(|parts| parts.0.as_mut_slice()).unwrap_or_default();
            let Some(part) = parts.iter_mut().find(|part| part.plugin == index) else { continue };
            let Some(plugin) = self.plugins.get(index) else { break };
            self.sequence += 1;
            self.beat.enter(self.sequence, index, HookId::SAVE_PEER);
            let call = Call::peer(&*plugin.handle, TorrentId(at.torrent.0), PeerKey(at.conn.0));
            let state = part.object.save_state(&call);
            self.beat.leave();
            match state {
                Ok(state) if state.is_empty() => (),
                Ok(state) => drop(states.insert(at.conn, state)),
                Err(outcome) => self.judge_apart(index, HookId::SAVE_PEER, outcome),
            }
        }
        states
    }

    /// Gives a replacement's object what its predecessor kept of this connection.
    fn restore_peer(&mut self, index: usize, at: PeerRef, view: &View<'_>, actions: &mut Actions) {
        let Some(state) = self.peer_states.remove(&at.conn) else { return };
        let parts = self.peers.get_mut(at).map(|parts| parts.0.as_mut_slice()).unwrap_or_default();
        let Some(part) = parts.iter_mut().find(|part| part.plugin == index) else { return };
        let Some(plugin) = self.plugins.get(index) else { return };
        self.sequence += 1;
        self.beat.enter(self.sequence, index, HookId::LOAD_PEER);
        let context = Context::new(view, actions, &plugin.handle);
        let call = Call::peer(&context, TorrentId(at.torrent.0), PeerKey(at.conn.0));
        let outcome = part.object.load_state(&call, &state);
        self.beat.leave();
        match outcome {
            Outcome::Detach => self.detach_peer(index, at, actions),
            outcome => self.judge(index, HookId::LOAD_PEER, outcome, actions),
        }
    }

    fn replay(&mut self, index: usize, at: PeerRef, view: &View<'_>, actions: &mut Actions) {
        let Some(said) = view.handshakes(at) else { return };
        self.replay_event(index, at, &PeerEvent::Handshake(&said.reserved), view, actions);
        if let Some(extension) = &said.extension {
            self.replay_event(index, at, &PeerEvent::ExtensionHandshake(extension), view, actions);
        }
    }

    /// Tells an instance that the session, or its part in it, is over.
    pub(crate) fn tell_end(&mut self, index: usize) {
        let Some(plugin) = self.plugins.get_mut(index) else { return };
        if let Some(session) = plugin.session.as_mut().filter(|_| !plugin.stopped) {
            plugin.stopped = true;
            plugin.handle.send_askers_away();
            self.questions.retain(|(asker, _)| *asker != index);
            self.mailroom.enter_hooks();
            self.sequence += 1;
            self.beat.enter(self.sequence, index, HookId::ABORT);
            let _ = session.abort(&Call::session(&*plugin.handle));
            self.beat.leave();
        }
    }
}
