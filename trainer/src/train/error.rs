//! How a training fails.

use std::fmt;
use std::path::PathBuf;

use hyperloader_core::backbone::BackboneError;
use hyperloader_core::files::FileError;
use hyperloader_core::method::MethodError;
use hyperloader_core::run::RunError;

use crate::config::ConfigError;
use crate::data::DataError;
use crate::device::DeviceError;
use crate::drafter::FitError;
use crate::evaluate::EvaluationError;
use crate::hub::HubError;
use crate::model::TaggerError;

/// A training failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The configuration is unusable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The method does not fit.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// The backbone cannot be found or fetched.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The backbone is unusable.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// A corpus is unusable.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The device is not there.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The run's folder is unusable.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] TaggerError),
    /// An evaluation failed.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// A drafter could not be fitted.
    #[error("drafter: {0}")]
    Drafter(#[from] FitError),
    /// A drafter was asked for where none can be of use.
    #[error("run `{0}` is a token classifier, which decodes nothing: there is nothing to draft")]
    NothingToDraft(String),
    /// The run's name is taken.
    #[error("run `{path}` exists\nhint: go on with it by `--resume {path}`, choose another `--name`, or remove the folder", path = .0.display())]
    Exists(PathBuf),
    /// The folder's name is taken by something that is no run.
    #[error("`{}` exists and is no run\nhint: choose another `--name`, or remove the folder", .0.display())]
    Occupied(PathBuf),
    /// The run to start from is not of the same tasks, method and backbone.
    #[error("cannot start from run `{run}`: its {what} is {theirs}, the configuration's {ours}")]
    WarmStart {
        /// The run's name.
        run: String,
        /// What differs.
        what: &'static str,
        /// In the run.
        theirs: String,
        /// In the configuration.
        ours: String,
    },
    /// A resumed run would train on something else than before.
    #[error(
        "cannot go on with run `{run}`: {what} changed since it was started\nhint: restore it, or start a new run with `--warm-start`"
    )]
    Changed {
        /// The run's name.
        run: String,
        /// What changed.
        what: String,
    },
    /// The loss or its gradient is not a number any more.
    #[error(
        "{what} is {value} at step {step}, on {batch}\nhint: a lower `training.learning_rate` may help; the state before this step is saved"
    )]
    Diverged {
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The update that was tried.
        step: u64,
        /// What it was tried on.
        batch: BatchName,
    },
    /// libtorch gave up: mostly for want of memory.
    #[error("step {step} failed on {batch}: {reason}{hint}")]
    Step {
        /// The update that was tried.
        step: u64,
        /// What it was tried on.
        batch: BatchName,
        /// libtorch's reason.
        reason: String,
        /// What may help.
        hint: &'static str,
    },
}

/// Names a batch in an error.
#[derive(Debug, Clone)]
pub struct BatchName {
    /// Its task.
    pub task: String,
    /// Its examples, by their place in the task's training data.
    pub indices: Vec<usize>,
    /// Tokens of the longest source and the longest target.
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
