//! The tracker of npm's `bittorrent-tracker`, which shows every announce.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use super::{installed, missing, program, script};
use crate::loopback::fresh_address;
use crate::process::{Process, SOON};

/// The tracker, installed.
pub struct NpmTracker {
    node: PathBuf,
    modules: PathBuf,
}

/// A running tracker.
pub struct Tracker {
    /// Where it listens, for HTTP and UDP alike.
    pub address: SocketAddr,
    /// The process: it prints a line for each announce, `EVENT ADDRESS INFO_HASH` with the event `start`, `update`,
    /// `complete` or `stop`.
    pub process: Process,
}

impl NpmTracker {
    /// Looks for it.
    pub fn find() -> Option<Self> {
        let node = program("node")?;
        let modules = installed("npm/node_modules");
        if !modules.join("bittorrent-tracker").is_dir() {
            return missing("npm's bittorrent-tracker");
        }
        Some(Self { node, modules })
    }

    /// Starts one.
    pub fn start(&self) -> Tracker {
        let address = fresh_address();
        let mut command = Command::new(&self.node);
        command.arg(script("tracker.mjs")).arg(&self.modules);
        command.args([address.ip().to_string(), address.port().to_string()]);
        let mut process = Process::spawn(&mut command);
        process.wait_for_text(SOON, "listening");
        Tracker { address, process }
    }
}

impl Tracker {
    /// Its announce address over HTTP.
    pub fn http(&self) -> String {
        format!("http://{}/announce", self.address)
    }

    /// Its announce address over UDP.
    pub fn udp(&self) -> String {
        format!("udp://{}/announce", self.address)
    }

    /// Waits until this event was announced by this peer.
    ///
    /// # Panics
    /// If it does not come.
    #[track_caller]
    pub fn wait_for_event(&mut self, event: &str, peer: SocketAddr) {
        self.process.wait_for_text(SOON, &format!("{event} {peer} "));
    }

    /// How often each of start, complete and stop was announced by this peer, of what was read so far.
    pub fn counts(&self, peer: SocketAddr) -> [usize; 3] {
        ["start", "complete", "stop"].map(|event| {
            let begin = format!("{event} {peer} ");
            self.process.seen().iter().filter(|line| line.starts_with(&begin)).count()
        })
    }
}
