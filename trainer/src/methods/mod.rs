//! Methods: each turns a task into its weights, with gradients towards the trainable tensors
//! (docs/reference/hyperloader.md#overview, docs/reference/baselines.md).
//!
//! - [`hyper`]: HyperLoader, HyperFormer++ and HyperFormer.
//! - `hyperdecoder`: Hyperdecoder.
//! - `modules`: Adapters, LoRA and UniPELT.
//!
//! A new family of methods is a new file and a new arm in [`generate`].

pub mod hyper;
mod hyperdecoder;
mod modules;

use hyperloader_core::backbone::t5::{Stack, T5Config};
use hyperloader_core::method::MethodConfig;
use hyperloader_core::weights::task::TaskWeights;
use tch::Tensor;

use crate::parameters::{MissingTensor, Parameters};

/// The weights that `method` generates for `task` on a T5.
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
        MethodConfig::Hyper(config) => hyper::generate(config, t5, parameters, task),
        MethodConfig::Hyperdecoder(config) => hyperdecoder::generate(config, t5, parameters),
        MethodConfig::Modules(config) => modules::generate(config, t5, parameters, task),
        MethodConfig::Full(_) | MethodConfig::UnipeltBert(_) => {
            Ok(TaskWeights::none(t5.layers(Stack::Encoder), t5.layers(Stack::Decoder)))
        }
    }
}
