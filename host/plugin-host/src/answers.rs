//! What the engine knows of things, as plugins read it: the answers to [`api::Query`], settings, and the fields of alerts.

use crate::statistics::Statistics;
use crate::translate::torrent_id;
use reef_engine::View;
use reef_engine::alert::Alert;
use reef_engine::fields::FieldValue;
use reef_engine::settings::{Settings, Value};
use reef_engine::status;
use reef_plugin_api as api;
use reef_plugin_api::bencode::Dict;
use reef_plugin_api::{Answer, HostError, Query, SettingValue};

/// Answers a question from what the session shows.
pub(crate) fn query(view: &View<'_>, statistics: &Statistics, query: Query) -> Result<Answer, HostError> {
    let none = HostError::NotFound;
    Ok(match query {
        Query::Session => Answer::Session(session(&view.session_status())),
        Query::Torrents => Answer::Torrents(view.torrents().into_iter().map(|id| api::TorrentId(id.0)).collect()),
        Query::Torrent(id) => Answer::Torrent(Box::new(torrent(&view.torrent_status(torrent_id(id)).ok_or(none)?))),
        Query::Peers(id) => Answer::Peers(view.peer_statuses(torrent_id(id)).ok_or(none)?.iter().map(peer).collect()),
        Query::Files(id) => Answer::Files(view.file_statuses(torrent_id(id)).ok_or(none)?.iter().map(file).collect()),
        Query::Trackers(id) => {
            Answer::Trackers(view.torrent_status(torrent_id(id)).ok_or(none)?.trackers.iter().map(tracker).collect())
        }
        Query::Pieces(id) => {
            view.torrent(torrent_id(id)).ok_or(none)?;
            let pieces = view.pieces(torrent_id(id));
            let read = |bits: reef_proto::bitfield::Bitfield| api::Pieces::from_bits(bits.to_bytes(), bits.len());
            Answer::Pieces(pieces.map(read).unwrap_or_default())
        }
        Query::Statistics => Answer::Statistics(statistics.with_own(&view.session_status().stats)),
        _ => return Err(HostError::Unsupported),
    })
}

fn session(status: &status::SessionStatus) -> api::SessionStatus {
    let mut out = api::SessionStatus::default();
    out.listening.clone_from(&status.listening);
    out.download_rate = status.download_rate;
    out.upload_rate = status.upload_rate;
    out.num_connections = status.num_connections;
    out.num_torrents = status.num_torrents;
    out
}

fn torrent(status: &status::TorrentStatus) -> api::TorrentStatus {
    let mut out = api::TorrentStatus::default();
    out.info_hash_v1 = status.info_hashes.v1.map(|hash| hash.0);
    out.info_hash_v2 = status.info_hashes.v2.map(|hash| hash.0);
    out.name.clone_from(&status.name);
    out.state = crate::translate::torrent_state(status.state);
    out.paused = status.paused;
    out.error = status.error.as_ref().map(|error| error.message.clone());
    out.error_code = status.error.as_ref().map(|error| error.code.name().to_owned());
    out.has_metadata = status.has_metadata;
    out.save_path = status.save_path.to_string_lossy().into_owned();
    out.total_size = status.total_size;
    out.wanted = status.wanted;
    out.wanted_done = status.wanted_done;
    out.total_done = status.total_done;
    out.checked_pieces = status.checked_pieces;
    out.num_pieces = status.num_pieces;
    out.have_pieces = status.have_pieces;
    out.download_rate = status.download_rate;
    out.upload_rate = status.upload_rate;
    out.downloaded = status.downloaded;
    out.uploaded = status.uploaded;
    out.failed_bytes = status.failed_bytes;
    out.wasted_bytes = status.wasted_bytes;
    out.num_peers = status.num_peers;
    out.num_seeds = status.num_seeds;
    out.known_peers = status.known_peers;
    out.active_secs = status.active_secs;
    out.seeding_secs = status.seeding_secs;
    out.complete = status.complete;
    out
}

fn peer(status: &status::PeerStatus) -> api::PeerStatus {
    let mut out = api::PeerStatus::default();
    out.key = api::PeerKey(status.conn.0);
    out.addr = Some(status.address);
    out.listen = status.listen_address;
    out.peer_id = status.handshaken.then_some(status.peer_id.0);
    out.client.clone_from(&status.client);
    out.outgoing = status.outgoing;
    out.handshaken = status.handshaken;
    out.seed = status.seed;
    out.upload_only = status.upload_only;
    out.remote_interested = status.remote_interested;
    out.remote_choking = status.remote_choking;
    out.interesting = status.interesting;
    out.choked = status.choked;
    out.snubbed = status.snubbed;
    out.source = u32::from(status.source.0);
    out.have_pieces = status.have_pieces;
    out.download_rate = status.download_rate;
    out.upload_rate = status.upload_rate;
    out.downloaded = status.downloaded;
    out.uploaded = status.uploaded;
    out.outstanding = status.outstanding;
    out.queued_bytes = status.queued_bytes;
    out
}

fn file(status: &status::FileStatus) -> api::FileStatus {
    let mut out = api::FileStatus::default();
    out.path.clone_from(&status.path);
    out.size = status.size;
    out.done = status.done;
    out.priority = u32::from(status.priority);
    out
}

fn tracker(status: &status::TrackerStatus) -> api::TrackerStatus {
    let mut out = api::TrackerStatus::default();
    out.url.clone_from(&status.url);
    out.tier = status.tier;
    out.message.clone_from(&status.message);
    out.fails = status.fails;
    out.verified = status.verified;
    out.seeds = status.seeds;
    out.leeches = status.leeches;
    out
}

/// A setting's value for a plugin.
pub(crate) fn setting(value: Value) -> SettingValue {
    match value {
        Value::Bool(value) => SettingValue::Bool(value),
        Value::Int(value) => SettingValue::Int(value),
        Value::Text(value) => SettingValue::Text(value),
    }
}

/// Settings that a plugin wants, if there are such settings with such values.
pub(crate) fn settings(wanted: &[(String, SettingValue)]) -> Result<Vec<(String, Value)>, HostError> {
    let mut trial = Settings::default();
    let mut read = Vec::with_capacity(wanted.len());
    for (name, value) in wanted {
        let value = match value {
            SettingValue::Bool(value) => Value::Bool(*value),
            SettingValue::Int(value) => Value::Int(*value),
            SettingValue::Text(value) => Value::Text(value.clone()),
            _ => return Err(HostError::BadArgument),
        };
        trial.get(name).ok_or(HostError::NotFound)?;
        trial.set(name, &value).map_err(|_| HostError::BadArgument)?;
        read.push((name.clone(), value));
    }
    Ok(read)
}

/// The fields of an alert of the session's own, as a bencoded dictionary.
pub(crate) fn alert_fields(alert: &Alert) -> Vec<u8> {
    let mut dict = Dict::new();
    for (name, value) in alert.fields() {
        match value {
            FieldValue::Int(number) => dict.int(name, number),
            FieldValue::Text(text) => dict.bytes(name, text),
        };
    }
    dict.encode()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reef_engine::status::TorrentState;
    use reef_engine::{ErrorCode, ErrorInfo, TorrentId};

    #[test]
    fn settings_are_checked_before_they_are_queued() {
        let check = |name: &str, value: SettingValue| settings(&[(name.to_owned(), value)]).map(|_| ());
        assert_eq!(check("connections_limit", 50.into()), Ok(()));
        assert_eq!(check("connections_limit", 1.into()), Err(HostError::BadArgument));
        assert_eq!(check("connections_limit", true.into()), Err(HostError::BadArgument));
        assert_eq!(check("no_such", 1.into()), Err(HostError::NotFound));
    }

    #[test]
    fn fields_of_alerts_have_their_names() {
        let fields = |alert: &Alert| String::from_utf8(alert_fields(alert)).expect("text");
        let state = Alert::StateChanged { torrent: TorrentId(3), state: TorrentState::Seeding };
        assert_eq!(fields(&state), "d5:state7:seeding7:torrenti3ee");
        let error = ErrorInfo::new(ErrorCode::NoSpace, "disk full");
        let failed = Alert::TorrentError { torrent: TorrentId(3), error };
        assert_eq!(fields(&failed), "d5:error9:disk full10:error_code8:no_space7:torrenti3ee");
        let reply = Alert::TrackerReply { torrent: TorrentId(3), url: "u".to_owned(), peers: 4 };
        assert_eq!(fields(&reply), "d5:peersi4e7:torrenti3e3:url1:ue");
    }
}
