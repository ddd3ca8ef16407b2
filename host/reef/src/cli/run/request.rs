//! What a line asks for, and what is done for it: at once where the command is read, and later where its answer is
//! waited for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use reef::rt::block_on;
use reef::session::{PendingReply, Session};
use reef_engine::settings::Value as Setting;
use reef_engine::{Command, TorrentId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::add::{Add, Defaults};
use super::answer::{self, Refusal};
use super::feed::{self, Feed};
use super::{Fields, lock, wait};

/// A line that was read.
pub(super) struct Request {
    id: Option<Value>,
    order: Result<Order, String>,
}

/// The commands. `docs/run.md` says what each is for.
#[derive(Deserialize, Debug)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
enum Order {
    Add(Box<Add>),
    Remove {
        torrent: u64,
        #[serde(default)]
        delete_files: bool,
    },
    Pause {
        torrent: u64,
    },
    Resume {
        torrent: u64,
    },
    Recheck {
        torrent: u64,
    },
    Announce {
        torrent: u64,
    },
    AddPeer {
        torrent: u64,
        address: SocketAddr,
    },
    SetFiles {
        torrent: u64,
        priorities: Vec<(u32, u8)>,
    },
    Status {
        torrent: Option<u64>,
    },
    Files {
        torrent: u64,
    },
    Peers {
        torrent: u64,
    },
    Stats {},
    Set {
        settings: BTreeMap<String, Value>,
    },
    Plugins {},
    Subscribe {
        categories: Option<Vec<String>>,
    },
    Unsubscribe {},
    Stop {},
}

/// Names of the commands, for those who mistype one.
const NAMES: [&str; 17] = [
    "add",
    "remove",
    "pause",
    "resume",
    "recheck",
    "announce",
    "add_peer",
    "set_files",
    "status",
    "files",
    "peers",
    "stats",
    "set",
    "plugins",
    "subscribe",
    "unsubscribe",
    "stop",
];

/// What a command does beside its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// Nothing.
    Look,
    /// It changes what is kept: the answer waits until it is stored.
    Change,
    /// It ends the session.
    Stop,
}

/// A command under way.
pub(super) struct Task {
    id: Option<Value>,
    effect: Effect,
    state: State,
}

enum State {
    /// It cannot be done.
    Refused(Refusal),
    /// The session has it.
    Asked(PendingReply),
    /// It is done where the answers are given.
    Local(Local),
}

enum Local {
    Plugins,
    Subscribe(u32),
    Unsubscribe,
    Stop,
}

impl Request {
    /// Reads a line.
    pub(super) fn read(line: &[u8]) -> Self {
        let mut value: Value = match serde_json::from_slice(line) {
            Ok(value) => value,
            Err(error) => return Self { id: None, order: Err(format!("this is no JSON: {error}")) },
        };
        let Some(object) = value.as_object_mut() else {
            return Self { id: None, order: Err("a command is a JSON object".to_owned()) };
        };
        let id = object.remove("id");
        let order = match object.get("command") {
            None => Err("the object has no \"command\"".to_owned()),
            Some(Value::String(name)) if !NAMES.contains(&name.as_str()) => Err(unknown(name)),
            Some(Value::String(name)) => {
                let name = name.clone();
                serde_json::from_value(value).map_err(|error| format!("{name}: {error}"))
            }
            Some(_) => Err("\"command\" is not a text".to_owned()),
        };
        Self { id, order }
    }

    /// Gives the session what it has to do.
    pub(super) fn begin(self, session: &Session, defaults: &Defaults) -> Task {
        let (effect, state) = match self.order {
            Ok(order) => order.begin(session, defaults),
            Err(why) => (Effect::Look, State::Refused(Refusal::new(why))),
        };
        Task { id: self.id, effect, state }
    }
}

fn unknown(name: &str) -> String {
    let nearest = NAMES.iter().max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
    let shown = super::super::text::shorten(name, 60);
    format!("there is no command {shown:?}; the nearest is {:?}", nearest.unwrap_or(&""))
}

impl Order {
    fn begin(self, session: &Session, defaults: &Defaults) -> (Effect, State) {
        let ask = |effect, command| (effect, State::Asked(session.submit(command)));
        let refuse = |why: String| (Effect::Look, State::Refused(Refusal::new(why)));
        let local = |what| (Effect::Look, State::Local(what));
        match self {
            Self::Add(add) => match add.torrent(defaults) {
                Ok(torrent) => ask(Effect::Change, Command::AddTorrent(Box::new(torrent))),
                Err(failure) => refuse(failure.to_string()),
            },
            Self::Remove { torrent, delete_files } => {
                ask(Effect::Change, Command::RemoveTorrent { torrent: TorrentId(torrent), delete_files })
            }
            Self::Pause { torrent } => ask(Effect::Change, Command::Pause(TorrentId(torrent))),
            Self::Resume { torrent } => ask(Effect::Change, Command::Resume(TorrentId(torrent))),
            Self::Recheck { torrent } => ask(Effect::Look, Command::Recheck(TorrentId(torrent))),
            Self::Announce { torrent } => ask(Effect::Look, Command::Announce(TorrentId(torrent))),
            Self::AddPeer { torrent, address } => {
                ask(Effect::Look, Command::AddPeer { torrent: TorrentId(torrent), address })
            }
            Self::SetFiles { torrent, priorities } => {
                ask(Effect::Change, Command::SetFilePriorities { torrent: TorrentId(torrent), priorities })
            }
            Self::Status { torrent: Some(torrent) } => ask(Effect::Look, Command::TorrentStatus(TorrentId(torrent))),
            Self::Status { torrent: None } => ask(Effect::Look, Command::AllTorrents),
            Self::Files { torrent } => ask(Effect::Look, Command::Files(TorrentId(torrent))),
            Self::Peers { torrent } => ask(Effect::Look, Command::Peers(TorrentId(torrent))),
            Self::Stats {} => ask(Effect::Look, Command::SessionStatus),
            Self::Set { settings } => match settings.into_iter().map(setting).collect() {
                Ok(settings) => ask(Effect::Look, Command::SetSettings(settings)),
                Err(why) => refuse(why),
            },
            Self::Plugins {} => local(Local::Plugins),
            Self::Subscribe { categories } => match feed::mask(categories.as_deref()) {
                Ok(mask) => local(Local::Subscribe(mask)),
                Err(why) => refuse(why),
            },
            Self::Unsubscribe {} => local(Local::Unsubscribe),
            Self::Stop {} => (Effect::Stop, State::Local(Local::Stop)),
        }
    }
}

fn setting((name, value): (String, Value)) -> Result<(String, Setting), String> {
    let value = match value {
        Value::Bool(yes) => Setting::Bool(yes),
        Value::Number(number) => {
            Setting::Int(number.as_i64().ok_or_else(|| format!("setting {name} takes a whole number"))?)
        }
        Value::String(text) => Setting::Text(text),
        _ => return Err(format!("setting {name} takes a number, a text, true or false")),
    };
    Ok((name, value))
}

impl Task {
    /// A line that is no command.
    pub(super) fn refused(id: Option<Value>, why: &str) -> Self {
        Self { id, effect: Effect::Look, state: State::Refused(Refusal::new(why)) }
    }

    /// Waits for what becomes of it.
    pub(super) fn finish(self, session: &Arc<Session>, feed: &Arc<Mutex<Feed>>) -> (Option<Value>, Fields, Effect) {
        let fields = match self.state {
            State::Refused(why) => Err(why),
            State::Asked(reply) => wait(reply).map(answer::fields),
            State::Local(Local::Plugins) => {
                let plugins = block_on(session.plugins());
                Ok(json!({ "plugins": plugins.iter().map(answer::plugin).collect::<Vec<_>>() }))
            }
            State::Local(Local::Subscribe(mask)) => match lock(feed).subscribe(session, mask) {
                Ok(()) => Ok(json!({})),
                Err(failure) => Err(Refusal::new(failure.to_string())),
            },
            State::Local(Local::Unsubscribe) => {
                lock(feed).end();
                Ok(json!({}))
            }
            State::Local(Local::Stop) => Ok(json!({})),
        };
        (self.id, fields, self.effect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, id: Option<Value>, expected: &str) {
        let request = Request::read(line.as_bytes());
        assert_eq!(request.id, id, "{line}");
        let error = request.order.map(|order| format!("{order:?}")).unwrap_or_else(|error| error);
        assert!(error.contains(expected), "{line}: {error}");
    }

    #[test]
    fn what_is_no_command_is_one_clear_error() {
        check("{", None, "this is no JSON");
        check("[1]", None, "a command is a JSON object");
        check(r#"{"id":7}"#, Some(json!(7)), "has no \"command\"");
        check(r#"{"id":"x","command":3}"#, Some(json!("x")), "\"command\" is not a text");
        check(r#"{"command":"ad"}"#, None, "there is no command \"ad\"; the nearest is \"add\"");
        check(r#"{"command":"pause"}"#, None, "pause: missing field `torrent`");
        check(r#"{"command":"pause","torrent":1,"x":2}"#, None, "unknown field `x`");
        check(r#"{"command":"add_peer","torrent":1,"address":"nowhere"}"#, None, "add_peer: ");
        check(&format!("{}1{}", "[".repeat(300), "]".repeat(300)), None, "this is no JSON: recursion limit");
        let long = "x".repeat(5000);
        check(&format!(r#"{{"command":"{long}"}}"#), None, "there is no command \"xxx");
        assert!(Request::read(format!(r#"{{"command":"{long}"}}"#).as_bytes()).order.unwrap_err().len() < 300);
    }

    #[test]
    fn every_command_is_known_by_its_name() {
        for name in NAMES {
            let request = Request::read(json!({ "command": name }).to_string().as_bytes());
            // It may lack something, but it is known.
            let error = request.order.err().unwrap_or_default();
            assert!(!error.contains("there is no command") && !error.contains("unknown variant"), "{name}: {error}");
        }
    }
}
