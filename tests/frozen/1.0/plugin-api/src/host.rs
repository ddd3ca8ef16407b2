//! The loading side: from an exported symbol to a running instance, in std types. Finding, copying and mapping files is
//! `reef-plugin-host`'s.
//!
//! Nothing of an image may be used before its layout was checked. abi_stable by itself accepts only plugins that are as new as
//! the host or newer, and its verdict depends on what was loaded before; so the check here looks in the direction that the
//! versions give, with a memory of its own for every image.

use crate::at_work::contain;
use crate::export::PluginRoot_Ref;
use crate::handle::Host;
use crate::manifest::Manifest;
pub use crate::remote::{Answer, Asker, Level, Line, Served, answer, far_host, remote_session, wire_version};
use crate::session::SessionObj;
use crate::{API_MAJOR, API_MINOR};
use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::{CheckingGlobals, check_layout_compatibility_with_globals};
use abi_stable::library::{AbiHeaderRef, LibHeader};
use abi_stable::type_layout::TypeLayout;
use std::ffi::c_void;
use std::fmt;

/// The symbol that a plugin exports, to be looked up in its image.
pub const SYMBOL: &[u8] = b"REEF_PLUGIN_ROOT\0";

/// A plugin image whose layout was checked. Lives as long as the process, as images are never unmapped.
#[derive(Copy, Clone)]
pub struct Root {
    root: PluginRoot_Ref,
}

impl Root {
    /// Checks and opens an image.
    ///
    /// # Safety
    /// `symbol` is the address of [`SYMBOL`] in a library that is mapped and never unmapped, and `manifest` is that library's.
    pub unsafe fn open(symbol: *const c_void, manifest: &Manifest) -> Result<Self, LoadError> {
        let versions = Versions::of(manifest);
        if manifest.api_major != API_MAJOR {
            return Err(LoadError::OtherMajor(versions));
        }
        if symbol.is_null() {
            return Err(LoadError::NoRoot(versions));
        }
        // SAFETY: the caller's promise; the header is made to be read before anything else is known of the library.
        let header = unsafe { std::mem::transmute::<*const c_void, AbiHeaderRef>(symbol) };
        let open = || Self::open_header(header, &versions);
        contain("opening a plugin", open).unwrap_or_else(|| Err(LoadError::Failed(versions.clone())))
    }

    fn open_header(header: AbiHeaderRef, versions: &Versions) -> Result<Self, LoadError> {
        let header = header.upgrade().map_err(|error| LoadError::other(versions, &error.to_string()))?;
        let theirs = header.layout().ok_or_else(|| LoadError::NoRoot(versions.clone()))?;
        check_layout(theirs, versions)?;
        Self::call_constructor(header, versions)
    }

    fn call_constructor(header: &'static LibHeader, versions: &Versions) -> Result<Self, LoadError> {
        // SAFETY: the layout was checked by the caller, in the direction that fits both versions.
        let root = unsafe { header.init_root_module_with_unchecked_layout::<PluginRoot_Ref>() };
        let root = root.map_err(|error| LoadError::other(versions, &error.to_string()))?;
        Ok(Self { root })
    }

    /// The plugin's name.
    pub fn name(&self) -> &'static str {
        self.root.name().as_str()
    }

    /// The plugin's version.
    pub fn version(&self) -> &'static str {
        self.root.version().as_str()
    }

    /// The version of the interface that it was built against.
    pub fn api_version(&self) -> (u32, u32) {
        (self.root.api_major(), self.root.api_minor())
    }

    /// Starts an instance: `host` is its handle, `settings` its table as TOML text. Any number of instances may run.
    pub fn init(&self, host: Host, settings: &str, level: log::LevelFilter) -> Result<SessionObj, String> {
        self.root.init()(host.into_raw(), settings.into(), level as u32).into_result().map_err(String::from)
    }

    /// Which lines of the image's log reach the host, from all its instances.
    pub fn set_log_level(&self, level: log::LevelFilter) {
        if let Some(set) = self.root.set_log_level() {
            set(level as u32);
        }
    }
}

/// Passes on a line of this process's own log, as one of the plugin's.
pub fn forward_log(host: &Host, record: &log::Record<'_>) {
    crate::logger::send(host.raw(), record);
}

fn check_layout(theirs: &'static TypeLayout, versions: &Versions) -> Result<(), LoadError> {
    let ours = <PluginRoot_Ref as StableAbi>::LAYOUT;
    // "Implementation" is the side that may have more.
    let older = (versions.api_major, versions.api_minor) < (API_MAJOR, API_MINOR);
    let (interface, implementation) = if older { (theirs, ours) } else { (ours, theirs) };
    check_layout_compatibility_with_globals(interface, implementation, &CheckingGlobals::new())
        .map_err(|errors| LoadError::other(versions, &errors.to_string()))
}

/// Whose file it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    name: String,
    version: String,
    api_major: u32,
    api_minor: u32,
}

impl Versions {
    fn of(manifest: &Manifest) -> Self {
        let Manifest { name, version, api_major, api_minor, .. } = manifest.clone();
        Self { name, version, api_major, api_minor }
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plugin {} {} (interface {}.{})", self.name, self.version, self.api_major, self.api_minor)
    }
}

/// Why an image cannot be used, in one line that names the plugin and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// Built against another major version of the interface.
    OtherMajor(Versions),
    /// It exports no root, or one without a layout.
    NoRoot(Versions),
    /// The layouts differ, with the first difference. The whole text, some hundred lines, is logged at debug level.
    Layout(Versions, String),
    /// It panicked while it was opened.
    Failed(Versions),
}

impl LoadError {
    fn other(versions: &Versions, full: &str) -> Self {
        log::debug!("{versions}: {full}");
        Self::Layout(versions.clone(), first_error(full))
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherMajor(versions) => {
                write!(f, "{versions} does not fit this host's interface {API_MAJOR}.x: rebuild the plugin")
            }
            Self::NoRoot(versions) => write!(f, "{versions} exports no functions: build it with export_plugin!"),
            Self::Layout(versions, first) => write!(
                f,
                "{versions} has another binary interface than this host's {API_MAJOR}.{API_MINOR}: rebuild the plugin with the \
                 published reef-plugin-api ({first})"
            ),
            Self::Failed(versions) => write!(f, "{versions} panicked while it was opened"),
        }
    }
}

impl std::error::Error for LoadError {}

/// The first complaint of abi_stable's text, as one line.
fn first_error(full: &str) -> String {
    let lines: Vec<&str> = full.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let start = lines.iter().position(|line| line.contains("Error:")).unwrap_or(0);
    let first: Vec<&str> = lines.iter().skip(start).take(5).copied().collect();
    first.join(" ").chars().take(200).collect()
}
