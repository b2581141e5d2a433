//! The forward pass.

use std::ops::Range;

use hyperloader_core::backbone::t5::{Attention, Stack, T5Config, names};
use hyperloader_core::weights::task::{BlockWeights, Lora};
use hyperloader_core::weights::tensors::HostTensor;
use ndarray::{Array2, Array3, ArrayRef2, Axis, Ix1, Ix2, s};

use super::cache::{KeyValueCache, KeysAndValues};
use super::generate::{GeneratedAdapter, generate};
use super::states::States;
use crate::arithmetic::{activate, rms_norm, softmax};
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
    forms: Forms,
    /// The large matrices in the precision of a file.
    stored: Option<&'a StoredMatrices>,
}

/// Where LoRA is computed.
#[derive(Debug, Clone, Copy)]
enum Forms {
    /// In the same way for all sentences.
    One(Form),
    /// As in training for the first half of the sentences, folded for the second half.
    Both,
}

/// A stack, and the inputs of its attentions besides states and weights.
pub(super) struct Pass<'a> {
    stack: Stack,
    /// Bias of self-attention.
    self_bias: ScoreBias,
    /// The encoder's output and the bias of cross-attention; only in the decoder.
    cross: Option<(&'a States, ScoreBias)>,
    /// Generated adapters of the feed-forward layers, by block and then by sentence; empty without a generator.
    generated: &'a [Vec<GeneratedAdapter>],
    /// Keys and values of earlier passes, to which this pass appends its own; `None` if nothing is kept.
    cache: Option<&'a mut KeyValueCache>,
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
        Self { model, forms: Forms::One(form), stored: None }
    }

    /// The un-folded and the folded model at once: the first half of each batch is computed by the former, the second half
    /// by the latter. Matrices without LoRA, nearly all, are then read and widened once for both.
    pub(crate) fn both(model: &'a T5Model) -> Self {
        Self { model, forms: Forms::Both, stored: None }
    }

    /// The reference model of a file of the precision of `stored`: folded, with the large matrices in that precision.
    pub(crate) fn in_precision(model: &'a T5Model, stored: &'a StoredMatrices) -> Self {
        Self { model, forms: Forms::One(Form::Folded), stored: Some(stored) }
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
            position: self.position_bias(Stack::Encoder, Attention::SelfAttention, 0..length, length)?,
            mask: padding_mask(attention_mask, length),
        };
        let pass = Pass { stack: Stack::Encoder, self_bias, cross: None, generated: &[], cache: None };
        self.run(pass, input_ids)
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
        let (batch, length) = decoder_input_ids.dim();
        self.check_mask(attention_mask, (batch, encoded.length))?;
        let bias = |kind, keys| self.position_bias(Stack::Decoder, kind, 0..length, keys);
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
        let generated = self.generated(encoded, attention_mask)?;
        let pass = Pass {
            stack: Stack::Decoder,
            self_bias,
            cross: Some((encoded, cross)),
            generated: generated.as_slice(),
            cache: None,
        };
        self.head(self.run(pass, decoder_input_ids)?)
    }

    /// The logits `[batch, vocab_size]` after `ids`, each at position `cache.length` of its sentence, given the keys and values
    /// of the ids before them in `cache`, to which theirs are appended.
    pub(super) fn decode_next(
        &self,
        encoded: &States,
        attention_mask: &Array2<i64>,
        ids: &Array2<i64>,
        generated: &[Vec<GeneratedAdapter>],
        cache: &mut KeyValueCache,
    ) -> Result<Array2<f64>, ModelError> {
        let (batch, position) = (ids.nrows(), cache.length);
        self.check_mask(attention_mask, (batch, encoded.length))?;
        let bias = |kind, keys| self.position_bias(Stack::Decoder, kind, position..position + 1, keys);
        let self_bias = ScoreBias {
            position: bias(Attention::SelfAttention, position + 1)?,
            mask: Array3::zeros((batch, 1, position + 1)),
        };
        let cross = ScoreBias {
            position: bias(Attention::CrossAttention, encoded.length)?,
            mask: padding_mask(attention_mask, 1),
        };
        cache.length += 1;
        let cross = Some((encoded, cross));
        let pass = Pass { stack: Stack::Decoder, self_bias, cross, generated, cache: Some(cache) };
        Ok(self.head(self.run(pass, ids)?)?.into_rows())
    }

    /// The generated adapters of all sentences, by block and then by sentence; empty without a generator.
    pub(super) fn generated(
        &self,
        encoded: &States,
        attention_mask: &Array2<i64>,
    ) -> Result<Vec<Vec<GeneratedAdapter>>, ModelError> {
        match &self.model.weights().generator {
            Some(generator) => Ok(generate(generator, encoded, attention_mask)?.adapters),
            None => Ok(vec![]),
        }
    }

    pub(super) fn config(&self) -> &'a T5Config {
        self.model.config()
    }

    fn check_mask(&self, mask: &Array2<i64>, (batch, length): (usize, usize)) -> Result<(), ModelError> {
        match mask.dim() == (batch, length) {
            true => Ok(()),
            false => Err(ModelError::Mask { mask: mask.shape().to_vec(), ids: vec![batch, length] }),
        }
    }

    /// Runs all blocks of a stack and its final norm on `ids` `[batch, length]`.
    fn run(&self, mut pass: Pass<'_>, ids: &Array2<i64>) -> Result<States, ModelError> {
        let stack = pass.stack;
        let mut x = self.embed(ids)?;
        for (block, weights) in self.model.weights().blocks(stack).iter().enumerate() {
            self.attention_layer(&mut pass, block, Attention::SelfAttention, weights, &mut x)?;
            if pass.cross.is_some() {
                self.attention_layer(&mut pass, block, Attention::CrossAttention, weights, &mut x)?;
            }
            self.feed_forward_layer(&pass, block, weights, &mut x)?;
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
        pass: &mut Pass<'_>,
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
        let new = || -> Result<KeysAndValues, ModelError> {
            let keys = self.linear(&memory.rows, &name("k"), None)?;
            Ok(KeysAndValues { keys, values: self.linear(&memory.rows, &name("v"), lora.v.as_ref())? })
        };
        let KeysAndValues { keys, values } = match (&mut pass.cache, kind) {
            (None, _) => &new()?,
            (Some(cache), Attention::SelfAttention) => cache.append(block, new()?, memory.length),
            (Some(cache), Attention::CrossAttention) => cache.cross_attention(block, new)?,
        };
        let mixed = self.attend(&q, keys, values, bias);
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
        // The rows of logits are compared one by one.
        Ok(States { rows: rows.as_standard_layout().into_owned(), length: x.length })
    }

    /// The matrix `name` in the precision of the file, LoRA folded in.
    fn matrix(&self, name: &str) -> Result<Matrix<'a>, ModelError> {
        Matrix::read(name, self.stored, || self.model.tensors().folded_tensor(name))
    }

    fn norm(&self, x: &mut Array2<f64>, name: &str) -> Result<(), ModelError> {
        let gamma = wide::<Ix1>(name, &self.model.tensors().tensor(name)?)?;
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
        match self.forms {
            Forms::One(Form::Folded) => Ok(self.matrix(name)?.product(x)),
            Forms::One(Form::UnFolded) => self.un_folded(x, name, lora),
            Forms::Both if lora.is_none() && !self.model.tensors().is_updated(name) => {
                Ok(self.matrix(name)?.product(x))
            }
            Forms::Both => {
                let (first, second) = x.view().split_at(Axis(0), x.nrows() / 2);
                let first = self.un_folded(&first, name, lora)?;
                Ok(ndarray::concatenate![Axis(0), first, self.matrix(name)?.product(&second)])
            }
        }
    }

    /// `x Wᵀ`, with the LoRA pair computed separately, as in training.
    fn un_folded(
        &self,
        x: &ArrayRef2<f64>,
        name: &str,
        lora: Option<&Lora<HostTensor>>,
    ) -> Result<Array2<f64>, ModelError> {
        let y = Matrix::read(name, None, || self.model.tensors().tensor(name))?.product(x);
        let Some(lora) = lora else {
            return Ok(y);
        };
        let a = wide::<Ix2>(name, &lora.a)?;
        let b = wide::<Ix2>(name, &lora.b)?;
        Ok(y + x.dot(&a.t()).dot(&b.t()) * lora.scale)
    }

    /// The relative position bias of a kind of attention, `[heads, queries, keys]`, for queries at these positions and keys from
    /// position 0; zero if it has no table.
    fn position_bias(
        &self,
        stack: Stack,
        kind: Attention,
        queries: Range<usize>,
        keys: usize,
    ) -> Result<Array3<f64>, ModelError> {
        let config = self.config();
        let shape = (config.num_heads, queries.len(), keys);
        if kind == Attention::CrossAttention && !config.cross_attention_relative_bias {
            return Ok(Array3::zeros(shape));
        }
        let name = names::relative_bias(stack, kind);
        let table = wide::<Ix2>(&name, &self.model.tensors().tensor(&name)?)?;
        let bidirectional = (stack, kind) != (Stack::Decoder, Attention::SelfAttention);
        Ok(Array3::from_shape_fn(shape, |(head, query, key)| {
            let bucket = config.bucket(key as i64 - (queries.start + query) as i64, bidirectional);
            table[[bucket, head]]
        }))
    }
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
