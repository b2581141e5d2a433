//! The gated modules of `unipelt-bert` (`docs/reference/baselines.md#unipelt-on-bert`).

use hyperloader_core::backbone::bert::names as bert;
use hyperloader_core::method::unipelt_bert::{UnipeltBertConfig, names};
use hyperloader_onnx::Value;

use super::build::Padding;
use super::parts::{BertParts, Modules};
use crate::bert::prefix::{PrefixPart, Prefixes};
use crate::weights::{Layout, Part, Source, TaskGraphBuilder, declare};

/// The prefix of a layer.
pub(super) struct LayerPrefix {
    /// Scores of its positions, `[batch, heads, source_len, prefix_len]`.
    pub(super) scores: Value,
    /// `[batch, heads, prefix_len, head_dim]`.
    pub(super) values: Value,
}

impl Modules<'_> {
    /// The weight of each position in a gate's mean, from a float32 `mask` `[batch, source_len]`, see [`Padding::shares`].
    pub(super) fn shares(&self, graph: &mut TaskGraphBuilder<'_>, mask: Value) -> Option<Value> {
        match self {
            Self::Gated { method, .. } if !method.gate_over_padding => {
                // The minimum avoids a division by 0 in a row without tokens.
                let (mean, least) = (graph.reduce_mean(mask, &[1]), graph.f32(1e-6));
                let mean = graph.max(mean, least);
                let shares = graph.div(mask, mean);
                Some(graph.unsqueeze(shares, &[2]))
            }
            _ => None,
        }
    }
}

impl<'a> BertParts<'a> {
    /// The prefix of a layer with the input `x` and its `queries`.
    pub(super) fn prefix(
        &self,
        graph: &mut TaskGraphBuilder<'a>,
        (method, prefixes): (&UnipeltBertConfig, &'a dyn Prefixes),
        layer: usize,
        (x, queries): (Value, Value),
        padding: Padding,
    ) -> LayerPrefix {
        let (heads, width) = (self.config.num_attention_heads, self.config.head_dim());
        let (len, gate) = (method.prefix_len, bert::layer(layer, names::PREFIX_GATE));
        let gate = self.gate(graph, (&gate, Part::Prefix), x, padding);
        let gate = graph.unsqueeze(gate, &[3]);
        let weight = |graph: &mut TaskGraphBuilder<'a>, part, dims: [usize; 3]| {
            let name = match part {
                PrefixPart::Keys => "attention.self.prefix_key",
                PrefixPart::Values => "attention.self.prefix_value",
            };
            declare(graph, &bert::layer(layer, name), &dims, prefix_source(prefixes, layer, part))
        };
        let keys = weight(graph, PrefixPart::Keys, [heads, width, len]);
        let scores = graph.matmul(queries, keys);
        let scores = graph.mul(scores, gate);
        let values = weight(graph, PrefixPart::Values, [heads, len, width]);
        LayerPrefix { scores, values: graph.mul(values, gate) }
    }

    /// `g (x A^T) B^T` with the gate g.
    pub(super) fn gated_lora(
        &self,
        graph: &mut TaskGraphBuilder<'a>,
        method: &UnipeltBertConfig,
        name: &str,
        x: Value,
        padding: Padding,
    ) -> Value {
        let (d, rank) = (self.config.hidden_size, method.lora_rank);
        let gate = self.gate(graph, (&format!("{name}.lora_gate"), Part::Lora), x, padding);
        let a = self.matrix(graph, &format!("{name}.lora_A"), Part::Lora, [d, rank]);
        let b = self.matrix(graph, &format!("{name}.lora_B"), Part::Lora, [rank, d]);
        let low = graph.matmul(x, a);
        let update = graph.matmul(low, b);
        graph.mul(update, gate)
    }

    /// The residual `sum` of a feed-forward layer with the gated adapter, which reads the normalized sum.
    pub(super) fn gated_adapter(
        &self,
        graph: &mut TaskGraphBuilder<'a>,
        method: &UnipeltBertConfig,
        layer: usize,
        sum: Value,
        padding: Padding,
    ) -> Value {
        let (d, bottleneck) = (self.config.hidden_size, method.bottleneck(self.config.hidden_size));
        let name = |part| bert::layer(layer, part);
        let update = graph.scoped("adapter", |graph| {
            let h = self.norm(graph, &name(bert::OUTPUT_NORM), sum);
            let gate = self.gate(graph, (&name(names::ADAPTER_GATE), Part::Adapters), h, padding);
            let down = self.linear(graph, (&name(names::ADAPTER_DOWN), Part::Adapters), [d, bottleneck], h);
            let active = graph.relu(down);
            let up = self.linear(graph, (&name(names::ADAPTER_UP), Part::Adapters), [bottleneck, d], active);
            graph.mul(up, gate)
        });
        graph.add(update, sum)
    }

    /// The mean of `sigmoid(w x + b)` over positions, `[batch, 1, 1]`.
    fn gate(
        &self,
        graph: &mut TaskGraphBuilder<'a>,
        weight: (&str, Part),
        x: Value,
        padding: Padding,
    ) -> Value {
        let open = self.linear(graph, weight, [self.config.hidden_size, 1], x);
        let mut open = graph.sigmoid(open);
        if let Some(shares) = padding.shares {
            open = graph.mul(open, shares);
        }
        graph.reduce_mean(open, &[1])
    }
}

/// The prefix of a layer as the source of a weight: keys `[heads, head_dim, prefix_len]` or values
/// `[heads, prefix_len, head_dim]`.
fn prefix_source(prefixes: &dyn Prefixes, layer: usize, part: PrefixPart) -> Source<'_> {
    Source::on_demand(Part::Prefix, Layout::Same, move || {
        let prefix = prefixes.prefix(layer, part)?;
        Ok(match part {
            PrefixPart::Keys => prefix.permuted_axes(vec![0, 2, 1]),
            PrefixPart::Values => prefix,
        })
    })
}
