//! Every kernel that this processor can run against the reference crates, over lengths and cuts that are not alike.

use super::*;
use proptest::prelude::*;
use sha1::Digest as _;

const BOTH: [Algorithm; 2] = [Algorithm::Sha1, Algorithm::Sha256];

fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn reference(algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
    match algorithm {
        Algorithm::Sha1 => sha1::Sha1::digest(message).to_vec(),
        Algorithm::Sha256 => sha2::Sha256::digest(message).to_vec(),
    }
}

/// Every kernel by itself, and what was chosen of them.
fn choices(algorithm: Algorithm) -> Vec<(&'static str, Choice)> {
    let alone = algorithm.kernels().into_iter().map(|kernel| (kernel.name, Choice::only(kernel)));
    alone.chain([("chosen", algorithm.choice().clone())]).collect()
}

/// Hashes the messages side by side: each in parts of `part` bytes, its first `before` bytes in an earlier call.
#[track_caller]
fn check(messages: &[Vec<u8>], part: usize, before: usize) {
    for algorithm in BOTH {
        for (name, choice) in choices(algorithm) {
            let cut = |message: &'_ Vec<u8>| before.min(message.len());
            let first = |m| Job::more(Stream::new(algorithm), m[..cut(m)].chunks(part));
            let mut jobs: Vec<_> = messages.iter().map(first).collect();
            advance_with(&choice, &mut jobs);
            let second = |(m, job): (_, Job<'_, _>)| Job::last(job.into_stream(), m[cut(m)..].chunks(part));
            let mut jobs: Vec<_> = messages.iter().zip(jobs).map(second).collect();
            advance_with(&choice, &mut jobs);
            for (message, job) in messages.iter().zip(jobs) {
                let stream = job.into_stream();
                assert_eq!(stream.length(), message.len() as u64);
                let found = match algorithm {
                    Algorithm::Sha1 => stream.sha1().0.to_vec(),
                    Algorithm::Sha256 => stream.sha256().0.to_vec(),
                };
                let length = message.len();
                assert_eq!(found, reference(algorithm, message), "{algorithm:?} by {name}, {length} bytes");
            }
        }
    }
}

#[test]
fn every_length_around_the_ends_of_blocks_is_hashed_right() {
    let messages: Vec<_> = (0..200).map(|length| bytes(length, length as usize)).collect();
    check(&messages, 1000, 0);
    check(&messages, 7, 65);
}

#[test]
fn every_number_of_messages_is_hashed_right() {
    for count in 0..=2 * LANES + 1 {
        let messages: Vec<_> = (0..count).map(|i| bytes(i as u64, 640 + 64 * (i % 3))).collect();
        check(&messages, 128, 256);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn messages_of_any_length_in_any_parts_are_hashed_right(
        lengths in proptest::collection::vec(0_usize..5000, 1..40),
        part in 1_usize..3000,
        before in 0_usize..4000,
    ) {
        let messages: Vec<_> = lengths.iter().enumerate().map(|(i, &length)| bytes(i as u64, length)).collect();
        check(&messages, part, before);
    }
}

#[test]
fn a_kernel_that_hashes_wrong_is_not_used() {
    unsafe fn nothing(_: &mut kernel::States, _: &[*const u8; LANES], _: usize) {}
    let mut kernels = Algorithm::Sha1.kernels();
    kernels.truncate(1);
    kernels.push(Kernel { name: "wrong", lanes: 16, run: nothing });
    let choice = Choice::measure(kernels);
    assert!((1..=LANES).all(|messages| choice.kernel(messages).name == "reference"));
    assert_eq!(choice.width, 1);
}
