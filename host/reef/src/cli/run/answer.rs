//! What is said back: `{"id": …, "ok": true, …}`, or `{"id": …, "ok": false, "error": …, "code": …}`.

use reef_engine::status::{FileStatus, PeerStatus, SessionStatus};
use reef_engine::{ErrorInfo, Reply};
use reef_plugin_host::{PluginInfo, PluginState};
use serde_json::{Map, Value, json};

use super::super::events;
use super::Fields;

/// Why a command was not carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    message: String,
    code: &'static str,
}

impl Refusal {
    /// One that has no code of the session's.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: "refused" }
    }
}

impl From<ErrorInfo> for Refusal {
    fn from(error: ErrorInfo) -> Self {
        Self { code: error.code.name(), message: error.message }
    }
}

/// The answer to a command.
pub(super) fn line(id: Option<&Value>, outcome: Fields) -> Value {
    let mut answer = Map::new();
    if let Some(id) = id {
        answer.insert("id".to_owned(), id.clone());
    }
    answer.insert("ok".to_owned(), outcome.is_ok().into());
    match outcome {
        Ok(Value::Object(fields)) => answer.extend(fields),
        Ok(_) => {}
        Err(Refusal { message, code }) => {
            answer.insert("error".to_owned(), message.into());
            answer.insert("code".to_owned(), code.into());
        }
    }
    Value::Object(answer)
}

/// What the session replied.
pub(super) fn fields(reply: Reply) -> Value {
    match reply {
        Reply::Added(id) => json!({ "torrent": id.0 }),
        Reply::Torrent(status) => json!({ "status": events::status(&status) }),
        Reply::Torrents(all) => json!({ "torrents": all.iter().map(events::status).collect::<Vec<_>>() }),
        Reply::Peers(peers) => json!({ "peers": peers.iter().map(peer).collect::<Vec<_>>() }),
        Reply::Files(files) => json!({ "files": files.iter().map(file).collect::<Vec<_>>() }),
        Reply::Session(status) => session(&status),
        _ => json!({}),
    }
}

fn session(status: &SessionStatus) -> Value {
    let stats: Map<String, Value> = status.stats.iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
    json!({
        "num_torrents": status.num_torrents,
        "num_connections": status.num_connections,
        "download_rate": status.download_rate,
        "upload_rate": status.upload_rate,
        "listening": status.listening.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "stats": stats,
    })
}

fn peer(peer: &PeerStatus) -> Value {
    json!({
        "address": peer.address.to_string(),
        "client": peer.client,
        "outgoing": peer.outgoing,
        "connected": peer.handshaken,
        "seed": peer.seed,
        "have_pieces": peer.have_pieces,
        "download_rate": peer.download_rate,
        "upload_rate": peer.upload_rate,
        "downloaded": peer.downloaded,
        "uploaded": peer.uploaded,
    })
}

fn file(file: &FileStatus) -> Value {
    json!({ "path": file.path, "size": file.size, "done": file.done, "priority": file.priority })
}

/// A plugin as it is now.
pub(super) fn plugin(plugin: &PluginInfo) -> Value {
    let quarantined = match &plugin.state {
        PluginState::Quarantined { reason } => Some(reason),
        _ => None,
    };
    json!({ "name": plugin.name, "version": plugin.version, "quarantined": quarantined })
}
