//! Trackers over HTTP: the URLs that ask, and the bencoded replies (BEP 3; BEP 7 and 23 compact peers, 24 external address, 31 failures, 48 scrapes).
//!
//! Fetching is the shell's work, which also bounds a reply's size. A reply is a stranger's: text in it is cleaned, lists are bounded.

use std::fmt::Write as _;
use std::net::SocketAddr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use thiserror::Error;

use super::{
    AnnounceEvent, AnnounceReply, AnnounceRequest, DEFAULT_INTERVAL, MAX_PEERS, MAX_TEXT_CHARS, ScrapeStats, TrackerUrl,
};
use crate::bencode::{BencodeError, Dict, Limits, Value};
use crate::compact;
use crate::text::printable;

/// Why a reply brings nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The tracker refused, and says why.
    #[error("the tracker says: {reason}")]
    Failure {
        /// The tracker's words, fit to show.
        reason: String,
        /// When it may be asked again, if it says so (BEP 31).
        retry: Option<Retry>,
    },
    /// The reply is no bencoded dictionary: an error page, most often.
    #[error("the answer does not come from a tracker: {0}")]
    Malformed(#[from] BencodeError),
    /// The list of peers is neither of the two forms.
    #[error("the tracker's list of peers is malformed")]
    BadPeers,
    /// A scrape's reply without its table.
    #[error("the tracker's answer to a scrape has no `files`")]
    NoFiles,
}

/// When a tracker that refused may be asked again (BEP 31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Never: it does not know us or the torrent.
    Never,
    /// After this many seconds.
    After {
        /// Seconds from the reply on.
        seconds: u32,
    },
}

/// The URL that makes an announce: the tracker's own with our parameters added to its query.
pub fn announce_url(tracker: &TrackerUrl, request: &AnnounceRequest) -> String {
    let mut parameters = format!(
        "info_hash={}&peer_id={}&port={}&uploaded={}&downloaded={}&left={}&key={:08X}&compact=1&no_peer_id=1",
        percent_encode(&request.info_hash, ESCAPED),
        percent_encode(request.peer_id.as_bytes(), ESCAPED),
        request.port,
        request.uploaded,
        request.downloaded,
        request.left,
        request.key,
    );
    let event = match request.event {
        AnnounceEvent::Interval => None,
        AnnounceEvent::Completed => Some("completed"),
        AnnounceEvent::Started => Some("started"),
        AnnounceEvent::Stopped => Some("stopped"),
    };
    let num_want = if request.event == AnnounceEvent::Stopped { Some(0) } else { request.num_want };
    add(&mut parameters, "event", event.map(str::as_bytes));
    add(&mut parameters, "numwant", num_want.map(|count| count.to_string()));
    add(&mut parameters, "ip", request.ip.map(|ip| ip.to_string()));
    add(&mut parameters, "ipv4", request.ipv4.map(|ip| ip.to_string()));
    add(&mut parameters, "ipv6", request.ipv6.map(|ip| ip.to_string()));
    add(&mut parameters, "trackerid", request.tracker_id.as_deref());
    tracker.with_parameters(&parameters)
}

/// The URL that asks for the numbers of these torrents, if the tracker answers such questions ([`TrackerUrl::scrape`]).
pub fn scrape_url(tracker: &TrackerUrl, info_hashes: &[[u8; 20]]) -> Option<String> {
    let mut parameters = String::new();
    for info_hash in info_hashes {
        add(&mut parameters, "info_hash", Some(info_hash));
    }
    Some(tracker.scrape()?.with_parameters(parameters.trim_start_matches('&')))
}

/// Reads the reply to an announce. Bytes after the dictionary are ignored, fields that make no sense count as absent.
///
/// # Errors
/// When the tracker refused, or the reply is not a tracker's.
pub fn parse_announce(body: &[u8]) -> Result<AnnounceReply, ReplyError> {
    let dict = dict_without_failure(body)?;
    let mut peers = Vec::new();
    match dict.get("peers") {
        None => {}
        Some(list) => add_peers(&mut peers, list)?,
    }
    if let Some(list) = dict.get("peers6") {
        peers.extend(compact::parse_v6(list.as_bytes().ok_or(ReplyError::BadPeers)?));
    }
    peers.truncate(MAX_PEERS);
    let number = |key| dict.int(key).and_then(|number| u32::try_from(number).ok());
    Ok(AnnounceReply {
        interval: number("interval").filter(|seconds| *seconds > 0).unwrap_or(DEFAULT_INTERVAL),
        min_interval: number("min interval"),
        complete: number("complete"),
        incomplete: number("incomplete"),
        downloaded: number("downloaded"),
        peers,
        external_ip: dict.bytes("external ip").and_then(compact::parse_ip),
        warning: dict.bytes("warning message").map(|text| printable(text, MAX_TEXT_CHARS)),
        tracker_id: dict.bytes("tracker id").filter(|id| id.len() <= MAX_TRACKER_ID).map(<[u8]>::to_vec),
    })
}

/// Reads the reply to a scrape: one answer for each of `asked`, in their order; none where the tracker says nothing of a torrent.
///
/// # Errors
/// When the tracker refused, or the reply is not a tracker's.
pub fn parse_scrape(body: &[u8], asked: &[[u8; 20]]) -> Result<Vec<Option<ScrapeStats>>, ReplyError> {
    let files = dict_without_failure(body)?.dict("files").ok_or(ReplyError::NoFiles)?;
    let stats = |info_hash: &[u8; 20]| {
        let row = files.dict(info_hash)?;
        let number = |key| row.int(key).and_then(|number| u32::try_from(number).ok()).unwrap_or_default();
        Some(ScrapeStats {
            complete: number("complete"),
            downloaded: number("downloaded"),
            incomplete: number("incomplete"),
        })
    };
    Ok(asked.iter().map(stats).collect())
}

/// The reply's dictionary, unless it says that the tracker refused.
fn dict_without_failure(body: &[u8]) -> Result<Dict<'_>, ReplyError> {
    let (dict, _) = Dict::parse_prefix(body, &Limits::MESSAGE)?;
    let Some(reason) = dict.bytes("failure reason") else { return Ok(dict) };
    let reason = match printable(reason, MAX_TEXT_CHARS) {
        empty if empty.is_empty() => "no, and gives no reason".to_owned(),
        reason => reason,
    };
    Err(ReplyError::Failure { reason, retry: dict.get("retry in").and_then(retry) })
}

fn retry(value: Value<'_>) -> Option<Retry> {
    if value.as_bytes() == Some(b"never") {
        return Some(Retry::Never);
    }
    // BEP 31 counts minutes; some trackers send the number as a string.
    let minutes = value.as_int().or_else(|| value.as_str()?.parse().ok())?;
    let seconds = u32::try_from(minutes).ok()?.saturating_mul(60);
    Some(Retry::After { seconds })
}

/// Peers in either form: compact (BEP 23), or a list of dictionaries (BEP 3), of which those that name no address are skipped.
fn add_peers(peers: &mut Vec<SocketAddr>, value: Value<'_>) -> Result<(), ReplyError> {
    if let Some(list) = value.as_bytes() {
        peers.extend(compact::parse_v4(list));
        return Ok(());
    }
    let list = value.as_list().ok_or(ReplyError::BadPeers)?;
    peers.extend(list.filter_map(|entry| listed_peer(&entry.as_dict()?)).take(MAX_PEERS));
    Ok(())
}

/// BEP 3 allows a host name for `ip`, which no tracker sends and which is not looked up for a stranger.
fn listed_peer(entry: &Dict<'_>) -> Option<SocketAddr> {
    let ip = entry.str("ip")?.trim_matches(['[', ']']).parse().ok()?;
    Some(SocketAddr::new(ip, u16::try_from(entry.int("port")?).ok()?))
}

fn add(parameters: &mut String, name: &str, value: Option<impl AsRef<[u8]>>) {
    if let Some(value) = value {
        _ = write!(parameters, "&{name}={}", percent_encode(value.as_ref(), ESCAPED));
    }
}

/// RFC 3986: letters, digits and four marks stay as they are; everything else is escaped, a space as `%20`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The longest tracker id that is kept and sent back, in bytes.
const MAX_TRACKER_ID: usize = 256;
