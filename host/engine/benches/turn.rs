//! What the session's thread pays for a block: everything between a received buffer and the job for the disk.
//!
//! About half of what it measures is the making of the seed's answers: zeroed buffers of 256 KiB.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use reef_engine::disk::{DiskDone, DiskOp, DiskResult, Opened, Verdict};
use reef_engine::{
    AddTorrent, Command, ConnId, Input, NoHooks, Output, ReplyToken, Session, SessionConfig, Time, TorrentFlags,
};
use reef_proto::create::{Content, NewTorrent, PieceHashes};
use reef_proto::decoder::{Decoder, Item, Limits};
use reef_proto::handshake::{Feature, Handshake, Reserved};
use reef_proto::hash::Sha1Hash;
use reef_proto::message::{Message, piece_header};
use reef_proto::metainfo::Metainfo;
use reef_proto::peer_id::PeerId;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

const PIECE: u32 = 1 << 20;
const BUFFER: usize = 256 << 10;

fn torrent(pieces: u32) -> Metainfo {
    let new = NewTorrent {
        name: "bench".into(),
        content: Content::File(u64::from(pieces) * u64::from(PIECE)),
        piece_length: Some(PIECE),
        ..NewTorrent::default()
    };
    let hashes = vec![Sha1Hash([0; 20]); pieces as usize];
    new.plan().and_then(|p| p.build(PieceHashes::V1(hashes))).expect("a torrent")
}

/// A session that downloads from one seed that answers at once. Returns how many blocks came.
fn download(meta: &Arc<Metainfo>) -> u64 {
    let mut session = Session::new(SessionConfig::default());
    let mut now = Time::ZERO;
    let flags = TorrentFlags::DEFAULT.without(TorrentFlags::PAUSED);
    let address: SocketAddr = ([10, 0, 0, 1], 1).into();
    let params = AddTorrent { metainfo: Some(meta.clone()), flags, peers: vec![address], ..AddTorrent::default() };
    let mut inputs =
        VecDeque::from([Input::Command { token: ReplyToken(1), command: Command::AddTorrent(Box::new(params)) }]);
    let mut seed = Decoder::new(Limits { pieces: None });
    let mut blocks = 0;
    loop {
        now = Time(now.0 + 100);
        session.handle(now, inputs.pop_front().unwrap_or(Input::Timeout), &mut NoHooks);
        while let Some(output) = session.poll() {
            match output {
                Output::Dial { conn, .. } => inputs.push_back(Input::Connected { conn }),
                Output::Send { conn, data } => blocks += answer(&mut seed, meta, (conn, data), &mut inputs),
                Output::Disk(job) => {
                    if let Some(result) = disk(job.op) {
                        inputs.push_back(Input::Disk(DiskDone { torrent: job.torrent, result }));
                    }
                }
                Output::Alert(reef_engine::Alert::TorrentFinished { .. }) => return blocks,
                _ => {}
            }
        }
    }
}

fn disk(op: DiskOp) -> Option<DiskResult> {
    Some(match op {
        DiskOp::Open(open) => {
            DiskResult::Opened(Ok(Opened { files: vec![None; open.layout.files().len()], free_space: None }))
        }
        DiskOp::WritePiece { piece, data, .. } => DiskResult::Checked { piece, outcome: Ok(Verdict::Passed), data },
        DiskOp::Finish => DiskResult::Finished(Ok(Vec::new())),
        _ => return None,
    })
}

/// Answers what the session sent, as a seed would.
fn answer(seed: &mut Decoder, meta: &Metainfo, (conn, data): (ConnId, Bytes), inputs: &mut VecDeque<Input>) -> u64 {
    let mut requests = Vec::new();
    seed.push(data);
    while let Ok(Some(item)) = seed.next_item() {
        match item {
            Item::Handshake(h) => {
                let mut out = BytesMut::new();
                let reserved = Reserved([0; 8]).with(Feature::Fast);
                let mine = Handshake { reserved, info_hash: h.info_hash, peer_id: PeerId([7; 20]) };
                out.extend_from_slice(&mine.to_bytes());
                Message::HaveAll.encode_into(&mut out);
                Message::Unchoke.encode_into(&mut out);
                seed.set_limits(Limits { pieces: Some(meta.info.layout.num_pieces()) });
                inputs.push_back(Input::Received { conn, data: out.freeze() });
            }
            Item::Message(Message::Request(r)) => requests.push(r),
            Item::Message(_) => {}
        }
    }
    for some in requests.chunks(BUFFER / 16384) {
        let mut buffer = vec![0; some.len() * (16384 + 13)];
        for (message, r) in buffer.chunks_mut(16384 + 13).zip(some) {
            message[..13].copy_from_slice(&piece_header(r.piece, r.begin, r.length));
        }
        inputs.push_back(Input::Received { conn, data: buffer.into() });
    }
    requests.len() as u64
}

/// Downloads of 64 MiB and 1 GiB.
fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("session");
    for pieces in [64, 1024] {
        let meta = Arc::new(torrent(pieces));
        group.throughput(Throughput::Elements(u64::from(pieces) * u64::from(PIECE / 16384)));
        group.sample_size(10);
        group.bench_function(format!("blocks of {pieces} pieces"), |b| b.iter(|| download(&meta)));
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
