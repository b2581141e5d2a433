//! T5 (Raffel et al. 2020): an encoder-decoder of which Hugging Face's `T5ForConditionalGeneration` writes every form that
//! is read here.
//!
//! - [`config`]: the dimensions, from `config.json` or a preset
//! - [`feed_forward`]: the feed-forward forms, and the fields that name them
//! - [`names`]: Hugging Face's tensor names
//! - [`tensors`]: names and shapes of all tensors, and the sites of each block
//! - [`buckets`]: buckets of relative positions
//! - [`backbone`]: a folder, opened strictly

pub mod backbone;
pub mod buckets;
pub mod config;
pub mod feed_forward;
pub mod names;
pub mod tensors;

pub use self::backbone::T5Backbone;
pub use self::buckets::relative_position_bucket;
pub use self::config::T5Config;
pub use self::feed_forward::FeedForward;
pub use crate::weights::site::{Attention, Stack};

#[cfg(test)]
mod tests;
