//! Kernels: functions that take a few messages some blocks further, and which of them is the fastest here.
//!
//! Which one that is depends on the processor and on how many messages there are, and no list of processors tells it: each
//! kernel is tried once for a fraction of a millisecond when the first hash is taken. One that does not hash as the
//! reference does is never used.

use std::time::{Duration, Instant};

/// The most messages that a kernel takes at once.
pub(super) const LANES: usize = 16;

/// Bytes of a block of either algorithm.
pub(super) const BLOCK: usize = 64;

/// States of messages, `[word][lane]`. SHA-1 has five words.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(super) struct States(pub(super) [[u32; LANES]; 8]);

/// Takes the messages of the first lanes (as many as the kernel has) `blocks` blocks further.
///
/// # Safety
/// The processor has what the kernel needs, and each of those pointers can be read for `blocks` * 64 bytes.
pub(super) type Run = unsafe fn(&mut States, &[*const u8; LANES], blocks: usize);

/// A way to hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel {
    pub(super) name: &'static str,
    /// How many messages it takes at once.
    pub(super) lanes: usize,
    /// The processor was asked before this was made.
    pub(super) run: Run,
}

/// The kernels of an algorithm that are right on this processor, and which is best for how many messages.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    kernels: Vec<Kernel>,
    /// By the number of messages less one, an index of `kernels`.
    best: [usize; LANES],
    /// How many messages are worth waiting for: with more of them a message costs hardly less.
    pub(super) width: usize,
}

impl Choice {
    /// Tries the kernels, of which the first is the reference and has one lane.
    pub(super) fn measure(mut kernels: Vec<Kernel>) -> Self {
        let data: Vec<u8> = (0..LANES * TRIAL * BLOCK).map(|i| (i * 31 + i / 251) as u8).collect();
        let right = trial(&kernels[0], &data).0;
        kernels.retain(|kernel| {
            let is_right = trial(kernel, &data).0 == right;
            if !is_right {
                log::error!("{} hashes wrong on this processor and is not used", kernel.name);
            }
            is_right
        });
        // The best of several: a trial that was interrupted says nothing.
        let cost = |kernel: &Kernel| (0..TRIALS).map(|_| trial(kernel, &data).1).min().unwrap_or_default();
        let costs: Vec<Duration> = kernels.iter().map(cost).collect();
        let cost_of = |kernel: usize, messages: usize| {
            let lanes = kernels[kernel].lanes;
            costs[kernel] * messages.div_ceil(lanes) as u32 / (LANES / lanes) as u32
        };
        let best: [usize; LANES] = std::array::from_fn(|index| {
            (0..kernels.len()).min_by_key(|&kernel| cost_of(kernel, index + 1)).unwrap_or(0)
        });
        let a_message = |messages: usize| cost_of(best[messages - 1], messages) / messages as u32;
        let least = (1..=LANES).map(a_message).min().unwrap_or_default();
        let width = (1..=LANES).find(|&messages| a_message(messages) <= least + least / 8).unwrap_or(LANES);
        Self { kernels, best, width }
    }

    /// A choice that was made already: this kernel, whatever there is to hash.
    #[cfg(test)]
    pub(super) fn only(kernel: Kernel) -> Self {
        Self { kernels: vec![kernel], best: [0; LANES], width: LANES }
    }

    /// The kernel for so many messages (1 to 16; more are taken in turns).
    pub(super) fn kernel(&self, messages: usize) -> &Kernel {
        &self.kernels[self.best[messages.clamp(1, LANES) - 1]]
    }
}

/// Hashes [`TRIAL`] blocks of [`LANES`] messages. Returns their states and how long it took.
fn trial(kernel: &Kernel, data: &[u8]) -> ([[u32; 8]; LANES], Duration) {
    let mut states = [[0x0123_4567; 8]; LANES];
    let begin = Instant::now();
    for (states, data) in states.chunks_mut(kernel.lanes).zip(data.chunks(kernel.lanes * TRIAL * BLOCK)) {
        let messages: [&[u8]; LANES] = std::array::from_fn(|lane| &data[lane % kernel.lanes * TRIAL * BLOCK..]);
        kernel.advance(states, &messages, TRIAL);
    }
    (states, begin.elapsed())
}

impl Kernel {
    /// Takes messages, at most as many as there are lanes, `blocks` blocks further.
    ///
    /// # Panics
    /// When a message is shorter than that.
    pub(super) fn advance(&self, states: &mut [[u32; 8]], messages: &[&[u8]], blocks: usize) {
        let lanes = states.len().min(messages.len()).min(self.lanes);
        assert!(
            lanes > 0 && messages[..lanes].iter().all(|data| data.len() / BLOCK >= blocks),
            "a message is too short"
        );
        let mut by_word = States([[0; LANES]; 8]);
        for (lane, state) in states[..lanes].iter().enumerate() {
            state.iter().zip(&mut by_word.0).for_each(|(word, row)| row[lane] = *word);
        }
        // Lanes without a message hash the first one again, for nobody.
        let data = std::array::from_fn(|lane| messages[if lane < lanes { lane } else { 0 }].as_ptr());
        // SAFETY: a kernel is only made where the processor can run it; every pointer is that of a message, and each of
        // those was found to be long enough.
        unsafe { (self.run)(&mut by_word, &data, blocks) };
        for (lane, state) in states[..lanes].iter_mut().enumerate() {
            state.iter_mut().zip(&by_word.0).for_each(|(word, row)| *word = row[lane]);
        }
    }
}

/// Blocks of each message in a trial: 64 KiB in all.
const TRIAL: usize = 64;
/// How often each kernel is tried.
const TRIALS: usize = 5;
