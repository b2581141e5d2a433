//! Floats of the element types that checkpoints have.

use safetensors::Dtype;

pub(super) fn bf16(bytes: [u8; 2]) -> f32 {
    half::bf16::from_le_bytes(bytes).to_f32()
}

pub(super) fn f16(bytes: [u8; 2]) -> f32 {
    half::f16::from_le_bytes(bytes).to_f32()
}

/// The float of type `dtype` in `bytes`; `None` if it is of another type or size.
pub(super) fn float_at(dtype: Dtype, bytes: &[u8]) -> Option<f32> {
    match dtype {
        Dtype::F32 => Some(f32::from_le_bytes(bytes.try_into().ok()?)),
        Dtype::BF16 => Some(bf16(bytes.try_into().ok()?)),
        Dtype::F16 => Some(f16(bytes.try_into().ok()?)),
        _ => None,
    }
}
