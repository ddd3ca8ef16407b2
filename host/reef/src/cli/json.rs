//! `--json`: objects for programs, one a line.
//!
//! A program may show what it reads, so even here no character passes that a terminal would act on: JSON's own escapes
//! stand for them, and a reader gets the text as it was.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::out;
use super::text::is_unsafe;

/// Prints a value on a line of its own.
pub(crate) fn print(value: &Value) {
    out::line(&encode(value));
}

/// Prints `{"event": name, …fields}`.
pub(crate) fn event(name: &str, fields: Value) {
    let mut object = json!({ "event": name });
    if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields) {
        object.extend(fields);
    }
    print(&object);
}

/// The value as JSON on one line, in characters that are safe to show.
pub(crate) fn encode(value: &Value) -> String {
    let text = value.to_string();
    if !text.chars().any(is_unsafe) {
        return text;
    }
    // serde_json escapes what JSON requires; what is left stands inside strings, where \u may replace it.
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_arrives_as_it_was_and_shows_nothing_on_the_way() {
        let value = json!({ "name": "a\u{1b}[2J\u{9b}\u{7f}\u{202e}\u{e0001}\n\"é" });
        let text = encode(&value);
        assert!(!text.chars().any(is_unsafe), "{text:?}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
