//! Connections: coming, shaking hands, going.

use super::Session;
use super::dispatch::Asked;
use crate::alert::Alert;
use crate::hooks::{Hooks, PeerEvent, PeerRef};
use crate::ids::{ConnId, ListenerId, TorrentId};
use crate::input::CloseCause;
use crate::output::Output;
use crate::peer::{Peer, Phase};
use crate::policy::peer_list::Outcome;
use crate::status::{PeerSource, TorrentState};
use bytes::BytesMut;
use reef_proto::decoder::Item;
use reef_proto::handshake::{Feature, Handshake, Reserved};
use std::net::SocketAddr;

/// Bytes of answers that may wait for a peer beside its blocks. One that has more waiting and still says something is closed:
/// each refused request costs as much memory as the request, for as long as the peer does not read.
const MAX_UNREAD: u64 = 2 << 20;

impl Session {
    pub(super) fn listening(&mut self, listener: ListenerId, local: SocketAddr, hooks: &mut dyn Hooks) {
        self.listening.insert(listener, local);
        let own = self.listen_addresses();
        for torrent in self.torrents.values_mut() {
            torrent.peer_list.set_own(&own, None);
        }
        self.alert(Alert::ListenSucceeded { address: local }, hooks);
    }

    pub(super) fn listen_addresses(&self) -> Vec<SocketAddr> {
        self.listening.values().copied().collect()
    }

    /// The port that peers are told.
    pub(super) fn listen_port(&self) -> Option<u16> {
        self.listening.values().next().map(|a| a.port())
    }

    pub(super) fn accepted(&mut self, conn: ConnId, _listener: ListenerId, remote: SocketAddr) {
        let full = self.peers.len() as i64 >= self.settings.connections_limit;
        let again = !self.settings.allow_multiple_connections_per_ip
            && self.peers.values().any(|p| p.address.ip() == remote.ip());
        if full || again || self.stopping.is_some() {
            self.counters.incoming_refused += 1;
            self.emit(Output::Close { conn, flush: false });
            return;
        }
        self.peers.insert(conn, Box::new(Peer::new(conn, remote, self.now)));
        self.limit_new_peer(conn);
    }

    /// Dials a peer for a torrent.
    pub(super) fn dial(&mut self, torrent: TorrentId, address: SocketAddr, source: PeerSource, hooks: &mut dyn Hooks) {
        let conn = self.next_conn_id();
        let mut peer = Box::new(Peer::new(conn, address, self.now));
        peer.outgoing = true;
        peer.source = source;
        peer.phase = Phase::Connecting;
        self.peers.insert(conn, peer);
        self.counters.connection_attempts += 1;
        self.dialing.half_open += 1;
        self.join(conn, torrent, hooks);
        self.emit(Output::Dial { conn, address });
        self.limit_new_peer(conn);
    }

    /// Makes a connection one of a torrent's.
    fn join(&mut self, conn: ConnId, id: TorrentId, hooks: &mut dyn Hooks) {
        let (Some(torrent), Some(peer)) = (self.torrents.get_mut(&id), self.peers.get_mut(&conn)) else { return };
        peer.torrent = Some(id);
        torrent.peers.insert(conn);
        torrent.lacking.insert(conn);
        torrent.addresses.insert((peer.address, conn));
        torrent.peer_list.connected(peer.address, self.now);
        if let Some(content) = &torrent.content {
            let pieces = content.layout.num_pieces();
            peer.decoder.set_limits(reef_proto::decoder::Limits { pieces: Some(pieces) });
            peer.remote.pieces = peer.remote.pieces.settle(pieces).unwrap_or_else(|_| peer.remote.pieces.clone());
        }
        self.attach_peer(PeerRef { torrent: id, conn }, hooks);
    }

    pub(super) fn connected(&mut self, conn: ConnId, hooks: &mut dyn Hooks) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if peer.phase == Phase::Connecting {
            self.dialing.half_open -= 1;
        }
        peer.phase = Phase::Handshaking;
        peer.since = self.now;
        if self.ask_peer(conn, &PeerEvent::Connected, hooks) == Asked::Standard {
            self.send_handshake(conn);
        }
    }

    fn send_handshake(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let Some(torrent) = peer.torrent.and_then(|id| self.torrents.get(&id)) else { return };
        let handshake = Handshake {
            reserved: Reserved([0; 8]).with(Feature::Extended).with(Feature::Fast),
            info_hash: torrent.hashes.wire(),
            peer_id: self.peer_id,
        };
        peer.local.handshake_sent = true;
        if peer.out.is_empty() {
            self.unflushed.push(conn);
        }
        peer.out.extend_from_slice(&handshake.to_bytes());
    }

    pub(super) fn received(&mut self, conn: ConnId, data: BytesMut, hooks: &mut dyn Hooks) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.last_received = self.now;
        self.counters.recv_bytes += data.len() as i64;
        let length = data.len() as u64;
        peer.decoder.push(data);
        self.go_through(conn, hooks);
        self.count_read(conn, length);
        self.turn_of(conn, hooks);
    }

    /// Goes through what a peer has said so far.
    pub(super) fn go_through(&mut self, conn: ConnId, hooks: &mut dyn Hooks) {
        let most_unread = self.settings.send_buffer_watermark as u64 + MAX_UNREAD;
        while let Some(peer) = self.peers.get_mut(&conn).filter(|p| !p.parked) {
            if peer.queued + peer.out.len() as u64 > most_unread {
                return self.close(conn, "asks on without reading the answers", hooks);
            }
            match peer.decoder.next_item() {
                Ok(Some(Item::Message(message))) => self.message(conn, message, hooks),
                Ok(Some(Item::Handshake(handshake))) => self.handshake(conn, handshake, hooks),
                Ok(None) => break,
                Err(e) => {
                    self.counters.error_peers += 1;
                    self.close_with(conn, &e.to_string(), Outcome::Useless, hooks);
                }
            }
        }
    }

    /// After anything that may let a peer go on: asks it for blocks and gives it blocks.
    pub(super) fn turn_of(&mut self, conn: ConnId, hooks: &mut dyn Hooks) {
        self.refill_requests(conn, hooks);
        self.serve(conn, hooks);
    }

    fn handshake(&mut self, conn: ConnId, handshake: Handshake, hooks: &mut dyn Hooks) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.set_handshake(handshake.reserved, handshake.peer_id, self.now);
        let address = peer.address;
        if handshake.peer_id == self.peer_id {
            return self.close_with(conn, "it is this session itself", Outcome::Useless, hooks);
        }
        let known = match peer.torrent {
            Some(id) => self.torrents.get(&id).filter(|t| t.hashes.matches_wire(handshake.info_hash)),
            None => self.by_hash.get(&handshake.info_hash).and_then(|id| self.torrents.get(id)),
        };
        let (known, added) = match known {
            Some(torrent) => (Some(torrent.id), false),
            None => (self.torrent_from_plugins(conn, handshake.info_hash, hooks), true),
        };
        let Some(torrent) = known.and_then(|id| self.torrents.get(&id)) else {
            return self.close(conn, "unknown info-hash", hooks);
        };
        // What was added for this peer is still being looked at.
        let is_new = added && torrent.state == TorrentState::CheckingFiles && !torrent.is_paused();
        if !torrent.is_active() && !is_new {
            return self.close(conn, "the torrent is not active", hooks);
        }
        if torrent.peer_list.is_banned(address.ip()) {
            return self.close(conn, "banned", hooks);
        }
        let id = torrent.id;
        if torrent.asleep.is_some() || torrent.waking.is_some() {
            return self.wait_for_waking(conn, id, handshake);
        }
        self.welcome(conn, id, &handshake, hooks);
    }

    /// A peer shook hands for a torrent that is there: it becomes one of its peers, if it may.
    pub(super) fn welcome(&mut self, conn: ConnId, id: TorrentId, handshake: &Handshake, hooks: &mut dyn Hooks) {
        if let Some(other) = self.same_peer(conn, id, handshake) {
            let (worse, better) = self.worse_of(conn, other, handshake);
            self.close(worse, "already connected to this peer", hooks);
            if better != conn {
                return;
            }
        }
        if self.peers.get(&conn).is_some_and(|p| p.torrent.is_none()) {
            self.join(conn, id, hooks);
        }
        if let Some(torrent) = self.torrents.get_mut(&id).filter(|_| self.peers.contains_key(&conn)) {
            torrent.peer_ids.insert(handshake.peer_id, conn);
        }
        self.greet(conn, id, handshake, hooks);
    }

    /// A peer that connected to us wants a torrent that is not there: plugins may add it.
    fn torrent_from_plugins(&mut self, conn: ConnId, info_hash: [u8; 20], hooks: &mut dyn Hooks) -> Option<TorrentId> {
        let peer = self.peers.get(&conn).filter(|p| !p.outgoing)?;
        let params = self.ask_unknown_torrent(info_hash, peer.address, hooks)?;
        let id = match self.add_torrent(params, hooks) {
            Ok(id) => id,
            Err(error) => {
                log::warn!("a torrent of a plugin is not added: {error}");
                return None;
            }
        };
        self.torrents.get(&id).filter(|t| t.hashes.matches_wire(info_hash)).map(|t| t.id)
    }

    /// Another connection of a torrent to the same peer. Its address does not matter: a machine may have several.
    fn same_peer(&self, conn: ConnId, id: TorrentId, handshake: &Handshake) -> Option<ConnId> {
        self.torrents.get(&id)?.peer_ids.get(&handshake.peer_id).copied().filter(|&other| other != conn)
    }

    /// Which of two connections to one peer goes and which stays. Where each side dialled the other, both sides keep
    /// the one that the larger peer id dialled, lest each closes the one that the other keeps.
    fn worse_of(&self, new: ConnId, old: ConnId, handshake: &Handshake) -> (ConnId, ConnId) {
        let outgoing = |c: ConnId| self.peers.get(&c).is_some_and(|p| p.outgoing);
        if outgoing(new) == outgoing(old) {
            return (new, old);
        }
        let keep_outgoing = self.peer_id > handshake.peer_id;
        if outgoing(new) == keep_outgoing { (old, new) } else { (new, old) }
    }

    /// The peer's handshake is good: answer it and say what we have.
    fn greet(&mut self, conn: ConnId, torrent: TorrentId, handshake: &Handshake, hooks: &mut dyn Hooks) {
        if self.peers.get(&conn).is_some_and(|p| !p.local.handshake_sent) {
            self.send_handshake(conn);
        }
        if self.ask_peer(conn, &PeerEvent::Handshake(&handshake.reserved.0), hooks) == Asked::Skip {
            return;
        }
        if let Some(ids) = self.ask_message_ids(PeerRef { torrent, conn }, hooks)
            && let Some(peer) = self.peers.get_mut(&conn)
        {
            peer.decoder.set_message_ids(ids.clone());
            peer.ids = Some(ids);
        }
        let Some(peer) = self.peers.get(&conn) else { return };
        let (address, client, extended) = (peer.address, peer.remote.client.clone(), peer.remote.extended);
        if extended {
            self.send_extension_handshake(conn, hooks);
        }
        self.send_pieces(conn);
        self.send_allowed_fast(conn);
        self.alert(Alert::PeerConnected { torrent, conn, address, client }, hooks);
    }

    pub(super) fn closed(&mut self, conn: ConnId, cause: &CloseCause, hooks: &mut dyn Hooks) {
        let reason = match cause {
            CloseCause::Eof => "the peer closed the connection".to_owned(),
            CloseCause::Refused => "connection refused".to_owned(),
            CloseCause::TimedOut => "timed out".to_owned(),
            CloseCause::Reset => "connection reset".to_owned(),
            CloseCause::TooManyFiles => "too many open files".to_owned(),
            CloseCause::Storage(e) => e.to_string(),
            CloseCause::Other(text) => text.clone(),
        };
        if let (CloseCause::Storage(error), Some(id)) = (cause, self.peers.get(&conn).and_then(|p| p.torrent)) {
            self.storage_failed(id, error, hooks);
        }
        self.ask_peer(conn, &PeerEvent::Disconnect(&reason), hooks);
        let Some(peer) = self.peers.get(&conn) else { return };
        let outcome = if peer.is_connected() { Outcome::Closed } else { Outcome::Failed };
        self.forget_peer(conn, &reason, outcome, hooks);
    }

    /// Closes a connection in order.
    pub(super) fn close(&mut self, conn: ConnId, reason: &str, hooks: &mut dyn Hooks) {
        self.close_with(conn, reason, Outcome::Closed, hooks);
    }

    pub(super) fn close_with(&mut self, conn: ConnId, reason: &str, outcome: Outcome, hooks: &mut dyn Hooks) {
        if !self.peers.contains_key(&conn) {
            return;
        }
        // What is left to send passes plugins too, and they may close it themselves.
        self.flush(conn, hooks);
        if !self.peers.contains_key(&conn) {
            return;
        }
        self.ask_peer(conn, &PeerEvent::Disconnect(reason), hooks);
        self.emit(Output::Close { conn, flush: true });
        self.forget_peer(conn, reason, outcome, hooks);
    }

    /// Takes a connection out of everything that knows of it.
    fn forget_peer(&mut self, conn: ConnId, reason: &str, outcome: Outcome, hooks: &mut dyn Hooks) {
        let Some(peer) = self.peers.remove(&conn) else { return };
        if peer.phase == Phase::Connecting {
            self.dialing.half_open -= 1;
        }
        self.limits.forget(conn);
        if let Some(id) = peer.torrent {
            hooks.remove_peer(PeerRef { torrent: id, conn });
            self.may_dial(id);
            if let Some(torrent) = self.torrents.get_mut(&id) {
                torrent.peers.remove(&conn);
                torrent.lacking.remove(&conn);
                torrent.addresses.remove(&(peer.address, conn));
                if torrent.peer_ids.get(&peer.remote.peer_id) == Some(&conn) {
                    torrent.peer_ids.remove(&peer.remote.peer_id);
                }
                torrent.peer_list.disconnected(peer.listed_as, self.now, outcome);
                if let Some(content) = &mut torrent.content {
                    peer.remote.pieces.leave(&mut content.picker);
                    content.picker.abort_all(conn);
                }
            }
        }
        let alert =
            Alert::PeerDisconnected { torrent: peer.torrent, conn, address: peer.address, reason: reason.to_owned() };
        self.alert(alert, hooks);
        if !peer.local.choking {
            self.slots_changed();
        }
        if let Some(id) = peer.torrent {
            self.may_sleep_later(id);
        }
    }

    /// Bans an address from a torrent and closes its connections.
    pub(super) fn ban(&mut self, id: TorrentId, address: SocketAddr, reason: &str, hooks: &mut dyn Hooks) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if torrent.peer_list.is_banned(address.ip()) {
            return;
        }
        torrent.peer_list.ban(address);
        let conns: Vec<ConnId> = torrent.conns_at(address).collect();
        self.counters.num_banned_peers += 1;
        self.alert(Alert::PeerBanned { torrent: id, address, reason: reason.to_owned() }, hooks);
        for conn in conns {
            self.close(conn, reason, hooks);
        }
    }
}
