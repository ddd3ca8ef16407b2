//! The rules behind torrent files, one by one: names, hash trees, piece counts, the v2 file tree, and building.

use bytes::Bytes;
use proptest::prelude::*;
use reef_proto::bencode::Item;
use reef_proto::create::{Content, CreateError, NewFile, NewTorrent, PieceHashes};
use reef_proto::layout::{BLOCK_SIZE, FileEntry, Layout};
use reef_proto::metainfo::{Info, Metainfo, MetainfoError};
use reef_proto::{Sha1Hash, Sha256Hash, merkle, paths};

use crate::cases;

#[test]
fn path_elements_are_cleaned_as_listed() {
    let Some(vectors) = cases::vectors("path_sanitising") else { return };
    for row in vectors["libtorrent_elements"].as_array().unwrap() {
        let (elements, expected) = (row[0].as_array().unwrap(), row[1].as_str().unwrap());
        let elements: Vec<&str> = elements.iter().map(|element| element.as_str().unwrap()).collect();
        for (elements, expected) in spelled_out(&elements, expected) {
            let cleaned: Vec<String> = elements.iter().filter_map(|raw| paths::clean_element(raw)).collect();
            assert_eq!(cleaned.join("/"), expected, "{}", row[0]);
        }
    }
}

/// The rows that are written in words, as the bytes they mean; all others as they are.
fn spelled_out(elements: &[&str], expected: &str) -> Vec<(Vec<Vec<u8>>, String)> {
    let one = |raw: Vec<u8>, expected: &str| vec![(vec![raw], expected.to_owned())];
    match *elements {
        ["240+ byte name"] => {
            let long = "x".repeat(300);
            one([long.as_bytes(), b".test"].concat(), &format!("{}.test", "x".repeat(240)))
        }
        [text] if text.starts_with("foo ") && text.ends_with(" bar") => {
            let points = text.split([' ', '/']).filter(|word| !matches!(*word, "foo" | "bar"));
            let characters = points.map(|word| match word.trim_start_matches("U+") {
                "DEL" => '\x7f',
                hex => char::from_u32(u32::from_str_radix(hex, 16).unwrap()).unwrap(),
            });
            characters.flat_map(|c| one(format!("foo{c}bar").into_bytes(), expected)).collect()
        }
        [text] if text.contains("\\x") => {
            let text = text.split(" (").next().unwrap();
            let mut raw = Vec::new();
            let mut parts = text.split("\\x");
            raw.extend(parts.next().unwrap().bytes());
            for part in parts {
                raw.push(u8::from_str_radix(&part[..2], 16).unwrap());
                raw.extend(part[2..].bytes());
            }
            one(raw, expected)
        }
        _ => {
            let expected = if expected.starts_with("(empty") { "" } else { expected };
            vec![(elements.iter().map(|element| element.as_bytes().to_vec()).collect(), expected.to_owned())]
        }
    }
}

#[test]
fn names_are_cleaned_as_listed() {
    let Some(vectors) = cases::vectors("path_sanitising") else { return };
    for row in vectors["names"].as_array().unwrap() {
        let expected = row[1].as_str().unwrap();
        let Some(raw) = row[0].as_str().unwrap().strip_prefix("name.utf-8=") else { continue };
        let info = Item::dict([
            ("files", Item::List(vec![listed(1, &["a"])])),
            ("name", Item::from("other")),
            ("name.utf-8", Item::from(raw)),
            ("piece length", Item::Int(16384)),
            ("pieces", Item::from(vec![0; 20])),
        ]);
        assert_eq!(Info::parse(info.to_bytes().into()).unwrap().name, expected);
    }
    let bytes = v1(Item::from("//"), vec![listed(1, &["a"])], 16384, 1).to_bytes();
    assert_eq!(Info::parse(bytes.clone().into()).unwrap().name, Sha1Hash::of(&bytes).to_string());
    for always_bad in vectors["always_bad"].as_array().unwrap() {
        let bad = always_bad.as_str().unwrap().replace("<TAB>", "\t");
        assert_ne!(paths::clean_file_element(bad.as_bytes()), bad);
    }
}

#[test]
fn duplicates_are_renamed_as_listed() {
    let Some(vectors) = cases::vectors("path_sanitising") else { return };
    let to_path = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
    for row in vectors["duplicates"].as_array().unwrap() {
        let texts = |side: usize| row[side].as_array().unwrap().iter().map(|path| path.as_str().unwrap());
        let mut files: Vec<FileEntry> =
            texts(0).map(|path| FileEntry { path: to_path(path), ..FileEntry::default() }).collect();
        paths::make_unique(&mut files);
        for ((file, before), after) in files.iter().zip(texts(0)).zip(texts(1)) {
            assert_eq!(file.path, to_path(if after == "same" { before } else { after }));
        }
    }
}

#[test]
fn folders_nest_to_a_limit() {
    let parse = |depth: usize| {
        let path = vec!["d"; depth];
        Info::parse(v1(Item::from("t"), vec![listed(1, &path)], 16384, 1).to_bytes().into()).map(|info| info.name)
    };
    assert_eq!(parse(50), Ok("t".to_owned()));
    assert_eq!(parse(200), Err(MetainfoError::TooDeep));
}

#[test]
fn piece_counts_are_as_listed() {
    let Some(vectors) = cases::vectors("piece_count") else { return };
    for row in vectors["vectors"].as_array().unwrap() {
        let sizes: Vec<u64> = match &row[1] {
            serde_json::Value::Array(sizes) => sizes.iter().map(|size| size.as_u64().unwrap()).collect(),
            size => vec![size.as_u64().unwrap()],
        };
        let files = sizes.iter().map(|&length| FileEntry { length, ..FileEntry::default() }).collect();
        let layout = Layout::new(u32::try_from(row[0].as_u64().unwrap()).unwrap(), files).unwrap();
        assert_eq!(u64::from(layout.num_pieces()), row[2].as_u64().unwrap(), "{row}");
    }
}

#[test]
fn hash_trees_are_as_listed() {
    let Some(vectors) = cases::vectors("bep52_merkle") else { return };
    for row in vectors["vectors"].as_array().unwrap() {
        let size = row["size"].as_u64().unwrap();
        let data: Vec<u8> = (0..size).map(|i| ((7 * i + (i >> 8)) % 256) as u8).collect();
        let leaves = merkle::leaves(&data);
        assert_eq!(leaves.len() as u64, row["blocks"].as_u64().unwrap());
        let root = merkle::root_of_leaves(leaves.clone()).unwrap();
        assert_eq!(root.to_string(), row["pieces_root"], "{size} bytes");
        for (piece_length, listed) in row["piece_layer"].as_object().into_iter().flatten() {
            let blocks = piece_length.parse::<u32>().unwrap() / BLOCK_SIZE;
            let layer = merkle::piece_layer(&leaves, blocks);
            let bytes: Vec<u8> = layer.iter().flat_map(|hash| hash.0).collect();
            assert_eq!(layer.len() as u64, listed["count"].as_u64().unwrap());
            assert_eq!(Sha256Hash::of(&bytes).to_string(), listed["sha256_of_layer"], "{size} bytes");
            assert_eq!(layer.first().unwrap().to_string(), listed["first"]);
            assert_eq!(layer.last().unwrap().to_string(), listed["last"]);
            assert_eq!(merkle::root_of_layer(layer, blocks), Some(root));
        }
    }
    for (blocks, leaves) in vectors["geometry"]["num_leafs"].as_object().unwrap() {
        assert_eq!(merkle::num_leaves(blocks.parse().unwrap()), leaves.as_u64().unwrap());
    }
    for (leaves, first) in vectors["geometry"]["first_leaf"].as_object().unwrap() {
        assert_eq!(merkle::first_leaf(leaves.parse().unwrap()), first.as_u64().unwrap());
    }
    let symbol = |byte: u8| Sha256Hash([byte; 32]);
    let symbols = vec![symbol(b'1'), symbol(b'b'), symbol(b'c'), symbol(b'd')];
    assert_eq!(merkle::parent(&symbols[0], &symbols[1]).to_string(), vectors["symbolic"]["ab"]);
    assert_eq!(merkle::parent(&symbols[2], &symbols[3]).to_string(), vectors["symbolic"]["cd"]);
    assert_eq!(merkle::root_of_leaves(symbols).unwrap().to_string(), vectors["symbolic"]["ad"]);
}

#[test]
fn a_name_of_which_nothing_is_left_is_replaced_or_refused() {
    let check = |name: &str, folder: Option<&str>| {
        let bytes = v1(Item::from(name), vec![listed(1, &["a"])], 16384, 1).to_bytes();
        let expected = folder.map_or_else(|| Sha1Hash::of(&bytes).to_string(), str::to_owned);
        assert_eq!(Info::parse(bytes.into()).unwrap().name, expected, "{name:?}");
        let single = Item::dict([
            ("length", Item::Int(1)),
            ("name", Item::from(name)),
            ("piece length", Item::Int(16384)),
            ("pieces", Item::from(vec![0; 20])),
        ]);
        let single = Info::parse(single.to_bytes().into()).map(|info| info.name);
        assert_eq!(single, folder.map(str::to_owned).ok_or(MetainfoError::MissingName), "{name:?}");
    };
    check("a\0b", Some("ab"));
    check("...", Some("..."));
    check("\x01", Some("_"));
    for nothing in ["", "\0\0", "..", ".", "//", "/.\\."] {
        check(nothing, None);
    }
}

#[test]
fn both_parts_of_a_hybrid_have_the_same_files_in_the_same_places() {
    let pad = |length: i64| {
        Item::dict([("attr", Item::from("p")), ("length", Item::Int(length)), ("path", Item::list(["p"]))])
    };
    let parse = |v1_files: Vec<Item>, pieces: usize| {
        let in_tree = |length: i64| {
            let root = (length > 0).then(|| ("pieces root", Item::from(vec![7; 32])));
            Item::dict([("", Item::dict([("length", Item::Int(length))].into_iter().chain(root)))])
        };
        let Item::Dict(mut info) = v1(Item::from("t"), v1_files, 16384, pieces) else { unreachable!() };
        let tree = Item::dict([("a", in_tree(100)), ("b", in_tree(0)), ("c", in_tree(5))]);
        info.extend([(b"file tree".to_vec(), tree), (b"meta version".to_vec(), Item::Int(2))]);
        Info::parse(Item::Dict(info).to_bytes().into()).map(|info| info.layout.total_size())
    };
    let (a, b, c) = (listed(100, &["a"]), listed(0, &["b"]), listed(5, &["c"]));
    let check = |files: &[&Item], pieces, total: Option<u64>| {
        let parsed = parse(files.iter().map(|&file| file.clone()).collect(), pieces);
        assert_eq!(parsed, total.ok_or(MetainfoError::InconsistentFiles));
    };
    check(&[&a, &pad(16284), &b, &c], 2, Some(16389));
    check(&[&a, &b, &pad(16284), &c], 2, Some(16389));
    check(&[&a, &pad(16284), &b, &c, &pad(16379)], 2, Some(32768));
    check(&[&a, &pad(16284), &b, &c, &pad(5)], 2, None);
    check(&[&a, &b, &c], 1, None);
    check(&[&a, &pad(16284), &c, &b], 2, None);
    check(&[&a, &pad(16284), &c], 2, None);
    check(&[&a, &pad(16284), &b, &listed(6, &["c"])], 2, None);
    check(&[&a, &pad(16284), &b, &listed(5, &["d"])], 2, None);
    check(&[&a, &pad(16000), &pad(284), &b, &c], 2, None);
    check(&[&pad(16384), &a, &pad(16284), &b, &c], 3, None);
    check(&[&a, &pad(16284 + 16384), &b, &c], 3, None);
}

#[test]
fn v2_file_trees_are_valid_or_not_as_listed() {
    let file = |length: i64, root: Option<usize>| {
        let root = root.map(|bytes| ("pieces root", Item::from(vec![7; bytes])));
        Item::dict([("", Item::dict([("length", Item::Int(length))].into_iter().chain(root)))])
    };
    let parse = |tree: Vec<(&str, Item)>| {
        let info = Item::dict([
            ("file tree", Item::dict(tree)),
            ("meta version", Item::Int(2)),
            ("name", Item::from("t")),
            ("piece length", Item::Int(16384)),
        ]);
        Info::parse(info.to_bytes().into())
    };
    let invalid_root = |number| Err(MetainfoError::InvalidRoot { file: number });
    let check = |tree, expected: Result<usize, MetainfoError>| {
        assert_eq!(parse(tree).map(|info| info.layout.files().len()), expected);
    };
    check(vec![("a", file(1024, Some(32)))], Ok(2));
    check(vec![("a", file(16384, Some(32)))], Ok(1));
    check(vec![("a", file(1024, Some(32))), ("b", file(0, None))], Ok(3));
    check(vec![("a", file(1024, Some(5)))], invalid_root(1));
    check(vec![("a", file(1024, Some(64)))], invalid_root(1));
    check(vec![("a", file(100, None))], invalid_root(1));
    check(vec![("a", file(0, Some(32)))], invalid_root(1));
    check(vec![("a", file(1, Some(32))), ("b", Item::dict([("c", file(100, None))]))], invalid_root(2));
    check(vec![("a", file(-1, Some(32)))], Err(MetainfoError::InvalidLength { file: 1 }));
    check(vec![("a", Item::Int(3))], Err(MetainfoError::InvalidFileTree));
    check(vec![("a", Item::dict::<&str>([]))], Err(MetainfoError::InvalidFileTree));
    check(vec![("a", file(5, Some(32))), ("b", Item::dict::<&str>([]))], Ok(2));
    check(vec![], Err(MetainfoError::InvalidFileTree));
}

#[test]
fn links_lead_inside_or_nowhere() {
    let link = |path: &[&str], target: &[&str]| {
        Item::dict([
            ("attr", Item::from("l")),
            ("path", Item::list(path.iter().copied())),
            ("symlink path", Item::list(target.iter().copied())),
        ])
    };
    let files = vec![
        listed(9, &["a", "b"]),
        link(&["inside"], &["a", "b"]),
        link(&["up"], &["..", "..", "etc", "passwd"]),
        link(&["absolute"], &["/etc/passwd"]),
        link(&["one"], &["two"]),
        link(&["two"], &["one"]),
        link(&["folder"], &["a"]),
        link(&["through"], &["folder", "b"]),
        link(&["a", "beside"], &["b"]),
        link(&["empty"], &[]),
        listed(1, &["folder", "c"]),
    ];
    let info = Info::parse(v1(Item::from("t"), files, 16384, 1).to_bytes().into()).unwrap();
    let shown: Vec<(String, Option<String>)> = info
        .layout
        .files()
        .iter()
        .map(|file| (file.display_path(), file.symlink.as_ref().map(|target| target.join("/"))))
        .collect();
    let check = |i: usize, path: &str, target: Option<&str>| {
        assert_eq!(shown[i], (path.to_owned(), target.map(str::to_owned)));
    };
    check(0, "t/a/b", None);
    check(1, "t/inside", Some("t/a/b"));
    check(2, "t/up", Some("t/up"));
    check(3, "t/absolute", Some("t/absolute"));
    check(4, "t/one", Some("t/two"));
    check(5, "t/two", Some("t/one"));
    // A link where a folder must be is moved out of its way, so that no file is written through it.
    check(6, "t/folder.1", Some("t/a"));
    check(7, "t/through", Some("t/folder/b"));
    check(8, "t/a/beside", Some("t/a/b"));
    check(9, "t/empty", None);
    check(10, "t/folder/c", None);
}

#[test]
fn a_created_torrent_is_what_was_asked_for() {
    let file = |path: &[&str], length| NewFile {
        path: path.iter().map(|element| (*element).to_owned()).collect(),
        length,
        executable: length == 3,
    };
    let new = NewTorrent {
        name: "things".to_owned(),
        content: Content::Folder(vec![file(&["b"], 40_000), file(&["a", "c"], 3), file(&["empty"], 0)]),
        trackers: vec![vec!["udp://one:1".to_owned(), "udp://two:2".to_owned()], vec!["http://three/".to_owned()]],
        web_seeds: vec!["http://seed/".to_owned()],
        private: true,
        comment: Some("made by hand".to_owned()),
        creation_date: Some(1_700_000_000),
        ..NewTorrent::default()
    };
    let plan = new.clone().plan().unwrap();
    assert_eq!(plan.layout().num_pieces(), 3);
    let hashes = vec![Sha1Hash::of(b"0"), Sha1Hash::of(b"1"), Sha1Hash::of(b"2")];
    let torrent = plan.clone().build(PieceHashes::V1(hashes.clone())).unwrap();
    assert_eq!(Metainfo::parse(&torrent.to_bytes()), Ok(torrent.clone()));
    assert_eq!(torrent.info.layout, *plan.layout());
    assert_eq!((0..4).map(|i| torrent.info.piece_hash(i)).collect::<Vec<_>>()[2..], [Some(hashes[2]), None]);
    assert_eq!((torrent.trackers, torrent.web_seeds), (new.trackers.clone(), new.web_seeds.clone()));
    assert!(torrent.info.private && torrent.comment.as_deref() == Some("made by hand"));
    assert_eq!(torrent.info_hashes.v1, Some(Sha1Hash::of(&torrent.info_bytes)));

    let refused = |change: &dyn Fn(&mut NewTorrent)| {
        let mut new = new.clone();
        change(&mut new);
        new.plan().and_then(|plan| plan.build(PieceHashes::V1(hashes.clone()))).unwrap_err()
    };
    assert_eq!(refused(&|new| new.piece_length = Some(20_000)), CreateError::PieceLength(20_000));
    assert_eq!(refused(&|new| new.name = "a/b".to_owned()), CreateError::Name("a/b".to_owned()));
    assert!(matches!(refused(&|new| new.content = Content::File(0)), CreateError::Layout(_)));
    assert!(matches!(refused(&|new| new.content = Content::File(1)), CreateError::WrongHashes { .. }));
    assert!(matches!(refused(&|new| new.trackers = vec![vec!["nowhere".to_owned()]]), CreateError::NotReadable(_)));
    let twins = Content::Folder(vec![file(&["a"], 40_000), file(&["A"], 1)]);
    assert_eq!(refused(&|new| new.content = twins.clone()), CreateError::SameName("things/A".to_owned()));
}

#[test]
fn metadata_from_peers_is_one_dictionary_and_no_more() {
    let bytes = v1(Item::from("t"), vec![listed(1, &["a"])], 16384, 1).to_bytes();
    assert!(Metainfo::from_info(bytes.clone().into(), Vec::new()).is_ok());
    let check = |bytes: Vec<u8>| assert!(Metainfo::from_info(bytes.into(), Vec::new()).is_err());
    check([&bytes[..], b"e"].concat());
    check(bytes[..bytes.len() - 1].to_vec());
    check(b"le".to_vec());
    check(Vec::new());
}

/// A v1 `info` with a folder of files.
fn v1(name: Item, files: Vec<Item>, piece_length: i64, pieces: usize) -> Item {
    Item::dict([
        ("files", Item::List(files)),
        ("name", name),
        ("piece length", Item::Int(piece_length)),
        ("pieces", Item::from(vec![0; pieces * 20])),
    ])
}

fn listed(length: i64, path: &[&str]) -> Item {
    Item::dict([("length", Item::Int(length)), ("path", Item::list(path.iter().copied()))])
}

fn raw_path() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let element = prop_oneof![
        Just(b"..".to_vec()),
        Just(b"/".to_vec()),
        Just(b"a".to_vec()),
        Just(b"A".to_vec()),
        Just(b"a.1".to_vec()),
        "[ab./\\\\]{0,4}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..6),
        Just(vec![b'x'; 300]),
    ];
    proptest::collection::vec(element, 1..4)
}

proptest! {
    #[test]
    fn no_path_leaves_the_folder_and_no_two_are_one(all in proptest::collection::vec(raw_path(), 1..12)) {
        let files = all.iter().map(|path| {
            Item::dict([("length", Item::Int(1)), ("path", Item::list(path.iter().map(Vec::as_slice)))])
        });
        let info = Info::parse(v1(Item::from("t"), files.collect(), 16384, 1).to_bytes().into()).unwrap();
        let mut taken = std::collections::BTreeSet::new();
        let mut folders = std::collections::BTreeSet::new();
        for file in info.layout.files() {
            prop_assert_eq!(&file.path[0], "t");
            for element in &file.path {
                prop_assert!(!matches!(element.as_str(), "" | "." | "..") && element.len() <= 255);
                prop_assert!(!element.contains(['/', '\\', '\0']) && !element.contains(char::is_control));
            }
            prop_assert!(taken.insert(file.display_path().to_lowercase()), "{} twice", file.display_path());
            folders.extend((1..file.path.len()).map(|end| file.path[..end].join("/").to_lowercase()));
        }
        prop_assert!(taken.is_disjoint(&folders));
    }

    #[test]
    fn layouts_answer_alike_from_both_sides(
        piece_length in 1_u32..40_000,
        lengths in proptest::collection::vec(0_u64..100_000, 1..8),
    ) {
        prop_assume!(lengths.iter().sum::<u64>() > 0);
        let files = lengths.iter().map(|&length| FileEntry { length, ..FileEntry::default() }).collect();
        let layout = Layout::new(piece_length, files).unwrap();
        prop_assert_eq!((0..layout.num_pieces()).map(|p| u64::from(layout.piece_size(p))).sum::<u64>(), layout.total_size());
        let mut seen = vec![0; lengths.len()];
        for piece in 0..layout.num_pieces() {
            let blocks: u32 = (0..layout.num_blocks(piece)).map(|block| layout.block_size(piece, block)).sum();
            prop_assert_eq!(blocks, layout.piece_size(piece));
            for slice in layout.slices(piece, 0, piece_length) {
                prop_assert_eq!(slice.offset, seen[slice.file]);
                seen[slice.file] += slice.length;
                prop_assert!(layout.pieces_of_file(slice.file).contains(&piece));
            }
        }
        prop_assert_eq!(seen, lengths);
    }

    #[test]
    fn damaged_torrents_are_refused_or_read_alike(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let tree = Item::dict([("a", Item::dict([("", Item::dict([("length", Item::Int(5)), ("pieces root", Item::from(vec![1; 32]))]))]))]);
        let mut entries = match v1(Item::from("t"), vec![listed(5, &["a"])], 16384, 1) {
            Item::Dict(entries) => entries,
            other => unreachable!("{other:?}"),
        };
        entries.insert(b"file tree".to_vec(), tree);
        entries.insert(b"meta version".to_vec(), Item::Int(2));
        let root = Item::dict([("info", Item::Dict(entries)), ("announce", Item::from("udp://a:1")), ("url-list", Item::from("http://x"))]);
        let mut bytes = root.to_bytes();
        prop_assert!(Metainfo::parse(&bytes).is_ok());
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        if let Ok(torrent) = Metainfo::parse(&bytes) {
            prop_assert_eq!(Metainfo::parse(&torrent.to_bytes()), Ok(torrent.clone()));
            prop_assert_eq!(Metainfo::from_info(Bytes::from(torrent.info_bytes.to_vec()), vec![]).unwrap().info, torrent.info);
        }
    }
}
