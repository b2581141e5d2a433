//! Matrices of 4-bit integers, with a scale for each block of 32 elements of a row.

use half::f16;
use ndarray::{Array2, ArrayView2};

use crate::error::ModelError;

/// Number of neighbors in a row that share a scale.
pub(crate) const BLOCK: usize = 32;
/// The least integer; the largest is 7.
const LEAST: f32 = -8.0;
/// Stored integers are this much larger, so that they are not negative.
pub(crate) const OFFSET: f32 = 8.0;

/// A matrix `[out, in]` as 4-bit integers with scales.
#[derive(Debug)]
pub(crate) struct BlockMatrix {
    /// `[out, in]`, from -8 to 7.
    integers: Array2<i8>,
    /// The factor of each block, `[out, in / 32]`.
    scales: Array2<f16>,
}

impl BlockMatrix {
    /// Quantizes `values` `[out, in]`, the matrix `name`; `in` must be a multiple of [`BLOCK`].
    ///
    /// The element of the largest magnitude in a block becomes -8, and the scale has the sign that this takes: so all 16
    /// integers are in use.
    ///
    /// # Errors
    /// Returns an error if a scale is beyond the range of float16.
    pub(crate) fn new(name: &str, values: &ArrayView2<'_, f32>) -> Result<Self, ModelError> {
        let (rows, columns) = values.dim();
        let mut scales = Array2::from_elem((rows, columns / BLOCK), f16::ZERO);
        let mut integers = Array2::zeros((rows, columns));
        for ((at, scale), block) in scales.indexed_iter_mut().zip(values.exact_chunks((1, BLOCK))) {
            let most = block.fold(0.0_f32, |most, x| if x.abs() > most.abs() { *x } else { most });
            *scale = f16::from_f32(most / LEAST);
            if !scale.is_finite() {
                return Err(ModelError::Range { name: name.to_owned() });
            }
            for (column, x) in block.iter().enumerate() {
                // 0 / 0, where all elements round to 0, is cast to 0.
                let integer = (x / scale.to_f32()).round_ties_even().clamp(LEAST, -LEAST - 1.0);
                integers[(at.0, at.1 * BLOCK + column)] = integer as i8;
            }
        }
        Ok(Self { integers, scales })
    }

    /// The float32 numbers that a file computes with, `[out, in]`.
    pub(crate) fn values(&self) -> Array2<f32> {
        Array2::from_shape_fn(self.integers.dim(), |(row, column)| {
            f32::from(self.integers[(row, column)]) * self.scales[(row, column / BLOCK)].to_f32()
        })
    }

    /// `[out, in / 2]`, a byte for two elements of a row: the low four bits are an element of the first half of the row, the
    /// high ones that of the second half; both plus [`OFFSET`].
    pub(crate) fn packed(&self) -> Vec<u8> {
        let nibble = |integer: i8| (integer + OFFSET as i8) as u8;
        let mut bytes = Vec::with_capacity(self.integers.len() / 2);
        for row in self.integers.outer_iter() {
            let half = row.len() / 2;
            bytes.extend((0..half).map(|at| nibble(row[at]) | nibble(row[half + at]) << 4));
        }
        bytes
    }

    /// The scales as little-endian float16, `[out, in / 32]`.
    pub(crate) fn encoded_scales(&self) -> Vec<u8> {
        self.scales.iter().flat_map(|scale| scale.to_le_bytes()).collect()
    }
}
