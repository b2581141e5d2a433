//! The gated modules of `unipelt-bert` (`docs/reference/baselines.md#unipelt-on-bert`).

use hyperloader_core::backbone::bert::names as bert;
use hyperloader_core::method::unipelt_bert::names;
use ndarray::{Array2, Ix2};

use super::sentence::Sentence;
use crate::bert::model::BertModel;
use crate::bert::prefix::LayerPrefix;
use crate::error::ModelError;
use crate::fold::Form;

/// The modules of `unipelt-bert`.
#[derive(Debug)]
pub(super) struct Gated {
    prefixes: Vec<LayerPrefix>,
    /// Whether a gate is the mean over padding too.
    over_padding: bool,
}

impl Gated {
    /// The modules of `model`; `None` if its method has none.
    pub(super) fn of(model: &BertModel, form: Form) -> Result<Option<Self>, ModelError> {
        let Some(method) = model.gated() else { return Ok(None) };
        let prefixes = model.prefixes()?.iter();
        let prefixes = match form {
            Form::UnFolded => prefixes.cloned().collect(),
            Form::Folded => prefixes.map(LayerPrefix::rounded).collect(),
        };
        Ok(Some(Self { prefixes, over_padding: method.gate_over_padding }))
    }

    /// The prefix of a layer, multiplied with its gate.
    pub(super) fn prefix(
        &self,
        model: &BertModel,
        layer: usize,
        sentence: &Sentence,
    ) -> Result<LayerPrefix, ModelError> {
        let name = bert::layer(layer, names::PREFIX_GATE);
        let gate = self.gate(model, sentence, &sentence.x, &name)?;
        let LayerPrefix { keys, values } = &self.prefixes[layer];
        Ok(LayerPrefix { keys: keys * gate, values: values * gate })
    }

    /// `g (x A^T) B^T` of the projection `name`.
    pub(super) fn lora(
        &self,
        model: &BertModel,
        sentence: &Sentence,
        name: &str,
    ) -> Result<Array2<f64>, ModelError> {
        let x = &sentence.x;
        let gate = self.gate(model, sentence, x, &format!("{name}.lora_gate"))?;
        let a = model.wide::<Ix2>(&format!("{name}.lora_A"))?;
        let b = model.wide::<Ix2>(&format!("{name}.lora_B"))?;
        Ok(x.dot(&a.t()).dot(&b.t()) * gate)
    }

    /// Adds the output of a layer's adapter to the residual sum after the feed-forward layer. The adapter reads the
    /// normalized sum.
    pub(super) fn add_adapter(
        &self,
        model: &BertModel,
        layer: usize,
        sentence: &mut Sentence,
    ) -> Result<(), ModelError> {
        let name = |part| bert::layer(layer, part);
        let mut h = sentence.x.clone();
        model.norm(&mut h, &name(bert::OUTPUT_NORM))?;
        let gate = self.gate(model, sentence, &h, &name(names::ADAPTER_GATE))?;
        let down = model.linear(&h, &name(names::ADAPTER_DOWN))?.mapv_into(|x| x.max(0.0));
        sentence.x += &(model.linear(&down, &name(names::ADAPTER_UP))? * gate);
        Ok(())
    }

    /// The mean of `sigmoid(w x + b)` over the positions of a sentence.
    fn gate(
        &self,
        model: &BertModel,
        sentence: &Sentence,
        x: &Array2<f64>,
        name: &str,
    ) -> Result<f64, ModelError> {
        let open = model.linear(x, name)?.mapv_into(|x| 1.0 / (1.0 + (-x).exp()));
        let open = open.column(0);
        match self.over_padding {
            true => Ok(open.sum() / (open.len() as f64).max(1.0)),
            false => Ok(open.dot(&sentence.mask) / sentence.mask.sum().max(1.0)),
        }
    }
}
