//! The files that a training adds to its run folder, besides the manifest and the checkpoints of
//! [`hyperloader_core::run`].
//!
//! - [`CONFIG`]: the configuration.
//! - [`METRICS`]: one JSON object per line, a [`Line`] each; `log` writes and continues it.
//! - [`OUTCOME`]: the final evaluation, an [`Outcome`].
//! - [`tensorboard`]: the metrics as TensorBoard event files.

pub(crate) mod line;
pub(crate) mod log;
pub mod tensorboard;

pub use line::{CONFIG, Line, METRICS, OUTCOME, Outcome, Step};
