//! The ONNX graph of a task's token classifier: BERT's encoder with gated LoRA, prefix and adapter in every layer
//! (`docs/reference/baselines.md#unipelt-on-bert`). It uses standard operators only and no control flow.

use std::fmt;

use hyperloader_core::backbone::bert::{BertConfig, names as bert};
use hyperloader_core::format::tagger::{ATTENTION_MASK, ENCODER_HIDDEN_STATES, INPUT_IDS, LOGITS};
use hyperloader_core::method::unipelt_bert::{UnipeltBertConfig, names};
use hyperloader_core::weights::tensors::HostTensor;
use hyperloader_onnx::{Dim, ElementType, GraphBuilder, Opset, Value};

use crate::error::{GraphError, ModelError};
use crate::operators::{padding_bias, positions};
use crate::weights::{Layout, Part, Source, TaskGraph, TaskGraphBuilder, declare};

/// Added to the scores of padding, as in BERT.
const MASKED: f32 = -1e4;

/// Reads the tensors of a token classifier.
pub trait BertTensors: fmt::Debug {
    /// The tensor `name`: one of the task's (see [`names`]), otherwise one of the encoder.
    ///
    /// # Errors
    /// Returns an error if there is no tensor of this name.
    fn tensor(&self, name: &str) -> Result<HostTensor, ModelError>;

    /// The keys `[heads, prefix_len, head_dim]` or values of the same shape before those of a layer.
    ///
    /// # Errors
    /// Returns an error if a tensor that the prefix is computed from is missing or misshapen.
    fn prefix(&self, layer: usize, part: PrefixPart) -> Result<HostTensor, ModelError>;
}

/// Keys or values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefixPart {
    /// Multiplied with the queries.
    Keys,
    /// Mixed by the attention weights.
    Values,
}

/// The parts that the graph of a task's token classifier is built from.
#[derive(Debug, Clone, Copy)]
pub struct BertParts<'a> {
    /// Dimensions of the encoder.
    pub config: &'a BertConfig,
    /// Hyper-parameters of the method.
    pub method: &'a UnipeltBertConfig,
    /// Number of BIO tags of the task.
    pub tags: usize,
    /// Reads the tensors when the file is written.
    pub tensors: &'a dyn BertTensors,
}

/// Builds the graph of a task's token classifier.
///
/// Inputs: `input_ids` and `attention_mask` `[batch, source_len]`. Output: `logits` `[batch, source_len, tags]`.
/// Initializers have the names of the tensors that they are made of; prefixes are called
/// `bert.encoder.layer.N.attention.self.prefix_key` and `prefix_value`.
///
/// # Errors
/// Returns an error if the graph is inconsistent.
pub fn bert_graph(parts: BertParts<'_>, opset: Opset) -> Result<TaskGraph<'_>, GraphError> {
    let mut graph = GraphBuilder::with_sources("bert", opset);
    parts.build(&mut graph);
    Ok(graph.finish()?)
}

/// Values that all layers read.
#[derive(Clone, Copy)]
struct Padding {
    /// 0 for tokens and [`MASKED`] for padding, `[batch, 1, 1, source_len]`.
    bias: Value,
    /// The weight of each position in a gate's mean, times `source_len`: `[batch, source_len, 1]`. `None` if all positions
    /// have the same weight.
    shares: Option<Value>,
}

impl<'a> BertParts<'a> {
    fn build(&self, graph: &mut TaskGraphBuilder<'a>) {
        let source = [Dim::from("batch"), Dim::from("source_len")];
        let input_ids = graph.input(INPUT_IDS, ElementType::I64, &source);
        let attention_mask = graph.input(ATTENTION_MASK, ElementType::I64, &source);
        let padding = graph.scoped("padding", |graph| self.padding(graph, attention_mask));
        let mut states = graph.scoped("embeddings", |graph| self.embed(graph, input_ids));
        for layer in 0..self.config.num_hidden_layers {
            states = graph.scoped(&format!("layer.{layer}"), |graph| {
                let states = graph.scoped("attention", |graph| self.attention(graph, layer, states, padding));
                graph.scoped("output", |graph| self.feed_forward(graph, layer, states, padding))
            });
        }
        let width = self.config.hidden_size;
        let hidden = ["batch".into(), "source_len".into(), width.into()];
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

    fn padding(&self, graph: &mut TaskGraphBuilder<'a>, attention_mask: Value) -> Padding {
        let mask = graph.cast(attention_mask, ElementType::F32);
        let bias = padding_bias(graph, mask, MASKED);
        let shares = (!self.method.gate_over_padding).then(|| {
            // The minimum avoids a division by 0 in a row without tokens.
            let (mean, least) = (graph.reduce_mean(mask, &[1]), graph.f32(1e-6));
            let mean = graph.max(mean, least);
            let shares = graph.div(mask, mean);
            graph.unsqueeze(shares, &[2])
        });
        Padding { bias, shares }
    }

    /// The normed sum of word, position and type embeddings, `[batch, source_len, hidden_size]`.
    fn embed(&self, graph: &mut TaskGraphBuilder<'a>, ids: Value) -> Value {
        let config = self.config;
        let mut table = |name, rows| {
            let source = self.source(name, Part::Embedding, Layout::Same);
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

    fn attention(&self, graph: &mut TaskGraphBuilder<'a>, layer: usize, x: Value, padding: Padding) -> Value {
        let (d, len) = (self.config.hidden_size, self.method.prefix_len);
        let (heads, width) = (self.config.num_attention_heads, self.config.head_dim());
        let name = |part| bert::layer(layer, part);
        let queries = self.gated_lora(graph, &name(bert::QUERY), x, padding);
        let queries = self.split_heads(graph, queries, &[0, 2, 1, 3]);
        let scale = graph.f32((width as f32).powf(-0.5));
        let queries = graph.mul(queries, scale);
        let keys = self.linear(graph, (&name(bert::KEY), Part::Attention), [d, d], x);
        let keys = self.split_heads(graph, keys, &[0, 2, 3, 1]);
        let values = self.gated_lora(graph, &name(bert::VALUE), x, padding);
        let values = self.split_heads(graph, values, &[0, 2, 1, 3]);

        let gate = self.gate(graph, (&name(names::PREFIX_GATE), Part::Prefix), x, padding);
        let gate = graph.unsqueeze(gate, &[3]);
        let prefix_keys = self.prefix(graph, layer, PrefixPart::Keys, [heads, width, len]);
        let prefix_scores = graph.matmul(queries, prefix_keys);
        let prefix_scores = graph.mul(prefix_scores, gate);
        let prefix_values = self.prefix(graph, layer, PrefixPart::Values, [heads, len, width]);
        let prefix_values = graph.mul(prefix_values, gate);

        let scores = graph.matmul(queries, keys);
        let scores = graph.add(scores, padding.bias);
        let scores = graph.concat(&[prefix_scores, scores], 3);
        let weights = graph.softmax(scores, -1);
        let values = graph.concat(&[prefix_values, values], 2);
        let mixed = graph.matmul(weights, values);
        let mixed = graph.transpose(mixed, &[0, 2, 1, 3]);
        let mixed = graph.reshape(mixed, &[0, 0, d as i64]);
        let y = self.linear(graph, (&name(bert::ATTENTION_OUTPUT), Part::Attention), [d, d], mixed);
        let sum = graph.add(y, x);
        self.norm(graph, &name(bert::ATTENTION_NORM), sum)
    }

    /// The feed-forward layer with its adapter. The adapter follows the layer inside the residual connection, and the
    /// layer's norm is applied twice: before the adapter and at the end.
    fn feed_forward(
        &self,
        graph: &mut TaskGraphBuilder<'a>,
        layer: usize,
        x: Value,
        padding: Padding,
    ) -> Value {
        let (d, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let bottleneck = self.method.bottleneck(self.config.hidden_size);
        let name = |part| bert::layer(layer, part);
        let hidden = self.linear(graph, (&name(bert::INTERMEDIATE), Part::FeedForward), [d, inner], x);
        let hidden = graph.scoped("gelu", |graph| gelu(graph, hidden));
        let f = self.linear(graph, (&name(bert::OUTPUT), Part::FeedForward), [inner, d], hidden);
        let sum = graph.add(f, x);
        let update = graph.scoped("adapter", |graph| {
            let h = self.norm(graph, &name(bert::OUTPUT_NORM), sum);
            let gate = self.gate(graph, (&name(names::ADAPTER_GATE), Part::Adapters), h, padding);
            let down = self.linear(graph, (&name(names::ADAPTER_DOWN), Part::Adapters), [d, bottleneck], h);
            let active = graph.relu(down);
            let up = self.linear(graph, (&name(names::ADAPTER_UP), Part::Adapters), [bottleneck, d], active);
            graph.mul(up, gate)
        });
        let sum = graph.add(update, sum);
        self.norm(graph, &name(bert::OUTPUT_NORM), sum)
    }

    /// `W x + b + g (x A^T) B^T` with the gate g.
    fn gated_lora(&self, graph: &mut TaskGraphBuilder<'a>, name: &str, x: Value, padding: Padding) -> Value {
        let (d, rank) = (self.config.hidden_size, self.method.lora_rank);
        let y = self.linear(graph, (name, Part::Attention), [d, d], x);
        let update = graph.scoped("lora", |graph| {
            let gate = self.gate(graph, (&format!("{name}.lora_gate"), Part::Lora), x, padding);
            let a = self.matrix(graph, &format!("{name}.lora_A"), Part::Lora, [d, rank]);
            let b = self.matrix(graph, &format!("{name}.lora_B"), Part::Lora, [rank, d]);
            let low = graph.matmul(x, a);
            let update = graph.matmul(low, b);
            graph.mul(update, gate)
        });
        graph.add(y, update)
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

    /// `[batch, length, hidden_size]` as heads, `[batch, length, heads, head_dim]` permuted by `permutation`.
    fn split_heads(&self, graph: &mut TaskGraphBuilder<'a>, x: Value, permutation: &[i64]) -> Value {
        let (heads, width) = (self.config.num_attention_heads as i64, self.config.head_dim() as i64);
        let x = graph.reshape(x, &[0, 0, heads, width]);
        graph.transpose(x, permutation)
    }

    fn norm(&self, graph: &mut TaskGraphBuilder<'a>, name: &str, x: Value) -> Value {
        let gamma = self.vector(graph, &format!("{name}.weight"), Part::Norms, self.config.hidden_size);
        let beta = self.vector(graph, &format!("{name}.bias"), Part::Norms, self.config.hidden_size);
        graph.layer_normalization(x, gamma, beta, self.config.layer_norm_eps as f32)
    }

    /// `x W + b`, `[.., in]` to `[.., out]`, with the tensors `name.weight` and `name.bias`.
    fn linear(
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

    /// The tensor `name` as the source of a weight.
    fn source(&self, name: &str, part: Part, layout: Layout) -> Source<'a> {
        let (tensors, name) = (self.tensors, name.to_owned());
        Source::on_demand(part, layout, move || tensors.tensor(&name))
    }

    /// The matrix `name`, `[in, out]` in the file.
    fn matrix(&self, graph: &mut TaskGraphBuilder<'a>, name: &str, part: Part, dims: [usize; 2]) -> Value {
        declare(graph, name, &dims, self.source(name, part, Layout::Transposed))
    }

    fn vector(&self, graph: &mut TaskGraphBuilder<'a>, name: &str, part: Part, width: usize) -> Value {
        declare(graph, name, &[width], self.source(name, part, Layout::Same))
    }

    /// The prefix of a layer: keys `[heads, head_dim, prefix_len]` or values `[heads, prefix_len, head_dim]` in the file.
    fn prefix(
        &self,
        graph: &mut TaskGraphBuilder<'a>,
        layer: usize,
        part: PrefixPart,
        dims: [usize; 3],
    ) -> Value {
        let name = match part {
            PrefixPart::Keys => "attention.self.prefix_key",
            PrefixPart::Values => "attention.self.prefix_value",
        };
        let tensors = self.tensors;
        let source = Source::on_demand(Part::Prefix, Layout::Same, move || {
            let prefix = tensors.prefix(layer, part)?;
            Ok(match part {
                PrefixPart::Keys => prefix.permuted_axes(vec![0, 2, 1]),
                PrefixPart::Values => prefix,
            })
        });
        declare(graph, &bert::layer(layer, name), &dims, source)
    }
}

/// `x (1 + erf(x / sqrt(2))) / 2`.
fn gelu(graph: &mut TaskGraphBuilder<'_>, x: Value) -> Value {
    let (root, one, half) = (graph.f32(std::f32::consts::FRAC_1_SQRT_2), graph.f32(1.0), graph.f32(0.5));
    let scaled = graph.mul(x, root);
    let erf = graph.erf(scaled);
    let share = graph.add(erf, one);
    let product = graph.mul(x, share);
    graph.mul(product, half)
}
