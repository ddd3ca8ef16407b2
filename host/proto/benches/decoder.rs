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

const BLOCK: u32 = 16 << 10;
const BLOCKS: u32 = 256;
const SMALL: u32 = 4096;
const LIMITS: Limits = Limits { pieces: Some(1_000_000) };

fn stream(messages: impl Iterator<Item = Message>) -> Bytes {
    let mut out = BytesMut::new();
    messages.for_each(|message| message.encode_into(&mut out));
    out.freeze()
}

/// The stream in buffers of so many bytes.
fn cut(stream: &Bytes, length: usize) -> Vec<Bytes> {
    (0..stream.len()).step_by(length).map(|at| stream.slice(at..stream.len().min(at + length))).collect()
}

fn read(buffers: &[Bytes]) -> u32 {
    let mut decoder = Decoder::after_handshake(LIMITS);
    let mut messages = 0;
    for buffer in buffers {
        decoder.push(buffer.clone());
        while let Ok(Some(item)) = decoder.next_item() {
            black_box(item);
            messages += 1;
        }
    }
    messages
}

fn bench(c: &mut Criterion) {
    let data = Bytes::from(vec![7; BLOCK as usize]);
    let block = |n| Message::Piece { piece: n / 64, begin: n % 64 * BLOCK, data: data.clone() };
    let blocks = stream((0..BLOCKS).map(block));
    let request = |n| Message::Request(BlockRequest { piece: n / 64, begin: n % 64 * BLOCK, length: BLOCK });
    // Whole messages in each buffer; a message in two of them, once a buffer, is copied; or in many.
    let whole = BLOCK as usize + 13;
    let cases = [
        ("a block, whole in its buffer", BLOCKS, cut(&blocks, 16 * whole)),
        ("a block, buffers of 256 KiB", BLOCKS, cut(&blocks, 256 << 10)),
        ("a block, buffers of 1460 bytes", BLOCKS, cut(&blocks, 1460)),
        ("a have", SMALL, cut(&stream((0..SMALL).map(Message::Have)), 256 << 10)),
        ("a request", SMALL, cut(&stream((0..SMALL).map(request)), 256 << 10)),
    ];
    let mut group = c.benchmark_group("decoder");
    for (name, messages, buffers) in cases {
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |b| {
            b.iter_custom(|count| {
                let rounds = count.div_ceil(u64::from(messages));
                let start = WallTime.start();
                (0..rounds).for_each(|_| assert_eq!(read(black_box(&buffers)), messages));
                WallTime.end(start).mul_f64(count as f64 / (rounds * u64::from(messages)) as f64)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
