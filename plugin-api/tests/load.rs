//! What `export_plugin!` exports, seen from the loading side; this binary is its own image.

use reef_plugin_api::host::{LoadError, Root};
use reef_plugin_api::manifest::{Manifest, RawManifest};
use reef_plugin_api::testing::{Action, FakeHost};
use reef_plugin_api::{
    Alert, Call, Flow, HookResult, Host, HostCalls, HostError, LogLine, Outcome, PluginError, SessionCx, SessionPlugin,
    Settings, TorrentId, TorrentInfo, export_plugin, hooks,
};
use std::ffi::c_void;
use std::sync::Arc;

struct Small;

#[hooks]
impl SessionPlugin for Small {
    const NAME: &'static str = "small";

    fn create(host: Host, settings: &Settings) -> Result<Self, PluginError> {
        host.post_alert(&Alert::new(10_000, 1, "created", settings.toml()))?;
        Ok(Self)
    }

    fn on_tick(&mut self, cx: &mut SessionCx<'_>) -> HookResult {
        cx.torrent(TorrentId(1)).info()?;
        Ok(Flow::Pass)
    }
}

export_plugin!(Small);

unsafe extern "C" {
    #[link_name = "REEF_PLUGIN_ROOT"]
    static EXPORTED: u8;
}

fn manifest() -> Manifest {
    let raw = RawManifest::of::<Small>("1.2.3", "A small one");
    // SAFETY: `RawManifest` is bytes.
    let bytes: [u8; size_of::<RawManifest>()] = unsafe { std::mem::transmute(raw) };
    Manifest::find(&bytes).expect("a manifest")
}

fn symbol() -> *const c_void {
    (&raw const EXPORTED).cast()
}

fn open() -> Root {
    // SAFETY: the symbol that `export_plugin!` made above, in this very binary.
    unsafe { Root::open(symbol(), &manifest()) }.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_root_opens_and_starts_instances() {
    let root = open();
    assert_eq!((root.name(), root.version()), ("small", env!("CARGO_PKG_VERSION")));
    assert_eq!(root.api_version(), (1, 0));
    let host = FakeHost::new();
    let started =
        (0..3).map(|_| root.init(host.handle(), "x = 1", log::LevelFilter::Info)).collect::<Result<Vec<_>, _>>();
    assert!(started.is_ok());
    let actions = host.actions();
    assert!(
        actions.len() == 3 && actions.iter().all(|a| matches!(a, Action::Alert { message, .. } if message == "x = 1"))
    );
}

#[test]
fn another_major_is_refused_in_one_line() {
    let mut manifest = manifest();
    manifest.api_major = 2;
    // SAFETY: refused by its version, before the symbol is looked at.
    let error = unsafe { Root::open(symbol(), &manifest) }.err().expect("refused");
    assert!(matches!(error, LoadError::OtherMajor(_)));
    assert_eq!(
        error.to_string(),
        "plugin small 1.2.3 (interface 2.0) does not fit this host's interface 1.x: rebuild the plugin"
    );
}

struct Broken;

impl HostCalls for Broken {
    fn now(&self) -> u64 {
        0
    }
    fn random(&self) -> u64 {
        0
    }
    fn log(&self, _: &LogLine<'_>) {}
    fn report_panic(&self, _: &str) {}
    fn post_alert(&self, _: &Alert<'_>) -> Result<(), HostError> {
        Ok(())
    }
    fn torrent_info(&self, _: TorrentId) -> Result<TorrentInfo, HostError> {
        panic!("the host's own bug")
    }
}

#[test]
fn a_panic_of_the_host_is_an_error_to_the_plugin() {
    let host = Arc::new(Broken);
    let mut session = open().init(Host::from_shared(host.clone()), "", log::LevelFilter::Off).expect("it starts");
    let outcome = session.on_tick(&Call::session(&*host));
    assert_eq!(outcome, Outcome::Error(HostError::Failed.to_string()));
    drop(session);
    assert_eq!(Arc::strong_count(&host), 1);
}
