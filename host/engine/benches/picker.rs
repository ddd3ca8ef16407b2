//! What choosing blocks costs in a torrent of a thousand pieces and of a million: nothing of it should grow with the pieces but
//! what a whole bitfield says.
//!
//! ```text
//! cargo bench -p reef-engine --bench picker
//! ```

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use reef_engine::ConnId;
use reef_engine::policy::picker::{Order, PeerPieces, PickContext, Picker};
use reef_proto::bitfield::Bitfield;
use reef_proto::layout::{FileEntry, Layout};
use reef_proto::message::BlockRequest;
use std::sync::Arc;

const PIECE: u32 = 1 << 20;
/// Blocks in a piece, which are asked for at once.
const BATCH: usize = 64;
const PEERS: u64 = 50;
const PEER: ConnId = ConnId(1);

/// A number that looks random and is the same in each run.
fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// What a peer has: so many of a hundred pieces.
fn bits(pieces: u32, peer: u64, percent: u64) -> Bitfield {
    let mut bits = Bitfield::new(pieces);
    for piece in (0..pieces).filter(|&piece| mixed(u64::from(piece) << 16 | peer) % 100 < percent) {
        bits.set(piece);
    }
    bits
}

/// A picker that knows what its peers have, past its random beginning.
fn picker(pieces: u32) -> Picker {
    let file =
        FileEntry { path: vec!["f".into()], length: u64::from(pieces) * u64::from(PIECE), ..FileEntry::default() };
    let mut picker = Picker::new(Arc::new(Layout::new(PIECE, vec![file]).expect("a layout")));
    picker.set_random_first(0);
    for peer in 0..PEERS {
        picker.add_bitfield(&bits(pieces, peer, 75));
    }
    picker
}

/// Picks a piece's blocks and gives them up again: the picker is as before.
fn pick(picker: &mut Picker, have: PeerPieces<'_>, random: u64, out: &mut Vec<BlockRequest>) {
    out.clear();
    picker.pick(PickContext::new(PEER, have, random), BATCH, out);
    assert_eq!(out.len(), BATCH);
    picker.abort_all(PEER);
}

fn picks(c: &mut Criterion, pieces: u32) {
    let mut group = c.benchmark_group(format!("picker, {pieces} pieces"));
    let mut picker = picker(pieces);
    let (most, few) = (bits(pieces, 1, 75), bits(pieces, 1000, 1));
    group.throughput(Throughput::Elements(BATCH as u64));
    for order in [Order::RarestFirst, Order::Sequential] {
        picker.set_order(order);
        for (name, have) in [
            ("a seed", PeerPieces::All),
            ("who has most", PeerPieces::Some(&most)),
            ("who has one in a hundred", PeerPieces::Some(&few)),
        ] {
            let (mut round, mut out) = (0, Vec::new());
            group.bench_function(format!("64 blocks of {name}, {order:?}"), |b| {
                b.iter(|| {
                    round += 1;
                    pick(&mut picker, have, mixed(round), &mut out);
                });
            });
        }
    }
    group.finish();
}

fn haves(c: &mut Criterion, pieces: u32) {
    let mut group = c.benchmark_group(format!("picker, {pieces} pieces"));
    let mut picker = picker(pieces);
    let mut out = Vec::new();
    let mut round = 0;
    // The buckets are in use, so that each have moves a piece.
    pick(&mut picker, PeerPieces::All, 0, &mut out);
    group.throughput(Throughput::Elements(2));
    group.bench_function("a have, and its end", |b| {
        b.iter(|| {
            round += 1;
            let piece = (mixed(round) % u64::from(pieces)) as u32;
            picker.peer_has(piece);
            picker.peer_lost(piece);
        });
    });
    for percent in [75, 1] {
        let theirs = bits(pieces, 2000, percent);
        group.throughput(Throughput::Elements(u64::from(theirs.count())));
        group.bench_function(format!("a bitfield of {percent} % comes and goes, and a pick"), |b| {
            b.iter(|| {
                picker.add_bitfield(&theirs);
                picker.remove_bitfield(&theirs);
                pick(&mut picker, PeerPieces::All, 0, &mut out);
            });
        });
    }
    group.finish();
}

fn bench(c: &mut Criterion) {
    for pieces in [1_000, 1_000_000] {
        picks(c, pieces);
        haves(c, pieces);
    }
}

criterion_group! { name = benches; config = Criterion::default().sample_size(20); targets = bench }
criterion_main!(benches);
