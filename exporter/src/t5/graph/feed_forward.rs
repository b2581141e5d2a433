//! The feed-forward layer of a block (`docs/reference/backbones.md#t5-block`).

use hyperloader_core::backbone::t5::{Attention, Stack, T5Config, names};
use hyperloader_onnx::Value;

use super::generator::GeneratedAdapter;
use super::parts::T5Parts;
use crate::operators::activate;
use crate::site::graph::join;
use crate::weights::{Part, TaskGraphBuilder};

impl<'a> T5Parts<'a> {
    /// The feed-forward layer of a block with its norm, residual connection and adapter: the `generated` one if there is
    /// one, otherwise the task's.
    pub(super) fn feed_forward(
        &self,
        graph: &mut TaskGraphBuilder<'a>,
        (stack, block): (Stack, usize),
        states: Value,
        generated: Option<&GeneratedAdapter>,
    ) -> Value {
        let adapter = self.task.blocks(stack)[block].feed_forward_adapter.as_ref();
        let layer = Attention::of(stack).len();
        graph.scoped(&format!("layer.{layer}"), |graph| {
            let normed = self.rms_norm(graph, "layer_norm", &names::feed_forward_norm(stack, block), states);
            let output = graph.scoped("DenseReluDense", |graph| self.dense(graph, (stack, block), normed));
            match generated {
                None => join(graph, &names::sub_layer(stack, block, layer), states, output, adapter),
                Some(generated) => {
                    let update = generated.update(graph, states);
                    let output = graph.add(output, update);
                    graph.add(states, output)
                }
            }
        })
    }

    /// `wo(f(wi x))` or, gated, `wo(f(wi_0 x) * wi_1 x)`.
    fn dense(&self, graph: &mut TaskGraphBuilder<'a>, (stack, block): (Stack, usize), x: Value) -> Value {
        let T5Config { d_model, d_ff, .. } = *self.config;
        let linear = |graph: &mut TaskGraphBuilder<'a>, part: &str, dims, x| {
            let name = names::feed_forward(stack, block, part);
            self.linear(graph, part, (&name, Part::FeedForward), dims, x)
        };
        let form = self.config.feed_forward_proj;
        let inner = match form.is_gated() {
            false => {
                let inner = linear(graph, "wi", [d_model, d_ff], x);
                activate(graph, form.activation(), inner)
            }
            true => {
                let gate = linear(graph, "wi_0", [d_model, d_ff], x);
                let inner = linear(graph, "wi_1", [d_model, d_ff], x);
                let gate = activate(graph, form.activation(), gate);
                graph.mul(gate, inner)
            }
        };
        linear(graph, "wo", [d_ff, d_model], inner)
    }
}
