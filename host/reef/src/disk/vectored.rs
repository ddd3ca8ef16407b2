//! Bytes that lie in many small buffers, written in few calls.

use std::fs::File;
use std::io::{self, IoSlice};

use bytes::Bytes;
use rustix::io::Errno;

/// Walks over adjacent buffers from the first byte to the last.
pub(super) struct Gather<'a> {
    buffers: &'a [Bytes],
    /// How much of the first buffer was taken.
    taken: usize,
}

impl<'a> Gather<'a> {
    pub(super) fn new(buffers: &'a [Bytes]) -> Self {
        Self { buffers, taken: 0 }
    }

    /// The next `length` bytes, or as many as there are.
    pub(super) fn take(&mut self, length: u64) -> Vec<IoSlice<'a>> {
        let mut slices = Vec::new();
        let mut left = usize::try_from(length).unwrap_or(usize::MAX);
        while left > 0 {
            let Some((first, rest)) = self.buffers.split_first() else { break };
            let available = &first[self.taken..];
            let part = &available[..available.len().min(left)];
            left -= part.len();
            if part.len() == available.len() {
                self.buffers = rest;
                self.taken = 0;
            } else {
                self.taken += part.len();
            }
            if !part.is_empty() {
                slices.push(IoSlice::new(part));
            }
        }
        slices
    }

    /// Passes over `length` bytes.
    pub(super) fn skip(&mut self, length: u64) {
        self.take(length);
    }
}

/// How many bytes the buffers hold together.
pub(super) fn total(buffers: &[Bytes]) -> u64 {
    buffers.iter().map(|buffer| buffer.len() as u64).sum()
}

/// Writes all slices one after the other from `offset` on.
pub(super) fn write_all_at(file: &File, mut slices: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    while !slices.is_empty() {
        let batch = &slices[..slices.len().min(MAX_SLICES)];
        match rustix::io::pwritev(file, batch, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// The most slices that one call takes (IOV_MAX of Linux).
const MAX_SLICES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn buffers(lengths: &[usize]) -> Vec<Bytes> {
        let mut numbers = (0..=u8::MAX).cycle();
        let mut buffer = |length| Bytes::from_iter(numbers.by_ref().take(length));
        lengths.iter().map(|&length| buffer(length)).collect()
    }

    #[test]
    fn buffers_are_cut_wherever_it_is_asked() {
        let buffers = buffers(&[3, 0, 5, 1]);
        let mut gather = Gather::new(&buffers);
        let mut lengths = |length| gather.take(length).iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>();
        assert_eq!(lengths(2), [0, 1]);
        assert_eq!(lengths(4), [2, 3, 4, 5]);
        assert_eq!(lengths(0), []);
        assert_eq!(lengths(100), [6, 7, 8]);
        assert_eq!(lengths(1), []);
        assert_eq!(total(&buffers), 9);
    }

    #[test]
    fn more_slices_than_one_call_takes_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = File::options().create_new(true).write(true).open(&path).unwrap();
        let buffers = buffers(&[3; 3000]);
        write_all_at(&file, &mut Gather::new(&buffers).take(u64::MAX), 5).unwrap();
        let written = std::fs::read(&path).unwrap();
        assert_eq!(written[..5], [0; 5]);
        assert_eq!(written[5..], buffers.concat());
    }
}
