//! Vectors of other projects for what peers say to each other: one test a group of `vectors.json`.
#![allow(clippy::disallowed_methods, reason = "the cases are read from a folder; the crate itself does no I/O")]

use std::net::{IpAddr, SocketAddr};

#[path = "metainfo/cases.rs"]
mod cases;

use bytes::{Bytes, BytesMut};
use reef_proto::decoder::{Decoder, Item, Limits};
use reef_proto::extended::ExtendedHandshake;
use reef_proto::handshake::{Feature, PROTOCOL, Reserved};
use reef_proto::{Bitfield, BlockRequest, Message, PeerId, address, compact, fast, message, peer_priority};
use serde_json::Value;

use cases::{hex, vectors};

fn rows(value: &Value) -> &[Value] {
    let rows = value.as_array().unwrap();
    assert!(!rows.is_empty());
    rows
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

/// A C string literal's bytes.
fn unescape(literal: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = literal.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (radix, digits) = match rest {
            [b'x', ..] => (16, &rest[1..]),
            _ => (8, rest),
        };
        let limit = if radix == 16 { 2 } else { 3 };
        let len = digits.iter().take(limit).take_while(|d| char::from(**d).is_digit(radix)).count();
        bytes.push(u8::from_str_radix(std::str::from_utf8(&digits[..len]).unwrap(), radix).unwrap());
        rest = &digits[len..];
    }
    bytes
}

fn decode(stream: &[u8]) -> Vec<Result<Option<Message>, ()>> {
    let mut decoder = Decoder::after_handshake(Limits { pieces: Some(37) });
    decoder.push(Bytes::copy_from_slice(stream));
    let mut seen = Vec::new();
    loop {
        let item = decoder.next_item();
        let is_last = !matches!(item, Ok(Some(_)));
        seen.push(match item {
            Ok(Some(Item::Message(message))) => Ok(Some(message)),
            Ok(Some(Item::Handshake(_))) | Err(_) => Err(()),
            Ok(None) => Ok(None),
        });
        if is_last {
            return seen;
        }
    }
}

#[test]
fn peer_wire() {
    let Some(group) = vectors("peer_wire") else {
        return;
    };
    let row = |name: &str| rows(&group["vectors"]).iter().find(|row| row["name"] == name).unwrap().clone();
    for (name, message) in
        [("keepalive", Message::KeepAlive), ("have 42", Message::Have(42)), ("port 0xaabb", Message::Port(0xaabb))]
    {
        let expected = hex(&row(name)["hex"]);
        let mut encoded = BytesMut::new();
        message.encode_into(&mut encoded);
        assert_eq!(encoded, expected, "{name}");
        assert_eq!(decode(&expected), [Ok(Some(message)), Ok(None)], "{name}");
    }
    let bits = Bitfield::from_wire(&hex(&row("bitfield 37 bits {2,7,32}")["payload_hex"]), 37).unwrap();
    assert_eq!(bits.iter().collect::<Vec<_>>(), [2, 7, 32]);
    let bytes = row("bitfield bytes 8106");
    let bits = Bitfield::from_wire(&[0x81, 0x06], number(&bytes["nbits"])).unwrap();
    assert_eq!(bits.iter().collect::<Vec<_>>(), rows(&bytes["bits"]).iter().map(number).collect::<Vec<_>>());
    assert_eq!(Message::HaveAll.id().map(u32::from), Some(number(&row("have all id")["value"])));
    assert_eq!(Message::NotInterested.id().map(u32::from), Some(number(&row("not interested id")["value"])));

    for row in rows(&group["malformed"]) {
        let why = text(&row["why"]);
        // What is merely cut can still become a message; what is wrong cannot.
        let expected =
            if why.contains("truncated header") || why.contains("body missing") { Ok(None) } else { Err(()) };
        assert_eq!(decode(&hex(&row["hex"])), [expected], "{why}");
    }
    assert_eq!(hex(&group["handshake"]["prefix"]), PROTOCOL);
    let reserved = &group["handshake"]["reserved"];
    for (name, feature) in [
        ("dht", Feature::Dht),
        ("fast", Feature::Fast),
        ("v2 upgrade", Feature::V2),
        ("extension protocol", Feature::Extended),
    ] {
        let (byte, bit) = text(&reserved[name]).strip_prefix("byte ").unwrap().split_once(" & 0x").unwrap();
        let mut bytes = [0; 8];
        bytes[byte.parse::<usize>().unwrap()] = u8::from_str_radix(bit, 16).unwrap();
        assert_eq!(Reserved::default().with(feature).0, bytes, "{name}");
    }
}

#[test]
fn fast_extension() {
    let Some(group) = vectors("bep6_allowed_fast") else {
        return;
    };
    for row in rows(&group["vectors"]) {
        let ip: IpAddr = text(&row["ip"]).parse().unwrap();
        let info_hash = hex(&row["infohash"]).try_into().unwrap();
        let count = number(&row["k"]) as usize;
        let expected: Vec<u32> = rows(&row["set"]).iter().map(number).collect();
        assert_eq!(fast::allowed_fast_set(ip, info_hash, number(&row["num_pieces"]), count), expected);
    }
    let block = BlockRequest { piece: 1, begin: 2, length: 3 };
    let messages = [
        ("0x0d suggest", Message::Suggest(1)),
        ("0x0e have all", Message::HaveAll),
        ("0x0f have none", Message::HaveNone),
        ("0x10 reject", Message::Reject(block)),
        ("0x11 allowed fast", Message::AllowedFast(1)),
    ];
    for (name, message) in messages {
        let mut encoded = BytesMut::new();
        message.encode_into(&mut encoded);
        let layout = text(&group["messages"][name]);
        let len = layout.split([' ', ',']).nth(1).unwrap().parse::<usize>().unwrap();
        assert_eq!(encoded.len(), 4 + len, "{name}");
        assert_eq!(encoded[4], u8::from_str_radix(&name[2..4], 16).unwrap(), "{name}");
    }
}

#[test]
fn peer_priorities() {
    let Some(group) = vectors("bep40_peer_priority") else {
        return;
    };
    for row in rows(&group["vectors"]) {
        let end = |name: &str| {
            let ip: IpAddr = text(&row[name][0]).parse().unwrap();
            SocketAddr::new(ip, u16::try_from(number(&row[name][1])).unwrap())
        };
        // Where libtorrent departs from the BEP, the row has a value for each.
        let expected = if row["per_bep_text"].is_null() { &row["crc32c"] } else { &row["per_bep_text"]["crc32c"] };
        let expected = u32::from_str_radix(text(expected), 16).unwrap();
        assert_eq!(peer_priority::peer_priority(end("a"), end("b")), expected, "{row}");
    }
}

#[test]
fn compact_addresses() {
    let Some(group) = vectors("compact_peers") else {
        return;
    };
    for row in rows(&group["vectors"]) {
        let list = hex(&row["hex"]);
        let expected: Vec<SocketAddr> = match row["addrs"].as_array() {
            Some(addresses) => addresses.iter().map(|address| text(address).parse().unwrap()).collect(),
            None => vec![text(&row["addr"]).parse().unwrap()],
        };
        let parsed: Vec<SocketAddr> = match expected[0] {
            SocketAddr::V4(_) => compact::parse_v4(&list).collect(),
            SocketAddr::V6(_) => compact::parse_v6(&list).collect(),
        };
        assert_eq!(parsed, expected);
        let mut written = Vec::new();
        expected.iter().for_each(|address| compact::put(&mut written, *address));
        assert_eq!(written, list);
    }
    for row in rows(&group["global_unicast"]) {
        let ip: IpAddr = text(&row[0]).parse().unwrap();
        assert_eq!(address::is_global_unicast(ip), row[1].as_bool().unwrap(), "{ip}");
    }
}

#[test]
fn peer_ids() {
    let Some(group) = vectors("peer_id") else {
        return;
    };
    let named = |start: &[u8]| {
        let mut id = *b"....................";
        id[..start.len()].copy_from_slice(start);
        PeerId(id).client_name()
    };
    for row in rows(&group["vectors"]) {
        let expected = unescape(text(&row["client_c_escaped"]));
        let prefix = unescape(text(&row["prefix_c_escaped"]));
        assert_eq!(named(&prefix).as_bytes(), expected, "{row}");
    }
    for row in rows(&group["libtorrent"]) {
        let (id, expected) = (text(&row[0]), text(&row[1]));
        if id.starts_with("-AZ") {
            // libtorrent and transmission name this client differently; the group's other half decides.
            assert!(named(id.as_bytes()).starts_with("Azureus / Vuze 1.2.3."));
        } else if expected == "Generic" {
            assert_eq!(named(&[0; 12]), expected);
        } else {
            assert_eq!(named(id.as_bytes()), expected);
        }
    }
}

#[test]
fn our_own_id_is_url_safe_and_named() {
    let id = PeerId::generate([0, 25, 26, 51, 52, 61, 62, 63, 64, 127, 128, 255]);
    assert_eq!(id.as_bytes(), b"-RF0100-AZaz09-_A_A_");
    assert_eq!(id.client_name(), "reef 0.1.0");
    assert_eq!(PeerId(*b"A2-1-36-0-abcdefghij").client_name(), "aria2 1.36.0");
    assert_eq!(PeerId([0x1b; 20]).client_name(), "%1B%1B%1B%1B%1B%1B%1B%1B");
}

#[test]
fn extension_handshake() {
    let Some(group) = vectors("bep10_extension") else { return };
    let payload = extended(&hex(&group["recorded"]["hex"]), 0);
    let read = ExtendedHandshake::parse(&payload).unwrap();
    let decoded = &group["recorded"]["decoded"];
    let names = decoded["m"].as_object().unwrap();
    assert_eq!(read.ids.len(), names.len());
    for (name, id) in names {
        assert_eq!(read.id_of(name.as_bytes()).map(u32::from), Some(number(id)), "{name}");
    }
    assert_eq!(read.complete_ago, Some(number(&decoded["complete_ago"])));
    assert_eq!(read.metadata_size, Some(number(&decoded["metadata_size"])));
    assert_eq!(read.request_queue, Some(number(&decoded["reqq"])));
    assert_eq!(read.upload_only, Some(decoded["upload_only"] == 1));
    assert_eq!(read.client.as_deref(), Some(text(&decoded["v"])));
    let ip: Vec<u8> = text(&decoded["yourip"]).chars().map(|c| u8::try_from(c).unwrap()).collect();
    assert_eq!(read.your_ip, compact::parse_ip(&ip));
    assert_eq!(read.raw, payload);
}

#[test]
fn extension_messages_are_framed() {
    let Some(group) = vectors("bep11_pex") else { return };
    for row in rows(&group["vectors"]) {
        let frame = hex(&row["msg_hex"]);
        let id = u8::try_from(number(&row["expect"]["ext_id"])).unwrap();
        let payload = extended(&frame, id);
        let mut written = BytesMut::new();
        message::put_extended(&mut written, id, &payload);
        assert_eq!(written, frame);
    }
    let Some(group) = vectors("bep9_metadata") else { return };
    for name in ["request", "reject"] {
        let mut written = BytesMut::new();
        message::put_extended(&mut written, 3, text(&group[name]).as_bytes());
        assert_eq!(extended(&written, 3), text(&group[name]));
    }
}

/// The payload of the one extension message in `frame`, which has this id.
#[track_caller]
fn extended(frame: &[u8], expected_id: u8) -> Bytes {
    match &decode(frame)[..] {
        [Ok(Some(Message::Extended { id, payload })), Ok(None)] if *id == expected_id => payload.clone(),
        other => panic!("{other:?}"),
    }
}
