//! Adapters that the graph makes from each input (reference section 5.5).

use hyperloader_core::backbone::t5::T5Config;
use hyperloader_core::format::tagger::generated_adapter;
use hyperloader_core::weights::task::Generator;
use hyperloader_core::weights::tensors::HostTensor;
use hyperloader_onnx::{Dim, ElementType, GraphBuilder, Value};

/// The adapter of one block, a matrix or row for each row of the batch; transposed, as a product takes it.
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
    /// `relu(x down + down_bias) up + up_bias` of `x` `[batch, target_len, d_model]`.
    pub(super) fn update(&self, graph: &mut GraphBuilder, x: Value) -> Value {
        graph.scoped("adapter", |graph| {
            let down = graph.matmul(x, self.down_weight);
            let down = graph.add(down, self.down_bias);
            let active = graph.relu(down);
            let up = graph.matmul(active, self.up_weight);
            graph.add(up, self.up_bias)
        })
    }
}

/// The adapters of all blocks of the decoder, under the names that the graph is split at.
pub(super) fn adapters(
    graph: &mut GraphBuilder,
    config: &T5Config,
    generator: &Generator<HostTensor>,
    encoded: Value,
    attention_mask: Value,
) -> Vec<GeneratedAdapter> {
    let d = config.d_model;
    let (h, b) = (generator.trunk.shape()[0], generator.down_bias.bias.len());
    let pooled = graph.scoped("pooled", |graph| mean(graph, encoded, attention_mask));
    let hidden = affine(graph, "fc1", [d, d], pooled);
    let hidden = graph.relu(hidden);
    let processed = affine(graph, "fc2", [d, d], hidden);
    let trunk = graph.weight("generator.trunk", ElementType::F32, &[d, h]);
    let shared = graph.scoped("trunk", |graph| graph.matmul(processed, trunk));
    let adapter = |block: usize| {
        graph.scoped(&format!("block.{block}"), |graph| {
            let bias = graph.weight(&block_bias(block), ElementType::F32, &[h]);
            let hidden = graph.add(shared, bias);
            let hidden = graph.relu(hidden);
            let mut values = generated_adapter(block).into_iter();
            let mut head = |part, dims: [usize; 2]| {
                let flat = affine(graph, part, [h, dims[0] * dims[1]], hidden);
                let shaped = graph.reshape(flat, &[-1, dims[0] as i64, dims[1] as i64]);
                let dims: [Dim; 3] = ["batch".into(), dims[0].into(), dims[1].into()];
                graph.name_value(shaped, &values.next().unwrap_or_default(), ElementType::F32, &dims);
                shaped
            };
            GeneratedAdapter {
                down_weight: head("down_weight", [d, b]),
                down_bias: head("down_bias", [1, b]),
                up_weight: head("up_weight", [b, d]),
                up_bias: head("up_bias", [1, d]),
            }
        })
    };
    (0..generator.block_biases.len()).map(adapter).collect()
}

/// Name of what the generator adds for a block.
pub(super) fn block_bias(block: usize) -> String {
    format!("generator.block_bias.{block}")
}

/// Mean over the tokens, `[batch, d_model]`, of `states` `[batch, source_len, d_model]`.
fn mean(graph: &mut GraphBuilder, states: Value, attention_mask: Value) -> Value {
    let mask = graph.cast(attention_mask, ElementType::F32);
    let mask = graph.unsqueeze(mask, &[2]);
    let tokens = graph.mul(states, mask);
    let (tokens, share) = (graph.reduce_mean(tokens, &[1]), graph.reduce_mean(mask, &[1]));
    let mean = graph.div(tokens, share);
    graph.squeeze(mean, &[1])
}

/// The generator's linear map `part`, `[in, out]`, with its bias.
fn affine(graph: &mut GraphBuilder, part: &str, dims: [usize; 2], x: Value) -> Value {
    let weight = graph.weight(&format!("generator.{part}.weight"), ElementType::F32, &dims);
    let bias = graph.weight(&format!("generator.{part}.bias"), ElementType::F32, &dims[1..]);
    graph.scoped(part, |graph| {
        let product = graph.matmul(x, weight);
        graph.add(product, bias)
    })
}
