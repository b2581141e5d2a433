//! BERT (Devlin et al. 2019) and relatives of other dimensions such as MiniLM. Only the encoder is used.
//!
//! - [`config`]: the dimensions, from `config.json` or a preset
//! - [`names`]: Hugging Face's tensor names
//! - [`tensors`]: names and shapes of all tensors, and the sites of each layer
//! - [`backbone`]: a folder, opened strictly

pub mod backbone;
pub mod config;
pub mod names;
pub mod tensors;

pub use self::backbone::BertBackbone;
pub use self::config::BertConfig;

#[cfg(test)]
mod tests;
