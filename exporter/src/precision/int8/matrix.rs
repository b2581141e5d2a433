//! Quantized matrices, multiplied as a file does.

use ndarray::{Array1, Array2, ArrayRef2, ArrayView1, ArrayView2, Axis, s};

use crate::product::product;

/// The largest magnitude of an integer. -128 is not used, because it has no opposite.
pub(super) const LIMIT: f32 = 127.0;
/// Replaces the largest magnitude of tokens that are all zero.
pub(super) const LEAST: f32 = 1e-30;

/// A matrix as integers. Rows are output channels: `[out, in]` of a linear map, `[vocab, d_model]` of an embedding.
#[derive(Debug)]
pub(crate) struct QuantizedMatrix {
    /// `[out, in]`, from -127 to 127.
    pub(crate) integers: Array2<i8>,
    /// `[out]`: the factor of each row.
    pub(crate) scales: Array1<f32>,
}

impl QuantizedMatrix {
    /// Quantizes `values` `[out, in]`.
    pub(crate) fn new(values: &ArrayView2<'_, f32>) -> Self {
        let scale = |row: ArrayView1<'_, f32>| match row.fold(0.0, |most: f32, x| most.max(x.abs())) {
            0.0 => 1.0,
            most => most / LIMIT,
        };
        let scales: Array1<f32> = values.outer_iter().map(scale).collect();
        let mut integers = Array2::zeros(values.dim());
        let rows = values.outer_iter().zip(integers.outer_iter_mut());
        for ((values, mut integers), scale) in rows.zip(&scales) {
            integers.zip_mut_with(&values, |integer, x| *integer = (x / scale).round_ties_even() as i8);
        }
        Self { integers, scales }
    }

    /// Rows `range` as the float32 numbers that a file computes from them.
    pub(crate) fn rows(&self, range: std::ops::Range<usize>) -> Array2<f32> {
        let scales = self.scales.slice(s![range.clone()]).insert_axis(Axis(1));
        self.integers.slice(s![range, ..]).mapv(f32::from) * scales
    }

    /// `x Wᵀ` of tokens `x` `[tokens, in]`, `[tokens, out]`: each token quantized by its own largest magnitude, as in a
    /// file, but computed in float64.
    pub(crate) fn product(&self, x: &ArrayRef2<f64>) -> Array2<f64> {
        let mut tokens = x.to_owned();
        for mut token in tokens.outer_iter_mut() {
            let most = token.fold(f64::from(LEAST), |most, x| most.max(x.abs()));
            let step = most / f64::from(LIMIT);
            token.mapv_inplace(|x| (x / step).round_ties_even() * step);
        }
        product(&tokens, self.scales.len(), |rows, mut wide| {
            wide.zip_mut_with(&self.rows(rows), |wide, x| *wide = f64::from(*x));
        })
    }
}
