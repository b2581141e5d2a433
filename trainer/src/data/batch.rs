//! Batches: padded tensors of examples of one task.

use hyperloader_core::text::source::PaddedRows;
use tch::{Device, Tensor};

use super::coding::NO_TARGET;
use super::example::Example;

/// [`NO_TARGET`] in a tensor of targets, as PyTorch's `ignore_index`.
pub const IGNORED: i64 = -100;

/// Examples of one task, padded at the end to the longest.
#[derive(Debug)]
pub struct Batch {
    /// `[batch, source_len]`, int64.
    pub input_ids: Tensor,
    /// 1 for a token, 0 for padding; `[batch, source_len]`, int64.
    pub attention_mask: Tensor,
    /// What the model learns to predict; `[batch, target_len]`, int64. Target ids of a T5, padded with its padding token; for
    /// a token classifier tag indices or [`IGNORED`], as many as the source has ids.
    pub target_ids: Tensor,
}

impl Batch {
    /// Pads examples with `pad` into tensors on `device`.
    pub fn new(examples: &[&Example], pad: i64, device: Device) -> Self {
        let sources = PaddedRows::new(examples.iter().map(|e| e.source.iter().copied().map(i64::from)), pad);
        let targets = PaddedRows::new(examples.iter().map(|e| e.target.iter().copied().map(target)), pad);
        Self {
            attention_mask: tensor(&sources.mask(), sources.shape).to_device(device),
            input_ids: tensor(&sources.values, sources.shape).to_device(device),
            target_ids: tensor(&targets.values, targets.shape).to_device(device),
        }
    }
}

/// A target id as tensors hold it.
pub(crate) fn target(id: u32) -> i64 {
    if id == NO_TARGET { IGNORED } else { id.into() }
}

/// Rows of ids, padded at the end with `pad`: `[rows, longest]`, int64.
pub(crate) fn padded(rows: &[impl AsRef<[u32]>], pad: i64) -> Tensor {
    let rows = PaddedRows::new(rows.iter().map(|row| row.as_ref().iter().copied().map(i64::from)), pad);
    tensor(&rows.values, rows.shape)
}

fn tensor(values: &[i64], shape: [usize; 2]) -> Tensor {
    Tensor::from_slice(values).view(shape.map(|n| n as i64))
}
