//! Every torrent file of the shared cases, read or refused as listed.

use reef_proto::metainfo::{Metainfo, MetainfoError};
use serde_json::{Value, json};

use crate::cases;

/// Where the listed clients disagree, what this project does, and why.
const POLICY: [(&str, Option<&str>); 2] = [
    // Two files with one path: refused by one client, renamed by another. Renamed (see `paths`): nothing is overwritten.
    ("transmission/dup-files.torrent", None),
    // `pieces` twice: refused by one client, one of the two taken by another. Refused: which of them counts is a guess.
    ("transmission/dup-pieces-key.torrent", Some("ambiguous torrent: the key `pieces` stands twice")),
];

#[test]
fn every_listed_torrent_is_read_or_refused_as_listed() {
    let Some(rows) = cases::json("torrents.json") else { return };
    let rows = rows.as_array().unwrap();
    assert!(rows.len() >= 118);
    let failures: Vec<String> = rows.iter().filter_map(|row| check(row).err()).collect();
    assert!(failures.is_empty(), "{} of {} torrents:\n{}", failures.len(), rows.len(), failures.join("\n"));
}

fn check(row: &Value) -> Result<(), String> {
    let at = row["at"].as_str().unwrap();
    let bytes = std::fs::read(cases::folder().unwrap().join(at)).unwrap();
    if reef_proto::Sha256Hash::of(&bytes).to_string() != row["sha256_of_file"] {
        println!("skipped: another file of the same name took the place of the one listed as {at}");
        return Ok(());
    }
    let parsed = Metainfo::parse(&bytes);
    let policy = POLICY.iter().find(|(file, _)| at.ends_with(file));
    assert_eq!(row["agrees"] == false, policy.is_some(), "{at}: disagreement without a policy, or the other way round");
    match (policy, row["expect"].as_str().unwrap()) {
        (Some((_, Some(error))), _) => match parsed {
            Err(refused) if refused.to_string().contains(error) => Ok(()),
            other => Err(format!("{at}: {error}, not {other:?}")),
        },
        (Some((_, None)), _) | (None, "ok") => compare(row, &parsed.map_err(|error| format!("{at}: {error}"))?),
        (None, _) => refused_for_the_reason(row, parsed),
    }
}

/// What each error of the list means here; the text must say so.
const REASONS: [(&str, &str); 24] = [
    ("torrent_missing_name", "`name` is missing"),
    ("torrent_invalid_length", "length of file"),
    ("torrent_invalid_name", "not a list of texts"),
    ("torrent_missing_piece_length", "`piece length`"),
    ("torrent_missing_pieces_root", "no valid `pieces root`"),
    ("torrent_missing_pieces", "`pieces`, the hashes"),
    ("torrent_invalid_hashes", "`pieces` has"),
    ("torrent_is_no_dict", "not a torrent"),
    ("no_files_in_torrent", "lists no files"),
    ("torrent_inconsistent_files", "v1 and v2 parts describe different files"),
    ("depth_exceeded", "nested deeper"),
    ("torrent_file_parse_failed", "`file tree`"),
    ("torrent_invalid_pad_file", "marked as padding"),
    ("torrent_invalid_piece_layer", "`piece layers`"),
    ("piece layer is invalid", "`piece layers`"),
    ("too_many_pieces", "pieces, the most"),
    ("invalid_bencoding", "one form"),
    ("not multiple of 20", "20 for each piece"),
    ("size mismatch", "`pieces` has"),
    ("trailing data", "no `info`"),
    // Kinds of reason that have another name here: an empty `pieces` is a wrong one, and a torrent without content is
    // refused as that.
    ("missing v1 metadata", "`pieces`, the hashes"),
    ("missing v1 metadata", "`pieces` has"),
    ("torrent_invalid_length", "no content"),
    // bad_name.torrent has a name of NUL bytes and, worse, `path` twice, which is met first.
    ("torrent_missing_name", "the key `path` stands twice"),
];

fn refused_for_the_reason(row: &Value, parsed: Result<Metainfo, MetainfoError>) -> Result<(), String> {
    let (at, listed) = (row["at"].as_str().unwrap(), row["error"].as_str().unwrap());
    let Err(error) = parsed else { return Err(format!("{at}: read, though listed as {listed}")) };
    let text = error.to_string();
    let known = REASONS.iter().any(|(theirs, ours)| listed.contains(theirs) && text.contains(ours));
    // A file whose path is missing has the same listed reason as a torrent without a name.
    let unnamed = listed.contains("torrent_missing_name") && matches!(error, MetainfoError::MissingPath { .. });
    if known || unnamed { Ok(()) } else { Err(format!("{at}: listed as {listed}, refused as {text}")) }
}

fn compare(row: &Value, torrent: &Metainfo) -> Result<(), String> {
    let (info, layout) = (&torrent.info, &torrent.info.layout);
    let files: Vec<Value> = layout.files().iter().map(shown_file).collect();
    let listed_files: Vec<Value> = row["files"].as_array().unwrap().iter().map(listed_file).collect();
    let tiers: Vec<usize> =
        torrent.trackers.iter().enumerate().flat_map(|(tier, urls)| urls.iter().map(move |_| tier)).collect();
    let hashes = torrent.info_hashes;
    let found = json!({
        "name": info.name,
        "num_files": layout.files().len(),
        "total_size": layout.total_size(),
        "size_on_disk": layout.size_on_disk(),
        "piece_length": layout.piece_length(),
        "num_pieces": layout.num_pieces(),
        "info_hash_v1": hashes.v1.map(|hash| hash.to_string()),
        "info_hash_v2": hashes.v2.map(|hash| hash.to_string()),
        "private": info.private,
        "trackers": torrent.trackers.concat(),
        "tracker_tiers": tiers,
        "webseeds": torrent.web_seeds,
        "dht_nodes": torrent.nodes,
        "similar": torrent.similar.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "collections": torrent.collections,
        "comment": torrent.comment.clone().unwrap_or_default(),
        "created_by": torrent.created_by.clone().unwrap_or_default(),
        "creation_date": torrent.creation_date.unwrap_or_default(),
        "raw_info_len": torrent.info_bytes.len(),
        "raw_info_sha1": reef_proto::Sha1Hash::of(&torrent.info_bytes).to_string(),
        "raw_info_sha256": reef_proto::Sha256Hash::of(&torrent.info_bytes).to_string(),
    });
    let mut wrong = Vec::new();
    for (key, value) in found.as_object().unwrap() {
        if !same(value, &row[key]) {
            wrong.push(format!("{key}: {value} and not {}", row[key]));
        }
    }
    if row["files_truncated"] == false && files != listed_files {
        let pairs = files.iter().zip(&listed_files).filter(|(a, b)| a != b).take(3);
        wrong.extend(pairs.map(|(a, b)| format!("file {a} and not {b}")));
        wrong.push(format!("{} files and not {}", files.len(), listed_files.len()));
    }
    let again = Metainfo::parse(&torrent.to_bytes());
    if again.as_ref() != Ok(torrent) {
        wrong.push(format!("written and read again it is another: {again:?}"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{}: {}", row["at"], wrong.join("; "))) }
}

/// Whether two values are equal; long texts of the list are cut and end in an ellipsis.
fn same(found: &Value, listed: &Value) -> bool {
    match (found.as_str(), listed.as_str().and_then(|text| text.strip_suffix('…'))) {
        (Some(found), Some(start)) => found.starts_with(start),
        _ => found == listed,
    }
}

fn shown_file(file: &reef_proto::layout::FileEntry) -> Value {
    json!({
        "path": file.display_path(),
        "size": file.length,
        "pad": file.pad,
        "exec": file.executable,
        "symlink": file.symlink.as_ref().map(|target| target.join("/")),
        "pieces_root": file.pieces_root.map(|root| root.to_string()),
    })
}

fn listed_file(file: &Value) -> Value {
    let path = if file["renamed_to"].is_null() { &file["path"] } else { &file["renamed_to"] };
    json!({
        "path": path,
        "size": file["size"],
        "pad": file["pad"] == true,
        "exec": file["exec"] == true,
        "symlink": file["symlink"],
        "pieces_root": file["pieces_root"],
    })
}
