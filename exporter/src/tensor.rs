//! Tensors with the number of dimensions that a computation needs.

use ndarray::{Array, ArrayBase, Data, Dimension, IxDyn};

use crate::error::ModelError;

/// `tensor` as float64, with the number of dimensions of `D`. `name` is for the error.
pub(crate) fn wide<D: Dimension>(
    name: &str,
    tensor: &ArrayBase<impl Data<Elem = f32>, IxDyn>,
) -> Result<Array<f64, D>, ModelError> {
    shaped(name, tensor.mapv(f64::from))
}

/// `tensor` with the number of dimensions of `D`. `name` is for the error.
pub(crate) fn shaped<S: Data, D: Dimension>(
    name: &str,
    tensor: ArrayBase<S, IxDyn>,
) -> Result<ArrayBase<S, D>, ModelError> {
    let found = tensor.shape().to_vec();
    let expected = D::NDIM.unwrap_or(found.len());
    tensor.into_dimensionality().map_err(|_| ModelError::Rank { name: name.to_owned(), found, expected })
}
