//! LoRA pairs added to the matrices that they update.

use std::collections::BTreeMap;
use std::path::Path;

use hyperloader_core::backbone::Backbone;
use hyperloader_core::backbone::t5::T5Backbone;
use hyperloader_core::weights::task::Lora;
use hyperloader_core::weights::tensors::{HostTensor, Tensors};

use super::error::ImportError;
use crate::error::{ExportError, ModelError};
use crate::fold::fold;

/// The matrices of pairs, by the name of the module that they update.
#[derive(Debug, Default)]
pub(super) struct Pairs(BTreeMap<String, [Option<HostTensor>; 2]>);

impl Pairs {
    /// Adds A (`[rank, input]`) or B (`[output, rank]`) of the pair on `module`.
    ///
    /// # Errors
    /// If it is there already. `file` is for the message.
    pub(super) fn add(
        &mut self,
        module: &str,
        is_b: bool,
        matrix: HostTensor,
        file: &Path,
    ) -> Result<(), ImportError> {
        let place = &mut self.0.entry(module.to_owned()).or_default()[usize::from(is_b)];
        match place.replace(matrix) {
            None => Ok(()),
            Some(_) => Err(ImportError::Twice { file: file.to_owned(), name: module.to_owned() }),
        }
    }

    /// The updated matrices, under Hugging Face's names. `scale` gives the factor of `B A` for a rank; `file` is for errors.
    ///
    /// # Errors
    /// If the backbone has no such matrix, half of a pair is missing, or a pair changes nothing.
    pub(super) fn merge(
        self,
        backbone: &Path,
        file: &Path,
        scale: impl Fn(usize) -> f64,
    ) -> Result<Tensors, ExportError> {
        let backbone = T5Backbone::open(backbone, false).map_err(ImportError::from)?;
        let mut merged = Tensors::new();
        for (module, pair) in self.0 {
            let name = format!("{module}.weight");
            let fault = |found: &str, expected: &str| ImportError::Tensor {
                file: file.to_owned(),
                name: module.clone(),
                found: found.to_owned(),
                expected: expected.to_owned(),
            };
            let [Some(a), Some(b)] = pair else {
                return Err(fault("half of a LoRA pair", "A and B").into());
            };
            if !backbone.config.tensors().contains_key(&name) {
                return Err(fault("a LoRA pair", "the name of a matrix of the backbone").into());
            }
            let rank = a.shape().first().copied().unwrap_or(0);
            let weight = backbone.tensor(&name).map_err(ImportError::from)?;
            let lora = Lora { a, b, scale: scale(rank) };
            merged.insert(name.clone(), fold(&name, &weight, &lora).map_err(ModelError::from)?);
        }
        Ok(merged)
    }
}
