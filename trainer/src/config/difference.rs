//! What two configurations differ in.

use std::collections::BTreeSet;
use std::path::Path;

use hyperloader_core::files::FileError;
use toml::{Table, Value};

use super::Config;

impl Config {
    /// The configuration as a table whose paths are relative to `folder`, without the keys `top` and the keys `training` of
    /// `[training]`.
    ///
    /// # Errors
    /// If the working directory does not exist, or a number is too large for TOML.
    pub(crate) fn without(&self, folder: &Path, top: &[&str], training: &[&str]) -> Result<Table, FileError> {
        let config = self.clone().relative_to(folder)?;
        let unusable = |e| FileError::new("write", folder, std::io::Error::other(e));
        let mut table = Table::try_from(&config).map_err(unusable)?;
        top.iter().for_each(|field| drop(table.remove(*field)));
        if let Some(Value::Table(table)) = table.get_mut("training") {
            training.iter().for_each(|field| drop(table.remove(*field)));
        }
        Ok(table)
    }
}

/// The path of the first difference and both values, each on one line. `path` is that of the values; it can be empty.
pub(crate) fn difference(path: &str, theirs: &Value, ours: &Value) -> Option<(String, String, String)> {
    if let (Value::Table(theirs), Value::Table(ours)) = (theirs, ours) {
        let fields: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
        let shown = |value: Option<&Value>| value.map_or("absent".to_owned(), one_line);
        return fields.into_iter().find_map(|field| {
            let path = if path.is_empty() { field.clone() } else { format!("{path}.{field}") };
            match (theirs.get(field), ours.get(field)) {
                (Some(theirs), Some(ours)) => difference(&path, theirs, ours),
                (theirs, ours) => Some((path, shown(theirs), shown(ours))),
            }
        });
    }
    (theirs != ours).then(|| (path.to_owned(), one_line(theirs), one_line(ours)))
}

fn one_line(value: &Value) -> String {
    match value {
        Value::Table(_) => "present".to_owned(),
        other => format!("`{other}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named_with_both_values() {
        let table = |text: &str| Value::Table(text.parse().unwrap());
        let (a, b) = (table("x = 1\n[t]\ny = \"a\"\n"), table("x = 1\n[t]\ny = \"b\"\n"));
        let both = |path: &str| (path.to_owned(), "`\"a\"`".to_owned(), "`\"b\"`".to_owned());
        assert_eq!(difference("m", &a, &b), Some(both("m.t.y")));
        assert_eq!(difference("", &a, &b), Some(both("t.y")));
        assert_eq!(difference("m", &a, &a), None);
        let absent = difference("m", &a, &table("x = 1")).unwrap();
        assert_eq!(absent, ("m.t".to_owned(), "present".to_owned(), "absent".to_owned()));
    }
}
