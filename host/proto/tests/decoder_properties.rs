//! What must hold for every stream of bytes that a peer can send, however the network cuts it.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use reef_proto::decoder::{DecodeError, Decoder, Item, Limits};
use reef_proto::handshake::{Handshake, Reserved};
use reef_proto::message::HashRequest;
use reef_proto::{BlockRequest, Message, PeerId};

const PIECES: u32 = 100;

/// Everything that comes out of a stream in these parts, and the most that the decoder ever held after a part.
fn decode<T: Into<BytesMut>>(parts: Vec<T>, mut decoder: Decoder) -> (Vec<Item>, Option<DecodeError>, usize) {
    let mut items = Vec::new();
    let mut held = 0;
    for part in parts {
        decoder.push(part);
        loop {
            match decoder.next_item() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Some(error), held),
            }
        }
        held = held.max(decoder.held());
    }
    (items, None, held)
}

/// The stream in parts of these lengths, over and over.
fn cut(stream: &[u8], lengths: &[usize]) -> Vec<Bytes> {
    let mut parts = Vec::new();
    let mut rest = stream;
    for len in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (part, tail) = rest.split_at((*len).min(rest.len()));
        parts.push(Bytes::copy_from_slice(part));
        rest = tail;
    }
    parts
}

/// The same, side by side in one buffer.
fn cut_in_place(stream: &[u8], lengths: &[usize]) -> Vec<BytesMut> {
    let mut rest = BytesMut::from(stream);
    cut(stream, lengths).iter().map(|part| rest.split_to(part.len())).collect()
}

fn limits() -> Limits {
    Limits { pieces: Some(PIECES) }
}

fn block() -> impl Strategy<Value = BlockRequest> {
    any::<(u32, u32, u32)>().prop_map(|(piece, begin, length)| BlockRequest { piece, begin, length })
}

fn hash_request() -> impl Strategy<Value = Box<HashRequest>> {
    any::<([u8; 32], [u32; 4])>().prop_map(|(pieces_root, [base_layer, index, length, proof_layers])| {
        Box::new(HashRequest { pieces_root, base_layer, index, length, proof_layers })
    })
}

fn payload(len: std::ops::Range<usize>) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), len).prop_map(Bytes::from)
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        prop::sample::select(vec![
            Message::KeepAlive,
            Message::Choke,
            Message::Unchoke,
            Message::Interested,
            Message::NotInterested,
            Message::HaveAll,
            Message::HaveNone,
        ]),
        any::<u32>().prop_map(Message::Have),
        any::<u32>().prop_map(Message::Suggest),
        any::<u32>().prop_map(Message::AllowedFast),
        any::<u16>().prop_map(Message::Port),
        payload(13..14).prop_map(Message::Bitfield),
        block().prop_map(Message::Request),
        block().prop_map(Message::Cancel),
        block().prop_map(Message::Reject),
        (any::<u32>(), any::<u32>(), payload(1..500)).prop_map(|(piece, begin, data)| Message::Piece {
            piece,
            begin,
            data
        }),
        (any::<u8>(), payload(0..300)).prop_map(|(id, payload)| Message::Extended { id, payload }),
        (24..=255u8, payload(0..100)).prop_map(|(id, payload)| Message::Unknown { id, payload }),
        hash_request().prop_map(Message::HashRequest),
        hash_request().prop_map(Message::HashReject),
        (hash_request(), payload(64..65)).prop_map(|(request, hashes)| Message::Hashes { request, hashes }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn cuts_do_not_matter(
        messages in prop::collection::vec(message(), 0..20),
        lengths in prop::collection::vec(1..800usize, 1..10),
        id in any::<[u8; 20]>(),
    ) {
        let handshake = Handshake { reserved: Reserved([0xff; 8]), info_hash: id, peer_id: PeerId(id) };
        let mut stream = BytesMut::from(&handshake.to_bytes()[..]);
        messages.iter().for_each(|message| message.encode_into(&mut stream));
        let expected: Vec<Item> =
            std::iter::once(Item::Handshake(handshake)).chain(messages.into_iter().map(Item::Message)).collect();
        for lengths in [&lengths[..], &[stream.len()], &[1]] {
            for decoded in [
                decode(cut(&stream, lengths), Decoder::new(limits())),
                decode(cut_in_place(&stream, lengths), Decoder::new(limits())),
            ] {
                prop_assert_eq!(decoded.1, None);
                prop_assert_eq!(&decoded.0, &expected);
            }
        }
    }

    #[test]
    fn random_bytes_neither_panic_nor_pile_up(
        stream in prop::collection::vec(prop_oneof![3 => Just(0u8), 2 => 0..24u8, 1 => any::<u8>()], 0..4000),
        lengths in prop::collection::vec(1..500usize, 1..10),
    ) {
        let whole = decode(cut(&stream, &[usize::MAX]), Decoder::after_handshake(limits()));
        let parts = decode(cut(&stream, &lengths), Decoder::after_handshake(limits()));
        let in_place = decode(cut_in_place(&stream, &lengths), Decoder::after_handshake(limits()));
        prop_assert_eq!(&parts, &in_place);
        prop_assert_eq!(&whole.0, &parts.0);
        prop_assert_eq!(whole.1, parts.1);
        let items: usize = parts.0.iter().map(|item| match item {
            Item::Message(Message::KeepAlive) => 4,
            _ => 5,
        }).sum();
        prop_assert!(parts.2 <= stream.len() - items);
        let _ = decode(cut(&stream, &lengths), Decoder::new(limits()));
    }

    #[test]
    fn too_much_is_refused_before_it_is_held(id in any::<u8>(), length in 1024 * 1024 + 2..=u32::MAX) {
        let mut decoder = Decoder::after_handshake(limits());
        let mut head = length.to_be_bytes().to_vec();
        head.push(id);
        decoder.push(Bytes::from(head));
        prop_assert!(decoder.next_item().is_err());
    }
}

#[test]
fn announced_length_alone_takes_no_memory() {
    let mut decoder = Decoder::after_handshake(Limits { pieces: None });
    decoder.push(Bytes::from_static(b"\0\x10\0\x01\x14"));
    assert_eq!(decoder.next_item(), Ok(None));
    assert_eq!(decoder.held(), 5);
    assert!(size_of::<Decoder>() <= 96, "{} bytes", size_of::<Decoder>());
    assert!(size_of::<Item>() <= 64, "{} bytes", size_of::<Item>());
}
