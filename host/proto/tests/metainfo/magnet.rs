//! Magnet links: the shared vectors, writing, selections, and properties.

use proptest::prelude::*;
use reef_proto::magnet::{FileSelection, Magnet, MagnetError};
use reef_proto::{InfoHashes, Sha1Hash, Sha256Hash};
use serde_json::{Value, json};

use crate::cases;

#[test]
fn vectors_are_read_as_listed() {
    let Some(vectors) = cases::vectors("magnet") else { return };
    for row in vectors["vectors"].as_array().unwrap() {
        let uri = row["uri"].as_str().unwrap();
        match (row["expect"].as_str().unwrap(), uri.parse::<Magnet>()) {
            ("ok", Ok(magnet)) => {
                check_fields(row, &magnet);
                assert_eq!(magnet.to_string().parse(), Ok(magnet), "{uri}");
            }
            ("error", Err(_)) => {}
            (expected, parsed) => panic!("{uri}: {expected}, not {parsed:?}"),
        }
    }
}

fn check_fields(row: &Value, magnet: &Magnet) {
    let uri = row["uri"].as_str().unwrap();
    let v1 = magnet.info_hashes.v1.map(|hash| hash.to_string());
    if let Some(listed) = row["v1"].as_str() {
        assert_eq!(v1.as_deref(), Some(listed), "{uri}");
    }
    if let Some(selected) = row["selected"].as_array() {
        let indices: Vec<u32> = magnet.select.iter().flat_map(FileSelection::indices).collect();
        assert_eq!(json!(indices), json!(selected), "{uri}");
    }
    let observed = &row["observed_libtorrent_2_1_1"];
    if observed["result"] != "ok" {
        return;
    }
    // The same tracker named twice is one tracker.
    let mut trackers: Vec<Value> = observed["trackers"].as_array().cloned().unwrap_or_default();
    trackers.dedup();
    let or_empty = |key: &str| if observed[key].is_null() { json!([]) } else { observed[key].clone() };
    assert_eq!(json!(v1), observed["v1"], "{uri}");
    assert_eq!(json!(magnet.info_hashes.v2.map(|hash| hash.to_string())), observed["v2"], "{uri}");
    assert_eq!(json!(magnet.name), observed["name"], "{uri}");
    assert_eq!(json!(magnet.trackers), json!(trackers), "{uri}");
    assert_eq!(json!(magnet.web_seeds), or_empty("url_seeds"), "{uri}");
    assert_eq!(json!(magnet.peers), or_empty("peers"), "{uri}");
    assert_eq!(json!(magnet.dht_nodes), or_empty("dht_nodes"), "{uri}");
}

#[test]
fn links_are_written_as_others_write_them() {
    let check = |uri: &str| assert_eq!(uri.parse::<Magnet>().unwrap().to_string(), uri);
    check(
        "magnet:?xt=urn:btih:14ffe5dd23188fd5cb53a1d47f1289db70abf31e&dn=ubuntu_12_04_1_desktop_32_bit\
         &tr=http%3A%2F%2Ftracker.publicbt.com%2Fannounce&tr=udp%3A%2F%2Ftracker.publicbt.com%3A80\
         &ws=http%3A%2F%2Ftransmissionbt.com",
    );
    check(&format!("magnet:?xt=urn:btmh:1220{}", "61".repeat(32)));
    check(&format!(
        "magnet:?xt=urn:btih:{}&xt=urn:btmh:1220{}&x.pe=127.0.0.1:1&x.pe=[::1]:2&dht=a.b:3&so=0,2,4-6",
        "61".repeat(20),
        "61".repeat(32)
    ));
}

#[test]
fn bare_hashes_are_links() {
    let (v1, v2) = (Sha1Hash::of(b"x"), Sha256Hash::of(b"x"));
    let check = |text: String, hashes| assert_eq!(text.parse::<Magnet>().unwrap().info_hashes, hashes);
    check(v1.to_string(), InfoHashes::from_v1(v1));
    check(v1.to_string().to_uppercase(), InfoHashes::from_v1(v1));
    check(data_encoding::BASE32.encode(&v1.0), InfoHashes::from_v1(v1));
    check(data_encoding::BASE32.encode(&v1.0).to_lowercase(), InfoHashes::from_v1(v1));
    check(v2.to_string(), InfoHashes::from_v2(v2));
    check(format!("1220{v2}"), InfoHashes::from_v2(v2));
}

#[test]
fn errors_say_what_is_wrong() {
    let check = |text: &str, error| assert_eq!(text.parse::<Magnet>(), Err(error), "{text}");
    let hash = "61".repeat(20);
    check("http://example.com", MagnetError::NotAMagnet);
    check("magnet:?dn=x", MagnetError::MissingHash);
    check("magnet:?xt=urn:btih:abc", MagnetError::InvalidHash("abc".into()));
    check(&format!("magnet:?xt=urn:btih:{hash}&xt=urn:btih:{}", "62".repeat(20)), MagnetError::TwoTorrents);
    check(&"x".repeat(1 << 20), MagnetError::TooLong);
    assert!(format!("magnet:?xt=urn:btih:{hash}&xt=urn:btih:{hash}&xt=urn:sha1:abc").parse::<Magnet>().is_ok());
    assert!(format!("MAGNET:?XT.1=URN:BTIH:{hash}&amp;dn=x").parse::<Magnet>().is_ok());
}

#[test]
fn selections_are_merged_and_looked_up() {
    let check = |text: &str, written: &str| {
        let selection: FileSelection = text.parse().unwrap();
        assert_eq!(selection.to_string(), written);
        let all: Vec<u32> = selection.indices().collect();
        assert!((0..20).all(|index| selection.contains(index) == all.contains(&index)), "{text}");
    };
    check("0,2,4-6", "0,2,4-6");
    check("5,4,6,0-1,2-3", "0-6");
    check("1-10,3-4,12", "1-10,12");
    for bad in ["", ",", "a", "3-", "-3", "4-2", "1,,2", "100000000", "+1", " 1"] {
        assert!(bad.parse::<FileSelection>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        v1 in any::<Option<[u8; 20]>>(),
        v2 in any::<[u8; 32]>(),
        name in proptest::option::of("\\PC{1,20}"),
        tracker in "(udp|http)://[a-z]{1,8}(:[1-9][0-9]{0,3})?/[^\\p{C}\\p{Z}]{0,10}[a-z]",
        peer in ("[a-z]{1,8}", 1_u16..),
    ) {
        let magnet = Magnet {
            info_hashes: InfoHashes { v1: v1.map(Sha1Hash), v2: Some(Sha256Hash(v2)) },
            name,
            trackers: vec![tracker],
            peers: vec![peer],
            select: "1-3,7".parse().ok(),
            ..Magnet::default()
        };
        prop_assert_eq!(magnet.to_string().parse(), Ok(magnet));
    }

    #[test]
    fn no_text_makes_it_panic(text in "(magnet:\\?)?(xt=urn:bt[im]h:[0-9a-z%]{0,40}&|so=[0-9,-]{0,20}&|x.pe=\\PC{0,9}&|\\PC{0,20}){0,5}") {
        if let Ok(magnet) = text.parse::<Magnet>() {
            prop_assert_eq!(magnet.to_string().parse(), Ok(magnet));
        }
    }
}
