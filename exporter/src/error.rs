//! Errors of an export.

use hyperloader_core::backbone::BackboneError;
use hyperloader_core::backbone::t5::Stack;
use hyperloader_core::files::FileError;
use hyperloader_core::format::tagger::MetadataError;
use hyperloader_core::method::MethodError;
use hyperloader_core::run::RunError;
use hyperloader_core::text::sentt::SentTError;
use hyperloader_core::text::wordpiece::WordPieceError;
use hyperloader_onnx::{BuildError, ReadError, WriteError};
use hyperloader_runtime::BackendError;

use crate::cost::{CostError, TooCostly};
use crate::fold::FoldError;
use crate::import::error::ImportError;
use crate::materialise::MaterialiseError;
use crate::multi::error::MultiError;
use crate::precision::Precision;
use crate::verify::Ladder;
use crate::web::error::WebError;

/// A task could not be exported. No file is left at the given path; an older file there stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The run, its checkpoint or its backbone is unusable.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A checkpoint of another program is unusable.
    #[error(transparent)]
    Import(Box<ImportError>),
    /// The tasks cannot be in one graph.
    #[error(transparent)]
    Multi(#[from] MultiError),
    /// The task cannot be written as a site.
    #[error(transparent)]
    Web(Box<WebError>),
    /// Method and backbone do not belong together.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// A tensor or the tokenizer of the model is unusable.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The graph could not be built.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The model could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The metadata of the file could not be encoded.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The written file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A backend cannot run the written file.
    #[error("cannot verify the written file")]
    Backend(#[from] BackendError),
    /// The written file computes something else than the trained model.
    #[error(
        "the exported model differs from the trained one\n{0}\nhint: no file was written; `--atol` and `--rtol` set the tolerance"
    )]
    Mismatch(Box<Ladder>),
    /// A matrix that is to keep float32 is not in the model.
    #[error(
        "no matrix of the model has a name like `{pattern}`\nhint: names are those in the file, such as `{example}`"
    )]
    Pattern {
        /// The pattern.
        pattern: String,
        /// A name that there is.
        example: String,
    },
    /// LoRA beside the matrices was asked for in another precision than float32.
    #[error(
        "a file in {0} cannot have LoRA beside the matrices, only folded into them\nhint: leave out `--unfolded`, or `--precision`"
    )]
    Unfolded(Precision),
    /// The precision changes the tags too much.
    #[error(
        "{0}\nhint: no file was written; `--keep-f32` keeps matrices in float32, `--max-f1-drop` sets the limit"
    )]
    Cost(Box<TooCostly>),
    /// The cost of the precision could not be measured.
    #[error("cannot measure what the precision costs")]
    Measure(#[from] CostError),
}

impl From<ImportError> for ExportError {
    fn from(error: ImportError) -> Self {
        Self::Import(Box::new(error))
    }
}

impl From<WebError> for ExportError {
    fn from(error: WebError) -> Self {
        Self::Web(Box::new(error))
    }
}

impl ExportError {
    /// Whether the program or a backend is at fault, and not what the user supplied.
    pub fn is_internal(&self) -> bool {
        matches!(
            self,
            Self::Backend(_) | Self::Graph(_) | Self::Metadata(_) | Self::Model(ModelError::Materialise(_))
        )
    }
}

/// A task's graph could not be built.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// The task's weights are for a stack of another depth.
    #[error("the task's weights have {found} {stack} blocks, the backbone has {expected}")]
    Depth {
        /// Encoder or decoder.
        stack: Stack,
        /// Number of blocks that have weights.
        found: usize,
        /// Number of blocks of the backbone.
        expected: usize,
    },
    /// A weight of an adapter has another shape than the backbone requires.
    #[error("`{name}` has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Name of the weight in the graph.
        name: String,
        /// Shape of the tensor.
        found: Vec<usize>,
        /// Shape that the backbone requires.
        expected: Vec<usize>,
    },
    /// A node reads a weight that is to be stored as int8 in a way that has no int8 form.
    #[error("node `{node}` ({op_type}) reads `{weight}` in a way that has no int8 form")]
    Reader {
        /// Name of the node.
        node: String,
        /// Operator of the node.
        op_type: String,
        /// Name of the weight.
        weight: String,
    },
    /// The graph is inconsistent.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// A tensor of a task's model is missing or unusable, or the model could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The backbone is unusable, or lacks a tensor.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The method's weights of the task could not be computed.
    #[error(transparent)]
    Materialise(#[from] MaterialiseError),
    /// A LoRA pair could not be folded.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The tokenizer of a T5 is unusable.
    #[error(transparent)]
    Tokenizer(#[from] SentTError),
    /// The tokenizer of a BERT is unusable.
    #[error(transparent)]
    WordPiece(#[from] WordPieceError),
    /// A file of the backbone could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A tensor has another shape than its place in the model requires.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Name of the tensor.
        name: String,
        /// Shape of the tensor.
        found: Vec<usize>,
        /// Shape that its place requires.
        expected: Vec<usize>,
    },
    /// A tensor has another number of dimensions than its place in the model requires.
    #[error("tensor `{name}` has shape {found:?}, expected {expected} dimensions")]
    Rank {
        /// Name of the tensor.
        name: String,
        /// Shape of the tensor.
        found: Vec<usize>,
        /// Number of dimensions that its place requires.
        expected: usize,
    },
    /// An id has no row in the embedding.
    #[error("id {id} is outside the model's vocabulary of {vocab_size}")]
    Id {
        /// Id without a row.
        id: i64,
        /// Number of rows of the embedding.
        vocab_size: usize,
    },
    /// A source is longer than the model's table of positions.
    #[error("a source of {length} tokens exceeds the model's {limit} positions")]
    Length {
        /// Number of tokens of the source.
        length: usize,
        /// Number of rows of the table.
        limit: usize,
    },
    /// A tensor contains an infinity or a NaN.
    #[error(
        "tensor `{0}` contains values that are not finite\nhint: training diverged; use an earlier checkpoint or a lower learning rate"
    )]
    NotFinite(String),
    /// A matrix has elements that the precision cannot hold.
    #[error(
        "matrix `{name}` has elements beyond the range of float16\nhint: `--keep-f32 {name}`, or `--precision bf16`"
    )]
    Range {
        /// Name of the matrix.
        name: String,
    },
    /// The attention mask and the ids have different shapes.
    #[error("the attention mask has shape {mask:?}, the ids have {ids:?}")]
    Mask {
        /// Shape of the mask.
        mask: Vec<usize>,
        /// Shape of the ids.
        ids: Vec<usize>,
    },
}
