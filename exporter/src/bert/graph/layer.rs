//! A layer (`docs/reference/backbones.md#bert`) with the weights of a task
//! (`docs/reference/encoders.md#layer-with-task-weights`).

use hyperloader_core::backbone::bert::names as bert;
use hyperloader_core::weights::site::Site;
use hyperloader_core::weights::task::Activation;
use hyperloader_onnx::Value;

use super::build::Padding;
use super::parts::{BertParts, Modules};
use crate::operators::activate;
use crate::site::graph::{join, low_rank};
use crate::weights::{Loras, Part, TaskGraphBuilder};

impl<'a> BertParts<'a> {
    /// The attention of a layer with its adapter, residual connection and norm.
    pub(super) fn attention(
        &self,
        graph: &mut TaskGraphBuilder<'a>,
        layer: usize,
        x: Value,
        padding: Padding,
    ) -> Value {
        let (d, width) = (self.config.hidden_size, self.config.head_dim());
        let name = |part| bert::layer(layer, part);
        let queries = self.projection(graph, (layer, Site::LoraSelfQ), bert::QUERY, x, padding);
        let queries = self.split_heads(graph, queries, &[0, 2, 1, 3]);
        let scale = graph.f32((width as f32).powf(-0.5));
        let queries = graph.mul(queries, scale);
        let keys = self.linear(graph, (&name(bert::KEY), Part::Attention), [d, d], x);
        let keys = self.split_heads(graph, keys, &[0, 2, 3, 1]);
        let values = self.projection(graph, (layer, Site::LoraSelfV), bert::VALUE, x, padding);
        let mut values = self.split_heads(graph, values, &[0, 2, 1, 3]);

        let prefix = match self.modules {
            Modules::Gated { method, prefixes } => {
                Some(self.prefix(graph, (method, prefixes), layer, (x, queries), padding))
            }
            Modules::Ungated { .. } => None,
        };
        let scores = graph.matmul(queries, keys);
        let mut scores = graph.add(scores, padding.bias);
        if let Some(prefix) = &prefix {
            scores = graph.concat(&[prefix.scores, scores], 3);
        }
        let weights = graph.softmax(scores, -1);
        if let Some(prefix) = &prefix {
            values = graph.concat(&[prefix.values, values], 2);
        }
        let mixed = graph.matmul(weights, values);
        let mixed = graph.transpose(mixed, &[0, 2, 1, 3]);
        let mixed = graph.reshape(mixed, &[0, 0, d as i64]);
        let y = self.linear(graph, (&name(bert::ATTENTION_OUTPUT), Part::Attention), [d, d], mixed);
        let sum = self.joined(graph, (layer, Site::SelfAttentionAdapter), bert::ATTENTION, x, y);
        self.norm(graph, &name(bert::ATTENTION_NORM), sum)
    }

    /// The feed-forward layer with its adapter, residual connection and norm.
    pub(super) fn feed_forward(
        &self,
        graph: &mut TaskGraphBuilder<'a>,
        layer: usize,
        x: Value,
        padding: Padding,
    ) -> Value {
        let (d, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let name = |part| bert::layer(layer, part);
        let hidden = self.linear(graph, (&name(bert::INTERMEDIATE), Part::FeedForward), [d, inner], x);
        let hidden = activate(graph, Activation::Gelu, hidden);
        let y = self.linear(graph, (&name(bert::OUTPUT), Part::FeedForward), [inner, d], hidden);
        let sum = self.joined(graph, (layer, Site::FeedForwardAdapter), bert::FEED_FORWARD, x, y);
        let sum = match self.modules {
            Modules::Gated { method, .. } => self.gated_adapter(graph, method, layer, sum, padding),
            Modules::Ungated { .. } => sum,
        };
        self.norm(graph, &name(bert::OUTPUT_NORM), sum)
    }

    /// The queries or values of a layer: `W x + b` with the LoRA pair, which is folded in or separate.
    fn projection(
        &self,
        graph: &mut TaskGraphBuilder<'a>,
        (layer, site): (usize, Site),
        part: &str,
        x: Value,
        padding: Padding,
    ) -> Value {
        let (d, name) = (self.config.hidden_size, bert::layer(layer, part));
        let y = self.linear(graph, (&name, Part::Attention), [d, d], x);
        let update = match self.modules {
            Modules::Gated { method, .. } => {
                Some(graph.scoped("lora", |graph| self.gated_lora(graph, method, &name, x, padding)))
            }
            Modules::Ungated { weights, loras: Loras::Separate } => {
                let pair = weights.encoder[layer].lora(site);
                pair.map(|pair| graph.scoped("lora", |graph| low_rank(graph, &name, pair, x)))
            }
            Modules::Ungated { loras: Loras::Folded, .. } => None,
        };
        match update {
            Some(update) => graph.add(y, update),
            None => y,
        }
    }

    /// The residual sum of the input `x` and the output `y` of a sub-layer, with the adapter at the site if there is one.
    fn joined(
        &self,
        graph: &mut TaskGraphBuilder<'a>,
        (layer, site): (usize, Site),
        part: &str,
        x: Value,
        y: Value,
    ) -> Value {
        let adapter = match self.modules {
            Modules::Ungated { weights, .. } => weights.encoder[layer].adapter(site),
            Modules::Gated { .. } => None,
        };
        match adapter {
            Some(_) => join(graph, &bert::layer(layer, part), x, y, adapter),
            // Not by `join`, which has the operands in the other order: files without adapters keep their bytes.
            None => graph.add(y, x),
        }
    }

    /// `[batch, length, hidden_size]` as heads, `[batch, length, heads, head_dim]` permuted by `permutation`.
    fn split_heads(&self, graph: &mut TaskGraphBuilder<'a>, x: Value, permutation: &[i64]) -> Value {
        let (heads, width) = (self.config.num_attention_heads as i64, self.config.head_dim() as i64);
        let x = graph.reshape(x, &[0, 0, heads, width]);
        graph.transpose(x, permutation)
    }
}
