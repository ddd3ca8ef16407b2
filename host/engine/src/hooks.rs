//! The engine's side of plugins, in plain types: which hooks somebody wants, and one call a level.
//!
//! Hooks are called by the session's dispatcher alone, one at a time, while no part of the session is borrowed for
//! change. What a hook sees it reads through [`View`]; what it wants done it queues in [`Actions`], which the session
//! carries out after the hook has returned. So a hook never re-enters the session.

use crate::add_torrent::AddTorrent;
use crate::alert::{Alert, CustomAlert};
use crate::control::{Control, ReadDone, Ticket};
use crate::ids::{ConnId, TorrentId};
use crate::status::{PeerSource, TorrentState};
use crate::view::View;
use bytes::Bytes;
use reef_proto::message::BlockRequest;
use reef_proto::message_ids::MessageIds;
use reef_proto::peer_id::PeerId;
use std::net::SocketAddr;
use std::sync::Arc;

/// What a hook decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Go on: later plugins, then the standard behaviour.
    Pass,
    /// Done: later plugins are not asked and the standard behaviour is skipped.
    Handled,
    /// Close this peer, for this reason. Only peer hooks may say it; elsewhere it counts as `Pass`.
    Close(String),
}

/// Whoever listens to a session's hooks: the plugin host, or [`NoHooks`]. What is not implemented wants nothing and lets everything
/// pass.
pub trait Hooks {
    /// Which session hooks are wanted, as an OR of [`SessionEvent::bit`].
    fn session_mask(&self) -> u64 {
        0
    }
    /// A torrent was added; returns which of its hooks are wanted, as an OR of [`TorrentEvent::bit`].
    fn add_torrent(&mut self, _: TorrentId, _: &View<'_>, _: &mut Actions) -> u64 {
        0
    }
    /// A torrent is gone.
    fn remove_torrent(&mut self, _: TorrentId) {}
    /// A peer is attached to a torrent; returns which of its hooks are wanted, as an OR of [`PeerEvent::bit`].
    fn add_peer(&mut self, _: PeerRef, _: &View<'_>, _: &mut Actions) -> u64 {
        0
    }
    /// A peer is gone.
    fn remove_peer(&mut self, _: PeerRef) {}
    /// The wanted hooks of a torrent, asked again after [`Actions::refresh_masks`].
    fn torrent_mask(&self, _: TorrentId) -> u64 {
        0
    }
    /// The wanted hooks of a peer, asked again after [`Actions::refresh_masks`].
    fn peer_mask(&self, _: PeerRef) -> u64 {
        0
    }
    /// The set of plugins may change, as it was told: those that come get their objects, those that go lose them. The
    /// session then asks for every mask, and tells peers whose handshake differs.
    fn change_plugins(&mut self, _view: &View<'_>, _actions: &mut Actions) {}
    /// What plugins add to the extension handshake with this peer.
    fn extension_handshake(&mut self, _: PeerRef, _: &View<'_>, _: &mut Actions) -> HandshakeEntries {
        HandshakeEntries::default()
    }
    /// A session event.
    fn on_session(&mut self, _: &SessionEvent<'_>, _: &View<'_>, _: &mut Actions) -> Verdict {
        Verdict::Pass
    }
    /// A torrent event.
    fn on_torrent(&mut self, _: TorrentId, _: &TorrentEvent, _: &View<'_>, _: &mut Actions) -> Verdict {
        Verdict::Pass
    }
    /// The numbers of this connection's messages, in place of the standard ones: asked once, after the peer's handshake.
    fn message_ids(&mut self, _: PeerRef, _: &View<'_>, _: &mut Actions) -> Option<Arc<MessageIds>> {
        None
    }
    /// How soon a peer is to be unchoked optimistically, lower being sooner; asked if [`session_bits::UnchokePriority`] is wanted.
    fn unchoke_priority(&mut self, _: PeerRef, _: &View<'_>, _: &mut Actions) -> Option<u64> {
        None
    }
    /// A peer asked for a torrent that is not there: one to add; asked if [`session_bits::UnknownTorrent`] is wanted.
    fn unknown_torrent(
        &mut self,
        _info_hash: [u8; 20],
        _from: SocketAddr,
        _: &View<'_>,
        _: &mut Actions,
    ) -> Option<AddTorrent> {
        None
    }
    /// A timer of [`Control::SetTimer`] has run out.
    fn timer(&mut self, _: Ticket, _: &View<'_>, _: &mut Actions) {}
    /// What came of a [`Control::Read`].
    fn read_done(&mut self, _: TorrentId, _: ReadDone, _: &View<'_>, _: &mut Actions) {}
    /// A [`Control::Consult`] has its turn: somebody waits for the answer to a question about the session.
    fn consult(&mut self, _: &View<'_>, _: &mut Actions) {}
    /// Counters and gauges beside the session's own, by name.
    fn statistics(&self) -> Vec<(String, i64)> {
        Vec::new()
    }
    /// A peer event.
    fn on_peer(&mut self, _: PeerRef, _: &PeerEvent<'_>, _: &View<'_>, _: &mut Actions) -> Verdict {
        Verdict::Pass
    }
}

/// A peer of a torrent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerRef {
    /// The torrent.
    pub torrent: TorrentId,
    /// The connection.
    pub conn: ConnId,
}

/// What plugins add to an extension handshake (BEP 10).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HandshakeEntries {
    /// Names of extension messages to offer in `m`; the session chooses the numbers.
    pub names: Vec<String>,
    /// Further top-level entries: key and bencoded value. Later ones replace earlier ones.
    pub entries: Vec<(String, Bytes)>,
}

macro_rules! events {
    ($(#[$doc:meta])* $name:ident $(<$lt:lifetime>)?, $bits:ident { $($(#[$vdoc:meta])* $variant:ident $(($ty:ty))? = $bit:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub enum $name $(<$lt>)? { $($(#[$vdoc])* $variant $(($ty))?,)* }

        impl $(<$lt>)? $name $(<$lt>)? {
            /// The event's bit in a mask.
            #[must_use]
            pub const fn bit(&self) -> u64 {
                match self { $(Self::$variant { .. } => 1 << $bit,)* }
            }
        }

        #[doc = concat!("The bit of each [`", stringify!($name), "`] in a mask, by the name of its variant.")]
        #[allow(non_upper_case_globals, reason = "one constant a variant, by the variant's name")]
        pub mod $bits {
            $(
                #[doc = concat!("The bit of [`", stringify!($variant), "`](super::", stringify!($name), "::", stringify!($variant), ").")]
                pub const $variant: u64 = 1 << $bit;
            )*
        }
    };
}

events! {
    /// What happens to a session.
    SessionEvent<'a>, session_bits {
        /// About once a second.
        Tick = 0,
        /// An alert was posted.
        Alert(&'a Alert) = 1,
        /// The session begins to stop.
        Abort = 2,
        /// Never an event: [`Hooks::unknown_torrent`] is wanted.
        UnknownTorrent = 3,
        /// Never an event: [`Hooks::unchoke_priority`] is wanted.
        UnchokePriority = 4,
    }
}

events! {
    /// What happens to a torrent.
    TorrentEvent, torrent_bits {
        /// A piece passed its hash check.
        PiecePassed(u32) = 0,
        /// A piece that peers sent failed its hash check. Its blocks and their senders can be read until the hook returns.
        PieceFailed(u32) = 1,
        /// About once a second, while the torrent has peers.
        Tick = 2,
        /// It is being paused; `Handled` skips the standard pause.
        Pause = 3,
        /// It is being resumed; `Handled` skips the standard resume.
        Resume = 4,
        /// Its files were checked: it can start.
        FilesChecked = 5,
        /// Its state changed.
        State(TorrentState) = 6,
        /// Somebody named a peer.
        AddPeer(AddedPeer) = 7,
        /// Its metadata became known.
        Metadata = 8,
    }
}

/// A peer that a source named (manual: `on_add_peer`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddedPeer {
    /// Its address.
    pub address: SocketAddr,
    /// Who named it.
    pub source: PeerSource,
    /// It was not known before.
    pub first_time: bool,
    /// It was refused by a filter.
    pub filtered: bool,
}

events! {
    /// What happens on a connection to a peer. `Handled` skips the standard behaviour of a message.
    PeerEvent<'a>, peer_bits {
        /// An outgoing connection stands; nothing was sent.
        Connected = 0,
        /// The peer's handshake, by its eight reserved bytes.
        Handshake(&'a [u8; 8]) = 1,
        /// The peer's extension handshake: a bencoded dictionary.
        ExtensionHandshake(&'a [u8]) = 2,
        /// A message under a name that plugins registered.
        Extended(ExtendedMessage<'a>) = 3,
        /// `choke`.
        Choke = 4,
        /// `unchoke`.
        Unchoke = 5,
        /// `interested`.
        Interested = 6,
        /// `not interested`.
        NotInterested = 7,
        /// `have`, unchecked.
        Have(u32) = 8,
        /// `bitfield`, unchecked.
        Bitfield(&'a [u8]) = 9,
        /// `have all` (BEP 6).
        HaveAll = 10,
        /// `have none` (BEP 6).
        HaveNone = 11,
        /// `allowed fast` (BEP 6), unchecked.
        AllowedFast(u32) = 12,
        /// `suggest piece` (BEP 6), unchecked.
        Suggest(u32) = 13,
        /// `request`, unchecked.
        Request(BlockRequest) = 14,
        /// `piece`: a whole block.
        Piece(ReceivedBlock<'a>) = 15,
        /// `cancel`.
        Cancel(BlockRequest) = 16,
        /// `reject request` (BEP 6).
        Reject(BlockRequest) = 17,
        /// A message number that the engine does not know.
        UnknownMessage(UnknownMessage<'a>) = 18,
        /// We are about to send a request; `Handled` keeps it back.
        WriteRequest(BlockRequest) = 19,
        /// About once a second.
        Tick = 20,
        /// A piece to which this peer contributed passed.
        PiecePassed(u32) = 21,
        /// A piece to which this peer contributed failed.
        PieceFailed(u32) = 22,
        /// The connection is closing.
        Disconnect(&'a str) = 23,
        /// `lt_donthave` (BEP 54) of a piece that exists.
        DontHave(u32) = 24,
        /// The connection is to be closed though nobody did wrong; `Handled` keeps it.
        CanDisconnect(&'a str) = 25,
        /// A message is about to be sent; `Handled` drops it.
        WriteMessage(OutgoingMessage<'a>) = 26,
        /// `choke` was queued for sending, as all that follow.
        SentChoke = 27,
        /// `unchoke`.
        SentUnchoke = 28,
        /// `interested`.
        SentInterested = 29,
        /// `not interested`.
        SentNotInterested = 30,
        /// `have`.
        SentHave(u32) = 31,
        /// `bitfield`.
        SentBitfield(&'a [u8]) = 32,
        /// `have all` (BEP 6).
        SentHaveAll = 33,
        /// `have none` (BEP 6).
        SentHaveNone = 34,
        /// `allowed fast` (BEP 6).
        SentAllowedFast(u32) = 35,
        /// `suggest piece` (BEP 6).
        SentSuggest(u32) = 36,
        /// `request`.
        SentRequest(BlockRequest) = 37,
        /// `piece`.
        SentPiece(BlockRequest) = 38,
        /// `cancel`.
        SentCancel(BlockRequest) = 39,
        /// `reject request` (BEP 6).
        SentReject(BlockRequest) = 40,
        /// So many bytes of blocks are in the kernel's hands.
        SentPayload(u64) = 41,
    }
}

/// An extended message (BEP 10).
#[derive(Clone, Copy, Debug)]
pub struct ExtendedMessage<'a> {
    /// The name that we gave its number for.
    pub name: &'a str,
    /// What follows the number.
    pub payload: &'a Bytes,
}

/// A block as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedBlock<'a> {
    /// Which block.
    pub request: BlockRequest,
    /// Its bytes, a slice of the receive buffer.
    pub data: &'a Bytes,
}

/// A message on its way out.
#[derive(Clone, Copy, Debug)]
pub struct OutgoingMessage<'a> {
    /// The standard number, also where the connection has numbers of its own.
    pub id: u8,
    /// What follows the number. Of `piece` only the first eight bytes: the block is not in memory.
    pub payload: &'a [u8],
}

/// A message whose number the engine does not know.
#[derive(Clone, Copy, Debug)]
pub struct UnknownMessage<'a> {
    /// The number.
    pub id: u8,
    /// What follows it.
    pub payload: &'a Bytes,
}

/// Who sent a block. It outlives the connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Sender {
    /// The peer's address.
    pub address: SocketAddr,
    /// The peer's id.
    pub peer_id: PeerId,
}

/// Something that a plugin wants done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send an extended message, if the peer offered that name.
    SendExtended {
        /// The peer.
        peer: PeerRef,
        /// The message's name.
        name: String,
        /// What follows the number.
        payload: Bytes,
    },
    /// Close a connection.
    Disconnect {
        /// The peer.
        peer: PeerRef,
        /// Why, for logs and alerts.
        reason: String,
    },
    /// Close every connection to a peer and never talk to it again.
    Ban {
        /// The torrent that noticed.
        torrent: TorrentId,
        /// The peer.
        peer: Sender,
        /// Why, for logs and alerts.
        reason: String,
    },
    /// Make a peer's address known.
    AddPeer {
        /// The torrent.
        torrent: TorrentId,
        /// The address.
        address: SocketAddr,
        /// Who named it.
        source: PeerSource,
        /// BEP 11 flags: 1 prefers encryption, 2 seed, 4 uTP, 8 holepunch, 16 reachable.
        flags: u8,
    },
    /// Give a torrent its metadata: the raw `info` dictionary. The session checks its hash.
    GiveMetadata {
        /// The torrent.
        torrent: TorrentId,
        /// The bytes.
        metadata: Bytes,
    },
    /// Keep a piece's blocks readable when it next passes.
    WatchPiece {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: u32,
    },
    /// Post a plugin's alert.
    PostAlert(CustomAlert),
    /// Post an alert of the plugin host itself: a plugin was loaded or quarantined.
    Report(Alert),
    /// Everything else that a plugin can want of the session.
    Control(Control),
}

/// What hooks queued. The session carries it out after the hook has returned.
#[derive(Debug, Default)]
pub struct Actions {
    pub(crate) queue: Vec<Action>,
    pub(crate) masks_changed: bool,
    pub(crate) handshakes_changed: bool,
}

impl Actions {
    /// What is queued, in order.
    #[must_use]
    pub fn queued(&self) -> &[Action] {
        &self.queue
    }

    /// Whether masks are to be asked for again.
    #[must_use]
    pub fn masks_changed(&self) -> bool {
        self.masks_changed
    }

    /// Whether extension handshakes are to be sent again.
    #[must_use]
    pub fn handshakes_changed(&self) -> bool {
        self.handshakes_changed
    }

    /// Whether nothing was asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && !self.masks_changed && !self.handshakes_changed
    }

    /// Moves everything that `other` asks for to the end of this list.
    pub fn append(&mut self, other: &mut Self) {
        let Self { mut queue, masks_changed, handshakes_changed } = std::mem::take(other);
        self.queue.append(&mut queue);
        self.masks_changed |= masks_changed;
        self.handshakes_changed |= handshakes_changed;
    }

    /// Queues one action.
    pub fn push(&mut self, action: Action) {
        self.queue.push(action);
    }

    /// Says that masks changed (a plugin left a peer, was quarantined or replaced); the session asks for them again.
    pub fn refresh_masks(&mut self) {
        self.masks_changed = true;
    }

    /// Says that the names offered in extension handshakes changed; the session sends them again.
    pub fn refresh_handshakes(&mut self) {
        self.handshakes_changed = true;
    }
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {}
