//! Peers in compact form, both ways: 6 bytes each for IPv4 (BEP 23), 18 bytes each for IPv6 (BEP 7).
//!
//! One policy for every sender of such lists (trackers, ut_pex, DHT): bytes after the last whole entry are ignored. Which addresses are worth dialing is
//! [`crate::address`]'s question, not this module's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The addresses of a compact IPv4 list. Bytes after the last whole entry are ignored.
pub fn parse_v4(list: &[u8]) -> impl Iterator<Item = SocketAddr> {
    let (entries, _) = list.as_chunks::<V4_LEN>();
    entries
        .iter()
        .map(|[a, b, c, d, p, q]| SocketAddr::from((Ipv4Addr::new(*a, *b, *c, *d), u16::from_be_bytes([*p, *q]))))
}

/// The addresses of a compact IPv6 list. Bytes after the last whole entry are ignored.
pub fn parse_v6(list: &[u8]) -> impl Iterator<Item = SocketAddr> {
    let (entries, _) = list.as_chunks::<V6_LEN>();
    entries.iter().filter_map(|entry| {
        let (ip, port) = entry.split_first_chunk::<16>()?;
        Some(SocketAddr::from((Ipv6Addr::from(*ip), u16::from_be_bytes(*port.first_chunk()?))))
    })
}

/// One address in bare form: 4 bytes are IPv4, 16 are IPv6, anything else is nothing. (`yourip` of BEP 10, `external ip` of BEP 24.)
pub fn parse_ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|ip| IpAddr::from(*ip)),
        16 => bytes.first_chunk::<16>().map(|ip| IpAddr::from(*ip)),
        _ => None,
    }
}

/// Appends an address in compact form: 6 bytes for IPv4, 18 for IPv6.
pub fn put(out: &mut Vec<u8>, address: SocketAddr) {
    put_ip(out, address.ip());
    out.extend_from_slice(&address.port().to_be_bytes());
}

/// Appends a bare address: 4 or 16 bytes.
pub fn put_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
}

/// Bytes of an IPv4 entry.
pub const V4_LEN: usize = 6;

/// Bytes of an IPv6 entry.
pub const V6_LEN: usize = 18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_survive_both_ways_and_a_tail_is_ignored() {
        let four: [SocketAddr; 2] = ["127.0.0.1:2".parse().unwrap(), "255.0.0.3:4".parse().unwrap()];
        let mut list = Vec::new();
        four.iter().for_each(|peer| put(&mut list, *peer));
        assert_eq!(list, [0x7f, 0, 0, 1, 0, 2, 0xff, 0, 0, 3, 0, 4]);
        list.extend([1, 2, 3]);
        assert_eq!(parse_v4(&list).collect::<Vec<_>>(), four);

        let six: SocketAddr = "[2001:db8::1]:6881".parse().unwrap();
        let mut list = Vec::new();
        put(&mut list, six);
        list.push(0);
        assert_eq!(parse_v6(&list).collect::<Vec<_>>(), [six]);
        assert_eq!(parse_v6(&list[..17]).count(), 0);
    }

    #[test]
    fn bare_addresses_have_four_or_sixteen_bytes() {
        assert_eq!(parse_ip(&[1, 2, 3, 4]), Some(IpAddr::from([1, 2, 3, 4])));
        assert_eq!(parse_ip(&[1; 16]), Some(IpAddr::from([1; 16])));
        for len in [0, 1, 3, 5, 15, 17] {
            assert_eq!(parse_ip(&vec![1; len]), None);
        }
    }
}
