//! What a second costs a session of ten thousand idle seeding torrents, and what adding them does.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use criterion::{Criterion, criterion_group, criterion_main};
use reef_engine::disk::{DiskDone, DiskOp, DiskResult, FileStat, Finished, Opened};
use reef_engine::{
    AddTorrent, Command, Input, NoHooks, Output, ReplyToken, Session, SessionConfig, Time, TorrentFlags,
};
use reef_proto::create::{Content, NewTorrent, PieceHashes};
use reef_proto::hash::Sha1Hash;
use reef_proto::metainfo::Metainfo;
use std::sync::Arc;

const TORRENTS: u32 = 10_000;

fn torrent(n: u32) -> Arc<Metainfo> {
    let new = NewTorrent {
        name: format!("t{n}"),
        content: Content::File(16384),
        piece_length: Some(16384),
        ..NewTorrent::default()
    };
    Arc::new(new.plan().and_then(|p| p.build(PieceHashes::V1(vec![Sha1Hash([0; 20])]))).expect("a torrent"))
}

/// Carries out what the session wants of its disk, until it wants nothing more.
fn settle(session: &mut Session, now: Time) {
    let stat = FileStat { size: 16384, mtime: 1 };
    while let Some(output) = session.poll() {
        let Output::Disk(job) = output else { continue };
        let result = match job.op {
            DiskOp::Open(_) => DiskResult::Opened(Ok(Opened { files: vec![Some(stat)], ..Opened::default() })),
            DiskOp::Finish { .. } => DiskResult::Finished(Ok(Finished { files: vec![stat], kept_by: None })),
            _ => continue,
        };
        session.handle(now, Input::Disk(DiskDone { torrent: job.torrent, result }), &mut NoHooks);
    }
}

fn seeding(torrents: &[Arc<Metainfo>]) -> Session {
    let mut session = Session::new(SessionConfig::default());
    let flags = TorrentFlags::DEFAULT.without(TorrentFlags::PAUSED).with(TorrentFlags::SEED_MODE);
    for meta in torrents {
        let params = AddTorrent { metainfo: Some(meta.clone()), flags, ..AddTorrent::default() };
        let command = Command::AddTorrent(Box::new(params));
        session.handle(Time::ZERO, Input::Command { token: ReplyToken(1), command }, &mut NoHooks);
        settle(&mut session, Time::ZERO);
    }
    session
}

fn bench(c: &mut Criterion) {
    let torrents: Vec<_> = (0..TORRENTS).map(torrent).collect();
    let mut group = c.benchmark_group("idle");
    group.sample_size(10);
    group.bench_function("adding 10,000 torrents", |b| b.iter(|| seeding(&torrents)));
    let mut session = seeding(&torrents);
    let mut now = Time::from_secs(1);
    group.bench_function("one second of 10,000 torrents", |b| {
        b.iter(|| {
            now = Time(now.0 + 1_000_000);
            session.handle(now, Input::Timeout, &mut NoHooks);
            settle(&mut session, now);
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
