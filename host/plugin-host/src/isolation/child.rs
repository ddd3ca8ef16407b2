//! The plugin's side: what the program does when it was started to run a plugin for another process.
//!
//! It ends with that process, whatever the plugin does: a thread waits for nothing but that.

use super::frames::{Frames, kind};
use crate::image::PluginFile;
use reef_plugin_api::host::{self, Asker, Served};
use reef_plugin_api::{Host, SessionObj, bencode};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd;
use rustix::process::{Resource, Rlimit, Signal};
use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

/// Runs a plugin for the process that started this one with [`super::PLUGIN_PROCESS`] as its argument. Call it before anything else: it
/// closes every file that it does not know.
pub fn run_plugin_process() -> ExitCode {
    match Sockets::take() {
        Ok(sockets) => serve(sockets),
        Err(error) => {
            // By whoever started it by hand.
            eprintln!("reef: this runs a plugin for another reef process, and for nobody else: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The two ways to the host's process.
struct Sockets {
    hooks: UnixStream,
    calls: UnixStream,
}

impl Sockets {
    /// Takes them from where the host's process put them, and leaves a plugin nothing that it could disturb by printing.
    fn take() -> io::Result<Self> {
        rustix::net::sockopt::socket_type(io::stdin().as_fd())?;
        rustix::net::sockopt::socket_type(io::stdout().as_fd())?;
        let hooks = io::stdin().as_fd().try_clone_to_owned()?;
        let calls = io::stdout().as_fd().try_clone_to_owned()?;
        let nothing = File::open("/dev/null")?;
        rustix::stdio::dup2_stdin(&nothing)?;
        rustix::stdio::dup2_stdout(io::stderr())?;
        drop(nothing);
        close_others(&[hooks.as_raw_fd(), calls.as_raw_fd()]);
        Ok(Self { hooks: hooks.into(), calls: calls.into() })
    }
}

/// Closes what this process was left with by accident, beside its standard streams and these.
fn close_others(ours: &[RawFd]) {
    let folder = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<RawFd>().ok();
    let numbers: Vec<RawFd> =
        fs::read_dir(folder).map(|entries| entries.flatten().filter_map(number).collect()).unwrap_or_default();
    for number in numbers.into_iter().filter(|number| *number > 2 && !ours.contains(number)) {
        // What the list was read with is in it and closed by now.
        if fs::symlink_metadata(format!("{folder}/{number}")).is_ok() {
            // SAFETY: nothing in this process has opened a file yet, so nobody counts on this one.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
        }
    }
}

fn serve(sockets: Sockets) -> ExitCode {
    if end_with(&sockets.calls).is_err() {
        return ExitCode::FAILURE;
    }
    let calls = Arc::new(Calls(Mutex::new(Frames::new(sockets.calls))));
    HOOKS.set(Some(ManuallyDrop::new(Frames::new(sockets.hooks))));
    let mut plugin = None;
    while let Some((kind, body)) = with_hooks(|hooks| hooks.receive().ok()) {
        let reply = match kind {
            kind::LOAD => load(&body),
            kind::CREATE => create(&body, &calls).map(|session| {
                let hooks = session.hooks().to_ne_bytes().to_vec();
                plugin = Some(Served::new(session));
                hooks
            }),
            kind::REQUEST => {
                let served = plugin.as_mut().and_then(|objects: &mut Served| objects.serve(&body, &InHook(&calls)));
                served.ok_or_else(|| "no such request".to_owned())
            }
            kind::LOG_LEVEL => {
                set_log_level(body.first().copied().unwrap_or_default());
                Ok(Vec::new())
            }
            _ => Err("no such message".to_owned()),
        };
        let sent = with_hooks(|hooks| match reply {
            Ok(reply) => hooks.send(kind::REPLY, &reply).ok(),
            Err(reason) => hooks.send(kind::FAILED, reason.as_bytes()).ok(),
        });
        if sent.is_none() {
            break;
        }
    }
    // What the plugin left running is of no use to anybody.
    end()
}

/// Ends this process when the one at the other end of this socket has ended, or has closed it.
fn end_with(calls: &UnixStream) -> io::Result<()> {
    let calls = calls.try_clone()?;
    let wait = move || {
        // Nothing but its end is waited for.
        while poll(&mut [PollFd::new(&calls, PollFlags::empty())], None).is_err() {}
        end();
    };
    thread::Builder::new().name("reef-end".to_owned()).stack_size(64 << 10).spawn(wait).map(drop)
}

/// Ends this process at once, whatever the plugin's threads do.
fn end() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    std::process::abort()
}

thread_local! {
    /// Of the thread that runs hooks: the way to the host's process, which waits for what that thread says.
    /// Never dropped: a plugin that calls `exit` would close it before its status is known.
    static HOOKS: RefCell<Option<ManuallyDrop<Frames>>> = const { RefCell::new(None) };
}

fn with_hooks<T>(work: impl FnOnce(&mut Frames) -> Option<T>) -> Option<T> {
    HOOKS.with_borrow_mut(|hooks| work(hooks.as_mut()?))
}

fn ask_in_hook(kind: u8, question: &[u8]) -> Option<Vec<u8>> {
    with_hooks(|hooks| {
        hooks.send(kind, question).ok()?;
        match hooks.receive() {
            Ok((kind::ANSWER, answer)) => Some(answer),
            _ => None,
        }
    })
}

/// The host behind a hook's context.
struct InHook<'a>(&'a Arc<Calls>);

impl Asker for InHook<'_> {
    fn ask(&self, question: &[u8]) -> Option<Vec<u8>> {
        ask_in_hook(kind::ASK_IN_HOOK, question)
    }

    fn host(&self) -> Option<Host> {
        Some(host::far_host(self.0.clone()))
    }
}

/// The host behind the plugin's `Host` handle.
struct Calls(Mutex<Frames>);

impl Asker for Calls {
    fn ask(&self, question: &[u8]) -> Option<Vec<u8>> {
        // In a hook the host's process waits on the other socket, and answers there on the thread that called the hook.
        if HOOKS.try_with(|hooks| hooks.borrow().is_some()).unwrap_or(false) {
            return ask_in_hook(kind::ASK, question);
        }
        let mut frames = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        frames.send(kind::ASK, question).ok()?;
        match frames.receive() {
            Ok((kind::ANSWER, answer)) => Some(answer),
            _ => None,
        }
    }

    fn host(&self) -> Option<Host> {
        None
    }
}

/// Loads the plugin, and says which it is.
fn load(message: &[u8]) -> Result<Vec<u8>, String> {
    let message = bencode::decode(message).map_err(|error| error.to_string())?;
    let bytes = |key| message.get(key).and_then(bencode::Value::as_bytes);
    let number = |key| bytes(key).and_then(|bytes| bytes.try_into().ok()).map(u64::from_ne_bytes);
    if number("version") != Some(host::wire_version()) {
        return Err("the program that is to run it is another reef: name the same one".to_owned());
    }
    let path = Path::new(OsStr::from_bytes(bytes("path").unwrap_or_default()));
    let cache = bytes("cache").map(|bytes| Path::new(OsStr::from_bytes(bytes)));
    bound_memory(number("memory").unwrap_or_default())?;
    // A program that runs this has set no logger before.
    let _ = log::set_logger(&LOG);
    set_log_level(level(&message));
    let file = PluginFile::read(path).map_err(|problem| problem.to_string())?;
    let image = file.image(cache).map_err(|problem| problem.to_string())?;
    LOADED.lock().unwrap_or_else(PoisonError::into_inner).replace(image.root);
    let mut reply = bencode::Dict::new();
    reply.bytes("name", &file.manifest.name).bytes("version", &file.manifest.version);
    Ok(reply.encode())
}

/// Makes the session object of what was loaded.
fn create(message: &[u8], calls: &Arc<Calls>) -> Result<SessionObj, String> {
    let message = bencode::decode(message).map_err(|error| error.to_string())?;
    let settings = message.get("settings").and_then(bencode::Value::as_str).unwrap_or_default();
    let handle = host::far_host(calls.clone());
    let _ = LOG.0.set(handle.clone());
    set_log_level(level(&message));
    let root = *LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    root.ok_or("nothing is loaded")?.init(handle, settings, log::max_level())
}

fn level(message: &bencode::Value<'_>) -> u8 {
    let level = message.get("level").and_then(bencode::Value::as_int).unwrap_or_default();
    u8::try_from(level).unwrap_or_default()
}

/// Bounds this process's memory. Where the system is short of it all the same, this process is to go first.
fn bound_memory(bytes: u64) -> Result<(), String> {
    if bytes > 0 {
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        rustix::process::setrlimit(Resource::As, limit)
            .map_err(|error| format!("its memory is not bounded: {error}"))?;
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = fs::write("/proc/self/oom_score_adj", "1000") {
        log::debug!("this process does not go first when memory is short: {error}");
    }
    Ok(())
}

static LOADED: Mutex<Option<host::Root>> = Mutex::new(None);

fn set_log_level(number: u8) {
    use log::LevelFilter::{Debug, Error, Info, Off, Trace, Warn};
    let level = [Off, Error, Warn, Info, Debug].get(usize::from(number)).copied().unwrap_or(Trace);
    log::set_max_level(level);
    if let Some(root) = &*LOADED.lock().unwrap_or_else(PoisonError::into_inner) {
        root.set_log_level(level);
    }
}

static LOG: Forward = Forward(OnceLock::new());

/// This process's own log. Before there is an instance its lines are printed, which the host's process logs.
struct Forward(OnceLock<Host>);

impl log::Log for Forward {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        match self.0.get() {
            _ if !self.enabled(record.metadata()) => (),
            Some(host) => host::forward_log(host, record),
            None => eprintln!("{}", record.args()),
        }
    }

    fn flush(&self) {}
}
