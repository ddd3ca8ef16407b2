//! What is remembered of plugins that a session quarantined, possibly in another process, and `reef plugin reset`.

use std::path::Path;

use reef::store::quarantine_path;
use reef_plugin_host::{PluginInfo, PluginState, QuarantineFolder};

use crate::cli::failure::{Exit, Failure, Outcome};
use crate::cli::out;
use crate::cli::text::{clean, date};

/// Where sessions write down why they quarantined a plugin; none without a home folder.
pub(super) fn folder() -> Option<QuarantineFolder> {
    quarantine_path().map(QuarantineFolder::new)
}

/// The plugin as the last session that had it left it.
pub(super) fn as_it_was(plugin: PluginInfo) -> PluginInfo {
    let record = folder().and_then(|folder| folder.read(&plugin.name, &plugin.version));
    match (&plugin.state, record) {
        (PluginState::Loaded, Some(record)) => {
            let when =
                i64::try_from(record.at).ok().and_then(date).map(|date| format!(" ({date})")).unwrap_or_default();
            let mut was = plugin;
            was.state = PluginState::Quarantined { reason: format!("{}{when}", record.reason) };
            was
        }
        _ => plugin,
    }
}

/// Forgets why a plugin was quarantined.
pub(super) fn run(name: &str) -> Outcome {
    let forgotten = match folder() {
        Some(folder) => {
            folder.forget(name).map_err(|error| Failure::io(&folder.path().join(Path::new(name)), &error))?
        }
        None => false,
    };
    if !forgotten {
        return Err(Failure::new(format!(
            "{name}: no session has quarantined a plugin of this name; `reef plugin list` says which were"
        )));
    }
    out::line(&clean(&format!("{name}: forgotten why it was quarantined.")));
    Ok(Exit::Success)
}
