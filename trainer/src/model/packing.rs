//! Removes the padding of a batch, so that layers which process each token on its own do not compute padding.

use tch::Tensor;

/// Where the tokens of a padded batch are.
#[derive(Debug)]
pub(in crate::model) struct Packing {
    /// The flat index of each token in the batch, int64 `[tokens]`.
    places: Tensor,
    batch: i64,
    len: i64,
}

impl Packing {
    /// The packing of a batch whose `mask` `[batch, len]` is not 0 at tokens.
    pub(in crate::model) fn new(mask: &Tensor) -> Self {
        let size = mask.size();
        Self { places: mask.reshape(-1).nonzero().squeeze_dim(1), batch: size[0], len: size[1] }
    }

    /// `[batch, len, ..]` to `[tokens, ..]`.
    pub(in crate::model) fn packed(&self, x: &Tensor) -> Tensor {
        x.flatten(0, 1).index_select(0, &self.places)
    }

    /// `[tokens, width]` to `[batch, len, width]`, with zeros at padding.
    pub(in crate::model) fn padded(&self, x: &Tensor) -> Tensor {
        let width = x.size()[1];
        let mut zeros = Tensor::zeros([self.batch * self.len, width], (x.kind(), x.device()));
        zeros.index_copy_(0, &self.places, x).view([self.batch, self.len, width])
    }

    /// The index of each token in its row, int64 `[tokens]`.
    pub(in crate::model) fn columns(&self) -> Tensor {
        self.places.remainder(self.len)
    }
}

/// `x`, which is packed if there is a `packing`, as `[batch, len, width]`.
pub(in crate::model) fn padded(x: Tensor, packing: Option<&Packing>) -> Tensor {
    match packing {
        Some(packing) => packing.padded(&x),
        None => x,
    }
}

/// `x` `[batch, len, width]`, packed if there is a `packing`.
pub(in crate::model) fn packed(x: Tensor, packing: Option<&Packing>) -> Tensor {
    match packing {
        Some(packing) => packing.packed(&x),
        None => x,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn packing_drops_padding_and_its_inverse_sets_padding_to_zero() {
        let mask = Tensor::from_slice(&[1_i64, 1, 0, 1, 1, 1]).view([2, 3]);
        let packing = Packing::new(&mask);
        let x = Tensor::arange(12, (Kind::Float, Device::Cpu)).view([2, 3, 2]);
        let packed = packing.packed(&x);
        assert_eq!(packed.size(), [5, 2]);
        assert_eq!(packing.padded(&packed), &x * mask.unsqueeze(-1));
        assert_eq!(Vec::<i64>::try_from(packing.columns()).unwrap(), [0, 1, 0, 1, 2]);
    }

    #[test]
    fn gradients_of_padding_are_not_passed_on() {
        let mask = Tensor::from_slice(&[1_i64, 0]).view([1, 2]);
        let packing = Packing::new(&mask);
        let x = Tensor::ones([1, 1], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        packing.padded(&x).sum(None).backward();
        assert_eq!(x.grad().double_value(&[0, 0]), 1.0);
    }
}
