//! The torrent's level: one object for each torrent that a plugin takes part in.

use crate::buffer::Buffer;
use crate::endpoint::{Endpoint, PeerKey, PeerRequest};
use crate::glue::Slot;
use crate::info::TorrentState;
use crate::level::define_level;
use crate::peer::PeerObj;
use abi_stable::std_types::{ROption, RResult, RSlice, RString, RVec};
use std::net::SocketAddr;

impl TorrentObj {
    /// Wraps the torrent object of a plugin.
    pub fn new<T: TorrentPlugin>(plugin: T) -> Self {
        Self::from_slot(Slot::new(plugin))
    }
}

define_level! {
    /// A plugin's part in one torrent.
    trait TorrentPlugin(TorrentCx):
        /// A plugin's torrent object: what `new_torrent` returns.
        object TorrentObj table TorrentVt TorrentVt_Ref glue TorrentGlue bits torrent_bits;
    beside {} besides {}
    /// A peer is being connected to, or has connected and named this torrent, or was there before the plugin. `None`: the plugin
    /// leaves it alone. An error closes the connection.
    [0] fn new_connection(peer: (PeerKey) as (PeerKey)) -> (ROption<PeerObj>) as (Option<PeerObj>) = None;
    /// A piece was downloaded and is right. `block_senders` answers; `read_block` answers for a piece that was watched.
    [1] fn on_piece_pass(piece: (u32) as (u32));
    /// A piece was downloaded and is wrong. `block_senders` and `read_block` answer until the hook returns.
    [2] fn on_piece_failed(piece: (u32) as (u32));
    /// About once a second, while the torrent has connections. (The session's `on_tick` always comes.)
    [3] fn tick();
    /// The torrent is to be paused. `Handled`: the plugin sees to it, and it is not.
    [4] fn on_pause();
    /// The torrent is to be resumed. `Handled`: the plugin sees to it, and it is not.
    [5] fn on_resume();
    /// The files were checked, or there was nothing to check: the download can start.
    [6] fn on_files_checked();
    /// What the torrent is doing has changed.
    [7] fn on_state(state: (u32) as (TorrentState));
    /// An address was heard of. `source`: bits of [`source`](crate::source); `flags`: bits of
    /// [`add_peer_flags`](crate::add_peer_flags).
    [8] fn on_add_peer(addr: (Endpoint) as (SocketAddr), source: (u32) as (u32), flags: (u32) as (u32));
    /// The info dictionary has become known. `Detach` here leaves a torrent that turns out to be private: the peer objects of
    /// this plugin in it are dropped too.
    [9] fn on_metadata();
    /// What is to be kept of this torrent over a restart or a replacement.
    [10] fn save_state() -> (RVec<u8>) as (Vec<u8>) = Vec::new();
    /// What `save_state` returned for this torrent, possibly of another version. Called once, right after `new_torrent`.
    [11] fn load_state(state: (RSlice<'_, u8>) as (&[u8]));
    /// What a hook of this plugin asked [`read`](crate::Torrent::read) for, with its token: the bytes, or why there are none.
    [12] fn on_read_done(token: (u64) as (u64), request: (PeerRequest) as (PeerRequest),
        data: (RResult<Buffer, RString>) as (Result<Buffer, String>));
}
