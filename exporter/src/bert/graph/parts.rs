//! The parts that a BERT's graph is built from, and the declarations of its weights.

use hyperloader_core::backbone::bert::BertConfig;
use hyperloader_core::method::unipelt_bert::UnipeltBertConfig;
use hyperloader_core::weights::task::TaskWeights;
use hyperloader_core::weights::tensors::HostTensor;
use hyperloader_onnx::Value;

use crate::bert::prefix::Prefixes;
use crate::site::tensors::{FoldedTensors, source};
use crate::weights::{Layout, Loras, Part, Source, TaskGraphBuilder, declare};

/// The parts that the graph of a task's token classifier is built from.
#[derive(Debug, Clone, Copy)]
pub struct BertParts<'a> {
    /// Dimensions of the encoder.
    pub config: &'a BertConfig,
    /// What the task adds to the layers.
    pub modules: Modules<'a>,
    /// Number of BIO tags of the task.
    pub tags: usize,
    /// Reads the tensors when the file is written: those of the task by their names in a graph, and those of the encoder.
    pub tensors: &'a dyn FoldedTensors,
}

/// What a task adds to the layers.
#[derive(Debug, Clone, Copy)]
pub enum Modules<'a> {
    /// Adapters and LoRA, whichever method made them.
    Ungated {
        /// Adapters and LoRA pairs of each layer.
        weights: &'a TaskWeights<HostTensor>,
        /// Where the LoRA pairs are.
        loras: Loras,
    },
    /// The gated modules of `unipelt-bert`.
    Gated {
        /// Hyper-parameters of the method.
        method: &'a UnipeltBertConfig,
        /// Computes the prefixes when the file is written.
        prefixes: &'a dyn Prefixes,
    },
}

impl Modules<'_> {
    fn loras(&self) -> Loras {
        match self {
            Self::Ungated { loras, .. } => *loras,
            // No matrix of the encoder has a pair that could be folded.
            Self::Gated { .. } => Loras::Separate,
        }
    }
}

impl<'a> BertParts<'a> {
    /// The tensor `name` as the source of a weight.
    pub(super) fn source(&self, name: &str, part: Part, layout: Layout) -> Source<'a> {
        source(self.tensors, self.modules.loras(), name, part, layout)
    }

    /// `x W + b`, `[.., in]` to `[.., out]`, with the tensors `name.weight` and `name.bias`.
    pub(super) fn linear(
        &self,
        graph: &mut TaskGraphBuilder<'a>,
        (name, part): (&str, Part),
        dims: [usize; 2],
        x: Value,
    ) -> Value {
        let weight = self.matrix(graph, &format!("{name}.weight"), part, dims);
        let bias = self.vector(graph, &format!("{name}.bias"), part, dims[1]);
        let y = graph.matmul(x, weight);
        graph.add(y, bias)
    }

    /// The matrix `name`, `[in, out]` in the file.
    pub(super) fn matrix(
        &self,
        graph: &mut TaskGraphBuilder<'a>,
        name: &str,
        part: Part,
        dims: [usize; 2],
    ) -> Value {
        let source = self.source(name, part, Layout::Transposed);
        let of_encoder = matches!(part, Part::Attention | Part::FeedForward);
        let source = if of_encoder { source.quantizable() } else { source };
        declare(graph, name, &dims, source)
    }

    fn vector(&self, graph: &mut TaskGraphBuilder<'a>, name: &str, part: Part, width: usize) -> Value {
        declare(graph, name, &[width], self.source(name, part, Layout::Same))
    }

    /// The LayerNorm `name` of the encoder.
    pub(super) fn norm(&self, graph: &mut TaskGraphBuilder<'a>, name: &str, x: Value) -> Value {
        let gamma = self.vector(graph, &format!("{name}.weight"), Part::Norms, self.config.hidden_size);
        let beta = self.vector(graph, &format!("{name}.bias"), Part::Norms, self.config.hidden_size);
        graph.layer_normalization(x, gamma, beta, self.config.layer_norm_eps as f32)
    }
}
