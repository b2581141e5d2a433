//! Errors of a backend.

use std::error::Error;
use std::path::PathBuf;

use hyperloader_core::device::Device;

use super::options::BackendKind;

/// The error of a runtime or of the system.
pub(super) type Cause = Box<dyn Error + Send + Sync>;

/// A backend cannot be used, or it failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum BackendError {
    /// The program was built without this backend.
    #[error("this program was built without the backend `{kind}`\nhint: build it with `--features {kind}`")]
    NotBuilt { kind: BackendKind },
    /// No library of ONNX Runtime could be loaded.
    #[error(
        "ONNX Runtime cannot be loaded, tried: {}\n\
         hint: `cargo xtask setup` fetches it; `--ort-lib FILE` or ORT_DYLIB_PATH names another one",
        .tried.join("; ")
    )]
    NoLibrary {
        /// The places that were tried, each with the reason.
        tried: Vec<String>,
    },
    /// The library that the user named cannot be loaded.
    #[error("ONNX Runtime cannot be loaded from `{}`, which {asked_by} names", path.display())]
    Library {
        path: PathBuf,
        /// The option or variable that names it.
        asked_by: &'static str,
        /// The loader's reason.
        source: Cause,
    },
    /// The backend cannot use the device.
    #[error("device `{device}` cannot be used by {kind}\nhint: `--device cpu` runs everywhere")]
    Device {
        kind: BackendKind,
        device: Device,
        /// The backend's reason.
        source: Cause,
    },
    /// A cache entry cannot be written.
    #[error(
        "the cache of the model cannot be written in `{}`\nhint: use another folder, or no cache",
        folder.display()
    )]
    Cache {
        /// The folder of the cache.
        folder: PathBuf,
        /// The reason of the system or of ONNX Runtime.
        source: Cause,
    },
    /// The backend does not accept the graph.
    #[error("{kind} does not accept the graph")]
    Open {
        kind: BackendKind,
        /// The backend's reason.
        source: Cause,
    },
    /// The backend lacks what the file needs.
    #[error("{kind} cannot run the file: {reason}\nhint: ONNX Runtime can")]
    Unsupported {
        kind: BackendKind,
        /// What it lacks.
        reason: &'static str,
    },
    /// The backend failed while it ran the graph.
    #[error("{kind} failed to run the graph")]
    Run {
        kind: BackendKind,
        /// The backend's reason.
        source: Cause,
    },
    /// A logit is infinite or not a number.
    #[error("the model's output is not finite")]
    NotFinite,
    /// A worker thread panicked.
    #[error("a worker thread panicked")]
    WorkerDied,
    /// The elements of a tensor do not fill its shape.
    #[error("a tensor of shape {shape:?} cannot hold {found} elements")]
    Shape {
        shape: Vec<usize>,
        /// Number of elements.
        found: usize,
    },
    /// A tensor holds elements of another type.
    #[error("expected a tensor of {expected}, found {found}")]
    ElementType {
        /// The type asked for.
        expected: &'static str,
        /// The type found.
        found: String,
    },
}

impl BackendError {
    /// Whether the fault is the program's or the runtime's: the options and the file are in order.
    pub fn is_internal(&self) -> bool {
        match self {
            Self::NotBuilt { .. }
            | Self::NoLibrary { .. }
            | Self::Library { .. }
            | Self::Device { .. }
            | Self::Cache { .. }
            | Self::Unsupported { .. }
            | Self::NotFinite => false,
            Self::Open { .. }
            | Self::Run { .. }
            | Self::WorkerDied
            | Self::Shape { .. }
            | Self::ElementType { .. } => true,
        }
    }

    /// The message with those of all causes, and the hints after them.
    pub(crate) fn in_full(&self) -> String {
        let causes = std::iter::successors(self.source(), |&cause| cause.source());
        let messages: Vec<String> =
            std::iter::once(self.to_string()).chain(causes.map(<dyn Error>::to_string)).collect();
        let lines = || messages.iter().flat_map(|message| message.lines());
        let is_hint = |line: &&str| line.starts_with("hint: ");
        let body: Vec<&str> = lines().filter(|line| !is_hint(line)).collect();
        let hints = lines().filter(is_hint);
        std::iter::once(body.join(": ").as_str()).chain(hints).collect::<Vec<_>>().join("\n")
    }
}
