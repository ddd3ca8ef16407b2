//! The messages that peers exchange after their handshake: BEP 3, BEP 5 (port), BEP 6 (fast), BEP 10 (extended) and BEP 52 (hashes).
//!
//! Reading them from a stream is [`crate::decoder`]'s work. Nothing here judges whether a message makes sense for a torrent.

use bytes::{BufMut, Bytes, BytesMut};

/// A block of a piece as a peer asks for it: `length` bytes at `begin` of `piece`. The three numbers are the peer's and unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockRequest {
    /// Index of the piece.
    pub piece: u32,
    /// Offset in the piece, in bytes.
    pub begin: u32,
    /// Length in bytes.
    pub length: u32,
}

/// A question for hashes of a v2 file's tree, which the answer repeats (BEP 52).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HashRequest {
    /// Root of the file's tree.
    pub pieces_root: [u8; 32],
    /// Layer of the wanted hashes, 0 being the blocks.
    pub base_layer: u32,
    /// First wanted hash in that layer.
    pub index: u32,
    /// Number of wanted hashes.
    pub length: u32,
    /// Number of layers above for which uncle hashes are wanted.
    pub proof_layers: u32,
}

/// One message of the peer protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A length of zero: nothing but "still here".
    KeepAlive,
    /// The sender will not answer requests.
    Choke,
    /// The sender will answer requests.
    Unchoke,
    /// The sender wants something of ours.
    Interested,
    /// The sender wants nothing of ours.
    NotInterested,
    /// The sender has this piece.
    Have(u32),
    /// The pieces the sender has; see [`crate::bitfield::Bitfield::from_wire`].
    Bitfield(Bytes),
    /// The sender wants a block.
    Request(BlockRequest),
    /// A block; `data` is a slice of the receive buffer and never empty.
    Piece {
        /// Index of the piece.
        piece: u32,
        /// Offset of the block in the piece, in bytes.
        begin: u32,
        /// The block's bytes.
        data: Bytes,
    },
    /// The sender no longer wants a block.
    Cancel(BlockRequest),
    /// UDP port of the sender's DHT node (BEP 5); 0 is possible and means nothing.
    Port(u16),
    /// The sender would like us to take this piece (BEP 6).
    Suggest(u32),
    /// The sender has every piece (BEP 6).
    HaveAll,
    /// The sender has no piece (BEP 6).
    HaveNone,
    /// The sender will not serve this request (BEP 6).
    Reject(BlockRequest),
    /// The sender serves this piece even while it chokes us (BEP 6).
    AllowedFast(u32),
    /// An extension message (BEP 10); id 0 is the extension handshake.
    Extended {
        /// Number that the receiver gave to the extension.
        id: u8,
        /// What follows the number.
        payload: Bytes,
    },
    /// Hashes wanted (BEP 52). Boxed, as [`Message::Hashes`] and [`Message::HashReject`]: they are rare and would double the size of every message.
    HashRequest(Box<HashRequest>),
    /// The hashes that were asked for (BEP 52).
    Hashes {
        /// The request that is answered.
        request: Box<HashRequest>,
        /// 32 bytes a hash: the wanted ones, then the uncles.
        hashes: Bytes,
    },
    /// The sender will not give these hashes (BEP 52).
    HashReject(Box<HashRequest>),
    /// A message whose number no BEP above knows.
    Unknown {
        /// The message's number.
        id: u8,
        /// What follows the number.
        payload: Bytes,
    },
}

impl Message {
    /// The number on the wire; `None` for a keep-alive, which has none.
    pub fn id(&self) -> Option<u8> {
        Some(match self {
            Self::KeepAlive => return None,
            Self::Choke => id::CHOKE,
            Self::Unchoke => id::UNCHOKE,
            Self::Interested => id::INTERESTED,
            Self::NotInterested => id::NOT_INTERESTED,
            Self::Have(_) => id::HAVE,
            Self::Bitfield(_) => id::BITFIELD,
            Self::Request(_) => id::REQUEST,
            Self::Piece { .. } => id::PIECE,
            Self::Cancel(_) => id::CANCEL,
            Self::Port(_) => id::PORT,
            Self::Suggest(_) => id::SUGGEST,
            Self::HaveAll => id::HAVE_ALL,
            Self::HaveNone => id::HAVE_NONE,
            Self::Reject(_) => id::REJECT,
            Self::AllowedFast(_) => id::ALLOWED_FAST,
            Self::Extended { .. } => id::EXTENDED,
            Self::HashRequest(_) => id::HASH_REQUEST,
            Self::Hashes { .. } => id::HASHES,
            Self::HashReject(_) => id::HASH_REJECT,
            Self::Unknown { id, .. } => *id,
        })
    }

    /// Appends the message as it goes on the wire, length included. (A payload of 4 GiB or more, which nothing here makes, would be cut.)
    pub fn encode_into(&self, out: &mut BytesMut) {
        let Some(id) = self.id() else {
            out.put_u32(0);
            return;
        };
        match self {
            Self::KeepAlive
            | Self::Choke
            | Self::Unchoke
            | Self::Interested
            | Self::NotInterested
            | Self::HaveAll
            | Self::HaveNone => put_head(out, id, 0),
            Self::Have(piece) | Self::Suggest(piece) | Self::AllowedFast(piece) => {
                put_head(out, id, 4);
                out.put_u32(*piece);
            }
            Self::Request(block) | Self::Cancel(block) | Self::Reject(block) => {
                out.put_slice(&request_message(id, *block));
            }
            Self::Port(port) => {
                put_head(out, id, 2);
                out.put_u16(*port);
            }
            Self::Piece { piece, begin, data } => {
                out.put_slice(&piece_header(*piece, *begin, wire_len(data.len())));
                out.put_slice(data);
            }
            Self::Extended { id: extension, payload } => put_extended(out, *extension, payload),
            Self::Bitfield(payload) | Self::Unknown { payload, .. } => {
                put_head(out, id, payload.len());
                out.put_slice(payload);
            }
            Self::HashRequest(request) | Self::HashReject(request) => {
                put_head(out, id, HASH_REQUEST_LEN);
                put_hash_request(out, request);
            }
            Self::Hashes { request, hashes } => {
                put_head(out, id, HASH_REQUEST_LEN.saturating_add(hashes.len()));
                put_hash_request(out, request);
                out.put_slice(hashes);
            }
        }
    }
}

/// The 13 bytes before a block of `length` bytes: what is sent before a sendfile of the block itself.
pub fn piece_header(piece: u32, begin: u32, length: u32) -> [u8; 13] {
    let [l0, l1, l2, l3] = length.saturating_add(9).to_be_bytes();
    let [p0, p1, p2, p3] = piece.to_be_bytes();
    let [b0, b1, b2, b3] = begin.to_be_bytes();
    [l0, l1, l2, l3, id::PIECE, p0, p1, p2, p3, b0, b1, b2, b3]
}

/// Bytes of a request, a cancel or a reject.
pub const REQUEST_LEN: usize = 17;

/// A whole message about a block: one is written for each block, so it is made in one go.
fn request_message(id: u8, block: BlockRequest) -> [u8; REQUEST_LEN] {
    let [p0, p1, p2, p3] = block.piece.to_be_bytes();
    let [b0, b1, b2, b3] = block.begin.to_be_bytes();
    let [l0, l1, l2, l3] = block.length.to_be_bytes();
    [0, 0, 0, 13, id, p0, p1, p2, p3, b0, b1, b2, b3, l0, l1, l2, l3]
}

/// Appends an extension message (BEP 10) without making a [`Message`] first.
pub fn put_extended(out: &mut BytesMut, extension: u8, payload: &[u8]) {
    put_head(out, id::EXTENDED, payload.len().saturating_add(1));
    out.put_u8(extension);
    out.put_slice(payload);
}

fn put_head(out: &mut BytesMut, id: u8, payload: usize) {
    out.reserve(payload.saturating_add(5));
    out.put_u32(wire_len(payload).saturating_add(1));
    out.put_u8(id);
}

fn put_hash_request(out: &mut BytesMut, request: &HashRequest) {
    out.put_slice(&request.pieces_root);
    for number in [request.base_layer, request.index, request.length, request.proof_layers] {
        out.put_u32(number);
    }
}

fn wire_len(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Bytes of a [`HashRequest`] on the wire.
pub(crate) const HASH_REQUEST_LEN: usize = 48;

/// The numbers of the messages.
pub mod id {
    #![allow(missing_docs, reason = "each is the message of the same name in `Message`")]

    pub const CHOKE: u8 = 0;
    pub const UNCHOKE: u8 = 1;
    pub const INTERESTED: u8 = 2;
    pub const NOT_INTERESTED: u8 = 3;
    pub const HAVE: u8 = 4;
    pub const BITFIELD: u8 = 5;
    pub const REQUEST: u8 = 6;
    pub const PIECE: u8 = 7;
    pub const CANCEL: u8 = 8;
    pub const PORT: u8 = 9;
    pub const SUGGEST: u8 = 13;
    pub const HAVE_ALL: u8 = 14;
    pub const HAVE_NONE: u8 = 15;
    pub const REJECT: u8 = 16;
    pub const ALLOWED_FAST: u8 = 17;
    pub const EXTENDED: u8 = 20;
    pub const HASH_REQUEST: u8 = 21;
    pub const HASHES: u8 = 22;
    pub const HASH_REJECT: u8 = 23;
}
