//! Addresses of this machine's own that no other test uses: most clients allow one connection an address, and tests run
//! side by side.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// An address of 127.128.0.0/9 that this process gives once, and another process hardly ever at the same time.
pub fn fresh_ip() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Twelve bits of the process's number, eleven of a counter.
    let low = (std::process::id() << 11 | (NEXT.fetch_add(1, Ordering::Relaxed) & 0x7ff)) & 0x7f_ffff;
    Ipv4Addr::from_bits(0x7f80_0000 | low)
}

/// A fresh address with a port that is free for TCP and UDP.
///
/// # Panics
/// If the machine has no loopback network.
pub fn fresh_address() -> SocketAddr {
    let ip = fresh_ip();
    SocketAddr::new(IpAddr::V4(ip), free_port(ip))
}

/// 127.0.0.1 with a free port, for what has to be found at the address that its packets come from by default.
///
/// # Panics
/// If the machine has no loopback network.
pub fn default_address() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), free_port(Ipv4Addr::LOCALHOST))
}

/// A port of this address that is free for TCP and UDP.
///
/// # Panics
/// If there is none.
pub fn free_port(ip: Ipv4Addr) -> u16 {
    for _ in 0..100 {
        let listener = TcpListener::bind((ip, 0)).expect("the loopback network is there");
        let port = listener.local_addr().expect("it is bound").port();
        if UdpSocket::bind((ip, port)).is_ok() {
            return port;
        }
    }
    panic!("no port of {ip} is free");
}
