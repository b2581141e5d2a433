//! Models: a frozen backbone with the weights that a method generates for each task.
//!
//! - `open`: [`open()`], the constructor, and [`tokens()`], the codec alone; the only place that tells the kinds of
//!   backbones apart.
//! - `base`: [`Base`], a backbone with its tokenizer, from which models are built.
//! - `learner`: [`Learner`], what training and evaluation need of a model.
//! - `scored`: [`Scored`], predicted tags with their scores.
//! - `start`: where trainable tensors come from: a seed or a checkpoint.
//! - `placement`: device and precision.
//! - `mode`: whether dropout is applied.
//! - `packing`: the tokens of a batch without its padding.
//! - `adapter`: adapters at the sub-layers of any backbone.
//! - `error`: [`ModelError`].
//! - [`t5`]: an encoder-decoder that writes tags as text.
//! - [`bert`]: an encoder whose states are classified.

mod adapter;
pub(crate) mod base;
pub mod bert;
pub(crate) mod error;
pub(crate) mod learner;
mod mode;
mod open;
mod packing;
pub(crate) mod placement;
pub(crate) mod scored;
pub(crate) mod start;
pub mod t5;

pub use base::{Base, OpenError, TaskLabels};
pub use error::ModelError;
pub use learner::{Decoding, Learner, Prediction};
pub use open::{Tokens, open, tokens};
pub use placement::{MatrixPrecision, Placement};
pub use scored::{ExampleScores, Scored};
pub use start::Start;
