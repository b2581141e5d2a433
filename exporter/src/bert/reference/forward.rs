//! The forward pass.

use hyperloader_core::backbone::bert::names as bert;
use hyperloader_core::method::names;
use hyperloader_core::weights::site::{Site, Stack};
use hyperloader_core::weights::task::Adapter;
use hyperloader_core::weights::tensors::HostTensor;
use ndarray::{Array2, ArrayView1, Axis, Ix1, Ix2, s};

use super::gated::Gated;
use super::sentence::{MASKED, Sentence};
use crate::arithmetic::{gelu, softmax};
use crate::bert::model::BertModel;
use crate::error::ModelError;
use crate::fold::Form;
use crate::precision::matrices::{Matrix, StoredMatrices};
use crate::site::reference::join;
use crate::site::tensors::FoldedTensors;
use crate::tensor::wide;

/// The reference model of a [`BertModel`].
#[derive(Debug)]
pub struct BertReference<'a> {
    model: &'a BertModel,
    form: Form,
    /// The large matrices in the precision of a file.
    stored: Option<&'a StoredMatrices>,
    /// The modules of `unipelt-bert`.
    gated: Option<Gated>,
}

impl<'a> BertReference<'a> {
    /// The reference model of `model` in one of its forms. The folded form of `unipelt-bert`, whose LoRA cannot be folded,
    /// has the prefix of a file: computed and rounded to float32.
    ///
    /// # Errors
    /// Returns an error if a tensor that a prefix is computed from is missing or misshapen.
    pub fn new(model: &'a BertModel, form: Form) -> Result<Self, ModelError> {
        Ok(Self { model, form, stored: None, gated: Gated::of(model, form)? })
    }

    /// The reference model of a file of the precision of `stored`: folded, with the large matrices in that precision.
    ///
    /// # Errors
    /// As [`BertReference::new`].
    pub(crate) fn in_precision(model: &'a BertModel, stored: &'a StoredMatrices) -> Result<Self, ModelError> {
        Ok(Self { stored: Some(stored), ..Self::new(model, Form::Folded)? })
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
        for layer in 0..self.model.config().num_hidden_layers {
            for sentence in &mut sentences {
                self.layer(layer, sentence)?;
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
        let words = self.matrix(bert::WORDS)?;
        let places = self.model.wide::<Ix2>(bert::POSITIONS)?;
        let types = self.model.wide::<Ix2>(bert::TYPES)?;
        if ids.len() > places.nrows() {
            return Err(ModelError::Length { length: ids.len(), limit: places.nrows() });
        }
        let [vocab_size, width] = words.shape();
        let mut x = Array2::zeros((ids.len(), width));
        for (place, (id, mut row)) in ids.iter().zip(x.outer_iter_mut()).enumerate() {
            let known = usize::try_from(*id).ok().filter(|id| *id < vocab_size);
            let id = known.ok_or(ModelError::Id { id: *id, vocab_size })?;
            row.assign(&(words.row(id).mapv(f64::from) + places.row(place) + types.row(0)));
        }
        self.model.norm(&mut x, bert::EMBEDDING_NORM)?;
        let mask = mask.mapv(|m| if m == 0 { 0.0 } else { 1.0 });
        Ok(Sentence { x, bias: mask.mapv(|m| if m == 0.0 { MASKED } else { 0.0 }), mask })
    }

    fn layer(&self, layer: usize, sentence: &mut Sentence) -> Result<(), ModelError> {
        let name = |part| bert::layer(layer, part);
        let y = self.attention(layer, sentence)?;
        join(&mut sentence.x, y, self.adapter(layer, Site::SelfAttentionAdapter))?;
        self.model.norm(&mut sentence.x, &name(bert::ATTENTION_NORM))?;

        let inner = self.linear(&sentence.x, &name(bert::INTERMEDIATE))?.mapv_into(gelu);
        let y = self.linear(&inner, &name(bert::OUTPUT))?;
        join(&mut sentence.x, y, self.adapter(layer, Site::FeedForwardAdapter))?;
        if let Some(gated) = &self.gated {
            gated.add_adapter(self.model, layer, sentence)?;
        }
        self.model.norm(&mut sentence.x, &name(bert::OUTPUT_NORM))
    }

    fn adapter(&self, layer: usize, site: Site) -> Option<&'a Adapter<HostTensor>> {
        self.model.tensors().weights().blocks(Stack::Encoder)[layer].adapter(site)
    }

    fn attention(&self, layer: usize, sentence: &Sentence) -> Result<Array2<f64>, ModelError> {
        let name = |part| bert::layer(layer, part);
        let queries = self.projection(sentence, &name(bert::QUERY))?;
        let keys = self.linear(&sentence.x, &name(bert::KEY))?;
        let values = self.projection(sentence, &name(bert::VALUE))?;
        let prefix = match &self.gated {
            Some(gated) => Some(gated.prefix(self.model, layer, sentence)?),
            None => None,
        };
        let width = self.model.config().head_dim();
        let mut mixed = Array2::zeros(sentence.x.raw_dim());
        for head in 0..self.model.config().num_attention_heads {
            let columns = s![.., head * width..(head + 1) * width];
            let q = queries.slice(columns).to_owned() / (width as f64).sqrt();
            let mut weights = q.dot(&keys.slice(columns).t()) + &sentence.bias;
            let mut values = values.slice(columns).to_owned();
            if let Some(prefix) = &prefix {
                let [before_keys, before_values] =
                    [&prefix.keys, &prefix.values].map(|part| part.index_axis(Axis(0), head));
                weights = ndarray::concatenate![Axis(1), q.dot(&before_keys.t()), weights];
                values = ndarray::concatenate![Axis(0), before_values, values];
            }
            softmax(&mut weights);
            mixed.slice_mut(columns).assign(&weights.dot(&values));
        }
        self.linear(&mixed, &name(bert::ATTENTION_OUTPUT))
    }

    /// The queries or values of a sentence.
    fn projection(&self, sentence: &Sentence, name: &str) -> Result<Array2<f64>, ModelError> {
        let y = self.linear(&sentence.x, name)?;
        match &self.gated {
            Some(gated) => Ok(y + gated.lora(self.model, sentence, name)?),
            None => Ok(y),
        }
    }

    /// `W x + b` of a map of the encoder, with its LoRA pair computed separately or folded into `W`.
    fn linear(&self, x: &Array2<f64>, name: &str) -> Result<Array2<f64>, ModelError> {
        let weight = format!("{name}.weight");
        let bias = self.model.wide::<Ix1>(&format!("{name}.bias"))?;
        if self.form == Form::Folded {
            return Ok(self.matrix(&weight)?.product(x) + bias);
        }
        let y = x.dot(&self.model.wide::<Ix2>(&weight)?.t()) + bias;
        let Some(lora) = self.model.tensors().lora(&weight) else {
            return Ok(y);
        };
        let [a, b] = [wide::<Ix2>(name, &lora.a)?, wide::<Ix2>(name, &lora.b)?];
        Ok(y + x.dot(&a.t()).dot(&b.t()) * lora.scale)
    }

    /// The matrix `name` in the precision of the file, LoRA folded in.
    fn matrix(&self, name: &str) -> Result<Matrix<'a>, ModelError> {
        Matrix::read(name, self.stored, || match self.form {
            Form::Folded => self.model.tensors().folded_tensor(name),
            Form::UnFolded => self.model.tensors().tensor(name),
        })
    }
}
