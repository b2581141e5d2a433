//! Products with frozen matrices, which may be stored in a lower precision than the activations, and their LoRA.

use hyperloader_core::weights::task::{Linear, Lora};
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

/// `x W^T + b`. The product is computed in the precision of the weight.
pub(crate) fn affine(x: &Tensor, map: &Linear<Tensor>) -> Tensor {
    if map.weight.kind() == x.kind() {
        return x.linear(&map.weight, Some(&map.bias));
    }
    product(x, &map.weight) + &map.bias
}

/// `y + scale * (x A^T) B^T` for the product `y` `[.., out]` of `x` `[.., in]`, in place; `y` without a pair.
pub(crate) fn with_lora(y: Tensor, x: &Tensor, lora: Option<&Lora<Tensor>>) -> Tensor {
    let Some(Lora { a, b, scale }) = lora else {
        return y;
    };
    let rank = a.size()[0];
    let low = product(x, a).view([-1, rank]);
    let low = if *scale == 1.0 { low } else { low * *scale };
    let _ = y.view([-1, b.size()[0]]).addmm_(&low, &b.tr());
    y
}
