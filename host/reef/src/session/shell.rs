//! The session's thread: gives the engine what happened and does what it wants done.
//!
//! One turn takes what other threads brought, one step of each socket that is ready, and what is due; then what the
//! engine queued for peers goes out. It understands none of it, and it never waits for a disk, a peer or a subscriber.

use super::alerts::Subscribers;
use super::blocks::Blocks;
use super::inbox::{Event, Inbox};
use crate::http::HttpClient;
use crate::net::{Net, Owner};
use crate::plugins::Plugins;
use crate::resolve::Resolver;
use crate::rt::Sender;
use crate::store::{Store, StoreError, StoredContent};
use bytes::Bytes;
use reef_engine::{
    Command, ConnId, Input, Output, Reply, ReplyToken, RequestId, Session as Engine, StoreOp, Time, TorrentId,
};
use reef_plugin_host::{Change, LoadError, PluginInfo};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Everything that the session's thread owns.
pub(super) struct Shell {
    pub(super) engine: Engine,
    pub(super) plugins: Box<dyn Plugins>,
    pub(super) net: Net,
    pub(super) blocks: Blocks,
    pub(super) store: Option<Store>,
    pub(super) http: HttpClient,
    pub(super) resolver: Resolver,
    pub(super) inbox: Arc<Inbox>,
    pub(super) subscribers: Arc<Subscribers>,
    pub(super) clock: Clock,
    pub(super) requests: Requests,
    pub(super) stopped: bool,
}

/// Who waits for what.
#[derive(Default)]
pub(super) struct Requests {
    replies: HashMap<ReplyToken, Sender<Reply>>,
    next_token: u64,
    /// HTTP requests that were not given up.
    http: HashSet<RequestId>,
}

impl Shell {
    /// Runs until the session has stopped.
    pub(super) async fn run(mut self) {
        let wall = self.clock.wall_now();
        self.handle(Input::WallClock(wall));
        // Who subscribed with the start hears where it listens, and whoever gives the first command may ask for it.
        self.handle_event(Event::Subscribers);
        self.turn();
        let mut events = Vec::new();
        while !self.stopped {
            self.inbox.take(&mut events);
            for event in events.drain(..) {
                self.handle_event(event);
            }
            self.turn();
            if !self.stopped && !self.net.has_work() {
                let timeout = self.engine.next_timeout().map(|at| self.clock.instant(at));
                self.net.wait(timeout).await;
            }
        }
        self.finish();
    }

    /// One step of each socket that is ready, what is due, and then what is to be sent.
    fn turn(&mut self) {
        let now = Instant::now();
        for _ in 0..self.net.begin_turn(now) {
            if let Some(input) = self.net.next_input(now, &mut self.engine) {
                self.handle(input);
            }
        }
        if let Some(wall) = self.clock.jumped() {
            self.handle(Input::WallClock(wall));
        }
        if self.engine.next_timeout().is_some_and(|at| at <= self.clock.now()) {
            self.handle(Input::Timeout);
        }
        self.net.flush();
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Disk(done) => self.handle(Input::Disk(done)),
            Event::Block(tag, outcome) => self.net.block_read(tag, outcome),
            Event::Http(id, result) => {
                if self.requests.http.remove(&id) {
                    self.handle(Input::Http { id, result });
                }
            }
            Event::Resolved(id, result) => self.handle(Input::Resolved { id, result }),
            Event::Command(command, reply) => {
                let token = self.requests.expect(reply);
                self.handle(Input::Command { token, command });
                self.blocks.set_memory(self.engine.settings().cache_size);
            }
            Event::Save(answer) => self.save(answer),
            Event::Content(torrent, answer) => self.content(torrent, move |content| {
                // Whoever asked may have left.
                let _ = answer.try_send(content);
            }),
            Event::Loaded(torrent, StoredContent { metainfo, have }) => {
                self.handle(Input::Loaded { torrent, metainfo, have });
            }
            Event::Subscribers => self.command(Command::SetAlertMask(self.subscribers.mask())),
            Event::Change(change, outcome) => self.change_plugins(change, &outcome),
            Event::Plugins(list) => {
                // Whoever asked may have left.
                let _ = list.try_send(self.plugins.list());
            }
            Event::PluginRequests => {
                let actions = self.plugins.take_requests();
                if !actions.is_empty() {
                    self.handle(Input::Actions(actions));
                }
            }
            Event::Abort => self.stopped = true,
        }
    }

    /// Gives a command whose reply nobody waits for.
    fn command(&mut self, command: Command) {
        let token = self.requests.token();
        self.handle(Input::Command { token, command });
    }

    fn change_plugins(&mut self, change: Change, outcome: &Sender<Result<PluginInfo, LoadError>>) {
        self.plugins.request_change(change);
        let begin = Instant::now();
        self.command(Command::PluginsChanged);
        log::debug!("the session was held up by a change of its plugins for {:?}", begin.elapsed());
        for result in self.plugins.changes_made() {
            // Whoever asked may have left.
            let _ = outcome.try_send(result);
        }
    }

    /// Gives the engine one input and does what it then wants done.
    fn handle(&mut self, input: Input) {
        self.engine.handle(self.clock.now(), input, &mut *self.plugins);
        while let Some(output) = self.engine.poll() {
            self.carry_out(output);
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Dial { conn, address } => self.net.dial(conn, address),
            Output::Send { conn, data } => self.net.send(conn, data),
            Output::SendBlock { conn, torrent, request, message_id } => {
                self.net.send_block(conn, torrent, (request, message_id), &mut self.blocks)
            }
            Output::ReadAllowance { conn, bytes } => self.net.allow(conn, bytes),
            Output::Close { conn, flush } => self.net.close(conn, flush),
            Output::Datagram { to, data } => self.net.datagram(to, &data),
            Output::Disk(job) => self.blocks.submit(job),
            Output::Http(request) => {
                self.requests.http.insert(request.id);
                self.http.request(request);
            }
            Output::CancelHttp(id) => {
                self.requests.http.remove(&id);
                self.http.cancel(id);
            }
            Output::Resolve { id, host } => self.resolver.resolve(id, host),
            Output::Reply { token, reply } => self.requests.reply(token, reply),
            Output::Alert(alert) => self.subscribers.deliver(&alert),
            Output::Store(op) => self.keep(op),
            Output::Load(torrent) => {
                let inbox = Arc::clone(&self.inbox);
                self.content(torrent, move |content| inbox.push(Event::Loaded(torrent, content)));
            }
            Output::Stopped => self.stopped = true,
        }
    }

    fn keep(&self, op: StoreOp) {
        if let Some(store) = &self.store {
            store.put(op);
        }
    }

    /// Has everything committed that is queued by now. Whoever waits is told on the store's thread.
    fn save(&self, answer: Sender<Result<(), StoreError>>) {
        let tell = move |outcome| {
            // Whoever asked may have left.
            let _ = answer.try_send(outcome);
        };
        match &self.store {
            Some(store) => store.flush_then(tell),
            None => tell(Ok(())),
        }
    }

    /// Reads what the store has of a torrent; nothing where it cannot.
    fn content(&self, torrent: TorrentId, tell: impl FnOnce(StoredContent) + Send + 'static) {
        let tell = move |outcome: Result<StoredContent, StoreError>| {
            tell(outcome.unwrap_or_else(|error| {
                log::error!("{error}");
                StoredContent::default()
            }));
        };
        match &self.store {
            Some(store) => store.content_then(torrent, tell),
            None => tell(Ok(StoredContent::default())),
        }
    }

    /// Saves what is to be kept. The files that it speaks of are closed after that, with the pool.
    fn finish(mut self) {
        self.net.flush();
        for (key, value) in self.plugins.save_state() {
            self.keep(StoreOp::PutState { key, value: Bytes::from(value) });
        }
        if let Some(Err(e)) = self.store.as_ref().map(Store::flush) {
            log::error!("the session's state was not saved: {e}");
        }
    }
}

impl Owner for Engine {
    fn new_conn(&mut self) -> ConnId {
        self.next_conn_id()
    }

    fn next_read(&self, conn: ConnId, most: usize) -> usize {
        self.next_read(conn, most)
    }
}

impl Requests {
    fn token(&mut self) -> ReplyToken {
        self.next_token += 1;
        ReplyToken(self.next_token)
    }

    fn expect(&mut self, reply: Sender<Reply>) -> ReplyToken {
        let token = self.token();
        self.replies.insert(token, reply);
        token
    }

    fn reply(&mut self, token: ReplyToken, reply: Reply) {
        if let Some(sender) = self.replies.remove(&token) {
            // Whoever asked may have left.
            let _ = sender.try_send(reply);
        }
    }
}

/// The session's time, and the time of day beside it.
pub(super) struct Clock {
    start: Instant,
    /// The time of day at the start, as far as was told.
    wall_at_start: Duration,
    looked: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub(super) fn start() -> Self {
        let start = Instant::now();
        Self { start, wall_at_start: wall_clock(), looked: start }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    fn instant(&self, at: Time) -> Instant {
        self.start + at.since(Time::ZERO)
    }

    /// Seconds since 1970.
    fn wall_now(&self) -> u64 {
        (self.wall_at_start + self.start.elapsed()).as_secs()
    }

    /// The time of day, if it is not what it should be after the time that passed. Looked at every few seconds.
    fn jumped(&mut self) -> Option<u64> {
        if self.looked.elapsed() < LOOK_INTERVAL {
            return None;
        }
        self.looked = Instant::now();
        let wall = wall_clock();
        let expected = self.wall_at_start + self.start.elapsed();
        if wall.abs_diff(expected) < JUMP {
            return None;
        }
        self.wall_at_start = wall.saturating_sub(self.start.elapsed());
        Some(wall.as_secs())
    }
}

fn wall_clock() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

const LOOK_INTERVAL: Duration = Duration::from_secs(5);
const JUMP: Duration = Duration::from_secs(2);
