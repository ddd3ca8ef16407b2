//! BEP 40: a priority that both ends of a connection compute alike, so that a swarm's graph is well mixed and nobody
//! can choose whose neighbour to be.

use std::net::{IpAddr, SocketAddr};

/// The priority of a connection between two addresses; the same whichever end asks. Higher is better.
#[must_use]
pub fn canonical_priority(a: SocketAddr, b: SocketAddr) -> u32 {
    match (a.ip(), b.ip()) {
        (x, y) if x == y => crc_of_pair(&a.port().to_be_bytes(), &b.port().to_be_bytes()),
        (IpAddr::V4(x), IpAddr::V4(y)) => {
            let (x, y) = (x.octets(), y.octets());
            let mask = match () {
                () if x[..2] != y[..2] => [0xff, 0xff, 0x55, 0x55],
                () if x[..3] != y[..3] => [0xff, 0xff, 0xff, 0x55],
                () => [0xff; 4],
            };
            crc_of_pair(&masked(x, mask), &masked(y, mask))
        }
        (IpAddr::V6(x), IpAddr::V6(y)) => {
            let (x, y) = (x.octets(), y.octets());
            // BEP 40: the first six bytes count whole, and one more than the two have in common.
            let same = x.iter().zip(&y).take_while(|(x, y)| x == y).count();
            let mut mask = [0x55; 16];
            mask[..(same + 1).clamp(6, 16)].fill(0xff);
            crc_of_pair(&masked(x, mask), &masked(y, mask))
        }
        // There is no connection between the two kinds; any fixed answer will do.
        _ => 0,
    }
}

/// A number that depends on the whole address.
pub(super) fn spread(addr: SocketAddr) -> u32 {
    let port = addr.port().to_be_bytes();
    match addr.ip() {
        IpAddr::V4(ip) => crc32c(ip.octets().into_iter().chain(port)),
        IpAddr::V6(ip) => crc32c(ip.octets().into_iter().chain(port)),
    }
}

fn masked<const N: usize>(address: [u8; N], mask: [u8; N]) -> [u8; N] {
    std::array::from_fn(|i| address[i] & mask[i])
}

fn crc_of_pair(a: &[u8], b: &[u8]) -> u32 {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    crc32c(low.iter().chain(high).copied())
}

/// CRC-32C (Castagnoli). Bit by bit: it is used for at most 32 bytes.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    let fold = |crc: u32, byte: u8| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    };
    !bytes.fold(u32::MAX, fold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_bep_40() {
        let check = |a: &str, b: &str, want: u32| {
            let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(canonical_priority(a, b), want, "{a} {b}");
            assert_eq!(canonical_priority(b, a), want, "{b} {a}");
        };
        check("123.213.32.10:0", "98.76.54.32:0", 0xec2d_7224);
        check("123.213.32.10:0", "123.213.32.234:0", 0x9956_8189);
    }
}
