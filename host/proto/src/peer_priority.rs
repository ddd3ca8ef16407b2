//! Canonical peer priority (BEP 40): which connections to keep when there are too many, agreed on by both ends without a word.
//!
//! It follows the BEP's text. libtorrent keeps one byte more of an IPv6 address where two share a /48, so that the two clients order such peers differently; nothing depends on it.

use std::net::{IpAddr, SocketAddr};

/// The priority of the connection between two addresses; the higher one is kept. The order of the arguments does not matter.
pub fn peer_priority(one: SocketAddr, other: SocketAddr) -> u32 {
    let (low, high) = match (one.ip().to_canonical(), other.ip().to_canonical()) {
        (a, b) if a == b => sorted(one.port().to_be_bytes(), other.port().to_be_bytes()),
        (IpAddr::V4(a), IpAddr::V4(b)) => masked(a.octets(), b.octets(), 2),
        (a, b) => masked(v6_octets(a), v6_octets(b), 6),
    };
    crc32c::crc32c_append(crc32c::crc32c(&low), &high)
}

/// Both addresses, cut down to what they have in common and one byte more (at least `whole` bytes), in ascending order.
fn masked<const N: usize>(a: [u8; N], b: [u8; N], whole: usize) -> (Vec<u8>, Vec<u8>) {
    let common = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let kept = whole.max(common.saturating_add(1));
    let cut = |address: [u8; N]| {
        let bytes = address.iter().enumerate();
        bytes.map(|(at, byte)| if at < kept { *byte } else { byte & 0x55 }).collect::<Vec<u8>>()
    };
    let (a, b) = (cut(a), cut(b));
    if a <= b { (a, b) } else { (b, a) }
}

fn sorted(a: [u8; 2], b: [u8; 2]) -> (Vec<u8>, Vec<u8>) {
    (a.min(b).to_vec(), a.max(b).to_vec())
}

fn v6_octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_agree() {
        let pairs = [
            ("1.2.3.4:1", "5.6.7.8:2"),
            ("1.2.3.4:1", "1.2.3.4:2"),
            ("1.2.3.4:1", "[2001:db8::1]:2"),
            ("[2001:db8::1]:1", "[2001:db8::2]:1"),
        ];
        for (one, other) in pairs {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(peer_priority(one, other), peer_priority(other, one));
        }
        let mapped = peer_priority("[::ffff:1.2.3.4]:1".parse().unwrap(), "5.6.7.8:2".parse().unwrap());
        assert_eq!(mapped, peer_priority("1.2.3.4:1".parse().unwrap(), "5.6.7.8:2".parse().unwrap()));
    }
}
