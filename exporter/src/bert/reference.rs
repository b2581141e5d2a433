//! The reference model of BERT: a task's token classifier in plain ndarray, which every exported file is compared with.
//!
//! It computes in float64 and holds one tensor of the backbone in memory at a time
//! (`docs/reference/backbones.md#bert`, `docs/reference/baselines.md#unipelt-on-bert`). There is no dropout, as in
//! evaluation.

use hyperloader_core::backbone::bert::names as bert;
use hyperloader_core::method::unipelt_bert::names;
use ndarray::{Array1, Array2, ArrayView1, Axis, Ix1, Ix2, s};

use super::model::{BertModel, LayerPrefix};
use crate::arithmetic::{gelu, layer_norm, softmax};
use crate::error::ModelError;

/// Added to the scores of padding, as in BERT.
const MASKED: f64 = -1e4;

/// The reference model of a [`BertModel`].
#[derive(Debug)]
pub struct BertReference<'a> {
    model: &'a BertModel,
    prefixes: Vec<LayerPrefix>,
}

/// The states of one sentence.
struct Sentence {
    /// Hidden states, `[source_len, hidden_size]`.
    x: Array2<f64>,
    /// Added to the scores of the sentence's positions: 0 for tokens and [`MASKED`] for padding, `[source_len]`.
    bias: Array1<f64>,
    /// The weight of each position in a gate's mean, `[source_len]`.
    shares: Array1<f64>,
}

impl<'a> BertReference<'a> {
    /// The reference model of `model` with the prefix of each layer, see [`BertModel::prefixes`].
    pub fn new(model: &'a BertModel, prefixes: Vec<LayerPrefix>) -> Self {
        Self { model, prefixes }
    }

    /// The logits `[batch * source_len, tags]`, sentence by sentence, for `input_ids` and `attention_mask` (1 for a token, 0
    /// for padding), both `[batch, source_len]`.
    ///
    /// # Errors
    /// Returns an error if an id or a position has no embedding, the two shapes differ, or a tensor is missing or misshapen.
    pub fn logits(
        &self,
        input_ids: &Array2<i64>,
        attention_mask: &Array2<i64>,
    ) -> Result<Array2<f64>, ModelError> {
        if input_ids.dim() != attention_mask.dim() {
            let (mask, ids) = (attention_mask.shape().to_vec(), input_ids.shape().to_vec());
            return Err(ModelError::Mask { mask, ids });
        }
        let mut sentences = Vec::new();
        for (ids, mask) in input_ids.outer_iter().zip(attention_mask.outer_iter()) {
            sentences.push(self.sentence(&ids, &mask)?);
        }
        for (layer, prefix) in self.prefixes.iter().enumerate() {
            for sentence in &mut sentences {
                self.layer(layer, prefix, sentence)?;
            }
        }
        let states: Vec<_> = sentences.iter().map(|sentence| sentence.x.view()).collect();
        let states = ndarray::concatenate(Axis(0), &states).unwrap_or_default();
        self.model.linear(&states, names::CLASSIFIER)
    }

    fn sentence(
        &self,
        ids: &ArrayView1<'_, i64>,
        mask: &ArrayView1<'_, i64>,
    ) -> Result<Sentence, ModelError> {
        let words = self.model.wide::<Ix2>(bert::WORDS)?;
        let places = self.model.wide::<Ix2>(bert::POSITIONS)?;
        let types = self.model.wide::<Ix2>(bert::TYPES)?;
        if ids.len() > places.nrows() {
            return Err(ModelError::Length { length: ids.len(), limit: places.nrows() });
        }
        let mut x = Array2::zeros((ids.len(), words.ncols()));
        for (place, (id, mut row)) in ids.iter().zip(x.outer_iter_mut()).enumerate() {
            let known = usize::try_from(*id).ok().filter(|id| *id < words.nrows());
            let id = known.ok_or(ModelError::Id { id: *id, vocab_size: words.nrows() })?;
            row.assign(&(&words.row(id) + &places.row(place) + types.row(0)));
        }
        self.norm(&mut x, bert::EMBEDDING_NORM)?;
        let counted: Array1<f64> = match self.model.method().gate_over_padding {
            true => Array1::ones(mask.len()),
            false => mask.mapv(|m| if m == 0 { 0.0 } else { 1.0 }),
        };
        let shares = &counted / counted.sum().max(1.0);
        Ok(Sentence { x, bias: mask.mapv(|m| if m == 0 { MASKED } else { 0.0 }), shares })
    }

    fn layer(&self, layer: usize, prefix: &LayerPrefix, sentence: &mut Sentence) -> Result<(), ModelError> {
        let name = |part| bert::layer(layer, part);
        let mut x = self.attention(layer, prefix, sentence)? + &sentence.x;
        self.norm(&mut x, &name(bert::ATTENTION_NORM))?;

        let inner = self.model.linear(&x, &name(bert::INTERMEDIATE))?.mapv_into(gelu);
        let sum = self.model.linear(&inner, &name(bert::OUTPUT))? + x;
        let mut h = sum.clone();
        self.norm(&mut h, &name(bert::OUTPUT_NORM))?;
        let gate = self.gate(&h, &name(names::ADAPTER_GATE), &sentence.shares)?;
        let down = self.model.linear(&h, &name(names::ADAPTER_DOWN))?.mapv_into(|x| x.max(0.0));
        sentence.x = self.model.linear(&down, &name(names::ADAPTER_UP))? * gate + sum;
        self.norm(&mut sentence.x, &name(bert::OUTPUT_NORM))
    }

    fn attention(
        &self,
        layer: usize,
        prefix: &LayerPrefix,
        Sentence { x, bias, shares }: &Sentence,
    ) -> Result<Array2<f64>, ModelError> {
        let name = |part| bert::layer(layer, part);
        let queries = self.gated_lora(x, &name(bert::QUERY), shares)?;
        let keys = self.model.linear(x, &name(bert::KEY))?;
        let values = self.gated_lora(x, &name(bert::VALUE), shares)?;
        let gate = self.gate(x, &name(names::PREFIX_GATE), shares)?;
        let width = self.model.config().head_dim();
        let mut mixed = Array2::zeros(x.raw_dim());
        for (head, (before_keys, before_values)) in
            prefix.keys.outer_iter().zip(prefix.values.outer_iter()).enumerate()
        {
            let columns = s![.., head * width..(head + 1) * width];
            let q = queries.slice(columns).to_owned() / (width as f64).sqrt();
            let before = q.dot(&(&before_keys * gate).t());
            let own = q.dot(&keys.slice(columns).t()) + bias;
            let mut weights = ndarray::concatenate![Axis(1), before, own];
            softmax(&mut weights);
            let all_values = ndarray::concatenate![Axis(0), &before_values * gate, values.slice(columns)];
            mixed.slice_mut(columns).assign(&weights.dot(&all_values));
        }
        self.model.linear(&mixed, &name(bert::ATTENTION_OUTPUT))
    }

    /// `W x + b + g (x A^T) B^T`.
    fn gated_lora(
        &self,
        x: &Array2<f64>,
        name: &str,
        shares: &Array1<f64>,
    ) -> Result<Array2<f64>, ModelError> {
        let gate = self.gate(x, &format!("{name}.lora_gate"), shares)?;
        let a = self.model.wide::<Ix2>(&format!("{name}.lora_A"))?;
        let b = self.model.wide::<Ix2>(&format!("{name}.lora_B"))?;
        Ok(self.model.linear(x, name)? + x.dot(&a.t()).dot(&b.t()) * gate)
    }

    /// The mean of `sigmoid(w x + b)` over positions, weighted with `shares`.
    fn gate(&self, x: &Array2<f64>, name: &str, shares: &Array1<f64>) -> Result<f64, ModelError> {
        let open = self.model.linear(x, name)?.mapv_into(|x| 1.0 / (1.0 + (-x).exp()));
        Ok(open.column(0).dot(shares))
    }

    fn norm(&self, x: &mut Array2<f64>, name: &str) -> Result<(), ModelError> {
        let gamma = self.model.wide::<Ix1>(&format!("{name}.weight"))?;
        let beta = self.model.wide::<Ix1>(&format!("{name}.bias"))?;
        layer_norm(x, &gamma.view(), &beta.view(), self.model.config().layer_norm_eps);
        Ok(())
    }
}
