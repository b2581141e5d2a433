//! The parts of a T5 block other than attention (docs/reference/backbones.md#t5-block), with adapters and LoRA
//! (docs/reference/hyperloader.md#t5-block-with-task-weights).

use hyperloader_core::backbone::t5::{FeedForward, Stack, T5Config, names};
use hyperloader_core::weights::task::{Activation, Adapter, LayerNorm, Lora, Placement};
use tch::{Kind, Tensor};

use crate::linear::product;

/// Whether dropout is applied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// Dropout is applied.
    Training {
        /// The probability of dropping a value, from 0 to 1.
        dropout: f64,
    },
    /// No dropout: the same input gives the same output.
    Evaluation,
}

impl Mode {
    /// Whether any value can be dropped.
    pub(super) fn drops(self) -> bool {
        matches!(self, Mode::Training { dropout } if dropout > 0.0)
    }

    /// Dropout in training, nothing otherwise.
    pub(super) fn dropout(self, x: Tensor) -> Tensor {
        match self {
            Mode::Training { dropout } if self.drops() => x.dropout(dropout, true),
            _ => x,
        }
    }
}

/// `x W^T + scale * (x A^T) B^T`, `[.., in]` to `[.., out]`.
pub(super) fn linear_with_lora(x: &Tensor, weight: &Tensor, lora: Option<&Lora<Tensor>>) -> Tensor {
    let y = product(x, weight);
    let Some(Lora { a, b, scale }) = lora else {
        return y;
    };
    let rank = a.size()[0];
    let low = product(x, a).view([-1, rank]);
    let low = if *scale == 1.0 { low } else { low * *scale };
    let _ = y.view([-1, b.size()[0]]).addmm_(&low, &b.tr());
    y
}

/// T5's norm: division by the root mean square over the last axis, without a mean or a shift.
#[derive(Debug)]
pub(super) struct RmsNorm {
    weight: Tensor,
    eps: f64,
}

impl RmsNorm {
    pub(super) fn new(weight: Tensor, config: &T5Config) -> Self {
        Self { weight, eps: config.layer_norm_epsilon }
    }

    pub(super) fn kind(&self) -> Kind {
        self.weight.kind()
    }

    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        x.rms_norm(self.weight.size(), Some(&self.weight), self.eps)
    }
}

/// The residual sum of a sub-layer's input `x` and output `y`, with dropout, and with the adapter at its placement.
pub(super) fn joined(x: &Tensor, y: Tensor, adapter: Option<&Adapter<Tensor>>, mode: Mode) -> Tensor {
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
    let active = match adapter.activation {
        Activation::GeluNew => down.gelu("tanh"),
        Activation::Swish => down.silu(),
        Activation::Relu => down.relu(),
    };
    let up = affine(&active, &adapter.up_weight, &adapter.up_bias);
    match &adapter.norm {
        Some(norm) => layer_norm(&up, norm),
        None => up,
    }
}

/// `x W^T + b`. A weight with a leading batch axis holds one matrix per row of the batch.
fn affine(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    match weight.dim() {
        3 => x.matmul(&weight.transpose(1, 2)) + bias.unsqueeze(1),
        _ => x.linear(weight, Some(bias)),
    }
}

fn layer_norm(x: &Tensor, LayerNorm { gamma, beta, eps }: &LayerNorm<Tensor>) -> Tensor {
    x.layer_norm(gamma.size(), Some(gamma), Some(beta), *eps, true)
}

/// The feed-forward sub-layer without its residual.
#[derive(Debug)]
pub(super) struct FeedForwardLayer {
    norm: RmsNorm,
    inner: Inner,
    wo: Tensor,
}

#[derive(Debug)]
enum Inner {
    Relu { wi: Tensor },
    GatedGelu { wi_0: Tensor, wi_1: Tensor },
}

impl FeedForwardLayer {
    pub(super) fn new<E>(
        config: &T5Config,
        (stack, block): (Stack, usize),
        tensor: &mut impl FnMut(&str) -> Result<Tensor, E>,
    ) -> Result<Self, E> {
        let norm = RmsNorm::new(tensor(&names::feed_forward_norm(stack, block))?, config);
        let mut part = |part| tensor(&names::feed_forward(stack, block, part));
        Ok(Self {
            norm,
            inner: match config.feed_forward_proj {
                FeedForward::Relu => Inner::Relu { wi: part("wi")? },
                FeedForward::GatedGelu => Inner::GatedGelu { wi_0: part("wi_0")?, wi_1: part("wi_1")? },
            },
            wo: part("wo")?,
        })
    }

    /// `[batch, len, d_model]` to the same, before dropout and residual.
    pub(super) fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let n = self.norm.forward(x);
        let inner = match &self.inner {
            Inner::Relu { wi } => product(&n, wi).relu_(),
            Inner::GatedGelu { wi_0, wi_1 } => product(&n, wi_0).gelu("tanh") * product(&n, wi_1),
        };
        product(&mode.dropout(inner), &self.wo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

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
