//! Loads plugin images, runs their instances and keeps their failures inside.
//!
//! [`PluginHost`] implements the engine's [`reef_engine::Hooks`]: it holds the plugins' session, torrent and peer
//! objects, calls the ones that want an event, and turns their answers into verdicts. What goes wrong in a plugin ends
//! in its quarantine and nowhere else.
//!
//! Nothing here is asynchronous, and no clock or random number reaches a plugin except the session's own.

mod answers;
mod change;
mod conduct;
mod context;
mod control;
mod delivery;
mod discover;
mod dispatch;
mod elf;
mod error;
mod events;
mod handle;
mod handle_calls;
mod holdings;
mod host;
mod image;
mod isolation;
mod objects;
mod private_copy;
mod probe;
mod quarantine;
mod question;
mod search_path;
mod statistics;
mod translate;
mod trust;
mod watchdog;

pub use change::{Change, Loader, PluginImage};
pub use conduct::Limits;
pub use discover::find;
pub use elf::ElfError;
pub use error::{LoadError, Problem};
pub use host::{PluginHost, PluginHostConfig, PluginInfo, PluginState};
pub use image::{FileInfo, check, inspect};
pub use isolation::{Isolation, PLUGIN_PROCESS, own_program, run_plugin_process};
pub use probe::{Probe, probe};
pub use quarantine::{QuarantineFolder, QuarantineRecord};
pub use search_path::{Place, STANDARD_PLUGINS, SearchPath, library_file};
pub use trust::TrustError;
