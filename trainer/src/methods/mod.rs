//! From a task to its weights, with gradients: what a method makes of its trainable tensors (reference sections 1 and 5).
//!
//! One file a family of methods. A new one is a file with a `Generates` and its line in [`generate`].

pub mod hyper;
mod hyperdecoder;
mod modules;

use hyperloader_core::backbone::t5::{Stack, T5Config};
use hyperloader_core::method::MethodConfig;
use hyperloader_core::weights::task::TaskWeights;
use tch::Tensor;

use crate::parameters::Parameters;

/// A trainable tensor of the method is missing.
#[derive(Debug, thiserror::Error)]
#[error("trainable tensor `{0}` is missing")]
pub struct MissingTensor(pub String);

/// What a family of methods makes of a task.
trait Generates {
    fn generate(
        &self,
        t5: &T5Config,
        parameters: &Parameters,
        task: &str,
    ) -> Result<TaskWeights<Tensor>, MissingTensor>;
}

/// What `method` makes of `task`.
///
/// # Errors
/// If a tensor of the method is missing from `parameters`.
pub fn generate(
    method: &MethodConfig,
    t5: &T5Config,
    parameters: &Parameters,
    task: &str,
) -> Result<TaskWeights<Tensor>, MissingTensor> {
    match method {
        MethodConfig::Hyper(config) => config.generate(t5, parameters, task),
        MethodConfig::Hyperdecoder(config) => config.generate(t5, parameters, task),
        MethodConfig::Modules(config) => config.generate(t5, parameters, task),
        MethodConfig::Full(_) | MethodConfig::UnipeltBert(_) => Ok(plain(t5)),
    }
}

/// T5 as it stands.
fn plain(t5: &T5Config) -> TaskWeights<Tensor> {
    TaskWeights::none(t5.layers(Stack::Encoder), t5.layers(Stack::Decoder))
}

/// A tensor that a method cannot do without.
fn required(parameters: &Parameters, name: &str) -> Result<Tensor, MissingTensor> {
    let tensor = parameters.get(name).ok_or_else(|| MissingTensor(name.to_owned()))?;
    Ok(tensor.shallow_clone())
}
