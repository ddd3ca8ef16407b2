//! transmission 3.00: its daemon, told what to do over its RPC.
//!
//! It drops peers of 127.0.0.0/8 that a tracker names, so the other side has to connect to it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::program;
use crate::content::temporary;
use crate::loopback::{free_port, fresh_address};
use crate::process::{Process, SOON};
use crate::program::text;

/// transmission, installed.
pub struct Transmission {
    daemon: PathBuf,
    remote: PathBuf,
}

/// A running daemon with one torrent.
pub struct Peer {
    /// Where it listens.
    pub address: SocketAddr,
    /// The process.
    pub process: Process,
    remote: PathBuf,
    rpc: String,
    _config: TempDir,
}

impl Transmission {
    /// Looks for it.
    pub fn find() -> Option<Self> {
        let daemon = program("transmission-daemon")?;
        program("transmission-remote").map(|remote| Self { daemon, remote })
    }

    /// Serves a torrent file, and waits until it has verified it.
    pub fn seed(&self, torrent: &str, folder: &Path) -> Peer {
        let mut peer = self.start(torrent, folder);
        peer.wait_until_complete();
        peer
    }

    /// Starts to download a torrent file or magnet link from whoever connects to it.
    pub fn download(&self, source: &str, folder: &Path) -> Peer {
        self.start(source, folder)
    }

    fn start(&self, source: &str, folder: &Path) -> Peer {
        let address = fresh_address();
        let SocketAddr::V4(listen) = address else { unreachable!("fresh addresses are of version 4") };
        let rpc_port = free_port(*listen.ip());
        let config = temporary();
        let settings = json!({
            "rpc-enabled": true, "rpc-bind-address": listen.ip().to_string(), "rpc-port": rpc_port,
            "rpc-whitelist-enabled": false, "rpc-host-whitelist-enabled": false, "rpc-authentication-required": false,
            "bind-address-ipv4": listen.ip().to_string(), "bind-address-ipv6": "::1", "peer-port": listen.port(),
            "dht-enabled": false, "lpd-enabled": false, "pex-enabled": true, "utp-enabled": false,
            "port-forwarding-enabled": false, "encryption": 1, "download-dir": text(folder),
        });
        fs::write(config.path().join("settings.json"), settings.to_string()).expect("the folder is writable");
        let mut command = Command::new(&self.daemon);
        command.args(["--foreground", "--log-debug", "--config-dir"]).arg(config.path());
        let mut process = Process::spawn(&mut command);
        process.wait_for_text(SOON, "Using settings from");
        let rpc = format!("{}:{rpc_port}", listen.ip());
        let peer = Peer { address, process, remote: self.remote.clone(), rpc, _config: config };
        peer.tell(&["--add", source]);
        peer
    }
}

impl Peer {
    /// Waits until it has all.
    ///
    /// # Panics
    /// If that takes too long.
    #[track_caller]
    pub fn wait_until_complete(&mut self) {
        let deadline = Instant::now() + SOON;
        loop {
            let info = self.tell(&["--torrent", "1", "--info"]);
            if info.contains("Percent Done: 100%")
                && !info.contains("State: Verifying")
                && !info.contains("State: Queued")
            {
                return;
            }
            assert!(Instant::now() < deadline, "transmission says:\n{info}\n{}", self.process.seen().join("\n"));
            // Its log says when it is worth to ask again; a download's end is in no line of it.
            self.process.next_line(Instant::now() + Duration::from_millis(200));
        }
    }

    /// Tells the daemon something, and returns its answer.
    #[track_caller]
    fn tell(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.remote);
        command.arg(&self.rpc).args(arguments);
        Process::spawn(&mut command).wait_for_status(SOON, 0).text()
    }
}
