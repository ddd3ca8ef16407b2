//! Plugins: which are loaded for a session, and `reef plugin`, which lists them, looks into them, makes and tests them.

mod check;
mod new;
mod reset;
mod test;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reef::store::plugin_data_path;
use reef_plugin_host::{
    LoadError, Place, PluginHost, PluginHostConfig, PluginInfo, PluginState, SearchPath, library_file, own_program,
};
use serde_json::{Value, json};

use super::args::{Global, PluginArgs, PluginCommand, SessionArgs};
use super::config::Config;
use super::failure::{Exit, Failure, Outcome};
use super::text::clean;
use super::{json, out};

/// The plugin that fetches the metadata of magnet links.
const METADATA: &str = "ut_metadata";

/// The plugins that a session starts with.
pub(crate) struct Plugins {
    /// Their host, to be given to the session.
    pub(crate) host: PluginHost,
    folders: Vec<PathBuf>,
    /// Those of them in which every plugin counts.
    pub(crate) to_watch: Vec<PathBuf>,
}

/// Loads every plugin that is found and gives each what it saved. One that cannot be loaded is said in a line, and the
/// others go on.
pub(crate) fn load(config: &Config, args: &SessionArgs, saved: BTreeMap<String, Vec<u8>>) -> Result<Plugins, Failure> {
    let path = if args.no_plugins { SearchPath::default() } else { search_path(config, &args.plugin_dir)? };
    let quarantine = reset::folder();
    let mut host = PluginHost::new(PluginHostConfig { saved, quarantine, ..host_config(config) });
    // Each was said in the log already.
    host.load_search(&path);
    host.set_max_log_level(log::max_level());
    let to_watch = path.places().iter().filter_map(|place| match place {
        Place::Named(folder) | Place::Usual(folder) => Some(folder.clone()),
        _ => None,
    });
    Ok(Plugins { host, folders: folders(&path), to_watch: to_watch.collect() })
}

impl Plugins {
    /// Checks that metadata can be fetched for the magnet link called `name`.
    pub(crate) fn require_metadata(&self, name: &str) -> Result<(), Failure> {
        let offers = |plugin: &PluginInfo| {
            plugin.state == PluginState::Loaded
                && (plugin.name == METADATA || plugin.extensions.iter().any(|extension| extension == METADATA))
        };
        if self.host.plugins().iter().any(offers) {
            return Ok(());
        }
        let folders: Vec<String> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        let searched = match folders.is_empty() {
            true => "no plugins were loaded, as --no-plugins says".to_owned(),
            false => format!("it is in none of: {}", folders.join(", ")),
        };
        Err(Failure::new(format!(
            "{name}: a magnet link needs the plugin {METADATA} to fetch its metadata, and {} was not loaded: {searched}; \
             put it there, or name its folder with --plugin-dir",
            library_file(METADATA)
        )))
    }
}

/// `reef plugin`.
pub(crate) fn run(args: &PluginArgs, global: &Global) -> Outcome {
    let config = Config::load(global.config.as_deref())?;
    match &args.command {
        PluginCommand::List => list(&config, args),
        PluginCommand::Info { name } => info(&config, args, name),
        PluginCommand::New { name, dir } => new::run(name, dir.as_deref()),
        PluginCommand::Check { file, run } => check::run(&config, args, file, *run),
        PluginCommand::Reset { name } => reset::run(name),
        PluginCommand::Test(test) => test::run(&config, test, args.json),
    }
}

fn list(config: &Config, args: &PluginArgs) -> Outcome {
    let (plugins, path, errors) = load_all(config, args)?;
    if args.json {
        json::print(&plugins.iter().map(describe).collect());
    } else if plugins.is_empty() && errors.is_empty() {
        out::line("No plugins were found. These folders were searched:");
        folders(&path).iter().for_each(|folder| out::line(&clean(&format!("  {}", folder.display()))));
    }
    if !args.json {
        for plugin in &plugins {
            let line = format!("{:<16} {:<10} {}", plugin.name, plugin.version, plugin.path.display());
            out::line(&clean(&line));
            if let PluginState::Quarantined { reason } = &plugin.state {
                out::line(&clean(&format!("{:<16} quarantined: {reason}", "")));
            }
        }
        // What else is wrong was said in the log.
        for error in errors.iter().filter(|error| error.is_overruled()) {
            out::line(&clean(&error.to_string()));
        }
    }
    Ok(Exit::Success)
}

fn info(config: &Config, args: &PluginArgs, name: &str) -> Outcome {
    let (plugins, path, _) = load_all(config, args)?;
    let Some(plugin) = plugins.iter().find(|plugin| plugin.name == name) else {
        let nearest = plugins
            .iter()
            .map(|plugin| plugin.name.as_str())
            .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
        let hint = nearest.map_or_else(
            || format!("none were found in {}", joined(&folders(&path))),
            |nearest| format!("the nearest is {nearest}; `reef plugin list` shows all"),
        );
        return Err(Failure::new(format!("there is no plugin {name}: {hint}")));
    };
    if args.json {
        json::print(&describe(plugin));
        return Ok(Exit::Success);
    }
    show(&plugin.name, &plugin.version, &plugin.description, plugin.api, &plugin.path);
    if plugin.process.is_some() {
        field("Runs in", "a process of its own");
    }
    if !plugin.extensions.is_empty() {
        out::line(&clean(&format!("Extensions   {}", plugin.extensions.join(", "))));
    }
    if let PluginState::Quarantined { reason } = &plugin.state {
        out::line(&clean(&format!("Quarantined  {reason}")));
    }
    Ok(Exit::Success)
}

fn show(name: &str, version: &str, description: &str, api: (u32, u32), path: &Path) {
    field("Name", name);
    field("Version", version);
    field("About", description);
    field("Plugin-api", &format!("{}.{}", api.0, api.1));
    field("File", &path.display().to_string());
}

/// One line of what is known of a plugin; none where nothing is.
fn field(title: &str, value: &str) {
    if !value.is_empty() {
        out::line(&format!("{title:<12} {}", clean(value)));
    }
}

/// The table of a plugin in `reef.toml`.
fn settings_of(config: &Config, name: &str) -> String {
    config.plugins.get(name).map(ToString::to_string).unwrap_or_default()
}

/// The plugins that are found, each with what became of it in the session that had it last.
fn load_all(config: &Config, args: &PluginArgs) -> Result<(Vec<PluginInfo>, SearchPath, Vec<LoadError>), Failure> {
    let path = search_path(config, &args.plugin_dir)?;
    let mut host = PluginHost::new(host_config(config));
    let errors = host.load_search(&path);
    let plugins = host.plugins().into_iter().map(reset::as_it_was).collect();
    Ok((plugins, path, errors))
}

fn describe(plugin: &PluginInfo) -> Value {
    let reason = match &plugin.state {
        PluginState::Quarantined { reason } => Some(reason.clone()),
        _ => None,
    };
    json!({
        "name": plugin.name,
        "version": plugin.version,
        "description": plugin.description,
        "api": format!("{}.{}", plugin.api.0, plugin.api.1),
        "path": plugin.path.display().to_string(),
        "extensions": plugin.extensions,
        "state": if reason.is_some() { "quarantined" } else { "loaded" },
        "reason": reason,
        "isolated": plugin.process.is_some(),
    })
}

fn host_config(config: &Config) -> PluginHostConfig {
    let settings = config.plugins.iter().map(|(name, table)| (name.clone(), table.to_string())).collect();
    let (isolation, plugin_program) = (config.isolation.clone(), own_program());
    let data_dir = plugin_data_path();
    PluginHostConfig { settings, data_dir, isolation, plugin_program, ..PluginHostConfig::default() }
}

/// Where to look; a folder that somebody named must be there.
fn search_path(config: &Config, options: &[PathBuf]) -> Result<SearchPath, Failure> {
    let path = SearchPath::of_process(options, &config.plugin_dirs);
    for place in path.places() {
        if let Place::Named(folder) = place
            && !folder.is_dir()
        {
            let why = if folder.exists() { "this is not a folder" } else { "there is no such plugin folder" };
            return Err(Failure::new(format!(
                "{}: {why}; create it, or take it out of --plugin-dir, $REEF_PLUGIN_DIR and plugin_dir in reef.toml",
                folder.display()
            )));
        }
    }
    Ok(path)
}

fn folders(path: &SearchPath) -> Vec<PathBuf> {
    let folder = |place: &Place| match place {
        Place::Named(folder) | Place::Usual(folder) | Place::OwnFolder(folder) => Some(folder.clone()),
        _ => None,
    };
    path.places().iter().filter_map(folder).collect()
}

fn joined(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}
