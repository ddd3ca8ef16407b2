//! A running session, for programs that embed the engine: the handle, and how it is started.
//!
//! The handle only passes commands in and replies and alerts out; everything happens on the session's own thread.

mod alerts;
mod blocks;
mod inbox;
mod shell;

pub use alerts::{AlertStream, NextAlert};

use crate::disk::{DiskPool, OnBlock, OnDone, PoolConfig};
use crate::http::{HttpClient, OnReply};
use crate::net::{ListenError, Net, OpenError};
use crate::plugins::Plugins;
use crate::resolve::{OnResolved, Resolver};
use crate::rt::{self, Receiver};
use crate::store::{Loaded, Store, StoreError, StoredContent, StoredTorrent};
use alerts::Subscribers;
use blocks::Blocks;
use inbox::{Event, Inbox};
use reef_engine::{
    Command, ErrorCode, ErrorInfo, NoHooks, Reply, Session as Engine, SessionConfig, Settings, TorrentId, Unloading,
};
use reef_plugin_host::{Change, LoadError, Loader, PluginImage, PluginInfo};
use shell::{Clock, Requests, Shell};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a session starts from. The default listens nowhere, keeps no state and has no plugins.
#[derive(Default)]
pub struct Config {
    /// The engine's settings.
    pub settings: Settings,
    /// Addresses to listen on for peers, over TCP and UDP; port 0 for any that is free.
    pub listen: Vec<SocketAddr>,
    /// Addresses to listen on instead if one of those is in use; none to fail then.
    pub listen_otherwise: Vec<SocketAddr>,
    /// The file to keep the session's state in; none is kept without it.
    pub state: Option<PathBuf>,
    /// The plugins, such as a [`reef_plugin_host::PluginHost`].
    pub plugins: Option<Box<dyn Plugins>>,
    /// What every random choice follows from; from the operating system if not given.
    pub seed: Option<[u8; 32]>,
    /// The threads that hash, read and write.
    pub disk: PoolConfig,
}

/// Why a session did not start, as one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address could not be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The state file could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system refused a thread, a way to wait for sockets, or random bytes.
    #[error("the session cannot start: {0}")]
    System(#[from] io::Error),
}

/// Why the plugins of a session were not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The plugin could not be loaded, replaced or found.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The session was started without a plugin host.
    #[error("the session has no plugin host")]
    NoHost,
    /// The session has ended.
    #[error("the session has ended")]
    Ended,
}

/// The reply to a command that was submitted.
pub struct PendingReply {
    answer: Receiver<Reply>,
    done: Receiver<()>,
}

impl PendingReply {
    /// Waits for the reply. A session that has ended replies [`ErrorCode::Stopping`].
    pub async fn wait(self) -> Reply {
        let reply = match rt::either(self.answer.recv(), self.done.recv()).await {
            rt::Either::First(reply) => reply.ok(),
            // The reply may have come just before the end.
            rt::Either::Second(_) => self.answer.try_recv().ok(),
        };
        reply.unwrap_or_else(ended)
    }

    /// The same from a thread that may wait.
    pub fn wait_blocking(self) -> Reply {
        rt::block_on(self.wait())
    }
}

fn ended() -> Reply {
    Reply::Failed(ErrorInfo::new(ErrorCode::Stopping, "the session has ended"))
}

/// A running session. Dropping it ends it; [`Session::stop`] does so in order.
pub struct Session {
    inbox: Arc<Inbox>,
    subscribers: Arc<Subscribers>,
    addresses: Vec<SocketAddr>,
    stored: Mutex<Loaded>,
    loader: Loader,
    /// Closed when the session's thread is done.
    done: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Session {
    /// Starts a session. Torrents of its state file are not added by themselves: [`Self::take_stored_torrents`] has
    /// them.
    ///
    /// # Errors
    /// When an address cannot be listened on, the state file cannot be used, or the operating system refuses.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::begin(config, |_, _| ()).map(|(session, ())| session)
    }

    /// Starts a session as [`Self::start`] does, with a subscriber ([`Self::subscribe`]) who hears of everything from the
    /// start on, such as where it listens.
    ///
    /// # Errors
    /// Those of [`Self::start`].
    pub fn start_subscribed(config: Config, mask: u32, capacity: usize) -> Result<(Self, AlertStream), StartError> {
        Self::begin(config, |subscribers, inbox| subscribers.subscribe(inbox, mask, capacity))
    }

    /// Starts a session; `before` is called when nothing has happened yet.
    fn begin<T>(
        config: Config,
        before: impl FnOnce(&Arc<Subscribers>, &Arc<Inbox>) -> T,
    ) -> Result<(Self, T), StartError> {
        let inbox = Arc::new(Inbox::new()?);
        let net = match Net::open(&config.listen, inbox.notifier()) {
            Err(error) if error.is_in_use() && !config.listen_otherwise.is_empty() => {
                Net::open(&config.listen_otherwise, inbox.notifier())?
            }
            opened => opened?,
        };
        let pool = Arc::new(DiskPool::start(config.disk, on_done(&inbox))?);
        let (store, stored) = open_store(config.state)?;
        let plugins = config.plugins.unwrap_or_else(|| Box::new(NoHooks));
        let waker = Arc::clone(&inbox);
        plugins.set_waker(Box::new(move || waker.push(Event::PluginRequests)));
        let subscribers = Arc::<Subscribers>::default();
        let tell = Arc::clone(&subscribers);
        let loader = plugins.loader();
        plugins.set_on_stuck(Box::new(move |alert| tell.deliver(&alert)));
        let seed = config.seed.map_or_else(random_seed, Ok)?;
        let engine = Engine::new(SessionConfig {
            settings: config.settings,
            seed,
            first_torrent_id: TorrentId(stored.next_torrent_id.max(1)),
            unloading: if store.is_some() { Unloading::WhenIdle } else { Unloading::Never },
        });
        let addresses = net.addresses();
        let shell = Shell {
            engine,
            plugins,
            net,
            blocks: Blocks::new(pool, on_block(&inbox)),
            store,
            http: HttpClient::new(on_reply(&inbox)),
            resolver: Resolver::new(on_resolved(&inbox)),
            inbox: Arc::clone(&inbox),
            subscribers: Arc::clone(&subscribers),
            clock: Clock::start(),
            requests: Requests::default(),
            stopped: false,
        };
        let before = before(&subscribers, &inbox);
        let (running, done) = rt::bounded(1);
        let ending = Ending { subscribers: Arc::clone(&subscribers), _running: running };
        let thread = rt::spawn_thread("reef-net", move || {
            let _ending = ending;
            rt::block_on(shell.run());
        })?;
        let stored = Mutex::new(stored);
        Ok((Self { inbox, subscribers, addresses, stored, loader, done, thread: Some(thread) }, before))
    }

    /// Gives a command and waits for its reply. A session that has ended replies [`ErrorCode::Stopping`].
    pub async fn command(&self, command: Command) -> Reply {
        self.ask(|sender| Event::Command(command, sender)).await.unwrap_or_else(ended)
    }

    /// The same from a thread that may wait.
    pub fn command_blocking(&self, command: Command) -> Reply {
        rt::block_on(self.command(command))
    }

    /// Gives a command and returns at once: what it is told comes in the order of the commands.
    pub fn submit(&self, command: Command) -> PendingReply {
        let (sender, answer) = rt::bounded(1);
        if !self.done.is_closed() {
            self.inbox.push(Event::Command(command, sender));
        }
        PendingReply { answer, done: self.done.clone() }
    }

    /// The same with several commands, which wake the session once.
    pub fn submit_all(&self, commands: Vec<Command>) -> Vec<PendingReply> {
        let mut replies = Vec::with_capacity(commands.len());
        let mut events = Vec::with_capacity(commands.len());
        for command in commands {
            let (sender, answer) = rt::bounded(1);
            events.push(Event::Command(command, sender));
            replies.push(PendingReply { answer, done: self.done.clone() });
        }
        if !self.done.is_closed() {
            self.inbox.push_all(events);
        }
        replies
    }

    /// Waits until all that the state file is to keep by now is on stable storage. Where several wait there is one commit.
    ///
    /// # Errors
    /// When it cannot be written. It is tried again from time to time.
    pub async fn saved(&self) -> Result<(), StoreError> {
        self.ask(Event::Save).await.unwrap_or(Ok(()))
    }

    /// What the state file has of a torrent beside [`StoredTorrent`].
    pub async fn stored_content(&self, torrent: TorrentId) -> StoredContent {
        self.ask(|sender| Event::Content(torrent, sender)).await.unwrap_or_default()
    }

    /// Loads, replaces or withdraws a plugin, without a break for peers. Returns the plugin as it is then.
    ///
    /// # Errors
    /// When the change cannot be made; everything is then as before.
    pub async fn change_plugin(&self, change: Change) -> Result<PluginInfo, ChangeError> {
        let outcome = self.ask(|sender| Event::Change(change, sender)).await;
        // A session without a host drops the question.
        let missing = if self.done.is_closed() { ChangeError::Ended } else { ChangeError::NoHost };
        outcome.ok_or(missing)?.map_err(ChangeError::Load)
    }

    /// Reads and checks a plugin's file, for [`Change::Load`] or [`Change::Replace`], as this session will start it. It takes the time of
    /// reading the file.
    ///
    /// # Errors
    /// When the file is no plugin that can be loaded here.
    pub fn open_plugin(&self, path: &Path) -> Result<PluginImage, LoadError> {
        self.loader.open(path)
    }

    /// The plugins as they are now; none when the session has ended.
    pub async fn plugins(&self) -> Vec<PluginInfo> {
        self.ask(Event::Plugins).await.unwrap_or_default()
    }

    /// Subscribes to the alerts of some categories, an OR of [`reef_engine::alert::Category`] bits. At most `capacity`
    /// of them wait; what comes beyond is left out and counted ([`reef_engine::Alert::AlertsDropped`]).
    pub fn subscribe(&self, mask: u32, capacity: usize) -> AlertStream {
        self.subscribers.subscribe(&self.inbox, mask, capacity)
    }

    /// The addresses listened on, in the order of [`Config::listen`], with the ports that were chosen.
    #[must_use]
    pub fn listen_addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The torrents that the state file had at the start. They are given away: thousands of records are not kept in
    /// memory for a second time of asking.
    #[must_use]
    pub fn take_stored_torrents(&self) -> Vec<StoredTorrent> {
        std::mem::take(&mut self.stored.lock().unwrap_or_else(PoisonError::into_inner).torrents)
    }

    /// The named state, such as that of plugins, that the state file had at the start.
    #[must_use]
    pub fn stored_state(&self) -> Vec<(String, bytes::Bytes)> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).state.clone()
    }

    /// Stops in order: trackers are told, peers closed, files and state saved. Returns whether that was done within
    /// `deadline`; otherwise the session is ended without the rest of it, which costs no data that was verified.
    pub async fn stop(&self, deadline: Duration) -> bool {
        let in_order = async {
            self.command(Command::Stop).await;
            // An error is the end: nothing is ever sent.
            let _ = self.done.recv().await;
        };
        let stopped = rt::timeout(deadline, in_order).await.is_some();
        if !stopped {
            self.inbox.push(Event::Abort);
        }
        stopped
    }

    /// Asks the session's thread something; `None` when it has ended or drops the question.
    async fn ask<T>(&self, question: impl FnOnce(rt::Sender<T>) -> Event) -> Option<T> {
        let (sender, answer) = rt::bounded(1);
        if self.done.is_closed() {
            return None;
        }
        self.inbox.push(question(sender));
        match rt::either(answer.recv(), self.done.recv()).await {
            rt::Either::First(answer) => answer.ok(),
            // The answer may have come just before the end.
            rt::Either::Second(_) => answer.try_recv().ok(),
        }
    }

    /// Waits on this thread until the session has ended.
    fn join(&mut self) {
        self.inbox.push(Event::Abort);
        let Some(thread) = self.thread.take() else { return };
        let ended = rt::block_on(rt::timeout(LONGEST_END, self.done.recv())).is_some();
        if !ended {
            log::error!("the session did not end within {LONGEST_END:?}; its thread is left behind");
            return;
        }
        if thread.join().is_err() {
            log::error!("the session's thread panicked");
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.join();
    }
}

/// Tells everybody who waits that the session has ended, also when its thread panicked.
struct Ending {
    subscribers: Arc<Subscribers>,
    _running: rt::Sender<()>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.subscribers.end();
    }
}

impl From<OpenError> for StartError {
    fn from(e: OpenError) -> Self {
        match e {
            OpenError::Listen(e) => Self::Listen(e),
            OpenError::System(e) => Self::System(e),
        }
    }
}

fn open_store(path: Option<PathBuf>) -> Result<(Option<Store>, Loaded), StoreError> {
    let Some(path) = path else { return Ok((None, Loaded::default())) };
    let store = Store::open(&path)?;
    let loaded = store.load()?;
    Ok((Some(store), loaded))
}

fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(seed)
}

fn on_done(inbox: &Arc<Inbox>) -> OnDone {
    let inbox = Arc::clone(inbox);
    Arc::new(move |done| inbox.push(Event::Disk(done)))
}

fn on_block(inbox: &Arc<Inbox>) -> OnBlock {
    let inbox = Arc::clone(inbox);
    Arc::new(move |tag, outcome| inbox.push(Event::Block(tag, outcome)))
}

fn on_reply(inbox: &Arc<Inbox>) -> OnReply {
    let inbox = Arc::clone(inbox);
    Arc::new(move |id, result| inbox.push(Event::Http(id, result)))
}

fn on_resolved(inbox: &Arc<Inbox>) -> OnResolved {
    let inbox = Arc::clone(inbox);
    Arc::new(move |id, result| inbox.push(Event::Resolved(id, result)))
}

/// How long the end may take once nothing is waited for any more but the last write of the state.
const LONGEST_END: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
