//! The torrents of earlier runs. One that was complete needs its resume record alone: the session reads the rest from
//! the store when somebody wants the torrent. Of the others the metadata and the pieces are read too.

use std::path::PathBuf;
use std::sync::Arc;

use reef::rt::block_on;
use reef::session::{PendingReply, Session};
use reef::store::StoredTorrent;
use reef_engine::add_torrent::TorrentFlags;
use reef_engine::resume::{Have, Resume};
use reef_engine::{AddTorrent, Command, Reply};
use reef_proto::metainfo::Metainfo;

use super::super::args::NetworkArgs;
use super::super::failure::Failure;
use super::super::wanted;

/// Torrents that the session is given at once.
const AT_ONCE: usize = 256;

/// Adds every torrent of the store; returns how many there are now.
pub(super) fn all(session: &Session, network: &NetworkArgs) -> Result<usize, Failure> {
    let peers = wanted::resolve_peers(&network.peer)?;
    let (mut added, mut commands, mut replies) = (0, Vec::new(), Vec::new());
    for stored in session.take_stored_torrents() {
        let mut torrent = torrent(session, stored);
        torrent.peers.extend(&peers);
        commands.push(Command::AddTorrent(Box::new(torrent)));
        if commands.len() == AT_ONCE {
            // The session works on these while the next are read.
            let next = session.submit_all(std::mem::take(&mut commands));
            added += count(std::mem::replace(&mut replies, next));
        }
    }
    let last = session.submit_all(commands);
    Ok(added + count(replies) + count(last))
}

/// How many of these torrents were added. The last is waited for first: then the others need no wait of their own.
fn count(mut replies: Vec<PendingReply>) -> usize {
    let last = replies.pop().and_then(is_added);
    replies.into_iter().filter_map(is_added).count() + usize::from(last.is_some())
}

fn is_added(reply: PendingReply) -> Option<()> {
    match reply.wait_blocking() {
        Reply::Failed(error) => {
            log::warn!("a torrent of the store is not added: {error}");
            None
        }
        _ => Some(()),
    }
}

fn torrent(session: &Session, stored: StoredTorrent) -> AddTorrent {
    let resume = stored.resume.as_ref().map(|bytes| Resume::parse(bytes)).and_then(|read| {
        let say = |error: &_| log::warn!("{}: the saved state is of no use: {error}", stored.hashes);
        read.inspect_err(say).ok()
    });
    let resume = resume.unwrap_or_default();
    let mut flags = wanted::FLAGS;
    for (flag, is_set) in [
        (TorrentFlags::PAUSED, resume.paused),
        (TorrentFlags::SEED_MODE, resume.seed_mode),
        (TorrentFlags::SEQUENTIAL_DOWNLOAD, resume.sequential_download),
        (TorrentFlags::UPLOAD_MODE, resume.upload_mode),
    ] {
        if is_set {
            flags = flags.with(flag);
        }
    }
    let mut torrent = AddTorrent {
        info_hashes: stored.hashes,
        stored_id: Some(stored.id),
        name: resume.name.clone(),
        save_path: PathBuf::from(&resume.save_path),
        flags,
        ..AddTorrent::default()
    };
    if resume.summary.is_none() {
        let content = block_on(session.stored_content(stored.id));
        torrent.metainfo = content.metainfo.and_then(|bytes| Metainfo::parse(&bytes).ok()).map(Arc::new);
        torrent.resume_have = content.have.and_then(|bytes| Have::parse(&bytes).ok());
    }
    torrent.resume = Some(Box::new(resume));
    torrent
}
