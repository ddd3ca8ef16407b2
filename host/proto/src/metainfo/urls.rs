//! The addresses in a torrent file: trackers (BEP 3, BEP 12), web seeds (BEP 17, BEP 19) and DHT nodes (BEP 5).
//!
//! What is not usable is left out; a torrent is never refused for its addresses.

use std::collections::BTreeSet;

use crate::bencode::{Dict, Value};

/// The trackers in tiers: `announce-list` if it names any, or else `announce`. Each tracker once.
pub(super) fn trackers(root: &Dict<'_>) -> Vec<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut usable = |url: Value<'_>| {
        let url = tracker_url(&String::from_utf8_lossy(url.as_bytes()?))?;
        seen.insert(url.clone()).then_some(url)
    };
    let listed = root.list("announce-list").into_iter().flatten().filter_map(|tier| tier.as_list());
    let mut tiers: Vec<Vec<_>> = listed.map(|tier| tier.filter_map(&mut usable).collect()).collect();
    tiers.retain(|tier| !tier.is_empty());
    if tiers.is_empty() {
        tiers.extend(root.get("announce").and_then(usable).map(|url| vec![url]));
    }
    tiers
}

/// The URL of a tracker without space around it, if it has a scheme that trackers have, a host, and no space within.
pub fn tracker_url(text: &str) -> Option<String> {
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\0');
    let (scheme, rest) = text.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?.rsplit('@').next()?;
    let known = TRACKER_SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let host_fits = !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || "-._~:[]%".contains(c));
    let one_word = !text.contains(|c: char| c.is_whitespace() || c.is_control());
    (known && host_fits && one_word).then(|| text.to_owned())
}

/// The URLs of `url-list`, a list or a single string. In a torrent of several files they are the folder's, and end so.
pub(super) fn web_seeds(root: &Dict<'_>, num_files: usize) -> Vec<String> {
    let finish = |url: String| if num_files > 1 && !url.ends_with('/') { url + "/" } else { url };
    url_list(root, "url-list", finish)
}

/// The URLs of `httpseeds`, a list or a single string.
pub(super) fn http_seeds(root: &Dict<'_>) -> Vec<String> {
    url_list(root, "httpseeds", |url| url)
}

/// The DHT nodes of `nodes`: pairs of host and port.
pub(super) fn nodes(root: &Dict<'_>) -> Vec<(String, u16)> {
    let node = |entry: Value<'_>| {
        let mut pair = entry.as_list()?;
        let host = pair.next()?.as_str().filter(|host| !host.is_empty())?.to_owned();
        let port = u16::try_from(pair.next()?.as_int()?).ok().filter(|&port| port != 0)?;
        Some((host, port))
    };
    root.list("nodes").into_iter().flatten().filter_map(node).collect()
}

fn url_list(root: &Dict<'_>, key: &str, finish: impl Fn(String) -> String) -> Vec<String> {
    let Some(value) = root.get(key) else { return Vec::new() };
    let urls: Vec<_> = value.as_list().map_or_else(|| vec![value], Iterator::collect);
    let mut seen = BTreeSet::new();
    let cleaned = urls.iter().filter_map(|url| url.as_bytes().map(escape).filter(|url| !url.is_empty()));
    cleaned.map(finish).filter(|url| seen.insert(url.clone())).collect()
}

/// The URL with what no URL may hold (spaces, quotes, bytes that are not ASCII) written as `%XX`.
fn escape(url: &[u8]) -> String {
    percent_encoding::percent_encode(url.trim_ascii(), NOT_IN_URLS).to_string()
}

const TRACKER_SCHEMES: [&str; 5] = ["udp", "http", "https", "ws", "wss"];

const NOT_IN_URLS: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
