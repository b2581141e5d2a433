//! The folder of a comparison, and the record of its methods.

use std::fs;
use std::path::Path;

use hyperloader_core::files::{FileError, read_text, write_atomic};
use toml::{Table, Value};

use super::error::CompareError;
use super::plan::{Plan, RUNS};
use crate::config::STREAMS;

/// The file with the configuration of each method, in the folder of a comparison.
pub const METHODS: &str = "methods.toml";
/// Keys of `[training]` that do not change results, or that differ between the runs of a method.
const NOT_COMPARED: [&str; 3] = ["device", "threads", "fraction"];

impl Plan {
    /// Creates the folder of the comparison and records its methods, or checks those of an existing folder.
    ///
    /// # Errors
    /// If the folder holds something else, or runs that are not comparable: runs on other tasks, or of a method with the
    /// same label and another configuration.
    pub fn claim(&self) -> Result<(), CompareError> {
        let mut known = self.known_methods()?;
        known.extend(self.definitions()?);
        fs::create_dir_all(&self.out).map_err(|e| FileError::new("create", &self.out, e))?;
        let path = self.out.join(METHODS);
        let text =
            toml::to_string(&known).map_err(|e| FileError::new("write", &path, std::io::Error::other(e)))?;
        Ok(write_atomic(&path, |w| w.write_all(text.as_bytes()))?)
    }

    /// The configurations of the methods in the folder, after checking that they agree with this comparison.
    ///
    /// # Errors
    /// As [`Plan::claim`].
    pub fn known_methods(&self) -> Result<Table, CompareError> {
        let path = self.out.join(METHODS);
        if !path.exists() {
            let is_empty = fs::read_dir(&self.out).map_or(true, |mut entries| entries.next().is_none());
            return match !is_empty && !has_stores_only(&self.out) {
                true => Err(CompareError::Occupied { out: self.out.clone(), file: METHODS }),
                false => Ok(Table::new()),
            };
        }
        let unusable = |e: toml::de::Error| CompareError::Format {
            path: path.clone(),
            reason: e.to_string().trim_end().to_owned(),
        };
        let mut theirs: Table = read_text(&path)?.parse().map_err(unusable)?;
        // A method that was never trained may change.
        theirs.retain(|label, _| self.out.join(RUNS).join(label).exists());
        let ours = self.definitions()?;
        for (label, known) in &theirs {
            let difference = match (ours.get(label), ours.values().next()) {
                (Some(method), _) => difference(label, known, method),
                // All methods of a comparison have the same tasks.
                (None, Some(other)) => {
                    let tasks = |method: &Value| method.get("task").cloned().unwrap_or(Table::new().into());
                    difference(&format!("{label}.task"), &tasks(known), &tasks(other))
                }
                (None, None) => None,
            };
            if let Some((field, theirs, ours)) = difference {
                return Err(CompareError::OtherComparison { out: self.out.clone(), field, theirs, ours });
            }
        }
        Ok(theirs)
    }

    /// The configuration of each method by label, with paths relative to the folder.
    fn definitions(&self) -> Result<Table, CompareError> {
        let mut methods = Table::new();
        for method in &self.methods {
            let config = method.config.clone().relative_to(&self.out)?;
            let unusable = |e| FileError::new("write", &self.out.join(METHODS), std::io::Error::other(e));
            let mut table = Table::try_from(&config).map_err(unusable)?;
            for field in ["runs", "streams", "seed", "name"] {
                table.remove(field);
            }
            if let Some(Value::Table(training)) = table.get_mut("training") {
                NOT_COMPARED.iter().for_each(|field| drop(training.remove(*field)));
            }
            methods.insert(method.label.clone(), table.into());
        }
        Ok(methods)
    }
}

/// Whether a folder has nothing but the stores of streamed tasks: they are made before the comparison claims it.
fn has_stores_only(out: &Path) -> bool {
    let only = |folder: &Path, name: &str| {
        fs::read_dir(folder).is_ok_and(|entries| entries.flatten().all(|entry| entry.file_name() == name))
    };
    only(out, RUNS) && only(&out.join(RUNS), STREAMS)
}

/// The path of the first difference and both values, each on one line.
fn difference(path: &str, theirs: &Value, ours: &Value) -> Option<(String, String, String)> {
    if let (Value::Table(theirs), Value::Table(ours)) = (theirs, ours) {
        let fields: std::collections::BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
        let shown = |value: Option<&Value>| value.map_or("absent".to_owned(), one_line);
        return fields.into_iter().find_map(|field| {
            let path = format!("{path}.{field}");
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
    fn a_folder_with_stores_alone_can_be_claimed() {
        let out = tempfile::tempdir().unwrap();
        assert!(!has_stores_only(out.path()));
        fs::create_dir_all(out.path().join("runs/.streams")).unwrap();
        assert!(has_stores_only(out.path()));
        fs::write(out.path().join("runs/other"), "").unwrap();
        assert!(!has_stores_only(out.path()));
    }

    #[test]
    fn the_first_difference_is_named_with_both_values() {
        let table = |text: &str| Value::Table(text.parse().unwrap());
        let (a, b) = (table("x = 1\n[t]\ny = \"a\"\n"), table("x = 1\n[t]\ny = \"b\"\n"));
        let expected = ("m.t.y".to_owned(), "`\"a\"`".to_owned(), "`\"b\"`".to_owned());
        assert_eq!(difference("m", &a, &b), Some(expected));
        assert_eq!(difference("m", &a, &a), None);
        let absent = difference("m", &a, &table("x = 1")).unwrap();
        assert_eq!(absent, ("m.t".to_owned(), "present".to_owned(), "absent".to_owned()));
    }
}
