//! The folder of a comparison, and the record of its methods.

use std::fs;
use std::path::Path;

use hyperloader_core::files::{FileError, read_text, write_atomic};
use toml::{Table, Value};

use super::error::CompareError;
use super::plan::{Plan, RUNS};
use crate::config::{STREAMS, difference};

/// The file with the configuration of each method, in the folder of a comparison.
pub const METHODS: &str = "methods.toml";
/// Keys that differ between the runs of a method, or that do not change results.
const NOT_COMPARED: [&str; 4] = ["runs", "streams", "seed", "name"];
/// Keys of `[training]` that do not change results, or that differ between the runs of a method.
const NOT_COMPARED_OF_TRAINING: [&str; 3] = ["device", "threads", "fraction"];

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
            let table = method.config.without(&self.out, &NOT_COMPARED, &NOT_COMPARED_OF_TRAINING)?;
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
}
