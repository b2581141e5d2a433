//! The graph of one task: T5's encoder and decoder with the task's adapters, LoRA already folded into the matrices, and
//! what makes adapters from each input where the method has that.
//!
//! Plain operators only (no `If`, no `Loop`, no contributed ones), so that any runtime takes the file. Values named as
//! in [`hyperloader_core::format::tagger`] are where it can be split into an encoder and a decoder.

mod generator;
mod weights;

use hyperloader_core::backbone::t5::{Attention, FeedForward, Stack, T5Config, names};
use hyperloader_core::format::tagger::{
    ATTENTION_MASK, DECODER_HIDDEN_STATES, DECODER_INPUT_IDS, DRAFT_TAGS, ENCODER_HIDDEN_STATES, INPUT_IDS,
    KEY_POSITIONS, LOGITS, QUERY_POSITIONS, cross_key, cross_value, self_key, self_value,
};
use hyperloader_core::method::names::adapter as adapter_name;
use hyperloader_core::text::drafter::ROLES;
use hyperloader_core::weights::task::{Activation, Adapter, Placement, TaskWeights};
use hyperloader_core::weights::tensors::HostTensor;
use hyperloader_onnx::{BuildError, BuiltModel, Dim, ElementType, GraphBuilder, Opset, Value};

use generator::GeneratedAdapter;
use weights::check_adapters;
pub use weights::{ElementsError, added_tensors, weight_elements};

/// Added to the scores of keys that a query must not see; as good as minus infinity, yet a row without any key stays
/// finite.
const MASKED: f32 = -1e9;

/// Initializer of a drafter's weight, `[d_model, roles * tags]`.
pub const DRAFTER_WEIGHT: &str = "drafter.weight";
/// Initializer of a drafter's bias, `[roles * tags]`.
pub const DRAFTER_BIAS: &str = "drafter.bias";

/// A task's graph could not be built.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// The task's weights are for a stack of another depth.
    #[error("the task's weights have {found} {stack} blocks, the backbone has {expected}")]
    Depth {
        /// The stack.
        stack: Stack,
        /// Blocks with weights.
        found: usize,
        /// Blocks of the backbone.
        expected: usize,
    },
    /// A weight of an adapter has another shape than the backbone needs.
    #[error("`{name}` has shape {found:?}, expected {expected:?}")]
    Shape {
        /// The weight.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that fits.
        expected: Vec<usize>,
    },
    /// The graph does not hold together.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// The encoder-decoder of one task as an ONNX graph.
///
/// Inputs `input_ids` and `attention_mask` `[batch, source_len]`, `decoder_input_ids` `[batch, target_len]`; output
/// `logits` `[batch, target_len, vocab]`, and `draft_tags` `[batch, source_len, roles * tags]` with a drafter of
/// `draft_tags` tags. Initializers are declared under Hugging Face's names, adapters' beside them;
/// [`weight_elements`] says how each is laid out. LoRA pairs in `task` are ignored: they must be folded into the
/// tensors that the weights are filled from.
///
/// # Errors
/// [`GraphError`] if `task` does not fit `config`.
pub fn t5_graph(
    config: &T5Config,
    task: &TaskWeights<HostTensor>,
    draft_tags: Option<usize>,
    opset: Opset,
) -> Result<BuiltModel, GraphError> {
    check_adapters(config, task)?;
    let mut graph = GraphBuilder::new("t5", opset);
    T5 { config, task }.build(&mut graph, draft_tags);
    Ok(graph.finish()?)
}

/// Keys, transposed, and values of an attention.
struct Memory {
    /// `[batch, heads, d_kv, key_len]`.
    keys: Value,
    /// `[batch, heads, key_len, d_kv]`.
    values: Value,
}

/// What the decoder reads of the source.
struct Source {
    attention_mask: Value,
    padding: Value,
    encoded: Value,
    /// One for each block, or none.
    generated: Vec<GeneratedAdapter>,
}

/// Where an attention is.
#[derive(Clone, Copy)]
struct Place {
    stack: Stack,
    block: usize,
    kind: Attention,
}

struct T5<'a> {
    config: &'a T5Config,
    task: &'a TaskWeights<HostTensor>,
}

impl T5<'_> {
    fn build(&self, graph: &mut GraphBuilder, draft_tags: Option<usize>) {
        let source = [Dim::from("batch"), Dim::from("source_len")];
        let target = [Dim::from("batch"), Dim::from("target_len")];
        let input_ids = graph.input(INPUT_IDS, ElementType::I64, &source);
        let attention_mask = graph.input(ATTENTION_MASK, ElementType::I64, &source);
        let decoder_input_ids = graph.input(DECODER_INPUT_IDS, ElementType::I64, &target);

        let padding = graph.scoped("padding", |graph| padding_bias(graph, attention_mask));
        let encoded = graph.scoped("encoder", |graph| self.encoder(graph, input_ids, padding));
        graph.name_value(encoded, ENCODER_HIDDEN_STATES, ElementType::F32, &self.hidden("source_len"));
        let generated = match &self.task.generator {
            None => Vec::new(),
            Some(generator) => graph.scoped("generator", |graph| {
                generator::adapters(graph, self.config, generator, encoded, attention_mask)
            }),
        };
        let source = Source { attention_mask, padding, encoded, generated };
        let decoded = graph.scoped("decoder", |graph| self.decoder(graph, decoder_input_ids, &source));
        graph.name_value(decoded, DECODER_HIDDEN_STATES, ElementType::F32, &self.hidden("target_len"));
        let logits = graph.scoped("lm_head", |graph| self.head(graph, decoded));
        let vocab = Dim::from(self.config.vocab_size);
        graph.output(logits, LOGITS, ElementType::F32, &["batch".into(), "target_len".into(), vocab]);
        if let Some(width) = draft_tags.map(|tags| ROLES * tags) {
            let scores = graph.scoped("drafter", |graph| self.draft(graph, encoded, width));
            let dims = ["batch".into(), "source_len".into(), width.into()];
            graph.output(scores, DRAFT_TAGS, ElementType::F32, &dims);
        }
    }

    fn hidden(&self, length: &str) -> [Dim; 3] {
        ["batch".into(), length.into(), self.config.d_model.into()]
    }

    /// The encoder's output after its final norm, `[batch, source_len, d_model]`.
    fn encoder(&self, graph: &mut GraphBuilder, ids: Value, padding: Value) -> Value {
        let mut states = self.embed(graph, ids);
        let bias = graph.scoped("bias", |graph| {
            let positions = positions(graph, ids);
            let (queries, keys) = (query_positions(graph, positions), key_positions(graph, positions));
            let bias = self.relative_bias(graph, Stack::Encoder, Attention::SelfAttention, queries, keys);
            graph.add(bias, padding)
        });
        for block in 0..self.config.layers(Stack::Encoder) {
            states = graph.scoped(&format!("block.{block}"), |graph| {
                let states = self.self_attention(graph, Stack::Encoder, block, states, bias);
                self.feed_forward(graph, Stack::Encoder, block, states, None)
            });
        }
        self.rms_norm(graph, "final_layer_norm", &names::final_norm(Stack::Encoder), states)
    }

    /// The decoder's output after its final norm, `[batch, target_len, d_model]`.
    fn decoder(&self, graph: &mut GraphBuilder, ids: Value, source: &Source) -> Value {
        let &Source { attention_mask, padding, encoded, ref generated } = source;
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
            false => padding,
            true => graph.scoped("cross_bias", |graph| {
                let source = positions(graph, attention_mask);
                let source = key_positions(graph, source);
                let bias =
                    self.relative_bias(graph, Stack::Decoder, Attention::CrossAttention, queries, source);
                graph.add(bias, padding)
            }),
        };
        for block in 0..self.config.layers(Stack::Decoder) {
            states = graph.scoped(&format!("block.{block}"), |graph| {
                let states = self.self_attention(graph, Stack::Decoder, block, states, self_bias);
                let states = self.cross_attention(graph, block, states, encoded, cross_bias);
                self.feed_forward(graph, Stack::Decoder, block, states, generated.get(block))
            });
        }
        self.rms_norm(graph, "final_layer_norm", &names::final_norm(Stack::Decoder), states)
    }

    /// What each source token adds to the drafter's scores, `[batch, source_len, width]`.
    fn draft(&self, graph: &mut GraphBuilder, encoded: Value, width: usize) -> Value {
        let scores = linear(graph, "tags", DRAFTER_WEIGHT, [self.config.d_model, width], encoded);
        let bias = graph.weight(DRAFTER_BIAS, ElementType::F32, &[width]);
        graph.add(scores, bias)
    }

    /// `[batch, length, d_model]` of `ids` `[batch, length]`.
    fn embed(&self, graph: &mut GraphBuilder, ids: Value) -> Value {
        let shared =
            graph.weight(names::SHARED, ElementType::F32, &[self.config.vocab_size, self.config.d_model]);
        graph.scoped("embed_tokens", |graph| graph.gather(shared, ids, 0))
    }

    /// `[batch, target_len, vocab]`: the states times the head's matrix, scaled first in v1.0.
    ///
    /// A product with the transposed matrix and not with its transpose: that is a constant, which a runtime would
    /// compute at load and keep beside the embedding (98 MB more for T5-base in ONNX Runtime).
    fn head(&self, graph: &mut GraphBuilder, states: Value) -> Value {
        let T5Config { vocab_size, d_model, .. } = *self.config;
        let matrix = graph.weight(self.config.head_name(), ElementType::F32, &[vocab_size, d_model]);
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

    fn self_attention(
        &self,
        graph: &mut GraphBuilder,
        stack: Stack,
        block: usize,
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
            self.joined(graph, (stack, block, 0), states, mixed, adapter)
        })
    }

    fn cross_attention(
        &self,
        graph: &mut GraphBuilder,
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

    /// Keys and values over `states`, the decoder's under the names that the graph is split at.
    fn memory(&self, graph: &mut GraphBuilder, place: Place, states: Value) -> Memory {
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

    /// `softmax(q k + bias) v`, not divided by `sqrt(d_kv)` (reference section 1.4), heads joined and projected to
    /// `[batch, query_len, d_model]`.
    fn attend(
        &self,
        graph: &mut GraphBuilder,
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
    fn split_heads(&self, graph: &mut GraphBuilder, states: Value) -> Value {
        let heads = graph.reshape(states, &[0, 0, self.config.num_heads as i64, self.config.d_kv as i64]);
        graph.transpose(heads, &[0, 2, 1, 3])
    }

    /// `q`, `k`, `v` (to `[.., inner]`) or `o` (to `[.., d_model]`) of an attention.
    fn project(&self, graph: &mut GraphBuilder, place: Place, part: &str, states: Value) -> Value {
        let (d_model, inner) = (self.config.d_model, self.config.inner_dim());
        let dims = if part == "o" { [inner, d_model] } else { [d_model, inner] };
        let name = names::attention(place.stack, place.block, place.kind, part);
        linear(graph, part, &name, dims, states)
    }

    fn feed_forward(
        &self,
        graph: &mut GraphBuilder,
        stack: Stack,
        block: usize,
        states: Value,
        generated: Option<&GeneratedAdapter>,
    ) -> Value {
        let T5Config { d_model, d_ff, .. } = *self.config;
        let adapter = self.task.blocks(stack)[block].feed_forward_adapter.as_ref();
        let layer = Attention::of(stack).len();
        graph.scoped(&format!("layer.{layer}"), |graph| {
            let normed = self.rms_norm(graph, "layer_norm", &names::feed_forward_norm(stack, block), states);
            let output = graph.scoped("DenseReluDense", |graph| {
                let mut widen = |part| {
                    linear(graph, part, &names::feed_forward(stack, block, part), [d_model, d_ff], normed)
                };
                let inner = match self.config.feed_forward_proj {
                    FeedForward::Relu => {
                        let inner = widen("wi");
                        graph.relu(inner)
                    }
                    FeedForward::GatedGelu => {
                        let (gate, inner) = (widen("wi_0"), widen("wi_1"));
                        let gate = gelu_new(graph, gate);
                        graph.mul(gate, inner)
                    }
                };
                linear(graph, "wo", &names::feed_forward(stack, block, "wo"), [d_ff, d_model], inner)
            });
            match generated {
                None => self.joined(graph, (stack, block, layer), states, output, adapter),
                Some(generated) => {
                    let update = generated.update(graph, states);
                    let output = graph.add(output, update);
                    graph.add(states, output)
                }
            }
        })
    }

    /// A sub-layer's input `x` and output `y` joined: `x + (y + A(..))` with the adapter in its place, or `x + y`.
    fn joined(
        &self,
        graph: &mut GraphBuilder,
        site: (Stack, usize, usize),
        x: Value,
        y: Value,
        adapter: Option<&Adapter<HostTensor>>,
    ) -> Value {
        let Some(adapter) = adapter else { return graph.add(x, y) };
        let read = match adapter.placement {
            Placement::BeforeDropout | Placement::AfterDropout => y,
            Placement::Parallel => x,
        };
        let y = graph.scoped("adapter", |graph| {
            let update = self.bottleneck(graph, site, read, adapter);
            graph.add(y, update)
        });
        graph.add(x, y)
    }

    /// `norm(up(activation(down(x))))` (reference sections 1.4 and 5).
    fn bottleneck(
        &self,
        graph: &mut GraphBuilder,
        (stack, block, layer): (Stack, usize, usize),
        x: Value,
        adapter: &Adapter<HostTensor>,
    ) -> Value {
        let d_model = self.config.d_model;
        let bottleneck = adapter.down_bias.len();
        let name = |part: &str| adapter_name(&names::sub_layer(stack, block, layer), part);
        let down = linear(graph, "down", &name("down.weight"), [d_model, bottleneck], x);
        let bias = graph.weight(&name("down.bias"), ElementType::F32, &[bottleneck]);
        let down = graph.add(down, bias);
        let active = match adapter.activation {
            Activation::GeluNew => gelu_new(graph, down),
            Activation::Swish => swish(graph, down),
            Activation::Relu => graph.relu(down),
        };
        let up = linear(graph, "up", &name("up.weight"), [bottleneck, d_model], active);
        let bias = graph.weight(&name("up.bias"), ElementType::F32, &[d_model]);
        let up = graph.add(up, bias);
        let Some(norm) = &adapter.norm else { return up };
        let gamma = graph.weight(&name("norm.weight"), ElementType::F32, &[d_model]);
        let beta = graph.weight(&name("norm.bias"), ElementType::F32, &[d_model]);
        graph.layer_normalization(up, gamma, beta, norm.eps as f32)
    }

    /// T5's norm: `x / sqrt(mean(x^2) + eps) * weight`, no mean subtracted, no offset.
    fn rms_norm(&self, graph: &mut GraphBuilder, scope: &str, name: &str, x: Value) -> Value {
        let weight = graph.weight(name, ElementType::F32, &[self.config.d_model]);
        graph.scoped(scope, |graph| {
            let (two, epsilon) = (graph.f32(2.0), graph.f32(self.config.layer_norm_epsilon as f32));
            let square = graph.pow(x, two);
            let mean = graph.reduce_mean(square, &[-1]);
            let mean = graph.add(mean, epsilon);
            let root = graph.sqrt(mean);
            let normed = graph.div(x, root);
            graph.mul(normed, weight)
        })
    }

    /// The table of a kind of attention, looked up at key position - query position, cut off where all farther ones
    /// have one entry: `[1, heads, query_len, key_len]` of positions `[1, query_len, 1]` and `[1, 1, key_len]`.
    ///
    /// The decoder's later positions are masked by the table, not by comparing positions: tract 0.23.9 rewrites
    /// a `Where` over a comparison of two `Range`s to a wrong shape.
    fn relative_bias(
        &self,
        graph: &mut GraphBuilder,
        stack: Stack,
        kind: Attention,
        queries: Value,
        keys: Value,
    ) -> Value {
        let distances = weights::distances(self.config, stack, kind);
        let dims = [self.config.num_heads, distances.clone().count()];
        let table = graph.weight(&names::relative_bias(stack, kind), ElementType::F32, &dims);
        let (first, last) = (graph.i64(*distances.start()), graph.i64(*distances.end()));
        let distance = graph.sub(keys, queries);
        let distance = graph.max(distance, first);
        let distance = graph.min(distance, last);
        let column = graph.sub(distance, first);
        let bias = graph.gather(table, column, 1);
        graph.transpose(bias, &[1, 0, 2, 3])
    }
}

/// `x W` with `W` `[in, out]` stored under `name`.
fn linear(graph: &mut GraphBuilder, scope: &str, name: &str, dims: [usize; 2], x: Value) -> Value {
    let weight = graph.weight(name, ElementType::F32, &dims);
    graph.scoped(scope, |graph| graph.matmul(x, weight))
}

/// `0.5 x (1 + tanh u)` with `u = sqrt(2 / pi) (x + 0.044715 x^3)` (Hendrycks and Gimpel 2016), as `x / (1 + exp(-2 u))`:
/// the same function without cancellation where `tanh u` is near -1, and without `Tanh`, which stops 6e-7 short of 1 in
/// tract. Where `exp` overflows the result is 0, as it should be.
fn gelu_new(graph: &mut GraphBuilder, x: Value) -> Value {
    graph.scoped("gelu_new", |graph| {
        let (cubic, root) = (graph.f32(0.044_715), graph.f32(-2.0 * std::f32::consts::FRAC_2_PI.sqrt()));
        let (one, three) = (graph.f32(1.0), graph.f32(3.0));
        let cube = graph.pow(x, three);
        let cube = graph.mul(cube, cubic);
        let sum = graph.add(x, cube);
        let exponent = graph.mul(sum, root);
        let exponential = graph.exp(exponent);
        let divisor = graph.add(exponential, one);
        graph.div(x, divisor)
    })
}

/// `x / (1 + exp(-x))`.
fn swish(graph: &mut GraphBuilder, x: Value) -> Value {
    graph.scoped("swish", |graph| {
        let (one, minus) = (graph.f32(1.0), graph.f32(-1.0));
        let exponent = graph.mul(x, minus);
        let exponential = graph.exp(exponent);
        let divisor = graph.add(exponential, one);
        graph.div(x, divisor)
    })
}

/// 0 for tokens and [`MASKED`] for padding, `[batch, 1, 1, source_len]` of `attention_mask` `[batch, source_len]`.
fn padding_bias(graph: &mut GraphBuilder, attention_mask: Value) -> Value {
    let mask = graph.cast(attention_mask, ElementType::F32);
    let (one, masked) = (graph.f32(1.0), graph.f32(MASKED));
    let padding = graph.sub(one, mask);
    let bias = graph.mul(padding, masked);
    graph.unsqueeze(bias, &[1, 2])
}

/// `[1, query_len, 1]` of positions `[query_len]`.
fn query_positions(graph: &mut GraphBuilder, positions: Value) -> Value {
    graph.unsqueeze(positions, &[0, 2])
}

/// `[1, 1, key_len]` of positions `[key_len]`.
fn key_positions(graph: &mut GraphBuilder, positions: Value) -> Value {
    graph.unsqueeze(positions, &[0, 1])
}

/// `0..length` of `ids` `[batch, length]`.
pub(crate) fn positions(graph: &mut GraphBuilder, ids: Value) -> Value {
    let length = graph.shape(ids, 1, 2);
    let length = graph.squeeze(length, &[0]);
    let (start, step) = (graph.i64(0), graph.i64(1));
    graph.range(start, length, step)
}
