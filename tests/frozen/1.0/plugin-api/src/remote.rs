//! Plugins in a process of their own: objects that are on the other side of a line, and the host that is there for them.
//!
//! The host's process holds ordinary objects ([`SessionObj`] and so on) whose tables send each hook along a [`Line`]; the
//! plugin's process keeps the real ones in [`Served`] and calls them. What a plugin asks there goes back through an [`Asker`],
//! and [`answer`] calls the host's own functions with it. What the messages are carried by, and how long anybody waits, is not
//! known here.

use crate::at_work::contain;
use crate::endpoint::{PeerKey, TorrentId};
use crate::handle::Host;
use crate::peer::PeerObj;
use crate::result::{HookRet, HostRet, Outcome};
use crate::session::SessionObj;
use crate::table::{self, RawCx, RawHandle, far_handles};
use crate::torrent::TorrentObj;
use crate::wire::{Given, Reader, Writer};
use std::collections::HashMap;
use std::sync::Arc;

/// The level of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// A session object.
    Session,
    /// A torrent object.
    Torrent,
    /// A peer object.
    Peer,
}

/// The way from a host to a plugin in another process. It is dropped with the last of the plugin's objects.
pub trait Line: Send + Sync + 'static {
    /// Sends a request and waits for its reply. What the plugin asks meanwhile, through the context of the hook, is given to `answer`;
    /// `None` from there means that it asks nonsense. `what` is the hook's name. An error is the reason why the plugin is out.
    ///
    /// # Errors
    /// When no reply comes, now or ever.
    fn exchange(&self, what: &'static str, request: &[u8], answer: Answer<'_>) -> Result<Vec<u8>, String>;

    /// The plugin did what no plugin can do. Returns the reason why it is out.
    fn broken(&self, what: &'static str) -> String;

    /// Which of an object's hooks are to be called.
    fn wanted(&self, level: Level, hooks: u64) -> u64;

    /// A number for an object, never given before.
    fn new_id(&self) -> u64;
}

/// Answers what a plugin asks within a hook.
pub type Answer<'a> = &'a mut dyn FnMut(&[u8]) -> Option<Vec<u8>>;

/// The way from a plugin to a host in another process.
pub trait Asker {
    /// Asks and waits for the answer. `None`: there is nobody any more.
    fn ask(&self, question: &[u8]) -> Option<Vec<u8>>;

    /// Microseconds since the session's start, if they are known here.
    fn now(&self) -> Option<u64> {
        None
    }

    /// A handle that may be kept.
    fn host(&self) -> Option<Host>;
}

/// The session object of a plugin on the other side of `line`, which implements these hooks.
pub fn remote_session(line: Arc<dyn Line>, hooks: u64) -> SessionObj {
    SessionObj::remote(line, SESSION, hooks)
}

/// A handle to a host in another process, for a plugin's own threads.
pub fn far_host<A: Asker + Send + Sync + 'static>(asker: Arc<A>) -> Host {
    // SAFETY: a shared handle with a count of its own.
    unsafe { Host::from_raw(far_handles::shared(asker)) }
}

/// Answers what a plugin asks through its [`Host`] handle. `None`: it asks nonsense.
pub fn answer(host: &Host, question: &[u8]) -> Option<Vec<u8>> {
    table::answer(host.raw(), &mut Reader::new(question))
}

/// Two programs with the same number understand each other.
pub fn wire_version() -> u64 {
    let rows = [table::ROWS, crate::session::ROWS, crate::torrent::ROWS, crate::peer::ROWS];
    // FNV-1a.
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    rows.iter().flat_map(|rows| rows.bytes()).fold(0xcbf2_9ce4_8422_2325, mix)
}

/// The number of the session object on both sides.
const SESSION: u64 = 0;

/// What a request is.
const HOOK: u8 = 0;
const DROP: u8 = 1;

/// What an [`Outcome`] is.
const PASS: u8 = 0;
const HANDLED: u8 = 1;
const DETACH: u8 = 2;
const ERROR: u8 = 3;
const PANICKED: u8 = 4;

/// An object on the other side, as the host's side holds it.
pub(crate) struct Remote {
    line: Arc<dyn Line>,
    level: Level,
    id: u64,
    error: Option<String>,
}

impl Remote {
    pub(crate) fn new(line: Arc<dyn Line>, level_trait: &str, id: u64) -> Self {
        Self { line, level: Self::level(level_trait), id, error: None }
    }

    /// The level of the trait of this name.
    pub(crate) fn level(level_trait: &str) -> Level {
        match level_trait {
            "SessionPlugin" => Level::Session,
            "TorrentPlugin" => Level::Torrent,
            _ => Level::Peer,
        }
    }

    /// Calls the hook of this bit: `exchange` sends its arguments and takes what comes back, `None` if that is nonsense.
    pub(crate) fn call(
        &mut self,
        bit: u32,
        hook: &'static str,
        cx: &RawCx,
        exchange: impl FnOnce(&mut HookCall<'_>) -> Option<()>,
    ) -> HookRet {
        let run = || {
            let mut call = HookCall::new(self, bit, hook, cx);
            let is_sound = exchange(&mut call).is_some();
            let result = call.result;
            match result {
                Some(Err(reason)) => Outcome::Panicked(reason),
                Some(Ok(outcome)) if is_sound => outcome,
                _ => Outcome::Panicked(self.line.broken(hook)),
            }
        };
        let outcome = contain("calling an isolated plugin", run);
        let outcome = outcome.unwrap_or_else(|| Outcome::Panicked("the host failed inside the call".to_owned()));
        match outcome {
            Outcome::Pass => HookRet::PASS,
            Outcome::Handled => HookRet::HANDLED,
            Outcome::Detach => HookRet::DETACH,
            Outcome::Error(text) => {
                self.error = Some(text);
                HookRet::ERROR
            }
            Outcome::Panicked(text) => {
                self.error = Some(text);
                HookRet::PANICKED
            }
        }
    }

    pub(crate) fn take_error(&mut self) -> String {
        self.error.take().unwrap_or_default()
    }

    /// Has the object dropped.
    pub(crate) fn end(self) {
        contain("ending an isolated plugin's object", || {
            let mut request = head(DROP, self.level, self.id);
            // A plugin that is out has no objects any more.
            let _ = self.line.exchange("drop", &std::mem::take(&mut request.bytes), &mut |_| None);
        });
    }
}

fn head(kind: u8, level: Level, id: u64) -> Writer {
    let mut request = Writer::default();
    request.u8(kind);
    request.u8(level as u8);
    request.u64(id);
    request
}

/// One hook call on its way to the other side.
pub(crate) struct HookCall<'a> {
    pub(crate) request: Writer,
    line: &'a Arc<dyn Line>,
    hook: &'static str,
    handle: RawHandle,
    /// The number for an object that the hook gives.
    id: u64,
    reply: Vec<u8>,
    /// Where in the reply the answers begin.
    answers: usize,
    result: Option<Result<Outcome, String>>,
}

impl<'a> HookCall<'a> {
    fn new(remote: &'a Remote, bit: u32, hook: &'static str, cx: &RawCx) -> Self {
        let (line, id) = (&remote.line, remote.line.new_id());
        let mut now = 0;
        if let Some(ask) = cx.handle.table.now() {
            // A handle that was taken back leaves it.
            let _ = ask(cx.handle.ctx, &mut now);
        }
        let mut request = head(HOOK, remote.level, remote.id);
        [u64::from(bit), cx.torrent.0, cx.peer.0, now, id].into_iter().for_each(|number| request.u64(number));
        Self { request, line, hook, handle: cx.handle, id, reply: Vec::new(), answers: 0, result: None }
    }

    /// Sends the request; `None` if nothing more comes of it.
    pub(crate) fn exchange(&mut self) -> Option<()> {
        let handle = self.handle;
        let mut answer = |question: &[u8]| table::answer(handle, &mut Reader::new(question));
        match self.line.exchange(self.hook, &self.request.bytes, &mut answer) {
            Ok(reply) => self.reply = reply,
            Err(reason) => {
                self.result = Some(Err(reason));
                return None;
            }
        }
        let mut reader = Reader::new(&self.reply);
        let outcome = receive_outcome(&mut reader)?;
        self.answers = self.reply.len() - reader.left();
        self.result = Some(Ok(outcome));
        Some(())
    }

    /// What the hook left in its places for answers.
    pub(crate) fn reply(&self) -> Reader<'_> {
        Reader::with_objects(self.reply.get(self.answers..).unwrap_or_default(), self.line, self.id)
    }
}

fn send_outcome(outcome: &Outcome, to: &mut Writer) {
    match outcome {
        Outcome::Pass => to.u8(PASS),
        Outcome::Handled => to.u8(HANDLED),
        Outcome::Detach => to.u8(DETACH),
        Outcome::Error(text) => {
            to.u8(ERROR);
            to.bytes(text.as_bytes());
        }
        Outcome::Panicked(text) => {
            to.u8(PANICKED);
            to.bytes(text.as_bytes());
        }
    }
}

fn receive_outcome(from: &mut Reader<'_>) -> Option<Outcome> {
    Some(match from.u8()? {
        PASS => Outcome::Pass,
        HANDLED => Outcome::Handled,
        DETACH => Outcome::Detach,
        ERROR => Outcome::Error(from.text()?.to_owned()),
        PANICKED => Outcome::Panicked(from.text()?.to_owned()),
        _ => return None,
    })
}

/// The objects of a plugin, in the process that runs it.
pub struct Served {
    session: Option<SessionObj>,
    torrents: HashMap<u64, TorrentObj>,
    peers: HashMap<u64, PeerObj>,
}

impl Served {
    /// Those of this instance.
    pub fn new(session: SessionObj) -> Self {
        Self { session: Some(session), torrents: HashMap::new(), peers: HashMap::new() }
    }

    /// Carries out a request of the host's side, and returns the reply. `None`: it is none.
    pub fn serve<A: Asker>(&mut self, request: &[u8], asker: &A) -> Option<Vec<u8>> {
        let mut from = Reader::new(request);
        let (kind, level, id) = (from.u8()?, from.u8()?, from.u64()?);
        let level = [Level::Session, Level::Torrent, Level::Peer].into_iter().find(|known| *known as u8 == level)?;
        match kind {
            HOOK => self.call(level, id, &mut from, asker),
            DROP => {
                match level {
                    Level::Session => drop(self.session.take()),
                    Level::Torrent => drop(self.torrents.remove(&id)),
                    Level::Peer => drop(self.peers.remove(&id)),
                }
                Some(Vec::new())
            }
            _ => None,
        }
    }

    fn call<A: Asker>(&mut self, level: Level, id: u64, from: &mut Reader<'_>, asker: &A) -> Option<Vec<u8>> {
        let bit = u32::try_from(from.u64()?).ok()?;
        let (torrent, peer) = (TorrentId(from.u64()?), PeerKey(from.u64()?));
        let lent = Lent { asker, now: from.u64()? };
        let new_id = from.u64()?;
        let cx = RawCx { handle: far_handles::borrowed(&lent), torrent, peer };
        let mut answers = Writer::default();
        let outcome = match level {
            Level::Session => self.session.as_mut()?.serve(bit, &cx, from, &mut answers),
            Level::Torrent => self.torrents.get_mut(&id)?.serve(bit, &cx, from, &mut answers),
            Level::Peer => self.peers.get_mut(&id)?.serve(bit, &cx, from, &mut answers),
        }?;
        match answers.given.take() {
            Some(Given::Torrent(object)) => drop(self.torrents.insert(new_id, object)),
            Some(Given::Peer(object)) => drop(self.peers.insert(new_id, object)),
            None => (),
        }
        let mut reply = Writer::default();
        send_outcome(&outcome, &mut reply);
        reply.bytes.extend_from_slice(&answers.bytes);
        Some(reply.bytes)
    }
}

/// What one hook call is lent.
struct Lent<'a, A> {
    asker: &'a A,
    now: u64,
}

impl<A: Asker> Asker for Lent<'_, A> {
    fn ask(&self, question: &[u8]) -> Option<Vec<u8>> {
        self.asker.ask(question)
    }

    fn now(&self) -> Option<u64> {
        Some(self.now)
    }

    fn host(&self) -> Option<Host> {
        self.asker.host()
    }
}

/// One question on its way to the host's side.
pub(crate) struct Exchange<'a> {
    pub(crate) question: Writer,
    asker: &'a dyn Asker,
    answer: Vec<u8>,
}

impl Exchange<'_> {
    /// The answer; `None` if there is nobody any more.
    pub(crate) fn answer(&mut self) -> Option<Reader<'_>> {
        self.answer = self.asker.ask(&self.question.bytes)?;
        Some(Reader::new(&self.answer))
    }
}

/// Asks the host's side for a row of its table. `exchange` sends the arguments and takes what comes back.
pub(crate) fn ask<A: Asker>(
    asker: &A,
    row: u32,
    exchange: impl FnOnce(&mut Exchange<'_>) -> Option<HostRet>,
) -> HostRet {
    let run = || {
        let mut question = Writer::default();
        question.u32(row);
        exchange(&mut Exchange { question, asker, answer: Vec::new() })
    };
    contain("asking the host", run).flatten().unwrap_or(HostRet::FAILED)
}
