//! A session that has no file left to open goes on, and lets peers in again as soon as it can. Alone in its process,
//! because the limit is the process's.

use reef::{Config, Session};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const FILES: u64 = 128;
const PATIENCE: Duration = Duration::from_secs(20);

/// Connects and says what no session understands; it answers by closing.
fn knock(session: &Session) -> TcpStream {
    let mut peer = TcpStream::connect(session.listen_addresses()[0]).unwrap();
    peer.write_all(&[b'x'; 68]).unwrap();
    peer
}

/// Whether a peer is closed before the time is over.
fn is_closed(mut peer: &TcpStream, limit: Duration) -> bool {
    peer.set_read_timeout(Some(limit)).unwrap();
    let closed = peer.read(&mut [0]);
    matches!(&closed, Ok(0)) || closed.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset)
}

#[test]
fn a_session_without_files_lets_peers_in_again_when_there_are_some() {
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    let session = Session::start(Config { listen, ..Config::default() }).unwrap();
    assert!(is_closed(&knock(&session), PATIENCE));
    setrlimit(Resource::Nofile, Rlimit { current: Some(FILES), ..getrlimit(Resource::Nofile) }).unwrap();
    let mut files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    files.pop();
    let peer = knock(&session);
    assert!(!is_closed(&peer, Duration::from_millis(100)), "let in without a file left");
    drop(files);
    assert!(is_closed(&peer, PATIENCE));
    assert!(is_closed(&knock(&session), PATIENCE));
}
