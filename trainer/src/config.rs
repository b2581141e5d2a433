//! What a training is told: `hyperloader.toml`, read strictly; the command line overrides single values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use hyperloader_core::corpus::CorpusSpec;
use hyperloader_core::files::{FileError, read_text};
use hyperloader_core::method::{Method, MethodConfig};
use hyperloader_core::suggest;
use hyperloader_core::text::target::Alignment;
use serde::{Deserialize, Serialize};
use toml::de::{DeTable, ValueDeserializer};
use toml::{Table, Value};

use crate::model::Precision;
use crate::optimizer::AbsentGradient;
use crate::preset::{Preset, fill};
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
    /// A task that is not there was asked for.
    #[error("unknown task `{name}`; known are {known}{hint}")]
    UnknownTask {
        /// What was asked for.
        name: String,
        /// All tasks.
        known: String,
        /// The nearest one.
        hint: String,
    },
    /// A hyper-parameter on the command line is none of the method's.
    #[error("`{option}` for method `{method}`: {reason}")]
    MethodOption {
        /// As typed.
        option: String,
        /// The method.
        method: Method,
        /// What is wrong.
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
        expected: Cow<'static, str>,
    },
}

/// A whole configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Values for what is left open here.
    #[serde(default, skip_serializing)]
    pub preset: Option<Preset>,
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
    pub method: MethodConfig,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// In its place: a model of the Hugging Face hub, `NAME` or `OWNER/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
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
    /// Cut it into consecutive windows of words that each fit; validation and test sentences are tagged window by window.
    Window,
}

/// Optimisation and evaluation (reference section 3).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// Updates.
    pub steps: u64,
    /// Sentences of a step.
    pub batch_size: usize,
    /// Parts that a step's batch is computed in, one after the other: less memory, the same sum of gradients.
    pub gradient_accumulation: usize,
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
    /// Draw the sentences of a batch from this many of like length: less padding, less variety within a batch. From all
    /// of the task where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length_window: Option<usize>,
    /// What a task embedding does on other tasks' steps.
    pub absent_gradient: AbsentGradient,
    /// Longest source in tokens, `</s>` included.
    pub max_source_len: usize,
    /// Longest target in tokens, `</s>` included.
    pub max_target_len: usize,
    /// Training sentences beyond those limits.
    pub too_long: TooLong,
    /// Share of the training and validation sentences that is used, chosen by the seed; the test splits stay whole.
    pub fraction: f64,
    /// Updates between two evaluations of the validation splits; each is followed by a checkpoint.
    pub evaluate_every: u64,
    /// Updates between two checkpoints without an evaluation, if there are to be any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_every: Option<u64>,
    /// Latest checkpoints that are kept, besides the best ones.
    pub keep_last: usize,
    /// Sentences of an evaluation batch.
    pub evaluation_batch_size: usize,
    /// Which word a generated tag belongs to: `order`, as the reference scores, or `sentinel`.
    pub alignment: Alignment,
    /// Updates between two lines of `metrics.jsonl`.
    pub log_every: u64,
    /// Whether drafters are fitted at the end: they make `hl-run` faster and change no tag.
    pub drafter: bool,
    /// `auto`, `cpu` or `cuda[:N]`.
    pub device: String,
    /// Precision of products with frozen matrices while training; final scores are computed in float32.
    pub precision: Precision,
    /// Whether equal runs on one GPU give equal bits, at some cost in speed; on the CPU they always do.
    pub deterministic: bool,
    /// Threads of one operation; the machine's cores where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            steps: 65_536,
            batch_size: 128,
            gradient_accumulation: 1,
            learning_rate: 3e-4,
            schedule: Decay::Linear,
            warmup_steps: 500,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
            label_smoothing: 0.1,
            dropout: None,
            temperature: 10.0,
            length_window: None,
            absent_gradient: AbsentGradient::Skip,
            max_source_len: 128,
            max_target_len: 128,
            too_long: TooLong::Skip,
            fraction: 1.0,
            evaluate_every: 1000,
            save_every: None,
            keep_last: 2,
            evaluation_batch_size: 64,
            alignment: Alignment::Order,
            log_every: 10,
            drafter: true,
            device: "auto".into(),
            precision: Precision::F32,
            deterministic: false,
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
        let unusable = |e: toml::de::Error| ConfigError::Format {
            path: path.to_owned(),
            reason: format!("{}{}", e.to_string().trim_end(), did_you_mean(e.message())),
        };
        check_method(&text).map_err(|(method, e)| {
            let stray = e.message().starts_with("unknown field") && did_you_mean(e.message()).is_empty();
            let text = e.to_string();
            let hint = format!("hint: `{method}` has no such hyper-parameter");
            match stray {
                true => ConfigError::Format {
                    path: path.to_owned(),
                    reason: format!("{}\n{hint}", text.trim_end()),
                },
                false => unusable(e),
            }
        })?;
        let mut config: Self = toml::from_str(&text).map_err(unusable)?;
        if let Some(preset) = config.preset {
            // Read twice: only an error of the text itself can name a line.
            let merged = text.parse().and_then(|table| preset.under(table)).map_err(unusable)?;
            config = merged.try_into().map_err(unusable)?;
        }
        Ok(config.resolved(path.parent().unwrap_or(Path::new(""))))
    }

    /// The same with relative paths taken from `folder`, where the configuration lies.
    pub fn resolved(mut self, folder: &Path) -> Self {
        self.runs = folder.join(&self.runs);
        self.backbone.path = self.backbone.path.map(|path| folder.join(path));
        self.tasks = self.tasks.into_iter().map(|(name, spec)| (name, spec.resolved(folder))).collect();
        self
    }

    /// Leaves only the tasks of these names.
    ///
    /// # Errors
    /// If there is no task of a name.
    pub fn keep_tasks(&mut self, names: &[String]) -> Result<(), ConfigError> {
        if let Some(name) = names.iter().find(|name| !self.tasks.contains_key(*name)) {
            let known = self.tasks.keys().map(String::as_str);
            return Err(ConfigError::UnknownTask {
                name: name.clone(),
                known: known.clone().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", "),
                hint: suggest::hint(name, known),
            });
        }
        self.tasks.retain(|name, _| names.contains(name));
        Ok(())
    }

    /// Sets one hyper-parameter of the method, typed as `KEY=VALUE`: `reduction_factor=8`, `lora.rank=4`.
    ///
    /// # Errors
    /// If the method has none of that name, or the value is of the wrong type.
    pub fn set_method_option(&mut self, option: &str) -> Result<(), ConfigError> {
        let method = self.method.method();
        let unusable =
            |reason: String| ConfigError::MethodOption { option: option.to_owned(), method, reason };
        let (key, value) = option.split_once('=').ok_or_else(|| unusable("expected `KEY=VALUE`".into()))?;
        // A word without quotes is a text.
        let typed = option.parse::<Table>().or_else(|_| format!("{key}={}", Value::from(value)).parse());
        let mut table = typed.map_err(|e| unusable(e.message().to_owned()))?;
        fill(&mut table, Table::try_from(&self.method).map_err(|e| unusable(e.to_string()))?);
        self.method = Value::Table(table).try_into().map_err(|e: toml::de::Error| {
            unusable(format!("{}{}", e.message(), did_you_mean(e.message())))
        })?;
        Ok(())
    }

    /// The same with paths relative to `folder`, for a file that is kept there.
    ///
    /// # Errors
    /// If the working directory is gone.
    pub fn relative_to(mut self, folder: &Path) -> Result<Self, FileError> {
        self.runs = from_folder(&self.runs, folder)?;
        self.backbone.path = self.backbone.path.map(|path| from_folder(&path, folder)).transpose()?;
        for spec in self.tasks.values_mut() {
            for path in [&mut spec.train, &mut spec.test].into_iter().chain(&mut spec.valid) {
                *path = from_folder(path, folder)?;
            }
        }
        Ok(self)
    }

    /// Checks every value that the types leave open.
    ///
    /// # Errors
    /// Names the first impossible value.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let t = &self.training;
        if let Some(name) = &self.name
            && !is_folder_name(name)
        {
            let expected = "the name of a folder: no `/`, not empty, not `.` or `..`";
            return Err(ConfigError::Value {
                field: "name".to_owned(),
                value: format!("`{name}`"),
                expected: expected.into(),
            });
        }
        let at_least_one = [
            ("training.steps", t.steps),
            ("training.batch_size", t.batch_size as u64),
            ("training.gradient_accumulation", t.gradient_accumulation as u64),
            ("training.evaluate_every", t.evaluate_every),
            ("training.save_every", t.save_every.unwrap_or(1)),
            ("training.keep_last", t.keep_last as u64),
            ("training.length_window", t.length_window.unwrap_or(1) as u64),
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
        for (field, value) in
            [("training.batch_size", t.batch_size), ("training.threads", t.threads.unwrap_or(1))]
        {
            check(field, value as f64, value <= 1 << 20, "at most 1048576")?;
        }
        let rate = t.learning_rate;
        check("training.learning_rate", rate, rate > 0.0 && rate.is_finite(), "a number above 0")?;
        let share = |field, x: f64| check(field, x, (0.0..1.0).contains(&x), "in 0..1, without 1");
        share("training.label_smoothing", t.label_smoothing)?;
        share("training.dropout", t.dropout.unwrap_or(0.0))?;
        share("training.weight_decay", t.weight_decay)?;
        let norm = t.max_grad_norm;
        check("training.max_grad_norm", norm, norm > 0.0, "a number above 0")?;
        let fraction = t.fraction;
        check(
            "training.fraction",
            fraction,
            fraction > 0.0 && fraction <= 1.0,
            "a number above 0, at most 1",
        )?;
        let heat = t.temperature;
        check("training.temperature", heat, heat >= 1.0 && heat.is_finite(), "a number from 1 on")?;
        check("task", self.tasks.len() as f64, !self.tasks.is_empty(), "at least one `[task.NAME]`")
    }
}

/// Reads `[method]` alone, as the hyper-parameters of its method: only so does an error know its line. What else is wrong
/// with the text is left to others.
fn check_method(text: &str) -> Result<(), (Method, toml::de::Error)> {
    let table = DeTable::parse(text).ok().and_then(|document| document.into_inner().remove("method"));
    let Some(table) = table.filter(|table| table.get_ref().is_table()) else { return Ok(()) };
    let placed = |method| {
        move |mut error: toml::de::Error| {
            error.set_input(Some(text));
            (method, error)
        }
    };
    let method = match table.get_ref().get("method") {
        Some(name) => Method::deserialize(ValueDeserializer::from(name.clone())),
        None => Ok(Method::default()),
    };
    let method = method.map_err(placed(Method::default()))?;
    MethodConfig::read(method, ValueDeserializer::from(table)).map(|_| ()).map_err(placed(method))
}

/// The way to `path` from `folder`; absolute where there is none.
///
/// # Errors
/// If the working directory is gone.
pub fn from_folder(path: &Path, folder: &Path) -> Result<PathBuf, FileError> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(|e| FileError::new("find", path, e));
    let (path, folder) = (absolute(path)?, absolute(folder)?);
    Ok(pathdiff::diff_paths(&path, folder).unwrap_or(path))
}

/// Whether `name` is one part of a path, so that a run stays among the runs.
pub(crate) fn is_folder_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name)
}

fn check(field: &str, value: f64, fine: bool, expected: &'static str) -> Result<(), ConfigError> {
    if fine {
        return Ok(());
    }
    Err(ConfigError::Value { field: field.to_owned(), value: value.to_string(), expected: expected.into() })
}

/// serde names the unknown field and all known ones in its message.
pub(crate) fn did_you_mean(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    match (message.starts_with("unknown"), quoted.next()) {
        (true, Some(typed)) => suggest::hint(typed, quoted),
        _ => String::new(),
    }
}
