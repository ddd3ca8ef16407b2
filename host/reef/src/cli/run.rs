//! `reef run`: a session of many torrents, from its store until somebody ends it. It takes commands as JSON lines on
//! standard input and answers on standard output, in the order of the commands (`docs/run.md`).
//!
//! One thread reads commands and hands them to the session at once; this one waits for what becomes of them. An answer
//! to a command that changes anything is given once the change is on stable storage: while one commit is on its way,
//! whatever else was asked for gathers for the next.
//!
//! Code map: `lines` bounded lines in; `request` what a line asks for; `add` a torrent to add; `answer` what is said
//! back; `restore` the torrents of earlier runs; `feed` events for those who subscribed.

mod add;
mod answer;
mod feed;
mod lines;
mod request;
mod restore;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use reef::rt::block_on;
use reef::session::{AlertStream, PendingReply, Session};
use reef::store::default_folder;
use reef_engine::Reply;
use serde_json::{Value, json};

use super::args::{Global, RunArgs};
use super::client::{Running, STOP_TIME, Setup, ended, plugin_state};
use super::config::Config;
use super::failure::{Exit, Failure, Outcome};
use super::{json, out, plugin, signals};
use feed::Feed;
use lines::{Line, Lines};
use request::{Request, Task};

/// Commands at most that wait for their answers; reading stops until some have got theirs.
const WAITING: usize = 1024;

/// Answers that are written at once.
const AT_ONCE: usize = WAITING;

/// Runs the session.
pub(crate) fn run(args: &RunArgs, global: &Global) -> Outcome {
    let mut config = Config::for_session(global.config.as_deref(), &args.session, &args.network)?;
    config.watch_plugins.get_or_insert(true);
    let state = state_file(args)?;
    let plugins = plugin::load(&config, &args.session, plugin_state(&state))?;
    let fetches_metadata = plugins.require_metadata("a magnet link").is_ok();
    // Who wants events subscribes; this stream is for the session's end.
    let setup = Setup { alerts: 0, ..Setup::of(config, plugins, Some(state.clone())) };
    let (running, stream) = Running::start(setup)?;
    let session = Arc::clone(&running.session);
    let (sender, tasks) = sync_channel(WAITING);
    let is_interrupted = Arc::new(AtomicBool::new(false));
    on_interrupt(&is_interrupted, sender.clone());
    let torrents = restore::all(&session, &args.network)?;
    let listening: Vec<String> = session.listen_addresses().iter().map(ToString::to_string).collect();
    json::event("ready", json!({ "torrents": torrents, "listening": listening, "state": state.display().to_string() }));
    let feed = Arc::new(Mutex::new(Feed::default()));
    if args.events {
        lock(&feed).subscribe(&session, feed::USUAL)?;
    }
    let defaults = add::Defaults::of(&args.network, fetches_metadata)?;
    watch_session(stream, sender.clone())?;
    read_commands(Arc::clone(&session), defaults, args.exit_on_eof, sender)?;
    let outcome = answer_all(&session, &feed, &tasks, &is_interrupted);
    lock(&feed).end();
    if !block_on(session.stop(STOP_TIME)) {
        log::warn!("the session took too long to stop in order; what was verified is kept");
    }
    drop(running);
    outcome
}

/// The file that keeps the session's state.
fn state_file(args: &RunArgs) -> Result<PathBuf, Failure> {
    let folder = args.state.clone().or_else(|| Some(default_folder()?.join("run")));
    let folder = folder.ok_or_else(|| {
        Failure::usage("there is no home folder to keep the state in; name a folder with --state DIR".to_owned())
    })?;
    Ok(folder.join("session.redb"))
}

/// One thing for the answering thread.
enum Event {
    /// A command was read, and perhaps given to the session.
    Task(Task),
    /// Standard input has ended, and the session is to end with it.
    Over,
    /// Somebody wants the program to stop.
    Interrupted,
    /// The session is over, though nobody stopped it.
    Ended,
}

fn on_interrupt(is_interrupted: &Arc<AtomicBool>, wake: SyncSender<Event>) {
    let is_interrupted = Arc::clone(is_interrupted);
    signals::on_first(move || {
        is_interrupted.store(true, Ordering::Relaxed);
        // With a full queue nobody waits, and the flag is seen.
        let _ = wake.try_send(Event::Interrupted);
    });
}

/// Says when the session ends by itself.
fn watch_session(mut alerts: AlertStream, sender: SyncSender<Event>) -> Result<(), Failure> {
    spawn("session end", move || {
        while block_on(alerts.next()).is_some() {}
        let _ = sender.send(Event::Ended);
    })
}

/// Reads commands on a thread of its own, which nobody waits for: a read cannot be broken off.
fn read_commands(
    session: Arc<Session>,
    defaults: add::Defaults,
    exit_on_eof: bool,
    sender: SyncSender<Event>,
) -> Result<(), Failure> {
    spawn("commands", move || {
        for line in Lines::new(std::io::stdin().lock()) {
            let task = match line {
                Line::Text(text) if text.trim_ascii().is_empty() => continue,
                Line::Text(text) => Request::read(&text).begin(&session, &defaults),
                Line::TooLong => Task::refused(None, &format!("a line is longer than {} bytes", lines::LONGEST)),
            };
            if sender.send(Event::Task(task)).is_err() {
                return;
            }
        }
        if exit_on_eof {
            let _ = sender.send(Event::Over);
        }
    })
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
    thread.map(drop).map_err(|error| Failure::new(format!("no thread for {name}: {error}")))
}

/// Answers commands until the end.
fn answer_all(
    session: &Arc<Session>,
    feed: &Arc<Mutex<Feed>>,
    events: &Receiver<Event>,
    is_interrupted: &AtomicBool,
) -> Outcome {
    loop {
        let Ok(first) = events.recv() else { return Err(ended()) };
        let mut end = None;
        let mut tasks = Vec::new();
        let queued = std::iter::once(first).chain(std::iter::from_fn(|| events.try_recv().ok()));
        for event in queued.take(AT_ONCE) {
            match event {
                Event::Task(task) => tasks.push(task),
                Event::Over => end = Some(Ok(Exit::Success)),
                Event::Interrupted => end = Some(Ok(Exit::Interrupted)),
                Event::Ended => end = Some(Err(ended())),
            }
            if end.is_some() {
                break;
            }
        }
        let is_stop = answer_batch(session, feed, tasks, is_interrupted);
        if is_interrupted.load(Ordering::Relaxed) {
            return Ok(Exit::Interrupted);
        }
        if is_stop {
            return Ok(Exit::Success);
        }
        if let Some(end) = end {
            return end;
        }
    }
}

/// Waits for what becomes of some commands, has it stored and says it. Returns whether one of them was to stop.
fn answer_batch(
    session: &Arc<Session>,
    feed: &Arc<Mutex<Feed>>,
    tasks: Vec<Task>,
    is_interrupted: &AtomicBool,
) -> bool {
    let mut said = Vec::with_capacity(tasks.len());
    let (mut changes, mut stops) = (false, false);
    for task in tasks {
        if is_interrupted.load(Ordering::Relaxed) {
            break;
        }
        let (id, outcome, effect) = task.finish(session, feed);
        changes |= effect == request::Effect::Change && outcome.is_ok();
        stops |= effect == request::Effect::Stop;
        said.push((id, outcome, effect));
        if stops {
            break;
        }
    }
    let saved = if changes { block_on(session.saved()).map_err(|error| error.to_string()) } else { Ok(()) };
    let mut text = Vec::new();
    for (id, outcome, effect) in said {
        let outcome = match &saved {
            Err(why) if effect == request::Effect::Change && outcome.is_ok() => {
                Err(answer::Refusal::new(format!("it is done, but could not be stored: {why}")))
            }
            _ => outcome,
        };
        text.extend(json::encode(&answer::line(id.as_ref(), outcome)).into_bytes());
        text.push(b'\n');
    }
    out::write(&text);
    stops
}

fn lock(feed: &Mutex<Feed>) -> std::sync::MutexGuard<'_, Feed> {
    feed.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the session said of a command.
fn wait(reply: PendingReply) -> Result<Reply, answer::Refusal> {
    match reply.wait_blocking() {
        Reply::Failed(error) => Err(error.into()),
        reply => Ok(reply),
    }
}

/// An answer's fields beside `id` and `ok`.
type Fields = Result<Value, answer::Refusal>;
