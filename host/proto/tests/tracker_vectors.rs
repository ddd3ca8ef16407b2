//! Vectors of other projects for trackers, and what their replies must not be able to do.
#![allow(clippy::disallowed_methods, reason = "the cases are read from a folder; the crate itself does no I/O")]

#[path = "metainfo/cases.rs"]
mod cases;

use std::net::{IpAddr, Ipv6Addr};

use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use reef_proto::PeerId;
use reef_proto::tracker::http::{self, ReplyError, Retry};
use reef_proto::tracker::udp::{self, Family, PacketError, Reply};
use reef_proto::tracker::{AnnounceEvent, AnnounceReply, AnnounceRequest, DEFAULT_INTERVAL, ScrapeStats, TrackerUrl};
use serde_json::Value;

use cases::{hex, vectors};

fn request() -> AnnounceRequest {
    AnnounceRequest {
        info_hash: [0xaa; 20],
        peer_id: PeerId(*b"-RF0100-abcdefghijkl"),
        port: 6881,
        uploaded: 1,
        downloaded: 2,
        left: 3,
        event: AnnounceEvent::Started,
        key: 0xdead_beef,
        num_want: Some(50),
        ip: None,
        ipv4: None,
        ipv6: None,
        tracker_id: None,
    }
}

fn tracker(url: &str) -> TrackerUrl {
    TrackerUrl::parse(url).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn count(value: &Value) -> Option<u32> {
    value.as_u64().map(|number| u32::try_from(number).unwrap())
}

/// The value of a parameter in a URL, not decoded.
fn parameter<'a>(url: &'a str, name: &str) -> Option<&'a str> {
    let (_, query) = url.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// A body of the cases: `\x` escapes, and an ellipsis for the rest of a dictionary.
fn body(row: &Value) -> Vec<u8> {
    let text = text(&row["body"]).replace("\u{2026} ", "d").replace(" \u{2026}", "e");
    let mut bytes = Vec::new();
    let mut parts = text.split("\\x");
    bytes.extend(parts.next().unwrap().bytes());
    for part in parts {
        let (digits, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).unwrap());
        bytes.extend(rest.bytes());
    }
    bytes
}

#[test]
fn hashes_and_text_are_escaped() {
    let Some(group) = vectors("percent_encoding") else { return };
    for row in group["vectors"].as_array().unwrap() {
        if let Some(expected) = row["query"].as_str() {
            let info_hash: [u8; 20] = hex(&row["info_hash"]).try_into().unwrap();
            let url =
                http::announce_url(&tracker("http://t.example/announce"), &AnnounceRequest { info_hash, ..request() });
            assert_eq!(parameter(&url, "info_hash"), Some(expected));
        } else {
            // The case's own form leaves more characters as they are; both must decode to the same.
            let plain = text(&row["text"]).as_bytes().to_vec();
            assert_eq!(percent_decode_str(text(&row["escape_string"])).collect::<Vec<_>>(), plain);
            let asked = AnnounceRequest { tracker_id: Some(plain.clone()), ..request() };
            let url = http::announce_url(&tracker("http://t.example/announce"), &asked);
            let escaped = parameter(&url, "trackerid").unwrap();
            assert_eq!(percent_decode_str(escaped).collect::<Vec<_>>(), plain);
            assert!(escaped.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%-._~".contains(&byte)));
        }
    }
}

#[test]
fn http_replies() {
    let Some(group) = vectors("http_tracker") else { return };
    for row in group["responses"].as_array().unwrap() {
        let expect = &row["expect"];
        let reply = http::parse_announce(&body(row));
        if expect == "error" || !expect["error"].is_null() {
            let error = reply.unwrap_err();
            if let Some(reason) = expect["error"].as_str() {
                assert_eq!(error, ReplyError::Failure { reason: reason.to_owned(), retry: None });
            }
            continue;
        }
        let reply = reply.unwrap();
        if let Some(interval) = count(&expect["interval"]) {
            assert_eq!(reply.interval, interval);
        }
        assert_eq!(reply.min_interval, count(&expect["min_interval"]));
        assert_eq!(reply.complete, count(&expect["seeders"]));
        assert_eq!(reply.incomplete, count(&expect["leechers"]));
        assert_eq!(reply.downloaded, count(&expect["downloads"]));
        assert_eq!(reply.external_ip, expect["external_ip"].as_str().map(|ip| ip.parse().unwrap()));
        let listed = match &expect["peers"] {
            Value::Array(peers) => {
                assert_eq!(reply.peers.iter().map(ToString::to_string).collect::<Vec<_>>(), *peers);
                peers.len()
            }
            number => count(number).or_else(|| count(&expect["list_peers"])).unwrap() as usize,
        };
        let six = count(&expect["peers6"]).unwrap_or_default() as usize;
        assert_eq!(reply.peers.len(), listed + six, "{row}");
        if let Some(ports) = expect["ports"].as_array() {
            assert_eq!(reply.peers.iter().take(listed).map(|p| Value::from(p.port())).collect::<Vec<_>>(), *ports);
        }
        if let Some(port) = expect["peers6_port"].as_u64() {
            assert_eq!(reply.peers.last().map(|peer| u64::from(peer.port())), Some(port));
        }
    }
}

#[test]
fn http_scrapes() {
    let Some(group) = vectors("http_tracker") else { return };
    let scrape = &group["scrape"];
    let stats = |name: &str| {
        let [complete, incomplete, downloaded] = [0, 1, 2].map(|at| count(&scrape["expect"][name][at]).unwrap());
        Some(ScrapeStats { complete, downloaded, incomplete })
    };
    let answers = http::parse_scrape(&body(scrape), &[[b'b'; 20], [b'c'; 20], [b'a'; 20]]).unwrap();
    assert_eq!(answers, [stats("b"), None, stats("a")]);
    for row in group["announce_to_scrape"].as_array().unwrap() {
        let got = tracker(text(&row[0])).scrape();
        let expected = row[1].as_str().map(|url| url.split(' ').next().unwrap());
        assert_eq!(got.as_ref().map(TrackerUrl::as_str), expected, "{row}");
    }
    let url = http::scrape_url(&tracker("http://t.example/announce?k=1"), &[[b'a'; 20], [0; 20]]).unwrap();
    let (a, zero) = ("a".repeat(20), "%00".repeat(20));
    assert_eq!(url, format!("http://t.example/scrape?k=1&info_hash={a}&info_hash={zero}"));
    assert_eq!(http::scrape_url(&tracker("http://t.example/a"), &[[0; 20]]), None);
}

#[test]
fn announce_keeps_the_query_of_the_tracker() {
    for (base, start) in [
        ("http://t.example/announce", "http://t.example/announce?info_hash="),
        ("http://t.example/announce?passkey=a%20b", "http://t.example/announce?passkey=a%20b&info_hash="),
        ("http://t.example/announce?", "http://t.example/announce?info_hash="),
        ("http://t.example/a?b&#fragment", "http://t.example/a?b&info_hash="),
    ] {
        let url = http::announce_url(&tracker(base), &request());
        assert!(url.starts_with(start), "{url}");
    }
    let asked = AnnounceRequest { ipv6: Some(Ipv6Addr::LOCALHOST), tracker_id: Some(b"a&b".to_vec()), ..request() };
    let url = http::announce_url(&tracker("http://t.example/announce"), &asked);
    let hash = "%AA".repeat(20);
    assert_eq!(
        url,
        format!(
            "http://t.example/announce?info_hash={hash}&peer_id=-RF0100-abcdefghijkl&port=6881&uploaded=1&downloaded=2&left=3\
             &key=DEADBEEF&compact=1&no_peer_id=1&event=started&numwant=50&ipv6=%3A%3A1&trackerid=a%26b"
        )
    );
    let stopped = AnnounceRequest { event: AnnounceEvent::Stopped, ..request() };
    let url = http::announce_url(&tracker("http://t.example/announce"), &stopped);
    assert_eq!((parameter(&url, "event"), parameter(&url, "numwant")), (Some("stopped"), Some("0")));
    let interval = AnnounceRequest { event: AnnounceEvent::Interval, num_want: None, ..request() };
    let url = http::announce_url(&tracker("http://t.example/announce"), &interval);
    assert_eq!((parameter(&url, "event"), parameter(&url, "numwant")), (None, None));
}

#[test]
fn refusals_are_tame_and_say_when_to_come_back() {
    let refused = |body: &[u8]| match http::parse_announce(body) {
        Err(ReplyError::Failure { reason, retry }) => (reason, retry),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(b"d14:failure reason5:\x1b[31me"), ("[31m".to_owned(), None));
    assert_eq!(refused(b"d14:failure reason0:e").0, "no, and gives no reason");
    let long = [b"d14:failure reason1000:".as_slice(), &[b'x'; 1000], b"e"].concat();
    assert_eq!(refused(&long).0.len(), 256);
    let after = |minutes: u32| Some(Retry::After { seconds: minutes * 60 });
    assert_eq!(refused(b"d14:failure reason1:x8:retry ini5ee").1, after(5));
    assert_eq!(refused(b"d14:failure reason1:x8:retry in1:7e").1, after(7));
    assert_eq!(refused(b"d14:failure reason1:x8:retry in5:nevere").1, Some(Retry::Never));
    assert_eq!(refused(b"d14:failure reason1:x8:retry ini-5ee").1, None);
    assert!(matches!(http::parse_announce(b"<html>"), Err(ReplyError::Malformed(_))));
    assert!(matches!(http::parse_announce(b"le"), Err(ReplyError::Malformed(_))));
    assert_eq!(http::parse_announce(b"d5:peersi1ee"), Err(ReplyError::BadPeers));
    assert_eq!(http::parse_scrape(b"de", &[]), Err(ReplyError::NoFiles));
}

#[test]
fn strange_numbers_count_as_absent() {
    let reply = http::parse_announce(b"d8:completei-1e8:intervali-5e12:min intervali99999999999ee").unwrap();
    assert_eq!(reply, AnnounceReply { interval: DEFAULT_INTERVAL, ..AnnounceReply::default() });
    let reply = http::parse_announce(b"d15:warning message3:a\nb10:tracker id2:\xff\x00ee").unwrap_or_default();
    assert_eq!(reply.warning.as_deref(), Some("a b"));
    assert_eq!(reply.tracker_id.as_deref(), Some(&b"\xff\0"[..]));
}

#[test]
fn udp_packets() {
    let Some(group) = vectors("udp_tracker") else { return };
    for row in group["examples"].as_array().unwrap() {
        match row["name"].as_str() {
            Some("peers") => {
                let packet =
                    [&[0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 6, 116, 0, 0, 1, 1, 0, 0, 13, 13][..], &hex(&row["hex"])].concat();
                let Ok(Reply::Announce(reply)) = udp::parse_reply(&packet, 9, Family::V4) else { panic!("no reply") };
                assert_eq!((reply.interval, reply.incomplete, reply.complete), (1652, Some(257), Some(3341)));
                let peers: Vec<String> = reply.peers.iter().map(ToString::to_string).collect();
                assert_eq!(Value::from(peers), row["expect"]);
            }
            Some(name) => {
                let (_, transaction) = name.split_once("tid=0x").unwrap();
                let transaction = u32::from_str_radix(transaction, 16).unwrap();
                assert_eq!(udp::connect_request(transaction), hex(&row["hex"]));
            }
            None => {} // a file that lies in its own project
        }
    }
    assert!(udp::connect_request(0).starts_with(&hex(&group["protocol_id"])));
}

#[test]
fn udp_announce_has_98_bytes_and_the_url_after_them() {
    let asked = AnnounceRequest { ip: Some(IpAddr::from([1, 2, 3, 4])), ..request() };
    let packet = udp::announce_request(0x0102_0304_0506_0708, 9, &asked, "");
    let mut expected = vec![1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1, 0, 0, 0, 9];
    expected.extend([0xaa; 20]);
    expected.extend(b"-RF0100-abcdefghijkl");
    expected.extend([0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1]);
    expected.extend([0, 0, 0, 2, 1, 2, 3, 4, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 50, 0x1a, 0xe1]);
    assert_eq!(packet, expected);
    assert_eq!(packet.len(), 98);

    let none = AnnounceRequest { num_want: None, event: AnnounceEvent::Interval, ..request() };
    assert_eq!(udp::announce_request(1, 1, &none, "")[92..96], [0xff; 4]);
    let packet = udp::announce_request(1, 1, &request(), "/dir?a=b");
    assert_eq!(packet[98..], *b"\x02\x08/dir?a=b");
    let packet = udp::announce_request(1, 1, &request(), &"x".repeat(300));
    assert_eq!((packet[99], packet[98 + 257], packet[98 + 258]), (255, 2, 45));
    assert_eq!(packet.len(), 98 + 300 + 4);
}

#[test]
fn udp_scrapes() {
    let packet = udp::scrape_request(1, 2, &[[7; 20], [8; 20]]);
    assert_eq!(packet[..16], [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2]);
    assert_eq!(packet[16..], [[7; 20], [8; 20]].concat());
    assert_eq!(udp::scrape_request(1, 2, &[[7; 20]; 100]).len(), 16 + 74 * 20);
    let reply = [0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0];
    let stats = ScrapeStats { complete: 1, downloaded: 2, incomplete: 3 };
    assert_eq!(udp::parse_reply(&reply, 2, Family::V4), Ok(Reply::Scrape(vec![stats])));
}

#[test]
fn udp_packets_that_are_no_reply_are_refused() {
    let connected = [0, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 99];
    let reply = udp::parse_reply(&connected, 9, Family::V4);
    assert_eq!(reply, Ok(Reply::Connected { connection: 0x0102_0304_0506_0708 }));
    assert_eq!(udp::transaction_of(&connected), Some(9));
    let refused = |packet: &[u8]| udp::parse_reply(packet, 9, Family::V6).unwrap_err();
    assert_eq!(refused(&[0, 0, 0, 0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]), PacketError::ForeignTransaction);
    assert_eq!(refused(&connected[..15]), PacketError::TooShort(15));
    assert_eq!(refused(&[0; 7]), PacketError::TooShort(7));
    assert_eq!(refused(&[0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), PacketError::TooShort(19));
    assert_eq!(refused(&[0, 0, 0, 4, 0, 0, 0, 9]), PacketError::UnknownAction(4));
    let error = udp::parse_reply(b"\0\0\0\x03\0\0\0\x09go away\n", 9, Family::V4);
    assert_eq!(error, Ok(Reply::Error("go away".to_owned())));
    assert_eq!([0, 1, 8, 9, 100].map(udp::timeout), [15, 30, 3840, 3840, 3840]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_replies_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), action in 0..5u8) {
        let _ = http::parse_announce(&bytes);
        let dict = [b"d5:peers".as_slice(), &bytes, b"e"].concat();
        let _ = http::parse_announce(&dict);
        let mut packet = vec![0, 0, 0, action, 0, 0, 0, 9];
        packet.extend(&bytes);
        for family in [Family::V4, Family::V6] {
            let _ = udp::parse_reply(&packet, 9, family);
        }
    }

    #[test]
    fn random_urls_ask_no_second_question(text in "(http|https|udp)://[a-z]{1,9}(:[0-9]{1,5})?/\\PC{0,30}|\\PC{0,40}") {
        if let Ok(url) = TrackerUrl::parse(&text) {
            let asked = http::announce_url(&url, &request());
            prop_assert!(asked.bytes().all(|byte| byte.is_ascii_graphic()), "{}", asked);
            let _ = (url.scrape(), url.path_and_query());
        }
    }
}
