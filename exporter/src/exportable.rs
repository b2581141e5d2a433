//! The trait that each architecture implements for its models.

use hyperloader_core::format::tagger::TaggerKind;
use hyperloader_core::run::{Manifest, Run, Task};
use hyperloader_core::text::drafter::Transitions;
use hyperloader_core::weights::tensors::Tensors;
use hyperloader_onnx::Opset;

use crate::error::{ExportError, GraphError, ModelError};
use crate::precision::matrices::StoredMatrices;
use crate::verify::answers::ReferenceRun;
use crate::weights::{Loras, TaskGraph};

/// A task's model that can be written as a file.
pub(crate) trait Exportable: Sync {
    /// Builds the graph with the LoRA pairs at `loras`. Its weights are float32 and declare where their elements come from.
    ///
    /// # Errors
    /// Returns an error if the task's weights do not fit the backbone.
    fn graph(&self, opset: Opset, loras: Loras) -> Result<TaskGraph<'_>, GraphError>;

    /// Groups of matrices that a precision may be too coarse for, as patterns of their names.
    fn groups(&self) -> &'static [&'static str];

    /// Runs the reference model in each form up to the one that a file of the precision of `stored` contains. Matrices
    /// that are quantized are added to `stored`, so that the file can use them.
    ///
    /// # Errors
    /// Returns an error if a tensor or the tokenizer is unusable.
    fn reference_run(
        &self,
        manifest: &Manifest,
        task: &Task,
        stored: &StoredMatrices,
    ) -> Result<ReferenceRun, ModelError>;

    /// The metadata that a program needs to run the file.
    ///
    /// # Errors
    /// Returns an error if the tokenizer cannot be read.
    fn interface(&self, manifest: &Manifest, task: &Task) -> Result<Interface, ModelError>;
}

/// The fields of the metadata that depend on the architecture.
#[derive(Debug)]
pub(crate) struct Interface {
    /// Encoder-decoder or token classifier.
    pub(crate) kind: TaggerKind,
    /// Largest number of target ids; 0 for a token classifier.
    pub(crate) max_target_len: usize,
    /// Id of the padding token.
    pub(crate) pad: i64,
    /// Id of the token that ends a sentence.
    pub(crate) eos: i64,
    /// Id of the token that the decoder starts with.
    pub(crate) start: i64,
    /// Number of blocks of the decoder; 0 for a token classifier.
    pub(crate) decoder_layers: usize,
    /// Begins each source, so that the model knows the task; empty if it needs none.
    pub(crate) source_prefix: String,
    /// Names of inner values that the decoder reads besides keys and values.
    pub(crate) memory: Vec<String>,
    /// Transitions of the drafter, if the task has one.
    pub(crate) drafter: Option<Transitions>,
    /// Content of `tokenizer.json`.
    pub(crate) tokenizer: String,
}

/// Creates the models of a run's tasks.
pub(crate) trait Models: std::fmt::Debug {
    /// The model of `task` with the tensors of a checkpoint.
    ///
    /// # Errors
    /// Returns an error if the backbone or a tensor is unusable.
    fn model(&self, run: &Run, tensors: &Tensors, task: &Task) -> Result<Box<dyn Exportable>, ExportError>;
}
