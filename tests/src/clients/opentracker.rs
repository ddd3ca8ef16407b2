//! opentracker, as Debian builds it: it serves the info-hashes of a list alone.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

use super::{missing, program};
use crate::content::temporary;
use crate::loopback::fresh_address;
use crate::process::{Process, SOON};

/// opentracker, installed.
pub struct Opentracker {
    program: PathBuf,
}

/// A running tracker.
pub struct Tracker {
    /// Where it listens, for HTTP and UDP alike.
    pub address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Opentracker {
    /// Looks for it. It has to be started by root, as it shuts itself into a folder.
    pub fn find() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return missing("opentracker, or the right of root that it needs,");
        }
        program("opentracker").map(|program| Self { program })
    }

    /// Starts one that serves a torrent of this info-hash.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start(&self, info_hash: &str) -> Tracker {
        let address = fresh_address();
        let folder = temporary();
        fs::write(folder.path().join("list"), format!("{info_hash}\n")).expect("the folder is writable");
        fs::set_permissions(folder.path(), open_to_all()).expect("the folder is ours");
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let mut command = Command::new(&self.program);
        command.args(["-i", &ip, "-p", &port, "-P", &port, "-A", "127.0.0.1", "-w", "/list", "-u", "nobody", "-d"]);
        let process = Process::spawn(command.arg(folder.path()));
        // It prints nothing when it is ready.
        let deadline = Instant::now() + SOON;
        while std::net::TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "opentracker does not listen on {address}");
            std::thread::yield_now();
        }
        Tracker { address, _process: process, _folder: folder }
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
}

fn open_to_all() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    fs::Permissions::from_mode(0o755)
}
