//! The program `reef` as a user has it: built by a bare `cargo build`, with the standard plugins beside it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;

use crate::artifacts::Artifacts;
use crate::content::{Content, temporary};
use crate::loopback::fresh_address;
use crate::process::{Ended, Process, SOON};

static BUILT: LazyLock<Artifacts> = LazyLock::new(|| Artifacts::build(&[]));

/// The program, with the standard plugins in the same folder.
///
/// # Panics
/// If it does not build.
pub fn reef() -> PathBuf {
    BUILT.program("reef").expect("the workspace has the program")
}

/// The library of a standard plugin, as it was built with the program.
///
/// # Panics
/// If it does not build.
pub fn standard_plugin(name: &str) -> PathBuf {
    BUILT.library(name).expect("the workspace has the plugin")
}

/// A user: a home folder, where settings and what is known of downloads are kept.
pub struct User {
    home: TempDir,
    program: PathBuf,
}

impl Default for User {
    fn default() -> Self {
        Self::with_program(reef())
    }
}

impl User {
    /// A user who has the program as it was built.
    pub fn new() -> Self {
        Self::default()
    }

    /// A user who has this copy of the program.
    pub fn with_program(program: PathBuf) -> Self {
        Self { home: temporary(), program }
    }

    /// A command of the program, not started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(self.home.path()).env("HOME", self.home.path());
        for name in
            ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "REEF_PLUGIN_DIR", "RUST_LOG"]
        {
            command.env_remove(name);
        }
        command
    }

    /// Starts a command of the program.
    pub fn start(&self, arguments: &[&str]) -> Process {
        Process::spawn(&mut self.command(arguments))
    }

    /// Runs a command of the program to its end.
    ///
    /// # Panics
    /// If it does not end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).wait(SOON)
    }

    /// Downloads into `folder`, and waits until all is there.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn get(&self, source: &str, folder: &Path, more: &[&str]) -> Ended {
        let arguments = [&["get", source, "-o", text(folder), "--json"], more].concat();
        self.start(&arguments).wait_for_status(SOON, 0)
    }

    /// Makes a torrent file of the content, in pieces of 32 KiB, with more options.
    ///
    /// # Panics
    /// If it cannot be made.
    #[track_caller]
    pub fn create(&self, content: &Content, more: &[&str]) -> Torrent {
        let folder = temporary();
        let file = folder.path().join("t.torrent");
        let path = content.path();
        let arguments = [&["create", text(&path), "-o", text(&file), "--piece-length", "32KiB"], more].concat();
        self.start(&arguments).wait_for_status(SOON, 0);
        Torrent { hash: self.info_hash(&file), file, _folder: folder }
    }

    /// Takes a torrent file that somebody else made.
    ///
    /// # Panics
    /// If the program cannot read it.
    #[track_caller]
    pub fn torrent(&self, file: &Path) -> Torrent {
        Torrent { hash: self.info_hash(file), file: file.to_path_buf(), _folder: temporary() }
    }

    #[track_caller]
    fn info_hash(&self, file: &Path) -> String {
        let shown = self.start(&["show", "--json", text(file)]).wait_for_status(SOON, 0).text();
        let shown: serde_json::Value = serde_json::from_str(&shown).expect("show prints one JSON object");
        shown["info_hash_v1"].as_str().expect("it has a v1 part").to_owned()
    }

    /// Serves a torrent at a fresh address, and waits until it does.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn seed(&self, torrent: &Torrent, folder: &Path, more: &[&str]) -> Seed {
        self.seed_at(fresh_address(), torrent, folder, more)
    }

    /// Serves a torrent at this address, and waits until it does.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn seed_at(&self, address: SocketAddr, torrent: &Torrent, folder: &Path, more: &[&str]) -> Seed {
        let listen = address.to_string();
        let arguments = [&["seed", torrent.path(), text(folder), "--listen", &listen], more].concat();
        let mut process = self.start(&arguments);
        process.wait_for(SOON, |line| line.starts_with("serving ").then_some(()));
        Seed { address, process }
    }
}

/// A torrent file.
pub struct Torrent {
    file: PathBuf,
    hash: String,
    _folder: TempDir,
}

impl Torrent {
    /// The file's path.
    pub fn path(&self) -> &str {
        text(&self.file)
    }

    /// The v1 info-hash, in hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// A magnet link that says nothing but the info-hash.
    pub fn magnet(&self) -> String {
        format!("magnet:?xt=urn:btih:{}", self.hash)
    }
}

/// A running `reef seed`.
pub struct Seed {
    /// Where it listens.
    pub address: SocketAddr,
    /// The process.
    pub process: Process,
}

/// A path as an argument.
///
/// # Panics
/// If it is not UTF-8, which no path of these tests is.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("the tests' paths are UTF-8")
}
