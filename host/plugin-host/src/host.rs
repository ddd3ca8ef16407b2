//! The plugins of one session: which are loaded, in which order they are asked, and what became of them.
//!
//! Standard plugins are asked first (in the order of [`crate::STANDARD_PLUGINS`]), then the others by name, however they were
//! found and whenever they were loaded. A plugin that panicked is quarantined for good: its handle is taken back and
//! its objects are dropped, and nothing of it is called again.

use crate::discover::{discover, rank};
use crate::error::{LoadError, Problem};
use crate::events::{HookId, session_events};
use crate::handle::{InstanceHandle, Mailroom, Request};
use crate::image::{Image, PluginFile};
use crate::objects::{Peers, Torrents};
use crate::search_path::SearchPath;
use crate::watchdog::Beat;
use reef_engine::hooks::session_bits;
use reef_engine::{Action, Actions, Alert};
use reef_plugin_api::{Call, Host, Outcome, SessionObj};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a [`PluginHost`] starts from.
#[derive(Clone, Debug, Default)]
pub struct PluginHostConfig {
    /// The settings of plugins by their name: the table `[plugins.<name>]` as TOML text, its keys at the top level.
    pub settings: BTreeMap<String, String>,
    /// What [`PluginHost::save_state`] returned when the session last ended.
    pub saved: BTreeMap<String, Vec<u8>>,
    /// Where private copies are made; `None` for the user's cache, then the folder for temporary files.
    pub cache_dir: Option<PathBuf>,
    /// What random numbers for plugins' own threads follow from. Hooks get the session's.
    pub seed: u64,
}

/// A plugin of a session, as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PluginInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for, may be empty.
    pub description: String,
    /// The interface that it was built against: first and second number.
    pub api: (u32, u32),
    /// Where it was loaded from.
    pub path: PathBuf,
    /// Whether it takes part.
    pub state: PluginState,
    /// The extension messages that it has claimed, by name.
    pub extensions: Vec<String>,
}

/// Whether a plugin takes part in its session.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PluginState {
    /// It is asked.
    Loaded,
    /// It failed and is asked no more.
    Quarantined {
        /// What it did.
        reason: String,
    },
}

/// One instance of an image.
pub(crate) struct Plugin {
    pub(crate) info: PluginInfo,
    image: &'static Image,
    pub(crate) handle: Arc<InstanceHandle>,
    /// `None` once it has left: detached or quarantined.
    pub(crate) session: Option<SessionObj>,
    pub(crate) events: u32,
    /// It was told that the session is over.
    pub(crate) stopped: bool,
    /// The messages that it wanted and that another plugin has.
    pub(crate) refused: BTreeSet<String>,
}

/// The plugins of one session. Give it to the session as its hooks.
pub struct PluginHost {
    config: PluginHostConfig,
    /// By the number that everything else uses; none is ever removed.
    pub(crate) plugins: Vec<Plugin>,
    /// Those that take part, in the order in which they are asked.
    pub(crate) order: Vec<usize>,
    pub(crate) torrents: Torrents,
    pub(crate) peers: Peers,
    /// Who claimed which extension message.
    pub(crate) claims: BTreeMap<String, usize>,
    pub(crate) mailroom: Arc<Mailroom>,
    pub(crate) beat: Arc<Beat>,
    pub(crate) sequence: u64,
    /// What the session has not been told yet, because it was not calling.
    pub(crate) owed: Actions,
}

impl PluginHost {
    /// A host without plugins.
    #[must_use]
    pub fn new(config: PluginHostConfig) -> Self {
        Self {
            config,
            plugins: Vec::new(),
            order: Vec::new(),
            torrents: Torrents::default(),
            peers: Peers::default(),
            claims: BTreeMap::new(),
            mailroom: Arc::default(),
            beat: Beat::start(),
            sequence: 0,
            owed: Actions::default(),
        }
    }

    /// Loads every plugin of a search path and starts one instance of each. What cannot be loaded is one line in the
    /// log and in the result each; the others go on. Of two plugins with one name the first wins.
    pub fn load_search(&mut self, path: &SearchPath) -> Vec<LoadError> {
        let (found, mut errors) = discover(path, |name| self.loaded_from(name));
        for (file, plugin) in found {
            let settings = self.config.settings.get(&plugin.manifest.name).cloned().unwrap_or_default();
            if let Err(problem) = self.start(&file, &plugin, &settings) {
                errors.push(LoadError::new(&file, problem));
            }
        }
        for error in &errors {
            match error.problem {
                Problem::Duplicate { .. } => log::info!("{error}"),
                _ => log::warn!("{error}"),
            }
        }
        errors
    }

    /// Loads every plugin of these folders, as [`PluginHost::load_search`] does.
    pub fn load_dirs(&mut self, folders: &[PathBuf]) -> Vec<LoadError> {
        self.load_search(&SearchPath::only(folders))
    }

    /// Loads one plugin and starts an instance of it. `settings` is its table as TOML text. A session that is running
    /// must then be told with [`reef_engine::Command::PluginsChanged`].
    ///
    /// # Errors
    /// Any [`Problem`]; `Duplicate` if a plugin of that name takes part already.
    pub fn load_file(&mut self, path: &Path, settings: &str) -> Result<PluginInfo, LoadError> {
        let read = PluginFile::read(path).and_then(|file| match self.loaded_from(&file.manifest.name) {
            Some(first) => Err(Problem::Duplicate { name: file.manifest.name, first: first.to_owned() }),
            None => Ok(file),
        });
        read.and_then(|file| self.start(path, &file, settings)).map_err(|problem| LoadError::new(path, problem))
    }

    /// The plugins in the order in which they were loaded, those in quarantine included.
    #[must_use]
    pub fn plugins(&self) -> Vec<PluginInfo> {
        let claimed = |plugin: usize| self.claims.iter().filter(move |(_, owner)| **owner == plugin);
        let with_claims = |(index, plugin): (usize, &Plugin)| {
            let extensions = claimed(index).map(|(name, _)| name.clone()).collect();
            PluginInfo { extensions, ..plugin.info.clone() }
        };
        self.plugins.iter().enumerate().map(with_claims).collect()
    }

    /// What plugins want to keep until [`PluginHostConfig::saved`], by key: `plugin/<name>`, and
    /// `plugin/<name>/<torrent>` for what belongs to a torrent. Empty values are to be forgotten.
    pub fn save_state(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut states = Vec::new();
        for index in self.order.clone() {
            let Self { plugins, torrents, beat, sequence, .. } = self;
            let Some(plugin) = plugins.get_mut(index) else { continue };
            let Some(session) = plugin.session.as_mut() else { continue };
            *sequence += 1;
            let handle = &*plugin.handle;
            beat.enter(*sequence, index, HookId::SAVE_STATE);
            let mut saved = vec![(state_key(&plugin.info.name), session.save_state(&Call::session(handle)))];
            beat.enter(*sequence, index, HookId::SAVE_TORRENT);
            for (torrent, object) in torrents.of_plugin(index) {
                let id = reef_plugin_api::TorrentId(torrent.0);
                let state = object.save_state(&Call::torrent(handle, id));
                saved.push((torrent_key(&plugin.info.name, torrent), state));
            }
            beat.leave();
            let mut kept = Vec::new();
            for (key, state) in saved {
                match state {
                    Ok(state) => kept.push((key, state)),
                    Err(outcome) => self.judge_apart(index, outcome),
                }
            }
            // What a plugin saved before it panicked may be nonsense.
            if self.order.contains(&index) {
                states.append(&mut kept);
            }
        }
        states
    }

    /// What plugins' own threads asked for since the last call, for [`reef_engine::Input::Actions`]. Empty when
    /// nothing is waiting, which is one look at an atomic.
    pub fn take_requests(&mut self) -> Vec<Action> {
        let mut actions = std::mem::take(&mut self.owed);
        self.settle(&mut actions);
        let requests = actions.queued().to_vec();
        // That masks changed can be said in a hook alone; the next one is at most a second away.
        if actions.masks_changed() {
            self.owed.refresh_masks();
        }
        if actions.handshakes_changed() {
            self.owed.refresh_handshakes();
        }
        requests
    }

    /// Has `waker` called, from any thread, when there is something for [`PluginHost::take_requests`].
    pub fn set_waker(&self, waker: Box<dyn Fn() + Send + Sync>) {
        self.mailroom.set_waker(waker);
    }

    /// Which lines of plugins' logs are made. It counts for all sessions of the process that use the same images.
    pub fn set_max_log_level(&self, level: log::LevelFilter) {
        for plugin in &self.plugins {
            plugin.image.root.set_log_level(level);
        }
    }

    /// Where the plugin of this name, which takes part, came from.
    fn loaded_from(&self, name: &str) -> Option<&Path> {
        let mut names = self.order.iter().filter_map(|index| self.plugins.get(*index));
        names.find(|plugin| plugin.info.name == name).map(|plugin| plugin.info.path.as_path())
    }

    /// Maps the file if it is not yet, and starts an instance.
    fn start(&mut self, path: &Path, file: &PluginFile, settings: &str) -> Result<PluginInfo, Problem> {
        let image = file.image(self.config.cache_dir.as_deref())?;
        let name = image.manifest.name.as_str();
        let handle = InstanceHandle::new(name, self.config.seed ^ spread(name), self.mailroom.clone());
        let session =
            image.root.init(Host::from_shared(handle.clone()), settings, log::max_level()).map_err(|reason| {
                handle.revoke();
                Problem::Init { name: name.to_owned(), reason }
            })?;
        let about = file.info(path);
        let info = PluginInfo {
            name: about.name,
            version: about.version,
            description: about.description,
            api: about.api,
            path: about.path,
            state: PluginState::Loaded,
            extensions: Vec::new(),
        };
        let events = session_events(session.hooks());
        let index = self.plugins.len();
        self.beat.add_plugin(name);
        self.plugins.push(Plugin {
            info: info.clone(),
            image,
            handle,
            session: Some(session),
            events,
            stopped: false,
            refused: BTreeSet::new(),
        });
        let place = self.order.partition_point(|other| {
            self.plugins.get(*other).is_some_and(|other| rank(&other.info.name) <= rank(&info.name))
        });
        self.order.insert(place, index);
        self.attach(index)?;
        log::info!(
            "plugin {} {} (interface {}.{}) loaded from {}",
            info.name,
            info.version,
            info.api.0,
            info.api.1,
            info.path.display()
        );
        self.owed
            .push(Action::Report(Alert::PluginLoaded { plugin: info.name.clone(), version: info.version.clone() }));
        self.owed.refresh_masks();
        Ok(info)
    }

    /// Gives a new instance what it saved, and tells it that it takes part.
    fn attach(&mut self, index: usize) -> Result<(), Problem> {
        let Some(plugin) = self.plugins.get_mut(index) else { return Ok(()) };
        let name = plugin.info.name.clone();
        let Some(session) = plugin.session.as_mut() else { return Ok(()) };
        let call = Call::session(&*plugin.handle);
        self.sequence += 1;
        let mut outcome = Outcome::Pass;
        if let Some(saved) = self.config.saved.get(&state_key(&name)) {
            self.beat.enter(self.sequence, index, HookId::LOAD_STATE);
            outcome = session.load_state(&call, saved);
        }
        if let Outcome::Error(text) = &outcome {
            log::warn!("plugin {name} starts afresh: its saved state is of no use: {text}");
            outcome = Outcome::Pass;
        }
        if !matches!(outcome, Outcome::Panicked(_)) {
            self.beat.enter(self.sequence, index, HookId::ADDED);
            outcome = session.added(&call);
        }
        self.beat.leave();
        match outcome {
            Outcome::Panicked(reason) | Outcome::Error(reason) => {
                self.forget(index, &reason);
                Err(Problem::Init { name, reason })
            }
            _ => Ok(()),
        }
    }

    /// What is kept of a plugin's part in a torrent.
    pub(crate) fn saved_torrent(&self, name: &str, torrent: reef_engine::TorrentId) -> Option<&Vec<u8>> {
        self.config.saved.get(&torrent_key(name, torrent)).filter(|saved| !saved.is_empty())
    }

    /// Acts on the answer of a hook that was called outside of the session's dispatch.
    fn judge_apart(&mut self, index: usize, outcome: Outcome) {
        match outcome {
            Outcome::Panicked(reason) => {
                let mut owed = std::mem::take(&mut self.owed);
                self.quarantine(index, &reason, &mut owed);
                self.owed = owed;
            }
            Outcome::Error(text) => log::warn!("plugin {}: {text}", self.name(index)),
            _ => (),
        }
    }

    pub(crate) fn name(&self, index: usize) -> &str {
        self.plugins.get(index).map_or("?", |plugin| plugin.info.name.as_str())
    }

    /// Passes on what the instances' handles queued.
    #[inline]
    pub(crate) fn settle(&mut self, actions: &mut Actions) {
        if self.mailroom.is_pending() {
            self.empty_queues(actions);
        }
    }

    #[cold]
    fn empty_queues(&mut self, actions: &mut Actions) {
        self.mailroom.clear_pending();
        for index in 0..self.plugins.len() {
            let requests = self.plugins.get(index).map(|plugin| plugin.handle.take()).unwrap_or_default();
            for request in requests {
                match request {
                    Request::Action(action) => actions.push(action),
                    Request::Panicked(reason) => self.quarantine(index, &reason, actions),
                }
            }
        }
    }

    /// Ends a plugin's part in this session because it panicked.
    pub(crate) fn quarantine(&mut self, index: usize, reason: &str, actions: &mut Actions) {
        let Some(name) = self.forget(index, reason) else { return };
        log::error!("plugin {name} is quarantined, the session goes on without it: {reason}");
        actions.push(Action::Report(Alert::PluginQuarantined { plugin: name, reason: reason.to_owned() }));
        actions.refresh_masks();
        actions.refresh_handshakes();
    }

    /// Takes back a plugin's handle and drops its objects; returns its name, or `None` if that was done before.
    fn forget(&mut self, index: usize, reason: &str) -> Option<String> {
        let plugin = self.plugins.get_mut(index)?;
        if matches!(plugin.info.state, PluginState::Quarantined { .. }) {
            return None;
        }
        plugin.info.state = PluginState::Quarantined { reason: reason.to_owned() };
        plugin.handle.revoke();
        plugin.events = 0;
        let session = plugin.session.take();
        let name = plugin.info.name.clone();
        self.order.retain(|other| *other != index);
        self.claims.retain(|_, owner| *owner != index);
        // Their `Drop` is the plugin's code; the interface's glue catches what it may do.
        self.peers.remove_plugin(index);
        self.torrents.remove_plugin(index);
        drop(session);
        Some(name)
    }
}

impl Drop for PluginHost {
    /// Instances are told that the session is over, if it did not tell them, and dropped from the peers up.
    fn drop(&mut self) {
        for index in self.order.clone() {
            let Some(plugin) = self.plugins.get_mut(index) else { continue };
            if let Some(session) = plugin.session.as_mut().filter(|_| !plugin.stopped) {
                self.sequence += 1;
                let abort = HookId::event(crate::events::Level::Session, session_bits::Abort);
                self.beat.enter(self.sequence, index, abort);
                let _ = session.abort(&Call::session(&*plugin.handle));
                self.beat.leave();
            }
        }
        self.peers = Peers::default();
        self.torrents = Torrents::default();
        for plugin in &mut self.plugins {
            plugin.session = None;
            plugin.handle.revoke();
        }
    }
}

fn state_key(name: &str) -> String {
    format!("plugin/{name}")
}

fn torrent_key(name: &str, torrent: reef_engine::TorrentId) -> String {
    format!("plugin/{name}/{torrent}")
}

/// A number for a name (FNV-1a).
fn spread(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
