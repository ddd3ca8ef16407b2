//! Which addresses from strangers are worth a connection. Trackers, peers and the DHT all name addresses that nobody can reach, or that should not be reached.
//!
//! It judges addresses by their form alone; filters that a user sets are the engine's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Whether a connection can be tried at all: a port, and an address of one host (local networks included).
pub fn can_be_dialed(address: SocketAddr) -> bool {
    if address.port() == 0 {
        return false;
    }
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => !ip.is_multicast() && ip.octets() < [240, 0, 0, 0] && !is_this_network(ip),
        IpAddr::V6(ip) => !ip.is_multicast() && !ip.is_unspecified(),
    }
}

/// Whether an address belongs to one host of the public Internet (RFC 6890, RFC 4291).
pub fn is_global_unicast(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_global_v4(ip),
        IpAddr::V6(ip) => is_global_v6(ip),
    }
}

fn is_global_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    let shared = a == 100 && b & 0xc0 == 64; // RFC 6598: between a provider and its customers
    let reserved = a >= 224; // multicast, reserved, broadcast
    !(shared || reserved || is_this_network(ip) || ip.is_private() || ip.is_loopback() || ip.is_link_local())
}

fn is_global_v6(ip: Ipv6Addr) -> bool {
    // RFC 4291: everything that was ever assigned lies in 2000::/3.
    ip.segments().first().is_some_and(|first| first & 0xe000 == 0x2000)
}

/// RFC 1122: 0.0.0.0/8 is a source address only.
fn is_this_network(ip: Ipv4Addr) -> bool {
    ip.octets().first() == Some(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_one_host_are_dialed() {
        let cases = [
            ("1.2.3.4:6881", true),
            ("127.0.0.1:1", true),
            ("192.168.1.1:6881", true),
            ("[::1]:1", true),
            ("[2001:db8::1]:6881", true),
            ("1.2.3.4:0", false),
            ("0.0.0.0:6881", false),
            ("0.1.2.3:6881", false),
            ("224.0.0.1:6881", false),
            ("255.255.255.255:6881", false),
            ("[::]:6881", false),
            ("[ff02::1]:6881", false),
            ("[::ffff:0.0.0.0]:6881", false),
            ("[::ffff:1.2.3.4]:6881", true),
        ];
        for (address, expected) in cases {
            assert_eq!(can_be_dialed(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn global_addresses_are_those_of_the_public_internet() {
        let cases = [
            ("8.8.8.8", true),
            ("172.15.0.1", true),
            ("172.16.0.1", false),
            ("192.168.0.1", false),
            ("169.254.0.1", false),
            ("240.0.0.1", false),
            ("2001:4860::1", true),
            ("::1", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("::ffff:10.0.0.1", false),
        ];
        for (address, expected) in cases {
            assert_eq!(is_global_unicast(address.parse().unwrap()), expected, "{address}");
        }
    }
}
