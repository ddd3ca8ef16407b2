//! `reef show`: what a torrent file or a magnet link says.

use reef_proto::layout::FileEntry;
use reef_proto::magnet::Magnet;
use reef_proto::metainfo::Metainfo;
use serde_json::{Value, json};

use super::args::ShowArgs;
use super::failure::{Exit, Outcome};
use super::source::Source;
use super::text::{self, clean};
use super::{json, out};

/// Reads the source and prints what it says.
pub(crate) fn run(args: &ShowArgs) -> Outcome {
    match (Source::read(&args.source)?, args.json) {
        (Source::Torrent(metainfo), true) => json::print(&torrent_json(&metainfo)),
        (Source::Torrent(metainfo), false) => show_torrent(&metainfo),
        (Source::Magnet(magnet), true) => json::print(&magnet_json(&magnet)),
        (Source::Magnet(magnet), false) => show_magnet(&magnet),
    }
    Ok(Exit::Success)
}

/// A torrent as an object; `files` are in the torrent's order, so that a file's place is its number.
pub(crate) fn torrent_json(metainfo: &Metainfo) -> Value {
    let info = &metainfo.info;
    let layout = &info.layout;
    let tiers: Vec<usize> =
        metainfo.trackers.iter().enumerate().flat_map(|(i, tier)| tier.iter().map(move |_| i)).collect();
    json!({
        "name": info.name,
        "info_hash_v1": metainfo.info_hashes.v1.map(|hash| hash.to_string()),
        "info_hash_v2": metainfo.info_hashes.v2.map(|hash| hash.to_string()),
        "total_size": layout.total_size(),
        "size_on_disk": layout.size_on_disk(),
        "piece_length": layout.piece_length(),
        "num_pieces": layout.num_pieces(),
        "private": info.private,
        "num_files": layout.files().len(),
        "files": layout.files().iter().map(file_json).collect::<Vec<_>>(),
        "trackers": metainfo.trackers.iter().flatten().collect::<Vec<_>>(),
        "tracker_tiers": tiers,
        "web_seeds": metainfo.web_seeds,
        "http_seeds": metainfo.http_seeds,
        "nodes": metainfo.nodes.iter().map(|(host, port)| json!([host, port])).collect::<Vec<_>>(),
        "comment": metainfo.comment,
        "created_by": metainfo.created_by,
        "creation_date": metainfo.creation_date,
        "source": info.source,
        "similar": metainfo.similar.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "collections": metainfo.collections,
        "magnet": Magnet::of(metainfo).to_string(),
    })
}

fn file_json(file: &FileEntry) -> Value {
    let mut object = json!({ "path": file.display_path(), "size": file.length });
    let flags = [("pad", file.pad), ("executable", file.executable), ("hidden", file.hidden)];
    for (flag, _) in flags.iter().filter(|(_, set)| *set) {
        object[*flag] = json!(true);
    }
    if let Some(target) = &file.symlink {
        object["symlink"] = json!(target.join("/"));
    }
    if let Some(root) = &file.pieces_root {
        object["pieces_root"] = json!(root.to_string());
    }
    object
}

fn magnet_json(magnet: &Magnet) -> Value {
    json!({
        "name": magnet.name,
        "info_hash_v1": magnet.info_hashes.v1.map(|hash| hash.to_string()),
        "info_hash_v2": magnet.info_hashes.v2.map(|hash| hash.to_string()),
        "total_size": magnet.length,
        "piece_length": null,
        "num_pieces": null,
        "private": null,
        "files": [],
        "trackers": magnet.trackers,
        "web_seeds": magnet.web_seeds,
        "peers": peers(magnet),
        "select": magnet.select.as_ref().map(ToString::to_string),
        "magnet": magnet.to_string(),
    })
}

fn show_torrent(metainfo: &Metainfo) {
    let info = &metainfo.info;
    let layout = &info.layout;
    field("Name", &info.name);
    show_hashes(&metainfo.info_hashes);
    let shown = layout.files().iter().filter(|file| !file.pad).count() as u64;
    let bytes = layout.size_on_disk();
    field("Size", &format!("{} ({}) in {}", text::size(bytes), text::count(bytes, "byte"), text::count(shown, "file")));
    field("Pieces", &format!("{} of {}", layout.num_pieces(), text::size(layout.piece_length().into())));
    if info.private {
        field("Private", "yes: peers come from its trackers alone");
    }
    optional("Source", info.source.as_deref());
    optional("Comment", metainfo.comment.as_deref());
    optional("Created by", metainfo.created_by.as_deref());
    optional("Created", metainfo.creation_date.and_then(text::date).as_deref());
    if !info.has_v1() {
        field("Note", "this is a v2-only torrent, which reef can show but not download yet");
    }
    for (number, tier) in metainfo.trackers.iter().enumerate() {
        list(&format!("Trackers, tier {}", number + 1), tier);
    }
    list("Web seeds", &metainfo.web_seeds);
    list("HTTP seeds (BEP 17)", &metainfo.http_seeds);
    out::line("Files");
    let width = layout.files().len().saturating_sub(1).to_string().len();
    for (number, file) in layout.files().iter().enumerate().filter(|(_, file)| !file.pad) {
        let path = file.display_path();
        let target = file.symlink.as_ref().map_or_else(String::new, |to| format!(" -> {}", to.join("/")));
        let line = format!("  {number:>width$}  {:>10}  {path}{target}", text::size(file.length));
        out::line(&clean(&line));
    }
}

fn show_magnet(magnet: &Magnet) {
    optional("Name", magnet.name.as_deref());
    show_hashes(&magnet.info_hashes);
    list("Trackers", &magnet.trackers);
    list("Web seeds", &magnet.web_seeds);
    list("Peers", &peers(magnet));
    optional("Files", magnet.select.as_ref().map(ToString::to_string).as_deref());
    field("Note", "the list of files comes from peers, when the torrent is added");
}

fn peers(magnet: &Magnet) -> Vec<String> {
    let text = |(host, port): &(String, u16)| {
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    };
    magnet.peers.iter().map(text).collect()
}

fn show_hashes(hashes: &reef_proto::InfoHashes) {
    optional("Info-hash", hashes.v1.map(|hash| hash.to_string()).as_deref());
    optional("Info-hash v2", hashes.v2.map(|hash| hash.to_string()).as_deref());
}

fn field(name: &str, value: &str) {
    out::line(&format!("{name:<13} {}", clean(value)));
}

fn optional(name: &str, value: Option<&str>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        field(name, value);
    }
}

fn list(name: &str, values: &[String]) {
    if !values.is_empty() {
        out::line(name);
        values.iter().for_each(|value| out::line(&format!("  {}", clean(value))));
    }
}
