//! A BitTorrent engine that hosts plugins: the shell around [`reef_engine`], as a library.
//!
//! The shell moves bytes and understands nothing: sockets, timers, files, names and HTTP are here, everything that
//! BitTorrent means is in the engine. [`Session`] is the way in.

pub mod disk;
mod http;
pub mod lanes;
mod net;
pub mod plugin_watch;
pub mod plugins;
mod resolve;
pub mod rt;
pub mod session;
pub mod store;
mod workers;

pub use net::ListenError;
pub use plugin_watch::PluginWatch;
pub use plugins::Plugins;
pub use session::{AlertStream, ChangeError, Config, NextAlert, PendingReply, Session, StartError};
