//! The peer's level: one object for each connection that a plugin takes part in.

use crate::buffer::Buffer;
use crate::endpoint::PeerRequest;
use crate::glue::Slot;
use crate::handshake::HandshakeEntries;
use crate::level::define_level;
use abi_stable::std_types::{RSlice, RStr, RVec};

impl PeerObj {
    /// Wraps the peer object of a plugin.
    pub fn new<T: PeerPlugin>(plugin: T) -> Self {
        Self::from_slot(Slot::new(plugin))
    }
}

define_level! {
    /// A plugin's part in one connection.
    ///
    /// Messages arrive here before the standard behaviour has looked at them, so what they say may be nonsense. `Handled` skips
    /// the standard behaviour; an error closes the connection, with its text as the reason.
    trait PeerPlugin(PeerCx):
        /// A plugin's peer object: what `new_connection` returns.
        object PeerObj table PeerVt PeerVt_Ref glue PeerGlue bits peer_bits;
    beside {} besides {}
    /// Our extension handshake is being written (BEP 10): claim messages, add keys. Called again when it is sent again.
    [0] fn add_handshake(entries: (&mut HandshakeEntries) as (&mut HandshakeEntries));
    /// The peer's handshake arrived, with its reserved bytes.
    [1] fn on_handshake(reserved: (&[u8; 8]) as (&[u8; 8]));
    /// The peer's extension handshake arrived, as its bencoded dictionary; `supports` knows its messages already. May come again.
    [2] fn on_extension_handshake(dict: (RSlice<'_, u8>) as (&[u8]));
    /// An extension message that this object claimed in `add_handshake`.
    [3] fn on_extended(name: (RStr<'_>) as (&str), payload: (RSlice<'_, u8>) as (&[u8]));
    /// `choke`.
    [4] fn on_choke();
    /// `unchoke`.
    [5] fn on_unchoke();
    /// `interested`.
    [6] fn on_interested();
    /// `not interested`.
    [7] fn on_not_interested();
    /// `have`.
    [8] fn on_have(piece: (u32) as (u32));
    /// `bitfield`, as sent.
    [9] fn on_bitfield(bits: (RSlice<'_, u8>) as (&[u8]));
    /// `have all` (BEP 6).
    [10] fn on_have_all();
    /// `have none` (BEP 6).
    [11] fn on_have_none();
    /// `allowed fast` (BEP 6).
    [12] fn on_allowed_fast(piece: (u32) as (u32));
    /// `request`.
    [13] fn on_request(request: (PeerRequest) as (PeerRequest));
    /// `piece`: a whole block. A clone of `data` may be kept. `Handled` takes the block: it is neither written nor taken off the list of
    /// requests, so it is asked for again after a time, unless the plugin gives the block itself.
    [14] fn on_piece(request: (PeerRequest) as (PeerRequest), data: (&Buffer) as (&Buffer));
    /// `cancel`.
    [15] fn on_cancel(request: (PeerRequest) as (PeerRequest));
    /// `reject request` (BEP 6).
    [16] fn on_reject(request: (PeerRequest) as (PeerRequest));
    /// `suggest piece` (BEP 6).
    [17] fn on_suggest(piece: (u32) as (u32));
    /// A message with an id that the host does not know. If no plugin answers `Handled`, the connection is closed.
    [18] fn on_unknown_message(id: (u8) as (u8), payload: (RSlice<'_, u8>) as (&[u8]));
    /// A piece that this peer sent blocks of is right.
    [19] fn on_piece_pass(piece: (u32) as (u32));
    /// A piece that this peer sent blocks of is wrong.
    [20] fn on_piece_failed(piece: (u32) as (u32));
    /// About once a second.
    [21] fn tick();
    /// A request is about to be sent. `Handled`: it is not, and counts as sent.
    [22] fn write_request(request: (PeerRequest) as (PeerRequest));
    /// An outgoing connection is up, before the handshake.
    [23] fn on_connected();
    /// The connection is closing. Actions on this peer are ignored.
    [24] fn on_disconnect(reason: (RStr<'_>) as (&str));
    /// What is to be kept of this connection when the plugin is replaced while it lasts.
    [25] fn save_state() -> (RVec<u8>) as (Vec<u8>) = Vec::new();
    /// What `save_state` returned for this connection, possibly of another version. Called once, right after `new_connection`.
    [26] fn load_state(state: (RSlice<'_, u8>) as (&[u8]));
    /// A piece that the peer no longer has (`lt_donthave`, BEP 54). Unlike other messages it was checked: the piece exists.
    [27] fn on_dont_have(piece: (u32) as (u32));
    /// The connection is to be closed though the peer did no wrong: both sides are done, no answer to the dial, nothing heard or nothing
    /// of use for too long. `Handled` keeps it, until the question comes up again. Not asked for mistakes, bans, a torrent's or the session's end.
    [28] fn can_disconnect(reason: (RStr<'_>) as (&str));
    /// A message is about to be sent: its standard number and what follows it (of `piece` the first eight bytes; of an extended
    /// message the peer's number for it first). `Handled`: it is not sent, later plugins are not asked, and the session goes on as if it had been.
    /// Called at the end of the session's turn, in the order of sending; keep-alives and handshakes are not messages here.
    [29] fn write_message(id: (u8) as (u8), payload: (RSlice<'_, u8>) as (&[u8]));
    /// `choke` was queued for sending, after `write_message`, as all `sent_…`. It may not be on the wire yet. The answer has no say.
    [30] fn sent_choke();
    /// `unchoke` was queued for sending.
    [31] fn sent_unchoke();
    /// `interested` was queued for sending.
    [32] fn sent_interested();
    /// `not interested` was queued for sending.
    [33] fn sent_not_interested();
    /// `have` was queued for sending.
    [34] fn sent_have(piece: (u32) as (u32));
    /// `bitfield` was queued for sending.
    [35] fn sent_bitfield(bits: (RSlice<'_, u8>) as (&[u8]));
    /// `have all` (BEP 6) was queued for sending.
    [36] fn sent_have_all();
    /// `have none` (BEP 6) was queued for sending.
    [37] fn sent_have_none();
    /// `allowed fast` (BEP 6) was queued for sending.
    [38] fn sent_allowed_fast(piece: (u32) as (u32));
    /// `suggest piece` (BEP 6) was queued for sending.
    [39] fn sent_suggest(piece: (u32) as (u32));
    /// `request` was queued for sending.
    [40] fn sent_request(request: (PeerRequest) as (PeerRequest));
    /// `piece` was queued for sending. For every block: costs.
    [41] fn sent_piece(request: (PeerRequest) as (PeerRequest));
    /// `cancel` was queued for sending.
    [42] fn sent_cancel(request: (PeerRequest) as (PeerRequest));
    /// `reject request` (BEP 6) was queued for sending.
    [43] fn sent_reject(request: (PeerRequest) as (PeerRequest));
    /// So many bytes of blocks, headers not counted, were given to the operating system since the last call.
    [44] fn sent_payload(bytes: (u64) as (u64));
    /// The numbers of this connection's messages, for a closed network: 256 bytes, at each standard number the number on the wire,
    /// none twice; or nothing, to leave them as they are. Asked once, right after `on_handshake`, and good for both directions from the first
    /// message on; the first plugin that gives a map decides. A map that is none closes the connection. Hooks see standard numbers.
    [45] fn message_ids() -> (RVec<u8>) as (Vec<u8>) = Vec::new();
}
