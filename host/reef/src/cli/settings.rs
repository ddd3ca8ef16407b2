//! `reef settings`: the table of settings, for people and for programs.

use reef_engine::settings::{Row, Settings, Value};
use serde_json::json;

use super::args::{Global, SettingsArgs};
use super::config::{Config, OWN_NAMES};
use super::failure::{Exit, Outcome};
use super::text::clean;
use super::{json, out};

/// Prints every setting with its value, its default, its range and its meaning.
pub(crate) fn run(args: &SettingsArgs, global: &Global) -> Outcome {
    let mut config = Config::load(global.config.as_deref())?;
    config.apply(&args.set)?;
    let settings = &config.settings;
    let rows = Settings::table().into_iter().map(|row| {
        let value = settings.get(row.name).unwrap_or_else(|| row.default.clone());
        (row, value)
    });
    if args.json {
        json::print(&rows.map(|(row, value)| describe(&row, &value)).collect());
    } else {
        rows.for_each(|(row, value)| show(&row, &value));
        for (name, doc) in OWN_NAMES {
            out::line(&format!("{}\n    {doc}", clean(&own(&config, name))));
        }
        out::line("\nWrite them into reef.toml, or give --set NAME=VALUE for one run.");
    }
    Ok(Exit::Success)
}

/// A name of the file's own, with what was set.
fn own(config: &Config, name: &str) -> String {
    let value = match name {
        "listen" => config.listen.iter().map(ToString::to_string).collect(),
        "plugin_dir" => config.plugin_dirs.iter().map(|folder| folder.display().to_string()).collect(),
        _ => config
            .plugins
            .iter()
            .map(|(plugin, table)| format!("{plugin}: {}", table.to_string().trim()))
            .collect::<Vec<_>>(),
    };
    if value.is_empty() { name.to_owned() } else { format!("{name} = {}", value.join(", ")) }
}

fn show(row: &Row, value: &Value) {
    let default = match row.default == *value {
        true => String::new(),
        false => format!(" Default: {}.", literal(&row.default)),
    };
    out::line(&format!("{} = {}\n    {}{}{default}", row.name, literal(value), row.doc, range(row)));
}

fn describe(row: &Row, value: &Value) -> serde_json::Value {
    let (value, default) = (plain(value), plain(&row.default));
    let mut object = json!({ "name": row.name, "value": value, "default": default, "doc": row.doc });
    if matches!(row.default, Value::Int(_)) {
        object["min"] = json!(row.range.0);
        object["max"] = json!(row.range.1);
    }
    object
}

fn plain(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(yes) => json!(yes),
        Value::Int(number) => json!(number),
        Value::Text(text) => json!(text),
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::Bool(yes) => yes.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Text(text) => format!("{text:?}"),
    }
}

fn range(row: &Row) -> String {
    match row.default {
        Value::Int(_) if row.range.1 == i64::MAX => format!(" From {}.", row.range.0),
        Value::Int(_) => format!(" From {} to {}.", row.range.0, row.range.1),
        _ => String::new(),
    }
}
