//! Adapters at the sub-layers of any backbone (docs/reference/hyperloader.md#t5-block-with-task-weights,
//! docs/reference/baselines.md#adapters).

use hyperloader_core::weights::task::{Activation, Adapter, LayerNorm, Placement};
use tch::Tensor;

use super::mode::Mode;

/// The residual sum of a sub-layer's input `x` and output `y`, with dropout, and with the adapter at its placement.
pub(in crate::model) fn joined(
    x: &Tensor,
    y: Tensor,
    adapter: Option<&Adapter<Tensor>>,
    mode: Mode,
) -> Tensor {
    // Never in place: the backward passes of the norms read x.
    let Some(adapter) = adapter else { return x + mode.dropout(y) };
    match adapter.placement {
        Placement::BeforeDropout => {
            let update = bottleneck(&y, adapter);
            x + mode.dropout(y + update)
        }
        Placement::AfterDropout => {
            let y = mode.dropout(y);
            let update = bottleneck(&y, adapter);
            x + (y + update)
        }
        Placement::Parallel => x + mode.dropout(y) + bottleneck(x, adapter),
    }
}

/// `norm(up(activation(down(x))))` of `x` `[batch, len, d_model]`.
fn bottleneck(x: &Tensor, adapter: &Adapter<Tensor>) -> Tensor {
    let down = affine(x, &adapter.down_weight, &adapter.down_bias);
    let active = activated(down, adapter.activation);
    let up = affine(&active, &adapter.up_weight, &adapter.up_bias);
    match &adapter.norm {
        Some(norm) => layer_norm(&up, norm),
        None => up,
    }
}

/// The activation of each number of `x`.
pub(in crate::model) fn activated(mut x: Tensor, activation: Activation) -> Tensor {
    match activation {
        Activation::GeluNew => x.gelu("tanh"),
        Activation::Gelu => x.gelu("none"),
        Activation::Swish => x.silu(),
        Activation::Relu => x.relu_(),
    }
}

/// `x W^T + b`. A weight with a leading batch axis holds one matrix per row of the batch.
fn affine(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    match weight.dim() {
        3 => x.matmul(&weight.transpose(1, 2)) + bias.unsqueeze(1),
        _ => x.linear(weight, Some(bias)),
    }
}

/// The LayerNorm of `x` over its last axis.
pub(in crate::model) fn layer_norm(x: &Tensor, LayerNorm { gamma, beta, eps }: &LayerNorm<Tensor>) -> Tensor {
    x.layer_norm(gamma.size(), Some(gamma), Some(beta), *eps, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn activations_are_those_of_their_definitions() {
        let numbers: [f64; 6] = [-3.0, -0.7, 0.0, 0.4, 1.0, 5.0];
        let x = || Tensor::from_slice(&numbers);
        let root = (2.0 / std::f64::consts::PI).sqrt();
        let erf = (x() * std::f64::consts::FRAC_1_SQRT_2).erf();
        for (activation, wanted) in [
            (Activation::Relu, x().clamp_min(0.0)),
            (Activation::Swish, x() * x().sigmoid()),
            (Activation::Gelu, x() * (erf + 1.0) * 0.5),
            (
                Activation::GeluNew,
                x() * (((x() + x().pow_tensor_scalar(3) * 0.044_715) * root).tanh() + 1.0) * 0.5,
            ),
        ] {
            let difference = (activated(x(), activation) - wanted).abs().max().double_value(&[]);
            assert!(difference < 1e-12, "{activation:?}: {difference}");
        }
    }

    #[test]
    fn dropout_drops_an_adapter_before_it_and_keeps_one_after_or_parallel_to_it() {
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        let (x, y) = (random(&[2, 3, 4]), random(&[2, 3, 4]));
        let adapter = |placement| Adapter {
            down_weight: random(&[2, 4]),
            down_bias: random(&[2]),
            up_weight: random(&[4, 2]),
            up_bias: random(&[4]),
            activation: Activation::Swish,
            norm: None,
            placement,
        };
        let everything = Mode::Training { dropout: 1.0 };
        for (placement, read) in [
            (Placement::BeforeDropout, None),
            (Placement::AfterDropout, Some(y.zeros_like())),
            (Placement::Parallel, Some(x.shallow_clone())),
        ] {
            let adapter = adapter(placement);
            let joined = joined(&x, y.shallow_clone(), Some(&adapter), everything);
            let wanted = read.map_or(x.shallow_clone(), |read| &x + bottleneck(&read, &adapter));
            let difference = (joined - wanted).abs().max().double_value(&[]);
            assert!(difference < 1e-6, "{placement:?}: {difference}");
        }
    }

    #[test]
    fn a_weight_with_a_batch_axis_holds_one_matrix_per_row() {
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        let (x, weight, bias) = (random(&[2, 3, 4]), random(&[2, 5, 4]), random(&[2, 5]));
        let both = affine(&x, &weight, &bias);
        for row in 0..2 {
            let part = |tensor: &Tensor| tensor.select(0, row);
            let alone = affine(&part(&x), &part(&weight), &part(&bias));
            assert!((part(&both) - alone).abs().max().double_value(&[]) < 1e-6);
        }
    }
}
