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

use hyperloader_core::backbone::shape::BackboneShape;
use hyperloader_core::method::MethodConfig;
use hyperloader_core::weights::task::TaskWeights;
use tch::Tensor;

use crate::parameters::{MissingTensor, Parameters};

/// The weights that `method` makes for `task` at the sites of a backbone.
///
/// # Errors
/// If a tensor of the method is missing from `parameters`.
pub fn generate(
    method: &MethodConfig,
    shape: &BackboneShape,
    parameters: &Parameters,
    task: &str,
) -> Result<TaskWeights<Tensor>, MissingTensor> {
    match method {
        MethodConfig::Hyper(config) => hyper::generate(config, shape, parameters, task),
        MethodConfig::Hyperdecoder(config) => hyperdecoder::generate(config, shape, parameters),
        MethodConfig::Modules(config) => modules::generate(config, shape, parameters, task),
        MethodConfig::Full(_) | MethodConfig::UnipeltBert(_) => Ok(shape.no_weights()),
    }
}
