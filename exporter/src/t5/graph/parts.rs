//! The parts that a T5's graph is built from, and the declarations of the backbone's weights.

use hyperloader_core::backbone::t5::{T5Config, names};
use hyperloader_core::text::drafter::Drafter;
use hyperloader_core::weights::task::TaskWeights;
use hyperloader_core::weights::tensors::HostTensor;
use hyperloader_onnx::Value;

use crate::site::tensors::{FoldedTensors, source};
use crate::weights::{Layout, Loras, Part, Source, TaskGraphBuilder, declare};

/// The parts that the graph of a task's T5 is built from.
#[derive(Debug, Clone, Copy)]
pub struct T5Parts<'a> {
    /// Dimensions of the backbone.
    pub config: &'a T5Config,
    /// Adapters, LoRA pairs and the generator of the task.
    pub task: &'a TaskWeights<HostTensor>,
    /// Where the LoRA pairs are.
    pub loras: Loras,
    /// The task's drafter, if it has one.
    pub drafter: Option<&'a Drafter>,
    /// Reads the tensors of the backbone when the file is written.
    pub tensors: &'a dyn FoldedTensors,
}

impl<'a> T5Parts<'a> {
    /// A tensor of the backbone as the source of a weight.
    fn source(&self, name: &str, part: Part, layout: Layout) -> Source<'a> {
        source(self.tensors, self.loras, name, part, layout)
    }

    /// The embedding `[vocab, d_model]`.
    pub(super) fn embedding(&self, graph: &mut TaskGraphBuilder<'a>) -> Value {
        self.rows(graph, names::SHARED, Part::Embedding)
    }

    /// The matrix of the head `[vocab, d_model]`: the embedding if the model ties them.
    pub(super) fn head_matrix(&self, graph: &mut TaskGraphBuilder<'a>) -> Value {
        match self.config.head_name() {
            names::SHARED => self.embedding(graph),
            name => self.rows(graph, name, Part::Head),
        }
    }

    fn rows(&self, graph: &mut TaskGraphBuilder<'a>, name: &str, part: Part) -> Value {
        let dims = [self.config.vocab_size, self.config.d_model];
        declare(graph, name, &dims, self.source(name, part, Layout::Same).quantizable())
    }

    /// `x W` with the matrix `name`, `[in, out]` in the file. The product is a node in `scope`.
    pub(super) fn linear(
        &self,
        graph: &mut TaskGraphBuilder<'a>,
        scope: &str,
        (name, part): (&str, Part),
        dims: [usize; 2],
        x: Value,
    ) -> Value {
        let source = self.source(name, part, Layout::Transposed).quantizable();
        let weight = declare(graph, name, &dims, source);
        graph.scoped(scope, |graph| graph.matmul(x, weight))
    }

    /// T5's norm: `x / sqrt(mean(x^2) + eps) * weight`, without a mean and without an offset.
    pub(super) fn rms_norm(
        &self,
        graph: &mut TaskGraphBuilder<'a>,
        scope: &str,
        name: &str,
        x: Value,
    ) -> Value {
        let source = self.source(name, Part::Norms, Layout::Same);
        let weight = declare(graph, name, &[self.config.d_model], source);
        graph.scoped(scope, |graph| {
            let (two, epsilon) = (graph.f32(2.0), graph.f32(self.config.layer_norm_epsilon as f32));
            let square = graph.pow(x, two);
            let mean = graph.reduce_mean(square, &[-1]);
            let mean = graph.add(mean, epsilon);
            let root = graph.sqrt(mean);
            let normed = graph.div(x, root);
            graph.mul(normed, weight)
        })
    }
}
