//! HTTP and HTTPS GET, for trackers and .torrent files, on threads of their own.
//!
//! What a server can do to us is bounded: the whole time, the size of headers and of the unpacked body, the number of
//! redirects. A redirect from a public host may not lead into the local network (server-side request forgery): what
//! counts is the address that is connected to, not the name.

use crate::workers::{Worker, Workers};
use bytes::Bytes;
use reef_engine::{HttpReply, HttpRequest, RequestId};
use std::fmt;
use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use url::Url;

/// Gets each answer, on a thread of the client.
pub(crate) type OnReply = Arc<dyn Fn(RequestId, Result<HttpReply, String>) + Send + Sync>;

/// Makes requests.
pub(crate) struct HttpClient {
    workers: Workers<HttpRequest>,
}

impl HttpClient {
    /// A client that gives its answers to `on_reply`.
    pub(crate) fn new(on_reply: OnReply) -> Self {
        let make = move || -> Worker<HttpRequest> {
            let (on_reply, fetcher) = (Arc::clone(&on_reply), Fetcher::default());
            Box::new(move |request| on_reply(request.id, fetcher.fetch(&request)))
        };
        Self { workers: Workers::new("reef-http", THREADS, make) }
    }

    /// Makes a request.
    pub(crate) fn request(&self, request: HttpRequest) {
        self.workers.submit(request);
    }

    /// Gives up a request. One that is under way is still answered.
    pub(crate) fn cancel(&self, id: RequestId) {
        self.workers.retain(|request| request.id != id);
    }
}

/// Makes one request at a time.
struct Fetcher {
    agent: ureq::Agent,
    gate: Arc<Gate>,
}

/// Which addresses may be connected to, and which were.
#[derive(Debug, Default)]
struct Gate {
    public_only: AtomicBool,
    was_public: AtomicBool,
}

impl Default for Fetcher {
    fn default() -> Self {
        // Nothing of a request may depend on the environment or on an earlier one: no proxy from variables, no
        // connection kept, which would also pass by the gate.
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .max_response_header_size(LARGEST_HEADERS)
            .proxy(None)
            .build();
        let gate = Arc::new(Gate::default());
        let resolver = GatedResolver { gate: Arc::clone(&gate), inner: DefaultResolver::default() };
        Self { agent: ureq::Agent::with_parts(config, DefaultConnector::default(), resolver), gate }
    }
}

impl Fetcher {
    fn fetch(&self, request: &HttpRequest) -> Result<HttpReply, String> {
        let end = Instant::now() + Duration::from_secs(request.timeout_secs.max(1));
        let mut url = Url::parse(&request.url).map_err(|e| format!("not a URL: {e}"))?;
        self.gate.public_only.store(false, Ordering::Relaxed);
        for _ in 0..=MOST_REDIRECTS {
            if !matches!(url.scheme(), "http" | "https") {
                return Err(format!("{}: is not fetched over HTTP", url.scheme()));
            }
            let mut response = self.get(&url, request, end)?;
            match redirect_target(&url, &response)? {
                Some(target) => url = target,
                None => {
                    return Ok(HttpReply { status: response.status().as_u16(), body: read(&mut response, request)? });
                }
            }
            if self.gate.was_public.load(Ordering::Relaxed) {
                self.gate.public_only.store(true, Ordering::Relaxed);
            }
        }
        Err(format!("more than {MOST_REDIRECTS} redirects"))
    }

    fn get(&self, url: &Url, request: &HttpRequest, end: Instant) -> Result<Response, String> {
        let left = end.saturating_duration_since(Instant::now());
        let call = self.agent.get(url.as_str()).header("User-Agent", &request.user_agent);
        let call = call.config().timeout_global(Some(left)).build();
        call.call().map_err(|e| describe(&e, request))
    }
}

type Response = ureq::http::Response<ureq::Body>;

/// Where a redirect leads; `None` for any other answer.
fn redirect_target(from: &Url, response: &Response) -> Result<Option<Url>, String> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = response.headers().get("location") else { return Ok(None) };
    let location = location.to_str().map_err(|_| "a redirect to what is no URL".to_owned())?;
    from.join(location).map(Some).map_err(|e| format!("a redirect to what is no URL: {e}"))
}

fn read(response: &mut Response, request: &HttpRequest) -> Result<Bytes, String> {
    let mut body = Vec::new();
    let limit = request.max_body as u64;
    // One byte more than is allowed tells a body that is too long from one that just fits.
    let reader = response.body_mut().with_config().limit(limit.saturating_add(2)).reader();
    reader.take(limit.saturating_add(1)).read_to_end(&mut body).map_err(|e| match e.downcast::<ureq::Error>() {
        Ok(e) => describe(&e, request),
        Err(e) => e.to_string(),
    })?;
    if body.len() > request.max_body {
        return Err(format!("the answer is longer than {} bytes", request.max_body));
    }
    Ok(Bytes::from(body))
}

/// A failure in one line, for people.
fn describe(e: &ureq::Error, request: &HttpRequest) -> String {
    match e {
        ureq::Error::HostNotFound => "no such host".to_owned(),
        ureq::Error::Timeout(_) => format!("no answer within {} seconds", request.timeout_secs),
        ureq::Error::Io(e) => e.to_string(),
        other => other.to_string(),
    }
}

/// The system's resolver behind a [`Gate`].
struct GatedResolver {
    gate: Arc<Gate>,
    inner: DefaultResolver,
}

impl fmt::Debug for GatedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatedResolver").field("gate", &self.gate).finish_non_exhaustive()
    }
}

impl Resolver for GatedResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        let public_only = self.gate.public_only.load(Ordering::Relaxed);
        let mut allowed = self.empty();
        found.iter().filter(|a| !public_only || is_public(a.ip())).for_each(|a| allowed.push(*a));
        if allowed.is_empty() {
            return Err(ureq::Error::Other("a redirect into the local network was refused".into()));
        }
        self.gate.was_public.store(allowed.iter().any(|a| is_public(a.ip())), Ordering::Relaxed);
        Ok(allowed)
    }
}

/// Whether an address belongs to the public network.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(a) => {
            let [first, second, ..] = a.octets();
            let shared = first == 100 && (64..128).contains(&second);
            let special = a.is_loopback() || a.is_private() || a.is_link_local() || a.is_broadcast();
            !(special || shared || first == 0)
        }
        IpAddr::V6(a) => !(a.is_loopback() || a.is_unspecified() || a.is_unique_local() || a.is_unicast_link_local()),
    }
}

const THREADS: usize = 16;
const MOST_REDIRECTS: usize = 5;
const LARGEST_HEADERS: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{SocketAddr, TcpListener};

    /// A server that gives each connection the next of these answers.
    fn serve(answers: Vec<Vec<u8>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                while reader.read_line(&mut line).unwrap() > 2 {
                    line.clear();
                }
                stream.write_all(&answer).unwrap();
            }
        });
        address
    }

    fn answer(head: &str, body: &[u8]) -> Vec<u8> {
        let mut all = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        all.extend(body);
        all
    }

    fn request(url: String) -> HttpRequest {
        HttpRequest { id: RequestId(1), url, user_agent: "reef/test".to_owned(), timeout_secs: 5, max_body: 100 }
    }

    fn fetch(url: String) -> Result<HttpReply, String> {
        Fetcher::default().fetch(&request(url))
    }

    #[test]
    fn any_status_comes_with_its_body() {
        for head in ["200 OK", "404 Not Found", "500 Oops"] {
            let address = serve(vec![answer(head, b"d8:intervali1e5:peers0:e")]);
            let reply = fetch(format!("http://{address}/announce?a=%00")).unwrap();
            assert_eq!(reply.status.to_string(), head[..3]);
            assert_eq!(&reply.body[..], b"d8:intervali1e5:peers0:e");
        }
    }

    #[test]
    fn a_body_that_is_too_long_is_refused() {
        let address = serve(vec![answer("200 OK", &[b'x'; 100]), answer("200 OK", &[b'x'; 101])]);
        assert_eq!(fetch(format!("http://{address}/")).unwrap().body.len(), 100);
        assert_eq!(fetch(format!("http://{address}/")).unwrap_err(), "the answer is longer than 100 bytes");
    }

    #[test]
    fn redirects_are_followed_but_not_for_ever() {
        let hop = answer("302 Found\r\nLocation: /next", b"");
        let address = serve(vec![hop.clone(), hop.clone(), answer("200 OK", b"here")]);
        assert_eq!(&fetch(format!("http://{address}/")).unwrap().body[..], b"here");
        let address = serve(vec![hop; 9]);
        assert_eq!(fetch(format!("http://{address}/")).unwrap_err(), "more than 5 redirects");
    }

    #[test]
    fn a_redirect_from_a_public_host_does_not_reach_the_local_network() {
        let address = serve(vec![answer("200 OK", b"secret")]);
        let fetcher = Fetcher::default();
        fetcher.gate.public_only.store(true, Ordering::Relaxed);
        let url = Url::parse(&format!("http://{address}/")).unwrap();
        let end = Instant::now() + Duration::from_secs(5);
        let refused = fetcher.get(&url, &request(url.to_string()), end).unwrap_err();
        assert!(refused.contains("a redirect into the local network was refused"), "{refused}");
    }

    #[test]
    fn what_is_public() {
        let check = |address: &str, public: bool| assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        for local in ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1"] {
            check(local, false);
        }
        for local in ["fd00::1", "fe80::1", "::ffff:127.0.0.1", "::"] {
            check(local, false);
        }
        for public in ["1.1.1.1", "100.128.0.1", "2606:4700::1111", "::ffff:1.1.1.1"] {
            check(public, true);
        }
    }

    #[test]
    fn failures_are_one_line() {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for url in [format!("http://{nobody}/"), "gopher://x/".to_owned(), "::".to_owned()] {
            let why = fetch(url).unwrap_err();
            assert!(!why.is_empty() && !why.contains('\n'), "{why}");
        }
    }
}
