//! Options that several commands of `hl-train` share, and paths in commands that a hint names.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::builder::{PathBufValueParser, PossibleValuesParser, TypedValueParser};
use hyperloader_cli::runs::folder_of_runs;
use hyperloader_cli::{Console, choices};
use hyperloader_core::corpus::LabelPreset;
use hyperloader_core::device::Device;
use hyperloader_core::method::variants;
use hyperloader_core::run::{Candidates, Run};
use hyperloader_trainer::config::{Config, TrainingConfig};
use hyperloader_trainer::train::CONFIG;

/// The run that a command works on.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Folder of the run [default: the run in the folder of `--runs` that was trained last]
    run: Option<PathBuf>,

    /// Folder in which runs are searched for [default: `runs` of `hyperloader.toml` in the current folder, else `runs`]
    #[arg(long, value_name = "DIR", conflicts_with = "run")]
    runs: Option<PathBuf>,
}

impl RunArgs {
    /// The folder of the run, which is the newest of `candidates` if none is named; a note then names it.
    pub(crate) fn folder(&self, candidates: Candidates, console: &Console) -> Result<PathBuf> {
        if let Some(folder) = &self.run {
            return Ok(folder.clone());
        }
        let folder = Run::newest(&folder_of_runs(self.runs.as_deref())?, candidates)?.folder;
        console.note(format_args!("run `{}`, the newest", folder.display()));
        Ok(folder)
    }
}

/// A folder with the paper's corpora.
pub(crate) fn known_corpora() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match path.is_file() {
        false => Ok(path),
        true => Err(format!(
            "it is a file, expected a folder with the corpora of the paper\n\
             hint: `hl-train init --data {}` writes a configuration for your own corpus",
            quoted(&path)
        )),
    })
}

/// A path as one word of a command line, in quotes if it has other characters than plain ones.
pub(crate) fn quoted(path: &Path) -> String {
    quoted_for(cfg!(windows), &path.display().to_string())
}

/// A path for the command lines of Windows, where `\` is no escape and no name has a `"`, or for those of other systems.
fn quoted_for(is_windows: bool, path: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:@%".contains(c) || (is_windows && c == '\\');
    match path.chars().all(is_plain) {
        true => path.to_owned(),
        false if is_windows => format!("\"{path}\""),
        false => format!("'{}'", path.replace('\'', "'\\''")),
    }
}

/// What the model is computed with.
#[derive(Debug, clap::Args)]
pub(crate) struct ComputeArgs {
    /// Device: `auto`, `cpu`, `cuda` or `cuda:N` [default: the configuration's]
    ///
    /// `auto` is the first GPU if there is one, else the CPU.
    #[arg(long)]
    pub(crate) device: Option<Device>,

    /// Threads of one operation [default: the configuration's, else all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

impl ComputeArgs {
    /// Overrides the configuration with what was typed.
    pub(crate) fn apply(&self, training: &mut TrainingConfig) {
        if let Some(device) = self.device {
            training.device = device;
        }
        training.threads = self.threads.or(training.threads);
    }

    /// The configuration of an existing run, on this device.
    pub(crate) fn config_of(&self, run: &Run) -> Result<Config> {
        let mut config = Config::from_file(&run.folder.join(CONFIG))?;
        self.apply(&mut config.training);
        Ok(config)
    }
}

/// Names of all methods and their variants, for help, errors and completion.
pub(crate) fn method_names() -> PossibleValuesParser {
    PossibleValuesParser::new(variants().into_iter().map(|variant| variant.name))
}

/// Names of the label presets.
pub(crate) fn label_presets() -> impl TypedValueParser<Value = LabelPreset> {
    const PRESETS: [(LabelPreset, &str, &str); 3] = [
        (LabelPreset::Keep, "keep", "As distributed, but for mTOP and mTOD"),
        (LabelPreset::Plain, "plain", "Lower case; mTOP without `SL:`, mTOD up to the first `/`"),
        (
            LabelPreset::Reference,
            "reference",
            "The labels of the paper's authors, as far as their losses show",
        ),
    ];
    choices(&PRESETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_in_the_command_lines_of_each_system() {
        assert_eq!(quoted_for(false, "c/runs/a-1"), "c/runs/a-1");
        assert_eq!(quoted_for(false, "it's/a 1"), "'it'\\''s/a 1'");
        assert_eq!(quoted_for(false, r"a\b"), r"'a\b'");
        assert_eq!(quoted_for(true, r"C:\runs\a-1"), r"C:\runs\a-1");
        assert_eq!(quoted_for(true, r"C:\my runs\it's"), r#""C:\my runs\it's""#);
    }
}
