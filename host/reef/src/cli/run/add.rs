//! What `add` says: a source and how it is to be transferred, as a torrent to add.

use std::net::SocketAddr;
use std::path::PathBuf;

use reef_engine::AddTorrent;
use reef_engine::add_torrent::TorrentFlags;
use reef_engine::resume::import;
use reef_proto::magnet::FileSelection;
use serde::Deserialize;

use super::super::args::NetworkArgs;
use super::super::failure::Failure;
use super::super::source::{Source, read_bounded};
use super::super::{forms, wanted};

/// The fields of `add`.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Add {
    /// A .torrent file, a magnet link, an info-hash, or the URL of a .torrent file.
    source: String,
    /// The folder its files lie in, or come into.
    #[serde(default)]
    save_path: Option<PathBuf>,
    /// It does not start.
    #[serde(default)]
    paused: bool,
    /// All its files are there and right: nothing is hashed.
    #[serde(default)]
    seed_mode: bool,
    /// Pieces in order.
    #[serde(default)]
    sequential: bool,
    /// Files to download, by number: `0,2-5`.
    #[serde(default)]
    select: Option<String>,
    /// Peers to connect to.
    #[serde(default)]
    peers: Vec<SocketAddr>,
    /// Trackers beside its own, each a tier.
    #[serde(default)]
    trackers: Vec<String>,
    /// A file of resume data (fast resume), ours or another client's.
    #[serde(default)]
    resume: Option<PathBuf>,
}

/// What the command line says for every torrent.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    peers: Vec<SocketAddr>,
    trackers: Vec<String>,
    /// Whether a plugin fetches the metadata of magnet links.
    fetches_metadata: bool,
}

impl Defaults {
    /// Reads the options.
    pub(super) fn of(network: &NetworkArgs, fetches_metadata: bool) -> Result<Self, Failure> {
        let peers = wanted::resolve_peers(&network.peer)?;
        Ok(Self { peers, trackers: network.tracker.clone(), fetches_metadata })
    }
}

impl Add {
    /// The torrent to add.
    pub(super) fn torrent(self, defaults: &Defaults) -> Result<AddTorrent, Failure> {
        let trackers = defaults.trackers.iter().chain(&self.trackers);
        let trackers = trackers.map(|url| forms::parse_tracker(url)).collect::<Result<Vec<_>, _>>();
        let select = self.select.as_deref().map(str::parse::<FileSelection>).transpose();
        let select = select.map_err(|error| Failure::new(format!("select: {error}")))?;
        let peers: Vec<SocketAddr> = defaults.peers.iter().chain(&self.peers).copied().collect();
        let source = Source::read(&self.source)?;
        if matches!(source, Source::Magnet(_)) && !defaults.fetches_metadata {
            return Err(Failure::new(format!(
                "{}: a magnet link needs the plugin ut_metadata to fetch its metadata, and it was not loaded",
                source.name()
            )));
        }
        let folder = self.save_path.clone().unwrap_or_else(|| PathBuf::from("."));
        let folder = std::path::absolute(&folder).map_err(|error| Failure::io(&folder, &error))?;
        let trackers = trackers.map_err(Failure::new)?;
        let mut torrent = wanted::to_run(&source, &folder, select.as_ref(), (&peers, &trackers))?;
        for (flag, is_set) in [
            (TorrentFlags::PAUSED, self.paused),
            (TorrentFlags::SEED_MODE, self.seed_mode),
            (TorrentFlags::SEQUENTIAL_DOWNLOAD, self.sequential),
        ] {
            if is_set {
                torrent.flags = torrent.flags.with(flag);
            }
        }
        if let Some(path) = &self.resume {
            recall(&mut torrent, path)?;
        }
        Ok(torrent)
    }
}

/// Takes over what another run, or another client, knew.
fn recall(torrent: &mut AddTorrent, path: &std::path::Path) -> Result<(), Failure> {
    let bytes = read_bounded(path).map_err(|error| Failure::io(path, &error))?;
    let refused = |why: String| Failure::new(format!("{}: {why}", path.display()));
    let imported = import(&bytes).map_err(|error| refused(error.to_string()))?;
    if !imported.info_hashes.is_same_torrent(&torrent.info_hashes) {
        return Err(refused("this is the resume data of another torrent".to_owned()));
    }
    let pieces = torrent.metainfo.as_ref().map(|metainfo| metainfo.info.layout.num_pieces());
    torrent.resume_have = imported.have.and_then(|have| have.fit(pieces?));
    torrent.resume = Some(Box::new(imported.resume));
    Ok(())
}
