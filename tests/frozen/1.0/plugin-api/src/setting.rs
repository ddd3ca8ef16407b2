//! The value of one of the session's settings, as a bencoded dictionary with one key, which is its type.

use crate::bencode::{Dict, Value, decode};

/// The value of a setting of the session (`reef settings` lists them).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingValue {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Text.
    Text(String),
}

impl SettingValue {
    /// As it crosses.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut dict = Dict::new();
        match self {
            Self::Bool(value) => dict.int("bool", i64::from(*value)),
            Self::Int(value) => dict.int("int", *value),
            Self::Text(value) => dict.bytes("text", value),
        };
        dict.encode()
    }

    /// From what crossed; `None` if it is of a type that this side does not know.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::from_value(&decode(bytes).ok()?)
    }

    fn from_value(value: &Value<'_>) -> Option<Self> {
        let int = |key| value.get(key).and_then(Value::as_int);
        int("bool")
            .map(|number| Self::Bool(number != 0))
            .or_else(|| int("int").map(Self::Int))
            .or_else(|| Some(Self::Text(value.get("text")?.as_str()?.to_owned())))
    }
}

impl From<bool> for SettingValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for SettingValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for SettingValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

/// Names and values as they cross: a dictionary of them.
pub(crate) fn settings_to_bytes(settings: &[(&str, SettingValue)]) -> Vec<u8> {
    let mut dict = Dict::new();
    for (name, value) in settings {
        dict.raw(name, value.to_bytes());
    }
    dict.encode()
}

/// Names and values from what crossed; `None` if any is not understood.
pub(crate) fn settings_from_bytes(bytes: &[u8]) -> Option<Vec<(String, SettingValue)>> {
    let value = decode(bytes).ok()?;
    let entries = value.as_dict()?.iter();
    entries
        .map(|(name, value)| Some((String::from_utf8(name.to_vec()).ok()?, SettingValue::from_value(value)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_arrive_with_their_types() {
        for value in [SettingValue::from(true), SettingValue::from(false), SettingValue::from(-7), "a b".into()] {
            assert_eq!(SettingValue::from_bytes(&value.to_bytes()), Some(value));
        }
        assert_eq!(SettingValue::from_bytes(b"d5:float3:1.5e"), None);
        let both = [("b", SettingValue::Int(1)), ("a", SettingValue::Bool(true))];
        let read = settings_from_bytes(&settings_to_bytes(&both)).expect("settings");
        assert_eq!(read, [("a".to_owned(), SettingValue::Bool(true)), ("b".to_owned(), SettingValue::Int(1))]);
        assert_eq!(settings_from_bytes(b"d1:ad5:float3:1.5ee"), None);
    }
}
