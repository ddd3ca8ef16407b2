//! Alerts: what happened, for whoever subscribed. Numbers and names are stable; they are encoded only at an edge.

use crate::error::ErrorInfo;
use crate::fields::{Field, FieldValue};
use crate::ids::{ConnId, TorrentId};
use crate::status::TorrentState;
use std::fmt;
use std::net::SocketAddr;

/// Categories of alerts, as bits (manual: alert::category_t).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Category(pub u32);

impl Category {
    /// Something failed.
    pub const ERROR: Self = Self(0x1);
    /// Peers come, go and misbehave.
    pub const PEER: Self = Self(0x2);
    /// Storage.
    pub const STORAGE: Self = Self(0x8);
    /// Trackers.
    pub const TRACKER: Self = Self(0x10);
    /// A torrent's life.
    pub const STATUS: Self = Self(0x40);
    /// Pieces and files as they complete.
    pub const PROGRESS: Self = Self(0x80);
    /// Peers that were banned or blocked.
    pub const IP_BLOCK: Self = Self(0x100);
    /// Plugins.
    pub const PLUGIN: Self = Self(0x1000_0000);
    /// Everything.
    pub const ALL: Self = Self(u32::MAX);
}

/// An alert that a plugin posts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CustomAlert {
    /// Which plugin.
    pub plugin: String,
    /// Its number; at least [`Alert::USER_ALERT_ID`].
    pub kind: u32,
    /// Category bits.
    pub category: u32,
    /// The torrent it is about.
    pub torrent: Option<TorrentId>,
    /// Its name.
    pub what: String,
    /// One line for people.
    pub message: String,
    /// A bencoded dictionary of fields.
    pub data: Vec<u8>,
}

macro_rules! alerts {
    ($($(#[$doc:meta])* $variant:ident { $($(#[$fdoc:meta])* $field:ident: $ty:ty,)* } = $number:literal, $name:literal, $category:ident, |$a:pat_param| $text:expr;)*) => {
        /// One thing that happened.
        #[derive(Clone, PartialEq, Debug)]
        #[non_exhaustive]
        pub enum Alert {
            $($(#[$doc])* $variant { $($(#[$fdoc])* $field: $ty,)* },)*
            /// A plugin's own.
            Custom(CustomAlert),
        }

        impl Alert {
            /// Plugins' numbers begin here.
            pub const USER_ALERT_ID: u32 = 10_000;

            /// Number, name and category of each built-in alert.
            pub const TABLE: &'static [(u32, &'static str, Category)] = &[$(($number, $name, Category::$category),)*];

            /// The stable number.
            #[must_use]
            pub const fn number(&self) -> u32 {
                match self { $(Self::$variant { .. } => $number,)* Self::Custom(c) => c.kind }
            }

            /// The stable name.
            #[must_use]
            pub fn what(&self) -> &str {
                match self { $(Self::$variant { .. } => $name,)* Self::Custom(c) => &c.what }
            }

            /// The category's bits.
            #[must_use]
            pub const fn category(&self) -> u32 {
                match self { $(Self::$variant { .. } => Category::$category.0,)* Self::Custom(c) => c.category }
            }

            /// Its fields by name, in the order of the table. A plugin's own alert has its in [`CustomAlert::data`].
            #[must_use]
            pub fn fields(&self) -> Vec<(String, FieldValue)> {
                let mut fields = Vec::new();
                match self {
                    $(Self::$variant { $($field,)* } => { $($field.put(stringify!($field), &mut fields);)* })*
                    Self::Custom(_) => (),
                }
                fields
            }
        }

        impl fmt::Display for Alert {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant { $($field,)* } => { let $a = ($($field,)*); f.write_str(&$text) })*
                    Self::Custom(c) => f.write_str(&c.message),
                }
            }
        }
    };
}

alerts! {
    /// A torrent was added.
    TorrentAdded {
        /// Its key.
        torrent: TorrentId,
        /// Its name.
        name: String,
    } = 1, "torrent_added", STATUS, |(_, name)| format!("{name}: added");
    /// A torrent was removed.
    TorrentRemoved {
        /// Its key.
        torrent: TorrentId,
        /// Its name.
        name: String,
    } = 2, "torrent_removed", STATUS, |(_, name)| format!("{name}: removed");
    /// A torrent's state changed.
    StateChanged {
        /// The torrent.
        torrent: TorrentId,
        /// The new state.
        state: TorrentState,
    } = 3, "state_changed", STATUS, |(t, state)| format!("torrent {t}: {}", state.name());
    /// A torrent's metadata became known.
    MetadataReceived {
        /// The torrent.
        torrent: TorrentId,
        /// Its name.
        name: String,
    } = 4, "metadata_received", STATUS, |(_, name)| format!("{name}: metadata received");
    /// Metadata was offered that is wrong or does not parse.
    MetadataFailed {
        /// The torrent.
        torrent: TorrentId,
        /// Why.
        error: ErrorInfo,
    } = 5, "metadata_failed", ERROR, |(_, error)| format!("metadata refused: {error}");
    /// A torrent's files were checked.
    TorrentChecked {
        /// The torrent.
        torrent: TorrentId,
        /// Pieces found to be right.
        have: u32,
        /// Pieces in all.
        total: u32,
    } = 6, "torrent_checked", STATUS, |(_, have, total)| format!("checked: {have} of {total} pieces are there");
    /// Everything wanted of a torrent is verified and in its files.
    TorrentFinished {
        /// The torrent.
        torrent: TorrentId,
        /// Its name.
        name: String,
    } = 7, "torrent_finished", STATUS, |(_, name)| format!("{name}: complete");
    /// A torrent stopped because of an error.
    TorrentError {
        /// The torrent.
        torrent: TorrentId,
        /// Why.
        error: ErrorInfo,
    } = 8, "torrent_error", ERROR, |(_, error)| error.to_string();
    /// A torrent was paused.
    TorrentPaused {
        /// The torrent.
        torrent: TorrentId,
    } = 9, "torrent_paused", STATUS, |(t,)| format!("torrent {t}: paused");
    /// A torrent was resumed.
    TorrentResumed {
        /// The torrent.
        torrent: TorrentId,
    } = 10, "torrent_resumed", STATUS, |(t,)| format!("torrent {t}: resumed");
    /// A piece passed its hash check and is written.
    PieceFinished {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: u32,
    } = 11, "piece_finished", PROGRESS, |(t, piece)| format!("torrent {t}: piece {piece} finished");
    /// A piece failed its hash check.
    HashFailed {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: u32,
    } = 12, "hash_failed", STATUS, |(t, piece)| format!("torrent {t}: piece {piece} failed its hash check");
    /// Every piece of a file is there.
    FileCompleted {
        /// The torrent.
        torrent: TorrentId,
        /// The file's index.
        file: u32,
    } = 13, "file_completed", PROGRESS, |(t, file)| format!("torrent {t}: file {file} completed");
    /// A peer's handshake is done.
    PeerConnected {
        /// The torrent.
        torrent: TorrentId,
        /// The connection.
        conn: ConnId,
        /// Its address.
        address: SocketAddr,
        /// What program it says it is.
        client: String,
    } = 14, "peer_connected", PEER, |(_, _, address, client)| format!("{address} ({client}): connected");
    /// A connection ended.
    PeerDisconnected {
        /// The torrent, if it got that far.
        torrent: Option<TorrentId>,
        /// The connection.
        conn: ConnId,
        /// Its address.
        address: SocketAddr,
        /// Why.
        reason: String,
    } = 15, "peer_disconnected", PEER, |(_, _, address, reason)| format!("{address}: disconnected: {reason}");
    /// A peer was banned.
    PeerBanned {
        /// The torrent.
        torrent: TorrentId,
        /// Its address.
        address: SocketAddr,
        /// Why.
        reason: String,
    } = 16, "peer_ban", IP_BLOCK, |(_, address, reason)| format!("{address}: banned: {reason}");
    /// A tracker answered.
    TrackerReply {
        /// The torrent.
        torrent: TorrentId,
        /// The tracker.
        url: String,
        /// How many peers it named.
        peers: u32,
    } = 17, "tracker_reply", TRACKER, |(_, url, peers)| format!("{url}: {peers} peers");
    /// A tracker answered with a warning.
    TrackerWarning {
        /// The torrent.
        torrent: TorrentId,
        /// The tracker.
        url: String,
        /// Its words.
        message: String,
    } = 18, "tracker_warning", TRACKER, |(_, url, message)| format!("{url}: {message}");
    /// A tracker failed.
    TrackerError {
        /// The torrent.
        torrent: TorrentId,
        /// The tracker.
        url: String,
        /// Its words, or why it could not be reached.
        message: String,
        /// Failures since the last success.
        fails: u32,
    } = 19, "tracker_error", TRACKER, |(_, url, message, _)| format!("{url}: {message}");
    /// Peers can reach us here.
    ListenSucceeded {
        /// The address.
        address: SocketAddr,
    } = 20, "listen_succeeded", STATUS, |(address,)| format!("listening on {address}");
    /// A listening socket could not be opened.
    ListenFailed {
        /// The address.
        address: SocketAddr,
        /// The operating system's text.
        message: String,
    } = 21, "listen_failed", ERROR, |(address, message)| format!("{address}: {message}");
    /// A subscriber was too slow; this many alerts were left out for it.
    AlertsDropped {
        /// How many.
        count: u64,
    } = 22, "alerts_dropped", ERROR, |(count,)| format!("{count} alerts were left out");
    /// A plugin was loaded.
    PluginLoaded {
        /// Its name.
        plugin: String,
        /// Its version.
        version: String,
    } = 23, "plugin_loaded", PLUGIN, |(plugin, version)| format!("plugin {plugin} {version} loaded");
    /// A plugin was quarantined.
    PluginQuarantined {
        /// Its name.
        plugin: String,
        /// Why.
        reason: String,
    } = 24, "plugin_quarantined", PLUGIN, |(plugin, reason)| format!("plugin {plugin} quarantined: {reason}");
    /// A plugin was taken out.
    PluginWithdrawn {
        /// Its name.
        plugin: String,
    } = 25, "plugin_withdrawn", PLUGIN, |(plugin,)| format!("plugin {plugin} withdrawn");
    /// A plugin's hook has not returned, and the session waits for it.
    PluginStuck {
        /// The plugin's name.
        plugin: String,
        /// The hook's name.
        hook: String,
        /// For how many seconds at least.
        seconds: u64,
    } = 26, "plugin_stuck", PLUGIN, |(plugin, hook, seconds)| {
        format!("plugin {plugin} has not returned from {hook} for {seconds} s: nothing else moves until it does")
    };
    /// Something that a plugin asked for could not be done.
    PluginActionFailed {
        /// The plugin's name.
        plugin: String,
        /// What it asked for.
        action: String,
        /// Why not.
        error: ErrorInfo,
    } = 27, "plugin_action_failed", PLUGIN, |(plugin, action, error)| format!("plugin {plugin}: {action}: {error}");
}
