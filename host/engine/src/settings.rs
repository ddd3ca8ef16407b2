//! The settings table: every name, type, default, range and meaning in one place. Documentation, `reef.toml`, the
//! command line and the plugin interface all read it from here. Names are the manual's where it has them.

use crate::error::{ErrorCode, ErrorInfo};

/// A setting's value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Text.
    Text(String),
}

/// One row of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// Its default.
    pub default: Value,
    /// Smallest and largest value of a number.
    pub range: (i64, i64),
    /// What it means, with its unit.
    pub doc: &'static str,
}

trait Field: Sized {
    fn value(&self) -> Value;
    fn from_value(v: &Value, range: (i64, i64)) -> Result<Self, String>;
}

impl Field for bool {
    fn value(&self) -> Value {
        Value::Bool(*self)
    }
    fn from_value(v: &Value, _: (i64, i64)) -> Result<Self, String> {
        match v {
            Value::Bool(b) => Ok(*b),
            _ => Err("takes true or false".to_owned()),
        }
    }
}

impl Field for i64 {
    fn value(&self) -> Value {
        Value::Int(*self)
    }
    fn from_value(v: &Value, (low, high): (i64, i64)) -> Result<Self, String> {
        match v {
            Value::Int(n) if (low..=high).contains(n) => Ok(*n),
            _ => Err(format!("takes a whole number from {low} to {high}")),
        }
    }
}

impl Field for String {
    fn value(&self) -> Value {
        Value::Text(self.clone())
    }
    fn from_value(v: &Value, _: (i64, i64)) -> Result<Self, String> {
        match v {
            Value::Text(s) if !s.chars().any(char::is_control) => Ok(s.clone()),
            _ => Err("takes text without control characters".to_owned()),
        }
    }
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $ty:ty = $default:expr, $range:expr;)*) => {
        /// The settings of a session.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct Settings { $($(#[doc = $doc])+ pub $name: $ty,)* }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($name: <$ty>::from($default),)* }
            }
        }

        impl Settings {
            /// The table, in the order of the documentation.
            #[must_use]
            pub fn table() -> Vec<Row> {
                let default = Self::default();
                vec![$(Row {
                    name: stringify!($name),
                    default: Field::value(&default.$name),
                    range: $range,
                    doc: concat!($($doc),+).trim_ascii_start(),
                },)*]
            }

            /// The value of a setting; `None` if there is none of that name.
            #[must_use]
            pub fn get(&self, name: &str) -> Option<Value> {
                match name {
                    $(stringify!($name) => Some(Field::value(&self.$name)),)*
                    _ => None,
                }
            }

            /// Changes a setting.
            ///
            /// # Errors
            /// `UnknownSetting`, or `InvalidSetting` for a wrong type or a number out of range.
            pub fn set(&mut self, name: &str, value: &Value) -> Result<(), ErrorInfo> {
                match name {
                    $(stringify!($name) => match Field::from_value(value, $range) {
                        Ok(v) => { self.$name = v; Ok(()) }
                        Err(why) => Err(ErrorInfo::new(ErrorCode::InvalidSetting, format!("setting {name} {why}"))),
                    },)*
                    _ => Err(ErrorInfo::new(ErrorCode::UnknownSetting, format!("there is no setting {name}"))),
                }
            }
        }
    };
}

const ANY: (i64, i64) = (0, 0);

settings! {
    /// How the program names itself to trackers and peers.
    user_agent: String = concat!("reef/", env!("CARGO_PKG_VERSION")), ANY;
    /// Peers connected at most, over all torrents.
    connections_limit: i64 = 200, (2, 1_000_000);
    /// Connections at most that are not yet established.
    half_open_limit: i64 = 50, (1, 100_000);
    /// Dials a second at most.
    connection_speed: i64 = 30, (1, 10_000);
    /// Accept several connections from one address.
    allow_multiple_connections_per_ip: bool = true, ANY;
    /// Bytes a second in at most, over all torrents; 0 for no limit.
    download_rate_limit: i64 = 0, (0, i64::MAX);
    /// Bytes a second out at most, over all torrents; 0 for no limit.
    upload_rate_limit: i64 = 0, (0, i64::MAX);
    /// Peers that are sent to at one time, over all torrents, besides the optimistic ones; -1 for no limit.
    unchoke_slots_limit: i64 = 8, (-1, 100_000);
    /// Optimistic slots; 0 for a fifth of the slots.
    num_optimistic_unchoke_slots: i64 = 0, (0, 100_000);
    /// Seconds between two choke rounds.
    unchoke_interval: i64 = 15, (1, 3600);
    /// Seconds between two changes of an optimistic slot.
    optimistic_unchoke_interval: i64 = 30, (1, 3600);
    /// Seconds of download that the requests made of a peer should be worth.
    request_queue_time: i64 = 3, (1, 60);
    /// Requests at most that one peer is asked to hold.
    max_out_request_queue: i64 = 500, (1, 10_000);
    /// Requests at most that one peer may have waiting here.
    max_allowed_in_request_queue: i64 = 2000, (1, 100_000);
    /// Bytes queued to a peer's socket below which more blocks are read for it.
    send_buffer_watermark: i64 = 1 << 20, (16 << 10, 1 << 30);
    /// Seconds to wait for a dialled peer to answer.
    peer_connect_timeout: i64 = 15, (1, 600);
    /// Seconds to wait for a handshake.
    handshake_timeout: i64 = 10, (1, 600);
    /// Seconds of silence after which a peer is dropped.
    peer_timeout: i64 = 120, (10, 3600);
    /// Seconds for a peer to be of no use to either side before it may be dropped for another.
    inactivity_timeout: i64 = 600, (10, 86_400);
    /// Seconds without a block after which a peer that should send one is snubbed.
    request_timeout: i64 = 60, (2, 3600);
    /// Seconds before a peer that failed is tried again, times its failures.
    min_reconnect_time: i64 = 60, (1, 86_400);
    /// Failures after which a peer is not tried again.
    max_failcount: i64 = 3, (1, 1000);
    /// Addresses kept a torrent.
    max_peerlist_size: i64 = 3000, (0, 1_000_000);
    /// Pieces offered to a choked peer (BEP 6).
    allowed_fast_set_size: i64 = 5, (0, 100);
    /// Bytes of received blocks at most that wait to be hashed and written.
    cache_size: i64 = 32 << 20, (4 << 20, 1 << 40);
    /// Pieces picked at random before the rarest come first.
    initial_picker_threshold: i64 = 4, (0, 10_000);
    /// Announce to every tier, not just the first that works.
    announce_to_all_tiers: bool = false, ANY;
    /// Announce to every tracker of a tier.
    announce_to_all_trackers: bool = false, ANY;
    /// Peers asked of a tracker.
    num_want: i64 = 200, (0, 10_000);
    /// Seconds to wait for a tracker.
    tracker_completion_timeout: i64 = 30, (1, 600);
    /// Seconds to wait for trackers when the session stops.
    stop_tracker_timeout: i64 = 3, (0, 60);
    /// Seconds at least between two announces to a tracker.
    min_announce_interval: i64 = 300, (1, 86_400);
    /// Bytes of metadata at most that are accepted from peers.
    max_metadata_size: i64 = 30 << 20, (1 << 10, 1 << 30);
    /// Seconds between two saves of resume data.
    save_resume_interval: i64 = 5, (1, 86_400);
    /// Send peers' real client name in the extension handshake (off: an empty one).
    send_client_name: bool = true, ANY;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_can_be_read_and_set_to_its_default() {
        let mut s = Settings::default();
        for row in Settings::table() {
            assert_eq!(s.get(row.name), Some(row.default.clone()));
            s.set(row.name, &row.default).unwrap();
            assert!(!row.doc.is_empty(), "{} has no documentation", row.name);
        }
    }

    #[test]
    fn a_wrong_name_type_or_number_is_refused() {
        let mut s = Settings::default();
        let check = |s: &mut Settings, name: &str, v: Value, code: ErrorCode| {
            assert_eq!(s.set(name, &v).unwrap_err().code, code, "{name}");
        };
        check(&mut s, "no_such", Value::Int(1), ErrorCode::UnknownSetting);
        check(&mut s, "connections_limit", Value::Int(1), ErrorCode::InvalidSetting);
        check(&mut s, "connections_limit", Value::Bool(true), ErrorCode::InvalidSetting);
        check(&mut s, "user_agent", Value::Text("a\r\nb".into()), ErrorCode::InvalidSetting);
        assert_eq!(s, Settings::default());
    }
}
