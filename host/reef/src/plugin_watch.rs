//! Folders of plugins that are watched while a session runs: a file that is dropped in is loaded, one that is
//! overwritten replaces what runs, one that is removed is withdrawn.
//!
//! A file counts once nothing has happened in the folders for a moment and it can be read to its end. Nothing is ever
//! mapped from the folder itself, so a file may be overwritten in place.

use crate::rt::block_on;
use crate::session::Session;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use reef_plugin_host::{Change, PluginInfo, inspect};
use std::collections::{BTreeMap, BTreeSet};
use std::env::consts::DLL_EXTENSION;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, SystemTime};

/// Folders that are watched until this is dropped.
pub struct PluginWatch {
    _watcher: RecommendedWatcher,
}

impl PluginWatch {
    /// Watches these folders for a session. What lies in them already is left as it is. A folder that cannot be watched is
    /// said in the log and left out.
    ///
    /// # Errors
    /// If the operating system cannot watch folders, or refuses a thread.
    pub fn start(session: &Arc<Session>, folders: &[PathBuf]) -> io::Result<Self> {
        let (sender, events) = channel();
        let changed = move |event: notify::Result<notify::Event>| {
            // Reading a file is no change of it.
            if event.is_ok_and(|event| !event.kind.is_access() || event.kind.is_remove()) {
                let _ = sender.send(());
            }
        };
        let mut watcher = notify::recommended_watcher(changed).map_err(io::Error::other)?;
        let mut watched = Vec::new();
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => watched.push(folder.clone()),
                Err(error) => log::warn!("{}: changes to its plugins will not be seen: {error}", folder.display()),
            }
        }
        let files = Files { known: files_in(&watched), folders: watched, pending: BTreeSet::new() };
        let session = Arc::downgrade(session);
        thread::Builder::new().name("reef-plugins".to_owned()).spawn(move || run(&session, &events, files))?;
        Ok(Self { _watcher: watcher })
    }
}

/// What tells one content of a file from the next.
type Stamp = (Option<SystemTime>, u64);

struct Files {
    folders: Vec<PathBuf>,
    known: BTreeMap<PathBuf, Stamp>,
    /// Files that changed and are not whole.
    pending: BTreeSet<PathBuf>,
}

fn run(session: &Weak<Session>, events: &Receiver<()>, mut files: Files) {
    // The end of the watcher ends the channel and with it this thread.
    while events.recv().is_ok() {
        let mut quiet = 0;
        while quiet == 0 || !files.pending.is_empty() && quiet < TRIES {
            match events.recv_timeout(QUIET) {
                Ok(()) => quiet = 0,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    quiet += 1;
                    let Some(session) = session.upgrade() else { return };
                    files.look(&session, quiet == TRIES);
                }
            }
        }
    }
}

impl Files {
    /// Acts on what changed. A file that cannot be used yet is looked at again, unless this is the last look.
    fn look(&mut self, session: &Session, is_last: bool) {
        let there = files_in(&self.folders);
        let gone: Vec<PathBuf> = self.known.keys().filter(|path| !there.contains_key(*path)).cloned().collect();
        for (path, stamp) in &there {
            if self.known.get(path) == Some(stamp) && !self.pending.contains(path) {
                continue;
            }
            match inspect(path) {
                Ok(found) if is_overruled(session, &found.name, path) => {
                    log::warn!(
                        "{}: plugin {} is left out: another file with it was loaded first",
                        path.display(),
                        found.name
                    );
                }
                Ok(_) => put_in(session, path),
                Err(_) if !is_last => {
                    self.pending.insert(path.clone());
                    continue;
                }
                Err(error) => log::warn!("{error}"),
            }
            self.pending.remove(path);
        }
        for path in gone {
            self.pending.remove(&path);
            let loaded = block_on(session.plugins()).into_iter().find(|plugin| plugin.path == path);
            if let Some(plugin) = loaded {
                // One in quarantine takes no part any more.
                let _ = block_on(session.change_plugin(Change::Withdraw(plugin.name.clone())));
                // Another file with a plugin of its name was left out until now.
                let same_name = |path: &&PathBuf| inspect(path).is_ok_and(|found| found.name == plugin.name);
                if let Some(other) = there.keys().find(same_name) {
                    put_in(session, other);
                }
            }
        }
        self.known = there;
    }
}

/// Loads a file, or puts it in the place of the plugin of its name.
fn put_in(session: &Session, path: &Path) {
    match session.open_plugin(path) {
        // What does not start is said in the log by the host.
        Ok(image) => drop(block_on(session.change_plugin(Change::Replace(image)))),
        Err(error) => log::warn!("{error}"),
    }
}

/// Whether a plugin of this name came from another file that is still there.
fn is_overruled(session: &Session, name: &str, path: &Path) -> bool {
    let same_name = |plugin: &PluginInfo| plugin.name == name;
    block_on(session.plugins()).iter().any(|plugin| same_name(plugin) && plugin.path != path && plugin.path.exists())
}

fn files_in(folders: &[PathBuf]) -> BTreeMap<PathBuf, Stamp> {
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let libraries =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == DLL_EXTENSION));
    let with_stamp = |path: PathBuf| {
        let about = fs::metadata(&path).ok()?;
        Some((path, (about.modified().ok(), about.len())))
    };
    libraries.filter_map(with_stamp).collect()
}

/// How long nothing must happen before files are looked at.
const QUIET: Duration = Duration::from_millis(250);
/// How often a file that is not whole is looked at again.
const TRIES: u32 = 12;
