//! What is in a plugin: which hooks its objects implement and which messages it claims, seen by making one of each
//! level against a host that answers nothing and carries nothing out.
//!
//! It must never be part of a session: what the objects ask for is dropped.

use crate::error::{LoadError, Problem};
use crate::image::{FileInfo, PluginFile};
use reef_plugin_api::testing::FakeHost;
use reef_plugin_api::{HandshakeEntries, Outcome, PeerInfo, PeerKey, TorrentId, TorrentInfo, bits};
use std::path::{Path, PathBuf};

/// What is in a plugin file.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Probe {
    /// What the file says of itself.
    pub file: FileInfo,
    /// The session hooks that it implements.
    pub session_hooks: Vec<&'static str>,
    /// The torrent hooks of the object that it made for a public torrent; `None` if it made none.
    pub torrent_hooks: Option<Vec<&'static str>>,
    /// The peer hooks of the object that it made for a connection; `None` if it made none.
    pub peer_hooks: Option<Vec<&'static str>>,
    /// The extension messages that it claims from a peer.
    pub extensions: Vec<String>,
    /// The keys that it adds to the extension handshake.
    pub handshake_keys: Vec<String>,
    /// What it says of a setting that it cannot know; `None` if it says nothing.
    pub unknown_setting: Option<String>,
    /// What went wrong on the way.
    pub problems: Vec<String>,
}

/// Loads a plugin file and makes one object of each level. `settings` is the plugin's table as TOML text.
///
/// # Errors
/// Everything but `Duplicate` of [`Problem`].
pub fn probe(path: &Path, settings: &str) -> Result<Probe, LoadError> {
    let failed = |problem| LoadError::new(path, problem);
    let file = PluginFile::read(path).map_err(failed)?;
    let image = file.image(None).map_err(failed)?;
    let about = file.info(path);
    let host = FakeHost::new();
    let folder = Scratch::new(&about.name);
    if let Some(path) = folder.0.as_deref().and_then(Path::to_str) {
        host.set_data_dir(path);
    }
    let start = |settings: &str| image.root.init(host.handle(), settings, log::LevelFilter::Off);
    let mut session = start(settings).map_err(|reason| failed(Problem::Init { name: about.name.clone(), reason }))?;
    let unknown = format!("{UNKNOWN_SETTING} = 1\n{settings}");
    let mut found = Probe {
        session_hooks: names(bits::SessionPlugin::ALL, session.hooks()),
        torrent_hooks: None,
        peer_hooks: None,
        extensions: Vec::new(),
        handshake_keys: Vec::new(),
        unknown_setting: start(&unknown).err(),
        problems: Vec::new(),
        file: about,
    };
    host.set_torrent(TORRENT, TorrentInfo::default());
    host.set_peer(TORRENT, PEER, PeerInfo::new(([192, 0, 2, 1], 6881).into()));
    match session.new_torrent(&host.session_call(), TORRENT) {
        Ok(Some(mut torrent)) => {
            found.torrent_hooks = Some(names(bits::TorrentPlugin::ALL, torrent.hooks()));
            match torrent.new_connection(&host.torrent_call(TORRENT), PEER) {
                Ok(Some(peer)) => found.read_peer(&host, peer),
                Ok(None) => (),
                Err(outcome) => found.problem("new_connection", &outcome),
            }
        }
        Ok(None) => (),
        Err(outcome) => found.problem("new_torrent", &outcome),
    }
    let _ = session.abort(&host.session_call());
    host.revoke();
    Ok(found)
}

/// A folder for what it writes, which goes with what is in it.
struct Scratch(Option<PathBuf>);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("reef-plugin-check-{}-{name}", std::process::id()));
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        // Where something is in the way, the plugin is told that it has no folder.
        Self(builder.create(&path).ok().map(|()| path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // What is left lies among other temporary files.
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

impl Probe {
    fn read_peer(&mut self, host: &FakeHost, mut peer: reef_plugin_api::PeerObj) {
        self.peer_hooks = Some(names(bits::PeerPlugin::ALL, peer.hooks()));
        let mut entries = HandshakeEntries::new();
        let outcome = peer.add_handshake(&host.peer_call(TORRENT, PEER), &mut entries);
        self.problem("add_handshake", &outcome);
        self.extensions = entries.extensions().map(str::to_owned).collect();
        self.handshake_keys = entries.values().map(|(key, _)| key.to_owned()).collect();
    }

    fn problem(&mut self, hook: &str, outcome: &Outcome) {
        match outcome {
            Outcome::Error(text) => self.problems.push(format!("{hook} answers an error: {text}")),
            Outcome::Panicked(text) => self.problems.push(format!("panic in {hook}: {text}")),
            _ => (),
        }
    }
}

fn names(all: &[(&'static str, u64)], hooks: u64) -> Vec<&'static str> {
    all.iter().filter(|(_, bit)| hooks & bit != 0).map(|(name, _)| *name).collect()
}

const TORRENT: TorrentId = TorrentId(1);
const PEER: PeerKey = PeerKey(1);
/// No plugin has a setting of this name, so one that checks its settings says what it does have.
const UNKNOWN_SETTING: &str = "reef_plugin_check";
