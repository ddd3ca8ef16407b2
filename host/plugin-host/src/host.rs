//! The plugins of one session: which are loaded, in which order they are asked, and what became of them.
//!
//! Standard plugins are asked first (in the order of [`crate::STANDARD_PLUGINS`]), then the others by name, however they were
//! found and whenever they were loaded. A plugin that misbehaved is quarantined: its handle is taken back and
//! its objects are dropped, and nothing of it is called again.

use crate::change::{Change, Loader, PluginImage};
use crate::conduct::{Conduct, Limits};
use crate::discover::{discover, rank};
use crate::error::{LoadError, Problem};
use crate::events::{HookId, session_events};
use crate::handle::{Identity, InstanceHandle, Mailroom, Request};
use crate::image::{Image, PluginFile};
use crate::isolation::{Isolation, Process};
use crate::objects::{Peers, Torrents};
use crate::quarantine::QuarantineFolder;
use crate::question::Question;
use crate::search_path::SearchPath;
use crate::watchdog::Beat;
use reef_engine::{Action, Actions, Alert, ConnId, Control};
use reef_plugin_api::{Call, Host, Outcome, SessionObj};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

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
    /// What plugins may do before they are quarantined.
    pub limits: Limits,
    /// Where it is written down why a plugin is quarantined; `None` for nowhere.
    pub quarantine: Option<QuarantineFolder>,
    /// The folder in which each plugin may have a folder of its own, by its name; none if they are to have none.
    pub data_dir: Option<PathBuf>,
    /// The plugins that run in processes of their own, by name.
    pub isolation: BTreeMap<String, Isolation>,
    /// The program that runs them: one that calls [`crate::run_plugin_process`] when it is started with [`crate::PLUGIN_PROCESS`], and is
    /// built of the same sources as this one. `None`: such plugins are not loaded.
    pub plugin_program: Option<PathBuf>,
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
    /// The number of the process of its own that it runs in, or ran in.
    pub process: Option<u32>,
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

/// Where an instance runs.
pub(crate) enum Runs {
    /// In this process.
    Here(&'static Image),
    /// In one of its own, which ends with its last object.
    Apart(Weak<Process>, Isolation),
}

/// One instance of an image.
pub(crate) struct Plugin {
    pub(crate) info: PluginInfo,
    pub(crate) runs: Runs,
    pub(crate) handle: Arc<InstanceHandle>,
    /// `None` once it has left: detached or quarantined.
    pub(crate) session: Option<SessionObj>,
    pub(crate) events: u64,
    /// It was told that the session is over.
    pub(crate) stopped: bool,
    /// The messages that it wanted and that another plugin has.
    pub(crate) refused: BTreeSet<String>,
    pub(crate) conduct: Conduct,
    /// It has objects for the torrents and peers that were there before it.
    pub(crate) met: bool,
    /// It is to take another's place, which goes on if this one fails.
    pub(crate) trial: bool,
    /// What went wrong on trial.
    pub(crate) fault: Option<String>,
    /// It left in order: nobody needs to hear of it.
    pub(crate) hidden: bool,
}

impl Plugin {
    /// How long a hook of it may take. One in a process of its own also waits for a processor, and has a deadline: half of it.
    fn budget(&self, limits: &Limits) -> Duration {
        match &self.runs {
            Runs::Here(_) => limits.budget,
            Runs::Apart(_, isolation) => limits.budget.max(isolation.deadline / 2),
        }
    }
}

/// The plugins of one session. Give it to the session as its hooks.
pub struct PluginHost {
    pub(crate) config: PluginHostConfig,
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
    /// What plugins saved that have left since.
    pub(crate) left: BTreeMap<String, Vec<u8>>,
    /// Changes that wait for the session's call.
    pub(crate) changes: VecDeque<Change>,
    pub(crate) changed: Vec<Result<PluginInfo, LoadError>>,
    /// Questions of plugins' threads that wait for the session's call, with whose they are.
    pub(crate) questions: VecDeque<(usize, Question)>,
    /// While a plugin is replaced: what it kept of its connections.
    pub(crate) peer_states: BTreeMap<ConnId, Vec<u8>>,
}

impl PluginHost {
    /// A host without plugins.
    #[must_use]
    pub fn new(config: PluginHostConfig) -> Self {
        let mailroom = Arc::<Mailroom>::default();
        Self {
            beat: Beat::start(config.limits.budget, mailroom.clone()),
            config,
            plugins: Vec::new(),
            order: Vec::new(),
            torrents: Torrents::default(),
            peers: Peers::default(),
            claims: BTreeMap::new(),
            mailroom,
            sequence: 0,
            owed: Actions::default(),
            left: BTreeMap::new(),
            changes: VecDeque::new(),
            changed: Vec::new(),
            questions: VecDeque::new(),
            peer_states: BTreeMap::new(),
        }
    }

    /// Loads every plugin of a search path and starts one instance of each. What cannot be loaded is one line in the
    /// log and in the result each; the others go on. Of two plugins with one name the first wins.
    pub fn load_search(&mut self, path: &SearchPath) -> Vec<LoadError> {
        let (found, mut errors) = discover(path, |name| self.loaded_from(name));
        let loader = self.loader();
        for (file, plugin) in found {
            if let Err(problem) = loader.image(&file, plugin).and_then(|image| self.start(&image)) {
                errors.push(LoadError::new(&file, problem));
            }
        }
        for error in &errors {
            let level = if error.is_overruled() { log::Level::Info } else { log::Level::Warn };
            log::log!(level, "{error}");
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
        let started = read.and_then(|file| {
            let image = self.loader().image(path, file)?;
            self.config.settings.insert(image.info.name.clone(), settings.to_owned());
            let index = self.start(&image)?;
            self.plugins.get(index).map(|plugin| plugin.info.clone()).ok_or(Problem::NotLoaded)
        });
        started.map_err(|problem| LoadError::new(path, problem))
    }

    /// The plugins in the order in which they were loaded. One in quarantine is among them until another of its name is
    /// loaded.
    #[must_use]
    pub fn plugins(&self) -> Vec<PluginInfo> {
        let claimed = |plugin: usize| self.claims.iter().filter(move |(_, owner)| **owner == plugin);
        let with_claims = |(index, plugin): (usize, &Plugin)| {
            let extensions = claimed(index).map(|(name, _)| name.clone()).collect();
            PluginInfo { extensions, ..plugin.info.clone() }
        };
        let followed = |index: usize, name: &str| {
            self.plugins.iter().skip(index + 1).any(|later| !later.hidden && later.info.name == name)
        };
        let shown = |(index, plugin): &(usize, &Plugin)| {
            let out = matches!(plugin.info.state, PluginState::Quarantined { .. });
            !(plugin.hidden || out && followed(*index, &plugin.info.name))
        };
        self.plugins.iter().enumerate().filter(shown).map(with_claims).collect()
    }

    /// What plugins want to keep until [`PluginHostConfig::saved`], by key: `plugin/<name>`, and
    /// `plugin/<name>/<torrent>` for what belongs to a torrent. Empty values are to be forgotten.
    pub fn save_state(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut states = self.left.clone();
        for index in self.order.clone() {
            states.extend(self.save_instance(index));
        }
        states.into_iter().collect()
    }

    /// What one plugin wants to keep.
    pub(crate) fn save_instance(&mut self, index: usize) -> Vec<(String, Vec<u8>)> {
        self.mailroom.enter_hooks();
        let Self { plugins, torrents, beat, sequence, .. } = self;
        let Some(plugin) = plugins.get_mut(index) else { return Vec::new() };
        let Some(session) = plugin.session.as_mut() else { return Vec::new() };
        *sequence += 1;
        let handle = &*plugin.handle;
        beat.enter(*sequence, index, HookId::SAVE_STATE);
        let key = state_key(&plugin.info.name);
        let mut saved = vec![(key, HookId::SAVE_STATE, session.save_state(&Call::session(handle)))];
        beat.enter(*sequence, index, HookId::SAVE_TORRENT);
        for (torrent, object) in torrents.of_plugin(index) {
            let id = reef_plugin_api::TorrentId(torrent.0);
            let state = object.save_state(&Call::torrent(handle, id));
            saved.push((torrent_key(&plugin.info.name, torrent), HookId::SAVE_TORRENT, state));
        }
        beat.leave();
        let mut kept = Vec::new();
        for (key, hook, state) in saved {
            match state {
                Ok(state) => kept.push((key, state)),
                Err(outcome) => self.judge_apart(index, hook, outcome),
            }
        }
        // What a plugin saved before it panicked may be nonsense.
        if !self.order.contains(&index) {
            kept.clear();
        }
        kept
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
            match &plugin.runs {
                Runs::Here(image) => image.root.set_log_level(level),
                Runs::Apart(process, _) => {
                    if let Some(process) = process.upgrade() {
                        process.set_log_level(level);
                    }
                }
            }
        }
    }

    /// Reads plugin files for this host, on other threads.
    #[must_use]
    pub fn loader(&self) -> Loader {
        let PluginHostConfig { cache_dir, isolation, plugin_program, .. } = &self.config;
        Loader { cache_dir: cache_dir.clone(), isolation: isolation.clone(), plugin_program: plugin_program.clone() }
    }

    /// Has `tell` called, from a thread of its own, while a hook is stuck that the session waits for.
    pub fn set_on_stuck(&self, tell: Box<dyn Fn(Alert) + Send + Sync>) {
        self.beat.set_on_stuck(tell);
    }

    /// The plugin of this name that takes part.
    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        let is_it = |index: &usize| self.plugins.get(*index).is_some_and(|plugin| plugin.info.name == name);
        self.order.iter().copied().find(is_it)
    }

    /// Where the plugin of this name, which takes part, came from.
    pub(crate) fn loaded_from(&self, name: &str) -> Option<&Path> {
        self.plugins.get(self.index_of(name)?).map(|plugin| plugin.info.path.as_path())
    }

    /// Starts an instance, which takes part from then on.
    pub(crate) fn start(&mut self, image: &PluginImage) -> Result<usize, Problem> {
        let index = self.instantiate(image)?;
        let Some(plugin) = self.plugins.get_mut(index) else { return Ok(index) };
        plugin.trial = false;
        plugin.met = self.torrents.ids().is_empty();
        let name = plugin.info.name.clone();
        let place = self.order.partition_point(|other| {
            self.plugins.get(*other).is_some_and(|other| rank(&other.info.name) <= rank(&name))
        });
        self.order.insert(place, index);
        if let Err(reason) = self.introduce(index) {
            self.forget(index, &reason);
            return Err(Problem::Init { name, reason });
        }
        let mut owed = std::mem::take(&mut self.owed);
        self.announce(index, &mut owed);
        owed.refresh_masks();
        self.owed = owed;
        Ok(index)
    }

    /// Starts an instance on trial: nobody asks it yet.
    pub(crate) fn instantiate(&mut self, image: &PluginImage) -> Result<usize, Problem> {
        let about = &image.info;
        let name = about.name.as_str();
        let index = self.plugins.len();
        let identity = Identity {
            name: name.to_owned(),
            number: index as u64,
            seed: self.config.seed ^ spread(name),
            data_dir: self.config.data_dir.clone(),
        };
        let handle = InstanceHandle::new(identity, self.mailroom.clone());
        self.mailroom.enter_hooks();
        self.beat.name_plugin(index, name);
        self.sequence += 1;
        // Starting a process takes longer than a hook may, and has a limit of its own.
        if !self.config.isolation.contains_key(name) {
            self.beat.enter(self.sequence, index, HookId::CREATE);
        }
        let created = self.create(image, &handle);
        self.beat.leave();
        let (session, runs) = created.inspect_err(|_| handle.revoke())?;
        let info = PluginInfo {
            name: about.name.clone(),
            version: about.version.clone(),
            description: about.description.clone(),
            api: about.api,
            path: about.path.clone(),
            state: PluginState::Loaded,
            extensions: Vec::new(),
            process: match &runs {
                Runs::Here(_) => None,
                Runs::Apart(process, _) => process.upgrade().map(|process| process.id()),
            },
        };
        self.plugins.push(Plugin {
            info,
            runs,
            handle,
            events: session_events(session.hooks()),
            session: Some(session),
            stopped: false,
            refused: BTreeSet::new(),
            conduct: Conduct::default(),
            met: false,
            trial: true,
            fault: None,
            hidden: false,
        });
        Ok(index)
    }

    /// Makes the session object of an instance, here or in a process of its own.
    fn create(&self, image: &PluginImage, handle: &Arc<InstanceHandle>) -> Result<(SessionObj, Runs), Problem> {
        let name = image.info.name.as_str();
        let failed = |reason| Problem::Init { name: name.to_owned(), reason };
        let settings = self.config.settings.get(name).map(String::as_str).unwrap_or_default();
        let Some(isolation) = self.config.isolation.get(name) else {
            let image = image.here(self.config.cache_dir.as_deref())?;
            let session = image.root.init(Host::from_shared(handle.clone()), settings, log::max_level());
            return Ok((session.map_err(failed)?, Runs::Here(image)));
        };
        let process = image.process(&self.loader(), *isolation).map_err(failed)?;
        let (process, session) = process.create(settings, handle).map_err(failed)?;
        Ok((session, Runs::Apart(process, *isolation)))
    }

    /// Says that a plugin takes part.
    pub(crate) fn announce(&self, index: usize, actions: &mut Actions) {
        let Some(info) = self.plugins.get(index).map(|plugin| &plugin.info) else { return };
        let (name, version, (major, minor)) = (&info.name, &info.version, info.api);
        log::info!("plugin {name} {version} (interface {major}.{minor}) loaded from {}", info.path.display());
        actions.push(Action::Report(Alert::PluginLoaded { plugin: name.clone(), version: version.clone() }));
        if let Some(folder) = &self.config.quarantine
            && let Err(error) = folder.forget(name)
        {
            log::warn!("{}: what was written of {name} stays: {error}", folder.path().display());
        }
    }

    /// Gives a new instance what it saved, and tells it that it takes part.
    pub(crate) fn introduce(&mut self, index: usize) -> Result<(), String> {
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
            if plugin.trial {
                self.beat.leave();
                return Err(format!("the state of the version before is of no use to it: {text}"));
            }
            log::warn!("plugin {name} starts afresh: its saved state is of no use: {text}");
            outcome = Outcome::Pass;
        }
        if !matches!(outcome, Outcome::Panicked(_)) {
            self.beat.enter(self.sequence, index, HookId::ADDED);
            outcome = session.added(&call);
        }
        self.beat.leave();
        match outcome {
            Outcome::Panicked(reason) | Outcome::Error(reason) => Err(reason),
            _ => Ok(()),
        }
    }

    /// What is kept of a plugin's part in a torrent.
    pub(crate) fn saved_torrent(&self, name: &str, torrent: reef_engine::TorrentId) -> Option<&Vec<u8>> {
        self.config.saved.get(&torrent_key(name, torrent)).filter(|saved| !saved.is_empty())
    }

    /// Acts on the answer of a hook that was called outside of the session's dispatch.
    pub(crate) fn judge_apart(&mut self, index: usize, hook: HookId, outcome: Outcome) {
        let mut owed = std::mem::take(&mut self.owed);
        self.judge(index, hook, outcome, &mut owed);
        self.owed = owed;
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
        for seen in self.beat.take_overruns() {
            let limits = self.config.limits;
            let Some(plugin) = self.plugins.get_mut(seen.plugin) else { continue };
            let budget = plugin.budget(&limits);
            // Of one that is out more has been said already.
            if plugin.info.state != PluginState::Loaded || seen.lasted < budget {
                continue;
            }
            let (name, millis, hook) = (&plugin.info.name, seen.lasted.as_millis(), seen.hook.name());
            log::warn!("plugin {name} took at least {millis} ms in {hook}, where it has {} ms", budget.as_millis());
            if let Some(reason) = plugin.conduct.overran(&seen, budget, &limits) {
                self.quarantine(seen.plugin, &reason, actions);
            }
        }
        for index in 0..self.plugins.len() {
            let requests = self.plugins.get(index).map(|plugin| plugin.handle.take()).unwrap_or_default();
            for request in requests {
                match request {
                    Request::Action(action) => actions.push(action),
                    // One call of the session for each question: it is answered after what was asked for before it.
                    Request::Question(question) => {
                        self.questions.push_back((index, question));
                        actions.push(Action::Control(Control::Consult));
                    }
                    Request::Panicked(reason) => self.quarantine(index, &reason, actions),
                }
            }
        }
    }

    /// Ends a plugin's part in this session because of what it did.
    pub(crate) fn quarantine(&mut self, index: usize, reason: &str, actions: &mut Actions) {
        let on_trial = self.plugins.get(index).is_some_and(|plugin| plugin.trial);
        let Some(name) = self.forget(index, reason).filter(|_| !on_trial) else { return };
        log::error!("plugin {name} is quarantined, the session goes on without it: {reason}");
        self.write_down(index, reason);
        actions.push(Action::Report(Alert::PluginQuarantined { plugin: name, reason: reason.to_owned() }));
        actions.refresh_masks();
        actions.refresh_handshakes();
    }

    /// Leaves the reason for other processes to find.
    fn write_down(&self, index: usize, reason: &str) {
        let (Some(folder), Some(plugin)) = (&self.config.quarantine, self.plugins.get(index)) else { return };
        if let Err(error) = folder.write(&plugin.info.name, &plugin.info.version, reason) {
            log::warn!("{}: the reason is not written down: {error}", folder.path().display());
        }
    }

    /// Takes back a plugin's handle and drops its objects; returns its name, or `None` if that was done before.
    pub(crate) fn forget(&mut self, index: usize, reason: &str) -> Option<String> {
        let plugin = self.plugins.get_mut(index)?;
        if matches!(plugin.info.state, PluginState::Quarantined { .. }) {
            return None;
        }
        plugin.info.state = PluginState::Quarantined { reason: reason.to_owned() };
        plugin.handle.revoke();
        plugin.events = 0;
        let session = plugin.session.take();
        self.owed.push(Action::Control(Control::Leave(index as u64)));
        self.questions.retain(|(asker, _)| *asker != index);
        self.mailroom.enter_hooks();
        let name = plugin.info.name.clone();
        self.order.retain(|other| *other != index);
        self.claims.retain(|_, owner| *owner != index);
        // Their `Drop` is the plugin's code; the interface's glue catches what it may do.
        self.sequence += 1;
        self.beat.enter(self.sequence, index, HookId::DROP);
        self.peers.remove_plugin(index);
        self.torrents.remove_plugin(index);
        drop(session);
        self.beat.leave();
        Some(name)
    }
}

impl Drop for PluginHost {
    /// Instances are told that the session is over, if it did not tell them, and dropped from the peers up.
    fn drop(&mut self) {
        for index in self.order.clone() {
            self.tell_end(index);
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
