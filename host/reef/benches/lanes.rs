//! What hashing costs: pieces one after the other, side by side, and the leaves of a v2 piece.
//!
//! Beside it, the least that it can cost: `cargo run --release --example floor`.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use reef::lanes::{self, Algorithm, Job, Stream};

const BLOCK: usize = 16 << 10;
const PIECE: usize = 1 << 20;

fn bench(c: &mut Criterion) {
    // Blocks as they lie in receive buffers: 13 bytes apart.
    let data: Vec<u8> = (0..16 * (PIECE + 64 * 13)).map(|i| (i * 31 + i / 251) as u8).collect();
    let blocks = |count: usize| data.chunks_exact(BLOCK + 13).map(|block| &block[13..]).take(count);
    for (algorithm, name) in [(Algorithm::Sha1, "SHA-1"), (Algorithm::Sha256, "SHA-256")] {
        println!("{name} on this processor: {:?}", lanes::describe(algorithm));
        let mut group = c.benchmark_group(name);
        group.sample_size(20);
        for pieces in [1, 2, 4, 5, 8, 16] {
            group.throughput(Throughput::Bytes((pieces * PIECE) as u64));
            group.bench_function(format!("{pieces} pieces side by side"), |b| {
                b.iter(|| {
                    let all: Vec<&[u8]> = blocks(pieces * 64).collect();
                    let pieces = all.chunks(64).map(|piece| piece.iter().copied());
                    let mut jobs: Vec<_> = pieces.map(|piece| Job::last(Stream::new(algorithm), piece)).collect();
                    lanes::advance(algorithm, &mut jobs);
                    jobs.into_iter().map(|job| job.into_stream().length()).sum::<u64>()
                });
            });
        }
        group.throughput(Throughput::Bytes(PIECE as u64));
        group.bench_function("64 blocks side by side", |b| {
            b.iter(|| {
                let mut jobs: Vec<_> =
                    blocks(64).map(|block| Job::last(Stream::new(algorithm), std::iter::once(block))).collect();
                lanes::advance(algorithm, &mut jobs);
                jobs.len()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
