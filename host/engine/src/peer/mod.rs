//! One connection to a peer: what each side said, what was asked and what is owed. It decides nothing about others
//! and knows neither its torrent nor the session.

pub(crate) mod payload;
pub(crate) mod pieces;
pub(crate) mod requests;

use crate::ids::{ConnId, TorrentId};
use crate::policy::rate::Rate;
use crate::status::PeerSource;
use crate::time::Time;
use bytes::{Bytes, BytesMut};
use payload::Payload;
use pieces::Pieces;
use reef_proto::decoder::{Decoder, Limits};
use reef_proto::handshake::{Feature, Reserved};
use reef_proto::hash::Sha1Hash;
use reef_proto::message::{BlockRequest, Message};
use reef_proto::message_ids::MessageIds;
use reef_proto::peer_id::PeerId;
use requests::Requests;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Dialled, not answered.
    Connecting,
    /// The transport stands; the peer's handshake is missing.
    Handshaking,
    /// Messages flow.
    Connected,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) conn: ConnId,
    pub(crate) address: SocketAddr,
    pub(crate) outgoing: bool,
    pub(crate) source: PeerSource,
    pub(crate) torrent: Option<TorrentId>,
    pub(crate) phase: Phase,
    pub(crate) since: Time,
    pub(crate) last_received: Time,
    pub(crate) last_sent: Time,
    /// When either side was last of use to the other.
    pub(crate) last_useful: Time,
    pub(crate) decoder: Decoder,
    /// It waits for its torrent to wake: what it says is not listened to yet.
    pub(crate) parked: bool,
    /// Messages of this turn, sent at its end or before a block.
    pub(crate) out: BytesMut,
    /// Bytes handed to the shell and not yet in the kernel's hands.
    pub(crate) queued: u64,
    pub(crate) remote: Remote,
    pub(crate) local: Local,
    pub(crate) requests: Requests,
    /// Blocks that the peer asked for and that are not yet handed to the shell.
    pub(crate) uploads: VecDeque<BlockRequest>,
    pub(crate) download: Rate,
    pub(crate) upload: Rate,
    /// Bytes of any kind that the kernel took.
    pub(crate) drained: Rate,
    /// Which of its events plugins want.
    pub(crate) hooks: u64,
    /// Messages of this turn that plugins want to judge, or hear of, before they are written after those of `out`.
    pub(crate) gated: Vec<Message>,
    /// The numbers of this connection's messages, where they are not the standard ones.
    pub(crate) ids: Option<Arc<MessageIds>>,
    /// What lies where in the bytes that are queued, while somebody wants to know of payload.
    pub(crate) payload: Option<Payload>,
    /// A plugin says whether it is choked, and no choke round does.
    pub(crate) held: Option<Held>,
    /// How soon plugins would have it unchoked optimistically.
    pub(crate) unchoke_priority: Option<u64>,
    /// Bytes that may still be read under the rate limit.
    pub(crate) read_quota: ReadQuota,
    /// It took part in a piece that failed: until a piece of its own passes it works alone.
    pub(crate) parole: bool,
    /// Unsolicited blocks, wasted on us.
    pub(crate) unsolicited: u32,
    /// Payload bytes at the last choke round: received and sent.
    pub(crate) round_start: (u64, u64),
    /// When it last was unchoked optimistically.
    pub(crate) optimistic_at: Option<Time>,
    /// It holds an optimistic slot.
    pub(crate) optimistic: bool,
    /// When we unchoked it last.
    pub(crate) unchoked_at: Time,
    /// Payload bytes sent to it until then.
    pub(crate) sent_at_unchoke: u64,
    /// Its key in the torrent's list of addresses.
    pub(crate) listed_as: SocketAddr,
}

/// That a plugin keeps a peer choked or unchoked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Held {
    /// Which.
    pub(crate) owner: u64,
}

/// What the peer said.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) peer_id: PeerId,
    pub(crate) reserved: Reserved,
    pub(crate) fast: bool,
    pub(crate) extended: bool,
    /// The extension messages it takes, by name.
    pub(crate) names: BTreeMap<String, u8>,
    pub(crate) extension_handshake: Option<Bytes>,
    pub(crate) client: String,
    pub(crate) listen_port: Option<u16>,
    pub(crate) upload_only: bool,
    pub(crate) max_requests: Option<u32>,
    pub(crate) pieces: Pieces,
    /// It said which pieces it has.
    pub(crate) told_pieces: bool,
    /// Plugins were told that it has nothing, because it asked or gave before it said anything.
    pub(crate) implied_none: bool,
    pub(crate) choking: bool,
    pub(crate) interested: bool,
    /// Pieces that it gives while it chokes us (BEP 6).
    pub(crate) allowed_fast: Vec<u32>,
    /// Pieces that it would like to give (BEP 6).
    pub(crate) suggested: Vec<u32>,
}

/// What we said.
#[derive(Debug, Default)]
pub(crate) struct Local {
    pub(crate) choking: bool,
    pub(crate) interested: bool,
    pub(crate) handshake_sent: bool,
    pub(crate) pieces_sent: bool,
    pub(crate) upload_only_sent: bool,
    /// What plugins offered in our last extension handshake.
    pub(crate) offer: Option<Offer>,
    /// Pieces that we give while we choke it (BEP 6).
    pub(crate) allowed_fast: Vec<u32>,
}

/// What plugins offered in an extension handshake.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Offer {
    /// The numbers of their messages.
    pub(crate) numbers: Vec<u8>,
    /// Of everything that they put into it.
    pub(crate) digest: Sha1Hash,
}

/// What the rate limit lets the shell read from a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReadQuota {
    /// As much as comes.
    Unlimited,
    /// So many bytes.
    Limited(u64),
}

impl Peer {
    pub(crate) fn new(conn: ConnId, address: SocketAddr, now: Time) -> Self {
        Self {
            conn,
            address,
            outgoing: false,
            source: PeerSource::INCOMING,
            torrent: None,
            phase: Phase::Handshaking,
            since: now,
            last_received: now,
            last_sent: now,
            last_useful: now,
            decoder: Decoder::new(Limits { pieces: None }),
            parked: false,
            out: BytesMut::new(),
            queued: 0,
            remote: Remote::new(),
            local: Local { choking: true, ..Local::default() },
            requests: Requests::default(),
            uploads: VecDeque::new(),
            download: Rate::new(now),
            upload: Rate::new(now),
            drained: Rate::new(now),
            hooks: 0,
            gated: Vec::new(),
            ids: None,
            payload: None,
            held: None,
            unchoke_priority: None,
            read_quota: ReadQuota::Unlimited,
            parole: false,
            unsolicited: 0,
            round_start: (0, 0),
            optimistic_at: None,
            optimistic: false,
            unchoked_at: now,
            sent_at_unchoke: 0,
            listed_as: address,
        }
    }

    /// Queues a message for the end of the turn.
    pub(crate) fn send(&mut self, message: &Message) {
        let at = self.out.len();
        message.encode_into(&mut self.out);
        self.renumber(at);
    }

    /// Gives the message at this offset of `out` the connection's own number. A keep-alive has none.
    pub(crate) fn renumber(&mut self, at: usize) {
        if let Some(ids) = &self.ids
            && let Some(id) = self.out.get_mut(at + 4)
        {
            *id = ids.to_wire(*id);
        }
    }

    /// Whether messages flow.
    pub(crate) fn is_connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// Takes in the peer's handshake.
    pub(crate) fn set_handshake(&mut self, reserved: Reserved, peer_id: PeerId, now: Time) {
        self.remote.reserved = reserved;
        self.remote.fast = reserved.has(Feature::Fast);
        self.remote.extended = reserved.has(Feature::Extended);
        self.remote.peer_id = peer_id;
        self.remote.client = peer_id.client_name();
        self.phase = Phase::Connected;
        self.since = now;
        self.last_useful = now;
    }

    /// Where the peer listens, as far as is known.
    pub(crate) fn listen_address(&self) -> Option<SocketAddr> {
        if self.outgoing {
            return Some(self.address);
        }
        self.remote.listen_port.map(|port| SocketAddr::new(self.address.ip(), port))
    }

    /// Whether it has everything or says that it will not download.
    pub(crate) fn is_seed(&self) -> bool {
        self.remote.upload_only || self.remote.pieces.is_all()
    }
}

impl Remote {
    fn new() -> Self {
        Self {
            peer_id: PeerId([0; 20]),
            reserved: Reserved([0; 8]),
            fast: false,
            extended: false,
            names: BTreeMap::new(),
            extension_handshake: None,
            client: String::new(),
            listen_port: None,
            upload_only: false,
            max_requests: None,
            pieces: Pieces::unknown(),
            told_pieces: false,
            implied_none: false,
            choking: true,
            interested: false,
            allowed_fast: Vec::new(),
            suggested: Vec::new(),
        }
    }
}
