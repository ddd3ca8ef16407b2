//! `reef.toml`: settings, folders of plugins, and what plugins are told.
//!
//! Later beats earlier: defaults, the file, `--set`, then options of their own such as `--upload-limit`. A name that
//! nobody knows is a mistake, never ignored.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reef_engine::settings::{Settings, Value};
use reef_plugin_host::Isolation;

use super::args::{NetworkArgs, SessionArgs};
use super::failure::Failure;
use super::forms::{Listen, parse_listen};
use super::isolation;
use super::text::parse_size;

/// What the user wants of every session.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Config {
    /// The session's settings.
    pub(crate) settings: Settings,
    /// Folders to look for plugins in (`plugin_dir`).
    pub(crate) plugin_dirs: Vec<PathBuf>,
    /// Whether to watch those folders (`watch_plugins`); by default where a session goes on for long.
    pub(crate) watch_plugins: Option<bool>,
    /// Where to listen (`listen`); empty for the default.
    pub(crate) listen: Vec<Listen>,
    /// What each plugin is told: the tables `[plugins.<name>]`.
    pub(crate) plugins: BTreeMap<String, toml::Table>,
    /// The plugins that run in processes of their own (`isolation` in their tables).
    pub(crate) isolation: BTreeMap<String, Isolation>,
}

/// Names of this file besides those of the session's settings: name and meaning.
pub(crate) const OWN_NAMES: [(&str, &str); 4] = [
    ("listen", "Where to listen, such as \"0.0.0.0:6881\"; a text or a list of texts (--listen)."),
    ("plugin_dir", "Where to look for plugins besides the usual folders; a text or a list of texts (--plugin-dir)."),
    (
        "watch_plugins",
        "Whether plugins come, change and go with their files while a session runs: true or false (--watch-plugins).",
    ),
    (
        "plugins",
        "Tables [plugins.<name>]: what each plugin is told, in its own words; and isolation = \"process\" to run it in a process of its own.",
    ),
];

impl Config {
    /// Reads the file that `--config` names, or else the user's own, if there is one.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = named.map(Path::to_path_buf).or_else(default_path) else {
            return Ok(Self::default());
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&path, &text),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Failure::io(&path, &error).into_usage()),
        }
    }

    /// What a session is to have: the file, `--set`, and the options that stand for settings.
    pub(crate) fn for_session(
        file: Option<&Path>,
        session: &SessionArgs,
        network: &NetworkArgs,
    ) -> Result<Self, Failure> {
        let mut config = Self::load(file)?;
        config.apply(&session.set)?;
        let limit = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        if let Some(bytes) = network.download_limit {
            config.settings.download_rate_limit = limit(bytes);
        }
        if let Some(bytes) = network.upload_limit {
            config.settings.upload_rate_limit = limit(bytes);
        }
        if session.watch_plugins {
            config.watch_plugins = Some(true);
        }
        if session.no_plugins {
            config.watch_plugins = Some(false);
        }
        if !network.listen.is_empty() {
            config.listen.clone_from(&network.listen);
        }
        Ok(config)
    }

    /// Changes settings as `--set NAME=VALUE` says.
    pub(crate) fn apply(&mut self, changes: &[String]) -> Result<(), Failure> {
        for change in changes {
            let usage = |why: String| Failure::usage(format!("--set {change}: {why}"));
            let Some((name, text)) = change.split_once('=') else {
                return Err(usage("a change looks like connections_limit=100".to_owned()));
            };
            let name = name.trim();
            let value = match self.settings.get(name) {
                Some(default) => typed(text.trim(), &default),
                None => toml_value(text.trim()),
            };
            self.put(name, value).map_err(usage)?;
        }
        Ok(())
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Failure> {
        let at = |line: Option<usize>, why: &str| {
            let line = line.map_or_else(String::new, |line| format!(" line {line}:"));
            Failure::usage(format!("{}:{line} {why}", path.display()))
        };
        let table = text.parse::<toml::Table>().map_err(|error| {
            let line =
                error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
            at(line, &error.message().replace('\n', "; "))
        })?;
        let mut config = Self::default();
        for (name, value) in table {
            config.put(&name, value).map_err(|why| at(None, &why))?;
        }
        Ok(config)
    }

    /// Sets one name of the file.
    fn put(&mut self, name: &str, value: toml::Value) -> Result<(), String> {
        match name {
            "listen" => {
                let parse = |text: String| parse_listen(&text).map_err(|why| format!("listen = {text:?}: {why}"));
                self.listen = texts(name, value)?.into_iter().map(parse).collect::<Result<_, _>>()?;
                Ok(())
            }
            "plugin_dir" => {
                self.plugin_dirs = texts(name, value)?.iter().map(|text| expand_home(text)).collect();
                Ok(())
            }
            "watch_plugins" => {
                let watch = value.as_bool().ok_or_else(|| format!("{name} takes true or false"))?;
                self.watch_plugins = Some(watch);
                Ok(())
            }
            "plugins" => self.put_plugins(value),
            _ => match name.strip_prefix("plugins.").and_then(|rest| rest.split_once('.')) {
                Some((plugin, key)) => self.put_plugin(plugin, key, value),
                None => self.put_setting(name, value),
            },
        }
    }

    fn put_plugins(&mut self, value: toml::Value) -> Result<(), String> {
        let toml::Value::Table(tables) = value else {
            return Err("plugins takes tables: [plugins.ut_pex]".to_owned());
        };
        for (plugin, table) in tables {
            let toml::Value::Table(table) = table else {
                return Err(format!("plugins.{plugin} is not a table; write [plugins.{plugin}] above its settings"));
            };
            self.plugins.entry(plugin.clone()).or_default();
            for (key, value) in table {
                self.put_plugin(&plugin, &key, value)?;
            }
        }
        Ok(())
    }

    /// Sets one key of a plugin's table. How it is isolated is not for the plugin.
    fn put_plugin(&mut self, plugin: &str, key: &str, value: toml::Value) -> Result<(), String> {
        let at = |why: String| format!("plugins.{plugin}.{why}");
        if key == isolation::KEY {
            match isolation::read(value).map_err(at)? {
                Some(isolation) => self.isolation.insert(plugin.to_owned(), isolation),
                None => self.isolation.remove(plugin),
            };
        } else if let Some(part) = key.strip_prefix(isolation::KEY).and_then(|rest| rest.strip_prefix('.')) {
            let mut isolation = self.isolation.get(plugin).copied().unwrap_or_default();
            isolation::set(&mut isolation, part, &value).map_err(at)?;
            self.isolation.insert(plugin.to_owned(), isolation);
        } else {
            self.plugins.entry(plugin.to_owned()).or_default().insert(key.to_owned(), value);
        }
        Ok(())
    }

    fn put_setting(&mut self, name: &str, value: toml::Value) -> Result<(), String> {
        let Some(default) = self.settings.get(name) else {
            return Err(match nearest(name) {
                Some(known) => format!("there is no setting {name}; the nearest known one is {known}"),
                None => format!("there is no setting {name}; `reef settings` lists them"),
            });
        };
        let value = match (value, &default) {
            (toml::Value::Boolean(yes), _) => Value::Bool(yes),
            (toml::Value::Integer(number), _) => Value::Int(number),
            // "2M" for a number of bytes reads better than 2000000.
            (toml::Value::String(text), Value::Int(_)) => {
                match parse_size(&text).ok().and_then(|n| i64::try_from(n).ok()) {
                    Some(number) => Value::Int(number),
                    None => Value::Text(text),
                }
            }
            (toml::Value::String(text), _) => Value::Text(text),
            (other, _) => return Err(format!("{name} cannot be a {}", other.type_str())),
        };
        self.settings.set(name, &value).map_err(|error| error.to_string())
    }
}

/// `$XDG_CONFIG_HOME/reef/reef.toml`, or else `~/.config/reef/reef.toml`.
fn default_path() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(folder.join("reef").join("reef.toml"))
}

/// A path whose leading `~/` stands for the home folder, as no shell has been there to say so.
fn expand_home(text: &str) -> PathBuf {
    match (text.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(text),
    }
}

/// A text or a list of texts.
fn texts(name: &str, value: toml::Value) -> Result<Vec<String>, String> {
    let text = |value| match value {
        toml::Value::String(text) => Ok(text),
        toml::Value::Integer(number) => Ok(number.to_string()),
        _ => Err(format!("{name} takes a text or a list of texts")),
    };
    match value {
        toml::Value::Array(values) => values.into_iter().map(text).collect(),
        value => text(value).map(|text| vec![text]),
    }
}

/// What was typed after `NAME=`, for a setting of the same type as `default`.
fn typed(text: &str, default: &Value) -> toml::Value {
    match (default, text) {
        (Value::Bool(_), "true" | "yes" | "on" | "1") => toml::Value::Boolean(true),
        (Value::Bool(_), "false" | "no" | "off" | "0") => toml::Value::Boolean(false),
        (Value::Int(_), _) => text.parse().map_or_else(|_| toml::Value::String(text.to_owned()), toml::Value::Integer),
        _ => toml::Value::String(text.to_owned()),
    }
}

/// A TOML value if the text is one, or else the text itself.
fn toml_value(text: &str) -> toml::Value {
    let table = format!("value = {text}").parse::<toml::Table>();
    match table.ok().filter(|table| table.len() == 1).and_then(|mut table| table.remove("value")) {
        Some(value) => value,
        None => toml::Value::String(text.to_owned()),
    }
}

/// The known name that is most like `name`.
fn nearest(name: &str) -> Option<&'static str> {
    let known = Settings::table().into_iter().map(|row| row.name).chain(OWN_NAMES.map(|(own, _)| own));
    known.max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("reef.toml"), text).map_err(|failure| failure.to_string())
    }

    #[test]
    fn settings_folders_and_plugin_tables_are_read() {
        let config = parse(
            "connections_limit = 77\nupload_rate_limit = \"1MiB\"\nsend_client_name = false\n\
             plugin_dir = [\"/a\", \"/b\"]\nlisten = \"127.0.0.1:9\"\n[plugins.ut_pex]\ninterval = 5\n",
        )
        .unwrap();
        assert_eq!(config.settings.connections_limit, 77);
        assert_eq!(config.settings.upload_rate_limit, 1 << 20);
        assert!(!config.settings.send_client_name);
        assert_eq!(config.plugin_dirs, [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!(config.listen, [Listen::Address("127.0.0.1:9".parse().unwrap())]);
        assert_eq!(config.plugins["ut_pex"].to_string(), "interval = 5\n");
    }

    #[test]
    fn isolation_is_for_reef_and_the_rest_for_the_plugin() {
        let check = |text: &str, rest: &str, expected: Option<Isolation>| {
            let config = parse(text).unwrap();
            assert_eq!(config.isolation.get("x").copied(), expected, "{text}");
            assert_eq!(config.plugins["x"].to_string(), rest, "{text}");
        };
        check("[plugins.x]\na = 1", "a = 1\n", None);
        check("[plugins.x]\nisolation = \"process\"\na = 1", "a = 1\n", Some(Isolation::default()));
        check("[plugins.x]\nisolation = \"none\"", "", None);
        let own = Isolation { deadline: Duration::from_millis(250), memory: 64 << 20, block_hooks: true };
        let table = "[plugins.x.isolation]\ndeadline_ms = 250\nmemory = \"64MiB\"\nblock_hooks = true";
        check(table, "", Some(own));
        let mut config = Config::default();
        config.apply(&["plugins.x.isolation=process", "plugins.x.isolation.memory=0"].map(str::to_owned)).unwrap();
        assert_eq!(config.isolation["x"], Isolation { memory: 0, ..Isolation::default() });
    }

    #[test]
    fn mistakes_are_named_with_the_file_and_the_remedy() {
        let check = |text: &str, expected: &str| {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with("reef.toml:") && error.contains(expected), "{error}");
        };
        check(
            "conections_limit = 1",
            "there is no setting conections_limit; the nearest known one is connections_limit",
        );
        check("plugindir = 1", "nearest known one is plugin_dir");
        check("a = 1\nb = = 2", "line 2:");
        check("connections_limit = 0", "takes a whole number from 2 to");
        check("connections_limit = true", "takes a whole number");
        check("connections_limit = 1.5", "cannot be a float");
        check("send_client_name = 3", "takes true or false");
        check("plugin_dir = 1.5", "takes a text or a list of texts");
        check("listen = \"nowhere\"", "looks like 0.0.0.0:6881");
        check("[plugins.x]\nisolation = 3", "plugins.x.isolation takes \"process\"");
        check("[plugins.x.isolation]\ndeadline_ms = 0", "plugins.x.isolation.deadline_ms takes a whole number");
        check("[plugins.x.isolation]\ndeadline = 1", "deadline_ms, memory and block_hooks, and no deadline");
        check("plugins = 3", "takes tables");
        check("[plugins]\nut_pex = 3", "write [plugins.ut_pex]");
    }

    #[test]
    fn the_command_line_changes_settings_by_name() {
        let mut config = Config::default();
        let changes = [
            "connections_limit=5",
            "send_client_name=off",
            "user_agent=x y",
            "plugins.demo.depth=3",
            "upload_rate_limit=2k",
        ];
        config.apply(&changes.map(str::to_owned)).unwrap();
        assert_eq!(config.settings.connections_limit, 5);
        assert_eq!(config.settings.upload_rate_limit, 2000);
        assert_eq!(config.settings.user_agent, "x y");
        assert!(!config.settings.send_client_name);
        assert_eq!(config.plugins["demo"]["depth"].as_integer(), Some(3));
        for wrong in ["connections_limit", "nothing=1", "connections_limit=x", "=1"] {
            let failure = config.apply(&[wrong.to_owned()]).unwrap_err();
            assert_eq!(failure.exit, super::super::failure::Exit::Usage, "{wrong}");
        }
    }
}
