//! `hl-train compare`: methods x fractions x seeds, trained one by one, and the paper's tables of them.
//!
//! Below `out` lie `methods.toml` (what each method is made of: runs of another comparison are refused by it),
//! `runs/METHOD/FRACTION/SEED`, ordinary run folders with `scores.json` beside their files, and the tables. A run is
//! done when its scores are there: they are written last, in one rename.

mod error;
mod figure;
mod plan;
mod results;
mod significance;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use hyperloader_core::files::{FileError, is_temporary, read_text, write_atomic};
use hyperloader_core::run::Run;
use toml::{Table, Value};

pub use self::error::CompareError;
pub use self::plan::{Budget, Cell, Plan, PlannedMethod};
pub use self::results::{Mean, Parameters, Results, Row, Scores, TaskScores};
pub use self::significance::{Sample, Significance, paired_bootstrap, resample, test_all};
pub use self::tables::{Report, write};
use crate::config::Config;
use crate::train::{CONFIG, End, Observer, TrainError, Training};

/// What each method of a comparison is made of, in its folder.
pub const METHODS: &str = "methods.toml";
/// Values that do not change results, or differ between the runs of a method.
const NOT_COMPARED: [&str; 3] = ["device", "threads", "fraction"];

/// How a run of a comparison ended.
#[derive(Debug)]
pub enum CellEnd {
    /// It is trained and scored.
    Done(Scores),
    /// It was asked to stop, and saved.
    Stopped {
        /// Updates done.
        step: u64,
    },
}

impl Plan {
    /// Makes the folder this comparison's own, or finds that it is.
    ///
    /// # Errors
    /// If the folder holds something else, or runs that would not compare with these: of other tasks, or of a method of
    /// the same label that is made of something else.
    pub fn claim(&self) -> Result<(), CompareError> {
        let mut known = self.known_methods()?;
        known.extend(self.definitions()?);
        fs::create_dir_all(&self.out).map_err(|e| FileError::new("create", &self.out, e))?;
        let path = self.out.join(METHODS);
        let text =
            toml::to_string(&known).map_err(|e| FileError::new("write", &path, std::io::Error::other(e)))?;
        Ok(write_atomic(&path, |w| w.write_all(text.as_bytes()))?)
    }

    /// What the methods in the folder are made of, after a look that they agree with this comparison's.
    ///
    /// # Errors
    /// As [`Plan::claim`].
    pub fn known_methods(&self) -> Result<Table, CompareError> {
        let path = self.out.join(METHODS);
        if !path.exists() {
            return match fs::read_dir(&self.out).is_ok_and(|mut entries| entries.next().is_some()) {
                true => Err(CompareError::Occupied { out: self.out.clone(), file: METHODS }),
                false => Ok(Table::new()),
            };
        }
        let unusable = |e: toml::de::Error| CompareError::Format {
            path: path.clone(),
            reason: e.to_string().trim_end().to_owned(),
        };
        let mut theirs: Table = read_text(&path)?.parse().map_err(unusable)?;
        // What was never trained binds nobody.
        theirs.retain(|label, _| self.out.join(plan::RUNS).join(label).exists());
        let ours = self.definitions()?;
        for (label, known) in &theirs {
            let difference = match (ours.get(label), ours.values().next()) {
                (Some(method), _) => difference(label, known, method),
                // Any method of a comparison has its tasks.
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

    /// Configuration of each method, by label, with paths relative to the folder.
    fn definitions(&self) -> Result<Table, CompareError> {
        let mut methods = Table::new();
        for method in &self.methods {
            let config = method.config.clone().relative_to(&self.out)?;
            let unusable = |e| FileError::new("write", &self.out.join(METHODS), std::io::Error::other(e));
            let mut table = Table::try_from(&config).map_err(unusable)?;
            for field in ["runs", "seed", "name"] {
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

/// Path and both values of the first difference, on one line each.
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

impl Cell<'_> {
    /// Whether the run is trained and scored.
    pub fn is_done(&self, out: &Path) -> bool {
        results::path(&self.folder(out)).is_file()
    }

    /// Trains the run, or goes on with it where it was cut, and scores it.
    ///
    /// # Errors
    /// If it cannot be trained, or a file cannot be written.
    pub fn run(
        &self,
        out: &Path,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<CellEnd, CompareError> {
        let folder = self.folder(out);
        let config = self.config(out);
        let samples = plan::samples(&config);
        let training = if Run::exists(&folder) {
            let mut kept = Config::from_file(&folder.join(CONFIG))?;
            kept.training.device = config.training.device;
            kept.training.threads = config.training.threads;
            Training::resume(kept, Run::open(&folder)?)?
        } else {
            remove_stillborn(&folder)?;
            Training::prepare(config, None)?
        };
        match training.run(observer, stop)? {
            End::Stopped { step, .. } => Ok(CellEnd::Stopped { step }),
            End::Finished(outcome) => {
                let scores = Scores::of(&outcome, &Run::open(&folder)?, samples).map_err(TrainError::from)?;
                scores.write(&folder)?;
                Ok(CellEnd::Done(scores))
            }
        }
    }
}

/// Removes the folder of a run that was cut before anything was written in it: a training would take it for somebody
/// else's.
fn remove_stillborn(folder: &Path) -> Result<(), FileError> {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let empty =
        |path: &PathBuf| is_temporary(&name(path)) || name(path) == "checkpoints" && entries(path).is_empty();
    if folder.is_dir() && entries(folder).iter().all(empty) {
        fs::remove_dir_all(folder).map_err(|e| FileError::new("remove", folder, e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn only_a_folder_that_nothing_was_written_in_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("1");
        fs::create_dir_all(folder.join("checkpoints")).unwrap();
        fs::write(folder.join(".hl-x.tmp"), "").unwrap();
        remove_stillborn(&folder).unwrap();
        assert!(!folder.exists());
        fs::create_dir_all(folder.join("checkpoints")).unwrap();
        fs::write(folder.join("notes"), "").unwrap();
        remove_stillborn(&folder).unwrap();
        assert!(folder.join("notes").exists());
    }
}
