//! Matrices of 16-bit floats.

use half::{bf16, f16};
use ndarray::Array2;

use crate::error::ModelError;
use crate::precision::Precision;

/// The nearest float16, of two equally near ones the even; infinite beyond 65,504.
pub(crate) fn round_f16(x: f32) -> f32 {
    f16::from_f32(x).to_f32()
}

/// The nearest bfloat16, of two equally near ones the even.
pub(crate) fn round_bf16(x: f32) -> f32 {
    bf16::from_f32(x).to_f32()
}

/// Checks that the rounded matrix `name` is finite.
///
/// # Errors
/// Returns an error if an element was beyond the range of the type.
pub(crate) fn check(name: &str, rounded: &Array2<f32>) -> Result<(), ModelError> {
    match rounded.iter().all(|x| x.is_finite()) {
        true => Ok(()),
        false => Err(ModelError::Range { name: name.to_owned() }),
    }
}

/// `elements` as little-endian 16-bit floats of a `precision`, which is `f16` or `bf16`.
///
/// # Errors
/// Returns an error if an element of the matrix `name` is beyond the range of the type.
pub(crate) fn encode<'a>(
    name: &str,
    precision: Precision,
    elements: impl Iterator<Item = &'a f32>,
) -> Result<Vec<u8>, ModelError> {
    let mut bytes = Vec::with_capacity(2 * elements.size_hint().0);
    for x in elements {
        let (encoded, finite) = match precision {
            Precision::Bf16 => (bf16::from_f32(*x).to_le_bytes(), bf16::from_f32(*x).is_finite()),
            _ => (f16::from_f32(*x).to_le_bytes(), f16::from_f32(*x).is_finite()),
        };
        if !finite {
            return Err(ModelError::Range { name: name.to_owned() });
        }
        bytes.extend_from_slice(&encoded);
    }
    Ok(bytes)
}
