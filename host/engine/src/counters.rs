//! Counters and gauges by name (manual: session statistics). A counter only grows; a gauge is what is now.

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident = $dotted:literal, $kind:ident;)*) => {
        /// The session's statistics.
        #[derive(Clone, PartialEq, Eq, Debug, Default)]
        pub struct Counters { $($(#[doc = $doc])+ pub $name: i64,)* }

        impl Counters {
            /// Name, kind and meaning of each, in a fixed order.
            pub const TABLE: &'static [(&'static str, Kind, &'static str)] =
                &[$(($dotted, Kind::$kind, concat!($($doc),+)),)*];

            /// Every name with its value.
            #[must_use]
            pub fn values(&self) -> Vec<(&'static str, i64)> {
                vec![$(($dotted, self.$name),)*]
            }
        }
    };
}

/// Whether a statistic only grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

counters! {
    /// Payload bytes received.
    recv_payload_bytes = "net.recv_payload_bytes", Counter;
    /// Payload bytes sent.
    sent_payload_bytes = "net.sent_payload_bytes", Counter;
    /// Bytes received from peers.
    recv_bytes = "net.recv_bytes", Counter;
    /// Bytes sent to peers.
    sent_bytes = "net.sent_bytes", Counter;
    /// Bytes received that failed their hash check.
    recv_failed_bytes = "net.recv_failed_bytes", Counter;
    /// Bytes received that were here already.
    recv_redundant_bytes = "net.recv_redundant_bytes", Counter;
    /// Connections refused because of a limit or a ban.
    incoming_refused = "peer.incoming_refused", Counter;
    /// Dials made.
    connection_attempts = "peer.connection_attempts", Counter;
    /// Connections that ended in an error of the protocol.
    error_peers = "peer.error_peers", Counter;
    /// Connections, also half-open ones.
    num_peers_connected = "peer.num_peers_connected", Gauge;
    /// Connections not yet established.
    num_peers_half_open = "peer.num_peers_half_open", Gauge;
    /// Peers we let download.
    num_peers_up_unchoked = "peer.num_peers_up_unchoked", Gauge;
    /// Pieces that passed.
    num_piece_passed = "ses.num_piece_passed", Counter;
    /// Pieces that failed.
    num_piece_failed = "ses.num_piece_failed", Counter;
    /// Peers banned.
    num_banned_peers = "ses.num_banned_peers", Counter;
    /// Torrents.
    num_torrents = "ses.num_torrents", Gauge;
    /// Blocks asked of peers.
    requests_sent = "picker.requests_sent", Counter;
    /// Blocks asked of two peers at the end.
    end_game_requests = "picker.end_game_requests", Counter;
    /// Blocks given to peers.
    blocks_uploaded = "ses.blocks_uploaded", Counter;
    /// Bytes waiting to be hashed and written.
    queued_write_bytes = "disk.queued_write_bytes", Gauge;
    /// Announces that worked.
    tracker_replies = "tracker.replies", Counter;
    /// Announces that failed.
    tracker_errors = "tracker.errors", Counter;
}
