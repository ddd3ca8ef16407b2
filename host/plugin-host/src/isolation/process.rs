//! The host's side: starting the process, calling it with a deadline, serving what its threads ask, and saying how it ended.

use super::frames::{Fault, Frames, kind};
use super::{BLOCK_HOOKS, Isolation, PLUGIN_PROCESS, block_hooks};
use crate::handle::InstanceHandle;
use reef_plugin_api::host::{self, Answer, Level, Line};
use reef_plugin_api::manifest::Manifest;
use reef_plugin_api::{Host, HostCalls as _, SessionObj, bencode};
use rustix::event::{PollFd, PollFlags, poll};
use std::fmt::Write as _;
use std::io::{self, Read as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// What a process starts from.
pub(crate) struct Launch<'a> {
    /// The program to run, which calls [`super::run_plugin_process`].
    pub(crate) program: &'a Path,
    /// The plugin's file.
    pub(crate) path: &'a Path,
    /// What that file says of itself.
    pub(crate) manifest: &'a Manifest,
    /// Where private copies are made.
    pub(crate) cache_dir: Option<&'a Path>,
    pub(crate) isolation: Isolation,
}

/// A running process that has loaded a plugin, and has one instance of it at most.
pub(crate) struct Process {
    isolation: Isolation,
    hooks: Mutex<Frames>,
    life: Arc<Life>,
    /// The instance's handle: what the plugin asks through its `Host` within a hook.
    host: OnceLock<Host>,
    /// What it prints, until there is an instance and a thread that serves it.
    unserved: Mutex<Option<Printed>>,
    ids: AtomicU64,
    /// It was said which hooks are off.
    told: AtomicBool,
}

/// What the thread that serves the process has of it.
struct Life {
    name: String,
    child: Mutex<Child>,
    calls: UnixStream,
    /// The hook that is being called.
    at_work: Mutex<Option<&'static str>>,
    /// It ends in order.
    closing: AtomicBool,
    /// Why it is out.
    end: OnceLock<String>,
}

/// What is said to be at work before there are hooks.
const LOAD: &str = "load";
const CREATE: &str = "create";

/// How long each of these may take: the program is loaded, the library is read, copied and mapped; the plugin begins.
const START: Duration = Duration::from_secs(10);
/// How long stopping its threads may take.
const STOP: Duration = Duration::from_secs(2);

impl Process {
    /// Starts a process and has it load a plugin. That takes long: do it on a thread that may wait.
    pub(crate) fn load(launch: &Launch<'_>) -> Result<Self, String> {
        let failed = |error: io::Error| format!("no process for it: {}: {error}", launch.program.display());
        let (hooks, calls, mut child) = spawn(launch.program, &launch.manifest.name).map_err(failed)?;
        let printed = Printed { pipe: child.stderr.take(), line: Vec::new() };
        let life = Life {
            name: launch.manifest.name.clone(),
            child: Mutex::new(child),
            calls,
            at_work: Mutex::new(None),
            closing: AtomicBool::new(false),
            end: OnceLock::new(),
        };
        let process = Self {
            isolation: launch.isolation,
            hooks: Mutex::new(Frames::new(hooks)),
            life: Arc::new(life),
            host: OnceLock::new(),
            unserved: Mutex::new(Some(printed)),
            ids: AtomicU64::new(1),
            told: AtomicBool::new(false),
        };
        process.patience(START);
        let reply = process.order(LOAD, kind::LOAD, &load_message(launch))?;
        check_loaded(&reply, launch.manifest)?;
        Ok(process)
    }

    /// Makes an instance, whose handle is `handle` and whose table is `settings` as TOML text, and returns its session object. The process ends
    /// with the last of its objects.
    pub(crate) fn create(
        self,
        settings: &str,
        handle: &Arc<InstanceHandle>,
    ) -> Result<(Weak<Self>, SessionObj), String> {
        self.attend(handle).map_err(|error| format!("its process is of no use: {error}"))?;
        let process = Arc::new(self);
        let reply = process.order(CREATE, kind::CREATE, &create_message(settings))?;
        let hooks = reply.try_into().map(u64::from_ne_bytes).map_err(|_| process.broken(CREATE))?;
        process.patience(process.isolation.deadline);
        Ok((Arc::downgrade(&process), host::remote_session(process, hooks)))
    }

    /// Has a thread serve the process from here on.
    fn attend(&self, handle: &Arc<InstanceHandle>) -> io::Result<()> {
        let calls = Frames::new(self.life.calls.try_clone()?);
        let _ = self.host.set(Host::from_shared(handle.clone()));
        let Some(printed) = lock(&self.unserved).take() else { return Ok(()) };
        let (life, handle) = (self.life.clone(), handle.clone());
        let serve = move || life.serve(&handle, calls, printed);
        let spawned = thread::Builder::new().name("reef-plugin".to_owned()).spawn(serve);
        spawned.map(drop).inspect_err(|_| drop(self.life.reap()))
    }

    /// Has the process do something before there is an instance; an error is the reason why there will be none.
    fn order(&self, what: &'static str, kind: u8, message: &[u8]) -> Result<Vec<u8>, String> {
        match self.converse(what, kind, message, &mut |_| None)? {
            (kind::REPLY, reply) => Ok(reply),
            (_, reason) => Err(String::from_utf8_lossy(&reason).into_owned()),
        }
    }

    /// The process's number.
    pub(crate) fn id(&self) -> u32 {
        lock(&self.life.child).id()
    }

    /// Which lines of the plugin's log are made.
    pub(crate) fn set_log_level(&self, level: log::LevelFilter) {
        // One that is out logs nothing.
        let _ = self.converse("set_log_level", kind::LOG_LEVEL, &[level as u8], &mut |_| None);
    }

    fn patience(&self, patience: Duration) {
        // Refused for a duration of zero alone.
        let patience = Some(patience.max(Duration::from_millis(1)));
        if let Err(error) = lock(&self.hooks).set_patience(patience) {
            log::error!("plugin {}: its process is not watched: {error}", self.life.name);
        }
    }

    /// Sends a message and waits for its reply, answering what is asked meanwhile. An error is the reason why the plugin is out.
    fn converse(&self, what: &'static str, kind: u8, body: &[u8], answer: Answer<'_>) -> Result<(u8, Vec<u8>), String> {
        if let Some(reason) = self.life.end.get() {
            return Err(reason.clone());
        }
        *lock(&self.life.at_work) = Some(what);
        let limit = match what {
            LOAD | CREATE => START,
            "abort" => STOP.max(self.isolation.deadline),
            _ => self.isolation.deadline,
        };
        if what == "abort" {
            self.patience(limit);
        }
        let outcome = self.exchange_frames(Instant::now(), limit, kind, body, answer);
        let outcome = outcome.map_err(|fault| self.life.end_of(fault, what, limit));
        if what == "abort" {
            self.patience(self.isolation.deadline);
        }
        *lock(&self.life.at_work) = None;
        outcome
    }

    fn exchange_frames(
        &self,
        begin: Instant,
        limit: Duration,
        kind: u8,
        body: &[u8],
        answer: Answer<'_>,
    ) -> Result<(u8, Vec<u8>), Fault> {
        let mut frames = lock(&self.hooks);
        frames.send(kind, body)?;
        loop {
            let (kind, body) = frames.receive()?;
            // Each message may be in time and all of them too late.
            let answered = match kind {
                kind::REPLY | kind::FAILED => return Ok((kind, body)),
                _ if begin.elapsed() > limit => return Err(Fault::TooLate),
                kind::ASK_IN_HOOK => answer(&body),
                kind::ASK => self.host.get().and_then(|host| host::answer(host, &body)),
                _ => None,
            };
            frames.send(kind::ANSWER, &answered.ok_or(Fault::Nonsense)?)?;
        }
    }
}

impl Line for Process {
    fn exchange(&self, what: &'static str, request: &[u8], answer: Answer<'_>) -> Result<Vec<u8>, String> {
        match self.converse(what, kind::REQUEST, request, answer)? {
            (kind::REPLY, reply) => Ok(reply),
            _ => Err(self.broken(what)),
        }
    }

    fn broken(&self, what: &'static str) -> String {
        self.life.end_of(Fault::Nonsense, what, self.isolation.deadline)
    }

    fn wanted(&self, level: Level, hooks: u64) -> u64 {
        if level != Level::Peer || self.isolation.block_hooks {
            return hooks;
        }
        let off = block_hooks(hooks);
        if !off.is_empty() && !self.told.swap(true, Ordering::Relaxed) {
            let name = &self.life.name;
            log::warn!(
                "plugin {name} is not asked about blocks ({}), because it runs in a process of its own: \
                 block_hooks = true in [plugins.{name}.isolation] changes that",
                off.join(", ")
            );
        }
        hooks & !BLOCK_HOOKS
    }

    fn new_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }
}

impl Drop for Process {
    /// With the last of its objects.
    fn drop(&mut self) {
        self.life.closing.store(true, Ordering::SeqCst);
        // The thread that serves it sees the end, and kills what is left.
        let _ = self.life.calls.shutdown(Shutdown::Both);
        if let Some(printed) = lock(&self.unserved).take() {
            let _ = self.life.reap();
            printed.drain(&self.life.name);
        }
    }
}

impl Life {
    fn kill(&self) {
        // It may have ended by itself.
        let _ = lock(&self.child).kill();
    }

    /// Waits for the end of a process whose sockets are closed. Killing one that ends already does not change how it ended.
    fn reap(&self) -> io::Result<ExitStatus> {
        let mut child = lock(&self.child);
        let _ = child.kill();
        child.wait()
    }

    /// The end after a fault in `what`: sees to it, and returns the reason.
    fn end_of(&self, fault: Fault, what: &str, limit: Duration) -> String {
        match fault {
            Fault::Gone => self.end_by_itself(Some(what)),
            Fault::TooLate => {
                let millis = limit.as_millis();
                self.end_by_us(format!("it did not return from {what} within {millis} ms, and its process was killed"))
            }
            Fault::Nonsense => {
                self.end_by_us(format!("it broke the talk between its process and this one in {what}, and was killed"))
            }
        }
    }

    /// Ends the process for `reason`, which stands before the kill: the thread that serves it sees that at once, and would say
    /// no more than that it was killed.
    fn end_by_us(&self, reason: String) -> String {
        let reason = self.end_as(reason);
        self.kill();
        reason
    }

    fn end_by_itself(&self, what: Option<&str>) -> String {
        let status = self.reap();
        let how = status.map_or_else(|error| format!("is lost: {error}"), describe);
        let place = what.map(|hook| format!(" in {hook}")).unwrap_or_default();
        self.end_as(format!("its process {how}{place}"))
    }

    /// The first reason is the one that counts.
    fn end_as(&self, reason: String) -> String {
        self.end.get_or_init(|| reason).clone()
    }

    /// Answers the plugin's threads and logs what its process prints, until that ends; then says so.
    fn serve(&self, handle: &Arc<InstanceHandle>, mut calls: Frames, mut printed: Printed) {
        let host = Host::from_shared(handle.clone());
        while self.serve_next(&host, &mut calls, &mut printed) {}
        let _ = self.calls.shutdown(Shutdown::Both);
        let what = *lock(&self.at_work);
        if self.closing.load(Ordering::SeqCst) {
            let _ = self.reap();
        } else {
            let reason = self.end_by_itself(what);
            handle.report_panic(&reason);
        }
        printed.drain(&self.name);
    }

    /// Waits for something to do, and does it. Returns whether there may be more.
    fn serve_next(&self, host: &Host, calls: &mut Frames, printed: &mut Printed) -> bool {
        if !calls.has_more() {
            let mut awaited = vec![PollFd::new(calls.stream(), PollFlags::IN)];
            awaited.extend(printed.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
            if poll(&mut awaited, None).is_err_and(|error| error != rustix::io::Errno::INTR) {
                return false;
            }
            let ready: Vec<bool> = awaited.iter().map(|one| !one.revents().is_empty()).collect();
            if ready.get(1) == Some(&true) {
                printed.read(&self.name);
            }
            if ready.first() != Some(&true) {
                return true;
            }
        }
        let Ok((kind::ASK, question)) = calls.receive() else { return false };
        host::answer(host, &question).is_some_and(|answer| calls.send(kind::ANSWER, &answer).is_ok())
    }
}

/// What the process prints: it has no terminal, so that is for the log.
struct Printed {
    pipe: Option<ChildStderr>,
    line: Vec<u8>,
}

/// Bytes of a line that is printed at most.
const MAX_LINE: usize = 1000;

impl Printed {
    /// Logs what is there; once it is at its end there is no pipe any more.
    fn read(&mut self, name: &str) {
        let mut bytes = [0; 4096];
        let count = self.pipe.as_mut().map_or(Ok(0), |pipe| pipe.read(&mut bytes)).unwrap_or(0);
        if count == 0 {
            self.pipe = None;
            self.flush(name);
        }
        for byte in bytes.into_iter().take(count) {
            match byte {
                b'\n' => self.flush(name),
                _ if self.line.len() < MAX_LINE => self.line.push(byte),
                _ => (),
            }
        }
    }

    fn flush(&mut self, name: &str) {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        if !text.trim().is_empty() {
            log::info!(target: &format!("plugin:{name}"), "its process says: {}", text.trim_end());
        }
    }

    /// Logs the rest of a process that has ended. What it started may hold the pipe open, and is not waited for.
    fn drain(mut self, name: &str) {
        while let Some(pipe) = &self.pipe {
            let mut awaited = [PollFd::new(pipe, PollFlags::IN)];
            let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
            if !poll(&mut awaited, Some(&now)).is_ok_and(|ready| ready > 0) {
                break;
            }
            self.read(name);
        }
        self.flush(name);
    }
}

/// Starts the program with two sockets in place of its input and output, and its errors in a pipe.
fn spawn(program: &Path, name: &str) -> io::Result<(UnixStream, UnixStream, Child)> {
    let (hooks, their_hooks) = UnixStream::pair()?;
    let (calls, their_calls) = UnixStream::pair()?;
    let child = Command::new(program)
        // What lists of processes show.
        .arg0(std::env::args_os().next().unwrap_or_default())
        .args([PLUGIN_PROCESS, name])
        .stdin(OwnedFd::from(their_hooks))
        .stdout(OwnedFd::from(their_calls))
        .stderr(Stdio::piped())
        // An interrupt at the terminal is for the session, which then stops its plugins in order.
        .process_group(0)
        .spawn()?;
    Ok((hooks, calls, child))
}

fn load_message(launch: &Launch<'_>) -> Vec<u8> {
    let mut message = bencode::Dict::new();
    message
        .bytes("version", host::wire_version().to_ne_bytes())
        .bytes("path", launch.path.as_os_str().as_bytes())
        .bytes("memory", launch.isolation.memory.to_ne_bytes())
        .int("level", log::max_level() as i64);
    if let Some(cache) = launch.cache_dir {
        message.bytes("cache", cache.as_os_str().as_bytes());
    }
    message.encode()
}

fn create_message(settings: &str) -> Vec<u8> {
    let mut message = bencode::Dict::new();
    message.bytes("settings", settings).int("level", log::max_level() as i64);
    message.encode()
}

/// Whether what was loaded is the file that was checked here.
fn check_loaded(reply: &[u8], manifest: &Manifest) -> Result<(), String> {
    let reply = bencode::decode(reply).map_err(|error| format!("its process answers nonsense: {error}"))?;
    let text = |key| reply.get(key).and_then(bencode::Value::as_str).unwrap_or_default();
    if (text("name"), text("version")) == (manifest.name.as_str(), manifest.version.as_str()) {
        return Ok(());
    }
    Err("its file was changed while it was loaded: load it again".to_owned())
}

/// How a process ended, for "its process …".
fn describe(status: ExitStatus) -> String {
    let mut text = match (status.signal(), status.code()) {
        (Some(signal), _) => match signal_name(signal) {
            Some(name) => format!("was ended by {name}"),
            None => format!("was ended by signal {signal}"),
        },
        (None, Some(code)) => format!("exited with status {code}"),
        (None, None) => "ended".to_owned(),
    };
    if status.core_dumped() {
        let _ = write!(text, " (its memory was dumped)");
    }
    text
}

fn signal_name(signal: i32) -> Option<&'static str> {
    use rustix::process::Signal;
    let known = [
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::ILL, "SIGILL"),
        (Signal::KILL, "SIGKILL"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::TERM, "SIGTERM"),
        (Signal::TRAP, "SIGTRAP"),
    ];
    known.into_iter().find(|(known, _)| known.as_raw() == signal).map(|(_, name)| name)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
