//! SHA-1 and SHA-256 of many messages side by side.
//!
//! A hash of one message is a chain in which each step waits for the last. Messages are independent, so several can go
//! through the processor's vectors at once: sixteen with AVX-512, eight with AVX2, two with the instructions made for SHA.
//! A [`Stream`] is a message of which some bytes came; [`advance`] takes many streams further, each by bytes of its own,
//! with whatever is fastest for so many on this processor. Lengths may differ: a lane whose message ends takes the next.
//!
//! All of the crate's unsafe hashing is here. Nothing here reads files, starts threads or knows of pieces.
//!
//! Code map: `kernel` what a kernel is and which is the fastest; `rounds` the algorithms over vectors; `avx512`, `avx2`
//! vectors; `sha_ni` the instructions made for SHA; `reference` the crates that everything is compared with.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod kernel;
mod reference;
#[cfg(target_arch = "x86_64")]
mod rounds;
#[cfg(target_arch = "x86_64")]
mod sha_ni;
#[cfg(test)]
mod tests;

use kernel::{BLOCK, Choice, Kernel, LANES};
use reef_proto::hash::{Sha1Hash, Sha256Hash};
use std::sync::LazyLock;

/// A hash that is taken in blocks of 64 bytes over a state of up to eight words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// SHA-1, of v1 torrents.
    Sha1,
    /// SHA-256, of v2 torrents.
    Sha256,
}

/// A message of which some bytes were hashed.
#[derive(Clone, Debug)]
pub struct Stream {
    state: [u32; 8],
    length: u64,
    /// The first bytes of a block that is not complete.
    tail: [u8; BLOCK],
    filled: usize,
}

/// Bytes that a stream is to take in.
#[derive(Debug)]
pub struct Job<'a, D> {
    stream: Stream,
    data: D,
    /// What is left of the part that was begun.
    rest: &'a [u8],
    ends: bool,
}

/// How many messages are hashed at once with the most that this processor can do, and by what: for logs and benches.
pub fn describe(algorithm: Algorithm) -> Vec<(usize, &'static str)> {
    (1..=LANES).map(|messages| (messages, algorithm.choice().kernel(messages).name)).collect()
}

/// How many streams at once are worth waiting for: a stream costs hardly less among more.
pub fn width() -> usize {
    Algorithm::Sha1.choice().width
}

/// Takes the streams of all jobs through their bytes.
pub fn advance<'a, D: Iterator<Item = &'a [u8]>>(algorithm: Algorithm, jobs: &mut [Job<'a, D>]) {
    advance_with(algorithm.choice(), jobs);
}

impl Algorithm {
    const fn initial(self) -> [u32; 8] {
        match self {
            Self::Sha1 => [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0, 0, 0, 0],
            Self::Sha256 => {
                [0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19]
            }
        }
    }

    fn choice(self) -> &'static Choice {
        static SHA1: LazyLock<Choice> = LazyLock::new(|| Choice::measure(Algorithm::Sha1.kernels()));
        static SHA256: LazyLock<Choice> = LazyLock::new(|| Choice::measure(Algorithm::Sha256.kernels()));
        match self {
            Self::Sha1 => &SHA1,
            Self::Sha256 => &SHA256,
        }
    }

    /// The kernels that this processor can run, the reference first.
    fn kernels(self) -> Vec<Kernel> {
        let reference = match self {
            Self::Sha1 => reference::sha1,
            Self::Sha256 => reference::sha256,
        };
        let mut kernels = vec![Kernel { name: "reference", lanes: 1, run: reference }];
        #[cfg(target_arch = "x86_64")]
        self.add_vectors(&mut kernels);
        kernels
    }

    #[cfg(target_arch = "x86_64")]
    fn add_vectors(self, kernels: &mut Vec<Kernel>) {
        let is_sha1 = self == Self::Sha1;
        if sha_ni::is_available() {
            let run = if is_sha1 { sha_ni::sha1::<2> } else { sha_ni::sha256::<2> };
            kernels.push(Kernel { name: "SHA-NI x 2", lanes: 2, run });
        }
        if avx2::is_available() {
            kernels.push(Kernel { name: "AVX2 x 8", lanes: 8, run: if is_sha1 { avx2::sha1 } else { avx2::sha256 } });
        }
        if avx512::is_available() {
            let run = if is_sha1 { avx512::sha1 } else { avx512::sha256 };
            kernels.push(Kernel { name: "AVX-512 x 16", lanes: 16, run });
        }
    }
}

impl Stream {
    /// A message of which nothing came.
    pub fn new(algorithm: Algorithm) -> Self {
        Self { state: algorithm.initial(), length: 0, tail: [0; BLOCK], filled: 0 }
    }

    /// How many bytes it took in.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The digest, once the message was ended (see [`Job::last`]).
    pub fn sha1(&self) -> Sha1Hash {
        let mut digest = [0; 20];
        self.write_digest(&mut digest);
        Sha1Hash(digest)
    }

    /// The digest, once the message was ended (see [`Job::last`]).
    pub fn sha256(&self) -> Sha256Hash {
        let mut digest = [0; 32];
        self.write_digest(&mut digest);
        Sha256Hash(digest)
    }

    fn write_digest(&self, digest: &mut [u8]) {
        digest.chunks_exact_mut(4).zip(self.state).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_be_bytes()));
    }
}

impl<'a, D: Iterator<Item = &'a [u8]>> Job<'a, D> {
    /// Bytes after which more will come.
    pub fn more(stream: Stream, data: D) -> Self {
        Self { stream, data, rest: &[], ends: false }
    }

    /// The last bytes of a message.
    pub fn last(stream: Stream, data: D) -> Self {
        Self { stream, data, rest: &[], ends: true }
    }

    /// The stream, as far as it was taken.
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    /// The next whole blocks to hash: of the bytes where they lie, or a block put together.
    fn next_source(&mut self) -> Option<Source<'a>> {
        loop {
            let stream = &mut self.stream;
            if self.rest.is_empty() {
                let Some(part) = self.data.next() else { return self.padding() };
                self.rest = part;
                stream.length += part.len() as u64;
            } else if stream.filled == 0 && self.rest.len() >= BLOCK {
                let (whole, rest) = self.rest.split_at(self.rest.len() / BLOCK * BLOCK);
                self.rest = rest;
                return Some(Source::There(whole));
            } else {
                let (now, rest) = self.rest.split_at(self.rest.len().min(BLOCK - stream.filled));
                stream.tail[stream.filled..][..now.len()].copy_from_slice(now);
                stream.filled += now.len();
                self.rest = rest;
                if stream.filled == BLOCK {
                    let mut own = [0; 2 * BLOCK];
                    own[..BLOCK].copy_from_slice(&stream.tail);
                    stream.filled = 0;
                    return Some(Source::Own { bytes: own, at: 0, end: BLOCK });
                }
            }
        }
    }

    /// What follows the last byte, once.
    fn padding(&mut self) -> Option<Source<'a>> {
        if !std::mem::take(&mut self.ends) {
            return None;
        }
        let filled = std::mem::take(&mut self.stream.filled);
        let mut bytes = [0; 2 * BLOCK];
        bytes[..filled].copy_from_slice(&self.stream.tail[..filled]);
        bytes[filled] = 0x80;
        let end = if filled + 9 <= BLOCK { BLOCK } else { 2 * BLOCK };
        bytes[end - 8..end].copy_from_slice(&self.stream.length.wrapping_mul(8).to_be_bytes());
        Some(Source::Own { bytes, at: 0, end })
    }
}

/// Whole blocks of a message.
enum Source<'a> {
    There(&'a [u8]),
    Own { bytes: [u8; 2 * BLOCK], at: usize, end: usize },
}

impl Source<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::There(bytes) => bytes,
            Self::Own { bytes, at, end } => &bytes[*at..*end],
        }
    }

    fn skip(&mut self, length: usize) {
        match self {
            Self::There(bytes) => *bytes = &bytes[length..],
            Self::Own { at, .. } => *at += length,
        }
    }
}

/// A message that is being hashed beside others.
struct Lane<'a> {
    job: usize,
    source: Source<'a>,
}

fn advance_with<'a, D: Iterator<Item = &'a [u8]>>(choice: &Choice, jobs: &mut [Job<'a, D>]) {
    let mut lanes: Vec<Lane<'a>> = Vec::with_capacity(LANES);
    let mut next = 0;
    loop {
        while lanes.len() < LANES && next < jobs.len() {
            lanes.extend(jobs[next].next_source().map(|source| Lane { job: next, source }));
            next += 1;
        }
        let Some(blocks) = lanes.iter().map(|lane| lane.source.bytes().len() / BLOCK).min() else { return };
        let kernel = choice.kernel(lanes.len());
        for group in lanes.chunks(kernel.lanes) {
            let mut states = [[0; 8]; LANES];
            let mut messages: [&[u8]; LANES] = [&[]; LANES];
            for (lane, (state, message)) in group.iter().zip(states.iter_mut().zip(&mut messages)) {
                *state = jobs[lane.job].stream.state;
                *message = lane.source.bytes();
            }
            kernel.advance(&mut states[..group.len()], &messages[..group.len()], blocks);
            for (lane, state) in group.iter().zip(states) {
                jobs[lane.job].stream.state = state;
            }
        }
        lanes.retain_mut(|lane| {
            lane.source.skip(blocks * BLOCK);
            if !lane.source.bytes().is_empty() {
                return true;
            }
            let source = jobs[lane.job].next_source();
            source.map(|source| lane.source = source).is_some()
        });
    }
}
