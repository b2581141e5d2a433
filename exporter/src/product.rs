//! Products of matrices in float64, on all cores.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayRef2, ArrayView2, ArrayViewMut2, Axis, s};

use crate::parallel::on_all_cores;

/// Number of rows of a matrix that are widened to float64 together. They stay in a core's cache: 768 columns take 768 KiB.
const ROWS: usize = 128;

/// `x Wᵀ` `[tokens, out]` of `x` `[tokens, in]` and a matrix `W` `[out, in]`. `widen` writes some rows of `W`, `[rows, in]`, in
/// float64; all of `W` never is in memory in float64.
pub(crate) fn product(
    x: &ArrayRef2<f64>,
    out: usize,
    widen: impl Fn(Range<usize>, ArrayViewMut2<'_, f64>) + Sync,
) -> Array2<f64> {
    let mut product = Array2::zeros((out, x.nrows()));
    let blocks = product.axis_chunks_iter_mut(Axis(0), ROWS).enumerate();
    on_all_cores(
        blocks,
        || Array2::zeros((ROWS, x.ncols())),
        |wide, (block, mut part)| {
            let mut wide = wide.slice_mut(s![..part.nrows(), ..]);
            widen(block * ROWS..block * ROWS + part.nrows(), wide.view_mut());
            general_mat_mul(1.0, &wide, &x.t(), 0.0, &mut part);
        },
    );
    product.reversed_axes()
}

/// Most tokens of a product by [`product_of_few`].
pub(crate) const FEW: usize = 8;
/// Partial sums of a scalar product. Vector instructions compute several at once.
const SUMS: usize = 8;

/// As [`product`], of `x` `[tokens, in]` with at most [`FEW`] tokens and a matrix of float32, `[out, in]`. Each element is widened
/// where it is used: with few tokens, storing it first takes longer than all the rest.
pub(crate) fn product_of_few(x: &ArrayRef2<f64>, w: &ArrayView2<'_, f32>) -> Array2<f64> {
    let (x, w) = (x.as_standard_layout(), w.as_standard_layout());
    let mut product = Array2::zeros((w.nrows(), x.nrows()));
    let blocks = product.axis_chunks_iter_mut(Axis(0), ROWS).zip(w.axis_chunks_iter(Axis(0), ROWS));
    on_all_cores(
        blocks,
        || (),
        |(), (mut part, w)| {
            for (mut sums, w) in part.outer_iter_mut().zip(w.outer_iter()) {
                for (sum, x) in sums.iter_mut().zip(x.outer_iter()) {
                    let (Some(x), Some(w)) = (x.as_slice(), w.as_slice()) else {
                        unreachable!("rows of a matrix in standard layout are contiguous")
                    };
                    *sum = scalar_product(x, w);
                }
            }
        },
    );
    product.reversed_axes()
}

/// Sum of the products of two vectors of the same length.
fn scalar_product(x: &[f64], w: &[f32]) -> f64 {
    let (whole, rest) = x.as_chunks::<SUMS>();
    let (whole_w, rest_w) = w.as_chunks::<SUMS>();
    let mut sums = [0.0; SUMS];
    for (x, w) in whole.iter().zip(whole_w) {
        for ((sum, x), w) in sums.iter_mut().zip(x).zip(w) {
            *sum += x * f64::from(*w);
        }
    }
    let rest = rest.iter().zip(rest_w).map(|(x, w)| x * f64::from(*w));
    sums.into_iter().chain(rest).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_in_blocks_is_the_product() {
        for (tokens, width, out) in
            [(1, 1, 1), (3, 5, ROWS), (2, 7, ROWS + 1), (5, 33, 7 * ROWS - 1), (0, 4, 9)]
        {
            let x = Array2::from_shape_fn((tokens, width), |(i, j)| (i * 7 + j * 3 % 11) as f64 - 4.5);
            let w = Array2::from_shape_fn((out, width), |(i, j)| ((i * 5 + j * 13) % 17) as f64 - 8.0);
            let found = product(&x, out, |rows, mut wide| wide.assign(&w.slice(s![rows, ..])));
            // The numbers are small multiples of 1/2: no sum is rounded.
            assert_eq!(found, x.dot(&w.t()), "{tokens} x {width} x {out}");
            let narrow = w.mapv(|x| x as f32);
            assert_eq!(product_of_few(&x, &narrow.view()), found, "{tokens} x {width} x {out}");
            let by_columns = narrow.t().as_standard_layout().into_owned();
            assert_eq!(product_of_few(&x, &by_columns.t()), found, "{tokens} x {width} x {out}");
        }
    }
}
