//! Lets the people behind peers talk to each other, in an extension message of their own (BEP 10).
//!
//! Whoever connects to the plugin's port (with `nc`, say) sees what peers say, and each line typed there goes to every peer that
//! has the plugin too. Threads wait for lines; hooks only pass on what is there.

use reef_plugin_api::{
    Alert, Flow, HandshakeEntries, HookResult, Host, PeerCx, PeerKey, PeerObj, PeerPlugin, PluginError, SessionCx,
    SessionPlugin, Settings, TorrentCx, TorrentId, TorrentObj, TorrentPlugin, export_plugin, hooks, spawn,
};
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The extension message's name.
const MESSAGE: &str = "x_chat";
/// The most bytes of a line.
const MAX_LINE: usize = 1000;
/// The most lines that a peer may say in a second.
const MAX_A_SECOND: u32 = 5;
/// The most people at the port.
const MAX_LISTENERS: usize = 16;
/// The number of the alert that has a line.
pub const SAID: u32 = Alert::USER_KIND + 1;

/// One object for each session.
pub struct Chat {
    room: Arc<Room>,
    door: Option<(SocketAddr, JoinHandle<()>)>,
}

/// What threads and hooks share.
#[derive(Default)]
struct Room(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    /// The peers that have the plugin.
    peers: BTreeSet<(TorrentId, PeerKey)>,
    /// The people at the port.
    listeners: Vec<TcpStream>,
    closed: bool,
}

impl Room {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a line to everybody at the port. Who does not read it in time is shown out: a hook must not wait.
    fn show(&self, line: &str) {
        self.inside().listeners.retain(|mut stream| writeln!(stream, "{line}").is_ok());
    }

    /// Says a line to every peer.
    fn say(&self, host: &Host, line: &str) {
        let peers = self.inside().peers.clone();
        for (torrent, peer) in peers {
            // One that has just left is none.
            let _ = host.torrent(torrent).peer(peer).send_extended(MESSAGE, line.as_bytes());
        }
    }
}

#[hooks]
impl SessionPlugin for Chat {
    const NAME: &'static str = "chat";

    fn create(host: Host, settings: &Settings) -> Result<Self, PluginError> {
        let room = Arc::<Room>::default();
        let door = match listen_address(settings.toml())? {
            Some(address) => Some(open_door(&host, address, room.clone())?),
            None => None,
        };
        Ok(Self { room, door })
    }

    fn new_torrent(&mut self, _cx: &mut SessionCx<'_>, _torrent: TorrentId) -> Result<Option<TorrentObj>, PluginError> {
        Ok(Some(TorrentObj::new(ChatTorrent { room: self.room.clone() })))
    }

    /// The threads wait in `accept` and `read`: both are ended from outside.
    fn abort(&mut self, _cx: &mut SessionCx<'_>) -> HookResult {
        let mut inside = self.room.inside();
        inside.closed = true;
        for stream in inside.listeners.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(inside);
        if let Some((address, thread)) = self.door.take() {
            let _ = TcpStream::connect_timeout(&address, Duration::from_millis(200));
            let _ = thread.join();
        }
        Ok(Flow::Pass)
    }
}

/// One object for each torrent.
struct ChatTorrent {
    room: Arc<Room>,
}

#[hooks]
impl TorrentPlugin for ChatTorrent {
    fn new_connection(&mut self, cx: &mut TorrentCx<'_>, peer: PeerKey) -> Result<Option<PeerObj>, PluginError> {
        Ok(Some(PeerObj::new(ChatPeer { room: self.room.clone(), key: (cx.id(), peer), heard: 0 })))
    }
}

/// One object for each connection.
struct ChatPeer {
    room: Arc<Room>,
    key: (TorrentId, PeerKey),
    /// Lines in this second.
    heard: u32,
}

#[hooks]
impl PeerPlugin for ChatPeer {
    fn add_handshake(&mut self, _cx: &mut PeerCx<'_>, entries: &mut HandshakeEntries) -> HookResult {
        entries.extension(MESSAGE);
        Ok(Flow::Pass)
    }

    fn on_extension_handshake(&mut self, cx: &mut PeerCx<'_>, _dict: &[u8]) -> HookResult {
        match cx.supports(MESSAGE) {
            true => self.room.inside().peers.insert(self.key),
            false => self.room.inside().peers.remove(&self.key),
        };
        Ok(Flow::Pass)
    }

    fn on_extended(&mut self, cx: &mut PeerCx<'_>, _name: &str, payload: &[u8]) -> HookResult {
        if payload.len() > MAX_LINE {
            return Err(PluginError::new(format!("a line of {} bytes", payload.len())));
        }
        self.heard += 1;
        if self.heard > MAX_A_SECOND {
            return Ok(Flow::Handled);
        }
        let line = format!("{}: {}", cx.info()?.addr, harmless(payload));
        self.room.show(&line);
        cx.post_alert(&Alert::new(SAID, 1, "chat", &line).with_torrent(self.key.0))?;
        Ok(Flow::Handled)
    }

    fn tick(&mut self, _cx: &mut PeerCx<'_>) -> HookResult {
        self.heard = 0;
        Ok(Flow::Pass)
    }
}

impl Drop for ChatPeer {
    fn drop(&mut self) {
        self.room.inside().peers.remove(&self.key);
    }
}

export_plugin!(Chat);

/// A stranger's text without what a terminal would act on.
fn harmless(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The setting `listen`; without it, lines come as alerts alone.
fn listen_address(settings: &str) -> Result<Option<SocketAddr>, PluginError> {
    let mut table: toml::Table = settings.parse()?;
    let address = match table.remove("listen") {
        None => None,
        Some(toml::Value::String(text)) => match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Some(address),
            Ok(_) => return Err(PluginError::new("listen: whoever reaches it speaks in your name; use 127.0.0.1")),
            Err(_) => {
                return Err(PluginError::new(format!("listen = {text:?}: give an address such as 127.0.0.1:7000")));
            }
        },
        Some(_) => return Err(PluginError::new("listen must be a text such as \"127.0.0.1:7000\"")),
    };
    match table.keys().next() {
        Some(key) => Err(PluginError::new(format!("{key} is no setting of chat; there is only listen"))),
        None => Ok(address),
    }
}

/// Opens the port and waits there, in a thread, for people.
fn open_door(host: &Host, address: SocketAddr, room: Arc<Room>) -> Result<(SocketAddr, JoinHandle<()>), PluginError> {
    let listener =
        TcpListener::bind(address).map_err(|error| PluginError::new(format!("listen = {address}: {error}")))?;
    let address = listener.local_addr()?;
    log::info!("chat at {address}");
    let for_thread = host.clone();
    let thread = spawn(host, "chat door", move || {
        let mut people = Vec::new();
        for stream in listener.incoming().filter_map(Result::ok) {
            if room.inside().closed {
                break;
            }
            people.extend(let_in(&for_thread, stream, room.clone()));
        }
        for person in people {
            let _ = person.join();
        }
    })?;
    Ok((address, thread))
}

/// Takes one person in, with a thread that waits for lines.
fn let_in(host: &Host, stream: TcpStream, room: Arc<Room>) -> Option<JoinHandle<()>> {
    stream.set_write_timeout(Some(Duration::from_millis(1))).ok()?;
    let shown = stream.try_clone().ok()?;
    {
        let mut inside = room.inside();
        if inside.closed || inside.listeners.len() >= MAX_LISTENERS {
            return None;
        }
        inside.listeners.push(shown);
    }
    let for_thread = host.clone();
    let read = move || {
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        // A longer line comes in parts.
        while lines.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            let text = harmless(&line);
            if !text.trim().is_empty() {
                room.say(&for_thread, text.trim());
            }
            line.clear();
        }
    };
    spawn(host, "chat person", read).ok()
}
