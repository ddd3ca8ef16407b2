//! aria2 1.36.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::program;
use crate::loopback::fresh_address;
use crate::process::{Process, SOON};
use crate::program::text;

/// aria2, installed.
pub struct Aria2 {
    program: PathBuf,
}

/// A running aria2 with one torrent.
pub struct Peer {
    /// Where it listens.
    pub address: SocketAddr,
    /// The process.
    pub process: Process,
}

impl Aria2 {
    /// Looks for it.
    pub fn find() -> Option<Self> {
        program("aria2c").map(|program| Self { program })
    }

    /// Serves a torrent file, and waits until it does.
    pub fn seed(&self, torrent: &str, folder: &Path) -> Peer {
        let mut peer = self.start(torrent, folder, &["--check-integrity=true", "--seed-ratio=0.0"]);
        peer.process.wait_for_text(SOON, "SEED(");
        peer
    }

    /// Starts to download a torrent file or magnet link; it ends when it has all. It connects to whom trackers name, and
    /// takes who connects to it.
    pub fn download(&self, source: &str, folder: &Path) -> Peer {
        let mut peer = self.start(source, folder, &["--seed-time=0", "--bt-tracker-interval=2"]);
        peer.process.wait_for_text(SOON, "listening on TCP port");
        peer
    }

    fn start(&self, source: &str, folder: &Path, more: &[&str]) -> Peer {
        let address = fresh_address();
        let mut command = Command::new(&self.program);
        command.args(["--no-conf", "--console-log-level=info", "--summary-interval=1", "--file-allocation=none"]);
        command.args(["--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false", "--disable-ipv6=true"]);
        command.args(["--enable-peer-exchange=false", "--dir", text(folder)]);
        command.arg(format!("--listen-port={}", address.port())).arg(format!("--interface={}", address.ip()));
        command.args(more).arg(source);
        Peer { address, process: Process::spawn(&mut command) }
    }
}
