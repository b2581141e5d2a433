//! Training of multi-task sequence taggers with libtorch; the program is `hl-train`.
//!
//! Data flows through these modules from top to bottom; a module imports only modules above it.
//!
//! - [`schedule`], [`sampler`], `seeds`, [`smoothing`]: learning rates, batches to draw, seeds, moving averages.
//! - [`parameters`], [`optimizer`]: trainable tensors and AdamW.
//! - [`parallel`]: several processes.
//! - [`config`]: the configuration, `hyperloader.toml`.
//! - [`device`]: CPU or GPU.
//! - [`hub`]: backbones of the Hugging Face hub.
//! - [`data`], [`corpora`]: corpora as ids, and their statistics.
//! - [`init`]: a first configuration for a user's own corpora.
//! - [`methods`]: from a task to its weights, one file per family of methods.
//! - [`loss`]: the label-smoothed cross entropy.
//! - [`model`]: models on a T5 or a BERT, behind one trait.
//! - `drafter`: the classifier that makes decoding in `hl-run` faster.
//! - [`calibrate`]: scores that agree with the share of correct tags.
//! - [`evaluate`]: loss and F1 of a split.
//! - [`record`]: the files of a run folder.
//! - [`train`]: the training loop.
//! - [`report`]: the page and the plots of a run.
//! - [`parameter_count`]: numbers of parameters.
//! - [`compare`]: comparisons of methods, and the tables of the paper.
//! - [`tune`]: the search for a learning rate.

pub mod calibrate;
pub mod compare;
pub mod config;
pub mod corpora;
pub mod data;
pub mod device;
mod drafter;
pub mod evaluate;
pub mod hub;
pub mod init;
mod linear;
pub mod loss;
pub mod methods;
pub mod model;
pub mod optimizer;
pub mod parallel;
pub mod parameter_count;
pub mod parameters;
pub mod record;
pub mod report;
pub mod sampler;
pub mod schedule;
mod seeds;
pub mod smoothing;
pub mod train;
pub mod tune;
