//! The forms of what is typed after options: addresses, URLs, numbers. What is wrong is answered with an example.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::text::parse_size;

/// The port that is tried first when nothing else is said.
pub(crate) const DEFAULT_PORT: u16 = 6881;

/// Where to listen, as it was typed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Listen {
    /// One address and port.
    Address(SocketAddr),
    /// A port on every address of both families.
    Port(u16),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Port(port) => port.fmt(f),
        }
    }
}

impl Listen {
    /// The addresses meant.
    pub(crate) fn addresses(self) -> Vec<SocketAddr> {
        match self {
            Self::Address(address) => vec![address],
            Self::Port(port) => vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()],
        }
    }
}

/// Reads an address to listen on: `ADDRESS:PORT`, `ADDRESS`, `PORT` or `:PORT`.
pub(crate) fn parse_listen(text: &str) -> Result<Listen, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(Listen::Address(address));
    }
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(Listen::Address((ip, DEFAULT_PORT).into()));
    }
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        return Ok(Listen::Port(port));
    }
    match text.rsplit_once(':') {
        Some(("localhost", port)) if port.parse::<u16>().is_ok() => parse_listen(&format!("127.0.0.1:{port}")),
        _ => Err("an address to listen on looks like 0.0.0.0:6881, [::]:6881 or 6881".to_owned()),
    }
}

/// Checks that a peer looks like `HOST:PORT`.
pub(crate) fn parse_peer(text: &str) -> Result<String, String> {
    let valid = text.parse::<SocketAddr>().map(|address| address.port() != 0).unwrap_or_else(|_| {
        text.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains(':') && port.parse::<u16>().is_ok_and(|port| port != 0)
        })
    });
    if valid { Ok(text.to_owned()) } else { Err("a peer looks like 192.0.2.7:6881 or [2001:db8::7]:6881".to_owned()) }
}

/// Checks that a tracker has a URL that can be announced to.
pub(crate) fn parse_tracker(text: &str) -> Result<String, String> {
    parse_url(text, &["http", "https", "udp"])
        .map_err(|()| "a tracker has an http, https or udp URL, such as https://tracker.example/announce".to_owned())
}

/// Checks that a web seed has a URL that can be fetched from.
pub(crate) fn parse_web_url(text: &str) -> Result<String, String> {
    parse_url(text, &["http", "https"])
        .map_err(|()| "a web seed has an http or https URL, such as https://files.example/photos/".to_owned())
}

fn parse_url(text: &str, schemes: &[&str]) -> Result<String, ()> {
    match url::Url::parse(text) {
        Ok(url) if schemes.contains(&url.scheme()) && url.has_host() && !text.contains(char::is_control) => {
            Ok(text.to_owned())
        }
        _ => Err(()),
    }
}

/// Reads a share ratio.
pub(crate) fn parse_ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if ratio.is_finite() && ratio >= 0.0 => Ok(ratio),
        _ => Err("a ratio is a number such as 1.5".to_owned()),
    }
}

/// Reads a piece length: a power of two from 16 KiB to 256 MiB.
pub(crate) fn parse_piece_length(text: &str) -> Result<u32, String> {
    match parse_size(text).ok().and_then(|size| u32::try_from(size).ok()) {
        Some(length) if length.is_power_of_two() && (16 << 10..=256 << 20).contains(&length) => Ok(length),
        _ => Err("a piece length is a power of two from 16KiB to 256MiB, such as 262144 or 1MiB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_listen_on_take_several_forms() {
        let check = |text: &str, expected: &[&str]| {
            let addresses = parse_listen(text).map(Listen::addresses);
            assert_eq!(addresses, Ok(expected.iter().map(|a| a.parse().unwrap()).collect()), "{text}");
        };
        check("127.0.0.1:0", &["127.0.0.1:0"]);
        check("127.0.0.1", &["127.0.0.1:6881"]);
        check("[::1]", &["[::1]:6881"]);
        check("localhost:9", &["127.0.0.1:9"]);
        check(":9", &["0.0.0.0:9", "[::]:9"]);
        check("9", &["0.0.0.0:9", "[::]:9"]);
        for wrong in ["", "65536", "somewhere:1", "1.2.3.4:x"] {
            assert!(parse_listen(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn peers_and_urls_are_checked_for_their_form() {
        for right in ["1.2.3.4:5", "[::1]:5", "host.example:6881"] {
            assert!(parse_peer(right).is_ok(), "{right}");
        }
        for wrong in ["", "1.2.3.4", "1.2.3.4:0", ":5", "::1:5", "host:99999"] {
            assert!(parse_peer(wrong).is_err(), "{wrong}");
        }
        assert!(parse_tracker("udp://tracker.example:1337").is_ok());
        assert!(parse_tracker("tracker.example").is_err() && parse_tracker("ftp://tracker.example").is_err());
        assert!(parse_web_url("udp://tracker.example:1337").is_err());
    }

    #[test]
    fn piece_lengths_are_powers_of_two() {
        assert_eq!([parse_piece_length("16384"), parse_piece_length("1MiB")], [Ok(16384), Ok(1 << 20)]);
        for wrong in ["0", "8192", "100000", "1M", "512MiB", "x"] {
            assert!(parse_piece_length(wrong).is_err(), "{wrong}");
        }
    }
}
