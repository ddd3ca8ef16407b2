//! Magnet links (BEP 9, BEP 53, v2 hashes of BEP 52) and bare info-hashes.
//!
//! A link names a torrent and says where to begin to look for it. What is not understood in it, or is of no use, is left
//! out; only its hashes must be right. It is data: nothing here looks anything up.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use data_encoding::BASE32;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::hash::{InfoHashes, Sha1Hash, Sha256Hash};
use crate::metainfo::{Metainfo, tracker_url};

/// What a magnet link says.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Magnet {
    /// Which torrent; at least one hash is known.
    pub info_hashes: InfoHashes,
    /// `dn`: what to call it until its metadata is there. Not cleaned: no path is made of it.
    pub name: Option<String>,
    /// `xl`: its size in bytes, as the link's maker says.
    pub length: Option<u64>,
    /// `tr`: trackers, each once, each a tier of its own.
    pub trackers: Vec<String>,
    /// `ws`: web seeds (BEP 19).
    pub web_seeds: Vec<String>,
    /// `x.pe`: peers, as host name or address, and port.
    pub peers: Vec<(String, u16)>,
    /// `dht`: DHT nodes, as host name or address, and port.
    pub dht_nodes: Vec<(String, u16)>,
    /// `so`: the only files to download, by index (BEP 53); all of them if nothing was said.
    pub select: Option<FileSelection>,
}

/// Files chosen by their indices, as in `0,2,4-6` (BEP 53).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FileSelection {
    /// In order, neither overlapping nor touching.
    ranges: Vec<RangeInclusive<u32>>,
}

/// Why a text is no usable magnet link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MagnetError {
    /// Neither a link nor an info-hash.
    #[error("not a magnet link or info-hash: a link begins with `magnet:?`, an info-hash has 40 hexadecimal digits")]
    NotAMagnet,
    /// The link has no hash of a torrent.
    #[error("the magnet link names no torrent: there is no `xt=urn:btih:` or `xt=urn:btmh:` in it")]
    MissingHash,
    /// A hash is malformed.
    #[error(
        "the magnet link's info-hash `{0}` is not valid (40 hexadecimal digits, 32 letters of base32, or 1220 and 64 \
         hexadecimal digits are needed): was the link copied whole?"
    )]
    InvalidHash(String),
    /// Two hashes of one kind.
    #[error("the magnet link names two torrents; give each a link of its own")]
    TwoTorrents,
    /// The link is longer than any that was meant.
    #[error("the magnet link is longer than {MAX_LENGTH} bytes")]
    TooLong,
}

impl Magnet {
    /// A link for a torrent that is known: its hashes, name, trackers and web seeds.
    pub fn of(metainfo: &Metainfo) -> Self {
        Self {
            info_hashes: metainfo.info_hashes,
            name: Some(metainfo.info.name.clone()),
            trackers: metainfo.trackers.concat(),
            web_seeds: metainfo.web_seeds.clone(),
            ..Self::default()
        }
    }

    /// Whether the link itself names anywhere to ask: a tracker, a peer or a DHT node.
    pub fn has_peer_source(&self) -> bool {
        !self.trackers.is_empty() || !self.peers.is_empty() || !self.dht_nodes.is_empty()
    }

    fn read_parameter(&mut self, key: &str, value: &str) -> Result<(), MagnetError> {
        // `tr.1=`, `tr.2=`: numbered where several stand.
        let key = match key.split_once('.') {
            Some((start, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => start,
            _ => key,
        };
        match key.to_ascii_lowercase().as_str() {
            "xt" => self.read_topic(value)?,
            "dn" => self.name = Some(value.replace('+', " ")).map(|raw| decode(&raw)).filter(|name| !name.is_empty()),
            "xl" => self.length = decode(value).parse().ok(),
            "tr" => push_new(&mut self.trackers, tracker_url(&decode(value))),
            "ws" => push_new(&mut self.web_seeds, Some(decode(value)).filter(|url| url.contains("://"))),
            "x.pe" => push_new(&mut self.peers, host_and_port(&decode(value))),
            "dht" => push_new(&mut self.dht_nodes, host_and_port(&decode(value))),
            "so" => self.select.get_or_insert_default().add(&decode(value)),
            _ => {}
        }
        Ok(())
    }

    /// `xt`, an exact topic: of interest if it is a torrent's hash.
    fn read_topic(&mut self, value: &str) -> Result<(), MagnetError> {
        let topic = decode(value);
        let invalid = |hash: &str| MagnetError::InvalidHash(hash.escape_debug().to_string());
        if let Some(hash) = strip_prefix_ignoring_case(&topic, "urn:btih:") {
            set(&mut self.info_hashes.v1, v1_hash(hash).ok_or_else(|| invalid(hash))?)?;
        } else if let Some(hash) = strip_prefix_ignoring_case(&topic, "urn:btmh:") {
            set(&mut self.info_hashes.v2, v2_multihash(hash).ok_or_else(|| invalid(hash))?)?;
        }
        Ok(())
    }
}

impl FromStr for Magnet {
    type Err = MagnetError;

    /// Reads a magnet link, or an info-hash alone: 40 hexadecimal digits or 32 letters of base32 for v1, 64
    /// hexadecimal digits (after `1220` or not) for v2.
    fn from_str(text: &str) -> Result<Self, MagnetError> {
        if text.len() > MAX_LENGTH {
            return Err(MagnetError::TooLong);
        }
        let mut magnet = Self::default();
        let Some(query) = strip_prefix_ignoring_case(text, "magnet:?") else {
            let v2 = v2_multihash(text).or_else(|| text.parse().ok());
            magnet.info_hashes = InfoHashes { v1: v1_hash(text), v2 };
            return if magnet.info_hashes.is_empty() { Err(MagnetError::NotAMagnet) } else { Ok(magnet) };
        };
        for parameter in query.split('&') {
            // A link out of a web page's source has `&amp;` between its parameters.
            let parameter = parameter.strip_prefix("amp;").unwrap_or(parameter);
            if let Some((key, value)) = parameter.split_once('=') {
                magnet.read_parameter(key, value)?;
            }
        }
        magnet.select.take_if(|select| select.is_empty());
        if magnet.info_hashes.is_empty() { Err(MagnetError::MissingHash) } else { Ok(magnet) }
    }
}

impl fmt::Display for Magnet {
    /// The link. Reading it gives the same again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escape = |text: &String| utf8_percent_encode(text, ESCAPED).to_string();
        let hashes = self.info_hashes;
        let v1 = hashes.v1.map(|hash| ("xt", format!("urn:btih:{hash}")));
        let v2 = hashes.v2.map(|hash| ("xt", format!("urn:btmh:1220{hash}")));
        let parameters = (v1.into_iter().chain(v2))
            .chain(self.name.iter().map(|name| ("dn", escape(name))))
            .chain(self.length.map(|length| ("xl", length.to_string())))
            .chain(self.trackers.iter().map(|url| ("tr", escape(url))))
            .chain(self.web_seeds.iter().map(|url| ("ws", escape(url))))
            .chain(self.peers.iter().map(|peer| ("x.pe", address(peer))))
            .chain(self.dht_nodes.iter().map(|node| ("dht", address(node))))
            .chain(self.select.iter().map(|select| ("so", select.to_string())));
        f.write_str("magnet:?")?;
        for (i, (key, value)) in parameters.enumerate() {
            let separator = if i == 0 { "" } else { "&" };
            write!(f, "{separator}{key}={value}")?;
        }
        Ok(())
    }
}

impl FileSelection {
    /// Whether the file with `index` is chosen.
    pub fn contains(&self, index: u32) -> bool {
        let after = self.ranges.partition_point(|range| *range.end() < index);
        self.ranges.get(after).is_some_and(|range| range.contains(&index))
    }

    /// The chosen indices, in order.
    pub fn indices(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges.iter().cloned().flatten()
    }

    /// Whether nothing is chosen.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Adds what `text` lists, as far as it is usable: `3` or `3-5`, between commas.
    fn add(&mut self, text: &str) {
        for entry in text.split(',') {
            let (first, last) = entry.split_once('-').unwrap_or((entry, entry));
            if let (Some(first), Some(last)) = (file_index(first), file_index(last))
                && first <= last
            {
                self.ranges.push(first..=last);
            }
        }
        self.ranges.sort_unstable_by_key(|range| *range.start());
        self.ranges.dedup_by(|later, kept| {
            let touches = *later.start() <= kept.end().saturating_add(1);
            if touches {
                *kept = *kept.start()..=*kept.end().max(later.end());
            }
            touches
        });
    }
}

impl FromStr for FileSelection {
    type Err = ParseSelectionError;

    /// Reads `0,2,4-6`, all of which must be right: what a person typed.
    fn from_str(text: &str) -> Result<Self, ParseSelectionError> {
        for entry in text.split(',') {
            let (first, last) = entry.split_once('-').unwrap_or((entry, entry));
            match (file_index(first), file_index(last)) {
                (Some(first), Some(last)) if first <= last => {}
                _ => return Err(ParseSelectionError(entry.to_owned())),
            }
        }
        let mut selection = Self::default();
        selection.add(text);
        Ok(selection)
    }
}

/// A part of a selection that is neither an index nor a range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no file or range of files; write indices from 0 as in 0,2,4-6")]
pub struct ParseSelectionError(String);

impl fmt::Display for FileSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.ranges.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match (range.start(), range.end()) {
                (first, last) if first == last => write!(f, "{comma}{first}")?,
                (first, last) => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// A v1 info-hash of 40 hexadecimal digits or 32 letters of base32, in either case.
fn v1_hash(text: &str) -> Option<Sha1Hash> {
    if text.len() != 32 {
        return text.parse().ok();
    }
    // Base32 has no digit 1; where one stands it was an I that was copied by eye.
    let letters = text.to_ascii_uppercase().replace('1', "I");
    Sha1Hash::from_slice(&BASE32.decode(letters.as_bytes()).ok()?)
}

/// A v2 info-hash as a multihash: 12 (SHA-256), 20 (32 bytes), and 64 hexadecimal digits.
fn v2_multihash(text: &str) -> Option<Sha256Hash> {
    text.strip_prefix("1220")?.parse().ok()
}

/// Keeps one hash; a second one must be the same.
fn set<T: PartialEq>(slot: &mut Option<T>, hash: T) -> Result<(), MagnetError> {
    match slot {
        Some(known) if *known != hash => Err(MagnetError::TwoTorrents),
        _ => {
            *slot = Some(hash);
            Ok(())
        }
    }
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: Option<T>) {
    if let Some(item) = item
        && list.len() < MAX_ENTRIES
        && !list.contains(&item)
    {
        list.push(item);
    }
}

fn decode(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// `host:port`, or `[address]:port` for IPv6.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|&port| port != 0)?;
    if let Some(address) = host.strip_prefix('[') {
        let address: std::net::Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
        return Some((address.to_string(), port));
    }
    let valid = !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_'));
    valid.then(|| (host.to_owned(), port))
}

fn address((host, port): &(String, u16)) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn file_index(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&index| digits && index <= MAX_FILE_INDEX)
}

/// What is left as it is: letters, digits and `-._~`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The longest link that is read, in bytes.
const MAX_LENGTH: usize = 1 << 16;
/// The most trackers, web seeds, peers and nodes that are taken, of each.
const MAX_ENTRIES: usize = 1000;
/// The highest index that is taken to mean a file.
const MAX_FILE_INDEX: u32 = 1_000_000;
