//! What reading a peer's stream costs, for each message: blocks in buffers as a socket gives them, and small messages.
//!
//! ```text
//! cargo bench -p reef-proto --bench decoder
//! ```

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use bytes::{Bytes, BytesMut};
use criterion::measurement::{Measurement as _, WallTime};
use criterion::{Criterion, Throughput, black_box, criterion_group, criterion_main};
use reef_proto::decoder::{Decoder, Limits};
use reef_proto::message::{BlockRequest, Message};
use std::time::Duration;

const BLOCK: u32 = 16 << 10;
const BLOCKS: u32 = 256;
const SMALL: u32 = 4096;
const LIMITS: Limits = Limits { pieces: Some(1_000_000) };

fn stream(messages: impl Iterator<Item = Message>) -> Bytes {
    let mut out = BytesMut::new();
    messages.for_each(|message| message.encode_into(&mut out));
    out.freeze()
}

/// What reading a stream gives, and the ends of the buffers, which keep their memory until nothing is measured any more.
struct Reads {
    parts: Vec<BytesMut>,
    ends: Vec<BytesMut>,
}

/// Buffers of so many bytes, each in memory of its own.
fn apart(stream: &Bytes, length: usize) -> Reads {
    let buffer = |part| {
        let mut buffer = BytesMut::from(part);
        (buffer.split(), buffer)
    };
    let (parts, ends) = stream.chunks(length).map(buffer).unzip();
    Reads { parts, ends }
}

/// Reads of so many bytes into one buffer.
fn in_one(stream: &Bytes, length: usize) -> Reads {
    let mut rest = BytesMut::from(&stream[..]);
    let part = |rest: &mut BytesMut| rest.split_to(length.min(rest.len()));
    let parts = std::iter::from_fn(|| (!rest.is_empty()).then(|| part(&mut rest))).collect();
    Reads { parts, ends: vec![rest] }
}

fn read(parts: Vec<BytesMut>) -> u32 {
    let mut decoder = Decoder::after_handshake(LIMITS);
    let mut messages = 0;
    for data in parts {
        decoder.push(data);
        while let Ok(Some(item)) = decoder.next_item() {
            black_box(item);
            messages += 1;
        }
    }
    messages
}

/// A name, how many messages the stream has, and a fresh stream.
type Case<'a> = (&'static str, u32, Box<dyn Fn() -> Reads + 'a>);

fn bench(c: &mut Criterion) {
    let data = Bytes::from(vec![7; BLOCK as usize]);
    let block = |n| Message::Piece { piece: n / 64, begin: n % 64 * BLOCK, data: data.clone() };
    let blocks = stream((0..BLOCKS).map(block));
    let request = |n| Message::Request(BlockRequest { piece: n / 64, begin: n % 64 * BLOCK, length: BLOCK });
    let haves = stream((0..SMALL).map(Message::Have));
    let requests = stream((0..SMALL).map(request));
    // Whole messages in each buffer; a message in two of them, once a buffer, is copied; or in many.
    let whole = 16 * (BLOCK as usize + 13);
    let large = 256 << 10;
    let cases: [Case<'_>; 7] = [
        ("a block, whole in its buffer", BLOCKS, Box::new(|| apart(&blocks, whole))),
        ("a block, buffers of 256 KiB", BLOCKS, Box::new(|| apart(&blocks, large))),
        ("a block, reads of 50 KB into a buffer", BLOCKS, Box::new(|| in_one(&blocks, 50_000))),
        ("a block, buffers of 1460 bytes", BLOCKS, Box::new(|| apart(&blocks, 1460))),
        ("a block, reads of 1460 bytes into a buffer", BLOCKS, Box::new(|| in_one(&blocks, 1460))),
        ("a have", SMALL, Box::new(|| apart(&haves, large))),
        ("a request", SMALL, Box::new(|| apart(&requests, large))),
    ];
    let mut group = c.benchmark_group("decoder");
    for (name, messages, reads) in cases {
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |b| {
            b.iter_custom(|count| {
                let rounds = count.div_ceil(u64::from(messages));
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    let Reads { parts, ends } = black_box(reads());
                    let begun = WallTime.start();
                    assert_eq!(read(parts), messages);
                    spent += WallTime.end(begun);
                    drop(ends);
                }
                spent.mul_f64(count as f64 / (rounds * u64::from(messages)) as f64)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
