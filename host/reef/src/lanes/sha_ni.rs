//! One or two messages at once with the instructions made for SHA. They wait for each other's results most of the time,
//! so two messages that are nothing to each other keep them busier than one.

use super::kernel::{LANES, States};
use super::rounds::K256;
use std::arch::x86_64::*;

/// Whether this processor can run the kernels.
pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1")
}

/// SHA-1 of the first `N` messages.
///
/// # Safety
/// The processor has the features, and the first `N` pointers can be read for `blocks` * 64 bytes.
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) unsafe fn sha1<const N: usize>(states: &mut States, data: &[*const u8; LANES], blocks: usize) {
    let swap = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0A0B_0C0D_0E0F);
    let word = |states: &States, word: usize, lane: usize| states.0[word][lane].cast_signed();
    let mut abcd: [__m128i; N] = std::array::from_fn(|i| {
        _mm_set_epi32(word(states, 0, i), word(states, 1, i), word(states, 2, i), word(states, 3, i))
    });
    let mut e: [__m128i; N] = std::array::from_fn(|i| _mm_set_epi32(word(states, 4, i), 0, 0, 0));
    for block in 0..blocks {
        let load = |quarter: usize| -> [__m128i; N] {
            std::array::from_fn(|i| {
                // SAFETY: the caller vouches for `blocks` blocks at each of the first `N` pointers.
                let loaded = unsafe { _mm_loadu_si128(data[i].add(block * 64 + quarter * 16).cast()) };
                _mm_shuffle_epi8(loaded, swap)
            })
        };
        let (mut w0, mut w1, mut w2, mut w3) = (load(0), load(1), load(2), load(3));
        let mut w4 = w0;
        let mut h0 = abcd;
        let mut h1: [__m128i; N] =
            std::array::from_fn(|i| _mm_sha1rnds4_epu32::<0>(abcd[i], _mm_add_epi32(e[i], w0[i])));
        macro_rules! four {
            ($from:ident, $to:ident, $w:ident, $f:literal) => {
                for i in 0..N {
                    $to[i] = _mm_sha1rnds4_epu32::<$f>($from[i], _mm_sha1nexte_epu32($to[i], $w[i]));
                }
            };
        }
        macro_rules! scheduled {
            ($from:ident, $to:ident, $a:ident, $b:ident, $c:ident, $d:ident, $next:ident, $f:literal) => {
                for i in 0..N {
                    let x = _mm_xor_si128(_mm_sha1msg1_epu32($a[i], $b[i]), $c[i]);
                    $next[i] = _mm_sha1msg2_epu32(x, $d[i]);
                }
                four!($from, $to, $next, $f);
            };
        }
        four!(h1, h0, w1, 0);
        four!(h0, h1, w2, 0);
        four!(h1, h0, w3, 0);
        scheduled!(h0, h1, w0, w1, w2, w3, w4, 0);
        scheduled!(h1, h0, w1, w2, w3, w4, w0, 1);
        scheduled!(h0, h1, w2, w3, w4, w0, w1, 1);
        scheduled!(h1, h0, w3, w4, w0, w1, w2, 1);
        scheduled!(h0, h1, w4, w0, w1, w2, w3, 1);
        scheduled!(h1, h0, w0, w1, w2, w3, w4, 1);
        scheduled!(h0, h1, w1, w2, w3, w4, w0, 2);
        scheduled!(h1, h0, w2, w3, w4, w0, w1, 2);
        scheduled!(h0, h1, w3, w4, w0, w1, w2, 2);
        scheduled!(h1, h0, w4, w0, w1, w2, w3, 2);
        scheduled!(h0, h1, w0, w1, w2, w3, w4, 2);
        scheduled!(h1, h0, w1, w2, w3, w4, w0, 3);
        scheduled!(h0, h1, w2, w3, w4, w0, w1, 3);
        scheduled!(h1, h0, w3, w4, w0, w1, w2, 3);
        scheduled!(h0, h1, w4, w0, w1, w2, w3, 3);
        scheduled!(h1, h0, w0, w1, w2, w3, w4, 3);
        for i in 0..N {
            abcd[i] = _mm_add_epi32(abcd[i], h0[i]);
            e[i] = _mm_sha1nexte_epu32(h1[i], e[i]);
        }
    }
    for i in 0..N {
        states.0[0][i] = _mm_extract_epi32::<3>(abcd[i]).cast_unsigned();
        states.0[1][i] = _mm_extract_epi32::<2>(abcd[i]).cast_unsigned();
        states.0[2][i] = _mm_extract_epi32::<1>(abcd[i]).cast_unsigned();
        states.0[3][i] = _mm_extract_epi32::<0>(abcd[i]).cast_unsigned();
        states.0[4][i] = _mm_extract_epi32::<3>(e[i]).cast_unsigned();
    }
}

/// SHA-256 of the first `N` messages.
///
/// # Safety
/// As for [`sha1()`].
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) unsafe fn sha256<const N: usize>(states: &mut States, data: &[*const u8; LANES], blocks: usize) {
    let swap = _mm_set_epi64x(0x0C0D_0E0F_0809_0A0B, 0x0405_0607_0001_0203);
    let four_words = |states: &States, words: [usize; 4], lane: usize| {
        let [a, b, c, d] = words.map(|word| states.0[word][lane].cast_signed());
        _mm_set_epi32(a, b, c, d)
    };
    let mut abef: [__m128i; N] = std::array::from_fn(|i| four_words(states, [0, 1, 4, 5], i));
    let mut cdgh: [__m128i; N] = std::array::from_fn(|i| four_words(states, [2, 3, 6, 7], i));
    for block in 0..blocks {
        let load = |quarter: usize| -> [__m128i; N] {
            std::array::from_fn(|i| {
                // SAFETY: the caller vouches for `blocks` blocks at each of the first `N` pointers.
                let loaded = unsafe { _mm_loadu_si128(data[i].add(block * 64 + quarter * 16).cast()) };
                _mm_shuffle_epi8(loaded, swap)
            })
        };
        let (mut w0, mut w1, mut w2, mut w3) = (load(0), load(1), load(2), load(3));
        let mut w4 = w0;
        let (abef_before, cdgh_before) = (abef, cdgh);
        macro_rules! four {
            ($w:ident, $t:literal) => {
                // SAFETY: four of the 64 constants.
                let k = unsafe { _mm_loadu_si128(K256.as_ptr().add(4 * $t).cast()) };
                for i in 0..N {
                    let x = _mm_add_epi32($w[i], k);
                    cdgh[i] = _mm_sha256rnds2_epu32(cdgh[i], abef[i], x);
                    abef[i] = _mm_sha256rnds2_epu32(abef[i], cdgh[i], _mm_shuffle_epi32::<0x0E>(x));
                }
            };
        }
        macro_rules! scheduled {
            ($a:ident, $b:ident, $c:ident, $d:ident, $next:ident, $t:literal) => {
                for i in 0..N {
                    let x = _mm_add_epi32(_mm_sha256msg1_epu32($a[i], $b[i]), _mm_alignr_epi8::<4>($d[i], $c[i]));
                    $next[i] = _mm_sha256msg2_epu32(x, $d[i]);
                }
                four!($next, $t);
            };
        }
        four!(w0, 0);
        four!(w1, 1);
        four!(w2, 2);
        four!(w3, 3);
        scheduled!(w0, w1, w2, w3, w4, 4);
        scheduled!(w1, w2, w3, w4, w0, 5);
        scheduled!(w2, w3, w4, w0, w1, 6);
        scheduled!(w3, w4, w0, w1, w2, 7);
        scheduled!(w4, w0, w1, w2, w3, 8);
        scheduled!(w0, w1, w2, w3, w4, 9);
        scheduled!(w1, w2, w3, w4, w0, 10);
        scheduled!(w2, w3, w4, w0, w1, 11);
        scheduled!(w3, w4, w0, w1, w2, 12);
        scheduled!(w4, w0, w1, w2, w3, 13);
        scheduled!(w0, w1, w2, w3, w4, 14);
        scheduled!(w1, w2, w3, w4, w0, 15);
        for i in 0..N {
            abef[i] = _mm_add_epi32(abef[i], abef_before[i]);
            cdgh[i] = _mm_add_epi32(cdgh[i], cdgh_before[i]);
        }
    }
    for i in 0..N {
        for (vector, words) in [(abef[i], [5, 4, 1, 0]), (cdgh[i], [7, 6, 3, 2])] {
            states.0[words[0]][i] = _mm_extract_epi32::<0>(vector).cast_unsigned();
            states.0[words[1]][i] = _mm_extract_epi32::<1>(vector).cast_unsigned();
            states.0[words[2]][i] = _mm_extract_epi32::<2>(vector).cast_unsigned();
            states.0[words[3]][i] = _mm_extract_epi32::<3>(vector).cast_unsigned();
        }
    }
}
