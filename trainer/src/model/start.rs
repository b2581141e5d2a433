//! Where the trainable tensors of a model come from.

use hyperloader_core::backbone::BackboneError;
use hyperloader_core::method::TrainableTensor;
use hyperloader_core::weights::tensors::{HostTensor, Tensors};
use tch::{Device, Tensor};

use super::error::ModelError;
use crate::parameters::{MissingTensor, Parameters};

/// The source of a model's trainable tensors.
#[derive(Debug)]
pub enum Start {
    /// New tensors, drawn from this seed: the same seed gives the same tensors on every device.
    Seed(u64),
    /// Tensors of a checkpoint.
    Checkpoint(Parameters),
    /// New tensors, drawn from `seed`, but for those in `taken`.
    Warm {
        /// As in [`Start::Seed`].
        seed: u64,
        /// Tensors of another run, by name.
        taken: Tensors,
    },
}

impl Start {
    /// The tensors of `list` on `device`; `backbone` gives the values of those that start as tensors of the backbone.
    ///
    /// # Errors
    /// If a tensor of the backbone cannot be read. For a checkpoint, if one of its tensors is missing, has another shape,
    /// or is not in `list`; for tensors of another run, the same of those.
    pub(super) fn parameters(
        self,
        list: &[TrainableTensor],
        device: Device,
        backbone: impl FnMut(&str) -> Result<HostTensor, BackboneError>,
    ) -> Result<Parameters, ModelError> {
        let parameters = match self {
            Self::Seed(seed) => Parameters::initialise(list, seed, device, backbone)?,
            Self::Checkpoint(parameters) => parameters,
            Self::Warm { seed, taken } => {
                let mut tensors = Parameters::initialise(list, seed, Device::Cpu, backbone)?.to_host();
                tensors.extend(taken);
                Parameters::from_tensors(&tensors, device)
            }
        };
        check(list, &parameters)?;
        Ok(parameters)
    }
}

/// Checks that `parameters` are exactly the tensors of `list`, and names the first that is not.
fn check(list: &[TrainableTensor], parameters: &Parameters) -> Result<(), ModelError> {
    for entry in list {
        let tensor = parameters.get(&entry.name).ok_or_else(|| MissingTensor(entry.name.clone()))?;
        if !tensor.size().iter().map(|n| *n as usize).eq(entry.shape.iter().copied()) {
            return Err(unexpected(&entry.name, tensor, format!("{:?}", entry.shape)));
        }
    }
    let known = |name: &str| list.iter().any(|entry| entry.name == name);
    match parameters.iter().find(|p| !known(&p.name)) {
        Some(stray) => Err(unexpected(&stray.name, &stray.tensor, "no such tensor".to_owned())),
        None => Ok(()),
    }
}

fn unexpected(name: &str, tensor: &Tensor, expected: String) -> ModelError {
    ModelError::Unexpected { name: name.to_owned(), found: tensor.size(), expected }
}
