//! Plugins in a process of their own: the very same library, run by this program as a child, where it may loop for ever,
//! abort, run out of memory or break its memory, and takes nothing down but itself.
//!
//! The session's thread writes a hook to a socket and waits for the answer, at most for the deadline; what the plugin asks
//! within the hook is answered meanwhile. What its own threads ask comes on a second socket, which a thread here serves.
//! Objects, rows and their bytes are the interface's (`reef_plugin_api::host`); this only carries them.

#[cfg(unix)]
mod child;
#[cfg(unix)]
mod frames;
#[cfg(unix)]
mod process;
#[cfg(not(unix))]
#[path = "nowhere.rs"]
mod process;

#[cfg(unix)]
pub use child::run_plugin_process;
#[cfg(not(unix))]
pub use process::run_plugin_process;
pub(crate) use process::{Launch, Process};

use reef_plugin_api::bits::PeerPlugin as peer;
use std::path::PathBuf;
use std::time::Duration;

/// The argument with which a program is started to run a plugin for another: it then calls [`run_plugin_process`] before anything else.
pub const PLUGIN_PROCESS: &str = "plugin-process";

/// The program that runs, for [`crate::PluginHostConfig::plugin_program`] of one that calls [`run_plugin_process`].
#[must_use]
pub fn own_program() -> Option<PathBuf> {
    // This is the program itself, also when another was put in its place since it started.
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() { Some(running) } else { std::env::current_exe().ok() }
}

/// How a plugin runs in a process of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Isolation {
    /// How long a hook may take, on the session's clock of the wall. After that the process is killed.
    pub deadline: Duration,
    /// Bytes of memory that its process may have, as address space; 0 for any number.
    pub memory: u64,
    /// Whether hooks that run for every block are called too.
    pub block_hooks: bool,
}

impl Default for Isolation {
    fn default() -> Self {
        Self { deadline: Duration::from_millis(100), memory: 1 << 30, block_hooks: false }
    }
}

/// The hooks that run for every block, or for every message that is sent.
const BLOCK_HOOKS: u64 = peer::on_request
    | peer::on_piece
    | peer::on_cancel
    | peer::on_reject
    | peer::write_request
    | peer::write_message
    | peer::sent_request
    | peer::sent_piece
    | peer::sent_cancel
    | peer::sent_reject
    | peer::sent_payload;

/// The names of those of these hooks of a peer that run for every block.
fn block_hooks(hooks: u64) -> Vec<&'static str> {
    peer::ALL.iter().filter(|(_, bit)| hooks & BLOCK_HOOKS & bit != 0).map(|(name, _)| *name).collect()
}
