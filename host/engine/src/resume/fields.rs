//! The fields of [`Resume`] as entries of the manual's dictionary, both ways.
//!
//! Every entry is optional and read for itself: one that is not of the right kind is as if it were missing.

use super::Resume;
use crate::add_torrent::StorageMode;
use reef_proto::bencode::{Dict, Item, List, Value};
use reef_proto::compact;
use reef_proto::paths;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::LazyLock;

/// Addresses, trackers and web seeds that are read at most, of each.
const MAX_LIST: usize = 10_000;
/// Files of a torrent that can be renamed: the dictionary has a name for each up to the last.
const MAX_FILES: u32 = 1_000_000;
/// What libtorrent writes where it knows no number or has no limit, besides -1.
const UNKNOWN: i64 = 0xff_ffff;

/// Entries of the dictionary that are written.
const ENTRIES: usize = 34;

type Entries = BTreeMap<Vec<u8>, Item>;

/// All entries, also those that are as by default.
pub(super) fn write(r: &Resume) -> Entries {
    entries(r).into_iter().map(|(key, item)| (key.into(), item)).collect()
}

/// The entries that are not as by default.
pub(super) fn write_changed(r: &Resume) -> Entries {
    static DEFAULTS: LazyLock<[(&str, Item); ENTRIES]> = LazyLock::new(|| entries(&Resume::default()));
    let changed = entries(r).into_iter().zip(DEFAULTS.iter()).filter(|((_, item), (_, default))| item != default);
    changed.map(|((key, item), _)| (key.into(), item)).collect()
}

/// The entries, in a fixed order.
fn entries(r: &Resume) -> [(&'static str, Item); ENTRIES] {
    let flag = |flag: bool| Item::Int(flag.into());
    let number = |n: u64| Item::Int(i64::try_from(n).unwrap_or(i64::MAX));
    let count = |n: Option<u32>| Item::Int(n.map_or(-1, i64::from));
    let strings = |list: &[String]| Item::list(list);
    let allocation = match r.allocation {
        StorageMode::Sparse => "sparse",
        StorageMode::Allocate => "allocate",
    };
    let (peers, peers6) = compact_lists(&r.peers);
    let (banned, banned6) = compact_lists(&r.banned_peers);
    [
        ("name", (&r.name).into()),
        ("save_path", (&r.save_path).into()),
        ("allocation", allocation.into()),
        ("paused", flag(r.paused)),
        ("auto_managed", flag(r.auto_managed)),
        ("sequential_download", flag(r.sequential_download)),
        ("seed_mode", flag(r.seed_mode)),
        ("upload_mode", flag(r.upload_mode)),
        ("share_mode", flag(r.share_mode)),
        ("super_seeding", flag(r.super_seeding)),
        ("total_uploaded", number(r.total_uploaded)),
        ("total_downloaded", number(r.total_downloaded)),
        ("active_time", number(r.active_time)),
        ("finished_time", number(r.finished_time)),
        ("seeding_time", number(r.seeding_time)),
        ("added_time", number(r.added_time)),
        ("completed_time", number(r.completed_time)),
        ("last_seen_complete", number(r.last_seen_complete)),
        ("num_seeds", count(r.num_seeds)),
        ("num_downloaders", count(r.num_downloaders)),
        ("upload_rate_limit", Item::Int(r.upload_rate_limit)),
        ("download_rate_limit", Item::Int(r.download_rate_limit)),
        ("max_connections", Item::Int(r.max_connections.into())),
        ("max_uploads", Item::Int(r.max_uploads.into())),
        ("file_priority", Item::list(r.file_priorities.iter().map(|p| i64::from(*p)))),
        ("piece_priority", r.piece_priorities.clone().into()),
        ("trackers", Item::List(r.trackers.iter().map(|tier| strings(tier)).collect())),
        ("url-list", strings(&r.url_seeds)),
        ("httpseeds", strings(&r.http_seeds)),
        ("mapped_files", mapped_files(&r.renamed_files)),
        ("peers", peers.into()),
        ("peers6", peers6.into()),
        ("banned_peers", banned.into()),
        ("banned_peers6", banned6.into()),
    ]
}

/// Whatever of the entries is there and makes sense.
pub(super) fn read(dict: &Dict<'_>) -> Resume {
    let text = |key: &str| dict.str(key).unwrap_or_default().to_owned();
    let flag = |key: &str| dict.int(key).is_some_and(|n| n != 0);
    let number = |key: &str| dict.int(key).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let limit = |key: &str| dict.int(key).filter(|n| *n > 0 && *n != UNKNOWN).unwrap_or(-1);
    let small_limit = |key: &str| i32::try_from(limit(key)).unwrap_or(-1);
    // libtorrent keeps what a scrape says under names of its own.
    let count = |key: &str, other: &str| {
        let number = dict.int(key).or_else(|| dict.int(other)).filter(|n| *n != UNKNOWN);
        number.and_then(|n| u32::try_from(n).ok())
    };
    Resume {
        name: text("name"),
        save_path: text("save_path"),
        allocation: match dict.str("allocation") {
            Some("full" | "allocate") => StorageMode::Allocate,
            _ => StorageMode::Sparse,
        },
        paused: flag("paused"),
        auto_managed: flag("auto_managed"),
        sequential_download: flag("sequential_download"),
        seed_mode: flag("seed_mode"),
        upload_mode: flag("upload_mode"),
        share_mode: flag("share_mode"),
        super_seeding: flag("super_seeding"),
        total_uploaded: number("total_uploaded"),
        total_downloaded: number("total_downloaded"),
        active_time: number("active_time"),
        finished_time: number("finished_time"),
        seeding_time: number("seeding_time"),
        added_time: number("added_time"),
        completed_time: number("completed_time"),
        last_seen_complete: number("last_seen_complete"),
        num_seeds: count("num_seeds", "num_complete"),
        num_downloaders: count("num_downloaders", "num_incomplete"),
        upload_rate_limit: limit("upload_rate_limit"),
        download_rate_limit: limit("download_rate_limit"),
        max_connections: small_limit("max_connections"),
        max_uploads: small_limit("max_uploads"),
        file_priorities: file_priorities(dict),
        piece_priorities: dict.bytes("piece_priority").unwrap_or_default().iter().map(|p| (*p).min(7)).collect(),
        trackers: trackers(dict),
        url_seeds: strings(dict.list("url-list")),
        http_seeds: strings(dict.list("httpseeds")),
        renamed_files: renamed_files(dict),
        peers: addresses(dict, "peers", "peers6"),
        banned_peers: addresses(dict, "banned_peers", "banned_peers6"),
        summary: None,
    }
}

fn file_priorities(dict: &Dict<'_>) -> Vec<u8> {
    let priority = |value: Value<'_>| value.as_int().and_then(|n| u8::try_from(n).ok()).unwrap_or(4).min(7);
    dict.list("file_priority").into_iter().flatten().map(priority).collect()
}

fn trackers(dict: &Dict<'_>) -> Vec<Vec<String>> {
    let tiers = dict.list("trackers").into_iter().flatten().take(MAX_LIST);
    tiers.map(|tier| strings(tier.as_list())).filter(|tier| !tier.is_empty()).collect()
}

fn strings(list: Option<List<'_>>) -> Vec<String> {
    let texts = list.into_iter().flatten().filter_map(|value| value.as_str().map(str::to_owned));
    texts.filter(|text| !text.is_empty()).take(MAX_LIST).collect()
}

/// New names by index; those of files that keep theirs are empty.
fn mapped_files(renamed: &[(u32, String)]) -> Item {
    let renamed: BTreeMap<u32, &String> =
        renamed.iter().filter(|(file, _)| *file < MAX_FILES).map(|(file, name)| (*file, name)).collect();
    let len = renamed.last_key_value().map_or(0, |(file, _)| file + 1);
    Item::list((0..len).map(|file| renamed.get(&file).map_or("", |name| name.as_str())))
}

fn renamed_files(dict: &Dict<'_>) -> Vec<(u32, String)> {
    let names = (0_u32..).zip(dict.list("mapped_files").into_iter().flatten());
    names.filter_map(|(file, name)| Some((file, inside(name.as_str()?)?))).collect()
}

/// The path, if it needs no cleaning: one that leads outside, or that we would not have written, is not followed.
fn inside(path: &str) -> Option<String> {
    let clean = |element: &str| paths::clean_element(element.as_bytes()).is_some_and(|clean| clean == element);
    (path.split('/').count() <= paths::MAX_DEPTH && path.split('/').all(clean)).then(|| path.to_owned())
}

fn compact_lists(addresses: &[SocketAddr]) -> (Vec<u8>, Vec<u8>) {
    let (mut four, mut six) = (Vec::new(), Vec::new());
    for address in addresses {
        compact::put(if address.is_ipv4() { &mut four } else { &mut six }, *address);
    }
    (four, six)
}

fn addresses(dict: &Dict<'_>, four: &str, six: &str) -> Vec<SocketAddr> {
    let bytes = |key: &str| dict.bytes(key).unwrap_or_default();
    compact::parse_v4(bytes(four)).chain(compact::parse_v6(bytes(six))).take(MAX_LIST).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use reef_proto::bencode::Limits;

    /// A record in which nothing is as by default.
    pub(in super::super) fn full() -> Resume {
        Resume {
            name: "näme".into(),
            save_path: "/srv/files".into(),
            allocation: StorageMode::Allocate,
            paused: true,
            auto_managed: true,
            sequential_download: true,
            seed_mode: true,
            upload_mode: true,
            share_mode: true,
            super_seeding: true,
            total_uploaded: 1 << 50,
            total_downloaded: 3,
            active_time: 4,
            finished_time: 5,
            seeding_time: 6,
            added_time: 1_700_000_000,
            completed_time: 1_700_000_001,
            last_seen_complete: 1_700_000_002,
            num_seeds: Some(7),
            num_downloaders: Some(0),
            upload_rate_limit: 5000,
            download_rate_limit: 1 << 40,
            max_connections: 33,
            max_uploads: 4,
            file_priorities: vec![4, 0, 7],
            piece_priorities: vec![0, 1, 7],
            trackers: vec![vec!["http://a/announce".into(), "udp://b:1".into()], vec!["https://c/announce".into()]],
            url_seeds: vec!["http://seed/x/".into()],
            http_seeds: vec!["http://seed/y.php".into()],
            renamed_files: vec![(1, "t/new name.bin".into()), (3, "other".into())],
            peers: vec!["10.0.0.1:6881".parse().unwrap(), "[2001:db8::1]:6882".parse().unwrap()],
            banned_peers: vec!["10.0.0.9:1".parse().unwrap(), "[2001:db8::9]:2".parse().unwrap()],
            summary: None,
        }
    }

    fn read_text(text: &str) -> Resume {
        read(&Dict::parse(text.as_bytes(), &Limits::TORRENT).unwrap())
    }

    #[test]
    fn a_path_that_leads_outside_is_not_followed() {
        for bad in ["../x", "/etc/passwd", "a//b", "a/../../b", "a/.", "", "a\\b/\u{1}"] {
            let text = format!("d12:mapped_filesl{}:{bad}ee", bad.len());
            assert_eq!(read_text(&text).renamed_files, [], "{bad:?}");
        }
        assert_eq!(read_text("d12:mapped_filesl0:3:a/bee").renamed_files, [(1, "a/b".to_owned())]);
    }

    #[test]
    fn all_three_words_for_allocation_are_known() {
        let check = |word: &str, want| {
            assert_eq!(read_text(&format!("d10:allocation{}:{word}e", word.len())).allocation, want);
        };
        check("full", StorageMode::Allocate);
        check("allocate", StorageMode::Allocate);
        check("sparse", StorageMode::Sparse);
        check("compact", StorageMode::Sparse);
    }

    #[test]
    fn an_entry_that_makes_no_sense_is_as_by_default() {
        let odd = "d15:max_connectionsi16777215e11:max_uploadsi-1e12:num_completei16777215e6:pausedl0:e\
                   5:peers5:abcde14:total_uploadedi-5e8:trackersi5e17:upload_rate_limiti0ee";
        assert_eq!(read_text(odd), Resume::default());
        assert_eq!(read_text("d13:file_priorityli0ei9ei-1e1:xee").file_priorities, [0, 7, 4, 4]);
        assert_eq!(read_text("d14:piece_priority3:\x00\x04\x7fe").piece_priorities, [0, 4, 7]);
    }
}
