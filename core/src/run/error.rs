//! Errors of reading and writing a run's folder.

use std::path::PathBuf;

use crate::backbone::{BackboneError, BackboneKind, ConfigError};
use crate::files::FileError;
use crate::method::MethodError;
use crate::text::drafter::DrafterError;
use crate::weights::tensors::TensorError;

/// A run could not be read or written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum RunError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A checkpoint's tensors are unusable.
    #[error(transparent)]
    Tensors(#[from] TensorError),
    /// The backbone that the run was trained on is unusable.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The backbone is no longer in the hub's cache.
    #[error("the run's backbone, `{id}` of the Hugging Face hub at commit {commit}, is not in `{}`\nhint: `hf download {id} --revision {commit}` fetches it again; name its folder with `--backbone`", folder.display())]
    NotCached {
        /// The folder that held it.
        folder: PathBuf,
        /// Its id on the hub.
        id: String,
        /// Its commit, in hexadecimal.
        commit: String,
    },
    /// The method does not fit the backbone or the tasks.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// The run's backbone is not of the kind that is needed.
    #[error("run `{run}` was trained on a {found}, expected one on a {expected}")]
    Kind {
        /// The run's name.
        run: String,
        /// The kind that is needed.
        expected: BackboneKind,
        /// The kind that it was trained on.
        found: BackboneKind,
    },
    /// The folder holds no run.
    #[error("`{}` holds no run: `manifest.json` is missing\nhint: `hl-train` writes runs to `runs/`", .0.display())]
    NoRun(PathBuf),
    /// There is no run in the folder of runs.
    #[error("no run in `{}`\nhint: train one with `hl-train`, or name one with `--run`", .0.display())]
    NoRuns(PathBuf),
    /// The manifest is not one of ours.
    #[error("`{}` is not a run's manifest", path.display())]
    Manifest {
        /// Path of the file.
        path: PathBuf,
        /// Description of the fault, with line and column.
        source: serde_json::Error,
    },
    /// The manifest is of another version.
    #[error("`{}` is not a run's manifest of this version: format is {found}, expected {expected}", path.display())]
    Format {
        /// Path of the file.
        path: PathBuf,
        found: u32,
        /// The version that is read.
        expected: u32,
    },
    /// The manifest contradicts itself: its method, backbone and tasks do not belong together.
    #[error("`{}` is not a run's manifest", path.display())]
    Contradiction {
        /// Path of the file.
        path: PathBuf,
        /// Name of the part that does not fit.
        source: MethodError,
    },
    /// A field is absent for which a default would make another model.
    #[error("field `{field}` is missing from `{}`\nhint: a default would be another model; restore the file, or train again", path.display())]
    MissingField {
        /// Path of the manifest.
        path: PathBuf,
        /// The field, with the names of the tables that it is in.
        field: String,
    },
    /// The manifest's configuration of the backbone cannot be run.
    #[error("`{}` is not a run's manifest", path.display())]
    Architecture {
        /// Path of the manifest.
        path: PathBuf,
        /// Name of the field that is out of range.
        source: ConfigError,
    },
    /// The method in the manifest is not the one that a checkpoint was trained with.
    #[error("`{}` was trained with other hyper-parameters than those of `method` in `{}`\nhint: restore the manifest", path.display(), manifest.display())]
    OtherMethod {
        /// Path of the checkpoint.
        path: PathBuf,
        /// Path of the manifest.
        manifest: PathBuf,
    },
    /// The configuration of the backbone is not the one that the run was trained with.
    #[error("field `{field}` in `{}` is {found}, the run was trained with {trained}", path.display())]
    Config {
        /// The backbone's `config.json`.
        path: PathBuf,
        field: String,
        /// Its value there.
        found: String,
        /// Its value in the run's manifest.
        trained: String,
    },
    /// Another training writes to the run.
    #[error("run `{}` is being trained by another program\nhint: wait for it, or stop it with Ctrl-C", .0.display())]
    InUse(PathBuf),
    /// The run has no checkpoint yet.
    #[error("run `{}` has no checkpoint yet", .0.display())]
    NoCheckpoint(PathBuf),
    /// There are checkpoints, but none with the optimizer's state.
    #[error("run `{}` cannot be resumed: none of its checkpoints holds the optimizer's state\nhint: `--warm-start` begins a new run from its tensors", .0.display())]
    NoState(PathBuf),
    /// A file is not the one that the manifest names.
    #[error("`{}` is damaged or was replaced: SHA-256 is {found}, the manifest says {expected}", path.display())]
    Damaged {
        /// Path of the file.
        path: PathBuf,
        found: String,
        /// The hash in the manifest.
        expected: String,
    },
    /// The run was not trained on this task.
    #[error("unknown task `{task}`: run `{run}` was trained on {known}{hint}")]
    UnknownTask {
        /// The unknown name.
        task: String,
        /// The run's name.
        run: String,
        known: String,
        /// `hint: did you mean ...`, or nothing.
        hint: String,
    },
    /// The calibration cannot be read or written.
    #[error("`{}` is not a run's calibration\nhint: `hl-train calibrate` makes it again", path.display())]
    Calibration {
        /// Path of the file.
        path: PathBuf,
        /// Description of the fault.
        source: serde_json::Error,
    },
    /// A drafter does not fit its task.
    #[error("cannot use the drafters in `{}`\nhint: `hl-train drafter` fits them again", path.display())]
    Drafter {
        /// The file of drafters.
        path: PathBuf,
        /// Description of the fault.
        source: DrafterError,
    },
}
