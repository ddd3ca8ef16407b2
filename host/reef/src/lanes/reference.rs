//! One message at a time with the crates `sha1` and `sha2`: what every other kernel is compared with, and what hashes
//! where nothing else can.

use super::kernel::{BLOCK, LANES, States};
use sha1::digest::generic_array::GenericArray;
use sha1::digest::typenum::U64;

/// SHA-1 of the first message.
///
/// # Safety
/// The first pointer can be read for `blocks` * 64 bytes.
pub(super) unsafe fn sha1(states: &mut States, data: &[*const u8; LANES], blocks: usize) {
    let mut state: [u32; 5] = std::array::from_fn(|word| states.0[word][0]);
    // SAFETY: the caller vouches for it.
    sha1::compress(&mut state, unsafe { first_message(data, blocks) });
    states.0.iter_mut().zip(state).for_each(|(word, new)| word[0] = new);
}

/// SHA-256 of the first message.
///
/// # Safety
/// As for [`sha1()`].
pub(super) unsafe fn sha256(states: &mut States, data: &[*const u8; LANES], blocks: usize) {
    let mut state = states.0.map(|word| word[0]);
    // SAFETY: the caller vouches for it.
    sha2::compress256(&mut state, unsafe { first_message(data, blocks) });
    states.0.iter_mut().zip(state).for_each(|(word, new)| word[0] = new);
}

/// # Safety
/// The first pointer can be read for `blocks` * 64 bytes for as long as the result lives.
unsafe fn first_message<'a>(data: &[*const u8; LANES], blocks: usize) -> &'a [GenericArray<u8, U64>] {
    const { assert!(size_of::<GenericArray<u8, U64>>() == BLOCK && align_of::<GenericArray<u8, U64>>() == 1) };
    // SAFETY: an array of 64 bytes has no alignment of its own, and the caller vouches for the length.
    unsafe { std::slice::from_raw_parts(data[0].cast(), blocks) }
}
