//! What a session reports, as lines of `--json`: an event when something happened, a status a second.

use reef_engine::Alert;
use reef_engine::status::TorrentStatus;
use serde_json::{Value, json};

use super::text::time_left;

/// The fields of an alert; its name is [`Alert::what`].
pub(crate) fn fields(alert: &Alert) -> Value {
    let mut object = specific(alert);
    object["message"] = json!(alert.to_string());
    object
}

/// What programs can act on besides the message.
fn specific(alert: &Alert) -> Value {
    match alert {
        Alert::TorrentAdded { torrent, name }
        | Alert::TorrentRemoved { torrent, name }
        | Alert::MetadataReceived { torrent, name }
        | Alert::TorrentFinished { torrent, name } => json!({ "torrent": torrent.0, "name": name }),
        Alert::StateChanged { torrent, state } => json!({ "torrent": torrent.0, "state": state.name() }),
        Alert::MetadataFailed { torrent, error } | Alert::TorrentError { torrent, error } => {
            json!({ "torrent": torrent.0, "code": error.code.number(), "error": error.code.name() })
        }
        Alert::TorrentChecked { torrent, have, total } => json!({ "torrent": torrent.0, "have": have, "total": total }),
        Alert::TorrentPaused { torrent } | Alert::TorrentResumed { torrent } => json!({ "torrent": torrent.0 }),
        Alert::PieceFinished { torrent, piece } | Alert::HashFailed { torrent, piece } => {
            json!({ "torrent": torrent.0, "piece": piece })
        }
        Alert::FileCompleted { torrent, file } => json!({ "torrent": torrent.0, "file": file }),
        Alert::PeerConnected { torrent, address, client, .. } => {
            json!({ "torrent": torrent.0, "address": address.to_string(), "client": client })
        }
        Alert::PeerDisconnected { torrent, address, reason, .. } => {
            json!({ "torrent": torrent.map(|id| id.0), "address": address.to_string(), "reason": reason })
        }
        Alert::PeerBanned { torrent, address, reason } => {
            json!({ "torrent": torrent.0, "address": address.to_string(), "reason": reason })
        }
        Alert::TrackerReply { torrent, url, peers } => json!({ "torrent": torrent.0, "url": url, "peers": peers }),
        Alert::TrackerWarning { torrent, url, .. } => json!({ "torrent": torrent.0, "url": url }),
        Alert::TrackerError { torrent, url, fails, .. } => json!({ "torrent": torrent.0, "url": url, "fails": fails }),
        Alert::ListenSucceeded { address } | Alert::ListenFailed { address, .. } => {
            json!({ "address": address.to_string() })
        }
        Alert::AlertsDropped { count } => json!({ "count": count }),
        Alert::PluginLoaded { plugin, version } => json!({ "plugin": plugin, "version": version }),
        Alert::PluginQuarantined { plugin, reason } => json!({ "plugin": plugin, "reason": reason }),
        Alert::PluginWithdrawn { plugin } => json!({ "plugin": plugin }),
        Alert::PluginActionFailed { plugin, action, error } => {
            json!({ "plugin": plugin, "action": action, "code": error.code.number(), "error": error.code.name() })
        }
        Alert::PluginStuck { plugin, hook, seconds } => json!({ "plugin": plugin, "hook": hook, "seconds": seconds }),
        Alert::Custom(custom) => json!({
            "plugin": custom.plugin, "kind": custom.kind, "what": custom.what, "torrent": custom.torrent.map(|id| id.0),
        }),
        _ => json!({}),
    }
}

/// A torrent as it is now.
pub(crate) fn status(status: &TorrentStatus) -> Value {
    let left = status.wanted.saturating_sub(status.wanted_done);
    json!({
        "torrent": status.id.0,
        "name": status.name,
        "info_hash_v1": status.info_hashes.v1.map(|hash| hash.to_string()),
        "info_hash_v2": status.info_hashes.v2.map(|hash| hash.to_string()),
        "state": status.state.name(),
        "complete": status.complete,
        "paused": status.paused,
        "error": status.error.as_ref().map(|error| error.message.clone()),
        "progress": progress(status),
        "total_size": status.total_size,
        "wanted": status.wanted,
        "wanted_done": status.wanted_done,
        "num_pieces": status.num_pieces,
        "have_pieces": status.have_pieces,
        "download_rate": status.download_rate,
        "upload_rate": status.upload_rate,
        "downloaded": status.downloaded,
        "uploaded": status.uploaded,
        "num_peers": status.num_peers,
        "num_seeds": status.num_seeds,
        "eta": time_left(left, status.download_rate).map(|time| time.as_secs()),
    })
}

/// How much of what is wanted is there, from 0 to 1; 1 means all, whatever the rounding.
fn progress(status: &TorrentStatus) -> f64 {
    if !status.has_metadata {
        return 0.0;
    }
    if status.wanted_done >= status.wanted {
        return 1.0;
    }
    // Precise enough to show.
    #[allow(clippy::cast_precision_loss)]
    let ratio = status.wanted_done as f64 / status.wanted as f64;
    ratio.min(0.9999)
}
