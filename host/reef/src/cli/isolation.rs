//! `isolation` in a plugin's table of `reef.toml`: the one key there that is for reef and not for the plugin.

use std::time::Duration;

use reef_plugin_host::Isolation;

use super::text::parse_size;

/// The key, which a plugin never sees.
pub(crate) const KEY: &str = "isolation";

/// Milliseconds that a hook may be given at most.
const LONGEST: i64 = 600_000;

/// Reads `isolation = "process"`, or the table of its settings; `"none"` is nothing.
pub(crate) fn read(value: toml::Value) -> Result<Option<Isolation>, String> {
    let table = match value {
        toml::Value::String(text) if text == "process" => return Ok(Some(Isolation::default())),
        toml::Value::String(text) if text == "none" => return Ok(None),
        toml::Value::Table(table) => table,
        _ => return Err("isolation takes \"process\", \"none\" or a table of its settings".to_owned()),
    };
    let mut isolation = Isolation::default();
    for (key, value) in table {
        set(&mut isolation, &key, &value)?;
    }
    Ok(Some(isolation))
}

/// Changes one of its settings.
pub(crate) fn set(isolation: &mut Isolation, key: &str, value: &toml::Value) -> Result<(), String> {
    match key {
        "deadline_ms" => {
            let millis = value.as_integer().filter(|millis| (1..=LONGEST).contains(millis));
            let millis = millis.and_then(|millis| u64::try_from(millis).ok());
            let wrong = || format!("isolation.deadline_ms takes a whole number from 1 to {LONGEST}");
            isolation.deadline = Duration::from_millis(millis.ok_or_else(wrong)?);
        }
        "memory" => {
            let bytes = match value {
                toml::Value::Integer(bytes) => u64::try_from(*bytes).ok(),
                toml::Value::String(text) => parse_size(text).ok(),
                _ => None,
            };
            let wrong = || "isolation.memory takes bytes such as \"512MiB\", or 0 for any number".to_owned();
            isolation.memory = bytes.ok_or_else(wrong)?;
        }
        "block_hooks" => {
            let wrong = || "isolation.block_hooks takes true or false".to_owned();
            isolation.block_hooks = value.as_bool().ok_or_else(wrong)?;
        }
        _ => return Err(format!("isolation has deadline_ms, memory and block_hooks, and no {key}")),
    }
    Ok(())
}
