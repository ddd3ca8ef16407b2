//! Where a tracker is: an http, https or udp URL that can be asked without surprises.
//!
//! Tracker URLs come from torrent files and magnets, that is from strangers. It must never let a URL through that would end a request line early or
//! name another scheme.

use std::fmt;

use thiserror::Error;
use url::Url;

/// The URL of a tracker, checked.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackerUrl {
    url: Url,
    scheme: Scheme,
}

/// How a tracker is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// HTTP (BEP 3).
    Http,
    /// HTTP over TLS.
    Https,
    /// UDP (BEP 15).
    Udp,
}

/// Why a text is not the URL of a tracker that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Longer than any real one.
    #[error("the tracker URL is longer than {MAX_LEN} bytes")]
    TooLong,
    /// Line breaks and their like could smuggle a second request into the first.
    #[error("the tracker URL contains control characters")]
    ControlCharacter,
    /// Not a URL.
    #[error("the tracker URL is malformed: {0}")]
    Malformed(#[from] url::ParseError),
    /// Neither http, https nor udp.
    #[error("trackers are reached over http, https or udp, not `{0}`")]
    Scheme(String),
    /// Nobody to ask.
    #[error("the tracker URL names no host")]
    NoHost,
    /// UDP has no usual port for trackers.
    #[error("a udp tracker URL must name a port, such as udp://tracker.example:6969/announce")]
    NoPort,
}

impl TrackerUrl {
    /// Checks the URL of a tracker. Spaces around it are ignored.
    ///
    /// # Errors
    /// What [`UrlError`] lists.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let text = text.trim_matches(' ');
        if text.len() > MAX_LEN {
            return Err(UrlError::TooLong);
        }
        // The parser would drop line breaks silently.
        if text.chars().any(char::is_control) {
            return Err(UrlError::ControlCharacter);
        }
        let url = Url::parse(text)?;
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "udp" => Scheme::Udp,
            other => return Err(UrlError::Scheme(other.chars().take(16).collect())),
        };
        if url.host_str().is_none_or(str::is_empty) {
            return Err(UrlError::NoHost);
        }
        if url.port_or_known_default().is_none_or(|port| port == 0) {
            return Err(UrlError::NoPort);
        }
        Ok(Self { url, scheme })
    }

    /// How it is asked.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host's name (in ASCII) or address; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// The port, which is the scheme's own where the URL names none.
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or_default()
    }

    /// The URL in its normal form. It may hold a passkey: see [`Self::without_secrets`].
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// Scheme, host and port: what a log may say, since path, query and user may be a passkey.
    pub fn without_secrets(&self) -> String {
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}", self.url.scheme(), self.url.host_str().unwrap_or_default())
    }

    /// Path and query, if there is more than a slash: what BEP 41 has a UDP tracker told.
    pub fn path_and_query(&self) -> Option<String> {
        let path = self.url.path();
        match self.url.query() {
            Some(query) => Some(format!("{path}?{query}")),
            None => Some(path.to_owned()).filter(|path| !path.is_empty() && path != "/"),
        }
    }

    /// Where it answers scrapes. Over HTTP the last part of the path must begin with `announce`, which becomes `scrape` (BEP 48); none where it
    /// does not. Over UDP it is the same place.
    pub fn scrape(&self) -> Option<Self> {
        if self.scheme == Scheme::Udp {
            return Some(self.clone());
        }
        let text = self.as_str();
        let (before, last) = text.rsplit_once('/')?;
        let rest = last.strip_prefix("announce")?;
        Url::parse(&format!("{before}/scrape{rest}")).ok().map(|url| Self { url, scheme: self.scheme })
    }

    /// The URL with `parameters`, encoded already, added to its query; a fragment is dropped.
    pub(super) fn with_parameters(&self, parameters: &str) -> String {
        let text = self.as_str();
        let base = text.split_once('#').map_or(text, |(base, _)| base);
        let joint = match base.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some((_, query)) if query.ends_with('&') => "",
            Some(_) => "&",
        };
        format!("{base}{joint}{parameters}")
    }
}

impl fmt::Debug for TrackerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrackerUrl({})", self.without_secrets())
    }
}

/// The longest URL that is taken, in bytes.
const MAX_LEN: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_asked_is_taken() {
        let good = [
            ("http://example.com/announce", Scheme::Http, "example.com", 80),
            (" https://example.com:8443/a?passkey=x ", Scheme::Https, "example.com", 8443),
            ("UDP://tracker.example:6969", Scheme::Udp, "tracker.example", 6969),
            ("http://[2001:db8::1]:7000/announce", Scheme::Http, "2001:db8::1", 7000),
            ("http://b\u{fc}cher.example/announce", Scheme::Http, "xn--bcher-kva.example", 80),
        ];
        for (text, scheme, host, port) in good {
            let url = TrackerUrl::parse(text).unwrap();
            assert_eq!((url.scheme(), url.host(), url.port()), (scheme, host, port), "{text}");
        }
        let long = format!("http://example.com/{}", "a".repeat(5000));
        let bad = [
            ("http://example.com/\r\nHost: other", UrlError::ControlCharacter),
            ("http://exam\tple.com/", UrlError::ControlCharacter),
            ("http://example.com/\u{85}", UrlError::ControlCharacter),
            ("file:///etc/passwd", UrlError::Scheme("file".to_owned())),
            ("gopher://example.com/", UrlError::Scheme("gopher".to_owned())),
            ("udp://tracker.example/announce", UrlError::NoPort),
            ("udp://:80/announce", UrlError::Malformed(url::ParseError::EmptyHost)),
            ("announce", UrlError::Malformed(url::ParseError::RelativeUrlWithoutBase)),
            (long.as_str(), UrlError::TooLong),
        ];
        for (text, error) in bad {
            assert_eq!(TrackerUrl::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn logs_see_no_passkey() {
        let url = TrackerUrl::parse("http://user:pass@example.com:8080/secret/announce?passkey=1").unwrap();
        assert_eq!(url.without_secrets(), "http://example.com:8080");
        assert_eq!(format!("{url:?}"), "TrackerUrl(http://example.com:8080)");
    }

    #[test]
    fn udp_trackers_are_told_more_than_a_slash() {
        let cases = [
            ("udp://t.example:80", None),
            ("udp://t.example:80/", None),
            ("udp://t.example:80/announce", Some("/announce")),
            ("udp://t.example:80/dir?a=b&c=d", Some("/dir?a=b&c=d")),
        ];
        for (text, expected) in cases {
            assert_eq!(TrackerUrl::parse(text).unwrap().path_and_query().as_deref(), expected, "{text}");
        }
    }
}
