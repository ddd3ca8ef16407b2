//! Messages on their way out, where plugins want to judge them or to hear of them. A connection on which nobody does comes
//! here for its blocks alone, and pays one test.

use super::Session;
use super::dispatch::Asked;
use crate::hooks::{Hooks, OutgoingMessage, PeerEvent, peer_bits};
use crate::ids::ConnId;
use crate::peer::payload::Payload;
use bytes::BytesMut;
use reef_proto::message::{BlockRequest, Message, id, piece_header};

/// The hooks for which messages are kept until the end of the turn.
pub(super) const GATED: u64 = peer_bits::WriteMessage
    | peer_bits::SentChoke
    | peer_bits::SentUnchoke
    | peer_bits::SentInterested
    | peer_bits::SentNotInterested
    | peer_bits::SentHave
    | peer_bits::SentBitfield
    | peer_bits::SentHaveAll
    | peer_bits::SentHaveNone
    | peer_bits::SentAllowedFast
    | peer_bits::SentSuggest
    | peer_bits::SentRequest
    | peer_bits::SentCancel
    | peer_bits::SentReject;

/// Bytes before the payload of a message: its length and its number.
const HEAD: usize = 5;

impl Session {
    /// Writes the messages that plugins let through, and tells them so.
    #[cold]
    pub(super) fn pass_gate(&mut self, conn: ConnId, hooks: &mut dyn Hooks) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let mut encoded = BytesMut::new();
        for message in std::mem::take(&mut peer.gated) {
            encoded.clear();
            message.encode_into(&mut encoded);
            if let (Some(id), Some(payload)) = (message.id(), encoded.get(HEAD..)) {
                let event = PeerEvent::WriteMessage(OutgoingMessage { id, payload });
                if self.ask_peer(conn, &event, hooks) == Asked::Skip {
                    continue;
                }
            }
            let Some(peer) = self.peers.get_mut(&conn) else { return };
            let at = peer.out.len();
            peer.out.extend_from_slice(&encoded);
            peer.renumber(at);
            if let Some(event) = sent_event(&message) {
                self.ask_peer(conn, &event, hooks);
            }
        }
    }

    /// Whether a block may be sent. Its header is all that plugins can see of it.
    pub(super) fn may_send_block(&mut self, conn: ConnId, request: BlockRequest, hooks: &mut dyn Hooks) -> bool {
        let header = piece_header(request.piece, request.begin, request.length);
        let event = PeerEvent::WriteMessage(OutgoingMessage { id: id::PIECE, payload: &header[HEAD..] });
        self.ask_peer(conn, &event, hooks) == Asked::Standard
    }

    /// A connection sent bytes: whoever wants to know hears how many were of blocks.
    pub(super) fn tell_payload(&mut self, conn: ConnId, bytes: u64, hooks: &mut dyn Hooks) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let sent = peer.payload.as_mut().map_or(0, |payload| payload.sent(bytes));
        if sent > 0 {
            self.ask_peer(conn, &PeerEvent::SentPayload(sent), hooks);
        }
    }

    /// The hooks of a peer changed: what they need is kept from here on.
    pub(super) fn set_peer_hooks(&mut self, conn: ConnId, mask: u64) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.hooks = mask;
        if mask & peer_bits::SentPayload == 0 {
            peer.payload = None;
        } else if peer.payload.is_none() {
            peer.payload = Some(Payload::after(peer.queued));
        }
    }
}

fn sent_event(message: &Message) -> Option<PeerEvent<'_>> {
    Some(match message {
        Message::Choke => PeerEvent::SentChoke,
        Message::Unchoke => PeerEvent::SentUnchoke,
        Message::Interested => PeerEvent::SentInterested,
        Message::NotInterested => PeerEvent::SentNotInterested,
        Message::Have(piece) => PeerEvent::SentHave(*piece),
        Message::Bitfield(bits) => PeerEvent::SentBitfield(bits),
        Message::HaveAll => PeerEvent::SentHaveAll,
        Message::HaveNone => PeerEvent::SentHaveNone,
        Message::AllowedFast(piece) => PeerEvent::SentAllowedFast(*piece),
        Message::Suggest(piece) => PeerEvent::SentSuggest(*piece),
        Message::Request(request) => PeerEvent::SentRequest(*request),
        Message::Cancel(request) => PeerEvent::SentCancel(*request),
        Message::Reject(request) => PeerEvent::SentReject(*request),
        _ => return None,
    })
}
