//! The buffer that a thread reads into to hash what it reads.

/// Memory that begins at the start of a page, small enough to stay in the processor's cache while it is hashed.
///
/// Bytes 1 to 31 of a page are a bad place to read to: there some processors (AMD's with fast short copies) copy from the
/// page cache at a fifth of their speed, and large allocations begin at byte 16.
pub(super) struct Scratch {
    memory: Vec<u8>,
    begin: usize,
}

impl Default for Scratch {
    fn default() -> Self {
        let memory = vec![0; STEP + PAGE];
        let begin = memory.as_ptr().align_offset(PAGE).min(PAGE);
        Self { memory, begin }
    }
}

impl Scratch {
    pub(super) fn buffer(&mut self) -> &mut [u8] {
        &mut self.memory[self.begin..][..STEP]
    }
}

/// How much there is, in bytes: a part of each of many pieces.
const STEP: usize = 512 * 1024;

/// The size of a page of memory, in bytes.
const PAGE: usize = 4096;
