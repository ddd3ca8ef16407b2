//! What the session's own thread pays for a block that a peer sends: everything between a received buffer and the job for
//! the disk, with the disk's answer, the next requests, and what happens each second at 100 MiB/s.
//!
//! Only the session is timed; what peers and the disk do is prepared outside. Neither the number of peers nor that of pieces
//! should be seen in it. Peers that are no seeds are told of each piece: one message a peer for 64 blocks.
//!
//! ```text
//! cargo bench -p reef-engine --bench turn
//! ```
//!
//! Instructions a block, where the processor's counters may be read (a virtual machine often has none). Divide by the blocks
//! that it prints at its end; what goes into the buffers here is next to nothing:
//!
//! ```text
//! perf stat -e instructions:u cargo bench -p reef-engine --bench turn -- --profile-time 30 '16 blocks/1 seed, 1000 p'
//! ```
//!
//! Elsewhere callgrind counts them. What it says of `Session::handle`, divided by the blocks that were measured, is the
//! session's alone; it is the same each time but for the moment at which the clock ends it:
//!
//! ```text
//! CARGO_PROFILE_BENCH_DEBUG=1 cargo bench -p reef-engine --bench turn --no-run     # says where the program is
//! valgrind --tool=callgrind --toggle-collect=turn::Swarm::run_measured --callgrind-out-file=turn.out \
//!     target/release/deps/turn-… --bench --profile-time 15 '16 blocks/1 seed, 1000 p'
//! callgrind_annotate --inclusive=yes turn.out | grep 'session::Session::handle'
//! ```

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use bytes::{Bytes, BytesMut};
use criterion::measurement::{Measurement as _, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use reef_engine::disk::{DiskDone, DiskOp, DiskResult, Opened, Verdict};
use reef_engine::{
    AddTorrent, Command, ConnId, Input, ListenerId, NoHooks, Output, ReplyToken, Session, SessionConfig, Time,
    TorrentFlags,
};
use reef_proto::bitfield::Bitfield;
use reef_proto::create::{Content, NewTorrent, PieceHashes};
use reef_proto::decoder::{Decoder, Item, Limits};
use reef_proto::handshake::{Feature, Handshake, Reserved};
use reef_proto::hash::Sha1Hash;
use reef_proto::message::{BlockRequest, Message, piece_header};
use reef_proto::metainfo::Metainfo;
use reef_proto::peer_id::PeerId;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const PIECE: u32 = 1 << 20;
const BLOCK: usize = 16 << 10;
const MESSAGE: usize = BLOCK + 13;
/// How long a block takes at 100 MiB/s.
const BLOCK_TIME: Duration = Duration::from_micros(160);

/// Buffers that are looked at for one that is free.
const LOOKS: usize = 8;

/// Blocks that a benchmark delivered, those before it is measured too.
static DELIVERED: AtomicU64 = AtomicU64::new(0);
/// Of these, those that were measured.
static MEASURED: AtomicU64 = AtomicU64::new(0);

/// What a swarm is like.
#[derive(Clone, Copy)]
struct Shape {
    peers: u16,
    seeds: bool,
    pieces: u32,
    /// Blocks in one buffer.
    together: usize,
}

impl Shape {
    fn name(&self) -> String {
        let kind = match (self.peers, self.seeds) {
            (1, true) => "seed",
            (_, true) => "seeds",
            (_, false) => "leeches",
        };
        format!("{} {kind}, {} pieces", self.peers, self.pieces)
    }
}

/// A peer that answers each request with zeros.
struct Remote {
    conn: ConnId,
    decoder: Decoder,
    wanted: VecDeque<BlockRequest>,
}

/// A session that downloads, and all that it talks to.
struct Swarm {
    shape: Shape,
    session: Session,
    now: Time,
    /// The session's own time.
    spent: Duration,
    remotes: Vec<Remote>,
    next: usize,
    /// The ends of buffers that were delivered: those that the session has let go of are used again.
    buffers: VecDeque<BytesMut>,
    pieces_done: u32,
}

fn torrent(pieces: u32) -> Arc<Metainfo> {
    let new = NewTorrent {
        name: "bench".into(),
        content: Content::File(u64::from(pieces) * u64::from(PIECE)),
        piece_length: Some(PIECE),
        ..NewTorrent::default()
    };
    let hashes = vec![Sha1Hash([0; 20]); pieces as usize];
    Arc::new(new.plan().and_then(|p| p.build(PieceHashes::V1(hashes))).expect("a torrent"))
}

/// What a peer says first: that it has everything, or three of four pieces.
fn first_words(shape: Shape, number: u16, info_hash: [u8; 20]) -> BytesMut {
    let mut out = BytesMut::new();
    let reserved = Reserved([0; 8]).with(Feature::Fast);
    let mut peer_id = PeerId([7; 20]);
    peer_id.0[18..].copy_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&Handshake { reserved, info_hash, peer_id }.to_bytes());
    if shape.seeds {
        Message::HaveAll.encode_into(&mut out);
    } else {
        let mut bits = Bitfield::full(shape.pieces);
        for piece in (0..shape.pieces).filter(|piece| (piece + u32::from(number)).wrapping_mul(0x9e37_79b1) >> 30 == 0)
        {
            bits.clear(piece);
        }
        Message::Bitfield(bits.to_bytes().into()).encode_into(&mut out);
    }
    Message::Unchoke.encode_into(&mut out);
    out
}

impl Swarm {
    /// One whose peers have shown their speed.
    fn new(shape: Shape, meta: &Arc<Metainfo>) -> Self {
        let mut swarm = Self {
            shape,
            session: Session::new(SessionConfig::default()),
            now: Time::ZERO,
            spent: Duration::ZERO,
            remotes: Vec::new(),
            next: 0,
            buffers: VecDeque::new(),
            pieces_done: 0,
        };
        let flags = TorrentFlags::DEFAULT.without(TorrentFlags::PAUSED);
        let params = AddTorrent { metainfo: Some(meta.clone()), flags, ..AddTorrent::default() };
        swarm.handle(Input::Command { token: ReplyToken(1), command: Command::AddTorrent(Box::new(params)) });
        for number in 0..shape.peers {
            let conn = swarm.session.next_conn_id();
            let decoder = Decoder::new(Limits { pieces: Some(shape.pieces) });
            swarm.remotes.push(Remote { conn, decoder, wanted: VecDeque::new() });
            let [high, low] = number.to_be_bytes();
            let remote = ([10, 0, high, low], 6881).into();
            swarm.handle(Input::Accepted { conn, listener: ListenerId(1), remote });
            let data = first_words(shape, number, meta.info_hashes.wire());
            swarm.handle(Input::Received { conn, data });
        }
        swarm.run(u64::from(shape.pieces / 10).min(1000) * u64::from(PIECE / BLOCK as u32));
        swarm
    }

    /// Whether what is left is little more than what peers were asked for: the end game is another matter.
    fn is_nearly_done(&self) -> bool {
        self.pieces_done >= self.shape.pieces / 2
    }

    /// Delivers so many blocks, or a few more, until the torrent is nearly done. Returns how many.
    fn run(&mut self, blocks: u64) -> u64 {
        let mut done = 0;
        while done < blocks && !self.is_nearly_done() {
            self.next = (self.next + 1) % self.remotes.len();
            let remote = &mut self.remotes[self.next];
            let count = remote.wanted.len().min(self.shape.together);
            let requests: Vec<_> = remote.wanted.drain(..count).collect();
            let conn = remote.conn;
            if count > 0 {
                self.now = self.now + BLOCK_TIME * count as u32;
                let data = self.answer(&requests);
                self.handle(Input::Received { conn, data });
            } else if self.remotes.iter().all(|remote| remote.wanted.is_empty()) {
                self.now = self.now + Duration::from_secs(1);
                self.handle(Input::Timeout);
            }
            done += count as u64;
        }
        DELIVERED.fetch_add(done, Ordering::Relaxed);
        done
    }

    /// The same, of peers that have shown their speed. Here so that callgrind can count this and not what comes before.
    #[inline(never)]
    fn run_measured(&mut self, blocks: u64) -> u64 {
        let done = self.run(blocks);
        MEASURED.fetch_add(done, Ordering::Relaxed);
        done
    }

    /// A buffer with the blocks that were asked for.
    fn answer(&mut self, requests: &[BlockRequest]) -> BytesMut {
        let size = self.shape.together * MESSAGE;
        let free = (0..self.buffers.len().min(LOOKS)).find_map(|_| {
            let mut buffer = self.buffers.pop_front()?;
            if buffer.try_reclaim(size) {
                return Some(buffer);
            }
            self.buffers.push_back(buffer);
            None
        });
        let mut buffer = free.unwrap_or_else(|| BytesMut::with_capacity(size));
        buffer.resize(requests.len() * MESSAGE, 0);
        for (message, r) in buffer.chunks_mut(MESSAGE).zip(requests) {
            message[..13].copy_from_slice(&piece_header(r.piece, r.begin, r.length));
        }
        let data = buffer.split();
        self.buffers.push_back(buffer);
        data
    }

    /// Gives the session an input and what follows from it.
    fn handle(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        let mut outputs = Vec::new();
        while let Some(input) = inputs.pop_front() {
            let start = WallTime.start();
            self.session.handle(self.now, input, &mut NoHooks);
            outputs.extend(std::iter::from_fn(|| self.session.poll()));
            self.spent += WallTime.end(start);
            inputs.extend(outputs.drain(..).filter_map(|output| self.carry_out(output)));
        }
    }

    fn carry_out(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Send { conn, data } => {
                let bytes = data.len() as u64;
                let remote = self.remotes.iter_mut().find(|remote| remote.conn == conn)?;
                remote.hear(data);
                Some(Input::Sent { conn, bytes })
            }
            Output::Disk(job) => {
                let result = self.disk(job.op)?;
                Some(Input::Disk(DiskDone { torrent: job.torrent, result }))
            }
            Output::Close { .. } => panic!("a peer was closed"),
            _ => None,
        }
    }

    /// A disk on which everything is right.
    fn disk(&mut self, op: DiskOp) -> Option<DiskResult> {
        let mut checked = |piece, data| {
            self.pieces_done += 1;
            DiskResult::Checked { piece, outcome: Ok(Verdict::Passed), data }
        };
        Some(match op {
            DiskOp::Open(_) => DiskResult::Opened(Ok(Opened { files: vec![None], ..Opened::default() })),
            DiskOp::WritePiece { piece, data, .. } => checked(piece, data),
            DiskOp::CheckPiece { piece, .. } => checked(piece, Vec::new()),
            DiskOp::WriteRun { piece, begin, data } => {
                let length = data.iter().map(|block| block.len() as u32).sum();
                DiskResult::Written { piece, begin, length, outcome: Ok(()) }
            }
            _ => return None,
        })
    }
}

impl Remote {
    fn hear(&mut self, data: Bytes) {
        self.decoder.push(data);
        while let Ok(Some(item)) = self.decoder.next_item() {
            match item {
                Item::Message(Message::Request(request)) => self.wanted.push_back(request),
                Item::Message(Message::Cancel(request)) => self.wanted.retain(|wanted| *wanted != request),
                _ => {}
            }
        }
    }
}

fn measure(c: &mut Criterion, shape: Shape, meta: &Arc<Metainfo>) {
    let mut group = c.benchmark_group(match shape.together {
        1 => "block by block".to_owned(),
        blocks => format!("{blocks} blocks"),
    });
    group.throughput(Throughput::Elements(1));
    group.sample_size(20);
    let mut swarm = None;
    group.bench_function(shape.name(), |b| {
        // Here, so that criterion does not take it for a part of the first block.
        let swarm = swarm.get_or_insert_with(|| Swarm::new(shape, meta));
        b.iter_custom(|blocks| {
            let (mut done, mut spent) = (0, Duration::ZERO);
            while done < blocks {
                if swarm.is_nearly_done() {
                    *swarm = Swarm::new(shape, meta);
                }
                let before = swarm.spent;
                done += swarm.run_measured(blocks - done);
                spent += swarm.spent - before;
            }
            spent.mul_f64(blocks as f64 / done.max(1) as f64)
        });
    });
    group.finish();
    let (delivered, measured) = (DELIVERED.swap(0, Ordering::Relaxed), MEASURED.swap(0, Ordering::Relaxed));
    if delivered > 0 {
        println!("{}: {delivered} blocks, {measured} of them measured", shape.name());
    }
}

fn bench(c: &mut Criterion) {
    for pieces in [1_000, 1_000_000] {
        let meta = torrent(pieces);
        for (peers, seeds, together) in
            [(1, true, 16), (50, true, 16), (150, true, 16), (50, false, 16), (1, true, 1), (50, true, 1)]
        {
            measure(c, Shape { peers, seeds, pieces, together }, &meta);
        }
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
