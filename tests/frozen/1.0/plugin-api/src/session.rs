//! The session's level: one object for each instance of a plugin.

use crate::alert::Alert;
use crate::endpoint::{Endpoint, PeerKey, TorrentId};
use crate::glue::Settings;
use crate::handle::Host;
use crate::level::define_level;
use crate::new_torrent::NewTorrent;
use crate::result::PluginError;
use crate::torrent::TorrentObj;
use abi_stable::std_types::{ROption, RSlice, RStr, RVec};
use std::net::SocketAddr;

define_level! {
    /// A plugin: one object for each session it is loaded into.
    ///
    /// All hooks of a session, on every level, run on one thread, one at a time. They must not block.
    trait SessionPlugin(SessionCx):
        /// A plugin's session object, as a host holds it.
        object SessionObj table SessionVt SessionVt_Ref glue SessionGlue bits session_bits;
    beside {
        /// The plugin's name: of its settings, of its alerts, in logs. Lower case letters, digits, `_` and `-`; at most 64 bytes.
        const NAME: &'static str;

        /// Starts an instance. `host` may be kept; actions through it are carried out once the plugin is attached.
        fn create(host: Host, settings: &Settings) -> Result<Self, PluginError>;
    } besides { create }
    /// The plugin is attached to the session; torrents that exist follow through `new_torrent`.
    [0] fn added();
    /// A torrent is added to the session, or was there before the plugin. `None`: the plugin leaves it alone.
    [1] fn new_torrent(torrent: (TorrentId) as (TorrentId)) -> (ROption<TorrentObj>) as (Option<TorrentObj>) = None;
    /// About once a second.
    [2] fn on_tick();
    /// An alert was posted.
    [3] fn on_alert(alert: (&Alert<'_>) as (&Alert<'_>));
    /// What is to be kept over a restart or a replacement, in a form of the plugin's own.
    [4] fn save_state() -> (RVec<u8>) as (Vec<u8>) = Vec::new();
    /// What `save_state` of this plugin returned, possibly that of another version. Called once, before `added`.
    [5] fn load_state(state: (RSlice<'_, u8>) as (&[u8]));
    /// The session ends or the plugin is removed: stop threads and wait for them, within a second.
    [6] fn abort();
    /// A peer that connected asks for a torrent that the session does not have, by these 20 bytes (of BEP 52's hash, the first 20). What is
    /// given is added, and the connection becomes one of its; the first plugin that gives one decides.
    [7] fn on_unknown_torrent(info_hash: (&[u8; 20]) as (&[u8; 20]), from: (Endpoint) as (SocketAddr))
        -> (RVec<u8>) as (Option<NewTorrent>) = None;
    /// How soon an interested peer is to get an optimistic unchoke: among peers that last had one equally long ago the lowest number goes
    /// first. Asked before each round, every 15 seconds or so; of several plugins the lowest counts. `None`: no opinion.
    [8] fn get_unchoke_priority(torrent: (TorrentId) as (TorrentId), peer: (PeerKey) as (PeerKey))
        -> (ROption<u64>) as (Option<u64>) = None;
    /// A DHT query (BEP 5) that is well-formed and whose token, if it has one, is right: its name, who sent it, the whole bencoded message. What
    /// is returned, a bencoded dictionary, is sent as the answer's `r` in place of the standard one; nothing leaves it. A host without a DHT never calls it.
    [9] fn on_dht_request(query: (RStr<'_>) as (&str), from: (Endpoint) as (SocketAddr), message: (RSlice<'_, u8>) as (&[u8]))
        -> (RVec<u8>) as (Vec<u8>) = Vec::new();
    /// A timer that was set with this token has run out; it is set no more.
    [10] fn on_timer(token: (u64) as (u64));
}
