//! The stable interface between reef and its plugins.
//!
//! An author implements [`SessionPlugin`], [`TorrentPlugin`] and [`PeerPlugin`], marks each impl with
//! [`#[hooks]`](hooks) and writes [`export_plugin!`]. Everything else here is what those hooks may use: the contexts
//! ([`SessionCx`], [`TorrentCx`], [`PeerCx`]), the thread-safe [`Host`] handle, and plain values.
//!
//! ```
//! use reef_plugin_api::{
//!     export_plugin, hooks, HandshakeEntries, HookResult, Flow, Host, PeerCx, PeerObj, PeerPlugin, PluginError,
//!     SessionCx, SessionPlugin, Settings, TorrentCx, TorrentObj, TorrentPlugin,
//! };
//!
//! struct Hello;
//! struct HelloTorrent;
//! struct HelloPeer;
//!
//! #[hooks]
//! impl SessionPlugin for Hello {
//!     const NAME: &'static str = "hello";
//!     fn create(_host: Host, _settings: &Settings) -> Result<Self, PluginError> { Ok(Hello) }
//!     fn new_torrent(&mut self, _cx: &mut SessionCx<'_>, _torrent: reef_plugin_api::TorrentId)
//!         -> Result<Option<TorrentObj>, PluginError> { Ok(Some(TorrentObj::new(HelloTorrent))) }
//! }
//! #[hooks]
//! impl TorrentPlugin for HelloTorrent {
//!     fn new_connection(&mut self, _cx: &mut TorrentCx<'_>, _peer: reef_plugin_api::PeerKey)
//!         -> Result<Option<PeerObj>, PluginError> { Ok(Some(PeerObj::new(HelloPeer))) }
//! }
//! #[hooks]
//! impl PeerPlugin for HelloPeer {
//!     fn add_handshake(&mut self, _cx: &mut PeerCx<'_>, entries: &mut HandshakeEntries) -> HookResult {
//!         entries.extension("x_hello");
//!         Ok(Flow::Pass)
//!     }
//!     fn on_extended(&mut self, cx: &mut PeerCx<'_>, name: &str, payload: &[u8]) -> HookResult {
//!         log::info!("{} bytes from {:?}", payload.len(), cx.info()?.addr);
//!         cx.send_extended(name, b"hello to you")?;
//!         Ok(Flow::Handled)
//!     }
//! }
//! export_plugin!(Hello);
//! # fn main() {}
//! ```
//!
//! What crosses the boundary is described in `docs/plugin-abi.md`. This crate must never let a type of abi_stable into an
//! author's signature, never let a panic cross, and never change what is there: tables grow at their end.

// abi_stable's derives name generated types and items in their own way.
#![allow(non_camel_case_types, non_local_definitions, clippy::undocumented_unsafe_blocks)]

// `#[hooks]` and `export_plugin!` name this crate by its name, in its own tests too.
extern crate self as reef_plugin_api;

mod alert;
mod at_work;
pub mod bencode;
mod buffer;
mod calls;
mod context;
mod control;
mod endpoint;
mod export;
mod glue;
mod handle;
mod handshake;
#[cfg(feature = "host")]
pub mod host;
mod info;
#[cfg(test)]
mod layout;
mod level;
mod logger;
pub mod manifest;
mod new_torrent;
mod peer;
mod query;
mod records;
#[cfg(feature = "host")]
mod remote;
mod result;
mod session;
mod session_view;
mod setting;
mod status;
mod table;
pub mod testing;
mod torrent;
mod torrent_calls;
#[cfg(feature = "host")]
mod wire;

pub use alert::Alert;
pub use buffer::Buffer;
pub use calls::{HostCalls, LogLine, NewStatistic};
pub use context::{Peer, PeerCx, SessionCx, Torrent, TorrentCx};
pub use control::{Choking, Files, StatisticKind};
pub use endpoint::{BlockSender, PeerKey, PeerRequest, Sender, TorrentId, add_peer_flags, pex_flags, source};
pub use glue::Settings;
pub use handle::{Host, spawn};
pub use handshake::HandshakeEntries;
pub use info::{PeerInfo, TorrentFlags, TorrentInfo, TorrentState};
pub use new_torrent::NewTorrent;
pub use peer::{PeerObj, PeerPlugin};
pub use query::{Answer, Query};
pub use reef_plugin_macros::hooks;
pub use result::{Flow, HookResult, HostError, Outcome, PluginError};
pub use session::{SessionObj, SessionPlugin};
pub use session_view::{Counter, Gauge, Session};
pub use setting::SettingValue;
pub use status::{FileStatus, PeerStatus, Pieces, SessionStatus, Statistic, TorrentStatus, TrackerStatus};
pub use table::Call;
pub use torrent::{TorrentObj, TorrentPlugin};

/// First number of the interface's version: a host and a plugin must have the same.
pub const API_MAJOR: u32 = 1;
/// Second number of the interface's version: grows when something is appended.
pub const API_MINOR: u32 = 0;

/// The bit of each hook in a plugin object's mask, by trait and method. Used by `#[hooks]` and by hosts.
#[allow(non_snake_case)]
pub mod bits {
    pub use crate::peer::peer_bits as PeerPlugin;
    pub use crate::session::session_bits as SessionPlugin;
    pub use crate::torrent::torrent_bits as TorrentPlugin;
}

/// What `export_plugin!` expands to needs; no part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::export::{Exported, Header, PluginRoot, PluginRoot_Ref, header};
    pub use crate::table::RawHandle;
}
