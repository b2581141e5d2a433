//! BERT (Devlin et al. 2019) with the weights of a task (docs/reference/encoders.md): ids to logits of BIO tags.
//!
//! - `network`: [`Bert`], the encoder with a task's modules in every layer.
//! - `modules`: [`BertTask`], the weights of a task, and what the layers need of them.
//! - `ungated`: adapters and LoRA, whose weights any method makes.
//! - `gated`: UniPELT's gates, gated LoRA and prefixes.
//! - `tagger`: [`BertTagger`], a BERT with the trainable tensors of all tasks.
//! - `learner`: the [`super::Learner`] of a BERT.
//! - `coding`: sentences as sub-words and tag indices.
//! - `base`: the [`super::Base`] of a BERT.

pub(crate) mod base;
mod coding;
mod gated;
mod learner;
mod modules;
mod network;
mod tagger;
mod ungated;

pub use learner::tag_loss;
pub use modules::{BertTask, Observed, TaskModules};
pub use network::Bert;
pub use tagger::BertTagger;
