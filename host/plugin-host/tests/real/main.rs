//! Real plugin libraries, mapped and run: whole ones, broken ones, and ones that misbehave.

mod files;
mod hooks;
mod life;
mod overruns;
mod rig;

use reef_plugin_host::Isolation;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Plugins run in this process.
fn isolation(_: &[(&str, &str)]) -> (BTreeMap<String, Isolation>, Option<PathBuf>) {
    (BTreeMap::new(), None)
}
