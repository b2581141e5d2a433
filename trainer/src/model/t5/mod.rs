//! T5 (Raffel et al. 2020): `[batch, source_len]` ids in, logits or generated ids out.
//!
//! - `network`: [`T5`], which runs with any [`hyperloader_core::weights::task::TaskWeights`].
//! - `attention`, `layers`: the parts of a block.
//! - `generator`: adapters that are generated for each input (Hyperdecoder).
//! - `greedy`: greedy decoding, the reference for faster ways of decoding.
//! - `verified`: the same ids in fewer passes, with the targets of the corpus as drafts.
//! - `scored`: log-probabilities of generated targets.
//! - `tagger`: [`T5Tagger`], a T5 with a method and its trainable tensors.
//! - `coding`: sentences as SentT' ids.
//! - `learner`: [`T5Learner`], the [`super::Learner`] of a T5.
//! - `base`: the [`super::Base`] of a T5.

mod attention;
pub(crate) mod base;
mod coding;
mod generator;
mod greedy;
mod layers;
mod learner;
pub(crate) mod network;
mod scored;
pub(crate) mod tagger;
mod verified;

pub use crate::model::mode::Mode;
pub use generator::{generated, pooled};
pub use learner::T5Learner;
pub use network::T5;
pub use tagger::T5Tagger;
