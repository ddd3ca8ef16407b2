//! The compression functions over vectors, for any width: SHA-1 and SHA-256 of as many messages as a vector has lanes.
//!
//! A macro and not a generic function: only what is written inside a function with the processor's feature is compiled
//! for it. A module that uses it brings the vector `V` and the functions `splat`, `add`, `xor`, `rol`, `ror`, `shr`,
//! `choose`, `majority`, `xor3`, `load_words`, `load_state` and `store_state`, all with the same features.

/// Defines `sha1` and `sha256`: kernels (see [`super::kernel::Run`]) for the vectors of the module they stand in.
macro_rules! define_kernels {
    ($features:literal, $lanes:literal) => {
        /// SHA-1 of one message a lane.
        ///
        /// # Safety
        /// The processor has the features, and the first pointers, one a lane, can be read for `blocks` * 64 bytes.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn sha1(states: &mut States, data: &[*const u8; LANES], blocks: usize) {
            let mut h: [V; 5] = std::array::from_fn(|word| load_state(&states.0[word]));
            for block in 0..blocks {
                // SAFETY: the caller vouches for `blocks` blocks at each pointer.
                let mut w = unsafe { load_words(data, block * 64) };
                let [mut a, mut b, mut c, mut d, mut e] = h;
                macro_rules! round {
                    ($a:ident $b:ident $c:ident $d:ident $e:ident $t:expr, $f:ident, $k:ident) => {
                        if $t >= 16 {
                            let x = xor3(w[($t + 13) & 15], w[($t + 8) & 15], w[($t + 2) & 15]);
                            w[$t & 15] = rol::<1, 31>(xor(x, w[$t & 15]));
                        }
                        let f = $f($b, $c, $d);
                        $e = add($e, add(w[$t & 15], $k));
                        $e = add($e, add(f, rol::<5, 27>($a)));
                        $b = rol::<30, 2>($b);
                    };
                }
                macro_rules! five {
                    ($t:expr, $f:ident, $k:ident) => {
                        round!(a b c d e $t, $f, $k);
                        round!(e a b c d $t + 1, $f, $k);
                        round!(d e a b c $t + 2, $f, $k);
                        round!(c d e a b $t + 3, $f, $k);
                        round!(b c d e a $t + 4, $f, $k);
                    };
                }
                macro_rules! twenty {
                    ($t:expr, $f:ident, $k:literal) => {
                        let k = splat($k);
                        five!($t, $f, k);
                        five!($t + 5, $f, k);
                        five!($t + 10, $f, k);
                        five!($t + 15, $f, k);
                    };
                }
                twenty!(0, choose, 0x5A82_7999);
                twenty!(20, xor3, 0x6ED9_EBA1);
                twenty!(40, majority, 0x8F1B_BCDC);
                twenty!(60, xor3, 0xCA62_C1D6);
                h = [add(h[0], a), add(h[1], b), add(h[2], c), add(h[3], d), add(h[4], e)];
            }
            for (word, h) in states.0.iter_mut().zip(h) {
                store_state(word, h);
            }
        }

        /// SHA-256 of one message a lane.
        ///
        /// # Safety
        /// As for [`sha1()`].
        #[target_feature(enable = $features)]
        pub(super) unsafe fn sha256(states: &mut States, data: &[*const u8; LANES], blocks: usize) {
            let mut state: [V; 8] = std::array::from_fn(|word| load_state(&states.0[word]));
            for block in 0..blocks {
                // SAFETY: the caller vouches for `blocks` blocks at each pointer.
                let mut w = unsafe { load_words(data, block * 64) };
                let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
                macro_rules! round {
                    ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident $t:expr) => {
                        if $t >= 16 {
                            let (x, y) = (w[($t + 1) & 15], w[($t + 14) & 15]);
                            let x = xor3(ror::<7, 25>(x), ror::<18, 14>(x), shr::<3>(x));
                            let y = xor3(ror::<17, 15>(y), ror::<19, 13>(y), shr::<10>(y));
                            w[$t & 15] = add(add(w[$t & 15], w[($t + 9) & 15]), add(x, y));
                        }
                        let sum = xor3(ror::<6, 26>($e), ror::<11, 21>($e), ror::<25, 7>($e));
                        let k = add(w[$t & 15], splat(K256[$t]));
                        $h = add(add($h, k), add(sum, choose($e, $f, $g)));
                        $d = add($d, $h);
                        let sum = xor3(ror::<2, 30>($a), ror::<13, 19>($a), ror::<22, 10>($a));
                        $h = add($h, add(sum, majority($a, $b, $c)));
                    };
                }
                macro_rules! eight {
                    ($t:expr) => {
                        round!(a b c d e f g h $t);
                        round!(h a b c d e f g $t + 1);
                        round!(g h a b c d e f $t + 2);
                        round!(f g h a b c d e $t + 3);
                        round!(e f g h a b c d $t + 4);
                        round!(d e f g h a b c $t + 5);
                        round!(c d e f g h a b $t + 6);
                        round!(b c d e f g h a $t + 7);
                    };
                }
                eight!(0);
                eight!(8);
                eight!(16);
                eight!(24);
                eight!(32);
                eight!(40);
                eight!(48);
                eight!(56);
                let after = [a, b, c, d, e, f, g, h];
                state = std::array::from_fn(|word| add(state[word], after[word]));
            }
            for (word, h) in states.0.iter_mut().zip(state) {
                store_state(word, h);
            }
        }

        const _: () = assert!(size_of::<V>() == 4 * $lanes && $lanes <= LANES);
    };
}

pub(super) use define_kernels;

/// The constants of SHA-256's rounds (FIPS 180-4, 4.2.2).
pub(super) const K256: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98,
    0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8,
    0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819,
    0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
    0xc67178f2,
];
