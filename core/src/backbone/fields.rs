//! The fields of a `config.json`: their types are checked by name before they are used.

use std::path::Path;

use serde_json::{Map, Value};

use super::error::ConfigError;
use super::kind::BackboneKind;
use crate::files::read_text;

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldType {
    /// A number of things.
    Size,
    /// An id of a vocabulary.
    Id,
    /// Any number.
    Number,
    /// `true` or `false`.
    Flag,
    /// A name.
    Text,
}

impl FieldType {
    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Size => value.is_u64(),
            Self::Id => value.is_i64(),
            Self::Number => value.is_number(),
            Self::Flag => value.is_boolean(),
            Self::Text => value.is_string(),
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Size | Self::Id => "one whole number",
            Self::Number => "a number",
            Self::Flag => "`true` or `false`",
            Self::Text => "a name",
        }
    }
}

/// The fields of a `config.json`.
#[derive(Debug)]
pub(super) struct Fields {
    kind: BackboneKind,
    map: Map<String, Value>,
}

impl Fields {
    /// Reads a file. A field that is `null` counts as absent, as in transformers. Fields outside `types` are kept as they
    /// are.
    ///
    /// # Errors
    /// If the file is unreadable or no JSON object, or a field of `types` is of another type.
    pub(super) fn read(
        path: &Path,
        kind: BackboneKind,
        types: &[(&'static str, FieldType)],
    ) -> Result<Self, ConfigError> {
        let text = read_text(path)?;
        let mut map: Map<String, Value> = serde_json::from_str(&text)
            .map_err(|source| ConfigError::Format { path: path.to_owned(), kind, source })?;
        map.retain(|_, value| !value.is_null());
        let fields = Self { kind, map };
        for (field, of_type) in types {
            if let Some(value) = fields.map.get(*field).filter(|value| !of_type.holds(value)) {
                return Err(fields.refused(field, value.to_string(), of_type.expected()));
            }
        }
        Ok(fields)
    }

    /// The value of a text field, if it is there.
    pub(super) fn text(&self, field: &str) -> Option<&str> {
        self.map.get(field)?.as_str()
    }

    /// The value of a flag, if it is there.
    pub(super) fn flag(&self, field: &str) -> Option<bool> {
        self.map.get(field)?.as_bool()
    }

    /// Sets a field, if it is absent.
    pub(super) fn set_default(
        &mut self,
        field: &str,
        value: impl FnOnce(&Map<String, Value>) -> Option<Value>,
    ) {
        if !self.map.contains_key(field)
            && let Some(value) = value(&self.map)
        {
            self.map.insert(field.to_owned(), value);
        }
    }

    /// Sets a field.
    pub(super) fn set(&mut self, field: &str, value: Value) {
        self.map.insert(field.to_owned(), value);
    }

    /// All fields as JSON.
    pub(super) fn into_value(self) -> Value {
        Value::Object(self.map)
    }

    /// The error of a field that holds `value`.
    pub(super) fn refused(&self, field: &'static str, value: String, expected: &str) -> ConfigError {
        ConfigError::Value { kind: self.kind, field, value, expected: expected.to_owned() }
    }
}
