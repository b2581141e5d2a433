//! T5 with the weights that a method generates for a task: `[batch, source_len]` ids in, logits or ids out.
//!
//! [`T5`] runs with any [`hyperloader_core::weights::task::TaskWeights`]; [`Tagger`] makes them with a method from its
//! trainable [`crate::parameters::Parameters`].

mod attention;
mod generator;
mod greedy;
mod layers;
mod t5;
mod tagger;

pub use generator::{generated, pooled};
pub use layers::Mode;
pub(crate) use layers::linear;
pub use t5::T5;
pub use tagger::{Placement, Precision, Tagger, TaggerError};
pub(crate) use tagger::{check_trainable, unknown_task};
