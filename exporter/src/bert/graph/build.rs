//! The whole graph: embeddings, layers and classifier.

use hyperloader_core::backbone::BackboneConfig;
use hyperloader_core::backbone::bert::names as bert;
use hyperloader_core::format::tagger::{ATTENTION_MASK, ENCODER_HIDDEN_STATES, INPUT_IDS, LOGITS};
use hyperloader_core::method::names;
use hyperloader_onnx::{Dim, ElementType, GraphBuilder, Opset, Value};

use super::parts::{BertParts, Modules};
use crate::error::GraphError;
use crate::operators::{padding_bias, positions};
use crate::site::check::check_adapters;
use crate::weights::{Layout, Part, TaskGraph, TaskGraphBuilder, declare};

/// Added to the scores of padding, as in BERT.
const MASKED: f32 = -1e4;

/// Builds the graph of a task's token classifier.
///
/// Inputs: `input_ids` and `attention_mask` `[batch, source_len]`. Output: `logits` `[batch, source_len, tags]`.
/// Initializers have the names of the tensors that they are made of; prefixes are called
/// `bert.encoder.layer.N.attention.self.prefix_key` and `prefix_value`.
///
/// # Errors
/// Returns [`GraphError`] if the task's weights do not fit the configuration.
pub fn bert_graph(parts: BertParts<'_>, opset: Opset) -> Result<TaskGraph<'_>, GraphError> {
    if let Modules::Ungated { weights, .. } = parts.modules {
        check_adapters(&parts.config.shape(), weights)?;
    }
    let mut graph = GraphBuilder::with_sources("bert", opset);
    parts.build(&mut graph);
    Ok(graph.finish()?)
}

/// Values that all layers read.
#[derive(Clone, Copy)]
pub(super) struct Padding {
    /// 0 for tokens and [`MASKED`] for padding, `[batch, 1, 1, source_len]`.
    pub(super) bias: Value,
    /// The weight of each position in a gate's mean, times `source_len`: `[batch, source_len, 1]`. `None` if all positions
    /// have the same weight, or there are no gates.
    pub(super) shares: Option<Value>,
}

impl<'a> BertParts<'a> {
    fn build(&self, graph: &mut TaskGraphBuilder<'a>) {
        let source = [Dim::from("batch"), Dim::from("source_len")];
        let input_ids = graph.input(INPUT_IDS, ElementType::I64, &source);
        let attention_mask = graph.input(ATTENTION_MASK, ElementType::I64, &source);
        let padding = graph.scoped("padding", |graph| {
            let mask = graph.cast(attention_mask, ElementType::F32);
            Padding { bias: padding_bias(graph, mask, MASKED), shares: self.modules.shares(graph, mask) }
        });
        let hidden = ["batch".into(), "source_len".into(), self.config.hidden_size.into()];
        let mut states = graph.scoped("embeddings", |graph| self.embed(graph, input_ids));
        for layer in 0..self.config.num_hidden_layers {
            if layer > 0 {
                graph.declare_value(states, ElementType::F32, &hidden);
            }
            states = graph.scoped(&format!("layer.{layer}"), |graph| {
                let states = graph.scoped("attention", |graph| self.attention(graph, layer, states, padding));
                graph.scoped("output", |graph| self.feed_forward(graph, layer, states, padding))
            });
        }
        let width = self.config.hidden_size;
        graph.name_value(states, ENCODER_HIDDEN_STATES, ElementType::F32, &hidden);
        let logits = graph.scoped("classifier", |graph| {
            self.linear(graph, (names::CLASSIFIER, Part::Head), [width, self.tags], states)
        });
        graph.output(
            logits,
            LOGITS,
            ElementType::F32,
            &["batch".into(), "source_len".into(), self.tags.into()],
        );
    }

    /// The normed sum of word, position and type embeddings, `[batch, source_len, hidden_size]`.
    fn embed(&self, graph: &mut TaskGraphBuilder<'a>, ids: Value) -> Value {
        let config = self.config;
        let mut table = |name, rows| {
            let source = self.source(name, Part::Embedding, Layout::Same);
            // The other tables are small, and all of their rows are read.
            let source = if name == bert::WORDS { source.quantizable() } else { source };
            declare(graph, name, &[rows, config.hidden_size], source)
        };
        let words = table(bert::WORDS, config.vocab_size);
        let places = table(bert::POSITIONS, config.max_position_embeddings);
        let types = table(bert::TYPES, config.type_vocab_size);
        let words = graph.gather(words, ids, 0);
        let positions = positions(graph, ids);
        let places = graph.gather(places, positions, 0);
        let first = graph.i64(0);
        let types = graph.gather(types, first, 0);
        let sum = graph.add(words, places);
        let sum = graph.add(sum, types);
        self.norm(graph, bert::EMBEDDING_NORM, sum)
    }
}
