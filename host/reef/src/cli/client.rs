//! A running session as the commands see it: torrents go in, events come out, one at a time.
//!
//! It waits for three things at once: what the session reports, the next second, and an interrupt.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use reef::PluginWatch;
use reef::rt::block_on;
use reef::session::{AlertStream, Config as SessionConfig, NextAlert, Session};
use reef::store::{Store, StoredContent, StoredTorrent, default_path};
use reef_engine::alert::Category;
use reef_engine::resume::{Have, Resume};
use reef_engine::settings::Settings;
use reef_engine::status::{FileStatus, TorrentStatus};
use reef_engine::{AddTorrent, Alert, Command, Reply, TorrentId};
use reef_plugin_host::PluginHost;
use reef_proto::hash::{InfoHashes, Sha1Hash};
use reef_proto::metainfo::Metainfo;

use super::config::Config;
use super::failure::Failure;
use super::forms::DEFAULT_PORT;
use super::plugin::Plugins;
use super::signals;
use super::{events, json, wanted};

/// How long an orderly stop may take.
pub(crate) const STOP_TIME: Duration = Duration::from_millis(3500);

/// How long after the start the torrents are first looked at.
const FIRST_LOOK: Duration = Duration::from_millis(200);

/// How many events wait to be shown.
const WAITING_EVENTS: usize = 1024;

/// How many ports are tried when none was asked for.
const PORTS_TRIED: u16 = 9;

/// What is worth saying to a person: everything but each piece and file.
pub(crate) const USUAL_ALERTS: u32 = Category::ALL.0 & !Category::PROGRESS.0;

/// What a session starts from.
pub(crate) struct Setup {
    /// Settings of the session.
    pub(crate) settings: Settings,
    /// Where to listen.
    pub(crate) listen: Vec<SocketAddr>,
    /// Where to listen if somebody has one of those.
    pub(crate) listen_otherwise: Vec<SocketAddr>,
    /// Its plugins.
    pub(crate) plugins: PluginHost,
    /// The file that keeps its state, if it is to keep any.
    pub(crate) state: Option<PathBuf>,
    /// Categories of alerts to report.
    pub(crate) alerts: u32,
    /// Whether to print that a hook is stuck, as JSON.
    pub(crate) print_stuck: bool,
    /// Folders whose plugins come and go with their files.
    pub(crate) watched: Vec<PathBuf>,
}

impl Setup {
    /// What the user wants.
    pub(crate) fn of(config: Config, plugins: Plugins, state: Option<PathBuf>) -> Self {
        let listen: Vec<SocketAddr> = config.listen.iter().flat_map(|listen| listen.addresses()).collect();
        let (listen, listen_otherwise) =
            if listen.is_empty() { (usual_addresses(), every_address(0)) } else { (listen, Vec::new()) };
        let watched = if config.watch_plugins == Some(true) { plugins.to_watch } else { Vec::new() };
        let (settings, plugins, alerts) = (config.settings, plugins.host, USUAL_ALERTS);
        Self { settings, listen, listen_otherwise, plugins, state, alerts, print_stuck: false, watched }
    }

    /// For programs, which read JSON: has every alert reported.
    pub(crate) fn for_programs(self) -> Self {
        Self { alerts: Category::ALL.0, print_stuck: true, ..self }
    }
}

/// Where the state of a download of these torrents into one folder is kept, so that the next one finds it; none without
/// a home folder.
pub(crate) fn state_path(torrents: &[AddTorrent]) -> Option<PathBuf> {
    let first = torrents.first()?;
    let hashes = match torrents {
        [one] => one.info_hashes,
        several => name_of_all(several),
    };
    default_path(&hashes, &first.save_path)
}

/// What plugins kept in a state file. If it cannot be used the session will say so; until then there is nothing.
pub(crate) fn plugin_state(state: &Path) -> BTreeMap<String, Vec<u8>> {
    if !state.exists() {
        return BTreeMap::new();
    }
    let loaded = Store::open(state).and_then(|store| store.state());
    let states = loaded.unwrap_or_default();
    states.into_iter().map(|(key, value)| (key, value.to_vec())).collect()
}

/// One hash for several torrents, in whatever order they were named.
fn name_of_all(torrents: &[AddTorrent]) -> InfoHashes {
    let mut wires: Vec<[u8; 20]> = torrents.iter().map(|torrent| torrent.info_hashes.wire()).collect();
    wires.sort_unstable();
    InfoHashes::from_v1(Sha1Hash::of(wires.as_flattened()))
}

/// Every address of this machine, at the first usual port that is free.
fn usual_addresses() -> Vec<SocketAddr> {
    let free = (DEFAULT_PORT..DEFAULT_PORT + PORTS_TRIED).find(|&port| TcpListener::bind(any_address(port)).is_ok());
    every_address(free.unwrap_or(0))
}

/// Every address of this machine, of the families that it has.
fn every_address(port: u16) -> Vec<SocketAddr> {
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    if has_v6() { vec![v4, (Ipv6Addr::UNSPECIFIED, port).into()] } else { vec![v4] }
}

/// An address that no other socket of either family has if it can be listened on: the system gives IPv6 both.
fn any_address(port: u16) -> SocketAddr {
    if has_v6() { (Ipv6Addr::UNSPECIFIED, port).into() } else { (Ipv4Addr::UNSPECIFIED, port).into() }
}

fn has_v6() -> bool {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok()
}

/// What happened.
pub(crate) enum Event {
    /// The session reports something.
    Alert(Alert),
    /// A second has passed.
    Second,
    /// Somebody wants the program to stop.
    Interrupted,
    /// The session is over, though nobody stopped it.
    Ended,
}

/// A session that ended too early.
pub(crate) fn ended() -> Failure {
    Failure::new("the session ended before it was told to; run the command again with -v to see why")
}

/// A session that runs, and what watches its plugins' folders.
pub(crate) struct Running {
    /// The session.
    pub(crate) session: Arc<Session>,
    _watch: Option<PluginWatch>,
}

impl Running {
    /// Starts a session. The stream has its alerts from the first on.
    pub(crate) fn start(setup: Setup) -> Result<(Self, AlertStream), Failure> {
        let config = SessionConfig {
            settings: setup.settings,
            listen: setup.listen,
            listen_otherwise: setup.listen_otherwise,
            state: setup.state,
            plugins: Some(Box::new(setup.plugins)),
            ..SessionConfig::default()
        };
        let started = Session::start_subscribed(config, setup.alerts, WAITING_EVENTS);
        let (session, stream) = started.map_err(|error| Failure::new(error.to_string()))?;
        let session = Arc::new(session);
        let watch = (!setup.watched.is_empty()).then(|| PluginWatch::start(&session, &setup.watched));
        let watch = watch.and_then(|watch| watch.map_err(|error| log::warn!("plugins are not watched: {error}")).ok());
        Ok((Self { session, _watch: watch }, stream))
    }
}

/// A running session, with what happens in it.
pub(crate) struct Client {
    session: Arc<Session>,
    /// What was there from earlier runs.
    stored: Vec<StoredTorrent>,
    _running: Running,
    alerts: Receiver<Event>,
    interrupted: Arc<AtomicBool>,
    next_second: Cell<Instant>,
}

impl Client {
    /// Starts a session. From here on an interrupt is an event.
    pub(crate) fn start(setup: Setup) -> Result<Self, Failure> {
        let print_stuck = setup.print_stuck;
        let (running, stream) = Running::start(setup)?;
        let session = Arc::clone(&running.session);
        let (sender, alerts) = sync_channel(WAITING_EVENTS);
        let interrupted = Arc::new(AtomicBool::new(false));
        on_interrupt(&interrupted, sender.clone());
        thread::Builder::new()
            .name("alerts".to_owned())
            .spawn(move || forward(stream, &sender, print_stuck))
            .map_err(|error| Failure::new(format!("no thread for the session's events: {error}")))?;
        let stored = session.take_stored_torrents();
        Ok(Self {
            session,
            stored,
            _running: running,
            alerts,
            interrupted,
            next_second: Cell::new(Instant::now() + FIRST_LOOK),
        })
    }

    /// Adds a torrent, with what is known of it from an earlier run.
    pub(crate) fn add(&self, mut torrent: AddTorrent) -> Result<TorrentId, Failure> {
        let is_same = |stored: &&StoredTorrent| stored.hashes.is_same_torrent(&torrent.info_hashes);
        if let Some(stored) = self.stored.iter().find(is_same) {
            recall(&mut torrent, stored, &block_on(self.session.stored_content(stored.id)));
        }
        match self.ask(Command::AddTorrent(Box::new(torrent)))? {
            Reply::Added(id) => Ok(id),
            _ => Err(ended()),
        }
    }

    /// Every torrent, as it is now.
    pub(crate) fn torrents(&self) -> Result<Vec<TorrentStatus>, Failure> {
        match self.ask(Command::AllTorrents)? {
            Reply::Torrents(torrents) => Ok(torrents),
            _ => Err(ended()),
        }
    }

    /// The files of a torrent.
    pub(crate) fn files(&self, torrent: TorrentId) -> Result<Vec<FileStatus>, Failure> {
        match self.ask(Command::Files(torrent))? {
            Reply::Files(files) => Ok(files),
            _ => Err(ended()),
        }
    }

    /// Stops a torrent's transfers.
    pub(crate) fn pause(&self, torrent: TorrentId) -> Result<(), Failure> {
        self.ask(Command::Pause(torrent)).map(drop)
    }

    /// Where the session listens.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        self.session.listen_addresses()
    }

    /// Waits for something to happen, at most a second.
    pub(crate) fn next_event(&self) -> Event {
        if self.interrupted.load(Ordering::Relaxed) {
            return Event::Interrupted;
        }
        let wait = self.next_second.get().saturating_duration_since(Instant::now());
        if wait.is_zero() {
            self.next_second.set(Instant::now() + Duration::from_secs(1));
            return Event::Second;
        }
        match self.alerts.recv_timeout(wait) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => self.next_event(),
            Err(RecvTimeoutError::Disconnected) => Event::Ended,
        }
    }

    /// Stops in order: trackers are told, peers closed, files and state saved.
    pub(crate) fn stop(self) {
        if !block_on(self.session.stop(STOP_TIME)) {
            log::warn!("the session took too long to stop in order; what was verified is kept");
        }
    }

    fn ask(&self, command: Command) -> Result<Reply, Failure> {
        match self.session.command_blocking(command) {
            Reply::Failed(error) => Err(Failure::new(error.to_string())),
            reply => Ok(reply),
        }
    }
}

fn on_interrupt(interrupted: &Arc<AtomicBool>, wake: SyncSender<Event>) {
    let interrupted = Arc::clone(interrupted);
    signals::on_first(move || {
        interrupted.store(true, Ordering::Relaxed);
        // With a full queue nobody waits, and the flag is seen.
        let _ = wake.try_send(Event::Interrupted);
    });
}

/// Passes alerts on until the session or its client is gone. That a hook is stuck is printed from here: the session
/// waits for that hook, and the client most likely for an answer of the session.
fn forward(mut stream: AlertStream, sender: &SyncSender<Event>, print_stuck: bool) {
    loop {
        let event = match stream.next_blocking(Duration::from_secs(60)) {
            NextAlert::Alert(alert @ Alert::PluginStuck { .. }) => {
                if print_stuck {
                    json::event(alert.what(), events::fields(&alert));
                }
                continue;
            }
            NextAlert::Alert(alert) => Event::Alert(alert),
            NextAlert::TimedOut => continue,
            NextAlert::Ended => Event::Ended,
        };
        let is_end = matches!(event, Event::Ended);
        if sender.send(event).is_err() || is_end {
            return;
        }
    }
}

/// Takes over what the store knows of a torrent. What cannot be read is found out again by hashing.
fn recall(torrent: &mut AddTorrent, stored: &StoredTorrent, content: &StoredContent) {
    torrent.stored_id = Some(stored.id);
    if torrent.metainfo.is_none()
        && let Some(metainfo) = content.metainfo.as_ref().and_then(|bytes| Metainfo::parse(bytes).ok())
    {
        torrent.file_priorities =
            wanted::priorities_of_ranges(&torrent.select_only, metainfo.info.layout.files().len());
        torrent.metainfo = Some(Arc::new(metainfo));
    }
    if let Some(bytes) = &stored.resume {
        match Resume::parse(bytes) {
            // Trackers are those of the source and of this command line, not of an earlier one.
            Ok(resume) => torrent.resume = Some(Box::new(Resume { trackers: Vec::new(), ..resume })),
            Err(error) => log::warn!("{}: the saved state is of no use: {error}", torrent.name),
        }
    }
    if let Some(bytes) = &content.have {
        match Have::parse(bytes) {
            Ok(have) => torrent.resume_have = Some(have),
            Err(error) => log::warn!("{}: the saved list of pieces is of no use: {error}", torrent.name),
        }
    }
}
