//! libtorrent 2.1, through its Python module.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{missing, python, script};
use crate::loopback::fresh_address;
use crate::process::{Process, SOON};
use crate::program::text;

/// libtorrent, installed.
pub struct Libtorrent {
    python: PathBuf,
}

/// A running session of libtorrent with one torrent.
pub struct Peer {
    /// Where it listens.
    pub address: SocketAddr,
    /// The process: it prints `listening`, `seeding` once it has all, `finished` once it has fetched and written all.
    pub process: Process,
}

impl Libtorrent {
    /// Looks for it.
    pub fn find() -> Option<Self> {
        python().map(|python| Self { python }).or_else(|| missing("Python's module libtorrent"))
    }

    /// Serves a torrent file, and waits until it does.
    pub fn seed(&self, torrent: &str, folder: &Path) -> Peer {
        let mut peer = self.start(torrent, folder, &[]);
        peer.process.wait_for_text(SOON, "seeding");
        peer
    }

    /// Starts to download a torrent file or magnet link from these peers, and whom its trackers name.
    pub fn download(&self, source: &str, folder: &Path, peers: &[SocketAddr]) -> Peer {
        let peers: Vec<String> = peers.iter().map(|peer| format!("--peer={peer}")).collect();
        let mut peer = self.start(source, folder, &peers.iter().map(String::as_str).collect::<Vec<_>>());
        peer.process.wait_for_text(SOON, "listening");
        peer
    }

    /// Makes a torrent file in which both versions of the protocol are.
    pub fn create_hybrid(&self, content: &Path, file: &Path) {
        let arguments = ["--create", text(content), text(file)];
        Process::spawn(Command::new(&self.python).arg(script("libtorrent_peer.py")).args(arguments))
            .wait_for_status(SOON, 0);
    }

    fn start(&self, source: &str, folder: &Path, more: &[&str]) -> Peer {
        let address = fresh_address();
        let listen = address.to_string();
        let mut command = Command::new(&self.python);
        command
            .arg(script("libtorrent_peer.py"))
            .args(["--listen", &listen, "--folder", text(folder), source])
            .args(more);
        Peer { address, process: Process::spawn(&mut command) }
    }
}

impl Peer {
    /// Waits until all is fetched and written.
    #[track_caller]
    pub fn wait_until_finished(&mut self) {
        self.process.wait_for_text(SOON, "finished");
    }
}
