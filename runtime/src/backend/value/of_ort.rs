//! Shape and elements of a tensor of ONNX Runtime.

use ort::value::DynValue;

use super::elements::Elements;
use crate::backend::error::BackendError;

pub(super) fn shape(value: &DynValue) -> Vec<usize> {
    let shape = value.dtype().tensor_shape();
    shape
        .map(|shape| shape.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect())
        .unwrap_or_default()
}

pub(super) fn elements(value: &DynValue) -> Result<Elements<'_>, BackendError> {
    if let Ok((_, elements)) = value.try_extract_tensor::<f32>() {
        return Ok(Elements::F32(elements));
    }
    match value.try_extract_tensor::<i64>() {
        Ok((_, elements)) => Ok(Elements::I64(elements)),
        Err(_) => Err(BackendError::ElementType { expected: "f32 or i64", found: value.dtype().to_string() }),
    }
}
