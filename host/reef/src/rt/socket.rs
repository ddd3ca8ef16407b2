//! Non-blocking TCP and UDP sockets. Every call is one system call that returns at once; "would block" is `None`.

use rustix::fs::sendfile;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, sockopt};
use std::fs::File;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A TCP socket: listening, connecting or connected.
#[derive(Debug)]
pub(crate) struct TcpSocket(OwnedFd);

/// How much of a file went out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FileSent {
    /// This many bytes, at least one.
    Bytes(usize),
    /// None: the socket takes no more for now.
    WouldBlock,
    /// None: the file ends before the range begins.
    FileEnded,
}

impl TcpSocket {
    /// A socket that listens on an address.
    pub(crate) fn listen(address: SocketAddr) -> io::Result<Self> {
        let socket = open(address, SocketType::STREAM)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        net::bind(&socket, &address)?;
        net::listen(&socket, BACKLOG)?;
        Ok(Self(socket))
    }

    /// Begins to connect; the socket is writable once that has ended. `from` is the address to dial from.
    pub(crate) fn connect(to: SocketAddr, from: Option<SocketAddr>) -> io::Result<Self> {
        let socket = open(to, SocketType::STREAM)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        if let Some(from) = from {
            net::bind(&socket, &SocketAddr::new(from.ip(), 0))?;
        }
        match net::connect(&socket, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(Self(socket)),
            Err(e) => Err(e.into()),
        }
    }

    /// The next connection that waits, if any.
    pub(crate) fn accept(&self) -> io::Result<Option<(Self, SocketAddr)>> {
        match retry_on_intr(|| net::acceptfrom_with(&self.0, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)) {
            Ok((socket, Some(remote))) => {
                let remote = SocketAddr::try_from(remote)?;
                sockopt::set_tcp_nodelay(&socket, true)?;
                Ok(Some((Self(socket), remote)))
            }
            Ok((_, None)) => Err(io::ErrorKind::AddrNotAvailable.into()),
            Err(Errno::AGAIN) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Where this end is.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::try_from(net::getsockname(&self.0)?)?)
    }

    /// The error that ended a connect or broke the connection, if any.
    pub(crate) fn take_error(&self) -> io::Result<()> {
        Ok(sockopt::socket_error(&self.0)??)
    }

    /// Reads into memory that need not be initialised; the first bytes of it are, as many as the result says. Zero is
    /// the end of the stream.
    pub(crate) fn receive(&self, into: &mut [MaybeUninit<u8>]) -> io::Result<Option<usize>> {
        match retry_on_intr(|| net::recv(&self.0, &mut *into, RecvFlags::empty()).map(|(_, n)| n)) {
            Ok(n) => Ok(Some(n)),
            Err(Errno::AGAIN) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Sends from several buffers. `more` holds a short packet back, because more follows at once.
    pub(crate) fn send(&self, parts: &[IoSlice<'_>], more: More) -> io::Result<Option<usize>> {
        let flags = match more {
            More::Follows => SendFlags::NOSIGNAL | SendFlags::MORE,
            More::Nothing => SendFlags::NOSIGNAL,
        };
        match retry_on_intr(|| net::sendmsg(&self.0, parts, &mut net::SendAncillaryBuffer::default(), flags)) {
            Ok(n) => Ok(Some(n)),
            Err(Errno::AGAIN) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Sends a range of a file without copying it through this process.
    pub(crate) fn send_file(&self, file: &File, mut offset: u64, length: u64) -> io::Result<FileSent> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        match retry_on_intr(|| sendfile(&self.0, file, Some(&mut offset), length)) {
            Ok(0) => Ok(FileSent::FileEnded),
            Ok(n) => Ok(FileSent::Bytes(n)),
            Err(Errno::AGAIN) => Ok(FileSent::WouldBlock),
            Err(e) => Err(e.into()),
        }
    }

    /// Tells the peer that nothing more comes.
    pub(crate) fn finish(&self) {
        // A connection that is broken already needs no farewell.
        let _ = net::shutdown(&self.0, net::Shutdown::Write);
    }
}

impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether more bytes follow at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum More {
    /// They do.
    Follows,
    /// They do not.
    Nothing,
}

/// A UDP socket.
#[derive(Debug)]
pub(crate) struct UdpSocket(OwnedFd);

impl UdpSocket {
    /// A socket bound to an address.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = open(address, SocketType::DGRAM)?;
        net::bind(&socket, &address)?;
        Ok(Self(socket))
    }

    /// The next packet that waits, if any: its length and sender. What does not fit into the buffer is lost.
    pub(crate) fn receive(&self, into: &mut [u8]) -> io::Result<Option<(usize, SocketAddr)>> {
        match retry_on_intr(|| net::recvfrom(&self.0, &mut *into, RecvFlags::empty())) {
            Ok((n, _, Some(from))) => Ok(Some((n, SocketAddr::try_from(from)?))),
            Ok((_, _, None)) => Err(io::ErrorKind::AddrNotAvailable.into()),
            Err(Errno::AGAIN) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Sends a packet; one for which there is no room is lost, as packets may be.
    pub(crate) fn send(&self, data: &[u8], to: SocketAddr) -> io::Result<()> {
        match net::sendto(&self.0, data, SendFlags::NOSIGNAL, &to) {
            Ok(_) | Err(Errno::AGAIN | Errno::NOBUFS) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether this process or the system has too many files open, or no memory for one more.
pub(crate) fn is_out_of_files(e: &io::Error) -> bool {
    matches!(Errno::from_io_error(e), Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

fn open(address: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let (family, protocol) = match (address, kind) {
        (SocketAddr::V4(_), SocketType::STREAM) => (AddressFamily::INET, ipproto::TCP),
        (SocketAddr::V4(_), _) => (AddressFamily::INET, ipproto::UDP),
        (SocketAddr::V6(_), SocketType::STREAM) => (AddressFamily::INET6, ipproto::TCP),
        (SocketAddr::V6(_), _) => (AddressFamily::INET6, ipproto::UDP),
    };
    let socket = net::socket_with(family, kind, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, Some(protocol))?;
    if address.is_ipv6() {
        // So that [::] and 0.0.0.0 can be listened on side by side, and no IPv4 address arrives in IPv6 clothes.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    Ok(socket)
}

const BACKLOG: i32 = 1024;
