//! What a hook sees of the session: contexts borrowed for one call, and views of a torrent and of a peer.
//!
//! Reading answers at once; actions are queued and carried out after the hook has returned. A context cannot outlive its call:
//! its lifetime is the call's, and it is neither `Send` nor `Sync`. Views of a [`Host`] are the same types, borrowed from it.

use crate::alert::Alert;
use crate::buffer::Buffer;
use crate::endpoint::{BlockSender, Endpoint, PeerKey, Sender, TorrentId};
use crate::handle::Host;
use crate::info::{PeerInfo, TorrentInfo};
use crate::records::{Record, RecordList, RecordOut};
use crate::result::HostError;
use crate::session_view::Session;
use crate::table::{RawCx, RawHandle};
use abi_stable::std_types::ROption;
use std::{marker::PhantomData, net::SocketAddr, ops::Deref};

/// Calls one function of the host's table, which an older host may not have.
macro_rules! host_call {
    ($handle:expr, $name:ident($($arg:expr),*)) => {
        match $handle.table.$name() {
            Some(function) => function($handle.ctx $(, $arg)*).result(),
            None => Err(HostError::Unsupported),
        }
    };
}
pub(crate) use host_call;

/// Reads one value through an out-parameter; `default` where the host does not answer.
macro_rules! host_value {
    ($default:expr, $handle:expr, $name:ident($($arg:expr),*)) => {{
        let mut out = $default;
        match host_call!($handle, $name($($arg,)* &mut out)) {
            Ok(()) => Ok(out),
            Err(error) => Err(error),
        }
    }};
}

pub(crate) use host_value;

/// A torrent as seen through a context or a [`Host`].
#[derive(Copy, Clone)]
pub struct Torrent<'a> {
    handle: RawHandle,
    id: TorrentId,
    life: PhantomData<&'a ()>,
}

impl<'a> Torrent<'a> {
    pub(crate) fn new(handle: RawHandle, id: TorrentId) -> Self {
        Self { handle, id, life: PhantomData }
    }

    pub(crate) fn handle(&self) -> RawHandle {
        self.handle
    }

    /// Its id.
    pub fn id(&self) -> TorrentId {
        self.id
    }

    /// A peer of this torrent.
    pub fn peer(&self, key: PeerKey) -> Peer<'a> {
        Peer { torrent: *self, key }
    }

    /// The connections, those still in their handshake included.
    pub fn peers(&self) -> Vec<Peer<'a>> {
        self.list(host_value!(RecordList::new(), self.handle, peers(self.id)))
            .into_iter()
            .map(|key| self.peer(key))
            .collect()
    }

    /// What is known of it.
    pub fn info(&self) -> Result<TorrentInfo, HostError> {
        RecordOut::read(|out| host_call!(self.handle, torrent_info(self.id, out)))
    }

    /// The info dictionary as it was received, once it is known. A torrent that has everything and nobody leaves it to the
    /// session's store until a peer comes or somebody reads its files.
    pub fn metadata(&self) -> Option<Buffer> {
        host_value!(Buffer::empty(), self.handle, metadata(self.id)).ok()
    }

    /// This piece is verified.
    pub fn has_piece(&self, piece: u32) -> bool {
        host_value!(false, self.handle, has_piece(self.id, piece)).unwrap_or(false)
    }

    /// Who sent the blocks of a piece that is being downloaded, has failed, or has just passed.
    pub fn block_senders(&self, piece: u32) -> Vec<BlockSender> {
        self.list(host_value!(RecordList::new(), self.handle, block_senders(self.id, piece)))
    }

    /// A block: within `on_piece_failed`, and within `on_piece_pass` of a piece that was [watched](Self::watch_piece).
    pub fn read_block(&self, piece: u32, block: u32) -> Option<Buffer> {
        host_value!(Buffer::empty(), self.handle, read_block(self.id, piece, block)).ok()
    }

    /// Action: keep this piece's blocks readable in its next `on_piece_pass`.
    pub fn watch_piece(&self, piece: u32) -> Result<(), HostError> {
        host_call!(self.handle, watch_piece(self.id, piece))
    }

    /// Action: this may be the torrent's info dictionary. The host checks it against the info-hashes and calls `on_metadata` if it is.
    pub fn give_metadata(&self, info: &[u8]) -> Result<(), HostError> {
        host_call!(self.handle, give_metadata(self.id, info.into()))
    }

    /// Action: an address to try, with bits of [`source`](crate::source) and [`pex_flags`](crate::pex_flags).
    pub fn add_peer(&self, addr: SocketAddr, source: u32, pex_flags: u8) -> Result<(), HostError> {
        host_call!(self.handle, add_peer(self.id, addr.into(), source, pex_flags))
    }

    /// Action: close connections with this sender (or this address) and refuse later ones.
    pub fn ban(&self, sender: impl Into<Sender>, reason: &str) -> Result<(), HostError> {
        let sender = sender.into();
        host_call!(self.handle, ban(self.id, Endpoint::from(sender.addr), &sender.peer_id, reason.into()))
    }

    fn list<T: Record>(&self, list: Result<RecordList, HostError>) -> Vec<T> {
        list.map_or_else(|_| Vec::new(), |list| list.records())
    }
}

/// A connection as seen through a context or a [`Host`].
#[derive(Copy, Clone)]
pub struct Peer<'a> {
    torrent: Torrent<'a>,
    key: PeerKey,
}

impl<'a> Peer<'a> {
    /// Its key.
    pub fn key(&self) -> PeerKey {
        self.key
    }

    /// Its torrent.
    pub fn torrent(&self) -> Torrent<'a> {
        self.torrent
    }

    /// What is known of it.
    pub fn info(&self) -> Result<PeerInfo, HostError> {
        RecordOut::read(|out| host_call!(self.torrent.handle, peer_info(self.torrent.id, self.key, out)))
    }

    /// Its extension handshake named this message, with an id other than 0.
    pub fn supports(&self, name: &str) -> bool {
        host_value!(false, self.torrent.handle, peer_supports(self.torrent.id, self.key, name.into())).unwrap_or(false)
    }

    /// Action: send an extension message, under the id that the peer gave to `name`.
    pub fn send_extended(&self, name: &str, payload: &[u8]) -> Result<(), HostError> {
        host_call!(self.torrent.handle, send_extended(self.torrent.id, self.key, name.into(), payload.into()))
    }

    /// Action: close the connection.
    pub fn disconnect(&self, reason: &str) -> Result<(), HostError> {
        host_call!(self.torrent.handle, disconnect(self.torrent.id, self.key, reason.into()))
    }
}

/// What every context and the `Host` handle can do, on a handle.
pub(crate) struct Calls(pub(crate) RawHandle);

impl Calls {
    pub(crate) fn now(&self) -> u64 {
        host_value!(0, self.0, now()).unwrap_or(0)
    }

    pub(crate) fn random(&self) -> u64 {
        host_value!(0, self.0, random()).unwrap_or(0)
    }

    pub(crate) fn host(&self) -> Result<Host, HostError> {
        let handle = host_value!(ROption::RNone, self.0, handle())?;
        // SAFETY: the host made this handle for us, with a count of its own.
        handle.into_option().map(|raw| unsafe { Host::from_raw(raw) }).ok_or(HostError::Unsupported)
    }

    pub(crate) fn post_alert(&self, alert: &Alert<'_>) -> Result<(), HostError> {
        host_call!(self.0, post_alert(alert))
    }
}

macro_rules! contexts {
    ($( $(#[$doc:meta])* $Cx:ident { $($view:ident: $View:ty = |$raw:ident| $make:expr)? } )*) => { $(
        $(#[$doc])*
        pub struct $Cx<'a> {
            handle: RawHandle,
            $($view: $View,)?
            life: PhantomData<&'a mut ()>,
        }

        impl<'a> $Cx<'a> {
            pub(crate) fn new(raw: &'a RawCx) -> Self {
                Self { handle: raw.handle, $($view: { let $raw = raw; $make },)? life: PhantomData }
            }

            /// Microseconds since the session's start: virtual in a simulation. Plugins use no other clock.
            pub fn now(&self) -> u64 {
                Calls(self.handle).now()
            }

            /// A random number of the session's generator: the same in every run of a simulation.
            pub fn random(&self) -> u64 {
                Calls(self.handle).random()
            }

            /// A handle for other threads, which may be kept.
            pub fn host(&self) -> Result<Host, HostError> {
                Calls(self.handle).host()
            }

            /// Action: post an alert in this plugin's name.
            pub fn post_alert(&self, alert: &Alert<'_>) -> Result<(), HostError> {
                Calls(self.handle).post_alert(alert)
            }

            /// The session.
            pub fn session(&self) -> Session<'a> {
                Session::new(self.handle)
            }
        }

        $(impl<'a> Deref for $Cx<'a> {
            type Target = $View;
            fn deref(&self) -> &$View {
                &self.$view
            }
        })?
    )* };
}

contexts! {
    /// What a session's hook may use.
    SessionCx {}
    /// What a torrent's hook may use: its [`Torrent`], and what every context offers.
    TorrentCx { torrent: Torrent<'a> = |raw| Torrent::new(raw.handle, raw.torrent) }
    /// What a peer's hook may use: its [`Peer`], from there its [`Torrent`], and what every context offers.
    PeerCx { peer: Peer<'a> = |raw| Torrent::new(raw.handle, raw.torrent).peer(raw.peer) }
}

impl<'a> SessionCx<'a> {
    /// A torrent of the session.
    pub fn torrent(&self, id: TorrentId) -> Torrent<'a> {
        Torrent::new(self.handle, id)
    }
}
