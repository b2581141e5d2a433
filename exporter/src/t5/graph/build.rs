//! The whole graph: stacks, embedding, head and drafter.

use hyperloader_core::backbone::BackboneConfig;
use hyperloader_core::backbone::t5::{Attention, Stack, T5Config, names};
use hyperloader_core::format::tagger::{
    ATTENTION_MASK, DECODER_HIDDEN_STATES, DECODER_INPUT_IDS, DRAFT_TAGS, ENCODER_HIDDEN_STATES, INPUT_IDS,
    KEY_POSITIONS, LOGITS, QUERY_POSITIONS,
};
use hyperloader_core::text::drafter::Drafter;
use hyperloader_onnx::{Dim, ElementType, GraphBuilder, Opset, Value};

use super::generator::{self, GeneratedAdapter};
use super::parts::T5Parts;
use super::position_table::MASKED;
use crate::error::GraphError;
use crate::operators::{padding_bias, positions};
use crate::site::check::check_adapters;
use crate::weights::{Layout, Part, TaskGraph, TaskGraphBuilder, declare_tensor};

/// Builds the graph of a task's T5.
///
/// Inputs: `input_ids` and `attention_mask` `[batch, source_len]`, `decoder_input_ids` `[batch, target_len]`. Output:
/// `logits` `[batch, target_len, vocab]`, and with a drafter `draft_tags` `[batch, source_len, roles * tags]`.
/// Initializers have Hugging Face's names; the names of a task's own weights follow the same pattern.
///
/// # Errors
/// Returns [`GraphError`] if the task's weights do not fit the configuration.
pub fn t5_graph(parts: T5Parts<'_>, opset: Opset) -> Result<TaskGraph<'_>, GraphError> {
    check_adapters(&parts.config.shape(), parts.task)?;
    let mut graph = GraphBuilder::with_sources("t5", opset);
    parts.build(&mut graph);
    Ok(graph.finish()?)
}

/// Values of the source that the decoder reads.
struct SourceStates {
    /// `[batch, source_len]`.
    attention_mask: Value,
    /// `[batch, 1, 1, source_len]`.
    padding: Value,
    /// `[batch, source_len, d_model]`.
    encoded: Value,
    /// One for each block; empty without a generator.
    generated: Vec<GeneratedAdapter>,
}

impl<'a> T5Parts<'a> {
    fn build(&self, graph: &mut TaskGraphBuilder<'a>) {
        let source = [Dim::from("batch"), Dim::from("source_len")];
        let target = [Dim::from("batch"), Dim::from("target_len")];
        let input_ids = graph.input(INPUT_IDS, ElementType::I64, &source);
        let attention_mask = graph.input(ATTENTION_MASK, ElementType::I64, &source);
        let decoder_input_ids = graph.input(DECODER_INPUT_IDS, ElementType::I64, &target);

        let padding = graph.scoped("padding", |graph| {
            let mask = graph.cast(attention_mask, ElementType::F32);
            padding_bias(graph, mask, MASKED)
        });
        let encoded = graph.scoped("encoder", |graph| self.encoder(graph, input_ids, padding));
        graph.name_value(encoded, ENCODER_HIDDEN_STATES, ElementType::F32, &self.hidden("source_len"));
        let generated = match &self.task.generator {
            None => Vec::new(),
            Some(generator) => graph
                .scoped("generator", |graph| generator::adapters(graph, generator, encoded, attention_mask)),
        };
        let source = SourceStates { attention_mask, padding, encoded, generated };
        let decoded = graph.scoped("decoder", |graph| self.decoder(graph, decoder_input_ids, &source));
        graph.name_value(decoded, DECODER_HIDDEN_STATES, ElementType::F32, &self.hidden("target_len"));
        let logits = graph.scoped("lm_head", |graph| self.head(graph, decoded));
        let vocab = Dim::from(self.config.vocab_size);
        graph.output(logits, LOGITS, ElementType::F32, &["batch".into(), "target_len".into(), vocab]);
        if let Some(drafter) = self.drafter {
            let scores = graph.scoped("drafter", |graph| draft(graph, drafter, encoded));
            let dims = ["batch".into(), "source_len".into(), drafter.bias.len().into()];
            graph.output(scores, DRAFT_TAGS, ElementType::F32, &dims);
        }
    }

    /// Shape of hidden states of this length.
    fn hidden(&self, length: &str) -> [Dim; 3] {
        ["batch".into(), length.into(), self.config.d_model.into()]
    }

    /// The encoder's output after its final norm, `[batch, source_len, d_model]`.
    fn encoder(&self, graph: &mut TaskGraphBuilder<'a>, ids: Value, padding: Value) -> Value {
        let mut states = self.embed(graph, ids);
        let bias = graph.scoped("bias", |graph| {
            let positions = positions(graph, ids);
            let (queries, keys) = (query_positions(graph, positions), key_positions(graph, positions));
            let bias = self.relative_bias(graph, Stack::Encoder, Attention::SelfAttention, queries, keys);
            graph.add(bias, padding)
        });
        for block in 0..self.config.layers(Stack::Encoder) {
            let place = (Stack::Encoder, block);
            states = graph.scoped(&format!("block.{block}"), |graph| {
                let states = self.self_attention(graph, place, states, bias);
                self.feed_forward(graph, place, states, None)
            });
            graph.declare_value(states, ElementType::F32, &self.hidden("source_len"));
        }
        self.rms_norm(graph, "final_layer_norm", &names::final_norm(Stack::Encoder), states)
    }

    /// The decoder's output after its final norm, `[batch, target_len, d_model]`.
    fn decoder(&self, graph: &mut TaskGraphBuilder<'a>, ids: Value, source: &SourceStates) -> Value {
        let mut states = self.embed(graph, ids);
        let (queries, keys) = graph.scoped("positions", |graph| {
            let positions = positions(graph, ids);
            (query_positions(graph, positions), key_positions(graph, positions))
        });
        let target = Dim::from("target_len");
        let dims = [1.into(), target.clone(), 1.into()];
        graph.name_value(queries, QUERY_POSITIONS, ElementType::I64, &dims);
        graph.name_value(keys, KEY_POSITIONS, ElementType::I64, &[1.into(), 1.into(), target]);
        let self_bias = graph.scoped("bias", |graph| {
            self.relative_bias(graph, Stack::Decoder, Attention::SelfAttention, queries, keys)
        });
        let cross_bias = match self.config.cross_attention_relative_bias {
            false => source.padding,
            true => graph.scoped("cross_bias", |graph| {
                let keys = positions(graph, source.attention_mask);
                let keys = key_positions(graph, keys);
                let bias =
                    self.relative_bias(graph, Stack::Decoder, Attention::CrossAttention, queries, keys);
                graph.add(bias, source.padding)
            }),
        };
        for block in 0..self.config.layers(Stack::Decoder) {
            let place = (Stack::Decoder, block);
            states = graph.scoped(&format!("block.{block}"), |graph| {
                let states = self.self_attention(graph, place, states, self_bias);
                let states = self.cross_attention(graph, block, states, source.encoded, cross_bias);
                self.feed_forward(graph, place, states, source.generated.get(block))
            });
            graph.declare_value(states, ElementType::F32, &self.hidden("target_len"));
        }
        self.rms_norm(graph, "final_layer_norm", &names::final_norm(Stack::Decoder), states)
    }

    /// The rows of the embedding at `ids` `[batch, length]`, `[batch, length, d_model]`.
    fn embed(&self, graph: &mut TaskGraphBuilder<'a>, ids: Value) -> Value {
        let shared = self.embedding(graph);
        graph.scoped("embed_tokens", |graph| graph.gather(shared, ids, 0))
    }

    /// `[batch, target_len, vocab]`: the states times the head's matrix, scaled first in T5 v1.0
    /// (`docs/reference/backbones.md#output-layer`).
    ///
    /// `Gemm` reads the matrix as it is stored. A transpose of it would be a constant, which a runtime computes at load
    /// and keeps next to the embedding (98 MB more for T5-base in ONNX Runtime).
    fn head(&self, graph: &mut TaskGraphBuilder<'a>, states: Value) -> Value {
        let T5Config { vocab_size, d_model, .. } = *self.config;
        let matrix = self.head_matrix(graph);
        let mut rows = graph.reshape(states, &[-1, d_model as i64]);
        if self.config.head_scale() != 1.0 {
            let scale = graph.f32(self.config.head_scale() as f32);
            rows = graph.mul(rows, scale);
        }
        let logits = graph.matmul_transposed(rows, matrix);
        let (rows, vocab) = (graph.shape(states, 0, 2), graph.i64s(&[vocab_size as i64]));
        let dims = graph.concat(&[rows, vocab], 0);
        graph.reshape_to(logits, dims)
    }
}

/// The contribution of each source token to the drafter's scores, `[batch, source_len, roles * tags]`.
fn draft<'a>(graph: &mut TaskGraphBuilder<'a>, drafter: &'a Drafter, encoded: Value) -> Value {
    let (part, matrix) = (Part::Drafter, &drafter.weight);
    let matrix = declare_tensor(graph, "drafter.weight", part, Layout::Transposed, matrix);
    let scores = graph.scoped("tags", |graph| graph.matmul(encoded, matrix));
    let bias = declare_tensor(graph, "drafter.bias", part, Layout::Same, &drafter.bias);
    graph.add(scores, bias)
}

/// `[1, query_len, 1]` of positions `[query_len]`.
fn query_positions(graph: &mut TaskGraphBuilder<'_>, positions: Value) -> Value {
    graph.unsqueeze(positions, &[0, 2])
}

/// `[1, 1, key_len]` of positions `[key_len]`.
fn key_positions(graph: &mut TaskGraphBuilder<'_>, positions: Value) -> Value {
    graph.unsqueeze(positions, &[0, 1])
}
