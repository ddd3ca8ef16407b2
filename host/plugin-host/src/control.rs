//! The actions of plugins on the session, as the engine takes them.

use crate::answers;
use crate::translate::{self, peer_ref, torrent_id};
use bytes::Bytes;
use reef_engine::control::{Choking, Control, Ticket};
use reef_engine::{Action, Command};
use reef_plugin_api as api;
use reef_plugin_api::{Buffer, HostError, SettingValue};
use reef_proto::decoder::{Limits, read_message};
use reef_proto::message::BlockRequest;
use std::net::SocketAddr;
use std::time::Duration;

/// Entries of a list of priorities at most: more than any torrent has pieces.
const MAX_PRIORITIES: usize = 1 << 24;

fn command(plugin: &str, command: Command) -> Action {
    Action::Control(Control::Command { plugin: plugin.to_owned(), command: Box::new(command) })
}

pub(crate) fn add_torrent(plugin: &str, torrent: &api::NewTorrent) -> Result<Action, HostError> {
    let read = translate::new_torrent(torrent.clone());
    let params = read.map_err(|error| {
        log::warn!("plugin {plugin}: the torrent it adds is none: {error}");
        HostError::BadArgument
    })?;
    Ok(command(plugin, Command::AddTorrent(Box::new(params))))
}

pub(crate) fn remove_torrent(plugin: &str, torrent: api::TorrentId, files: api::Files) -> Action {
    let delete_files = files == api::Files::Delete;
    command(plugin, Command::RemoveTorrent { torrent: torrent_id(torrent), delete_files })
}

pub(crate) fn pause(plugin: &str, torrent: api::TorrentId) -> Action {
    command(plugin, Command::Pause(torrent_id(torrent)))
}

pub(crate) fn resume(plugin: &str, torrent: api::TorrentId) -> Action {
    command(plugin, Command::Resume(torrent_id(torrent)))
}

pub(crate) fn recheck(plugin: &str, torrent: api::TorrentId) -> Action {
    command(plugin, Command::Recheck(torrent_id(torrent)))
}

pub(crate) fn announce(plugin: &str, torrent: api::TorrentId) -> Action {
    command(plugin, Command::Announce(torrent_id(torrent)))
}

/// What priorities are of.
#[derive(Clone, Copy)]
pub(crate) enum Of {
    Files,
    Pieces,
}

pub(crate) fn set_priorities(
    plugin: &str,
    torrent: api::TorrentId,
    of: Of,
    list: &[(u32, u8)],
) -> Result<Action, HostError> {
    if list.len() > MAX_PRIORITIES {
        return Err(HostError::BadArgument);
    }
    let (torrent, priorities) = (torrent_id(torrent), list.to_vec());
    Ok(command(
        plugin,
        match of {
            Of::Files => Command::SetFilePriorities { torrent, priorities },
            Of::Pieces => Command::SetPiecePriorities { torrent, priorities },
        },
    ))
}

pub(crate) fn set_settings(plugin: &str, wanted: &[(String, SettingValue)]) -> Result<Action, HostError> {
    Ok(command(plugin, Command::SetSettings(answers::settings(wanted)?)))
}

/// `pieces`: how many the torrent has, where that is known.
pub(crate) fn send_message(
    owner: u64,
    (torrent, peer): (api::TorrentId, api::PeerKey),
    (id, payload): (u8, &[u8]),
    pieces: Option<u32>,
) -> Result<Action, HostError> {
    let message = read_message(id, payload, Limits { pieces }).map_err(|_| HostError::BadArgument)?;
    Ok(Action::Control(Control::Send { peer: peer_ref(torrent, peer), message, owner }))
}

pub(crate) fn set_choking(owner: u64, torrent: api::TorrentId, peer: api::PeerKey, choking: api::Choking) -> Action {
    let choking = match choking {
        api::Choking::Usual => Choking::Usual,
        api::Choking::Choked => Choking::Choked,
        api::Choking::Unchoked => Choking::Unchoked,
    };
    Action::Control(Control::SetChoking { peer: peer_ref(torrent, peer), choking, owner })
}

pub(crate) fn connect(torrent: api::TorrentId, address: SocketAddr) -> Action {
    Action::Control(Control::Connect { torrent: torrent_id(torrent), address })
}

pub(crate) fn read(torrent: api::TorrentId, request: api::PeerRequest, ticket: Ticket) -> Action {
    Action::Control(Control::Read { torrent: torrent_id(torrent), request: block(request), ticket })
}

pub(crate) fn give_block(
    torrent: api::TorrentId,
    from: Option<api::PeerKey>,
    request: api::PeerRequest,
    data: &Buffer,
) -> Result<Action, HostError> {
    if data.len() as u64 != u64::from(request.length) || data.len() > reef_proto::layout::BLOCK_SIZE as usize {
        return Err(HostError::BadArgument);
    }
    let from = from.map(|peer| peer_ref(torrent, peer));
    let data = Bytes::from_owner(data.clone());
    Ok(Action::Control(Control::GiveBlock { torrent: torrent_id(torrent), from, request: block(request), data }))
}

pub(crate) fn set_timer(ticket: Ticket, after: u64) -> Action {
    Action::Control(Control::SetTimer { ticket, after: Duration::from_micros(after) })
}

pub(crate) fn cancel_timer(ticket: Ticket) -> Action {
    Action::Control(Control::CancelTimer(ticket))
}

fn block(request: api::PeerRequest) -> BlockRequest {
    BlockRequest { piece: request.piece, begin: request.start, length: request.length }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: (api::TorrentId, api::PeerKey) = (api::TorrentId(1), api::PeerKey(2));

    #[test]
    fn what_is_no_message_or_no_block_is_refused() {
        let send = |id, payload: &[u8], pieces| send_message(0, AT, (id, payload), pieces).map(|_| ());
        assert_eq!(send(4, &[0; 4], None), Ok(()));
        assert_eq!(send(4, &[0; 3], None), Err(HostError::BadArgument));
        assert_eq!(send(5, &[0; 3], Some(9)), Err(HostError::BadArgument));
        assert_eq!(send(5, &[0; 3], Some(17)), Ok(()));
        let give = |length, bytes: usize| {
            let request = api::PeerRequest { piece: 0, start: 0, length };
            give_block(AT.0, None, request, &Buffer::from(vec![0; bytes])).map(|_| ())
        };
        assert_eq!((give(9, 9), give(9, 8)), (Ok(()), Err(HostError::BadArgument)));
        assert_eq!(give(1 << 20, 1 << 20), Err(HostError::BadArgument));
    }

    #[test]
    fn a_torrent_that_is_none_is_refused() {
        let add = |torrent: &api::NewTorrent| add_torrent("x", torrent).map(|_| ());
        assert_eq!(add(&api::NewTorrent::from_info_hash([1; 20], "")), Ok(()));
        assert_eq!(add(&api::NewTorrent::from_metainfo(*b"nonsense", "")), Err(HostError::BadArgument));
    }
}
