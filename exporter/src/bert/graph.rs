//! The graph of a task's token classifier: BERT's encoder with gated LoRA, prefix and adapter in every layer (reference
//! section 5.4). Plain operators only, as in [`crate::graph`].

use hyperloader_core::backbone::bert::{BertConfig, names as bert};
use hyperloader_core::format::tagger::{ATTENTION_MASK, ENCODER_HIDDEN_STATES, INPUT_IDS, LOGITS};
use hyperloader_core::method::unipelt_bert::{UnipeltBertConfig, names};
use hyperloader_onnx::{BuiltModel, Dim, ElementType, GraphBuilder, Opset, Value};

use crate::graph::{GraphError, positions};

/// Added to the scores of padding, as BERT does.
const MASKED: f32 = -1e4;

/// The encoder and classifier of one task as an ONNX graph.
///
/// Inputs `input_ids` and `attention_mask` `[batch, source_len]`, output `logits` `[batch, source_len, tags]`. Initializers
/// are called as the tensors that they are made of (see [`super::model::BertModel::elements`]), prefixes
/// `bert.encoder.layer.N.attention.self.prefix_key` and `prefix_value`.
///
/// # Errors
/// If the graph does not hold together.
pub fn bert_graph(
    config: &BertConfig,
    method: &UnipeltBertConfig,
    tags: usize,
    opset: Opset,
) -> Result<BuiltModel, GraphError> {
    let mut graph = GraphBuilder::new("bert", opset);
    Classifier { config, method, tags }.build(&mut graph);
    Ok(graph.finish()?)
}

/// Keys or values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PrefixPart {
    Key,
    Value,
}

impl PrefixPart {
    fn name(self, layer: usize) -> String {
        let part = match self {
            Self::Key => "attention.self.prefix_key",
            Self::Value => "attention.self.prefix_value",
        };
        bert::layer(layer, part)
    }
}

/// The layer and part that an initializer is the prefix of.
pub(super) fn prefix_of(name: &str) -> Option<(usize, PrefixPart)> {
    let (layer, _) = name.strip_prefix("bert.encoder.layer.")?.split_once('.')?;
    let layer = layer.parse().ok()?;
    let part = [PrefixPart::Key, PrefixPart::Value].into_iter().find(|part| part.name(layer) == name)?;
    Some((layer, part))
}

/// Whether an initializer is `[in, out]` of a linear map's `[out, in]`.
pub(super) fn is_transposed(name: &str) -> bool {
    let embedding = [bert::WORDS, bert::POSITIONS, bert::TYPES].contains(&name);
    let map = name.ends_with(".weight") || name.ends_with(".lora_A") || name.ends_with(".lora_B");
    map && !embedding
}

struct Classifier<'a> {
    config: &'a BertConfig,
    method: &'a UnipeltBertConfig,
    tags: usize,
}

/// What all layers share.
#[derive(Clone, Copy)]
struct Padding {
    /// 0 for tokens and [`MASKED`] for padding, `[batch, 1, 1, source_len]`.
    bias: Value,
    /// Each position's part in a gate times `source_len`, `[batch, source_len, 1]`; `None` if all count alike.
    shares: Option<Value>,
}

impl Classifier<'_> {
    fn build(&self, graph: &mut GraphBuilder) {
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
        let logits =
            graph.scoped("classifier", |graph| linear(graph, names::CLASSIFIER, [width, self.tags], states));
        graph.output(
            logits,
            LOGITS,
            ElementType::F32,
            &["batch".into(), "source_len".into(), self.tags.into()],
        );
    }

    fn padding(&self, graph: &mut GraphBuilder, attention_mask: Value) -> Padding {
        let mask = graph.cast(attention_mask, ElementType::F32);
        let (one, masked) = (graph.f32(1.0), graph.f32(MASKED));
        let hole = graph.sub(one, mask);
        let bias = graph.mul(hole, masked);
        let bias = graph.unsqueeze(bias, &[1, 2]);
        let shares = (!self.method.gate_over_padding).then(|| {
            // A row without any token counts nothing.
            let (mean, least) = (graph.reduce_mean(mask, &[1]), graph.f32(1e-6));
            let mean = graph.max(mean, least);
            let shares = graph.div(mask, mean);
            graph.unsqueeze(shares, &[2])
        });
        Padding { bias, shares }
    }

    /// The norm of word, position and type embedding together, `[batch, source_len, hidden_size]`.
    fn embed(&self, graph: &mut GraphBuilder, ids: Value) -> Value {
        let config = self.config;
        let mut table = |name, rows| graph.weight(name, ElementType::F32, &[rows, config.hidden_size]);
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

    fn attention(&self, graph: &mut GraphBuilder, layer: usize, x: Value, padding: Padding) -> Value {
        let (d, len) = (self.config.hidden_size, self.method.prefix_len);
        let (heads, width) = (self.config.num_attention_heads, self.config.head_dim());
        let name = |part| bert::layer(layer, part);
        let queries = self.gated_lora(graph, &name(bert::QUERY), x, padding);
        let queries = self.split_heads(graph, queries, &[0, 2, 1, 3]);
        let scale = graph.f32((width as f32).powf(-0.5));
        let queries = graph.mul(queries, scale);
        let keys = linear(graph, &name(bert::KEY), [d, d], x);
        let keys = self.split_heads(graph, keys, &[0, 2, 3, 1]);
        let values = self.gated_lora(graph, &name(bert::VALUE), x, padding);
        let values = self.split_heads(graph, values, &[0, 2, 1, 3]);

        let gate = self.gate(graph, &name(names::PREFIX_GATE), x, padding);
        let gate = graph.unsqueeze(gate, &[3]);
        let key = PrefixPart::Key.name(layer);
        let prefix_keys = graph.weight(&key, ElementType::F32, &[heads, width, len]);
        let prefix_scores = graph.matmul(queries, prefix_keys);
        let prefix_scores = graph.mul(prefix_scores, gate);
        let value = PrefixPart::Value.name(layer);
        let prefix_values = graph.weight(&value, ElementType::F32, &[heads, len, width]);
        let prefix_values = graph.mul(prefix_values, gate);

        let scores = graph.matmul(queries, keys);
        let scores = graph.add(scores, padding.bias);
        let scores = graph.concat(&[prefix_scores, scores], 3);
        let weights = graph.softmax(scores, -1);
        let values = graph.concat(&[prefix_values, values], 2);
        let mixed = graph.matmul(weights, values);
        let mixed = graph.transpose(mixed, &[0, 2, 1, 3]);
        let mixed = graph.reshape(mixed, &[0, 0, d as i64]);
        let y = linear(graph, &name(bert::ATTENTION_OUTPUT), [d, d], mixed);
        let sum = graph.add(y, x);
        self.norm(graph, &name(bert::ATTENTION_NORM), sum)
    }

    /// The adapter stands behind the feed-forward layer, inside the residual, and the layer's norm is taken twice.
    fn feed_forward(&self, graph: &mut GraphBuilder, layer: usize, x: Value, padding: Padding) -> Value {
        let (d, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let bottleneck = self.method.bottleneck(self.config.hidden_size);
        let name = |part| bert::layer(layer, part);
        let hidden = linear(graph, &name(bert::INTERMEDIATE), [d, inner], x);
        let hidden = graph.scoped("gelu", |graph| gelu(graph, hidden));
        let f = linear(graph, &name(bert::OUTPUT), [inner, d], hidden);
        let sum = graph.add(f, x);
        let update = graph.scoped("adapter", |graph| {
            let h = self.norm(graph, &name(bert::OUTPUT_NORM), sum);
            let gate = self.gate(graph, &name(names::ADAPTER_GATE), h, padding);
            let down = linear(graph, &name(names::ADAPTER_DOWN), [d, bottleneck], h);
            let active = graph.relu(down);
            let up = linear(graph, &name(names::ADAPTER_UP), [bottleneck, d], active);
            graph.mul(up, gate)
        });
        let sum = graph.add(update, sum);
        self.norm(graph, &name(bert::OUTPUT_NORM), sum)
    }

    /// `W x + b + g (x A^T) B^T`.
    fn gated_lora(&self, graph: &mut GraphBuilder, name: &str, x: Value, padding: Padding) -> Value {
        let (d, rank) = (self.config.hidden_size, self.method.lora_rank);
        let y = linear(graph, name, [d, d], x);
        let update = graph.scoped("lora", |graph| {
            let gate = self.gate(graph, &format!("{name}.lora_gate"), x, padding);
            let a = graph.weight(&format!("{name}.lora_A"), ElementType::F32, &[d, rank]);
            let b = graph.weight(&format!("{name}.lora_B"), ElementType::F32, &[rank, d]);
            let low = graph.matmul(x, a);
            let update = graph.matmul(low, b);
            graph.mul(update, gate)
        });
        graph.add(y, update)
    }

    /// The mean of `sigmoid(w x + b)` over positions, `[batch, 1, 1]`.
    fn gate(&self, graph: &mut GraphBuilder, name: &str, x: Value, padding: Padding) -> Value {
        let open = linear(graph, name, [self.config.hidden_size, 1], x);
        let mut open = graph.sigmoid(open);
        if let Some(shares) = padding.shares {
            open = graph.mul(open, shares);
        }
        graph.reduce_mean(open, &[1])
    }

    /// `[batch, length, hidden_size]` as heads, `[batch, length, heads, head_dim]` permuted by `permutation`.
    fn split_heads(&self, graph: &mut GraphBuilder, x: Value, permutation: &[i64]) -> Value {
        let (heads, width) = (self.config.num_attention_heads as i64, self.config.head_dim() as i64);
        let x = graph.reshape(x, &[0, 0, heads, width]);
        graph.transpose(x, permutation)
    }

    fn norm(&self, graph: &mut GraphBuilder, name: &str, x: Value) -> Value {
        let width = [self.config.hidden_size];
        let gamma = graph.weight(&format!("{name}.weight"), ElementType::F32, &width);
        let beta = graph.weight(&format!("{name}.bias"), ElementType::F32, &width);
        graph.layer_normalization(x, gamma, beta, self.config.layer_norm_eps as f32)
    }
}

/// `x W + b`, `[.., in]` to `[.., out]`.
fn linear(graph: &mut GraphBuilder, name: &str, dims: [usize; 2], x: Value) -> Value {
    let weight = graph.weight(&format!("{name}.weight"), ElementType::F32, &dims);
    let bias = graph.weight(&format!("{name}.bias"), ElementType::F32, &dims[1..]);
    let y = graph.matmul(x, weight);
    graph.add(y, bias)
}

/// `x (1 + erf(x / sqrt(2))) / 2`.
fn gelu(graph: &mut GraphBuilder, x: Value) -> Value {
    let (root, one, half) = (graph.f32(std::f32::consts::FRAC_1_SQRT_2), graph.f32(1.0), graph.f32(0.5));
    let scaled = graph.mul(x, root);
    let erf = graph.erf(scaled);
    let share = graph.add(erf, one);
    let product = graph.mul(x, share);
    graph.mul(product, half)
}
