//! The rows of a Parquet file as JSON objects, in the order of the file.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use serde_json::{Map, Number, Value};

use crate::files::FileError;
use crate::panics::caught;

/// Key of the file's metadata under which `datasets` of Hugging Face stores the types of columns.
const FEATURES: &str = "huggingface";

/// The rows of a file: an object of its columns each, without those that are null. After an error there is no further row.
///
/// Memory is bounded by the pages of one row group.
pub struct Rows {
    /// `None` after an error.
    rows: Option<RowIter<'static>>,
    /// The types of the columns, as `datasets` describes them.
    features: Value,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("features", &self.features).finish_non_exhaustive()
    }
}

impl Rows {
    /// Opens a file, which must be a regular one: its index is at its end.
    ///
    /// # Errors
    /// If it cannot be read, or is not Parquet.
    pub fn open(path: &Path) -> std::result::Result<Self, FileError> {
        let failed = |error| FileError::new("read", path, error);
        let file = File::open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(failed(io::Error::other("Parquet is read from regular files only")));
        }
        let opened = caught(|| {
            let reader = SerializedFileReader::new(file)?;
            let metadata = reader.metadata().file_metadata().key_value_metadata();
            let stored = metadata.into_iter().flatten().find(|pair| pair.key == FEATURES);
            let text = stored.and_then(|pair| pair.value.as_deref()).unwrap_or_default();
            let described: Value = serde_json::from_str(text).unwrap_or_default();
            let rows = Some(RowIter::from_file_into(Box::new(reader)));
            Ok(Self { rows, features: described["info"]["features"].clone() })
        });
        result(opened).map_err(failed)
    }

    /// The names that the file gives the numbers in the lists of `column` (a list of `ClassLabel` in `datasets`). Numbers
    /// alone, such as the class of a text, are no tags.
    pub fn class_names(&self, column: &str) -> Option<Vec<String>> {
        let described = &self.features[column];
        let of_elements = [&described["feature"], &described[0]];
        let labels = of_elements.into_iter().find(|feature| feature["_type"] == "ClassLabel")?;
        labels["names"].as_array()?.iter().map(|name| Some(name.as_str()?.to_owned())).collect()
    }
}

impl Iterator for Rows {
    type Item = io::Result<Value>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.rows.as_mut()?;
        let row = match caught(|| rows.next().transpose()) {
            Ok(Ok(None)) => return None,
            Ok(Ok(Some(row))) => Ok(row),
            Ok(Err(error)) => Err(io::Error::other(plain(&error))),
            Err(panic) => Err(damaged(&panic)),
        };
        let value = row.and_then(|row| object(&row).map(Value::Object));
        if value.is_err() {
            self.rows = None;
        }
        Some(value)
    }
}

fn result<T>(caught: std::result::Result<Result<T>, String>) -> io::Result<T> {
    match caught {
        Ok(result) => result.map_err(|error| io::Error::other(plain(&error))),
        Err(panic) => Err(damaged(&panic)),
    }
}

/// The message without the words that begin every one.
fn plain(error: &ParquetError) -> String {
    let text = error.to_string();
    let text =
        ["Parquet error: ", "EOF: "].iter().find_map(|start| text.strip_prefix(start)).unwrap_or(&text);
    format!("it is not a whole Parquet file, or one of a kind that is not read: {text}")
}

fn damaged(panic: &str) -> io::Error {
    io::Error::other(format!("it is not a whole Parquet file: {panic}"))
}

/// The columns that are not null.
fn object(row: &Row) -> io::Result<Map<String, Value>> {
    let columns = row.get_column_iter().filter(|(_, field)| !matches!(field, Field::Null));
    columns.map(|(name, field)| Ok((name.clone(), value(name, field)?))).collect()
}

fn value(column: &str, field: &Field) -> io::Result<Value> {
    let number = |number: f64| Number::from_f64(number).map_or(Value::Null, Value::Number);
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(value) => (*value).into(),
        Field::Byte(value) => (*value).into(),
        Field::Short(value) => (*value).into(),
        Field::Int(value) => (*value).into(),
        Field::Long(value) => (*value).into(),
        Field::UByte(value) => (*value).into(),
        Field::UShort(value) => (*value).into(),
        Field::UInt(value) => (*value).into(),
        Field::ULong(value) => (*value).into(),
        Field::Float16(value) => number(value.to_f64()),
        Field::Float(value) => number(f64::from(*value)),
        Field::Double(value) => number(*value),
        Field::Str(text) => text.clone().into(),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => text.into(),
            Err(_) => {
                return Err(io::Error::other(format!("column `{column}` has bytes that are not UTF-8")));
            }
        },
        Field::Group(row) => Value::Object(object(row)?),
        Field::ListInternal(list) => {
            list.elements().iter().map(|element| value(column, element)).collect::<io::Result<_>>()?
        }
        Field::MapInternal(map) => {
            let entry = |(key, of_key): &(Field, Field)| {
                let key = match value(column, key)? {
                    Value::String(key) => key,
                    other => other.to_string(),
                };
                Ok((key, value(column, of_key)?))
            };
            Value::Object(map.entries().iter().map(entry).collect::<io::Result<_>>()?)
        }
        // Numbers of days and seconds, and decimals.
        other => other.to_string().into(),
    })
}
