//! The least that a transfer can cost here: one TCP connection, hashing, writing, and no protocol at all.
//!
//! `floor send ADDRESS FILE [RATE]` serves a file to one connection with sendfile, as many bytes a second in steps of 20 ms if
//! there is a rate. `floor receive ADDRESS SIZE OUT [one]` receives
//! 256 KiB at a time, writes, and hashes 16 pieces of 1 MiB side by side; with `one` they are hashed one after the other.
//! `floor check FILE [one]` reads and hashes. `tests/compare/compare.py` runs it beside the real programs.

use reef::lanes::{self, Algorithm, Job, Stream};
use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

const PIECE: usize = 1 << 20;
const TOGETHER: usize = 16;
const PAGE: usize = 4096;
const READ: usize = 256 << 10;
/// As a session serves those who wait for its limit.
const STEPS_A_SECOND: u64 = 50;
/// So much of each piece is read at a time when a file is checked: 16 of these stay in the processor's cache.
const STEP: usize = 32 << 10;

/// How pieces are hashed.
#[derive(Clone, Copy)]
enum Hashing {
    OneByOne,
    SideBySide,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["send", address, file] => send(address, Path::new(file), None),
        ["send", address, file, rate] => send(address, Path::new(file), Some(rate.parse()?)),
        ["receive", address, size, out] => receive(address, size.parse()?, Path::new(out), Hashing::SideBySide),
        ["receive", address, size, out, "one"] => receive(address, size.parse()?, Path::new(out), Hashing::OneByOne),
        ["check", file] => check(Path::new(file), Hashing::SideBySide),
        ["check", file, "one"] => check(Path::new(file), Hashing::OneByOne),
        _ => Err("floor send ADDRESS FILE [RATE] | receive ADDRESS SIZE OUT [one] | check FILE [one]".into()),
    }
}

fn send(address: &str, path: &Path, rate: Option<NonZeroU64>) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(address)?;
    println!("ready");
    std::io::stdout().flush()?;
    let (socket, _) = listener.accept()?;
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let begun = Instant::now();
    let (mut at, mut steps) = (0, 0);
    while at < size {
        let Some(rate) = rate else {
            rustix::fs::sendfile(&socket, &file, Some(&mut at), PIECE)?;
            continue;
        };
        steps += 1;
        let due = size.min(rate.get().saturating_mul(steps) / STEPS_A_SECOND);
        while at < due {
            let length = PIECE.min(usize::try_from(due - at)?);
            rustix::fs::sendfile(&socket, &file, Some(&mut at), length)?;
        }
        let next = begun + Duration::from_secs(steps) / STEPS_A_SECOND as u32;
        // What a sender under a limit does is what is measured.
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

fn receive(address: &str, size: usize, out: &Path, hashing: Hashing) -> Result<(), Box<dyn Error>> {
    let mut socket = TcpStream::connect(address)?;
    let file = File::create(out)?;
    let mut memory = vec![0; TOGETHER * PIECE + PAGE];
    let (buffer, mut sum, mut at) = (at_page(&mut memory), 0, 0);
    while at < size {
        let now = buffer.len().min(size - at);
        for (part, begin) in buffer[..now].chunks_mut(READ).zip((at..).step_by(READ)) {
            socket.read_exact(part)?;
            file.write_all_at(part, begin as u64)?;
        }
        let pieces: Vec<&[u8]> = buffer[..now].chunks(PIECE).collect();
        let streams = pieces.iter().map(|_| Stream::new(Algorithm::Sha1)).collect();
        sum ^= digests(hash(streams, &pieces, hashing, Job::last));
        at += now;
    }
    println!("{sum:02x}");
    Ok(())
}

fn check(path: &Path, hashing: Hashing) -> Result<(), Box<dyn Error>> {
    let file = File::open(path)?;
    let size = usize::try_from(file.metadata()?.len())?;
    let mut memory = vec![0; TOGETHER * STEP + PAGE];
    let (buffer, mut sum) = (at_page(&mut memory), 0);
    for begin in (0..size).step_by(TOGETHER * PIECE) {
        let count = (size - begin).div_ceil(PIECE).min(TOGETHER);
        let mut streams = vec![Stream::new(Algorithm::Sha1); count];
        for offset in (0..PIECE).step_by(STEP) {
            let mut parts: Vec<&[u8]> = Vec::with_capacity(count);
            for (piece, part) in buffer.chunks_mut(STEP).take(count).enumerate() {
                let at = begin + piece * PIECE + offset;
                let length = STEP.min(size.saturating_sub(at));
                file.read_exact_at(&mut part[..length], at as u64)?;
                parts.push(&part[..length]);
            }
            streams = hash(streams, &parts, hashing, Job::more);
        }
        let nothing = vec![&[][..]; count];
        sum ^= digests(hash(streams, &nothing, hashing, Job::last));
    }
    println!("{sum:02x}");
    Ok(())
}

/// The memory from the start of a page on: some processors copy to the first bytes after it at a fifth of their speed.
fn at_page(memory: &mut [u8]) -> &mut [u8] {
    let begin = memory.as_ptr().align_offset(PAGE);
    let length = memory.len() - PAGE;
    &mut memory[begin..][..length]
}

/// How bytes are given to a stream: the last or not.
type MakeJob<'a> = fn(Stream, std::iter::Once<&'a [u8]>) -> Job<'a, std::iter::Once<&'a [u8]>>;

fn hash<'a>(streams: Vec<Stream>, data: &[&'a [u8]], hashing: Hashing, job: MakeJob<'a>) -> Vec<Stream> {
    let jobs = streams.into_iter().zip(data).map(|(stream, data)| job(stream, std::iter::once(*data)));
    let mut jobs: Vec<_> = jobs.collect();
    match hashing {
        Hashing::SideBySide => lanes::advance(Algorithm::Sha1, &mut jobs),
        Hashing::OneByOne => jobs.chunks_mut(1).for_each(|job| lanes::advance(Algorithm::Sha1, job)),
    }
    jobs.into_iter().map(Job::into_stream).collect()
}

/// Something that depends on every digest, so that none is left out.
fn digests(streams: Vec<Stream>) -> u8 {
    streams.iter().fold(0, |sum, stream| sum ^ stream.sha1().0[0])
}
