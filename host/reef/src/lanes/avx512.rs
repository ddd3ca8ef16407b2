//! Sixteen messages at once, in vectors of AVX-512 (F and BW). It has rotations and any function of three bits as one
//! instruction each, which is what makes it faster than the instructions made for SHA.

use super::kernel::{LANES, States};
use super::rounds::{K256, define_kernels};
use std::arch::x86_64::*;

type V = __m512i;

define_kernels!("avx512f,avx512bw", 16);

/// Whether this processor can run the kernels.
pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn splat(x: u32) -> V {
    _mm512_set1_epi32(x.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add(a: V, b: V) -> V {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor(a: V, b: V) -> V {
    _mm512_xor_si512(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor3(a: V, b: V, c: V) -> V {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn choose(a: V, b: V, c: V) -> V {
    _mm512_ternarylogic_epi32::<0xCA>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn majority(a: V, b: V, c: V) -> V {
    _mm512_ternarylogic_epi32::<0xE8>(a, b, c)
}

/// The second number, what is left of 32, is for vectors that can only shift.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn rol<const N: i32, const REST: i32>(a: V) -> V {
    _mm512_rol_epi32::<N>(a)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn ror<const N: i32, const REST: i32>(a: V) -> V {
    _mm512_ror_epi32::<N>(a)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn shr<const N: u32>(a: V) -> V {
    _mm512_srli_epi32::<N>(a)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_state(word: &[u32; LANES]) -> V {
    // SAFETY: an array of 64 bytes.
    unsafe { _mm512_loadu_si512(word.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store_state(word: &mut [u32; LANES], state: V) {
    // SAFETY: an array of 64 bytes.
    unsafe { _mm512_storeu_si512(word.as_mut_ptr().cast(), state) }
}

/// One block of each message as 16 vectors of big-endian words.
///
/// # Safety
/// Each pointer can be read for 64 bytes from `at` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn load_words(data: &[*const u8; LANES], at: usize) -> [V; 16] {
    let swap = _mm512_broadcast_i32x4(_mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
    // SAFETY: the caller vouches for the 64 bytes.
    let rows: [V; 16] = std::array::from_fn(|i| unsafe { _mm512_loadu_si512(data[i].add(at).cast()) });
    let rows = rows.map(|row| _mm512_shuffle_epi8(row, swap));
    // 4x4 transposes inside the quarters of 128 bits, then of the quarters.
    let mut quarters = rows;
    for i in (0..16).step_by(4) {
        let (a, b) = (_mm512_unpacklo_epi32(rows[i], rows[i + 1]), _mm512_unpackhi_epi32(rows[i], rows[i + 1]));
        let (c, d) = (_mm512_unpacklo_epi32(rows[i + 2], rows[i + 3]), _mm512_unpackhi_epi32(rows[i + 2], rows[i + 3]));
        quarters[i] = _mm512_unpacklo_epi64(a, c);
        quarters[i + 1] = _mm512_unpackhi_epi64(a, c);
        quarters[i + 2] = _mm512_unpacklo_epi64(b, d);
        quarters[i + 3] = _mm512_unpackhi_epi64(b, d);
    }
    let mut words = quarters;
    for j in 0..4 {
        let x0 = _mm512_shuffle_i32x4::<0x88>(quarters[j], quarters[j + 4]);
        let x1 = _mm512_shuffle_i32x4::<0xdd>(quarters[j], quarters[j + 4]);
        let y0 = _mm512_shuffle_i32x4::<0x88>(quarters[j + 8], quarters[j + 12]);
        let y1 = _mm512_shuffle_i32x4::<0xdd>(quarters[j + 8], quarters[j + 12]);
        words[j] = _mm512_shuffle_i32x4::<0x88>(x0, y0);
        words[j + 4] = _mm512_shuffle_i32x4::<0x88>(x1, y1);
        words[j + 8] = _mm512_shuffle_i32x4::<0xdd>(x0, y0);
        words[j + 12] = _mm512_shuffle_i32x4::<0xdd>(x1, y1);
    }
    words
}
