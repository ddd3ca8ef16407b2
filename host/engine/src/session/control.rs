//! What plugins ask of the session, carried out: commands, messages, choking, blocks that they give.
//!
//! A message that says what the session keeps book of goes the way of the session's own, so that its books stay true:
//! choking, interest, requests and their ends. Every other message is sent as it is.

use super::Session;
use crate::alert::Alert;
use crate::command::{Command, Reply};
use crate::control::{Choking, Control};
use crate::hooks::{Hooks, PeerRef, Sender};
use crate::ids::{ConnId, TorrentId};
use crate::peer::Held;
use crate::peer::requests::Arrival;
use bytes::Bytes;
use reef_proto::layout::BLOCK_SIZE;
use reef_proto::message::{BlockRequest, Message};

/// Pieces at most that a choked peer is offered, those that plugins offer included.
const MAX_ALLOWED_FAST: usize = 64;

impl Session {
    pub(super) fn carry_out_control(&mut self, control: Control, hooks: &mut dyn Hooks) {
        match control {
            Control::Command { plugin, command } => self.command_of_plugin(plugin, *command, hooks),
            Control::Send { peer, message, owner } => self.send_for_plugin(peer, message, owner, hooks),
            Control::SetChoking { peer, choking, owner } => self.set_choking(peer, choking, owner, hooks),
            Control::Connect { torrent, address } => self.connect(torrent, address, hooks),
            Control::Read { torrent, request, ticket } => self.read_for_plugin(torrent, request, ticket, hooks),
            Control::GiveBlock { torrent, from, request, data } => {
                self.block_given((torrent, from), request, data, hooks);
            }
            Control::SetTimer { ticket, after } => self.timers.set(ticket, self.runs_out(after)),
            Control::CancelTimer(ticket) => self.timers.cancel(ticket),
            Control::Consult => self.consult(hooks),
            Control::Leave(owner) => self.owner_left(owner),
        }
    }

    fn command_of_plugin(&mut self, plugin: String, command: Command, hooks: &mut dyn Hooks) {
        let action = command.name().to_owned();
        if let Some(Reply::Failed(error)) = self.perform(command, None, hooks) {
            self.alert(Alert::PluginActionFailed { plugin, action, error }, hooks);
        }
    }

    /// Undoes what was set up for somebody who is gone.
    fn owner_left(&mut self, owner: u64) {
        self.timers.forget(owner);
        for peer in self.peers.values_mut().filter(|p| p.held.is_some_and(|held| held.owner == owner)) {
            peer.held = None;
            self.choking.slots_changed = true;
        }
    }

    /// The connection, if it is one of its torrent's and messages flow.
    fn connected_peer(&self, at: PeerRef) -> Option<&crate::peer::Peer> {
        let peer = &**self.peers.get(&at.conn)?;
        (peer.torrent == Some(at.torrent) && peer.is_connected()).then_some(peer)
    }

    fn send_for_plugin(&mut self, at: PeerRef, message: Message, owner: u64, hooks: &mut dyn Hooks) {
        if self.connected_peer(at).is_none() {
            return;
        }
        let conn = at.conn;
        match message {
            Message::Choke => self.set_choking(at, Choking::Choked, owner, hooks),
            Message::Unchoke => self.set_choking(at, Choking::Unchoked, owner, hooks),
            Message::Interested => self.set_interest(conn, true, hooks),
            Message::NotInterested => self.set_interest(conn, false, hooks),
            Message::Request(request) => self.request_for_plugin(at, request),
            Message::Cancel(request) => self.cancel_for_plugin(at, request),
            Message::Reject(request) => self.reject_for_plugin(conn, request),
            Message::AllowedFast(piece) => self.offer_for_plugin(conn, piece),
            Message::Bitfield(_) | Message::HaveAll | Message::HaveNone => {
                // It is our word on all our pieces, which the session then does not give again.
                if let Some(peer) = self.peers.get_mut(&conn) {
                    peer.local.pieces_sent = true;
                }
                self.send(conn, &message);
            }
            other => self.send(conn, &other),
        }
    }

    /// Holds until the session's own interest in the peer next changes.
    fn set_interest(&mut self, conn: ConnId, wants: bool, hooks: &mut dyn Hooks) {
        let Some(peer) = self.peers.get_mut(&conn).filter(|p| p.local.interested != wants) else { return };
        peer.local.interested = wants;
        self.send(conn, if wants { &Message::Interested } else { &Message::NotInterested });
        self.turn_of(conn, hooks);
    }

    /// A whole block that is still missing goes onto the list, so that its answer is taken.
    fn request_for_plugin(&mut self, at: PeerRef, request: BlockRequest) {
        let Some(content) = self.torrents.get(&at.torrent).and_then(|t| t.content.as_ref()) else { return };
        if !is_whole_block(content, request) || content.picker.has(request.piece) {
            return log::warn!("a plugin asks a peer for what is no missing block: {request:?}");
        }
        let limit = self.settings.max_out_request_queue as u32;
        let Some(peer) = self.peers.get_mut(&at.conn).filter(|p| p.requests.len() < limit) else { return };
        peer.requests.push(request, self.now);
        self.counters.requests_sent += 1;
        self.send(at.conn, &Message::Request(request));
    }

    fn cancel_for_plugin(&mut self, at: PeerRef, request: BlockRequest) {
        if self.peers.get_mut(&at.conn).is_some_and(|p| p.requests.cancel(request))
            && let Some(content) = self.torrents.get_mut(&at.torrent).and_then(|t| t.content.as_mut())
        {
            content.picker.abort(at.conn, request);
        }
        self.send(at.conn, &Message::Cancel(request));
    }

    fn reject_for_plugin(&mut self, conn: ConnId, request: BlockRequest) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.uploads.retain(|waiting| *waiting != request);
        self.send(conn, &Message::Reject(request));
    }

    fn offer_for_plugin(&mut self, conn: ConnId, piece: u32) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let offered = &mut peer.local.allowed_fast;
        if !offered.contains(&piece) && offered.len() < MAX_ALLOWED_FAST {
            offered.push(piece);
        }
        self.send(conn, &Message::AllowedFast(piece));
    }

    fn set_choking(&mut self, at: PeerRef, choking: Choking, owner: u64, hooks: &mut dyn Hooks) {
        let Some(peer) = self.peers.get_mut(&at.conn).filter(|p| p.torrent == Some(at.torrent) && p.is_connected())
        else {
            return;
        };
        peer.held = match choking {
            Choking::Usual => None,
            Choking::Choked | Choking::Unchoked => Some(Held { owner }),
        };
        peer.optimistic = false;
        self.slots_changed();
        match choking {
            Choking::Usual => {}
            Choking::Choked => self.choke(at.conn),
            Choking::Unchoked => {
                self.unchoke(at.conn);
                self.turn_of(at.conn, hooks);
            }
        }
    }

    /// A plugin gives a block. Of a peer that owes it, it is that peer's answer; of any other it is taken if it is missing.
    fn block_given(
        &mut self,
        (id, from): (TorrentId, Option<PeerRef>),
        request: BlockRequest,
        data: Bytes,
        hooks: &mut dyn Hooks,
    ) {
        let torrent = self.torrents.get(&id).filter(|t| t.error.is_none() && t.removing.is_none());
        let Some(content) = torrent.and_then(|t| t.content.as_ref()).filter(|c| c.open && c.checking.is_none()) else {
            return;
        };
        if !is_whole_block(content, request) || data.len() as u64 != u64::from(request.length) {
            return log::warn!("a plugin gives what is no block: {request:?} with {} bytes", data.len());
        }
        let conn = from.filter(|at| at.torrent == id && self.connected_peer(*at).is_some()).map(|at| at.conn);
        let now = self.now;
        let sender = match conn.and_then(|conn| self.peers.get_mut(&conn)) {
            Some(peer) => {
                let length = data.len() as u64;
                if peer.requests.arrived(request, now) != Arrival::Unsolicited {
                    peer.download.add(now, length);
                    peer.last_useful = now;
                }
                Some(Sender { address: peer.address, peer_id: peer.remote.peer_id })
            }
            None => None,
        };
        self.take_block((id, conn), request, data, (sender, Arrival::Late));
        if let Some(conn) = conn {
            self.turn_of(conn, hooks);
        }
    }
}

/// Whether it names exactly one block of the torrent.
fn is_whole_block(content: &crate::torrent::Content, request: BlockRequest) -> bool {
    let BlockRequest { piece, begin, length } = request;
    let block = begin / BLOCK_SIZE;
    piece < content.layout.num_pieces()
        && begin.is_multiple_of(BLOCK_SIZE)
        && block < content.layout.num_blocks(piece)
        && content.layout.block_size(piece, block) == length
}
