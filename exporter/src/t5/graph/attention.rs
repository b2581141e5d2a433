//! The attention layers of a block (`docs/reference/backbones.md#attention`).

use hyperloader_core::backbone::t5::{Attention, Stack, T5Config, names};
use hyperloader_core::format::tagger::{cross_key, cross_value, self_key, self_value};
use hyperloader_core::weights::task::Lora;
use hyperloader_core::weights::tensors::HostTensor;
use hyperloader_onnx::{ElementType, Value};

use super::parts::T5Parts;
use crate::site::graph::{join, low_rank};
use crate::weights::{Loras, Part, TaskGraphBuilder};

/// Stack, block and kind of an attention.
#[derive(Clone, Copy)]
struct Place {
    stack: Stack,
    block: usize,
    kind: Attention,
}

/// Keys and values of an attention.
struct Memory {
    /// Transposed: `[batch, heads, d_kv, key_len]`.
    keys: Value,
    /// `[batch, heads, key_len, d_kv]`.
    values: Value,
}

impl<'a> T5Parts<'a> {
    /// The self-attention layer of a block with its norm, residual connection and adapter.
    pub(super) fn self_attention(
        &self,
        graph: &mut TaskGraphBuilder<'a>,
        (stack, block): (Stack, usize),
        states: Value,
        bias: Value,
    ) -> Value {
        let place = Place { stack, block, kind: Attention::SelfAttention };
        let adapter = self.task.blocks(stack)[block].self_attention_adapter.as_ref();
        graph.scoped("layer.0", |graph| {
            let norm = names::attention_norm(stack, block, place.kind);
            let normed = self.rms_norm(graph, "layer_norm", &norm, states);
            let mixed = graph.scoped("SelfAttention", |graph| {
                let memory = self.memory(graph, place, normed);
                self.attend(graph, place, normed, &memory, bias)
            });
            join(graph, &names::sub_layer(stack, block, 0), states, mixed, adapter)
        })
    }

    /// The cross-attention layer of a decoder block with its norm and residual connection. It has no adapter.
    pub(super) fn cross_attention(
        &self,
        graph: &mut TaskGraphBuilder<'a>,
        block: usize,
        states: Value,
        encoded: Value,
        bias: Value,
    ) -> Value {
        let place = Place { stack: Stack::Decoder, block, kind: Attention::CrossAttention };
        graph.scoped("layer.1", |graph| {
            let norm = names::attention_norm(place.stack, block, place.kind);
            let normed = self.rms_norm(graph, "layer_norm", &norm, states);
            let mixed = graph.scoped("EncDecAttention", |graph| {
                let memory = self.memory(graph, place, encoded);
                self.attend(graph, place, normed, &memory, bias)
            });
            graph.add(states, mixed)
        })
    }

    /// Keys and values over `states`. Those of the decoder get the names at which the graph is split.
    fn memory(&self, graph: &mut TaskGraphBuilder<'a>, place: Place, states: Value) -> Memory {
        let mut part = |part| {
            let projected = self.project(graph, place, part, states);
            self.split_heads(graph, projected)
        };
        let (keys, values) = (part("k"), part("v"));
        let block = place.block;
        let names = match (place.stack, place.kind) {
            (Stack::Encoder, _) => None,
            (Stack::Decoder, Attention::SelfAttention) => {
                Some(([self_key(block), self_value(block)], "target_len"))
            }
            (Stack::Decoder, Attention::CrossAttention) => {
                Some(([cross_key(block), cross_value(block)], "source_len"))
            }
        };
        if let Some(([key, value], length)) = names {
            let T5Config { num_heads, d_kv, .. } = *self.config;
            let dims = ["batch".into(), num_heads.into(), length.into(), d_kv.into()];
            graph.name_value(keys, &key, ElementType::F32, &dims);
            graph.name_value(values, &value, ElementType::F32, &dims);
        }
        let keys = graph.scoped("k", |graph| graph.transpose(keys, &[0, 1, 3, 2]));
        Memory { keys, values }
    }

    /// `softmax(q k + bias) v`, with heads joined and projected to `[batch, query_len, d_model]`. T5 does not divide the
    /// scores by `sqrt(d_kv)`.
    fn attend(
        &self,
        graph: &mut TaskGraphBuilder<'a>,
        place: Place,
        queries: Value,
        memory: &Memory,
        bias: Value,
    ) -> Value {
        let queries = self.project(graph, place, "q", queries);
        let queries = self.split_heads(graph, queries);
        let scores = graph.matmul(queries, memory.keys);
        let scores = graph.add(scores, bias);
        let weights = graph.softmax(scores, -1);
        let mixed = graph.matmul(weights, memory.values);
        let mixed = graph.transpose(mixed, &[0, 2, 1, 3]);
        let mixed = graph.reshape(mixed, &[0, 0, self.config.inner_dim() as i64]);
        self.project(graph, place, "o", mixed)
    }

    /// `[batch, length, inner]` as heads, `[batch, heads, length, d_kv]`.
    fn split_heads(&self, graph: &mut TaskGraphBuilder<'a>, states: Value) -> Value {
        let heads = graph.reshape(states, &[0, 0, self.config.num_heads as i64, self.config.d_kv as i64]);
        graph.transpose(heads, &[0, 2, 1, 3])
    }

    /// The projection `q`, `k` or `v` (to `[.., inner]`) or `o` (to `[.., d_model]`) of an attention.
    fn project(&self, graph: &mut TaskGraphBuilder<'a>, place: Place, part: &str, states: Value) -> Value {
        let (d_model, inner) = (self.config.d_model, self.config.inner_dim());
        let dims = if part == "o" { [inner, d_model] } else { [d_model, inner] };
        let name = names::attention(place.stack, place.block, place.kind, part);
        let projected = self.linear(graph, part, (&name, Part::Attention), dims, states);
        match self.lora(place, part) {
            None => projected,
            Some(lora) => graph.scoped(&format!("{part}_lora"), |graph| {
                let update = low_rank(graph, name.trim_end_matches(".weight"), lora, states);
                graph.add(projected, update)
            }),
        }
    }

    /// The LoRA pair on a projection, if pairs are separate and it has one.
    fn lora(&self, place: Place, part: &str) -> Option<&'a Lora<HostTensor>> {
        let of = self.task.blocks(place.stack)[place.block].attention(place.kind);
        let pair = match part {
            "q" => of.q.as_ref(),
            "v" => of.v.as_ref(),
            _ => None,
        };
        pair.filter(|_| self.loras == Loras::Separate)
    }
}
