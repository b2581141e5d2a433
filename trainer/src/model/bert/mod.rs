//! BERT (Devlin et al. 2019) with the modules of UniPELT (docs/reference/baselines.md#unipelt-on-bert): ids to logits of BIO
//! tags.
//!
//! - `network`: [`Bert`], the frozen encoder with a task's modules in every layer.
//! - `modules`: gates, gated LoRA and prefixes.
//! - `tagger`: [`BertTagger`], a BERT with the trainable tensors of all tasks; the [`super::Learner`] of a BERT.
//! - `coding`: sentences as sub-words and tag indices.
//! - `base`: the [`super::Base`] of a BERT.

pub(crate) mod base;
mod coding;
mod modules;
mod network;
mod tagger;

pub use network::{Bert, Observed};
pub use tagger::{BertTagger, tag_loss};
