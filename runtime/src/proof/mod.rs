//! Checks a file against the proof that it carries: the digests of its parts, and the answers of the reference model.
//!
//! - `check`: [`Check`]
//! - `parts`: graph, weights and properties by their digests
//! - `answers`: what each backend answers to the stored inputs

mod answers;
mod check;
mod parts;

use std::path::{Path, PathBuf};

use hyperloader_core::format::proof::{Cost, PROOF, Proof};
use hyperloader_onnx::WeightFile;
use hyperloader_onnx::proto::ModelProto;
use serde::Serialize;

pub use self::check::Check;
use crate::backend::{Backend, BackendError, BackendOptions};
use crate::error::ModelFileError;
use crate::model_file::{ModelFile, unreadable};

/// Number of checks of the file's parts.
const PARTS: usize = 3;

/// A file cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The file is not a tagger.
    #[error(transparent)]
    File(#[from] ModelFileError),
    /// The file carries no proof.
    #[error(
        "`{}` carries no proof: an earlier version exported it, or its metadata was removed\n\
         hint: export it again",
        .0.display()
    )]
    Missing(PathBuf),
    /// The proof cannot be read.
    #[error("metadata `{PROOF}` of `{}` is malformed\nhint: export the file again", path.display())]
    Malformed {
        /// Path of the file.
        path: PathBuf,
        /// Description of the fault.
        source: serde_json::Error,
    },
}

/// The result of checking a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProofReport {
    /// What was checked.
    pub checks: Vec<Check>,
    /// Backends that did not run the file.
    pub not_run: Vec<NotRun>,
    /// What the file's precision costs, as it was measured when it was exported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// A backend that did not run the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotRun {
    /// Its name; `backends` if none could have run it.
    pub backend: String,
    /// Why.
    pub reason: String,
}

impl ProofReport {
    /// Checks the file at `path`, and runs it in every backend that can be loaded; `options.kind` is ignored. `stage` receives a
    /// description of each step.
    ///
    /// # Errors
    /// [`ProofError`] if the file cannot be opened or carries no proof. What is not as it was exported is a check that does not hold.
    pub fn new(path: &Path, options: &BackendOptions, stage: &dyn Fn(&str)) -> Result<Self, ProofError> {
        let model = whole_model(path)?;
        // The files of a tagger: what else is wrong with them is said first.
        let files = ModelFile::open_all(path)?;
        let proof = proof(&model, path)?.ok_or_else(|| ProofError::Missing(path.to_owned()))?;
        stage("comparing graph, weights and metadata with their digests");
        let mut checks = digests(&model, &proof);
        let mut not_run = Vec::new();
        if proof.vectors.is_empty() {
            let reason = "the file was exported without verification".to_owned();
            not_run.push(NotRun { backend: "backends".to_owned(), reason });
            return Ok(Self { checks, not_run, cost: proof.cost });
        }
        for (kind, backend) in Backend::available(options) {
            let backend = match backend {
                Ok(backend) => backend,
                Err(error) => {
                    not_run.push(NotRun { backend: kind.to_string(), reason: error.in_full() });
                    continue;
                }
            };
            stage(&format!("running the file in {}", backend.description()));
            match answers::check(path, &files, &backend, options, &proof.vectors) {
                Ok(check) => checks.push(check),
                Err(error @ BackendError::Unsupported { .. }) => {
                    not_run.push(NotRun { backend: kind.to_string(), reason: error.in_full() });
                }
                Err(error) => checks.push(Check::fails(backend.description(), error.in_full())),
            }
        }
        Ok(Self { checks, not_run, cost: proof.cost })
    }

    /// Compares the parts of the file at `path` with their digests; no backend runs it. `None` if the file carries no proof.
    ///
    /// # Errors
    /// [`ProofError`] if the file cannot be opened, or its proof cannot be read.
    pub fn of_digests(path: &Path) -> Result<Option<Self>, ProofError> {
        let model = whole_model(path)?;
        let report =
            |proof: Proof| Self { checks: digests(&model, &proof), not_run: vec![], cost: proof.cost };
        Ok(proof(&model, path)?.map(report))
    }

    /// Whether all that was checked is as it was exported.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }

    /// Whether a backend ran the file. If not, only its digests were compared.
    pub fn was_run(&self) -> bool {
        self.checks.len() > PARTS
    }
}

/// The model of a file, with all its tasks.
fn whole_model(path: &Path) -> Result<ModelProto, ProofError> {
    let model = WeightFile::open(path).and_then(|file| file.model());
    model.map_err(|error| ProofError::File(unreadable(error, path)))
}

/// The proof that a model carries.
fn proof(model: &ModelProto, path: &Path) -> Result<Option<Proof>, ProofError> {
    let text = model.metadata().get(PROOF).copied();
    text.map(serde_json::from_str)
        .transpose()
        .map_err(|source| ProofError::Malformed { path: path.to_owned(), source })
}

fn digests(model: &ModelProto, proof: &Proof) -> Vec<Check> {
    vec![parts::graph(model, proof), parts::weights(model, proof), parts::properties(model, proof)]
}
