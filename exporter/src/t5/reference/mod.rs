//! The reference model of T5: the task's model in plain ndarray, which every exported file is compared with.
//!
//! It computes in float64 and reads the backbone's tensors in place, some rows at a time. Only greedy decoding keeps anything
//! from one id to the next, so that it stays close to the equations (Raffel et al. 2020; `docs/reference/backbones.md#t5-block`,
//! `docs/reference/hyperloader.md#t5-block-with-task-weights`). There is no dropout, as in evaluation.
//!
//! - `cache`: keys and values that greedy decoding keeps
//! - `forward`: [`Reference`], encoder and decoder
//! - `greedy`: greedy decoding
//! - [`mod@generate`]: adapters generated from each input
//! - `states`: [`States`], the hidden states of a batch

mod cache;
mod forward;
pub mod generate;
mod greedy;
mod states;
#[cfg(test)]
mod tests;

pub use forward::Reference;
pub use states::States;
