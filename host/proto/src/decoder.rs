//! A peer's byte stream to messages, without copying what lies in one buffer. BEP 3 and all that [`Message`] names.
//!
//! The hot path: a message inside one buffer costs no allocation, and a block is a slice of that buffer, also where several
//! reads filled it. It must never allocate by a length that a
//! peer merely announced, and never wait for the rest of a message that its first five bytes already condemn.

use bytes::{Buf, Bytes, BytesMut};
use std::sync::Arc;
use thiserror::Error;

use crate::bitfield::byte_count;
use crate::handshake::{HANDSHAKE_LEN, Handshake};
use crate::message::{BlockRequest, HASH_REQUEST_LEN, HashRequest, Message, id};
use crate::message_ids::MessageIds;

/// Turns the buffers that a peer's connection delivers into its handshake and messages.
///
/// Give it a buffer with [`Decoder::push`], then take items until there are none. Between buffers it holds at most the bytes of one unfinished
/// message, and nothing at all when the last buffer ended with a message. Where the next buffer lies behind the last one in
/// memory, the message is not copied.
#[derive(Debug)]
pub struct Decoder {
    input: BytesMut,
    /// All that `input` has is the beginning of an item.
    is_tail: bool,
    /// The unfinished message at the end of earlier buffers, from its length on. While there is one, no message in `input` is
    /// complete before it.
    partial: BytesMut,
    stage: Stage,
    limits: Limits,
    ids: Option<Arc<MessageIds>>,
}

/// One thing that a peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The first thing on a connection, and only that.
    Handshake(Handshake),
    /// Everything after it.
    Message(Message),
}

/// What a peer may send before its torrent can judge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Number of pieces where it is known: a bitfield must then have exactly its size. Without it (a magnet before its metadata) up to
    /// [`MAX_PIECES`] bits are taken.
    pub pieces: Option<u32>,
}

/// Why a connection must be closed. The stream cannot be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The connection does not begin with BEP 3's protocol name.
    #[error("not a BitTorrent handshake")]
    NotBitTorrent,
    /// A message with a length that its kind cannot have.
    #[error("message {id} with a length of {length}")]
    MessageLength {
        /// The message's number.
        id: u8,
        /// Announced length, the number's byte included.
        length: u32,
    },
    /// A length that no message can have.
    #[error("message with a length of {length}")]
    TooLong {
        /// Announced length.
        length: u32,
    },
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Handshake,
    Messages,
    Failed(DecodeError),
}

impl Decoder {
    /// A decoder at the start of a connection: the handshake comes first.
    pub fn new(limits: Limits) -> Self {
        let (input, partial) = (BytesMut::new(), BytesMut::new());
        Self { input, is_tail: false, partial, stage: Stage::Handshake, limits, ids: None }
    }

    /// A decoder for a stream whose handshake was read elsewhere.
    pub fn after_handshake(limits: Limits) -> Self {
        Self { stage: Stage::Messages, ..Self::new(limits) }
    }

    /// Replaces the limits: the torrent became known, or its metadata arrived.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// From the next message on, the stream has these numbers in place of the standard ones.
    pub fn set_message_ids(&mut self, ids: Arc<MessageIds>) {
        self.ids = Some(ids);
    }

    /// Takes the next bytes of the stream. Take all items first: bytes that are still unread are copied, unless `data` follows
    /// them in memory.
    pub fn push(&mut self, data: impl Into<BytesMut>) {
        let data = data.into();
        let follows = self.input.as_ptr_range().end == data.as_ptr();
        if self.is_tail && !follows {
            self.release();
        }
        self.input.unsplit(data);
        self.is_tail = false;
    }

    /// Lets go of the last buffer. What it has of an unfinished message is copied.
    pub fn release(&mut self) {
        if self.is_tail {
            let rest = std::mem::take(&mut self.input);
            self.partial.extend_from_slice(&rest);
        }
    }

    /// The next handshake or message; `None` when more bytes are needed. An error is final and comes again at every later call.
    pub fn next_item(&mut self) -> Result<Option<Item>, DecodeError> {
        let taken = match self.stage {
            Stage::Messages => self.take_message().map(|message| message.map(Item::Message)),
            Stage::Handshake => self.take_handshake().map(|handshake| handshake.map(Item::Handshake)),
            Stage::Failed(error) => return Err(error),
        };
        match taken {
            Ok(None) if self.input.is_empty() => self.input = BytesMut::new(),
            Ok(None) => self.is_tail = true,
            Ok(Some(_)) => {}
            Err(error) => self.stage = Stage::Failed(error),
        }
        taken
    }

    /// Whether nothing is held: no unread byte, no unfinished message.
    pub fn is_idle(&self) -> bool {
        self.input.is_empty() && self.partial.is_empty()
    }

    /// Bytes held of buffers that were pushed.
    pub fn held(&self) -> usize {
        self.input.len().saturating_add(self.partial.len())
    }

    /// How many more bytes the message needs that the last buffer ended in; 0 if it ended with a message or in the head of one.
    pub fn missing(&self) -> usize {
        let begun = if self.partial.is_empty() { &self.input } else { &self.partial };
        match frame_len(begun, (self.limits, self.ids.as_deref())) {
            Ok(Frame::Whole(total)) => total.saturating_sub(begun.len()),
            _ => 0,
        }
    }

    /// Takes back every byte that is not part of an item yet, in the stream's order. What refused to be a handshake is among them.
    pub fn take_unparsed(&mut self) -> Bytes {
        let input = std::mem::take(&mut self.input);
        let mut held = std::mem::take(&mut self.partial);
        held.unsplit(input);
        held.freeze()
    }

    fn take_message(&mut self) -> Result<Option<Message>, DecodeError> {
        if self.partial.is_empty() {
            return take_message(&mut self.input, (self.limits, self.ids.as_deref()));
        }
        let ids = self.ids.clone();
        let rules = (self.limits, ids.as_deref());
        loop {
            // Only the head says how much is wanted, and it may be cut too.
            let wanted = match frame_len(&self.partial, rules)? {
                Frame::Whole(total) if total == self.partial.len() => {
                    return take_message(&mut std::mem::take(&mut self.partial), rules);
                }
                Frame::Whole(total) | Frame::Head(total) => total,
            };
            if !self.fill_partial(wanted) {
                return Ok(None);
            }
        }
    }

    fn take_handshake(&mut self) -> Result<Option<Handshake>, DecodeError> {
        if !self.partial.is_empty() {
            self.fill_partial(HANDSHAKE_LEN);
        }
        let start = if self.partial.is_empty() { &self.input[..] } else { &self.partial[..] };
        if !Handshake::can_begin_with(start) {
            return Err(DecodeError::NotBitTorrent);
        }
        let Some(bytes) = start.first_chunk::<HANDSHAKE_LEN>() else {
            return Ok(None);
        };
        let handshake = Handshake::from_bytes(bytes).ok_or(DecodeError::NotBitTorrent)?;
        if self.partial.is_empty() {
            self.input.advance(HANDSHAKE_LEN);
        } else {
            self.partial = BytesMut::new();
        }
        self.stage = Stage::Messages;
        Ok(Some(handshake))
    }

    /// Moves bytes from the input until `partial` has `wanted`; false when the input ends before.
    fn fill_partial(&mut self, wanted: usize) -> bool {
        let missing = wanted.saturating_sub(self.partial.len());
        let part = self.input.split_to(missing.min(self.input.len()));
        self.partial.extend_from_slice(&part);
        part.len() == missing
    }
}

/// How long the message at the start of a stream is.
enum Frame {
    /// Its head is there and allowed; this many bytes with its head.
    Whole(usize),
    /// Its head is cut: this many bytes are needed to say more.
    Head(usize),
}

/// What a connection's messages are read by: their limits, and numbers of its own.
type Rules<'a> = (Limits, Option<&'a MessageIds>);

/// The standard number of a message.
fn standard_id(wire: u8, ids: Option<&MessageIds>) -> u8 {
    ids.map_or(wire, |ids| ids.from_wire(wire))
}

/// Reads and judges the head of a message.
fn frame_len(stream: &[u8], (limits, ids): Rules<'_>) -> Result<Frame, DecodeError> {
    let Some((head, rest)) = stream.split_first_chunk::<4>() else {
        return Ok(Frame::Head(4));
    };
    let length = u32::from_be_bytes(*head);
    if length == 0 {
        return Ok(Frame::Whole(4));
    }
    if length > MAX_LENGTH {
        return Err(DecodeError::TooLong { length });
    }
    let Some(id) = rest.first() else {
        return Ok(Frame::Head(5));
    };
    let id = standard_id(*id, ids);
    if !is_allowed(id, length - 1, limits) {
        return Err(DecodeError::MessageLength { id, length });
    }
    Ok(Frame::Whole(4 + length as usize))
}

/// Whether message `id` may carry `payload` bytes.
fn is_allowed(id: u8, payload: u32, limits: Limits) -> bool {
    let payload = payload as usize;
    match id {
        id::CHOKE | id::UNCHOKE | id::INTERESTED | id::NOT_INTERESTED | id::HAVE_ALL | id::HAVE_NONE => payload == 0,
        id::HAVE | id::SUGGEST | id::ALLOWED_FAST => payload == 4,
        id::REQUEST | id::CANCEL | id::REJECT => payload == 12,
        id::PORT => payload == 2,
        id::PIECE => (9..=8 + MAX_BLOCK as usize).contains(&payload),
        id::BITFIELD => match limits.pieces {
            Some(pieces) => payload == byte_count(pieces),
            None => payload <= byte_count(MAX_PIECES),
        },
        id::EXTENDED => (1..=MAX_PAYLOAD).contains(&payload),
        id::HASH_REQUEST | id::HASH_REJECT => payload == HASH_REQUEST_LEN,
        id::HASHES => {
            payload <= MAX_PAYLOAD && payload.checked_sub(HASH_REQUEST_LEN).is_some_and(|hashes| hashes % 32 == 0)
        }
        _ => payload <= MAX_PAYLOAD,
    }
}

/// The message with this standard number and payload, as it would be read from a stream.
///
/// # Errors
/// The payload is not one of such a message.
pub fn read_message(id: u8, payload: &[u8], limits: Limits) -> Result<Message, DecodeError> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).saturating_add(1);
    if length > MAX_LENGTH {
        return Err(DecodeError::TooLong { length });
    }
    let mut stream = BytesMut::from(&[&length.to_be_bytes(), &[id][..], payload].concat()[..]);
    take_message(&mut stream, (limits, None))?.ok_or(DecodeError::MessageLength { id, length })
}

/// Takes one whole message from the start of `stream`, or nothing.
fn take_message(stream: &mut BytesMut, rules: Rules<'_>) -> Result<Option<Message>, DecodeError> {
    let Frame::Whole(total) = frame_len(stream, rules)? else {
        return Ok(None);
    };
    let Some((frame, _)) = stream.split_at_checked(total) else {
        return Ok(None);
    };
    let Some((&id, payload)) = frame.get(4..).and_then(<[u8]>::split_first) else {
        stream.advance(4);
        return Ok(Some(Message::KeepAlive));
    };
    let id = standard_id(id, rules.1);
    let fixed = match id {
        id::CHOKE => Some(Message::Choke),
        id::UNCHOKE => Some(Message::Unchoke),
        id::INTERESTED => Some(Message::Interested),
        id::NOT_INTERESTED => Some(Message::NotInterested),
        id::HAVE_ALL => Some(Message::HaveAll),
        id::HAVE_NONE => Some(Message::HaveNone),
        id::HAVE => number(payload).map(Message::Have),
        id::SUGGEST => number(payload).map(Message::Suggest),
        id::ALLOWED_FAST => number(payload).map(Message::AllowedFast),
        id::REQUEST => block_request(payload).map(Message::Request),
        id::CANCEL => block_request(payload).map(Message::Cancel),
        id::REJECT => block_request(payload).map(Message::Reject),
        id::PORT => payload.first_chunk().map(|port| Message::Port(u16::from_be_bytes(*port))),
        id::HASH_REQUEST => hash_request(payload).map(Message::HashRequest),
        id::HASH_REJECT => hash_request(payload).map(Message::HashReject),
        _ => {
            return take_with_payload(stream, id, total).map(Some).ok_or_else(|| too_short(id, total));
        }
    };
    let message = fixed.ok_or_else(|| too_short(id, total))?;
    stream.advance(total);
    Ok(Some(message))
}

/// Takes a message whose payload is kept as bytes. `stream` holds all of its `total` bytes.
fn take_with_payload(stream: &mut BytesMut, id: u8, total: usize) -> Option<Message> {
    let (_, fields) = stream.split_at_checked(HEAD_LEN)?;
    let message = match id {
        id::PIECE => {
            let (piece, begin) = (number(fields)?, number(fields.get(4..)?)?);
            Message::Piece { piece, begin, data: payload(stream, HEAD_LEN + 8, total) }
        }
        id::BITFIELD => Message::Bitfield(payload(stream, HEAD_LEN, total)),
        id::EXTENDED => Message::Extended { id: *fields.first()?, payload: payload(stream, HEAD_LEN + 1, total) },
        id::HASHES => {
            let request = hash_request(fields)?;
            Message::Hashes { request, hashes: payload(stream, HEAD_LEN + HASH_REQUEST_LEN, total) }
        }
        _ => Message::Unknown { id, payload: payload(stream, HEAD_LEN, total) },
    };
    Some(message)
}

/// Takes a message of `total` bytes off the stream and returns what follows its first `skip` bytes.
fn payload(stream: &mut BytesMut, skip: usize, total: usize) -> Bytes {
    stream.advance(skip.min(stream.len()));
    stream.split_to(total.saturating_sub(skip).min(stream.len())).freeze()
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|number| u32::from_be_bytes(*number))
}

fn block_request(bytes: &[u8]) -> Option<BlockRequest> {
    let (piece, rest) = bytes.split_first_chunk::<4>()?;
    let (begin, rest) = rest.split_first_chunk::<4>()?;
    Some(BlockRequest { piece: u32::from_be_bytes(*piece), begin: u32::from_be_bytes(*begin), length: number(rest)? })
}

fn hash_request(bytes: &[u8]) -> Option<Box<HashRequest>> {
    let (root, rest) = bytes.split_first_chunk::<32>()?;
    let (base_layer, rest) = rest.split_first_chunk::<4>()?;
    let layers = block_request(rest)?;
    Some(Box::new(HashRequest {
        pieces_root: *root,
        base_layer: u32::from_be_bytes(*base_layer),
        index: layers.piece,
        length: layers.begin,
        proof_layers: layers.length,
    }))
}

/// What a payload without its fields would be. The table of lengths refuses it before.
fn too_short(id: u8, total: usize) -> DecodeError {
    DecodeError::MessageLength { id, length: u32::try_from(total.saturating_sub(4)).unwrap_or(u32::MAX) }
}

/// The largest block that a peer may send, in bytes. Nobody asks for more than 16 KiB of it; libtorrent and others serve as much.
pub const MAX_BLOCK: u32 = 128 * 1024;

/// The largest number of pieces for which a bitfield is taken while a torrent's own number is unknown.
pub const MAX_PIECES: u32 = 1 << 24;

/// The largest payload of an extension message, an answer with hashes, or a message that no BEP knows, in bytes.
pub const MAX_PAYLOAD: usize = 1024 * 1024;

/// A length beyond every limit above: refused before the message's number is known.
const MAX_LENGTH: u32 = 1 + MAX_PIECES / 8;

/// Bytes of a message's length and number.
const HEAD_LEN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { pieces: Some(37) };

    #[track_caller]
    fn check(stream: &[u8], expected: Result<Option<Message>, DecodeError>) {
        let mut decoder = Decoder::after_handshake(LIMITS);
        decoder.push(Bytes::copy_from_slice(stream));
        assert_eq!(decoder.next_item(), expected.map(|message| message.map(Item::Message)));
    }

    #[test]
    fn what_an_unfinished_message_lacks_is_known_once_its_head_is_there() {
        let mut decoder = Decoder::after_handshake(LIMITS);
        for (bytes, missing) in [(&[0, 0, 0][..], 0), (&[13, 6], 12), (&[1; 11], 1), (&[1], 0), (&[0, 0, 0, 0], 0)] {
            decoder.push(Bytes::copy_from_slice(bytes));
            while decoder.next_item().unwrap().is_some() {}
            assert_eq!(decoder.missing(), missing, "{bytes:?}");
        }
    }

    #[test]
    fn a_number_and_a_payload_make_the_message_that_a_stream_would() {
        let limits = Limits { pieces: Some(9) };
        assert_eq!(read_message(id::HAVE, &[0, 0, 0, 7], limits), Ok(Message::Have(7)));
        assert_eq!(read_message(id::BITFIELD, &[1, 0], limits), Ok(Message::Bitfield(Bytes::from_static(&[1, 0]))));
        assert_eq!(read_message(id::CHOKE, &[], limits), Ok(Message::Choke));
        assert_eq!(read_message(99, b"x", limits), Ok(Message::Unknown { id: 99, payload: Bytes::from_static(b"x") }));
        for (id, payload) in [(id::HAVE, &[0, 7][..]), (id::BITFIELD, &[1]), (id::CHOKE, &[0]), (id::EXTENDED, &[])] {
            assert!(read_message(id, payload, limits).is_err(), "{id}");
        }
        assert!(read_message(99, &vec![0; MAX_LENGTH as usize], limits).is_err());
    }

    #[test]
    fn lengths_are_exact() {
        let wrong = |id, length| Err(DecodeError::MessageLength { id, length });
        check(b"\0\0\0\x02\0!", wrong(0, 2));
        check(b"\0\0\0\x04\x04\0\0\0", wrong(4, 4));
        check(b"\0\0\0\x06\x06\0\0\0\0", wrong(6, 6));
        check(b"\0\0\0\x05\x05\0\0\0\0", wrong(5, 5));
        check(b"\0\0\0\x02\x0ex", wrong(14, 2));
        check(b"\0\0\0\x09\x07\0\0\0\0\0\0\0\0", wrong(7, 9));
        check(b"\0\0\0\x01\x14", wrong(20, 1));
        check(b"\0\0\0\x0b\x15", wrong(21, 11));
        check(b"\0\0\0\x02\x09\0", wrong(9, 2));
        check(b"\0\0\0\x0b\x06\0\0\0\0", wrong(6, 11));
        check(b"\0\x20\0\x01\x07", wrong(7, 2 * 1024 * 1024 + 1));
        check(b"\x04\0\0\0\x05", Err(DecodeError::TooLong { length: 64 * 1024 * 1024 }));
        check(b"\xff\xff\xff\xff", Err(DecodeError::TooLong { length: u32::MAX }));
        check(b"\0\0\0", Ok(None));
        check(b"\0\0\0\x01", Ok(None));
        check(b"\0\0\0\0", Ok(Some(Message::KeepAlive)));
    }

    #[test]
    fn block_inside_one_buffer_is_a_slice_of_it_however_it_was_read() {
        for lengths in [&[16_406][..], &[16_397, 9], &[16_398, 8], &[3, 10, 1, 9_000, 7_392], &[1; 16_406]] {
            let mut buffer = BytesMut::new();
            Message::Piece { piece: 1, begin: 2, data: Bytes::from(vec![7; 16384]) }.encode_into(&mut buffer);
            Message::Have(3).encode_into(&mut buffer);
            let block = buffer[13..].as_ptr();
            let mut decoder = Decoder::after_handshake(LIMITS);
            let mut found = Vec::new();
            for length in lengths {
                decoder.push(buffer.split_to(*length));
                found.extend(std::iter::from_fn(|| decoder.next_item().unwrap()));
            }
            let [Item::Message(Message::Piece { data, .. }), Item::Message(Message::Have(3))] = &found[..] else {
                panic!("{found:?}")
            };
            assert_eq!((data.len(), data.as_ptr()), (16384, block), "{:?}", lengths.len());
            assert!(buffer.is_empty() && decoder.is_idle());
            drop(found);
            assert!(buffer.try_reclaim(16_406), "an idle decoder holds no buffer");
        }
    }

    #[test]
    fn a_buffer_that_was_let_go_of_is_held_no_more() {
        let mut decoder = Decoder::after_handshake(LIMITS);
        let mut buffer = BytesMut::with_capacity(64);
        buffer.extend_from_slice(b"\0\0\0\x05\x04\0");
        decoder.push(buffer.split());
        assert_eq!(decoder.next_item(), Ok(None));
        assert!(!buffer.try_reclaim(64));
        decoder.release();
        decoder.release();
        assert!(buffer.try_reclaim(64));
        assert_eq!((decoder.held(), decoder.missing()), (6, 3));
        decoder.push(Bytes::from_static(b"\0\0\x09"));
        assert_eq!(decoder.next_item(), Ok(Some(Item::Message(Message::Have(9)))));
    }

    #[test]
    fn failed_stream_stays_failed_and_can_be_handed_on() {
        let mut decoder = Decoder::new(LIMITS);
        decoder.push(Bytes::from_static(b"\x13BitTorrent"));
        assert_eq!(decoder.next_item(), Ok(None));
        decoder.push(Bytes::from_static(b" protocoX"));
        assert_eq!(decoder.next_item(), Err(DecodeError::NotBitTorrent));
        assert_eq!(decoder.next_item(), Err(DecodeError::NotBitTorrent));
        assert_eq!(decoder.take_unparsed(), &b"\x13BitTorrent protocoX"[..]);
        assert!(decoder.is_idle());
    }
}
