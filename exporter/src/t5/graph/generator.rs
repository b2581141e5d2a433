//! Adapters that the graph generates from each input (`docs/reference/baselines.md#hyperdecoder`).

use hyperloader_core::format::tagger::generated_adapter;
use hyperloader_core::weights::task::{Generator, Linear};
use hyperloader_core::weights::tensors::HostTensor;
use hyperloader_onnx::{Dim, ElementType, Value};

use crate::weights::{Layout, Part, TaskGraphBuilder, declare_tensor};

/// The adapter of one block: a matrix or vector for each row of the batch. Matrices are `[in, out]`.
#[derive(Clone, Copy)]
pub(super) struct GeneratedAdapter {
    /// `[batch, d_model, bottleneck]`.
    down_weight: Value,
    /// `[batch, 1, bottleneck]`.
    down_bias: Value,
    /// `[batch, bottleneck, d_model]`.
    up_weight: Value,
    /// `[batch, 1, d_model]`.
    up_bias: Value,
}

impl GeneratedAdapter {
    /// `relu(x down + down_bias) up + up_bias` for `x` `[batch, target_len, d_model]`.
    pub(super) fn update(&self, graph: &mut TaskGraphBuilder<'_>, x: Value) -> Value {
        graph.scoped("adapter", |graph| {
            let down = graph.matmul(x, self.down_weight);
            let down = graph.add(down, self.down_bias);
            let active = graph.relu(down);
            let up = graph.matmul(active, self.up_weight);
            graph.add(up, self.up_bias)
        })
    }
}

/// The adapters of all blocks of the decoder, from the encoder's output `encoded` `[batch, source_len, d_model]`. They get
/// the names at which the graph is split.
pub(super) fn adapters<'a>(
    graph: &mut TaskGraphBuilder<'a>,
    generator: &'a Generator<HostTensor>,
    encoded: Value,
    attention_mask: Value,
) -> Vec<GeneratedAdapter> {
    let (d, b) = (generator.up_bias.bias.len(), generator.down_bias.bias.len());
    let pooled = graph.scoped("pooled", |graph| mean(graph, encoded, attention_mask));
    let hidden = affine(graph, "fc1", &generator.fc1, pooled);
    let hidden = graph.relu(hidden);
    let processed = affine(graph, "fc2", &generator.fc2, hidden);
    let trunk = declare(graph, "generator.trunk", Layout::Transposed, &generator.trunk);
    let shared = graph.scoped("trunk", |graph| graph.matmul(processed, trunk));
    let adapter = |(block, bias): (usize, &'a HostTensor)| {
        graph.scoped(&format!("block.{block}"), |graph| {
            let bias = declare(graph, &format!("generator.block_bias.{block}"), Layout::Same, bias);
            let hidden = graph.add(shared, bias);
            let hidden = graph.relu(hidden);
            let mut values = generated_adapter(block).into_iter();
            let mut head = |part, linear, dims: [usize; 2]| {
                let flat = affine(graph, part, linear, hidden);
                let shaped = graph.reshape(flat, &[-1, dims[0] as i64, dims[1] as i64]);
                let dims: [Dim; 3] = ["batch".into(), dims[0].into(), dims[1].into()];
                graph.name_value(shaped, &values.next().unwrap_or_default(), ElementType::F32, &dims);
                shaped
            };
            GeneratedAdapter {
                down_weight: head("down_weight", &generator.down_weight, [d, b]),
                down_bias: head("down_bias", &generator.down_bias, [1, b]),
                up_weight: head("up_weight", &generator.up_weight, [b, d]),
                up_bias: head("up_bias", &generator.up_bias, [1, d]),
            }
        })
    };
    generator.block_biases.iter().enumerate().map(adapter).collect()
}

fn declare<'a>(
    graph: &mut TaskGraphBuilder<'a>,
    name: &str,
    layout: Layout,
    tensor: &'a HostTensor,
) -> Value {
    declare_tensor(graph, name, Part::Generator, layout, tensor)
}

/// Mean over the tokens of each sentence, `[batch, d_model]`, of `states` `[batch, source_len, d_model]`.
fn mean(graph: &mut TaskGraphBuilder<'_>, states: Value, attention_mask: Value) -> Value {
    let mask = graph.cast(attention_mask, ElementType::F32);
    let mask = graph.unsqueeze(mask, &[2]);
    let tokens = graph.mul(states, mask);
    let (tokens, share) = (graph.reduce_mean(tokens, &[1]), graph.reduce_mean(mask, &[1]));
    let mean = graph.div(tokens, share);
    graph.squeeze(mean, &[1])
}

/// The generator's linear map `part` with its bias.
fn affine<'a>(
    graph: &mut TaskGraphBuilder<'a>,
    part: &str,
    linear: &'a Linear<HostTensor>,
    x: Value,
) -> Value {
    let name = format!("generator.{part}");
    let weight = declare(graph, &format!("{name}.weight"), Layout::Transposed, &linear.weight);
    let bias = declare(graph, &format!("{name}.bias"), Layout::Same, &linear.bias);
    graph.scoped(part, |graph| {
        let product = graph.matmul(x, weight);
        graph.add(product, bias)
    })
}
