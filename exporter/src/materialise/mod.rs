//! Makes a method's weights of one task once, with ndarray: what the task's T5 has besides the backbone's tensors.
//!
//! Written from the description of the methods (reference sections 1 and 5), independently of the trainer, and computed in
//! float64: what is stored is rounded once. One file a family of methods. A new one is a file with a `Materialises` and
//! its line in [`task_weights`].

mod hyper;
mod hyperdecoder;
mod modules;

use hyperloader_core::backbone::t5::{Stack, T5Config};
use hyperloader_core::method::MethodConfig;
use hyperloader_core::weights::task::TaskWeights;
use hyperloader_core::weights::tensors::{HostTensor, Tensors};
use ndarray::{Array, Dimension};

pub use hyper::embeddings;

/// A task's weights could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MaterialiseError {
    /// The checkpoint lacks a tensor of the method.
    #[error("tensor `{0}` is missing from the checkpoint")]
    Missing(String),
    /// A tensor of the checkpoint has another shape than the hyper-parameters imply.
    #[error("tensor `{name}` of the checkpoint has shape {found:?}, expected {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// The shape found.
        found: Vec<usize>,
        /// The shape that the hyper-parameters imply.
        expected: Vec<usize>,
    },
}

/// What a family of methods makes of a task.
trait Materialises {
    fn task_weights(
        &self,
        t5: &T5Config,
        checkpoint: &Tensors,
        task: &str,
    ) -> Result<TaskWeights<HostTensor>, MaterialiseError>;
}

/// All weights that `method` makes for `task`.
///
/// # Errors
/// If a tensor of `checkpoint` is missing or misshapen.
pub fn task_weights(
    method: &MethodConfig,
    t5: &T5Config,
    checkpoint: &Tensors,
    task: &str,
) -> Result<TaskWeights<HostTensor>, MaterialiseError> {
    match method {
        MethodConfig::Hyper(config) => config.task_weights(t5, checkpoint, task),
        MethodConfig::Hyperdecoder(config) => config.task_weights(t5, checkpoint, task),
        MethodConfig::Modules(config) => config.task_weights(t5, checkpoint, task),
        MethodConfig::Full(_) | MethodConfig::UnipeltBert(_) => Ok(plain(t5)),
    }
}

/// T5 as it stands.
fn plain(t5: &T5Config) -> TaskWeights<HostTensor> {
    TaskWeights::none(t5.layers(Stack::Encoder), t5.layers(Stack::Decoder))
}

/// A tensor of the checkpoint, in its shape.
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

/// A tensor of the checkpoint in its shape, as float64.
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
