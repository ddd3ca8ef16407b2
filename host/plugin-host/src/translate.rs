//! Values between the plugin interface and the engine: each side has types of its own, and this is where they meet.

use bytes::Bytes;
use reef_engine::add_torrent::{AddTorrent, TorrentFlags};
use reef_engine::alert::CustomAlert;
use reef_engine::hooks::{PeerRef, Sender};
use reef_engine::status::{PeerSource, TorrentState};
use reef_engine::view::{PeerView, TorrentView};
use reef_engine::{Action, Alert, ConnId, TorrentId};
use reef_plugin_api as api;
use reef_plugin_api::HostError;
use reef_proto::hash::{InfoHashes, Sha1Hash};
use reef_proto::message::BlockRequest;
use reef_proto::metainfo::{Metainfo, MetainfoError};
use reef_proto::peer_id::PeerId;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Bytes of an extension message at most: more than any known extension sends.
const MAX_MESSAGE: usize = 1 << 20;

pub(crate) fn torrent_id(torrent: api::TorrentId) -> TorrentId {
    TorrentId(torrent.0)
}

pub(crate) fn peer_ref(torrent: api::TorrentId, peer: api::PeerKey) -> PeerRef {
    PeerRef { torrent: torrent_id(torrent), conn: ConnId(peer.0) }
}

pub(crate) fn request(request: BlockRequest) -> api::PeerRequest {
    api::PeerRequest { piece: request.piece, start: request.begin, length: request.length }
}

pub(crate) fn watch_piece(torrent: api::TorrentId, piece: u32) -> Action {
    Action::WatchPiece { torrent: torrent_id(torrent), piece }
}

pub(crate) fn give_metadata(torrent: api::TorrentId, info: &[u8]) -> Action {
    Action::GiveMetadata { torrent: torrent_id(torrent), metadata: Bytes::copy_from_slice(info) }
}

pub(crate) fn add_peer(
    torrent: api::TorrentId,
    address: SocketAddr,
    source: u32,
    flags: u8,
) -> Result<Action, HostError> {
    let source = PeerSource(u8::try_from(source).map_err(|_| HostError::BadArgument)?);
    Ok(Action::AddPeer { torrent: torrent_id(torrent), address, source, flags })
}

pub(crate) fn ban(torrent: api::TorrentId, sender: &api::Sender, reason: &str) -> Action {
    let peer = Sender { address: sender.addr, peer_id: PeerId(sender.peer_id) };
    Action::Ban { torrent: torrent_id(torrent), peer, reason: reason.to_owned() }
}

pub(crate) fn send_extended(
    torrent: api::TorrentId,
    peer: api::PeerKey,
    name: &str,
    payload: &[u8],
) -> Result<Action, HostError> {
    if payload.len() > MAX_MESSAGE {
        return Err(HostError::BadArgument);
    }
    let payload = Bytes::copy_from_slice(payload);
    Ok(Action::SendExtended { peer: peer_ref(torrent, peer), name: name.to_owned(), payload })
}

pub(crate) fn disconnect(torrent: api::TorrentId, peer: api::PeerKey, reason: &str) -> Action {
    Action::Disconnect { peer: peer_ref(torrent, peer), reason: reason.to_owned() }
}

/// An alert that the plugin of this name posts.
pub(crate) fn custom_alert(plugin: &str, alert: &api::Alert<'_>) -> Result<CustomAlert, HostError> {
    if alert.kind() < Alert::USER_ALERT_ID || alert.data().len() > MAX_MESSAGE {
        return Err(HostError::BadArgument);
    }
    Ok(CustomAlert {
        plugin: plugin.to_owned(),
        kind: alert.kind(),
        category: alert.category(),
        torrent: alert.torrent().map(torrent_id),
        what: alert.what().to_owned(),
        message: alert.message().to_owned(),
        data: alert.data().to_vec(),
    })
}

/// A torrent that a plugin gives. It is started at once, unless it is to be paused.
pub(crate) fn new_torrent(given: api::NewTorrent) -> Result<AddTorrent, MetainfoError> {
    let idle = TorrentFlags::PAUSED.with(TorrentFlags::AUTO_MANAGED);
    let paused = if given.paused { TorrentFlags::PAUSED } else { TorrentFlags(0) };
    let metainfo = match given.metainfo.as_slice() {
        [] => None,
        bytes => Some(Arc::new(Metainfo::parse(bytes)?)),
    };
    Ok(AddTorrent {
        metainfo,
        info_hashes: InfoHashes { v1: given.info_hash.map(Sha1Hash), ..InfoHashes::default() },
        save_path: if given.save_path.is_empty() { ".".into() } else { given.save_path.into() },
        flags: TorrentFlags::DEFAULT.without(idle).with(paused),
        trackers: given.trackers,
        ..AddTorrent::default()
    })
}

/// The torrent that an alert is about.
pub(crate) fn alert_torrent(alert: &Alert) -> Option<api::TorrentId> {
    let torrent = match alert {
        Alert::TorrentAdded { torrent, .. }
        | Alert::TorrentRemoved { torrent, .. }
        | Alert::StateChanged { torrent, .. }
        | Alert::MetadataReceived { torrent, .. }
        | Alert::MetadataFailed { torrent, .. }
        | Alert::TorrentChecked { torrent, .. }
        | Alert::TorrentFinished { torrent, .. }
        | Alert::TorrentError { torrent, .. }
        | Alert::TorrentPaused { torrent }
        | Alert::TorrentResumed { torrent }
        | Alert::PieceFinished { torrent, .. }
        | Alert::HashFailed { torrent, .. }
        | Alert::FileCompleted { torrent, .. }
        | Alert::PeerConnected { torrent, .. }
        | Alert::PeerBanned { torrent, .. }
        | Alert::TrackerReply { torrent, .. }
        | Alert::TrackerWarning { torrent, .. }
        | Alert::TrackerError { torrent, .. } => Some(*torrent),
        Alert::PeerDisconnected { torrent, .. } => *torrent,
        Alert::Custom(custom) => custom.torrent,
        _ => None,
    };
    torrent.map(|torrent| api::TorrentId(torrent.0))
}

/// A torrent for a plugin.
pub(crate) fn torrent_info(view: &TorrentView) -> api::TorrentInfo {
    let flag = |set: bool, flag: api::TorrentFlags| if set { flag } else { api::TorrentFlags(0) };
    let mut info = api::TorrentInfo::default();
    info.private = view.private;
    info.has_metadata = view.has_metadata;
    info.num_pieces = view.num_pieces;
    info.piece_length = view.piece_length;
    info.total_size = view.total_size;
    info.num_peers = view.num_peers;
    info.flags = flag(view.paused, api::TorrentFlags::PAUSED)
        | flag(view.state == TorrentState::Seeding, api::TorrentFlags::SEED);
    info.state = torrent_state(view.state);
    info.info_hash_v1 = view.info_hashes.v1.map(|hash| hash.0);
    info.info_hash_v2 = view.info_hashes.v2.map(|hash| hash.0);
    info
}

/// What a torrent is doing; both sides use the manual's numbers.
pub(crate) fn torrent_state(state: TorrentState) -> api::TorrentState {
    api::TorrentState(state as u32)
}

/// A peer for a plugin.
pub(crate) fn peer_info(view: &PeerView) -> api::PeerInfo {
    let mut info = api::PeerInfo::new(view.address);
    info.listen = view.listen_port.map(|port| SocketAddr::new(view.address.ip(), port));
    info.peer_id = view.handshaken.then_some(view.peer_id.0);
    info.outgoing = view.outgoing;
    info.connected = true;
    info.handshaken = view.handshaken;
    info.encrypted = view.encrypted;
    info.utp = view.utp;
    info.seed = view.seed;
    info.upload_only = view.upload_only;
    info.extended = view.extended;
    info.local = is_local(view.address.ip());
    info.source = u32::from(view.source.0);
    info.send_queue = view.queued_bytes;
    info
}

/// Whether an address belongs to this machine or its network.
fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_local(IpAddr::V4(v4)),
            None => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_own_network_are_local() {
        let check = |ip: &str, local| assert_eq!(is_local(ip.parse().expect("an address")), local, "{ip}");
        check("127.0.0.1", true);
        check("10.1.2.3", true);
        check("192.168.0.9", true);
        check("169.254.0.1", true);
        check("172.32.0.1", false);
        check("8.8.8.8", false);
        check("::1", true);
        check("fe80::1", true);
        check("fd00::1", true);
        check("::ffff:10.0.0.1", true);
        check("2001:db8::1", false);
    }

    #[test]
    fn built_in_alert_numbers_are_not_for_plugins() {
        let post = |kind| custom_alert("x", &api::Alert::new(kind, 1, "what", "text")).map(|alert| alert.plugin);
        assert_eq!(post(Alert::USER_ALERT_ID - 1), Err(HostError::BadArgument));
        assert_eq!(post(Alert::USER_ALERT_ID), Ok("x".to_owned()));
    }

    #[test]
    fn what_no_message_can_hold_is_refused() {
        let (torrent, peer) = (api::TorrentId(1), api::PeerKey(2));
        let send = |len| send_extended(torrent, peer, "x", &vec![0; len]).map(|_| ());
        assert_eq!((send(MAX_MESSAGE), send(MAX_MESSAGE + 1)), (Ok(()), Err(HostError::BadArgument)));
        let address = SocketAddr::from(([1, 2, 3, 4], 5));
        assert_eq!(add_peer(torrent, address, 0x100, 0).map(|_| ()), Err(HostError::BadArgument));
    }

    #[test]
    fn states_keep_the_manuals_numbers() {
        assert_eq!(torrent_state(TorrentState::CheckingFiles), api::TorrentState::CHECKING_FILES);
        assert_eq!(torrent_state(TorrentState::Seeding), api::TorrentState::SEEDING);
    }
}
