//! The reference model of T5: the task's model in plain ndarray, which every exported file is compared with.
//!
//! It computes in float64, without caches, and holds one tensor of the backbone in memory at a time, so that it stays close
//! to the equations (Raffel et al. 2020; `docs/reference/backbones.md#t5-block`,
//! `docs/reference/hyperloader.md#t5-block-with-task-weights`). There is no dropout, as in evaluation.
//!
//! - `forward`: [`Reference`], encoder, decoder and greedy decoding
//! - [`mod@generate`]: adapters generated from each input
//! - `states`: [`States`], the hidden states of a batch

mod forward;
pub mod generate;
mod states;

pub use forward::Reference;
pub use states::States;
