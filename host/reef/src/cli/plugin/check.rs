//! `reef plugin check`: what is in a plugin file, and every problem.

use std::path::Path;

use reef_plugin_host::{Probe, probe};
use serde_json::json;

use super::test::{Plan, Report};
use super::{field, settings_of, show};
use crate::cli::args::PluginArgs;
use crate::cli::config::Config;
use crate::cli::failure::{Exit, Failure, Outcome};
use crate::cli::text::clean;
use crate::cli::{json, out};

/// Loads the file as a session would, with what the settings tell it, and makes one object of each level.
pub(super) fn run(config: &Config, args: &PluginArgs, file: &Path, run: bool) -> Outcome {
    let failed = |error: reef_plugin_host::LoadError| Failure::new(error.to_string());
    let about = reef_plugin_host::inspect(file).map_err(failed)?;
    let settings = settings_of(config, &about.name);
    let mut found = probe(file, &settings).map_err(failed)?;
    let report = match run {
        true => Some(Plan { peers: 4, seconds: 600, seed: 1 }.run(file, &settings).map_err(failed)?),
        false => None,
    };
    if let Some(report) = &report {
        found.problems.extend(report.problems());
    }
    match args.json {
        true => json::print(&describe(&found, report.as_ref())),
        false => tell(&found, report.as_ref()),
    }
    Ok(if found.problems.is_empty() { Exit::Success } else { Exit::Failure })
}

fn tell(found: &Probe, report: Option<&Report>) {
    let file = &found.file;
    show(&file.name, &file.version, &file.description, file.api, &file.path);
    let none = ["(made no object: it leaves a torrent without anything special alone)"];
    let hooks = |title: &str, hooks: &[&str]| field(title, &hooks.join(", "));
    hooks("Session", &found.session_hooks);
    hooks("Torrent", found.torrent_hooks.as_deref().unwrap_or(&none));
    hooks("Connection", found.peer_hooks.as_deref().unwrap_or_default());
    field("Extensions", &found.extensions.join(", "));
    field("Handshake", &found.handshake_keys.join(", "));
    match &found.unknown_setting {
        Some(words) => {
            // A parser of TOML shows the place first and what is wrong in its last line.
            let words = words.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
            field("Settings", &format!("checked; of one that it does not know it says: {words}"));
        }
        None => field("Settings", "cannot be told: it takes any key of its table"),
    }
    if let Some(report) = report {
        field("Run", &report.summary());
    }
    for problem in &found.problems {
        out::line(&clean(&format!("Problem      {problem}")));
    }
    if found.problems.is_empty() {
        out::line("It loads and starts: this program can use it.");
    }
}

fn describe(found: &Probe, report: Option<&Report>) -> serde_json::Value {
    let file = &found.file;
    json!({
        "name": file.name,
        "version": file.version,
        "description": file.description,
        "api": format!("{}.{}", file.api.0, file.api.1),
        "path": file.path.display().to_string(),
        "usable": found.problems.is_empty(),
        "hooks": {
            "session": found.session_hooks,
            "torrent": found.torrent_hooks,
            "connection": found.peer_hooks,
        },
        "extensions": found.extensions,
        "handshake_keys": found.handshake_keys,
        "settings": found.unknown_setting,
        "problems": found.problems,
        "run": report.map(Report::describe),
    })
}
