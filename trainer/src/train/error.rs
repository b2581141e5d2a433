//! How a training fails.

use std::fmt;
use std::path::PathBuf;

use hyperloader_core::backbone::BackboneError;
use hyperloader_core::files::FileError;
use hyperloader_core::method::Method;
use hyperloader_core::run::RunError;

use super::diagnosis::lower_rate;
use crate::config::ConfigError;
use crate::data::{DataError, StoreError};
use crate::device::DeviceError;
use crate::evaluate::EvaluationError;
use crate::hub::HubError;
use crate::model::{ModelError, OpenError};
use crate::parallel::PeerFailed;

/// A training failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum TrainError {
    /// The configuration is unusable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The backbone cannot be opened, or the configuration does not fit it.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The backbone cannot be found or fetched.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A file of the backbone cannot be read.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// A corpus is unusable.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The store of a streamed task cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The device is not available.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The run folder is unusable.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An evaluation failed.
    #[error(transparent)]
    Evaluation(EvaluationError),
    /// Another process failed.
    #[error(transparent)]
    Peer(#[from] PeerFailed),
    /// A drafter could not be fitted.
    #[error("cannot fit the drafter of task `{task}`")]
    Drafter {
        /// Name of the task.
        task: String,
        /// The underlying error.
        source: Box<ModelError>,
    },
    /// The model generates no text, so it needs no drafter.
    #[error("run `{0}` is a token classifier: it generates no text, so it needs no drafter")]
    NothingToDraft(String),
    /// A run of this name exists.
    #[error("run `{path}` already exists\nhint: continue it with `--resume {path}`, choose another `--name`, or remove the folder", path = .0.display())]
    Exists(PathBuf),
    /// The folder exists and is not a run.
    #[error("`{}` already exists and is not a run\nhint: choose another `--name`, or remove the folder", .0.display())]
    Occupied(PathBuf),
    /// The run of `--warm-start` has another method or another backbone.
    #[error(
        "cannot start from run `{run}`: its {what} is {theirs}, the configuration's {ours}\nhint: take the run's, or start without `--warm-start`"
    )]
    WarmStart {
        /// The name of the run.
        run: String,
        /// The property that differs.
        what: &'static str,
        /// Its value in the run.
        theirs: String,
        /// Its value in the configuration.
        ours: String,
    },
    /// The run of `--warm-start` has no tensor that fits.
    #[error(
        "cannot start from run `{run}`: `{method}` shares nothing between tasks, and the run has only {tasks}\nhint: start without `--warm-start`"
    )]
    NothingShared {
        /// The name of the run.
        run: String,
        /// The method of both.
        method: Method,
        /// The tasks of the run.
        tasks: String,
    },
    /// What a resumed run was trained on has changed.
    #[error(
        "cannot continue run `{run}`: {what} has changed since the run started\nhint: restore it, or start a new run with `--warm-start`"
    )]
    Changed {
        /// The name of the run.
        run: String,
        /// Name of the part that changed.
        what: String,
    },
    /// The loss or its gradient is not finite.
    #[error(
        "{what} is {value} at step {step}, on {batch}\nhint: a lower `training.learning_rate` may help, such as {} (it is {rate:e}); the state before this step is saved",
        lower_rate(*.rate)
    )]
    Diverged {
        /// `loss` or `gradient norm`.
        what: &'static str,
        value: f64,
        /// The step of the failed update.
        step: u64,
        /// The batch of the failed update.
        batch: BatchName,
        /// The learning rate of the configuration.
        rate: f64,
    },
    /// There are more processes than parts of a batch.
    #[error(
        "{processes} processes cannot share the {parts} {} of a batch\nhint: start at most {parts}, or start a new run with `--parts {processes}`",
        if *.parts == 1 { "part" } else { "parts" }
    )]
    TooManyProcesses {
        /// The number of processes.
        processes: usize,
        /// `training.parts`.
        parts: usize,
    },
    /// A property of a process differs from that of process 0.
    #[error(
        "process {rank} on `{machine}` has another {what}: {other}, process 0 has {first}\nhint: all processes need the same program, configuration, backbone, corpora and `--threads`, and processors of one type"
    )]
    Unequal {
        /// Name of the property.
        what: String,
        /// Its value in process 0.
        first: String,
        /// The number of the other process.
        rank: usize,
        /// The machine of the other process.
        machine: String,
        /// Its value in the other process.
        other: String,
    },
    /// libtorch failed, for example because memory ran out.
    #[error("step {step} failed on {batch}: {reason}{hint}")]
    Step {
        /// The step of the failed update.
        step: u64,
        /// The batch of the failed update.
        batch: BatchName,
        /// The reason, from libtorch.
        reason: String,
        /// A `hint:` line, or empty.
        hint: &'static str,
    },
}

impl From<EvaluationError> for TrainError {
    fn from(error: EvaluationError) -> Self {
        match error {
            EvaluationError::Peer(error) => Self::Peer(error),
            error => Self::Evaluation(error),
        }
    }
}

impl TrainError {
    /// Whether the program is at fault: a model that fails on valid input is not the user's error, all other errors are.
    pub fn is_internal(&self) -> bool {
        match self {
            Self::Model(_) | Self::Evaluation(_) => true,
            Self::Peer(error) => error.failure.is_internal,
            _ => false,
        }
    }
}

/// A batch, as errors name it.
#[derive(Debug, Clone)]
pub struct BatchName {
    /// Name of the task.
    pub task: String,
    /// The indices of the examples in the task's training data.
    pub indices: Vec<usize>,
    /// The number of tokens of the longest source and of the longest target.
    pub longest: (usize, usize),
}

impl fmt::Display for BatchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, indices, longest: (source, target) } = self;
        let shown: Vec<String> = indices.iter().take(8).map(ToString::to_string).collect();
        let more = if indices.len() > shown.len() { ", ..." } else { "" };
        write!(
            f,
            "task `{task}`, {} sentences (training examples {}{more}; up to {source} source and {target} target tokens)",
            indices.len(),
            shown.join(", "),
        )
    }
}
