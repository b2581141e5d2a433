//! The parts of a T5 block other than attention (docs/reference/backbones.md#t5-block).

use hyperloader_core::backbone::t5::{Stack, T5Config, names};
use hyperloader_core::weights::task::Activation;
use tch::{Kind, Tensor};

use crate::linear::product;
use crate::model::adapter::activated;
use crate::model::mode::Mode;

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

/// The feed-forward sub-layer without its residual.
#[derive(Debug)]
pub(super) struct FeedForwardLayer {
    norm: RmsNorm,
    activation: Activation,
    inner: Inner,
    wo: Tensor,
}

#[derive(Debug)]
enum Inner {
    Plain { wi: Tensor },
    Gated { wi_0: Tensor, wi_1: Tensor },
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
            activation: config.feed_forward_proj.activation(),
            inner: match config.feed_forward_proj.is_gated() {
                false => Inner::Plain { wi: part("wi")? },
                true => Inner::Gated { wi_0: part("wi_0")?, wi_1: part("wi_1")? },
            },
            wo: part("wo")?,
        })
    }

    /// `[batch, len, d_model]` to the same, before dropout and residual.
    pub(super) fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let n = self.norm.forward(x);
        let inner = match &self.inner {
            Inner::Plain { wi } => activated(product(&n, wi), self.activation),
            Inner::Gated { wi_0, wi_1 } => activated(product(&n, wi_0), self.activation) * product(&n, wi_1),
        };
        product(&mode.dropout(inner), &self.wo)
    }
}
