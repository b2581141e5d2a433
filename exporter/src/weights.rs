//! The weights of a task's graph.
//!
//! The code that builds a graph declares each weight once: name, type and shape in the file are the fields of
//! [`Weight`]; its [`Source`] states the part of the model, the layout, whether a lower precision applies, and the tensor
//! that the elements come from. The file, the summary and the precisions read this declaration.

use std::fmt;

use hyperloader_core::weights::in_place::TensorRef;
use hyperloader_core::weights::tensors::HostTensor;
use hyperloader_onnx::{BuiltModel, Bytes, ElementType, GraphBuilder, Value, Weight};
use serde::Serialize;

use crate::error::ModelError;
pub use crate::layout::Layout;
use crate::layout::laid_out;

/// A task's graph. All weights are float32.
pub type TaskGraph<'a> = BuiltModel<Source<'a>>;

/// Builds a [`TaskGraph`].
pub(crate) type TaskGraphBuilder<'a> = GraphBuilder<Source<'a>>;

/// A part of a model, by which an export's summary groups the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Part {
    /// Token, position and type embeddings.
    #[serde(rename = "embedding")]
    Embedding,
    /// The matrix from states to logits, if it is not the embedding, or a classifier.
    #[serde(rename = "head")]
    Head,
    /// Relative position biases by distance.
    #[serde(rename = "position tables")]
    PositionTables,
    /// Adapters that are the same for every input.
    #[serde(rename = "adapters")]
    Adapters,
    /// Hypernetwork that generates adapters from each input.
    #[serde(rename = "generator")]
    Generator,
    /// LoRA pairs that cannot be folded, with their gates.
    #[serde(rename = "LoRA")]
    Lora,
    /// Keys and values before those of each layer, with their gates.
    #[serde(rename = "prefix")]
    Prefix,
    /// RMS norms and layer norms of the backbone.
    #[serde(rename = "norms")]
    Norms,
    /// Feed-forward layers.
    #[serde(rename = "feed-forward")]
    FeedForward,
    /// Query, key, value and output projections.
    #[serde(rename = "attention")]
    Attention,
    /// The classifier that drafts tags from the encoder's states.
    #[serde(rename = "drafter")]
    Drafter,
}

impl Part {
    /// All parts, in the order of the summary.
    pub const ALL: [Self; 11] = [
        Self::Embedding,
        Self::Head,
        Self::PositionTables,
        Self::Adapters,
        Self::Generator,
        Self::Lora,
        Self::Prefix,
        Self::Norms,
        Self::FeedForward,
        Self::Attention,
        Self::Drafter,
    ];
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedding => "embedding",
            Self::Head => "head",
            Self::PositionTables => "position tables",
            Self::Adapters => "adapters",
            Self::Generator => "generator",
            Self::Lora => "LoRA",
            Self::Prefix => "prefix",
            Self::Norms => "norms",
            Self::FeedForward => "feed-forward",
            Self::Attention => "attention",
            Self::Drafter => "drafter",
        })
    }
}

/// Where the LoRA pairs of a task are in its graph.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Loras {
    /// Folded into the matrices that they update.
    #[default]
    Folded,
    /// Beside these matrices, which are then the same for all tasks.
    Separate,
}

/// Returns, reads or computes a source tensor.
type Load<'a> = Box<dyn Fn() -> Result<TensorRef<'a>, ModelError> + 'a>;

/// Where the elements of a weight come from, and what the weight is.
pub struct Source<'a> {
    /// Part of the model.
    pub part: Part,
    /// Order of the elements in the file.
    pub layout: Layout,
    /// Whether the weight is a matrix of the backbone that a lower precision stores in fewer bits. Its source tensor has
    /// one output channel in each row: `[out, in]` of a linear map, `[vocab, d_model]` of an embedding.
    pub quantizable: bool,
    load: Load<'a>,
    /// Removes the tensor from the memory of this process, if it is mapped from a file.
    release: Box<dyn Fn() + 'a>,
}

impl<'a> Source<'a> {
    /// A tensor that is in memory: one that the method made for the task, or one of the drafter.
    pub(crate) fn in_memory(part: Part, layout: Layout, tensor: &'a HostTensor) -> Self {
        Self::mapped(part, layout, move || Ok(tensor.view().into()), || {})
    }

    /// A tensor that `load` reads or computes when the file is written.
    pub(crate) fn on_demand(
        part: Part,
        layout: Layout,
        load: impl Fn() -> Result<HostTensor, ModelError> + 'a,
    ) -> Self {
        Self::mapped(part, layout, move || load().map(TensorRef::from), || {})
    }

    /// A tensor that may be mapped from a file: `load` returns it when the file is written, `release` removes it from the memory
    /// of this process afterwards.
    pub(crate) fn mapped(
        part: Part,
        layout: Layout,
        load: impl Fn() -> Result<TensorRef<'a>, ModelError> + 'a,
        release: impl Fn() + 'a,
    ) -> Self {
        Self { part, layout, quantizable: false, load: Box::new(load), release: Box::new(release) }
    }

    /// The same as a matrix that a lower precision stores in fewer bits.
    pub(crate) fn quantizable(self) -> Self {
        Self { quantizable: true, ..self }
    }

    /// The source tensor, in its own layout.
    ///
    /// # Errors
    /// Returns an error if the tensor cannot be read or computed.
    pub fn load(&self) -> Result<TensorRef<'_>, ModelError> {
        (self.load)()
    }

    /// Removes the source tensor from the memory of this process, if it is mapped from a file.
    pub(crate) fn release(&self) {
        (self.release)();
    }

    /// The source tensor of the weight `name` of shape `dims` in the file, with its shape and values checked.
    ///
    /// # Errors
    /// As [`elements`].
    pub(crate) fn checked(&self, name: &str, dims: &[usize]) -> Result<TensorRef<'_>, ModelError> {
        let tensor = self.load()?;
        // A layout that is applied twice is the layout of the source.
        let expected = self.layout.of_shape(dims);
        if tensor.shape() != expected {
            return Err(ModelError::Shape {
                name: name.to_owned(),
                found: tensor.shape().to_vec(),
                expected,
            });
        }
        // Without branches, so that the compiler can use vector instructions.
        match tensor.fold(true, |finite, x| finite & x.is_finite()) {
            true => Ok(tensor),
            false => Err(ModelError::NotFinite(name.to_owned())),
        }
    }

    /// The elements of the weight `name` of shape `dims` in the file, see [`elements`].
    ///
    /// # Errors
    /// As [`elements`].
    pub(crate) fn elements(&self, name: &str, dims: &[usize]) -> Result<Bytes, ModelError> {
        let tensor = self.checked(name, dims)?;
        let bytes = laid_out(&tensor.view(), self.layout);
        drop(tensor);
        self.release();
        Ok(bytes.into())
    }
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, layout, quantizable, .. } = self;
        f.debug_struct("Source")
            .field("part", part)
            .field("layout", layout)
            .field("quantizable", quantizable)
            .finish_non_exhaustive()
    }
}

/// Declares the float32 weight `name` of shape `dims` in the file.
pub(crate) fn declare<'a>(
    graph: &mut TaskGraphBuilder<'a>,
    name: &str,
    dims: &[usize],
    source: Source<'a>,
) -> Value {
    graph.weight_from(name, ElementType::F32, dims, source)
}

/// Declares the float32 weight `name` whose source is `tensor`, which is in memory.
pub(crate) fn declare_tensor<'a>(
    graph: &mut TaskGraphBuilder<'a>,
    name: &str,
    part: Part,
    layout: Layout,
    tensor: &'a HostTensor,
) -> Value {
    let dims = layout.of_shape(tensor.shape());
    declare(graph, name, &dims, Source::in_memory(part, layout, tensor))
}

/// The elements of `weight` as in a float32 file: little-endian, row-major, in the declared layout.
///
/// # Errors
/// Returns an error if the source tensor cannot be read or computed, has another shape than declared, or contains an infinity or a NaN.
pub fn elements(weight: &Weight<Source<'_>>) -> Result<Bytes, ModelError> {
    weight.source.elements(&weight.name, &weight.dims)
}
