//! As much of HTTP as it takes: one GET a connection, its head bounded in bytes and in time.

use reef_plugin_api::HostError;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// Bytes of a request's head at most.
const MAX_HEAD: usize = 4096;
/// Parts in which the head may come: with the time for each, so long can one visitor keep others waiting.
const MAX_READS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(1);

/// Reads a request and answers it; `page` makes what is at `/metrics`.
pub(crate) fn answer(stream: &TcpStream, page: impl FnOnce() -> Result<String, HostError>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (status, body) = match target(&read_head(stream)?) {
        Ok("/metrics") => match page() {
            Ok(page) => ("200 OK", page),
            Err(error) => ("503 Service Unavailable", format!("{error}\n")),
        },
        Ok(_) => ("404 Not Found", "the metrics are at /metrics\n".to_owned()),
        Err(status) => (status, String::new()),
    };
    let length = body.len();
    let mut out = stream;
    write!(
        out,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// Reads up to the empty line after the head, or as far as the bounds allow.
fn read_head(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut head = vec![0; MAX_HEAD];
    let mut filled = 0;
    for _ in 0..MAX_READS {
        let read = stream.read(&mut head[filled..])?;
        filled += read;
        if read == 0 || filled == MAX_HEAD || head[..filled].windows(4).any(|four| four == b"\r\n\r\n") {
            break;
        }
    }
    head.truncate(filled);
    Ok(head)
}

/// What a request asks for, without what follows a question mark.
fn target(head: &[u8]) -> Result<&str, &'static str> {
    let bad = "400 Bad Request";
    if !head.windows(4).any(|four| four == b"\r\n\r\n") {
        return Err(bad);
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = std::str::from_utf8(line).map_err(|_| bad)?.split(' ');
    match (words.next(), words.next(), words.next()) {
        (Some("GET"), Some(target), Some(version)) if version.starts_with("HTTP/1.") => {
            Ok(target.split('?').next().unwrap_or_default())
        }
        (Some(_), Some(_), Some(version)) if version.starts_with("HTTP/1.") => Err("405 Method Not Allowed"),
        _ => Err(bad),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_name_what_they_want() {
        let check =
            |head: &str, expected: Result<&str, &str>| assert_eq!(target(head.as_bytes()), expected, "{head:?}");
        check("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Ok("/metrics"));
        check("GET /metrics?x=1 HTTP/1.0\r\n\r\n", Ok("/metrics"));
        check("POST /metrics HTTP/1.1\r\n\r\n", Err("405 Method Not Allowed"));
        check("GET /metrics\r\n\r\n", Err("400 Bad Request"));
        check("GET /metrics HTTP/1.1\r\n", Err("400 Bad Request"));
        check("", Err("400 Bad Request"));
    }
}
