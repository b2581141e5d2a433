//! Computes the weights of one task from a checkpoint: adapters and LoRA pairs at the sites of a backbone, and the generator
//! of a T5.
//!
//! The code follows the description of the methods (`docs/reference/hyperloader.md#overview`,
//! `docs/reference/baselines.md`) and not the trainer, so that one checks the other. It computes in float64 and rounds
//! once. To add a family of methods, add a file with an implementation of `Materialises` and a line in [`task_weights`].
//!
//! - `hyper`: HyperLoader, HyperFormer++ and HyperFormer
//! - `hyperdecoder`: Hyperdecoder
//! - `modules`: Adapters, LoRA and UniPELT

mod hyper;
mod hyperdecoder;
mod modules;

use hyperloader_core::backbone::shape::BackboneShape;
use hyperloader_core::method::MethodConfig;
use hyperloader_core::weights::task::TaskWeights;
use hyperloader_core::weights::tensors::{HostTensor, Tensors};
use ndarray::{Array, Dimension};

pub use hyper::embeddings;

/// The weights of a task could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum MaterialiseError {
    /// The checkpoint lacks a tensor of the method.
    #[error("tensor `{0}` is missing from the checkpoint")]
    Missing(String),
    /// A tensor of the checkpoint has another shape than the hyper-parameters imply.
    #[error("tensor `{name}` of the checkpoint has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Name of the tensor.
        name: String,
        /// Shape in the checkpoint.
        found: Vec<usize>,
        /// Shape that the hyper-parameters imply.
        expected: Vec<usize>,
    },
}

/// Computes the weights of a task for a family of methods.
trait Materialises {
    /// The weights of `task` from the tensors of `checkpoint`.
    fn task_weights(
        &self,
        shape: &BackboneShape,
        checkpoint: &Tensors,
        task: &str,
    ) -> Result<TaskWeights<HostTensor>, MaterialiseError>;
}

/// All weights that `method` computes for `task`.
///
/// # Errors
/// Returns an error if a tensor of `checkpoint` is missing or misshapen.
pub fn task_weights(
    method: &MethodConfig,
    shape: &BackboneShape,
    checkpoint: &Tensors,
    task: &str,
) -> Result<TaskWeights<HostTensor>, MaterialiseError> {
    match method {
        MethodConfig::Hyper(config) => config.task_weights(shape, checkpoint, task),
        MethodConfig::Hyperdecoder(config) => config.task_weights(shape, checkpoint, task),
        MethodConfig::Modules(config) => config.task_weights(shape, checkpoint, task),
        MethodConfig::Full(_) | MethodConfig::UnipeltBert(_) => Ok(shape.no_weights()),
    }
}

/// The tensor `name` of the checkpoint, which must have this shape.
fn tensor<'a>(
    checkpoint: &'a Tensors,
    name: &str,
    shape: &[usize],
) -> Result<&'a HostTensor, MaterialiseError> {
    let tensor = checkpoint.get(name).ok_or_else(|| MaterialiseError::Missing(name.to_owned()))?;
    match tensor.shape() == shape {
        true => Ok(tensor),
        false => Err(misshapen(name, tensor, shape)),
    }
}

/// The tensor `name` of the checkpoint as float64; it must have this shape.
fn wide<D: Dimension>(
    checkpoint: &Tensors,
    name: &str,
    shape: &[usize],
) -> Result<Array<f64, D>, MaterialiseError> {
    let tensor = tensor(checkpoint, name, shape)?;
    tensor.mapv(f64::from).into_dimensionality().map_err(|_| misshapen(name, tensor, shape))
}

fn misshapen(name: &str, tensor: &HostTensor, expected: &[usize]) -> MaterialiseError {
    MaterialiseError::Shape {
        name: name.to_owned(),
        found: tensor.shape().to_vec(),
        expected: expected.to_vec(),
    }
}
