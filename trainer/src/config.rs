//! What a training is told: `hyperloader.toml`, read strictly; the command line overrides single values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hyperloader_core::corpus::CorpusSpec;
use hyperloader_core::files::{FileError, read_text};
use hyperloader_core::method::HyperConfig;
use hyperloader_core::suggest;
use serde::{Deserialize, Serialize};

use crate::optimizer::AbsentGradient;
use crate::schedule::Decay;

/// A configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error(
        "{0}\nhint: run `hl-train` in a folder with `hyperloader.toml`, or name a configuration with `--config`"
    )]
    File(#[from] FileError),
    /// The file is not a configuration.
    #[error("`{}`: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        reason: String,
    },
    /// A value is impossible.
    #[error("`{field}` is {value}, expected {expected}")]
    Value {
        /// The field.
        field: String,
        /// Its value.
        value: String,
        /// What would do.
        expected: &'static str,
    },
}

/// A whole configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder of all runs.
    #[serde(default = "default_runs")]
    pub runs: PathBuf,
    /// The run's name; the method's name and a number where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Seed of initialisation, sampling and dropout.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// The pretrained T5.
    pub backbone: BackboneConfig,
    /// The method and its hyper-parameters.
    #[serde(default)]
    pub method: HyperConfig,
    /// Optimisation and evaluation.
    #[serde(default)]
    pub training: TrainingConfig,
    /// Corpus of each task, by the task's name.
    #[serde(rename = "task", default)]
    pub tasks: BTreeMap<String, CorpusSpec>,
}

/// The pretrained T5.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneConfig {
    /// Folder in Hugging Face's layout.
    pub path: PathBuf,
    /// Use the checkpoint's legacy bias in cross-attention (reference section 6).
    #[serde(default)]
    pub cross_attention_relative_bias: bool,
}

/// What to do with a training sentence that is longer than the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TooLong {
    /// Leave it out; how many is reported.
    Skip,
    /// Cut it as the reference does: the first ids, then `</s>`.
    Truncate,
}

/// Optimisation and evaluation (reference section 3).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// Updates.
    pub steps: u64,
    /// Sentences of a step.
    pub batch_size: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// How it falls after the warm-up.
    pub schedule: Decay,
    /// Updates of linear warm-up.
    pub warmup_steps: u64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Global norm that gradients are clipped to.
    pub max_grad_norm: f64,
    /// Mass of the target distribution that is spread over the vocabulary.
    pub label_smoothing: f64,
    /// Dropout; the backbone's own where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Tasks are drawn by size to the power 1/temperature.
    pub temperature: f64,
    /// What a task embedding does on other tasks' steps.
    pub absent_gradient: AbsentGradient,
    /// Longest source in tokens, `</s>` included.
    pub max_source_len: usize,
    /// Longest target in tokens, `</s>` included.
    pub max_target_len: usize,
    /// Training sentences beyond those limits.
    pub too_long: TooLong,
    /// Updates between two evaluations of the validation splits.
    pub evaluate_every: u64,
    /// Sentences of an evaluation batch.
    pub evaluation_batch_size: usize,
    /// Updates between two lines of `metrics.jsonl`.
    pub log_every: u64,
    /// `auto`, `cpu` or `cuda[:N]`.
    pub device: String,
    /// Threads of one operation; the machine's cores where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            steps: 65_536,
            batch_size: 128,
            learning_rate: 3e-4,
            schedule: Decay::Linear,
            warmup_steps: 500,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
            label_smoothing: 0.1,
            dropout: None,
            temperature: 10.0,
            absent_gradient: AbsentGradient::Skip,
            max_source_len: 128,
            max_target_len: 128,
            too_long: TooLong::Skip,
            evaluate_every: 1000,
            evaluation_batch_size: 64,
            log_every: 10,
            device: "auto".into(),
            threads: None,
        }
    }
}

fn default_runs() -> PathBuf {
    "runs".into()
}

fn default_seed() -> u64 {
    42
}

impl Config {
    /// Reads a configuration; paths in it are relative to its own folder.
    ///
    /// # Errors
    /// If the file is missing, holds an unknown field (the nearest known one is suggested) or a value of the wrong
    /// type. Impossible values are found by [`Config::validate`], after the command line had its say.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = read_text(path)?;
        let mut config: Self = toml::from_str(&text).map_err(|e| ConfigError::Format {
            path: path.to_owned(),
            reason: format!("{}{}", e.to_string().trim_end(), did_you_mean(e.message())),
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        config.runs = folder.join(&config.runs);
        config.backbone.path = folder.join(&config.backbone.path);
        config.tasks = config.tasks.into_iter().map(|(name, spec)| (name, spec.resolved(folder))).collect();
        Ok(config)
    }

    /// Checks every value that the types leave open.
    ///
    /// # Errors
    /// Names the first impossible value.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let t = &self.training;
        let at_least_one = [
            ("training.steps", t.steps),
            ("training.batch_size", t.batch_size as u64),
            ("training.evaluate_every", t.evaluate_every),
            ("training.evaluation_batch_size", t.evaluation_batch_size as u64),
            ("training.log_every", t.log_every),
            ("training.threads", t.threads.unwrap_or(1) as u64),
        ];
        for (field, value) in at_least_one {
            check(field, value as f64, value >= 1, "at least 1")?;
        }
        for (field, value) in
            [("training.max_source_len", t.max_source_len), ("training.max_target_len", t.max_target_len)]
        {
            check(field, value as f64, (4..=1 << 16).contains(&value), "a number from 4 to 65536")?;
        }
        let rate = t.learning_rate;
        check("training.learning_rate", rate, rate > 0.0 && rate.is_finite(), "a number above 0")?;
        let share = |field, x: f64| check(field, x, (0.0..1.0).contains(&x), "in 0..1, without 1");
        share("training.label_smoothing", t.label_smoothing)?;
        share("training.dropout", t.dropout.unwrap_or(0.0))?;
        share("training.weight_decay", t.weight_decay)?;
        let norm = t.max_grad_norm;
        check("training.max_grad_norm", norm, norm > 0.0, "a number above 0")?;
        let heat = t.temperature;
        check("training.temperature", heat, heat >= 1.0 && heat.is_finite(), "a number from 1 on")?;
        check("task", self.tasks.len() as f64, !self.tasks.is_empty(), "at least one `[task.NAME]`")
    }
}

fn check(field: &str, value: f64, fine: bool, expected: &'static str) -> Result<(), ConfigError> {
    if fine {
        return Ok(());
    }
    Err(ConfigError::Value { field: field.to_owned(), value: value.to_string(), expected })
}

/// serde names the unknown field and all known ones in its message.
fn did_you_mean(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    match (message.starts_with("unknown"), quoted.next()) {
        (true, Some(typed)) => suggest::hint(typed, quoted),
        _ => String::new(),
    }
}
