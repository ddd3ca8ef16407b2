//! The torrent's peers as others are told of them, looked up once for all connections that tell at the same time.

use crate::message::Contact;
use crate::peer::PexPeer;
use reef_plugin_api::{
    Flow, HookResult, Peer, PeerInfo, PeerKey, PeerObj, PluginError, Torrent, TorrentCx, TorrentFlags, TorrentPlugin,
    hooks, pex_flags,
};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The plugin's part in one torrent.
#[derive(Default)]
pub(crate) struct PexTorrent {
    roster: Shared,
}

#[hooks]
impl TorrentPlugin for PexTorrent {
    fn new_connection(&mut self, _cx: &mut TorrentCx<'_>, _peer: PeerKey) -> Result<Option<PeerObj>, PluginError> {
        Ok(Some(PeerObj::new(PexPeer::new(self.roster.clone()))))
    }

    /// A magnet may turn out to be private: from then on its peers come from its tracker alone, and are told to nobody.
    fn on_metadata(&mut self, cx: &mut TorrentCx<'_>) -> HookResult {
        Ok(if cx.info()?.private { Flow::Detach } else { Flow::Pass })
    }
}

/// Whether peers may be exchanged for this torrent.
pub(crate) fn is_enabled(torrent: Torrent<'_>) -> Result<bool, PluginError> {
    let info = torrent.info()?;
    Ok(!info.private && !info.flags.contains(TorrentFlags::DISABLE_PEX))
}

/// The roster, as the connections share it. All hooks run on one thread, so the lock is always free.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Roster>>);

impl Shared {
    /// The roster of this moment.
    pub(crate) fn at(&self, torrent: Torrent<'_>, now: u64) -> MutexGuard<'_, Roster> {
        let mut roster = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if roster.taken != Some(now) {
            roster.members = torrent.peers().into_iter().filter_map(Member::of).collect();
            roster.taken = Some(now);
        }
        roster
    }
}

/// The peers that others can connect to.
#[derive(Default)]
pub(crate) struct Roster {
    members: Vec<Member>,
    taken: Option<u64>,
}

impl Roster {
    /// Whom to tell this peer of: not of itself, and of our own network only if it is in it.
    pub(crate) fn for_peer(&self, key: PeerKey, receiver: &PeerInfo) -> Vec<Contact> {
        let own = [Some(canonical(receiver.addr)), receiver.listen.map(canonical)];
        let others = self.members.iter().filter(|member| {
            let itself = member.key == key
                || own.contains(&Some(member.contact.addr))
                || (member.peer_id.is_some() && member.peer_id == receiver.peer_id);
            !itself && (receiver.local || !member.local)
        });
        others.map(|member| member.contact).collect()
    }
}

struct Member {
    key: PeerKey,
    contact: Contact,
    peer_id: Option<[u8; 20]>,
    local: bool,
}

impl Member {
    /// A peer that has proved to be one, if it is known where it accepts connections.
    fn of(peer: Peer<'_>) -> Option<Self> {
        let info = peer.info().ok().filter(|info| info.connected && info.handshaken)?;
        let addr = info.listen.map(canonical).filter(|addr| addr.port() != 0)?;
        let flags = [
            (info.encrypted, pex_flags::ENCRYPTION),
            (info.seed || info.upload_only, pex_flags::SEED),
            (info.utp, pex_flags::UTP),
            (peer.supports("ut_holepunch"), pex_flags::HOLEPUNCH),
            (info.outgoing, pex_flags::REACHABLE),
        ];
        let flags = flags.iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag);
        Some(Self { key: peer.key(), contact: Contact { addr, flags }, peer_id: info.peer_id, local: info.local })
    }
}

/// One spelling for each address: IPv4 inside IPv6 is IPv4, and there is no scope.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
