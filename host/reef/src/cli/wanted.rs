//! From what was typed to what a session is given: a source and its options become a torrent to add.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reef_engine::add_torrent::{AddTorrent, TorrentFlags};
use reef_proto::magnet::{FileSelection, Magnet};
use reef_proto::metainfo::{Info, Metainfo};

use super::args::{GetArgs, NetworkArgs};
use super::failure::{Failure, describe};
use super::room;
use super::source::Source;

/// The priority of a file that is wanted (manual: default_priority).
const WANTED: u8 = 4;

/// Flags of every torrent: it starts at once, and what is asked for now wins over what was saved.
pub(crate) const FLAGS: TorrentFlags =
    TorrentFlags::APPLY_IP_FILTER.with(TorrentFlags::UPDATE_SUBSCRIBE).with(TorrentFlags::OVERRIDE_RESUME_DATA);

/// The torrents that `reef get` is to add, each checked for what can be known before.
pub(crate) fn to_download(args: &GetArgs) -> Result<Vec<AddTorrent>, Failure> {
    let sources = args.sources.iter().map(|text| Source::read(text)).collect::<Result<Vec<_>, _>>()?;
    let peers = resolve_peers(&args.network.peer)?;
    room::prepare(&args.output)?;
    let mut torrents: Vec<AddTorrent> = Vec::with_capacity(sources.len());
    for (source, text) in sources.into_iter().zip(&args.sources) {
        let mut torrent = base(&source, &args.output, &peers, &args.network.tracker);
        if args.sequential {
            torrent.flags = torrent.flags.with(TorrentFlags::SEQUENTIAL_DOWNLOAD);
        }
        match &source {
            Source::Torrent(metainfo) => want_files(&mut torrent, metainfo, args.select.as_ref())?,
            Source::Magnet(magnet) => want_ranges(&mut torrent, magnet, args.select.as_ref())?,
        }
        if torrents.iter().any(|other| other.info_hashes.is_same_torrent(&torrent.info_hashes)) {
            return Err(Failure::usage(format!("{text}: the same torrent was named before; name it once")));
        }
        torrents.push(torrent);
    }
    Ok(torrents)
}

/// The torrent that `reef seed` is to add.
pub(crate) fn to_seed(metainfo: Metainfo, dir: &Path, network: &NetworkArgs) -> Result<AddTorrent, Failure> {
    let peers = resolve_peers(&network.peer)?;
    refuse_v2_only(&metainfo.info.name, metainfo.info.has_v1())?;
    let mut torrent = base(&Source::Torrent(Arc::new(metainfo)), dir, &peers, &network.tracker);
    torrent.flags = torrent.flags.with(TorrentFlags::UPLOAD_MODE);
    Ok(torrent)
}

/// A torrent that `reef run` is to add.
pub(crate) fn to_run(
    source: &Source,
    folder: &Path,
    select: Option<&FileSelection>,
    (peers, trackers): (&[SocketAddr], &[String]),
) -> Result<AddTorrent, Failure> {
    let mut torrent = base(source, folder, peers, trackers);
    match source {
        Source::Torrent(metainfo) if select.is_some() => want_files(&mut torrent, metainfo, select)?,
        // Whether there is room is found out when it is written: most are there already.
        Source::Torrent(metainfo) => refuse_v2_only(&metainfo.info.name, metainfo.info.has_v1())?,
        Source::Magnet(magnet) => want_ranges(&mut torrent, magnet, select)?,
    }
    Ok(torrent)
}

fn base(source: &Source, dir: &Path, peers: &[SocketAddr], trackers: &[String]) -> AddTorrent {
    let mut torrent = AddTorrent {
        info_hashes: source.info_hashes(),
        name: source.name(),
        save_path: dir.to_path_buf(),
        peers: peers.to_vec(),
        trackers: trackers.iter().map(|url| vec![url.clone()]).collect(),
        flags: FLAGS,
        ..AddTorrent::default()
    };
    match source {
        Source::Torrent(metainfo) => torrent.metainfo = Some(Arc::clone(metainfo)),
        Source::Magnet(magnet) => {
            torrent.trackers.extend(magnet.trackers.iter().map(|url| vec![url.clone()]));
            torrent.url_seeds.clone_from(&magnet.web_seeds);
        }
    }
    torrent
}

/// Chooses files of a torrent whose files are known, and checks that there is room for them.
fn want_files(torrent: &mut AddTorrent, metainfo: &Metainfo, select: Option<&FileSelection>) -> Result<(), Failure> {
    let info = &metainfo.info;
    refuse_v2_only(&info.name, info.has_v1())?;
    let files = u32::try_from(info.layout.files().len()).unwrap_or(u32::MAX);
    if let Some(select) = select {
        check_selection(&info.name, select, files)?;
    }
    let wanted = |file| select.is_none_or(|select| select.contains(file));
    // Said for every file, so that what an earlier run selected does not count.
    torrent.file_priorities = (0..files).map(|file| if wanted(file) { WANTED } else { 0 }).collect();
    room::check(&info.name, paths(info, wanted), &torrent.save_path)
}

/// A priority for each of so many files: those in the ranges are wanted, or all if there are none.
pub(crate) fn priorities_of_ranges(ranges: &[(u32, u32)], files: usize) -> Vec<u8> {
    let is_in = |file: u32| ranges.is_empty() || ranges.iter().any(|(first, last)| (*first..=*last).contains(&file));
    (0..).take(files).map(|file| if is_in(file) { WANTED } else { 0 }).collect()
}

/// Paths and lengths of the wanted files.
fn paths(info: &Info, wanted: impl Fn(u32) -> bool) -> impl Iterator<Item = (PathBuf, u64)> {
    let files = (0..).zip(info.layout.files()).filter(move |(index, file)| !file.pad && wanted(*index));
    files.map(|(_, file)| (file.path.iter().collect(), file.length))
}

/// Chooses files of a torrent whose files are not known yet.
fn want_ranges(torrent: &mut AddTorrent, magnet: &Magnet, select: Option<&FileSelection>) -> Result<(), Failure> {
    refuse_v2_only(&torrent.name, magnet.info_hashes.v1.is_some())?;
    torrent.select_only = select.or(magnet.select.as_ref()).map(ranges).unwrap_or_default();
    for (host, port) in &magnet.peers {
        match resolve(host, *port) {
            Ok(addresses) => torrent.peers.extend(addresses),
            Err(why) => log::warn!("{host}: {why}"),
        }
    }
    if torrent.peers.is_empty() && torrent.trackers.is_empty() {
        return Err(Failure::new(format!(
            "{}: the magnet link offers no way to find peers, as it names no tracker; add --peer HOST:PORT or \
             --tracker URL",
            torrent.name
        )));
    }
    Ok(())
}

/// The selection as inclusive ranges.
fn ranges(select: &FileSelection) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for index in select.indices() {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(index) => *last = index,
            _ => ranges.push((index, index)),
        }
    }
    ranges
}

/// Checks that every chosen file exists.
pub(crate) fn check_selection(name: &str, select: &FileSelection, files: u32) -> Result<(), Failure> {
    match select.indices().find(|&index| index >= files) {
        Some(index) => Err(Failure::usage(format!(
            "{name}: there is no file {index}; its files are numbered 0 to {} (see `reef show`)",
            files.saturating_sub(1)
        ))),
        None => Ok(()),
    }
}

fn refuse_v2_only(name: &str, has_v1: bool) -> Result<(), Failure> {
    if has_v1 {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{name}: this is a v2-only torrent, which reef can show but not transfer yet; look for a v1 or hybrid version of it"
    )))
}

/// The addresses of peers that were named.
pub(crate) fn resolve_peers(peers: &[String]) -> Result<Vec<SocketAddr>, Failure> {
    let mut addresses = Vec::with_capacity(peers.len());
    for peer in peers {
        // Its form was checked when the command line was read.
        let (host, port) = peer.rsplit_once(':').unwrap_or((peer, ""));
        let port = port.parse().map_err(|_| Failure::usage(format!("{peer}: a peer needs a port")))?;
        let found = resolve(host.trim_start_matches('[').trim_end_matches(']'), port);
        addresses.extend(found.map_err(|why| Failure::new(format!("{peer}: {why}")))?);
    }
    Ok(addresses)
}

fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    match (host, port).to_socket_addrs() {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) if error.raw_os_error().is_none() => {
            Err("no such host; check its name and your connection".to_owned())
        }
        Err(error) => Err(describe(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_cannot_be_chosen() {
        check_selection("film", &"0,2-4".parse().unwrap(), 5).unwrap();
        let failure = check_selection("film", &"0,2-5".parse().unwrap(), 5).unwrap_err().to_string();
        assert_eq!(failure, "film: there is no file 5; its files are numbered 0 to 4 (see `reef show`)");
        assert_eq!(ranges(&"0,2-4".parse().unwrap()), [(0, 0), (2, 4)]);
    }

    #[test]
    fn peers_are_resolved_with_their_ports() {
        let peers = ["127.0.0.1:5", "[::1]:6"].map(str::to_owned);
        let expected: Vec<SocketAddr> = ["127.0.0.1:5", "[::1]:6"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(resolve_peers(&peers), Ok(expected));
    }
}
