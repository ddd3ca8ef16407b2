//! Eight messages at once, in vectors of AVX2.

use super::kernel::{LANES, States};
use super::rounds::{K256, define_kernels};
use std::arch::x86_64::*;

type V = __m256i;

define_kernels!("avx2", 8);

/// Whether this processor can run the kernels.
pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2")
}

#[inline]
#[target_feature(enable = "avx2")]
fn splat(x: u32) -> V {
    _mm256_set1_epi32(x.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: V, b: V) -> V {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor(a: V, b: V) -> V {
    _mm256_xor_si256(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor3(a: V, b: V, c: V) -> V {
    xor(xor(a, b), c)
}

#[inline]
#[target_feature(enable = "avx2")]
fn choose(a: V, b: V, c: V) -> V {
    xor(c, _mm256_and_si256(a, xor(b, c)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn majority(a: V, b: V, c: V) -> V {
    _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(c, _mm256_or_si256(a, b)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn rol<const N: i32, const REST: i32>(a: V) -> V {
    _mm256_or_si256(_mm256_slli_epi32::<N>(a), _mm256_srli_epi32::<REST>(a))
}

#[inline]
#[target_feature(enable = "avx2")]
fn ror<const N: i32, const REST: i32>(a: V) -> V {
    _mm256_or_si256(_mm256_srli_epi32::<N>(a), _mm256_slli_epi32::<REST>(a))
}

#[inline]
#[target_feature(enable = "avx2")]
fn shr<const N: i32>(a: V) -> V {
    _mm256_srli_epi32::<N>(a)
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_state(word: &[u32; LANES]) -> V {
    // SAFETY: the first 32 of 64 bytes.
    unsafe { _mm256_loadu_si256(word.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_state(word: &mut [u32; LANES], state: V) {
    // SAFETY: the first 32 of 64 bytes.
    unsafe { _mm256_storeu_si256(word.as_mut_ptr().cast(), state) }
}

/// One block of each message as 16 vectors of big-endian words.
///
/// # Safety
/// Each of the first eight pointers can be read for 64 bytes from `at` on.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load_words(data: &[*const u8; LANES], at: usize) -> [V; 16] {
    // SAFETY: the caller vouches for the 64 bytes.
    let half = |offset: usize| unsafe { transposed(data, at + offset) };
    let (low, high) = (half(0), half(32));
    std::array::from_fn(|word| if word < 8 { low[word] } else { high[word - 8] })
}

/// 32 bytes of each message as eight vectors of big-endian words.
///
/// # Safety
/// Each of the first eight pointers can be read for 32 bytes from `at` on.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn transposed(data: &[*const u8; LANES], at: usize) -> [V; 8] {
    let swap = _mm256_broadcastsi128_si256(_mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
    // SAFETY: the caller vouches for the 32 bytes.
    let rows: [V; 8] = std::array::from_fn(|i| unsafe { _mm256_loadu_si256(data[i].add(at).cast()) });
    let rows = rows.map(|row| _mm256_shuffle_epi8(row, swap));
    // 4x4 transposes inside the halves of 128 bits, then of the halves.
    let mut halves = rows;
    for i in [0, 4] {
        let (a, b) = (_mm256_unpacklo_epi32(rows[i], rows[i + 1]), _mm256_unpackhi_epi32(rows[i], rows[i + 1]));
        let (c, d) = (_mm256_unpacklo_epi32(rows[i + 2], rows[i + 3]), _mm256_unpackhi_epi32(rows[i + 2], rows[i + 3]));
        halves[i] = _mm256_unpacklo_epi64(a, c);
        halves[i + 1] = _mm256_unpackhi_epi64(a, c);
        halves[i + 2] = _mm256_unpacklo_epi64(b, d);
        halves[i + 3] = _mm256_unpackhi_epi64(b, d);
    }
    let mut words = halves;
    for j in 0..4 {
        words[j] = _mm256_permute2x128_si256::<0x20>(halves[j], halves[j + 4]);
        words[j + 4] = _mm256_permute2x128_si256::<0x31>(halves[j], halves[j + 4]);
    }
    words
}
