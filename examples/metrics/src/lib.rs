//! Serves the session's statistics over HTTP, in the text format of Prometheus.
//!
//! A thread of the plugin's own answers requests, one after another; what it shows it asks of the session through its `Host`. No hook
//! has to wait for it but the last.

mod http;
mod text;

use reef_plugin_api::{
    Alert, Counter, Flow, HookResult, Host, HostError, PluginError, SessionCx, SessionPlugin, Settings, export_plugin,
    hooks, spawn,
};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The number of the alert that says where it listens.
pub const LISTENING: u32 = Alert::USER_KIND + 2;
/// Where it listens if no setting says so.
const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9464);

/// One object for each session.
pub struct Metrics {
    address: SocketAddr,
    door: Arc<Door>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and `abort` share.
#[derive(Default)]
struct Door(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    closed: bool,
    /// Who is being answered.
    guest: Option<TcpStream>,
}

impl Door {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of who is being answered. False: the door is closed.
    fn admit(&self, stream: &TcpStream) -> bool {
        let mut inside = self.inside();
        inside.guest = stream.try_clone().ok();
        !inside.closed && inside.guest.is_some()
    }
}

#[hooks]
impl SessionPlugin for Metrics {
    const NAME: &'static str = "metrics";

    fn create(host: Host, settings: &Settings) -> Result<Self, PluginError> {
        let wanted = listen_address(settings.toml())?;
        let listener =
            TcpListener::bind(wanted).map_err(|error| PluginError::new(format!("listen = {wanted}: {error}")))?;
        let address = listener.local_addr()?;
        let scrapes = host.session().counter("metrics.scrapes", "Times that metrics were read.")?;
        let text = format!("metrics at http://{address}/metrics");
        log::info!("{text}");
        host.post_alert(&Alert::new(LISTENING, 0x40, "metrics_listening", &text))?;
        let (door, for_thread) = (Arc::<Door>::default(), host.clone());
        let its_door = door.clone();
        let thread = spawn(&host, "metrics", move || serve(&for_thread, &listener, &its_door, &scrapes))?;
        Ok(Self { address, door, thread: Some(thread) })
    }

    /// The thread waits in `accept`, in `read`, or for the session: the first two are ended from here, the third by the session.
    fn abort(&mut self, _cx: &mut SessionCx<'_>) -> HookResult {
        let mut inside = self.door.inside();
        inside.closed = true;
        if let Some(guest) = inside.guest.take() {
            let _ = guest.shutdown(Shutdown::Both);
        }
        drop(inside);
        if let Some(thread) = self.thread.take() {
            let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(200));
            let _ = thread.join();
        }
        Ok(Flow::Pass)
    }
}

export_plugin!(Metrics);

/// Answers one request after another until the door is closed.
fn serve(host: &Host, listener: &TcpListener, door: &Door, scrapes: &Counter) {
    for stream in listener.incoming() {
        if door.inside().closed {
            return;
        }
        let Ok(stream) = stream else { continue };
        if door.admit(&stream) {
            // Who hangs up early misses the answer.
            let _ = http::answer(&stream, || show(host, scrapes));
        }
        door.inside().guest = None;
    }
}

/// The page.
fn show(host: &Host, scrapes: &Counter) -> Result<String, HostError> {
    scrapes.add(1)?;
    let session = host.session();
    Ok(text::page(&session.statistics()?, &session.status()?))
}

/// The setting `listen`.
fn listen_address(settings: &str) -> Result<SocketAddr, PluginError> {
    let mut table: toml::Table = settings.parse()?;
    let address = match table.remove("listen") {
        None => USUAL,
        Some(toml::Value::String(text)) => match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => address,
            Ok(_) => return Err(PluginError::new("listen: it tells what you do to whoever asks; use 127.0.0.1")),
            Err(_) => {
                return Err(PluginError::new(format!("listen = {text:?}: give an address such as 127.0.0.1:9464")));
            }
        },
        Some(_) => return Err(PluginError::new("listen must be a text such as \"127.0.0.1:9464\"")),
    };
    match table.keys().next() {
        Some(key) => Err(PluginError::new(format!("{key} is no setting of metrics; there is only listen"))),
        None => Ok(address),
    }
}
