//! What SOURCE is: a torrent file, a magnet link, an info-hash, or the URL of a torrent file.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reef_proto::bencode::Limits;
use reef_proto::hash::InfoHashes;
use reef_proto::magnet::Magnet;
use reef_proto::metainfo::Metainfo;

use super::failure::{Failure, describe};
use super::text::shorten;

/// How long a server may take to send a torrent file.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);

/// A source that was read.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Source {
    /// A torrent file.
    Torrent(Arc<Metainfo>),
    /// A magnet link, or an info-hash, which is a magnet link without anything else.
    Magnet(Box<Magnet>),
}

impl Source {
    /// Reads what `text` names.
    pub(crate) fn read(text: &str) -> Result<Self, Failure> {
        match kind(text) {
            Kind::Magnet | Kind::InfoHash => magnet(text).map(|magnet| Self::Magnet(Box::new(magnet))),
            Kind::Url => fetch(text).map(|metainfo| Self::Torrent(Arc::new(metainfo))),
            Kind::File => read_torrent(text).map(|metainfo| Self::Torrent(Arc::new(metainfo))),
        }
    }

    /// The torrent's info-hashes.
    pub(crate) fn info_hashes(&self) -> InfoHashes {
        match self {
            Self::Torrent(metainfo) => metainfo.info_hashes,
            Self::Magnet(magnet) => magnet.info_hashes,
        }
    }

    /// The torrent's name, or else its info-hash.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Torrent(metainfo) => metainfo.info.name.clone(),
            Self::Magnet(magnet) => {
                magnet.name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| magnet.info_hashes.to_string())
            }
        }
    }
}

/// Reads a torrent file; nothing but a path is meant.
pub(crate) fn read_torrent(text: &str) -> Result<Metainfo, Failure> {
    let path = Path::new(text);
    let bytes = read_bounded(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if looks_like_a_path(text) => Failure::io(path, &error),
        io::ErrorKind::NotFound => Failure::new(format!(
            "{}: no such file, and neither a magnet link, an info-hash nor a URL",
            shorten(text, 200)
        )),
        io::ErrorKind::IsADirectory => {
            Failure::new(format!("{text}: this is a folder; give a .torrent file, or make one with `reef create`"))
        }
        _ => Failure::io(path, &error),
    })?;
    parse(text, &bytes)
}

fn parse(name: &str, bytes: &[u8]) -> Result<Metainfo, Failure> {
    Metainfo::parse(bytes).map_err(|error| Failure::new(format!("{name}: {error}")))
}

fn magnet(text: &str) -> Result<Magnet, Failure> {
    text.parse().map_err(|error| Failure::new(format!("{}: {error}", shorten(text, 100))))
}

/// Reads a file that is no larger than a torrent may be.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe or a device may have no length and no end; one byte over the limit is enough to be refused.
    let mut bytes = Vec::new();
    let limit = Limits::TORRENT.max_size as u64 + 1;
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Fetches a torrent file from a web server.
fn fetch(url: &str) -> Result<Metainfo, Failure> {
    let failed = |why: String| Failure::new(format!("{url}: {why}"));
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(FETCH_TIMEOUT))
        .user_agent(concat!("reef/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let mut response = agent.get(url).call().map_err(|error| failed(explain(&error)))?;
    let bytes = response
        .body_mut()
        .with_config()
        .limit(Limits::TORRENT.max_size as u64)
        .read_to_vec()
        .map_err(|error| failed(explain(&error)))?;
    parse(url, &bytes)
}

/// An HTTP failure in plain words.
fn explain(error: &ureq::Error) -> String {
    match error {
        ureq::Error::StatusCode(404) => "the server has no such file (404)".to_owned(),
        ureq::Error::StatusCode(code) => format!("the server refused with status {code}"),
        ureq::Error::HostNotFound => "no such host; check the address and your connection".to_owned(),
        ureq::Error::Timeout(_) => "the server did not answer in time; try again later".to_owned(),
        ureq::Error::BodyExceedsLimit(_) => "the answer is too large for a torrent file".to_owned(),
        ureq::Error::Io(error) => describe(error),
        other => other.to_string(),
    }
}

enum Kind {
    File,
    Magnet,
    Url,
    InfoHash,
}

fn kind(text: &str) -> Kind {
    let starts = |prefix: &str| text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if starts("magnet:") {
        return Kind::Magnet;
    }
    if starts("http://") || starts("https://") {
        return Kind::Url;
    }
    // A file may be called like a hash; whoever has one means it.
    let is_hash = text.parse::<Magnet>().is_ok();
    if is_hash && !Path::new(text).exists() { Kind::InfoHash } else { Kind::File }
}

fn looks_like_a_path(text: &str) -> bool {
    text.contains('/') || text.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_told_by_its_form() {
        let check = |text: &str, expected: &str| {
            let found = match kind(text) {
                Kind::File => "file",
                Kind::Magnet => "magnet",
                Kind::Url => "url",
                Kind::InfoHash => "hash",
            };
            assert_eq!(found, expected, "{text}");
        };
        let hex = "0123456789abcdefABCDEF0123456789abcdef01";
        check("debian.torrent", "file");
        check("magnet:?xt=urn:btih:x", "magnet");
        check("MAGNET:?x", "magnet");
        check("https://a.example/b.torrent", "url");
        check("httpd.torrent", "file");
        check(hex, "hash");
        check("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "hash");
        check("ABCDEFGHIJKLMNOPQRSTUVWXYZ234568", "file");
        check(&hex[1..], "file");
        check(&"ab".repeat(32), "hash");
        check("ma", "file");
        check("é", "file");
    }
}
