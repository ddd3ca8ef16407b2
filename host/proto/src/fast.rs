//! The allowed-fast set of the fast extension (BEP 6): pieces that a peer may ask for while it is choked.
//!
//! The set depends on the peer's address and the torrent alone, so that reconnecting gives nobody more pieces.

use std::net::IpAddr;

use sha1::{Digest, Sha1};

/// The `count` pieces that the peer at `ip` may have without being unchoked, in the order of BEP 6; all of them where there are no more than `count`.
///
/// BEP 6 defines the set for IPv4, by the upper 24 bits. Of an IPv6 address the upper 64 bits count: the part that a host does not choose itself.
pub fn allowed_fast_set(ip: IpAddr, info_hash: [u8; 20], pieces: u32, count: usize) -> Vec<u32> {
    if u32::try_from(count).map_or(true, |count| pieces <= count) {
        return (0..pieces).collect();
    }
    let mut set = Vec::with_capacity(count);
    let mut digest = seed(ip, info_hash);
    while set.len() < count {
        for word in digest.as_chunks::<4>().0 {
            let piece = u32::from_be_bytes(*word) % pieces;
            if set.len() < count && !set.contains(&piece) {
                set.push(piece);
            }
        }
        digest = Sha1::digest(digest).into();
    }
    set
}

fn seed(ip: IpAddr, info_hash: [u8; 20]) -> [u8; 20] {
    let hash = Sha1::new();
    let hash = match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            hash.chain_update([a, b, c, 0])
        }
        IpAddr::V6(ip) => hash.chain_update((u128::from(ip) >> 64 << 64).to_be_bytes()),
    };
    hash.chain_update(info_hash).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_pieces_are_all_allowed() {
        let ip = IpAddr::from([80, 4, 4, 200]);
        assert_eq!(allowed_fast_set(ip, [0xaa; 20], 0, 10), []);
        assert_eq!(allowed_fast_set(ip, [0xaa; 20], 3, 10), [0, 1, 2]);
        let mut almost_all = allowed_fast_set(ip, [0xaa; 20], 11, 10);
        almost_all.sort_unstable();
        almost_all.dedup();
        assert_eq!(almost_all.len(), 10);
    }

    #[test]
    fn neighbours_share_a_set() {
        let set = |ip: &str| allowed_fast_set(ip.parse().unwrap(), [7; 20], 5000, 10);
        assert_eq!(set("80.4.4.200"), set("80.4.4.1"));
        assert_eq!(set("::ffff:80.4.4.200"), set("80.4.4.1"));
        assert_ne!(set("80.4.4.200"), set("80.4.5.200"));
        assert_eq!(set("2001:db8::1"), set("2001:db8::ffff:0:0:2"));
        assert_ne!(set("2001:db8::1"), set("2001:db8:0:1::1"));
    }
}
