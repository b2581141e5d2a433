//! Products with frozen matrices, which may be stored in a lower precision than the activations.

use tch::Tensor;

/// `x W^T`, `[.., in]` to `[.., out]`, for a `weight` W `[out, in]` and no bias. The product is computed in the precision of
/// `weight`; the result has that of `x`.
pub(crate) fn product(x: &Tensor, weight: &Tensor) -> Tensor {
    let kind = x.kind();
    if weight.kind() == kind {
        return x.linear(weight, None::<&Tensor>);
    }
    x.to_kind(weight.kind()).linear(weight, None::<&Tensor>).to_kind(kind)
}
