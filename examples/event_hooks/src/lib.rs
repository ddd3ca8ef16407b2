//! Runs a command, or posts JSON to a URL, when one of the chosen alerts is posted.
//!
//! Hooks must not block, so they put what happened into a queue, and a thread of the plugin's own does the rest. The queue
//! has an end: if the commands are slower than the events, events are left out and the log says so.

use reef_plugin_api::{
    Alert, Flow, HookResult, Host, PluginError, SessionCx, SessionPlugin, Settings, bencode, export_plugin, hooks,
    spawn,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Events that may wait.
const QUEUE: usize = 256;
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The settings, `[plugins.event_hooks]` of `reef.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Rules {
    /// The alerts, by name: `torrent_finished`, `torrent_error`, … `*` is every one.
    on: Vec<String>,
    /// A program and its arguments; the event is in its environment, and as JSON in its input.
    command: Vec<String>,
    /// Where JSON is posted to; `http` alone.
    url: Option<String>,
}

/// One object for each session.
pub struct EventHooks {
    on: Vec<String>,
    queue: Option<SyncSender<Value>>,
    worker: Option<JoinHandle<()>>,
    left_out: u64,
}

#[hooks]
impl SessionPlugin for EventHooks {
    const NAME: &'static str = "event_hooks";

    fn create(host: Host, settings: &Settings) -> Result<Self, PluginError> {
        let rules: Rules = toml::from_str(settings.toml())?;
        let target = rules.url.as_deref().map(Target::parse).transpose()?;
        let (queue, events) = sync_channel(QUEUE);
        let on = rules.on.clone();
        let worker = spawn(&host, "event_hooks", move || work(&rules.command, target.as_ref(), &events))?;
        Ok(Self { on, queue: Some(queue), worker: Some(worker), left_out: 0 })
    }

    fn on_alert(&mut self, cx: &mut SessionCx<'_>, alert: &Alert<'_>) -> HookResult {
        if !self.on.iter().any(|name| name == "*" || name == alert.what()) {
            return Ok(Flow::Pass);
        }
        let torrent = alert.torrent().and_then(|torrent| cx.torrent(torrent).info().ok());
        let hash = torrent.and_then(|info| {
            let v1 = info.info_hash_v1.map(|hash| hex(&hash));
            v1.or_else(|| info.info_hash_v2.map(|hash| hex(&hash)))
        });
        let event = json!({
            "event": alert.what(),
            "kind": alert.kind(),
            "message": alert.message(),
            "info_hash": hash,
            "micros": cx.now(),
            "category": alert.category(),
            "torrent": alert.torrent().map(|torrent| torrent.0),
            "fields": fields(alert.data()),
        });
        match self.queue.as_ref().map(|queue| queue.try_send(event)) {
            Some(Err(TrySendError::Full(_))) => {
                if self.left_out == 0 {
                    log::warn!("events come faster than they can be told: some are left out");
                }
                self.left_out += 1;
            }
            _ => self.left_out = 0,
        }
        Ok(Flow::Pass)
    }

    /// The worker ends when nobody can send it anything any more.
    fn abort(&mut self, _cx: &mut SessionCx<'_>) -> HookResult {
        self.queue = None;
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
        Ok(Flow::Pass)
    }
}

export_plugin!(EventHooks);

/// An alert's fields by name. Those of other plugins' alerts may be any bencoded dictionary; what is none has no fields.
fn fields(data: &[u8]) -> Value {
    match bencode::decode(data) {
        Ok(dict) if dict.as_dict().is_some() => to_json(&dict),
        _ => json!({}),
    }
}

/// Bytes that are no text become hexadecimal. Depth and count have a bound since they were decoded.
fn to_json(value: &bencode::Value<'_>) -> Value {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).map_or_else(|_| hex(bytes), str::to_owned);
    match value.kind() {
        bencode::Kind::Int(number) => json!(number),
        bencode::Kind::Bytes(bytes) => Value::String(text(bytes)),
        bencode::Kind::List(items) => items.iter().map(to_json).collect(),
        bencode::Kind::Dict(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (text(key), to_json(value))).collect())
        }
    }
}

/// The thread: one event after the other, until there can be no more.
fn work(command: &[String], target: Option<&Target>, events: &Receiver<Value>) {
    for event in events {
        if let Err(error) = run(command, &event) {
            log::warn!("{}: {error}", command.first().map_or("the command", String::as_str));
        }
        if let Some(Err(error)) = target.map(|target| target.post(&event.to_string())) {
            log::warn!(
                "http://{}{}: {error}",
                target.map_or("", |target| &target.host),
                target.map_or("", |t| &t.path)
            );
        }
    }
}

/// Runs the command with the event in its environment and its input. Nothing of an event becomes an argument or passes a
/// shell: what a torrent is called is a stranger's choice.
fn run(command: &[String], event: &Value) -> std::io::Result<()> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let text = |key: &str| match &event[key] {
        Value::String(text) => text.replace('\0', ""),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env("REEF_EVENT", text("event"))
        .env("REEF_MESSAGE", text("message"))
        .env("REEF_INFO_HASH", text("info_hash"))
        .env("REEF_KIND", text("kind"))
        .env("REEF_CATEGORY", text("category"))
        .env("REEF_TORRENT", text("torrent"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // A command that does not read it is as good.
        let _ = writeln!(input, "{event}");
    }
    let status = child.wait()?;
    if !status.success() {
        log::warn!("{program}: {status}");
    }
    Ok(())
}

/// Where to post.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    /// Name and port.
    host: String,
    path: String,
}

impl Target {
    fn parse(url: &str) -> Result<Self, PluginError> {
        let refuse =
            || PluginError::new(format!("url = {url:?}: give one that begins with http://, such as a local relay"));
        let rest = url.strip_prefix("http://").ok_or_else(refuse)?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let sound = |text: &str| text.chars().all(|c| c.is_ascii_graphic());
        if host.is_empty() || host.contains('@') || !sound(host) || !sound(path) {
            return Err(refuse());
        }
        let host = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        Ok(Self { host, path: if path.is_empty() { "/".to_owned() } else { path.to_owned() } })
    }

    fn post(&self, body: &str) -> std::io::Result<()> {
        let address = self.host.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::NotFound)?;
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let (path, host, length) = (&self.path, &self.host, body.len());
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )?;
        // The status line is all that counts.
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        match &answer[9..10] {
            b"2" => Ok(()),
            _ => Err(std::io::Error::other(String::from_utf8_lossy(&answer).into_owned())),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_json_whatever_they_are() {
        let check = |data: &[u8], expected: Value| assert_eq!(fields(data), expected, "{}", data.escape_ascii());
        check(
            b"d4:code7:no_room4:listl1:ai7ee5:piecei-3e3:rawd1:\xff2:\x00\xffee",
            json!({
                "code": "no_room", "list": ["a", 7], "piece": -3, "raw": { "ff": "00ff" },
            }),
        );
        check(b"", json!({}));
        check(b"i7e", json!({}));
        check(b"d4:code", json!({}));
    }

    #[test]
    fn urls_name_a_host_a_port_and_a_path() {
        let check = |url: &str, expected: Option<(&str, &str)>| {
            let target = Target::parse(url).ok();
            assert_eq!(target.as_ref().map(|t| (t.host.as_str(), t.path.as_str())), expected, "{url}");
        };
        check("http://a.example", Some(("a.example:80", "/")));
        check("http://127.0.0.1:8000/hook?x=1", Some(("127.0.0.1:8000", "/hook?x=1")));
        check("https://a.example/", None);
        check("http:///x", None);
        check("http://a/x\r\nHost: b", None);
    }
}
