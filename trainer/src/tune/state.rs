//! The file of a search: its settings, and what its rungs measured.

use std::fs;
use std::path::Path;

use hyperloader_core::files::{FileError, is_temporary, read_text, write_atomic};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::error::TuneError;
use super::trial::Trial;
use crate::config::{Config, STREAMS, difference};

/// The name of the file in the folder of a search.
pub const STATE: &str = "tune.toml";
/// The version of the file that this code writes and reads.
const FORMAT: u32 = 1;
/// Keys that the search sets, or that do not change results.
const NOT_COMPARED: [&str; 3] = ["runs", "streams", "name"];
/// Keys of `[training]` that do not change results, or that the search sets.
const NOT_COMPARED_OF_TRAINING: [&str; 3] = ["device", "threads", "learning_rate"];

/// The contents of the file. A search with other settings is another search.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    format: u32,
    eta: usize,
    learning_rates: Vec<f64>,
    config: Table,
    /// What was measured, in the order of time.
    #[serde(rename = "trial", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) trials: Vec<Trial>,
}

impl State {
    /// The state of a search that has measured nothing, in the folder `folder`.
    pub(super) fn new(folder: &Path, config: &Config, rates: &[f64], eta: usize) -> Result<Self, FileError> {
        let config = config.without(folder, &NOT_COMPARED, &NOT_COMPARED_OF_TRAINING)?;
        Ok(Self { format: FORMAT, eta, learning_rates: rates.to_vec(), config, trials: Vec::new() })
    }

    /// The state that `folder` has, after checking that it is one of the search `self`; `self` if the folder is empty or absent.
    ///
    /// # Errors
    /// If the folder holds something else, or a search with other settings.
    pub(super) fn read(self, folder: &Path) -> Result<Self, TuneError> {
        let path = folder.join(STATE);
        if !path.exists() {
            return match is_empty(folder) {
                true => Ok(self),
                false => Err(TuneError::Occupied { folder: folder.to_owned(), file: STATE }),
            };
        }
        let unusable = |reason: String| TuneError::State { path: path.clone(), reason };
        let text = read_text(&path)?;
        let theirs: Self =
            toml::from_str(&text).map_err(|e| unusable(e.to_string().trim_end().to_owned()))?;
        if theirs.format != FORMAT {
            return Err(unusable(format!("`format` is {}, this version reads {FORMAT}", theirs.format)));
        }
        match theirs.difference(&self) {
            None => Ok(theirs),
            Some((field, theirs, ours)) => {
                Err(TuneError::OtherSearch { folder: folder.to_owned(), field, theirs, ours })
            }
        }
    }

    /// The first setting that differs, and both values.
    fn difference(&self, ours: &Self) -> Option<(String, String, String)> {
        let rates = |state: &Self| Value::from(state.learning_rates.clone());
        let eta = |state: &Self| Value::from(state.eta as i64);
        let config = |state: &Self| Value::Table(state.config.clone());
        difference("learning_rates", &rates(self), &rates(ours))
            .or_else(|| difference("eta", &eta(self), &eta(ours)))
            .or_else(|| difference("", &config(self), &config(ours)))
    }

    /// Writes the file, and creates the folder if it is absent.
    ///
    /// # Errors
    /// Any error of the file system.
    pub(super) fn write(&self, folder: &Path) -> Result<(), FileError> {
        fs::create_dir_all(folder).map_err(|e| FileError::new("create", folder, e))?;
        let path = folder.join(STATE);
        let text =
            toml::to_string(self).map_err(|e| FileError::new("write", &path, std::io::Error::other(e)))?;
        write_atomic(&path, |w| w.write_all(text.as_bytes()))
    }
}

/// Whether a folder is absent, or has at most the stores of streamed tasks, which are made before the search claims it, and the
/// temporary files of a program that was killed.
fn is_empty(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name())
        .all(|name| name == STREAMS || is_temporary(&name.to_string_lossy()))
}
