//! Sockets of a session against plain sockets of the standard library.

use super::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

/// A [`Net`] with the inputs that it gave.
struct Pump {
    net: Net,
    keys: Keys,
    inputs: Vec<Input>,
}

/// The last key that was given.
struct Keys(u64);

impl Owner for Keys {
    fn new_conn(&mut self) -> ConnId {
        self.0 += 1;
        ConnId(self.0)
    }

    fn next_read(&self, _: ConnId, most: usize) -> usize {
        most
    }
}

impl Pump {
    fn new(addresses: &[&str]) -> Self {
        let addresses: Vec<SocketAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        Self { net: Net::open(&addresses, Notifier::new().unwrap()).unwrap(), keys: Keys(100), inputs: Vec::new() }
    }

    fn address(&self) -> SocketAddr {
        self.net.addresses()[0]
    }

    fn turn(&mut self) {
        let now = Instant::now();
        for _ in 0..self.net.begin_turn(now) {
            let input = self.net.next_input(now, &mut self.keys);
            self.inputs.extend(input);
        }
        self.net.flush();
    }

    /// Takes turns until something is found among the inputs; fails after ten seconds.
    #[track_caller]
    fn until<T>(&mut self, mut find: impl FnMut(&[Input]) -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            self.turn();
            if let Some(found) = find(&self.inputs) {
                return found;
            }
            assert!(Instant::now() < end, "nothing of it came: {:?}", self.inputs);
            if !self.net.has_work() {
                crate::rt::block_on(self.net.wait(Some(end)));
            }
        }
    }

    #[track_caller]
    fn accepted(&mut self) -> ConnId {
        self.until(|inputs| {
            inputs.iter().rev().find_map(|i| if let Input::Accepted { conn, .. } = i { Some(*conn) } else { None })
        })
    }

    #[track_caller]
    fn closed(&mut self, conn: ConnId) -> CloseCause {
        self.until(|inputs| {
            inputs.iter().find_map(|i| match i {
                Input::Closed { conn: c, cause } if *c == conn => Some(cause.clone()),
                _ => None,
            })
        })
    }

    /// Takes turns until no connection is left.
    fn until_all_gone(&mut self) {
        while !self.net.connections.is_empty() {
            crate::rt::block_on(self.net.wait(None));
            self.turn();
        }
    }

    fn received(inputs: &[Input], conn: ConnId) -> Vec<u8> {
        let parts = inputs.iter().filter_map(|i| match i {
            Input::Received { conn: c, data } if *c == conn => Some(&data[..]),
            _ => None,
        });
        parts.collect::<Vec<_>>().concat()
    }

    #[track_caller]
    fn receives(&mut self, conn: ConnId, expected: &[u8]) {
        self.until(|inputs| (Self::received(inputs, conn).len() >= expected.len()).then_some(()));
        assert_eq!(Self::received(&self.inputs, conn), expected);
    }

    /// A peer connected to us: its end and the key of ours.
    fn peer(&mut self) -> (TcpStream, ConnId) {
        let far = TcpStream::connect(self.address()).unwrap();
        (far, self.accepted())
    }
}

/// Blocks out of one file, or out of one that a "disk thread" reads later.
struct Blocks {
    file: Option<Arc<std::fs::File>>,
    asked: Mutex<Vec<u64>>,
}

impl Blocks {
    fn new(content: &[u8]) -> Self {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(content, 0).unwrap();
        Self { file: Some(Arc::new(file)), asked: Mutex::default() }
    }
}

impl BlockSource for Blocks {
    fn ranges(&mut self, _: TorrentId, block: BlockRequest) -> Option<Vec<FileRange>> {
        let file = Arc::clone(self.file.as_ref()?);
        Some(vec![FileRange { file, offset: block.begin.into(), length: block.length.into() }])
    }

    fn read(&mut self, _: TorrentId, _: BlockRequest, tag: u64) {
        self.asked.lock().unwrap().push(tag);
    }
}

const TORRENT: TorrentId = TorrentId(1);

fn block(begin: u32, length: u32) -> BlockRequest {
    BlockRequest { piece: 3, begin, length }
}

#[test]
fn a_dial_connects_and_bytes_go_both_ways() {
    let mut pump = Pump::new(&[]);
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    pump.net.dial(ConnId(1), far.local_addr().unwrap());
    pump.net.send(ConnId(1), Bytes::from_static(b"hello"));
    let (mut far, _) = far.accept().unwrap();
    far.write_all(b"welcome").unwrap();
    pump.receives(ConnId(1), b"welcome");
    assert!(matches!(pump.inputs[0], Input::Connected { conn: ConnId(1) }));
    let mut got = [0; 5];
    far.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"hello");
    pump.until(|inputs| inputs.iter().any(|i| matches!(i, Input::Sent { bytes: 5, .. })).then_some(()));
    drop(far);
    assert_eq!(pump.closed(ConnId(1)), CloseCause::Eof);
}

#[test]
fn a_dial_that_nobody_answers_is_refused() {
    let mut pump = Pump::new(&[]);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    pump.net.dial(ConnId(1), nobody);
    assert_eq!(pump.closed(ConnId(1)), CloseCause::Refused);
}

#[test]
fn a_dial_comes_from_the_address_listened_on() {
    let mut pump = Pump::new(&["127.0.0.2:0"]);
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    pump.net.dial(ConnId(1), far.local_addr().unwrap());
    let (_far, from) = far.accept().unwrap();
    assert_eq!(from.ip(), pump.address().ip());
}

#[test]
fn small_messages_of_a_turn_are_one_report() {
    let mut pump = Pump::new(&["127.0.0.1:0"]);
    let (mut far, conn) = pump.peer();
    pump.turn();
    for _ in 0..100 {
        pump.net.send(conn, Bytes::from_static(b"0123456789"));
    }
    pump.until(|inputs| inputs.iter().any(|i| matches!(i, Input::Sent { bytes: 1000, .. })).then_some(()));
    let mut got = [0; 1000];
    far.read_exact(&mut got).unwrap();
    assert!(got.chunks(10).all(|c| c == b"0123456789"));
}

#[test]
fn no_more_is_read_than_was_allowed_and_the_end_comes_after_the_rest() {
    let mut pump = Pump::new(&["127.0.0.1:0"]);
    let (mut far, conn) = pump.peer();
    pump.net.allow(conn, Some(4));
    far.write_all(b"0123456789").unwrap();
    drop(far);
    pump.receives(conn, b"0123");
    pump.net.allow(conn, Some(0));
    pump.turn();
    pump.turn();
    pump.net.allow(conn, Some(3));
    pump.receives(conn, b"0123456");
    pump.net.allow(conn, None);
    assert_eq!(pump.closed(conn), CloseCause::Eof);
    assert_eq!(Pump::received(&pump.inputs, conn), b"0123456789");
}

#[test]
fn a_peer_that_floods_has_one_read_a_turn_as_everybody_has() {
    let mut pump = Pump::new(&["127.0.0.1:0"]);
    let (mut flooding, flooded) = pump.peer();
    let (mut modest, other) = pump.peer();
    pump.turn();
    flooding.set_nonblocking(true).unwrap();
    while flooding.write(&[1; 64 << 10]).is_ok() {}
    modest.write_all(b"x").unwrap();
    pump.inputs.clear();
    pump.receives(other, b"x");
    let reads = pump.inputs.iter().filter(|i| matches!(i, Input::Received { conn, .. } if *conn == flooded)).count();
    assert!(reads <= 2, "{reads} reads of one peer before the other's");
}

#[test]
fn a_close_with_flush_sends_what_is_queued_and_tells_nothing() {
    let mut pump = Pump::new(&["127.0.0.1:0"]);
    let (mut far, conn) = pump.peer();
    let much = vec![5; 4 << 20];
    pump.net.send(conn, Bytes::from(much.clone()));
    pump.net.close(conn, true);
    pump.turn();
    let reader = std::thread::spawn(move || {
        let mut got = Vec::new();
        far.read_to_end(&mut got).map(|_| got)
    });
    pump.until_all_gone();
    assert!(reader.join().unwrap().unwrap() == much);
    assert!(!pump.inputs.iter().any(|i| matches!(i, Input::Closed { .. } | Input::Sent { .. })));
}

#[test]
fn a_peer_that_does_not_read_does_not_keep_a_closed_connection() {
    let mut pump = Pump::new(&["127.0.0.1:0"]);
    let (_far, conn) = pump.peer();
    pump.net.send(conn, Bytes::from(vec![5; 32 << 20]));
    pump.net.close(conn, true);
    pump.turn();
    let begin = Instant::now();
    pump.until_all_gone();
    assert!(begin.elapsed() < LINGER * 3);
}

#[test]
fn blocks_and_messages_keep_their_order() {
    let mut pump = Pump::new(&["127.0.0.1:0"]);
    let (mut far, conn) = pump.peer();
    let mut blocks = Blocks::new(b"abcdefghij");
    pump.net.send(conn, Bytes::from_static(b"<"));
    pump.net.send_block(conn, TORRENT, (block(2, 3), 7), &mut blocks);
    blocks.file = None;
    pump.net.send_block(conn, TORRENT, (block(5, 4), 7), &mut blocks);
    pump.net.send(conn, Bytes::from_static(b">"));
    pump.turn();
    let tag = blocks.asked.lock().unwrap()[0];
    pump.net.block_read(tag, Ok(Bytes::from_static(b"fghi")));
    let mut expected = b"<".to_vec();
    expected.extend(piece_header(3, 2, 3));
    expected.extend(b"cde");
    expected.extend(piece_header(3, 5, 4));
    expected.extend(b"fghi>");
    pump.until(|inputs| {
        let sent = |i: &Input| if let Input::Sent { bytes, .. } = i { *bytes } else { 0 };
        (inputs.iter().map(sent).sum::<u64>() == expected.len() as u64).then_some(())
    });
    let mut got = vec![0; expected.len()];
    far.read_exact(&mut got).unwrap();
    assert_eq!(got, expected);
}

#[test]
fn a_block_that_cannot_be_read_closes_the_connection() {
    let mut pump = Pump::new(&["127.0.0.1:0"]);
    let (_far, conn) = pump.peer();
    let mut blocks = Blocks { file: None, asked: Mutex::default() };
    pump.net.send_block(conn, TORRENT, (block(0, 4), 7), &mut blocks);
    let tag = blocks.asked.lock().unwrap()[0];
    let error = DiskError {
        kind: reef_engine::disk::DiskErrorKind::Missing,
        path: "x".to_owned(),
        message: "is missing".to_owned(),
    };
    pump.net.block_read(tag, Err(error.clone()));
    assert_eq!(pump.closed(conn), CloseCause::Storage(error));
}

#[test]
fn a_file_that_became_shorter_closes_the_connection() {
    let mut pump = Pump::new(&["127.0.0.1:0"]);
    let (_far, conn) = pump.peer();
    pump.net.send_block(conn, TORRENT, (block(8, 4), 7), &mut Blocks::new(b"0123456789"));
    assert!(matches!(pump.closed(conn), CloseCause::Storage(_)));
}

#[test]
fn packets_come_and_go_by_the_port_of_the_listener() {
    let mut pump = Pump::new(&["127.0.0.1:0"]);
    let far = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    far.send_to(b"ping", pump.address()).unwrap();
    let from = pump.until(|inputs| {
        inputs.iter().find_map(|i| match i {
            Input::Datagram { from, data } => (&data[..] == b"ping").then_some(*from),
            _ => None,
        })
    });
    pump.net.datagram(from, b"pong");
    let mut got = [0; 9];
    let (length, sender) = far.recv_from(&mut got).unwrap();
    assert_eq!((&got[..length], sender), (&b"pong"[..], pump.address()));
}

#[test]
fn packets_leave_without_a_listener_and_their_answers_arrive() {
    let mut pump = Pump::new(&[]);
    let far = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    pump.net.datagram(far.local_addr().unwrap(), b"ping");
    let mut got = [0; 9];
    let (_, from) = far.recv_from(&mut got).unwrap();
    far.send_to(b"pong", from).unwrap();
    pump.until(|inputs| inputs.iter().any(|i| matches!(i, Input::Datagram { .. })).then_some(()));
}

#[test]
fn a_port_in_use_is_told_with_its_remedy() {
    let pump = Pump::new(&["127.0.0.1:0"]);
    let refused = Net::open(&[pump.address()], Notifier::new().unwrap()).err().unwrap();
    let expected = format!("cannot listen on {}: port in use: choose another with --listen", pump.address());
    assert_eq!(refused.to_string(), expected);
}

#[test]
fn idle_peers_hold_no_buffer_and_get_no_turn() {
    let mut pump = Pump::new(&["127.0.0.1:0"]);
    let peers: Vec<_> = (0..20).map(|_| pump.peer()).collect();
    for (far, _) in &peers {
        (&*far).write_all(b"x").unwrap();
    }
    for (_, conn) in &peers {
        pump.receives(*conn, b"x");
    }
    for _ in 0..5 {
        pump.net.sweep(Instant::now());
    }
    assert!(pump.net.connections.values().all(|c| !c.buffer.is_held()));
    assert_eq!((pump.net.holders.len(), pump.net.next_sweep), (0, None));
    assert_eq!(pump.net.begin_turn(Instant::now()), 0);
}
