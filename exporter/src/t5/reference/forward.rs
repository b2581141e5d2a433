//! The forward pass.

use hyperloader_core::backbone::t5::{Attention, Stack, T5Config, names};
use hyperloader_core::weights::task::{BlockWeights, Lora};
use hyperloader_core::weights::tensors::HostTensor;
use ndarray::{Array2, Array3, ArrayView1, Axis, Ix1, Ix2, s};

use super::generate::{GeneratedAdapter, generate};
use super::states::States;
use crate::arithmetic::{activate, argmax, rms_norm, softmax};
use crate::error::ModelError;
use crate::fold::Form;
use crate::precision::matrices::{Matrix, StoredMatrices};
use crate::site::reference::join;
use crate::t5::model::T5Model;
use crate::tensor::wide;

/// Added to the scores of masked keys. It is far below any score, but finite: a row in which all keys are masked does not
/// become NaN.
const MASKED: f64 = -1e9;

/// The reference model of a [`T5Model`].
#[derive(Debug, Clone, Copy)]
pub struct Reference<'a> {
    model: &'a T5Model,
    form: Form,
    /// The large matrices in the precision of a file.
    stored: Option<&'a StoredMatrices>,
}

/// A stack, and the inputs of its attentions besides states and weights.
struct Pass<'a> {
    stack: Stack,
    /// Bias of self-attention.
    self_bias: ScoreBias,
    /// The encoder's output and the bias of cross-attention; only in the decoder.
    cross: Option<(&'a States, ScoreBias)>,
    /// Generated adapters of the feed-forward layers, by block and then by sentence; empty without a generator.
    generated: Vec<Vec<GeneratedAdapter>>,
}

/// Added to the scores of all attentions of one kind.
struct ScoreBias {
    /// Depends on the relative position, `[heads, queries, keys]`.
    position: Array3<f64>,
    /// 0 or [`MASKED`], `[batch, queries, keys]`.
    mask: Array3<f64>,
}

impl<'a> Reference<'a> {
    /// The reference model of `model` in one of its forms.
    pub fn new(model: &'a T5Model, form: Form) -> Self {
        Self { model, form, stored: None }
    }

    /// The reference model of a file of the precision of `stored`: folded, with the large matrices in that precision.
    pub(crate) fn in_precision(model: &'a T5Model, stored: &'a StoredMatrices) -> Self {
        Self { model, form: Form::Folded, stored: Some(stored) }
    }

    /// The encoder's output after its final norm, `[batch * source_len, d_model]`, for `input_ids` and `attention_mask`
    /// (1 for a token, 0 for padding), both `[batch, source_len]`.
    ///
    /// # Errors
    /// Returns an error if an id is outside the vocabulary, the two shapes differ, or a tensor is missing or misshapen.
    pub fn encode(
        &self,
        input_ids: &Array2<i64>,
        attention_mask: &Array2<i64>,
    ) -> Result<States, ModelError> {
        self.check_mask(attention_mask, input_ids.dim())?;
        let length = input_ids.ncols();
        let self_bias = ScoreBias {
            position: self.position_bias(Stack::Encoder, Attention::SelfAttention, length, length)?,
            mask: padding_mask(attention_mask, length),
        };
        let pass = Pass { stack: Stack::Encoder, self_bias, cross: None, generated: vec![] };
        self.run(&pass, input_ids)
    }

    /// The logits `[batch * target_len, vocab_size]` after each of `decoder_input_ids` `[batch, target_len]`, given the
    /// encoder's output and the `attention_mask` that it was computed with. Padding at the end of the decoder's inputs
    /// needs no mask, because no earlier position attends to it.
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
    /// Of equal logits the first is chosen.
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

    /// The decoder's output after its final norm, `[batch * target_len, d_model]`.
    fn decoder_states(
        &self,
        encoded: &States,
        attention_mask: &Array2<i64>,
        decoder_input_ids: &Array2<i64>,
    ) -> Result<States, ModelError> {
        let (batch, length) = decoder_input_ids.dim();
        self.check_mask(attention_mask, (batch, encoded.length))?;
        let bias = |kind, keys| self.position_bias(Stack::Decoder, kind, length, keys);
        let self_bias = ScoreBias {
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
        let pass = Pass { stack: Stack::Decoder, self_bias, cross: Some((encoded, cross)), generated };
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

    /// Runs all blocks of a stack and its final norm on `ids` `[batch, length]`.
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

    /// The rows of the embedding at `ids` `[batch, length]`.
    fn embed(&self, ids: &Array2<i64>) -> Result<States, ModelError> {
        let table = self.matrix(names::SHARED)?;
        let [vocab_size, width] = table.shape();
        let mut rows = Array2::zeros((ids.len(), width));
        for (mut row, id) in rows.outer_iter_mut().zip(ids) {
            let index = usize::try_from(*id).ok().filter(|index| *index < vocab_size);
            let index = index.ok_or(ModelError::Id { id: *id, vocab_size })?;
            row.assign(&table.row(index).mapv(f64::from));
        }
        Ok(States { rows, length: ids.ncols() })
    }

    /// `x + attention(norm(x))`, with the adapter where there is one. Cross-attention has none.
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
            _ => (&normed, &pass.self_bias, weights.self_attention_adapter.as_ref()),
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

    /// Attention of all heads, `[batch * queries, inner_dim]`. T5 does not scale the scores.
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

    /// `x + feed_forward(norm(x))`, with the adapter where there is one, or with the generated adapter of each sentence.
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
        let form = self.config().feed_forward_proj;
        let activated = |x: Array2<f64>| x.mapv_into(|x| activate(form.activation(), x));
        let hidden = match form.is_gated() {
            false => activated(linear(&normed, "wi")?),
            true => activated(linear(&normed, "wi_0")?) * linear(&normed, "wi_1")?,
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

    /// The logits of states `x`: the scaled states times the matrix of the head, `[batch * length, vocab_size]`.
    fn head(&self, x: States) -> Result<States, ModelError> {
        let scaled = x.rows * self.config().head_scale();
        let rows = self.matrix(self.config().head_name())?.product(&scaled);
        Ok(States { rows, length: x.length })
    }

    /// The matrix `name` in the precision of the file, LoRA folded in.
    fn matrix(&self, name: &str) -> Result<Matrix, ModelError> {
        Matrix::read(name, self.stored, || self.model.folded_tensor(name))
    }

    fn norm(&self, x: &mut Array2<f64>, name: &str) -> Result<(), ModelError> {
        let gamma = wide::<Ix1>(name, &self.model.tensor(name)?)?;
        rms_norm(x, &gamma.view(), self.config().layer_norm_epsilon);
        Ok(())
    }

    /// `x Wᵀ`, with the LoRA pair computed separately or folded into `W`.
    fn linear(
        &self,
        x: &Array2<f64>,
        name: &str,
        lora: Option<&Lora<HostTensor>>,
    ) -> Result<Array2<f64>, ModelError> {
        if self.form == Form::Folded {
            return Ok(self.matrix(name)?.product(x));
        }
        let y = x.dot(&wide::<Ix2>(name, &self.model.tensor(name)?)?.t());
        let Some(lora) = lora else {
            return Ok(y);
        };
        let a = wide::<Ix2>(name, &lora.a)?;
        let b = wide::<Ix2>(name, &lora.b)?;
        Ok(y + x.dot(&a.t()).dot(&b.t()) * lora.scale)
    }

    /// The relative position bias of a kind of attention, `[heads, queries, keys]`; zero if it has no table.
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

/// Whether `</s>` follows the start token.
fn ended(ids: &ArrayView1<'_, i64>, eos: i64) -> bool {
    ids.iter().skip(1).any(|id| *id == eos)
}

/// 0 for tokens and [`MASKED`] for padding, `[batch, queries, keys]`, from an attention mask `[batch, keys]`.
fn padding_mask(mask: &Array2<i64>, queries: usize) -> Array3<f64> {
    let (batch, keys) = mask.dim();
    Array3::from_shape_fn(
        (batch, queries, keys),
        |(sentence, _, key)| {
            if mask[[sentence, key]] == 0 { MASKED } else { 0.0 }
        },
    )
}
