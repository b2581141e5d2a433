//! Tensors with the number of dimensions that a computation needs.

use hyperloader_core::weights::tensors::HostTensor;
use ndarray::{Array, ArrayD, Dimension};

use crate::error::ModelError;

/// `tensor` as float64, with the number of dimensions of `D`. `name` is for the error.
pub(crate) fn wide<D: Dimension>(name: &str, tensor: &HostTensor) -> Result<Array<f64, D>, ModelError> {
    shaped(name, tensor.mapv(f64::from))
}

/// `tensor` with the number of dimensions of `D`. `name` is for the error.
pub(crate) fn shaped<T, D: Dimension>(name: &str, tensor: ArrayD<T>) -> Result<Array<T, D>, ModelError> {
    let found = tensor.shape().to_vec();
    let expected = D::NDIM.unwrap_or(found.len());
    tensor.into_dimensionality().map_err(|_| ModelError::Rank { name: name.to_owned(), found, expected })
}
