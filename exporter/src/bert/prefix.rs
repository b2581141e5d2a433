//! The prefixes of UniPELT on a BERT: keys and values before those of each layer
//! (`docs/reference/baselines.md#unipelt-on-bert`).

use std::fmt;

use hyperloader_core::weights::tensors::HostTensor;
use ndarray::Array3;

use crate::error::ModelError;

/// Computes prefixes.
pub trait Prefixes: fmt::Debug {
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

/// Keys and values before those of a layer, each `[heads, prefix_len, head_dim]`, not multiplied with the gate.
#[derive(Debug, Clone)]
pub struct LayerPrefix {
    /// Before the keys.
    pub keys: Array3<f64>,
    /// Before the values.
    pub values: Array3<f64>,
}

impl LayerPrefix {
    /// The prefix rounded to float32, as a file contains it.
    pub(super) fn rounded(&self) -> Self {
        let round = |x: &Array3<f64>| x.mapv(|x| f64::from(x as f32));
        Self { keys: round(&self.keys), values: round(&self.values) }
    }

    /// Keys or values as float32.
    pub(super) fn part(&self, part: PrefixPart) -> HostTensor {
        let values = match part {
            PrefixPart::Keys => &self.keys,
            PrefixPart::Values => &self.values,
        };
        values.mapv(|x| x as f32).into_dyn()
    }
}
