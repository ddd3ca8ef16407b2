//! The BitTorrent session as one pure state machine.
//!
//! [`Session::handle`] takes one [`Input`] and changes state; [`Session::poll`] yields what the shell must do now;
//! [`Session::next_timeout`] says when to come back if nothing happens. Nothing in this crate reads a clock, asks the
//! operating system for randomness, starts a thread or touches a socket or a file, so whole swarms run in virtual time
//! and the same seed gives the same run.

#![forbid(unsafe_code)]

pub mod add_torrent;
pub mod alert;
pub mod command;
pub mod control;
pub mod counters;
pub mod disk;
pub mod error;
pub mod fields;
pub mod hooks;
mod id_map;
pub mod ids;
pub mod input;
pub mod output;
mod peer;
pub mod policy;
pub mod resume;
pub mod session;
pub mod settings;
pub mod status;
pub mod time;
mod torrent;
mod udp_tracker;
pub mod view;

pub use add_torrent::{AddTorrent, TorrentFlags};
pub use alert::Alert;
pub use command::{Command, Reply};
pub use control::{Control, Ticket};
pub use error::{ErrorCode, ErrorInfo};
pub use hooks::{Action, Actions, Hooks, NoHooks, PeerRef};
pub use ids::{ConnId, ListenerId, ReplyToken, RequestId, TorrentId};
pub use input::{CloseCause, HttpReply, Input};
pub use output::{HttpRequest, Output, StoreOp};
pub use session::{Session, SessionConfig, Unloading};
pub use settings::Settings;
pub use time::Time;
pub use torrent::sleep::Summary;
pub use view::View;
