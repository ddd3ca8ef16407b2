//! Whom to connect to: addresses that sources name, and a few dials a second within the limits.

use super::Session;
use crate::hooks::{AddedPeer, Hooks, TorrentEvent};
use crate::ids::{ConnId, TorrentId};
use crate::policy::peer_list::PeerFlags;
use crate::status::PeerSource;
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Where the next round of dials begins.
#[derive(Debug, Default)]
pub(super) struct State {
    last: Option<TorrentId>,
    /// Torrents that may have somebody to dial.
    hopeful: BTreeSet<TorrentId>,
    /// Connections that are being dialled.
    pub(super) half_open: i64,
    /// Dials made in this second.
    this_second: (u64, i64),
}

/// Sources that a private torrent (BEP 27) takes no peers from.
pub(super) const FOREIGN: PeerSource = PeerSource::DHT.with(PeerSource::PEX).with(PeerSource::LSD);

/// Why a peer goes with which there is nothing left to exchange.
const DONE: &str = "both sides are done";

impl Session {
    /// A source named a peer.
    pub(super) fn add_peer_address(
        &mut self,
        id: TorrentId,
        address: SocketAddr,
        (source, flags): (PeerSource, u8),
        hooks: &mut dyn Hooks,
    ) {
        let now = self.now;
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        // BEP 27: a private torrent takes peers from its trackers and its user alone.
        let filtered = torrent.is_private() && source.intersects(FOREIGN);
        let added = if filtered { None } else { Some(torrent.peer_list.add(address, source, PeerFlags(flags), now)) };
        self.dialing.hopeful.insert(id);
        let event = AddedPeer {
            address,
            source,
            first_time: added.is_some_and(|a| a.first_time),
            filtered: added.is_none_or(|a| a.filtered),
        };
        self.ask_torrent(id, &TorrentEvent::AddPeer(event), hooks);
        if event.first_time && !event.filtered {
            self.dial_for(id, 1, hooks);
        }
    }

    /// A torrent may have become active, or may have somebody to dial: it has its turn in the next round.
    pub(super) fn may_dial(&mut self, id: TorrentId) {
        self.dialing.hopeful.insert(id);
    }

    /// Dials for a torrent at once, as far as the limits allow.
    pub(super) fn dial_now(&mut self, id: TorrentId, hooks: &mut dyn Hooks) {
        self.may_dial(id);
        self.dial_for(id, u32::MAX, hooks);
    }

    /// Dials candidates, each torrent in its turn. A torrent that has nobody to dial, now or later, is not looked at
    /// again until that changes.
    pub(super) fn dial_candidates(&mut self, hooks: &mut dyn Hooks) {
        let torrents = &self.torrents;
        self.dialing.hopeful.retain(|id| torrents.get(id).is_some_and(|t| t.peer_list.next_candidate_at().is_some()));
        let after = self.dialing.last.map_or(TorrentId(0), |t| TorrentId(t.0 + 1));
        let hopeful = &self.dialing.hopeful;
        let order: Vec<TorrentId> = hopeful.range(after..).chain(hopeful.range(..after)).copied().collect();
        loop {
            let mut dialled = false;
            for &id in &order {
                if self.dials_left() <= 0 {
                    return;
                }
                if self.dial_for(id, 1, hooks) > 0 {
                    self.dialing.last = Some(id);
                    dialled = true;
                }
            }
            if !dialled {
                return;
            }
        }
    }

    /// Dials made now at most.
    fn dials_left(&self) -> i64 {
        let used = if self.dialing.this_second.0 == self.now.as_secs() { self.dialing.this_second.1 } else { 0 };
        (self.settings.connections_limit - self.peers.len() as i64)
            .min(self.settings.half_open_limit - self.dialing.half_open)
            .min(self.settings.connection_speed - used)
    }

    fn dial_for(&mut self, id: TorrentId, at_most: u32, hooks: &mut dyn Hooks) -> u32 {
        let mut dialled = 0;
        while dialled < at_most && self.dials_left() > 0 && self.stopping.is_none() {
            let (now, random) = (self.now, self.random());
            let Some(torrent) = self.torrents.get_mut(&id).filter(|t| t.is_active()) else { break };
            if torrent.asleep.is_some() || torrent.waking.is_some() {
                if torrent.peer_list.next_candidate_at().is_some_and(|at| at <= now) {
                    self.wake(id);
                }
                break;
            }
            let limit = torrent.params.max_connections;
            if limit >= 0 && torrent.peers.len() as i64 >= i64::from(limit) {
                break;
            }
            torrent.peer_list.set_finished(torrent.content.as_ref().is_some_and(|c| c.picker.is_finished()));
            let Some(candidate) = torrent.peer_list.candidate(now, random) else { break };
            let source = torrent.peer_list.get(candidate).map_or_else(PeerSource::default, |known| known.source);
            self.note_dial();
            self.dial(id, candidate, source, hooks);
            dialled += 1;
        }
        dialled
    }

    /// Connects to an address now, if the torrent, the limits and a ban allow it; otherwise it is a candidate like others.
    pub(super) fn connect(&mut self, id: TorrentId, address: SocketAddr, hooks: &mut dyn Hooks) {
        self.add_peer_address(id, address, (PeerSource::RESUME_DATA, 0), hooks);
        let is_there = self.peers.values().any(|p| p.torrent == Some(id) && p.listed_as == address);
        let Some(torrent) = self.torrents.get(&id).filter(|t| t.is_active()) else { return };
        if is_there || torrent.peer_list.is_banned(address.ip()) || self.dials_left() <= 0 || self.stopping.is_some() {
            return;
        }
        self.note_dial();
        self.dial(id, address, PeerSource::RESUME_DATA, hooks);
    }

    /// One more dial in this second.
    fn note_dial(&mut self) {
        let second = self.now.as_secs();
        let used = if self.dialing.this_second.0 == second { self.dialing.this_second.1 } else { 0 };
        self.dialing.this_second = (second, used + 1);
    }

    /// Closes a peer that can be of no use: neither side will ever ask the other for anything.
    pub(super) fn close_if_redundant(&mut self, conn: ConnId, hooks: &mut dyn Hooks) {
        let Some(peer) = self.peers.get(&conn) else { return };
        let Some(torrent) = peer.torrent.and_then(|id| self.torrents.get(&id)) else { return };
        if torrent.finished_on_disk && torrent.is_finished() && peer.is_seed() && self.may_close(conn, DONE, hooks) {
            self.close(conn, DONE, hooks);
        }
    }

    /// Closes the peers of a torrent that became useless when it was completed.
    pub(super) fn close_redundant_peers(&mut self, id: TorrentId, hooks: &mut dyn Hooks) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        for conn in torrent.peers.iter().copied().collect::<Vec<_>>() {
            self.close_if_redundant(conn, hooks);
        }
    }
}
