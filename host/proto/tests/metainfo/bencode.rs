//! Bencoding: the shared vectors, limits, and properties.
use proptest::prelude::*;
use reef_proto::bencode::{self, BencodeError, Item, Limits, Value, scan};

use crate::cases;

#[test]
fn vectors_are_read_as_listed() {
    let Some(vectors) = cases::vectors("bencode") else {
        return;
    };
    let rows = vectors["vectors"].as_array().unwrap();
    for row in rows.iter().filter(|row| row["input_hex"].is_string()) {
        let input = cases::hex(&row["input_hex"]);
        let expect = row["expect"].as_str().unwrap();
        let shown = input.escape_ascii().to_string();
        let parsed = Value::parse_prefix(&input, &Limits::MESSAGE);
        let canonical = scan(&input, &Limits::MESSAGE).map(|scan| scan.canonical);
        match expect {
            "ok" => assert_eq!((parsed.is_ok(), canonical), (true, Ok(true)), "{shown}"),
            // libtorrent reads on after a wrong length; a reader that takes one value and no more must refuse.
            error if error.starts_with("error") => {
                assert!(Value::parse(&input, &Limits::MESSAGE).is_err(), "{shown}");
            }
            trailing if trailing.starts_with("ok with trailing") => {
                assert!(!parsed.unwrap().1.is_empty(), "{shown}");
                assert!(Value::parse(&input, &Limits::MESSAGE).is_err(), "{shown}");
            }
            wide if wide.starts_with("out of i64") => {
                assert_eq!(parsed.unwrap().0.as_int(), None, "{shown}");
            }
            soft => {
                assert!(soft.contains("canonical"), "a kind of row that is not known: {soft}");
                assert!(parsed.is_ok(), "{shown}");
                assert_eq!(canonical, Ok(false), "{shown}");
            }
        }
    }
}

#[test]
fn integers_are_read_and_never_wrap() {
    let check = |text: &str, value: Option<i64>| {
        assert_eq!(Value::parse(text.as_bytes(), &Limits::MESSAGE).unwrap().as_int(), value, "{text}");
    };
    check("i0e", Some(0));
    check("i-0e", Some(0));
    check("i-01e", Some(-1));
    check("i9223372036854775807e", Some(i64::MAX));
    check("i-9223372036854775808e", Some(i64::MIN));
    check("i9223372036854775808e", None);
    check("i18446744073709551615e", None);
    check("0:", None);
}

#[test]
fn limits_hold() {
    let limits = |max_depth, max_items, max_size| Limits { max_depth, max_items, max_size };
    let nested = |depth: usize| [vec![b'l'; depth], vec![b'e'; depth]].concat();
    assert!(scan(&nested(100), &Limits::TORRENT).is_ok());
    assert_eq!(scan(&nested(101), &Limits::TORRENT), Err(BencodeError::TooDeep { limit: 100 }));
    assert_eq!(scan(&nested(1024), &Limits::TORRENT), Err(BencodeError::TooDeep { limit: 100 }));
    assert!(scan(&vec![b'l'; 1_000_000], &Limits::TORRENT).is_err());

    let many = [b"l".to_vec(), b"0:".repeat(5000), b"e".to_vec()].concat();
    assert_eq!(scan(&many, &limits(10, 1000, 1 << 20)), Err(BencodeError::TooManyItems { limit: 1000 }));
    assert!(scan(&many, &limits(10, 5001, 1 << 20)).is_ok());
    assert_eq!(scan(&many, &limits(10, 5001, 100)), Err(BencodeError::TooLarge { limit: 100 }));

    for length in [99_999_999, 100_000_000] {
        let long = [format!("{length}:").into_bytes(), vec![b'0'; length]].concat();
        assert_eq!(scan(&long, &limits(1, 1, usize::MAX)).unwrap().len, long.len());
        assert!(matches!(scan(&long, &Limits::MESSAGE), Err(BencodeError::TooLarge { .. })));
    }
}

#[test]
fn reencoding_sorts_keys() {
    let value = Value::parse(b"lld1:bi32e1:ai64eeee", &Limits::MESSAGE).unwrap();
    assert_eq!(Item::from(value).to_bytes(), b"lld1:ai64e1:bi32eeee");
}

#[test]
fn dictionaries_are_looked_up_and_keep_their_bytes() {
    let (dict, rest) =
        bencode::Dict::parse_prefix(b"d1:ai1e1:bd1:cl1:xee1:d3:\xff--epayload", &Limits::MESSAGE).unwrap();
    assert_eq!(rest, b"payload");
    assert_eq!(dict.int("a"), Some(1));
    assert_eq!(dict.get("b").unwrap().raw(), b"d1:cl1:xee");
    assert_eq!(dict.dict("b").unwrap().list("c").unwrap().next().unwrap().as_str(), Some("x"));
    assert_eq!((dict.str("d"), dict.bytes("d")), (None, Some(&b"\xff--"[..])));
    assert_eq!((dict.len(), dict.get("e")), (3, None));
}

#[test]
fn a_key_that_stands_twice_is_found_at_any_depth() {
    let check = |bytes: &[u8], key: Option<&[u8]>| {
        assert_eq!(Value::parse(bytes, &Limits::MESSAGE).unwrap().duplicate_key(), key);
    };
    check(b"d1:bi1e1:ai1ee", None);
    check(b"d1:bi1e1:ai1e1:bi2ee", Some(b"b"));
    check(b"d1:ald1:xi1e1:xi1eeee", Some(b"x"));
}

#[test]
fn typed_reading_comes_after_the_scan() {
    #[derive(serde::Deserialize, Debug, PartialEq)]
    struct Reply {
        interval: i64,
        #[serde(rename = "failure reason")]
        failure: Option<String>,
    }
    let read = |bytes| bencode::from_bytes::<Reply>(bytes, &Limits::MESSAGE);
    assert_eq!(read(b"d8:intervali1800ee"), Ok(Reply { interval: 1800, failure: None }));
    assert!(matches!(read(b"d8:interval1:xe"), Err(BencodeError::WrongType(_))));
    assert!(matches!(read(&b"l".repeat(100_000)), Err(BencodeError::TooDeep { .. })));
}

fn item() -> impl Strategy<Value = Item> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Item::Int),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Item::Bytes),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Item::List),
            proptest::collection::btree_map(proptest::collection::vec(any::<u8>(), 0..8), inner, 0..6)
                .prop_map(Item::Dict),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(item in item()) {
        let bytes = item.to_bytes();
        prop_assert_eq!(scan(&bytes, &Limits::MESSAGE), Ok(bencode::Scan { len: bytes.len(), canonical: true }));
        prop_assert_eq!(Item::from(Value::parse(&bytes, &Limits::MESSAGE).unwrap()), item);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(
        prop_oneof![Just(b'd'), Just(b'l'), Just(b'i'), Just(b'e'), Just(b':'), Just(b'1'), Just(b'0'), any::<u8>()], 0..60)
    ) {
        if let Ok((value, _)) = Value::parse_prefix(&bytes, &Limits::MESSAGE) {
            let again = Item::from(value).to_bytes();
            prop_assert!(scan(&again, &Limits::MESSAGE).is_ok());
            value.duplicate_key();
        }
    }
}
