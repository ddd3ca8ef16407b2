//! A downloader that throws away what it gets, so that a seed is all that a measurement measures.
//!
//! `drain TORRENT ADDRESS [--connections N] [--mib M] [--window BLOCKS] [--file DATA]` opens N connections to
//! one seed of a torrent with one file, asks on each for blocks one after the other, keeping so many requests outstanding,
//! and stops after M MiB in all. With `--file` every byte is compared with that file. It prints what came, how long it
//! took, and what the connection that got least and the one that got most were given.

use bytes::{Buf, BytesMut};
use reef_proto::handshake::{Feature, Handshake, Reserved};
use reef_proto::message::{BlockRequest, Message, id};
use reef_proto::metainfo::Metainfo;
use reef_proto::peer_id::PeerId;
use rustix::event::{PollFd, PollFlags, poll};
use std::error::Error;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Instant;

const BLOCK: u32 = 16 << 10;
/// Length, number, piece, offset.
const PIECE_HEADER: usize = 13;

struct Options {
    torrent: PathBuf,
    address: SocketAddr,
    connections: u32,
    bytes: u64,
    window: u64,
    file: Option<File>,
}

/// What all connections share.
struct Swarm {
    piece_length: u64,
    size: u64,
    window: u64,
    /// Bytes that may still be asked for.
    left: u64,
    file: Option<File>,
}

struct Peer {
    stream: TcpStream,
    unchoked: bool,
    /// The next block to ask for, counted from the torrent's start.
    next: u64,
    outstanding: u64,
    got: u64,
    requests: BytesMut,
    stage: Stage,
    /// The head of a message as far as it came.
    head: Vec<u8>,
    expected: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Stage {
    Handshake,
    Head,
    /// So many bytes of a message that says nothing to us.
    Skip(usize),
    /// So many bytes of a block, and where in the torrent they are.
    Block(usize, u64),
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = parse(std::env::args().skip(1))?;
    let metainfo = Metainfo::parse(&std::fs::read(&options.torrent)?)?;
    let layout = &metainfo.info.layout;
    let size = layout.total_size();
    let mut swarm = Swarm {
        piece_length: layout.piece_length().into(),
        size,
        window: options.window,
        left: options.bytes,
        file: options.file,
    };
    let mut peers = (0..options.connections)
        .map(|number| {
            let blocks = size / u64::from(BLOCK);
            let first = blocks * u64::from(number) / u64::from(options.connections);
            Peer::connect(options.address, metainfo.info_hashes.wire(), (number, first))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let begin = Instant::now();
    drain(&mut peers, &mut swarm)?;
    let seconds = begin.elapsed().as_secs_f64();
    let got: Vec<u64> = peers.iter().map(|peer| peer.got).collect();
    let (total, least, most) = (got.iter().sum::<u64>(), got.iter().min(), got.iter().max());
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{{\"mib\": {:.2}, \"seconds\": {seconds:.3}, \"least\": {:.2}, \"most\": {:.2}}}",
        mib(total),
        mib(least.copied().unwrap_or(0)),
        mib(most.copied().unwrap_or(0))
    );
    Ok(())
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
    let usage = "drain TORRENT ADDRESS [--connections N] [--mib M] [--window BLOCKS] [--file DATA]";
    let (torrent, address) = (args.next().ok_or(usage)?.into(), args.next().ok_or(usage)?.parse()?);
    let mut options = Options { torrent, address, connections: 1, bytes: 1 << 30, window: 256, file: None };
    while let Some(name) = args.next() {
        let value = args.next().ok_or(usage)?;
        match &name[..] {
            "--connections" => options.connections = value.parse()?,
            "--mib" => options.bytes = value.parse::<u64>()? << 20,
            "--window" => options.window = value.parse()?,
            "--file" => options.file = Some(File::open(value)?),
            _ => return Err(usage.into()),
        }
    }
    Ok(options)
}

/// Reads from whoever has something until all that may be asked for is there.
fn drain(peers: &mut [Peer], swarm: &mut Swarm) -> Result<(), Box<dyn Error>> {
    let mut buffer = vec![0; 256 << 10];
    while swarm.left > 0 || peers.iter().any(|peer| peer.outstanding > 0) {
        let mut fds: Vec<PollFd<'_>> = peers.iter().map(|p| PollFd::new(&p.stream, PollFlags::IN)).collect();
        poll(&mut fds, None)?;
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        for (peer, _) in peers.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            peer.read(&mut buffer, swarm)?;
        }
    }
    Ok(())
}

impl Peer {
    fn connect(address: SocketAddr, info_hash: [u8; 20], (number, next): (u32, u64)) -> Result<Self, Box<dyn Error>> {
        let mut stream = TcpStream::connect(address)?;
        let mut peer_id = *b"-DR0001-000000000000";
        peer_id[16..].copy_from_slice(&number.to_be_bytes());
        let handshake =
            Handshake { reserved: Reserved([0; 8]).with(Feature::Fast), info_hash, peer_id: PeerId(peer_id) };
        let mut hello = BytesMut::from(&handshake.to_bytes()[..]);
        Message::HaveNone.encode_into(&mut hello);
        Message::Interested.encode_into(&mut hello);
        stream.write_all(&hello)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            unchoked: false,
            next,
            outstanding: 0,
            got: 0,
            requests: BytesMut::new(),
            stage: Stage::Handshake,
            head: Vec::new(),
            expected: Vec::new(),
        })
    }

    /// Takes what one read gives, and asks for more.
    fn read(&mut self, buffer: &mut [u8], swarm: &mut Swarm) -> Result<(), Box<dyn Error>> {
        let read = match self.stream.read(buffer) {
            Ok(0) => return Err("the seed closed a connection".into()),
            Err(e) if e.kind() == ErrorKind::WouldBlock => 0,
            other => other?,
        };
        let mut data = &buffer[..read];
        while !data.is_empty() {
            let taken = self.take(data, swarm)?;
            data = &data[taken..];
        }
        self.ask(swarm)
    }

    /// Takes the bytes at the front as far as they belong to one thing; returns how many these are.
    fn take(&mut self, data: &[u8], swarm: &Swarm) -> Result<usize, Box<dyn Error>> {
        match self.stage {
            Stage::Skip(left) => {
                let taken = left.min(data.len());
                self.stage = if taken == left { Stage::Head } else { Stage::Skip(left - taken) };
                Ok(taken)
            }
            Stage::Block(left, at) => {
                let taken = left.min(data.len());
                self.compare(&data[..taken], at, swarm)?;
                self.stage = Stage::Block(left - taken, at + taken as u64);
                if taken == left {
                    self.got += u64::from(BLOCK);
                    self.outstanding -= 1;
                    self.stage = Stage::Head;
                }
                Ok(taken)
            }
            Stage::Handshake => {
                let taken = self.fill_head(68, data);
                if self.head.len() == 68 {
                    self.head.clear();
                    self.stage = Stage::Head;
                }
                Ok(taken)
            }
            Stage::Head => self.take_head(data, swarm),
        }
    }

    fn take_head(&mut self, data: &[u8], swarm: &Swarm) -> Result<usize, Box<dyn Error>> {
        let wanted = match self.head[..] {
            [_, _, _, _, id::PIECE, ..] => PIECE_HEADER,
            [0, 0, 0, 0] => 4,
            _ => 5,
        };
        // Byte by byte only as far as the length and the number go.
        let taken = self.fill_head(if self.head.len() < 4 { 4 } else { wanted }, data);
        match self.head[..] {
            [0, 0, 0, 0] => self.head.clear(),
            [a, b, c, d, id::PIECE, p0, p1, p2, p3, b0, b1, b2, b3] => {
                let length = u32::from_be_bytes([a, b, c, d]);
                if length != BLOCK + 9 {
                    return Err(format!("a piece message of {length} bytes").into());
                }
                let (piece, begin) = (u32::from_be_bytes([p0, p1, p2, p3]), u32::from_be_bytes([b0, b1, b2, b3]));
                self.stage = Stage::Block(BLOCK as usize, u64::from(piece) * swarm.piece_length + u64::from(begin));
                self.head.clear();
            }
            [a, b, c, d, number] if number != id::PIECE => {
                match number {
                    id::UNCHOKE => self.unchoked = true,
                    id::CHOKE | id::REJECT => return Err("the seed refuses; give it enough slots".into()),
                    _ => {}
                }
                self.stage = Stage::Skip(u32::from_be_bytes([a, b, c, d]) as usize - 1);
                self.head.clear();
            }
            _ => {}
        }
        if matches!(self.stage, Stage::Skip(0)) {
            self.stage = Stage::Head;
        }
        Ok(taken)
    }

    fn fill_head(&mut self, wanted: usize, data: &[u8]) -> usize {
        let taken = wanted.saturating_sub(self.head.len()).min(data.len());
        self.head.extend_from_slice(&data[..taken]);
        taken
    }

    fn compare(&mut self, data: &[u8], at: u64, swarm: &Swarm) -> Result<(), Box<dyn Error>> {
        let Some(file) = &swarm.file else { return Ok(()) };
        self.expected.resize(data.len(), 0);
        file.read_exact_at(&mut self.expected, at)?;
        if self.expected == data { Ok(()) } else { Err(format!("wrong bytes near {at}").into()) }
    }

    /// Asks for more once a quarter of the window came.
    fn ask(&mut self, swarm: &mut Swarm) -> Result<(), Box<dyn Error>> {
        if self.unchoked && self.outstanding <= swarm.window - swarm.window.div_ceil(4) {
            while self.outstanding < swarm.window && swarm.left >= u64::from(BLOCK) {
                let at = self.next * u64::from(BLOCK) % (swarm.size / u64::from(BLOCK) * u64::from(BLOCK));
                let piece = u32::try_from(at / swarm.piece_length)?;
                let begin = u32::try_from(at % swarm.piece_length)?;
                Message::Request(BlockRequest { piece, begin, length: BLOCK }).encode_into(&mut self.requests);
                self.next += 1;
                self.outstanding += 1;
                swarm.left -= u64::from(BLOCK);
            }
        }
        if self.requests.is_empty() {
            return Ok(());
        }
        match self.stream.write(&self.requests) {
            Ok(written) => self.requests.advance(written),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }
}
