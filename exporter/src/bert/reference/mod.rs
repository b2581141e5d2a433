//! The reference model of BERT: a task's token classifier in plain ndarray, which every exported file is compared with.
//!
//! It computes in float64 and holds one tensor of the backbone in memory at a time
//! (`docs/reference/backbones.md#bert`, `docs/reference/encoders.md#layer-with-task-weights`). There is no dropout, as in
//! evaluation.
//!
//! - `forward`: [`BertReference`]
//! - `gated`: the gated modules of `unipelt-bert`
//! - `sentence`: the states of one sentence

mod forward;
mod gated;
mod sentence;

pub use forward::BertReference;
