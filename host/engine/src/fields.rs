//! The fields of alerts by name, for the edges that encode them: plugins, programs.

use crate::error::ErrorInfo;
use crate::ids::{ConnId, TorrentId};
use crate::status::TorrentState;
use std::net::SocketAddr;

/// The value of a field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FieldValue {
    /// A number, an id among them.
    Int(i64),
    /// Text. A state is its name, an address is written as usual.
    Text(String),
}

/// What can be a field of an alert. An error is its text, with its code beside it.
pub(crate) trait Field {
    /// Adds the field under its name.
    fn put(&self, name: &'static str, fields: &mut Vec<(String, FieldValue)>);
}

macro_rules! fields {
    ($($ty:ty: |$value:ident| $field:expr;)*) => { $(
        impl Field for $ty {
            fn put(&self, name: &'static str, fields: &mut Vec<(String, FieldValue)>) {
                let $value = self;
                fields.push((name.to_owned(), $field));
            }
        }
    )* };
}

fields! {
    u32: |n| FieldValue::Int(i64::from(*n));
    u64: |n| FieldValue::Int(i64::try_from(*n).unwrap_or(i64::MAX));
    TorrentId: |id| FieldValue::Int(i64::try_from(id.0).unwrap_or(i64::MAX));
    ConnId: |id| FieldValue::Int(i64::try_from(id.0).unwrap_or(i64::MAX));
    String: |text| FieldValue::Text(text.clone());
    SocketAddr: |address| FieldValue::Text(address.to_string());
    TorrentState: |state| FieldValue::Text(state.name().to_owned());
}

impl<T: Field> Field for Option<T> {
    fn put(&self, name: &'static str, fields: &mut Vec<(String, FieldValue)>) {
        if let Some(value) = self {
            value.put(name, fields);
        }
    }
}

impl Field for ErrorInfo {
    fn put(&self, name: &'static str, fields: &mut Vec<(String, FieldValue)>) {
        fields.push((name.to_owned(), FieldValue::Text(self.message.clone())));
        fields.push((format!("{name}_code"), FieldValue::Text(self.code.name().to_owned())));
    }
}
