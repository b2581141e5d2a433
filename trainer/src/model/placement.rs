//! Where a model computes, and in which precision.

use hyperloader_core::weights::tensors::HostTensor;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::parameters::to_device;

/// Precision of products with frozen matrices. Everything else is float32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MatrixPrecision {
    /// float32.
    #[default]
    F32,
    /// bfloat16: half the memory, and faster on processors that multiply it natively.
    Bf16,
}

/// Device and precision of a model.
#[derive(Debug, Clone, Copy)]
pub struct Placement {
    /// The device of all tensors.
    pub device: Device,
    /// The precision of the frozen matrices.
    pub precision: MatrixPrecision,
}

impl From<Device> for Placement {
    fn from(device: Device) -> Self {
        Self { device, precision: MatrixPrecision::F32 }
    }
}

impl Placement {
    /// A frozen tensor on the device. `multiplied` says whether activations are multiplied by it, so that it takes
    /// [`Placement::precision`]; tables that are only looked up and added stay float32.
    pub(super) fn frozen(self, tensor: &HostTensor, multiplied: bool) -> Tensor {
        let tensor = to_device(tensor, self.device);
        match self.precision {
            MatrixPrecision::Bf16 if multiplied && tensor.dim() == 2 => tensor.to_kind(Kind::BFloat16),
            _ => tensor,
        }
    }
}
