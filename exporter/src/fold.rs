//! Folds a LoRA pair into the matrix that it updates: `W' = W + scale * B A` (Hu et al. 2022, section 4.1). A fold that
//! does not change its matrix is an error.

use hyperloader_core::weights::task::Lora;
use hyperloader_core::weights::tensors::HostTensor;
use ndarray::{Array2, ArrayRef, ArrayView2, ArrayViewD, Ix2, IxDyn, Zip};

/// Where LoRA is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As in training: `W x + scale * B (A x)`.
    UnFolded,
    /// Folded into the matrix, as in an exported file: `W' x`.
    Folded,
}

/// A matrix could not be folded.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// The shapes of the pair do not fit the matrix.
    #[error("LoRA of shapes {a:?} (A) and {b:?} (B) does not fit `{name}` of shape {weight:?}")]
    Shape {
        /// Name of the matrix.
        name: String,
        /// Shape of A.
        a: Vec<usize>,
        /// Shape of B.
        b: Vec<usize>,
        /// Shape of the matrix.
        weight: Vec<usize>,
    },
    /// `B` is all zero, as before the first effective update.
    #[error(
        "folding changes nothing in `{0}`: B of its LoRA is all zero\n\
         hint: this run is untrained; its first update has learning rate 0, so train for at least 2 steps"
    )]
    Untrained(String),
    /// The update is smaller than the rounding of float32, so that the file would not contain the task's model.
    #[error(
        "folding changes nothing in `{name}`: the update's norm is {norm:e}, below the precision of float32\n\
         hint: the run was hardly trained, or its generated weights are close to zero"
    )]
    Unchanged {
        /// Name of the matrix.
        name: String,
        /// Frobenius norm of `scale * B A`.
        norm: f64,
    },
    /// The folded matrix contains an infinity or a NaN.
    #[error(
        "folding `{0}` gives values that are not finite\nhint: training diverged; use an earlier checkpoint or a lower learning rate"
    )]
    NotFinite(String),
}

/// `weight + scale * B A`, `[inner_dim, d_model]`, computed in float64 and rounded once to float32. `name` is for the error.
///
/// # Errors
/// Returns an error if the shapes do not fit, or the result equals `weight` or is not finite.
pub(crate) fn fold(
    name: &str,
    weight: &ArrayRef<f32, IxDyn>,
    lora: &Lora<HostTensor>,
) -> Result<HostTensor, FoldError> {
    let misfit = || FoldError::Shape {
        name: name.to_owned(),
        a: lora.a.shape().to_vec(),
        b: lora.b.shape().to_vec(),
        weight: weight.shape().to_vec(),
    };
    let [weight, a, b] = [weight.view(), lora.a.view(), lora.b.view()].map(matrix);
    let (Some(weight), Some(a), Some(b)) = (weight, a, b) else {
        return Err(misfit());
    };
    if b.ncols() != a.nrows() || weight.dim() != (b.nrows(), a.ncols()) {
        return Err(misfit());
    }
    if b.iter().all(|x| *x == 0.0) {
        return Err(FoldError::Untrained(name.to_owned()));
    }
    let delta = b.mapv(f64::from).dot(&a.mapv(f64::from)) * lora.scale;
    let folded: Array2<f32> = Zip::from(weight).and(&delta).map_collect(|w, d| (f64::from(*w) + d) as f32);
    if !folded.iter().all(|x| x.is_finite()) {
        return Err(FoldError::NotFinite(name.to_owned()));
    }
    if folded == weight {
        let norm = delta.fold(0.0, |sum, x| sum + x * x).sqrt();
        return Err(FoldError::Unchanged { name: name.to_owned(), norm });
    }
    Ok(folded.into_dyn())
}

fn matrix(tensor: ArrayViewD<'_, f32>) -> Option<ArrayView2<'_, f32>> {
    tensor.into_dimensionality::<Ix2>().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{ArrayD, array};
    use proptest::prelude::*;

    fn lora(a: ArrayD<f32>, b: ArrayD<f32>) -> Lora<HostTensor> {
        Lora { a, b, scale: 2.0 }
    }

    fn tensor(shape: [usize; 2]) -> impl Strategy<Value = HostTensor> {
        proptest::collection::vec(-2.0f32..2.0, shape[0] * shape[1])
            .prop_map(move |v| ArrayD::from_shape_vec(shape.to_vec(), v).unwrap())
    }

    fn operands() -> impl Strategy<Value = (HostTensor, Lora<HostTensor>, Vec<f64>)> {
        (1usize..6, 1usize..6, 1usize..4, 0.1f64..4.0).prop_flat_map(|(out, input, rank, scale)| {
            (
                tensor([out, input]),
                (tensor([rank, input]), tensor([out, rank])).prop_map(move |(a, b)| Lora { a, b, scale }),
                proptest::collection::vec(-2.0f64..2.0, input),
            )
        })
    }

    fn product(matrix: &HostTensor, x: &[f64]) -> Vec<f64> {
        matrix.outer_iter().map(|row| row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum()).collect()
    }

    proptest! {
        #[test]
        fn a_folded_matrix_maps_x_to_w_x_plus_scaled_b_a_x((weight, lora, x) in operands()) {
            let folded = fold("w", &weight, &lora).unwrap();
            let apart = product(&lora.b, &product(&lora.a, &x));
            for ((y, w), u) in product(&folded, &x).iter().zip(product(&weight, &x)).zip(apart) {
                let expected = w + lora.scale * u;
                // Each folded element is rounded once: half a unit in the last place of at most |W'|.
                let bound: f64 = 6e-8 * folded.iter().map(|w| f64::from(w.abs())).fold(1.0, f64::max);
                prop_assert!((y - expected).abs() <= bound * x.iter().map(|x| x.abs()).sum::<f64>() + 1e-12,
                    "{y} and {expected}");
            }
        }

        #[test]
        fn a_folded_element_is_the_nearest_float((weight, lora, _) in operands()) {
            let folded = fold("w", &weight, &lora).unwrap();
            for ((i, j), w) in folded.view().into_dimensionality::<Ix2>().unwrap().indexed_iter() {
                let update: f64 = (0..lora.a.shape()[0])
                    .map(|r| f64::from(lora.b[[i, r]]) * f64::from(lora.a[[r, j]]))
                    .sum();
                let exact = f64::from(weight[[i, j]]) + lora.scale * update;
                prop_assert!((f64::from(*w) - exact).abs() <= 6e-8 * exact.abs() + 1e-14, "{w} and {exact}");
            }
        }
    }

    #[test]
    fn a_fold_that_changes_nothing_or_is_not_finite_names_the_matrix() {
        let weight = array![[1.0f32, 2.0], [3.0, 4.0]].into_dyn();
        let a = array![[1.0f32, 1.0]].into_dyn();
        let message = |a: &ArrayD<f32>, b: ArrayD<f32>| {
            fold("block.0.q", &weight, &lora(a.clone(), b)).unwrap_err().to_string()
        };
        let zero = message(&a, array![[0.0f32], [0.0]].into_dyn());
        assert!(zero.contains("`block.0.q`") && zero.contains("untrained"), "{zero}");
        let lost = message(&a, array![[1e-12f32], [0.0]].into_dyn());
        assert!(lost.contains("`block.0.q`") && lost.contains("norm"), "{lost}");
        let infinite = message(&a, array![[f32::MAX], [0.0]].into_dyn());
        assert!(infinite.contains("`block.0.q`") && infinite.contains("finite"), "{infinite}");
        let nan = message(&array![[f32::NAN, 1.0]].into_dyn(), array![[1.0f32], [1.0]].into_dyn());
        assert!(nan.contains("finite"), "{nan}");
        let misfit = message(&a, array![[1.0f32, 2.0], [1.0, 2.0]].into_dyn());
        assert!(misfit.contains("[1, 2] (A) and [2, 2] (B)"), "{misfit}");
    }
}
