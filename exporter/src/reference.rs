//! T5 with a task's generated weights, spelled out in ndarray: the oracle that an exported file is measured against.
//!
//! Float64 throughout, one tensor of the backbone in memory at a time, no caches: slow, exact, and close to the text
//! (Raffel et al. 2020; reference section 1.4). Dropout is left out, as in evaluation.

use hyperloader_core::backbone::t5::{Attention, FeedForward, Stack, T5Config, names};
use hyperloader_core::weights::task::{Adapter, BlockWeights, Lora, Placement};
use hyperloader_core::weights::tensors::HostTensor;
use ndarray::{Array2, Array3, ArrayView1, ArrayView2, Axis, Ix1, Ix2, s};

use crate::arithmetic::{activate, argmax, gelu_new, layer_norm, rms_norm, softmax};
use crate::generate::{GeneratedAdapter, generate};
use crate::model::{ModelError, TaskModel, shaped, wide};
use crate::quantize::{product, stored};

/// Added to masked scores. Far below any score, and finite: a row without a visible key is no NaN.
const MASKED: f64 = -1e9;
/// Rows of the head that are widened to float64 together.
const HEAD_ROWS: usize = 4096;

/// Where LoRA is computed, and in what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As in training: `W x + scale * B (A x)`.
    UnFolded,
    /// Folded into the matrix, as in an exported file: `W' x`.
    Folded,
    /// Folded, with large matrices in bytes, as in a file of [`crate::export::Precision::Int8`].
    Int8,
}

/// Vectors for every position of every sentence of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct States {
    /// `[batch * length, width]`, sentence by sentence.
    rows: Array2<f64>,
    length: usize,
}

impl States {
    /// `[batch * length, width]`, sentence by sentence.
    pub fn into_rows(self) -> Array2<f64> {
        self.rows
    }

    /// Sentence `index`, `[length, width]`.
    pub fn sentence(&self, index: usize) -> ArrayView2<'_, f64> {
        let start = index * self.length;
        self.rows.slice(s![start..start + self.length, ..])
    }

    /// The last position of every sentence, as sentences of length 1.
    fn last_positions(&self) -> Self {
        let step = self.length.max(1);
        let rows = self.rows.slice(s![(step - 1)..;step, ..]).to_owned();
        Self { rows, length: 1 }
    }
}

/// A forward pass over a [`TaskModel`].
#[derive(Debug, Clone, Copy)]
pub struct Reference<'a> {
    model: &'a TaskModel,
    form: Form,
}

/// A stack, and what its attentions need besides weights.
struct Pass<'a> {
    stack: Stack,
    own: ScoreBias,
    /// The encoder's output and the bias of cross-attention; in the decoder only.
    cross: Option<(&'a States, ScoreBias)>,
    /// Generated adapters beside feed-forward layers, by block and then by sentence; may be none.
    generated: Vec<Vec<GeneratedAdapter>>,
}

/// What is added to the scores of all attentions of one kind.
struct ScoreBias {
    /// By relative position, `[heads, queries, keys]`.
    position: Array3<f64>,
    /// 0 or [`MASKED`], `[batch, queries, keys]`.
    mask: Array3<f64>,
}

impl<'a> Reference<'a> {
    /// A forward pass over `model` in one of its forms.
    pub fn new(model: &'a TaskModel, form: Form) -> Self {
        Self { model, form }
    }

    /// The encoder's output after its final norm, width `d_model`, of `input_ids` and `attention_mask` (1 for a token,
    /// 0 for padding), both `[batch, source_len]`.
    ///
    /// # Errors
    /// If an id is outside the vocabulary, shapes differ, or a tensor cannot be had.
    pub fn encode(
        &self,
        input_ids: &Array2<i64>,
        attention_mask: &Array2<i64>,
    ) -> Result<States, ModelError> {
        self.check_mask(attention_mask, input_ids.dim())?;
        let length = input_ids.ncols();
        let own = ScoreBias {
            position: self.position_bias(Stack::Encoder, Attention::SelfAttention, length, length)?,
            mask: padding_mask(attention_mask, length),
        };
        let pass = Pass { stack: Stack::Encoder, own, cross: None, generated: vec![] };
        self.run(&pass, input_ids)
    }

    /// Logits, width `vocab_size`, after each of `decoder_input_ids` `[batch, target_len]`, given the encoder's output
    /// and the `attention_mask` that it was made with. Padding among the decoder's inputs is covered by causality.
    ///
    /// # Errors
    /// As [`Reference::encode`].
    pub fn decode(
        &self,
        encoded: &States,
        attention_mask: &Array2<i64>,
        decoder_input_ids: &Array2<i64>,
    ) -> Result<States, ModelError> {
        self.head(self.decoder_states(encoded, attention_mask, decoder_input_ids)?)
    }

    /// Greedy decoding over the whole vocabulary: `[batch, <= max_len]`, the start token first, padding after `</s>`.
    /// Of equal logits the first counts.
    ///
    /// # Errors
    /// As [`Reference::encode`].
    pub fn greedy(
        &self,
        encoded: &States,
        attention_mask: &Array2<i64>,
        max_len: usize,
    ) -> Result<Array2<i64>, ModelError> {
        let config = self.config();
        let (eos, pad) = (config.eos_token_id, config.pad_token_id);
        let batch = attention_mask.nrows();
        let mut ids = Array2::from_elem((batch, 1), config.decoder_start_token_id);
        while ids.ncols() < max_len {
            let states = self.decoder_states(encoded, attention_mask, &ids)?;
            let logits = self.head(states.last_positions())?;
            let mut next = Array2::from_elem((batch, 1), pad);
            for ((logits, ids), next) in logits.rows.outer_iter().zip(ids.outer_iter()).zip(&mut next) {
                if !ended(&ids, eos) {
                    *next = argmax(&logits) as i64;
                }
            }
            ids = ndarray::concatenate![Axis(1), ids, next];
            if ids.outer_iter().all(|ids| ended(&ids, eos)) {
                break;
            }
        }
        Ok(ids)
    }

    /// The decoder's output after its final norm, width `d_model`.
    fn decoder_states(
        &self,
        encoded: &States,
        attention_mask: &Array2<i64>,
        decoder_input_ids: &Array2<i64>,
    ) -> Result<States, ModelError> {
        let (batch, length) = decoder_input_ids.dim();
        self.check_mask(attention_mask, (batch, encoded.length))?;
        let bias = |kind, keys| self.position_bias(Stack::Decoder, kind, length, keys);
        let own = ScoreBias {
            position: bias(Attention::SelfAttention, length)?,
            mask: Array3::from_shape_fn(
                (batch, length, length),
                |(_, query, key)| {
                    if key > query { MASKED } else { 0.0 }
                },
            ),
        };
        let cross = ScoreBias {
            position: bias(Attention::CrossAttention, encoded.length)?,
            mask: padding_mask(attention_mask, length),
        };
        let generated = match &self.model.weights().generator {
            Some(generator) => generate(generator, encoded, attention_mask)?.adapters,
            None => vec![],
        };
        let pass = Pass { stack: Stack::Decoder, own, cross: Some((encoded, cross)), generated };
        self.run(&pass, decoder_input_ids)
    }

    fn config(&self) -> &'a T5Config {
        self.model.config()
    }

    fn check_mask(&self, mask: &Array2<i64>, (batch, length): (usize, usize)) -> Result<(), ModelError> {
        match mask.dim() == (batch, length) {
            true => Ok(()),
            false => Err(ModelError::Mask { mask: mask.shape().to_vec(), ids: vec![batch, length] }),
        }
    }

    /// All blocks of a stack and its final norm.
    fn run(&self, pass: &Pass<'_>, ids: &Array2<i64>) -> Result<States, ModelError> {
        let stack = pass.stack;
        let mut x = self.embed(ids)?;
        for (block, weights) in self.model.weights().blocks(stack).iter().enumerate() {
            self.attention_layer(pass, block, Attention::SelfAttention, weights, &mut x)?;
            if pass.cross.is_some() {
                self.attention_layer(pass, block, Attention::CrossAttention, weights, &mut x)?;
            }
            self.feed_forward_layer(pass, block, weights, &mut x)?;
        }
        self.norm(&mut x.rows, &names::final_norm(stack))?;
        Ok(x)
    }

    fn embed(&self, ids: &Array2<i64>) -> Result<States, ModelError> {
        let table: Array2<f32> = shaped(names::SHARED, self.model.tensor(names::SHARED)?)?;
        let table = match self.form {
            Form::Int8 => stored(&table.view()),
            Form::UnFolded | Form::Folded => table,
        };
        let mut rows = Array2::zeros((ids.len(), table.ncols()));
        for (mut row, id) in rows.outer_iter_mut().zip(ids) {
            let index = usize::try_from(*id).unwrap_or(usize::MAX);
            if index >= table.nrows() {
                return Err(ModelError::Id { id: *id, vocab_size: table.nrows() });
            }
            row.assign(&table.row(index).mapv(f64::from));
        }
        Ok(States { rows, length: ids.ncols() })
    }

    /// `x + attention(norm(x))` with the adapter in its place; only self-attention has one.
    fn attention_layer(
        &self,
        pass: &Pass<'_>,
        block: usize,
        kind: Attention,
        weights: &BlockWeights<HostTensor>,
        x: &mut States,
    ) -> Result<(), ModelError> {
        let mut normed = x.clone();
        self.norm(&mut normed.rows, &names::attention_norm(pass.stack, block, kind))?;
        let (memory, bias, adapter) = match (kind, &pass.cross) {
            (Attention::CrossAttention, Some((encoded, bias))) => (*encoded, bias, None),
            _ => (&normed, &pass.own, weights.self_attention_adapter.as_ref()),
        };
        let name = |part| names::attention(pass.stack, block, kind, part);
        let lora = weights.attention(kind);
        let q = self.linear(&normed.rows, &name("q"), lora.q.as_ref())?;
        let k = self.linear(&memory.rows, &name("k"), None)?;
        let v = self.linear(&memory.rows, &name("v"), lora.v.as_ref())?;
        let mixed = self.attend(&q, &k, &v, bias);
        let y = self.linear(&mixed, &name("o"), None)?;
        join(&mut x.rows, y, adapter)
    }

    /// Attention of all heads without scaling, `[batch * queries, inner_dim]`.
    fn attend(&self, q: &Array2<f64>, k: &Array2<f64>, v: &Array2<f64>, bias: &ScoreBias) -> Array2<f64> {
        let (_, queries, keys) = bias.mask.dim();
        let width = self.config().d_kv;
        let mut mixed = Array2::zeros(q.dim());
        for (sentence, mask) in bias.mask.outer_iter().enumerate() {
            let query_rows = sentence * queries..(sentence + 1) * queries;
            let key_rows = sentence * keys..(sentence + 1) * keys;
            for (head, position) in bias.position.outer_iter().enumerate() {
                let columns = head * width..(head + 1) * width;
                let q = q.slice(s![query_rows.clone(), columns.clone()]);
                let k = k.slice(s![key_rows.clone(), columns.clone()]);
                let v = v.slice(s![key_rows.clone(), columns.clone()]);
                let mut scores = q.dot(&k.t()) + position + mask;
                softmax(&mut scores);
                mixed.slice_mut(s![query_rows.clone(), columns]).assign(&scores.dot(&v));
            }
        }
        mixed
    }

    /// `x + feed_forward(norm(x))` with the adapter in its place, or each sentence's own beside it.
    fn feed_forward_layer(
        &self,
        pass: &Pass<'_>,
        block: usize,
        weights: &BlockWeights<HostTensor>,
        x: &mut States,
    ) -> Result<(), ModelError> {
        let stack = pass.stack;
        let mut normed = x.rows.clone();
        self.norm(&mut normed, &names::feed_forward_norm(stack, block))?;
        let linear = |x, part| self.linear(x, &names::feed_forward(stack, block, part), None);
        let hidden = match self.config().feed_forward_proj {
            FeedForward::Relu => linear(&normed, "wi")?.mapv_into(|x| x.max(0.0)),
            FeedForward::GatedGelu => linear(&normed, "wi_0")?.mapv_into(gelu_new) * linear(&normed, "wi_1")?,
        };
        let mut y = linear(&hidden, "wo")?;
        let Some(adapters) = pass.generated.get(block) else {
            return join(&mut x.rows, y, weights.feed_forward_adapter.as_ref());
        };
        for (sentence, adapter) in adapters.iter().enumerate() {
            let rows = sentence * x.length..(sentence + 1) * x.length;
            let mut y = y.slice_mut(s![rows, ..]);
            y += &adapter.update(&x.sentence(sentence));
        }
        x.rows += &y;
        Ok(())
    }

    /// Scaled states times the head's matrix; the states' width becomes `vocab_size`.
    fn head(&self, x: States) -> Result<States, ModelError> {
        let name = self.config().head_name();
        let matrix: Array2<f32> = shaped(name, self.model.tensor(name)?)?;
        let scaled = x.rows * self.config().head_scale();
        if self.form == Form::Int8 {
            return Ok(States { rows: product(&scaled, &matrix.view()), length: x.length });
        }
        let mut rows = Array2::zeros((scaled.nrows(), matrix.nrows()));
        let parts = matrix.axis_chunks_iter(Axis(0), HEAD_ROWS);
        for (part, mut out) in parts.zip(rows.axis_chunks_iter_mut(Axis(1), HEAD_ROWS)) {
            out.assign(&scaled.dot(&part.mapv(f64::from).t()));
        }
        Ok(States { rows, length: x.length })
    }

    fn norm(&self, x: &mut Array2<f64>, name: &str) -> Result<(), ModelError> {
        let gamma = wide::<Ix1>(name, &self.model.tensor(name)?)?;
        rms_norm(x, &gamma.view(), self.config().layer_norm_epsilon);
        Ok(())
    }

    /// `x Wᵀ`, with the LoRA pair beside it or inside it.
    fn linear(
        &self,
        x: &Array2<f64>,
        name: &str,
        lora: Option<&Lora<HostTensor>>,
    ) -> Result<Array2<f64>, ModelError> {
        match (self.form, lora) {
            (Form::Int8, _) => {
                let matrix: Array2<f32> = shaped(name, self.model.folded_tensor(name)?)?;
                Ok(product(x, &matrix.view()))
            }
            (Form::Folded, _) => Ok(x.dot(&wide::<Ix2>(name, &self.model.folded_tensor(name)?)?.t())),
            (Form::UnFolded, lora) => {
                let y = x.dot(&wide::<Ix2>(name, &self.model.tensor(name)?)?.t());
                let Some(lora) = lora else {
                    return Ok(y);
                };
                let a = wide::<Ix2>(name, &lora.a)?;
                let b = wide::<Ix2>(name, &lora.b)?;
                Ok(y + x.dot(&a.t()).dot(&b.t()) * lora.scale)
            }
        }
    }

    /// `[heads, queries, keys]`; zero where a kind of attention has no table.
    fn position_bias(
        &self,
        stack: Stack,
        kind: Attention,
        queries: usize,
        keys: usize,
    ) -> Result<Array3<f64>, ModelError> {
        let config = self.config();
        let shape = (config.num_heads, queries, keys);
        if kind == Attention::CrossAttention && !config.cross_attention_relative_bias {
            return Ok(Array3::zeros(shape));
        }
        let name = names::relative_bias(stack, kind);
        let table = wide::<Ix2>(&name, &self.model.tensor(&name)?)?;
        let bidirectional = (stack, kind) != (Stack::Decoder, Attention::SelfAttention);
        Ok(Array3::from_shape_fn(shape, |(head, query, key)| {
            let bucket = config.bucket(key as i64 - query as i64, bidirectional);
            table[[bucket, head]]
        }))
    }
}

/// Whether `</s>` stands behind the start token.
fn ended(ids: &ArrayView1<'_, i64>, eos: i64) -> bool {
    ids.iter().skip(1).any(|id| *id == eos)
}

/// `[batch, queries, keys]` from a mask `[batch, keys]`.
fn padding_mask(mask: &Array2<i64>, queries: usize) -> Array3<f64> {
    let (batch, keys) = mask.dim();
    Array3::from_shape_fn(
        (batch, queries, keys),
        |(sentence, _, key)| {
            if mask[[sentence, key]] == 0 { MASKED } else { 0.0 }
        },
    )
}

/// A sub-layer's input `x` and output `y` joined in x, with the adapter in its place (reference sections 1.4 and 5).
fn join(
    x: &mut Array2<f64>,
    y: Array2<f64>,
    adapter: Option<&Adapter<HostTensor>>,
) -> Result<(), ModelError> {
    if let Some(adapter) = adapter {
        let update = match adapter.placement {
            Placement::BeforeDropout | Placement::AfterDropout => bottleneck(&y, adapter)?,
            Placement::Parallel => bottleneck(x, adapter)?,
        };
        *x += &update;
    }
    *x += &y;
    Ok(())
}

/// `norm(up(activation(down(x))))`.
fn bottleneck(x: &Array2<f64>, adapter: &Adapter<HostTensor>) -> Result<Array2<f64>, ModelError> {
    let name = "adapter";
    let affine = |x: &Array2<f64>, weight, bias| -> Result<Array2<f64>, ModelError> {
        Ok(x.dot(&wide::<Ix2>(name, weight)?.t()) + wide::<Ix1>(name, bias)?)
    };
    let hidden = affine(x, &adapter.down_weight, &adapter.down_bias)?;
    let hidden = hidden.mapv_into(|x| activate(adapter.activation, x));
    let mut update = affine(&hidden, &adapter.up_weight, &adapter.up_bias)?;
    if let Some(norm) = &adapter.norm {
        let gamma = wide::<Ix1>(name, &norm.gamma)?;
        let beta = wide::<Ix1>(name, &norm.beta)?;
        layer_norm(&mut update, &gamma.view(), &beta.view(), norm.eps);
    }
    Ok(update)
}
