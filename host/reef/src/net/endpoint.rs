//! The sockets that peers reach us by: a TCP listener and a UDP socket on the same port, for each address.

use crate::rt::{TcpSocket, UdpSocket, is_out_of_files};
use bytes::Bytes;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

/// An address that could not be listened on, as one line with its remedy.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", remedy(.source))]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// What the operating system said.
    pub source: io::Error,
}

impl ListenError {
    pub(crate) const fn new(address: SocketAddr, source: io::Error) -> Self {
        Self { address, source }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    listeners: Vec<Listener>,
    /// The first ones belong to the listeners, by index; others were opened to send from.
    udp: Vec<Udp>,
    packet: Vec<u8>,
}

/// Who knocked at a listener.
#[derive(Debug)]
pub(crate) enum Knock {
    /// A peer.
    Peer(TcpSocket, SocketAddr),
    /// Nobody, for now.
    Nobody,
    /// Somebody who was gone before the door was open.
    Failed,
}

#[derive(Debug)]
struct Listener {
    socket: TcpSocket,
    address: SocketAddr,
    /// The process ran out of files: until then nobody is let in.
    paused_until: Option<Instant>,
    waits_for_turn: bool,
}

#[derive(Debug)]
struct Udp {
    socket: UdpSocket,
    address: SocketAddr,
    waits_for_turn: bool,
}

impl Endpoints {
    /// Listens on each address.
    pub(crate) fn open(addresses: &[SocketAddr]) -> Result<Self, ListenError> {
        let mut all = Self::default();
        for address in addresses {
            all.listen(*address)?;
        }
        Ok(all)
    }

    /// Opens both sockets on an address; with port 0 on any port that is free for both.
    fn listen(&mut self, address: SocketAddr) -> Result<(), ListenError> {
        let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
        loop {
            tries -= 1;
            match open_pair(address) {
                Ok((tcp, udp, local)) => {
                    self.listeners.push(Listener {
                        socket: tcp,
                        address: local,
                        paused_until: None,
                        waits_for_turn: false,
                    });
                    self.udp.push(Udp { socket: udp, address: local, waits_for_turn: false });
                    return Ok(());
                }
                Err(e) if tries > 0 && e.kind() == io::ErrorKind::AddrInUse => {}
                Err(e) => return Err(ListenError::new(address, e)),
            }
        }
    }

    /// The addresses listened on, in the order given.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().map(|l| l.address)
    }

    /// The listeners, and the UDP socket beside each.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = (&TcpSocket, &UdpSocket)> {
        self.listeners.iter().zip(&self.udp).map(|(tcp, udp)| (&tcp.socket, &udp.socket))
    }

    /// Whether a listener has to be put into the queue of turns; from then on it is there.
    pub(crate) fn listener_wants_turn(&mut self, index: usize) -> bool {
        self.listeners.get_mut(index).is_some_and(|l| !std::mem::replace(&mut l.waits_for_turn, true))
    }

    /// Whether a UDP socket has to be put into the queue of turns; from then on it is there.
    pub(crate) fn udp_wants_turn(&mut self, index: usize) -> bool {
        self.udp.get_mut(index).is_some_and(|u| !std::mem::replace(&mut u.waits_for_turn, true))
    }

    /// The address to dial a peer from: the one we listen on, where that is one address and reaches the peer.
    pub(crate) fn source_for(&self, to: SocketAddr) -> Option<SocketAddr> {
        self.listeners.iter().map(|l| l.address).find(|own| !own.ip().is_unspecified() && reaches(*own, to))
    }

    /// Lets one peer in.
    pub(crate) fn accept(&mut self, index: usize, now: Instant) -> Knock {
        let Some(listener) = self.listeners.get_mut(index) else { return Knock::Nobody };
        listener.waits_for_turn = false;
        if listener.paused_until.is_some() {
            return Knock::Nobody;
        }
        match listener.socket.accept() {
            Ok(Some((socket, remote))) => Knock::Peer(socket, remote),
            Ok(None) => Knock::Nobody,
            Err(e) if is_out_of_files(&e) => {
                log::warn!("no peer is let in for {PAUSE:?}: {e}; raise the limit of open files (ulimit -n)");
                listener.paused_until = Some(now + PAUSE);
                Knock::Nobody
            }
            Err(e) => {
                log::debug!("a peer was gone before it was let in: {e}");
                Knock::Failed
            }
        }
    }

    /// The listeners whose pause is over. Peers may have knocked meanwhile, and will not be reported again.
    pub(crate) fn resume(&mut self, now: Instant) -> Vec<usize> {
        let mut over = Vec::new();
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            if listener.paused_until.take_if(|until| *until <= now).is_some() {
                over.push(index);
            }
        }
        over
    }

    /// When the next pause is over.
    pub(crate) fn resumes_at(&self) -> Option<Instant> {
        self.listeners.iter().filter_map(|l| l.paused_until).min()
    }

    /// The next packet that waits at a UDP socket.
    pub(crate) fn receive(&mut self, index: usize) -> Option<(SocketAddr, Bytes)> {
        let udp = self.udp.get_mut(index)?;
        udp.waits_for_turn = false;
        self.packet.resize(LARGEST_PACKET, 0);
        match udp.socket.receive(&mut self.packet) {
            Ok(got) => got.map(|(length, from)| (from, Bytes::copy_from_slice(&self.packet[..length]))),
            Err(e) => {
                log::debug!("{}: no UDP packet: {e}", udp.address);
                None
            }
        }
    }

    /// Sends a packet from a socket that reaches its receiver. Returns a socket that was opened for it, with its index.
    pub(crate) fn send(&mut self, to: SocketAddr, data: &[u8]) -> io::Result<Option<(usize, &UdpSocket)>> {
        if let Some(udp) = self.udp.iter().find(|udp| reaches(udp.address, to)) {
            return udp.socket.send(data, to).map(|()| None);
        }
        let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let address = SocketAddr::new(any, 0);
        let socket = UdpSocket::bind(address)?;
        socket.send(data, to)?;
        let index = self.udp.len();
        self.udp.push(Udp { socket, address, waits_for_turn: false });
        Ok(self.udp.last().map(|udp| (index, &udp.socket)))
    }
}

fn open_pair(address: SocketAddr) -> io::Result<(TcpSocket, UdpSocket, SocketAddr)> {
    let tcp = TcpSocket::listen(address)?;
    let local = tcp.local_addr()?;
    Ok((tcp, UdpSocket::bind(local)?, local))
}

/// Whether a packet from a socket bound to `own` can arrive at `to`: the loopback is an island.
fn reaches(own: SocketAddr, to: SocketAddr) -> bool {
    own.is_ipv4() == to.is_ipv4() && (own.ip().is_unspecified() || own.ip().is_loopback() == to.ip().is_loopback())
}

fn remedy(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::AddrInUse => "port in use: choose another with --listen".to_owned(),
        io::ErrorKind::AddrNotAvailable => {
            "no network interface has that address: choose another with --listen".to_owned()
        }
        io::ErrorKind::PermissionDenied => "not permitted: choose a port from 1024 on with --listen".to_owned(),
        _ => e.to_string(),
    }
}

const PORT_TRIES: u32 = 16;
const LARGEST_PACKET: usize = 64 << 10;
const PAUSE: Duration = Duration::from_millis(500);
