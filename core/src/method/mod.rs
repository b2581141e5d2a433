//! The training methods: hyper-parameters, and the tensors that training creates or changes.
//!
//! A run makes its tensors from this list, a checkpoint is checked against it, and parameters are counted with it. Names
//! and shapes: docs/reference/checkpoints.md. A method asks a backbone for its sites and widths
//! ([`crate::backbone::shape`]) and does not depend on the kind of backbone.
//!
//! - [`kind`]: [`Method`], the names of all methods
//! - [`config`]: [`MethodConfig`], any method with its hyper-parameters, and the list of published variants
//! - [`family`]: the trait that every family of methods implements
//! - [`tensors`]: trainable tensors and how they start
//! - [`names`]: names of those tensors
//! - [`error`]: hyper-parameters that do not fit
//! - [`hyper`], [`hyperdecoder`], [`modules`], [`full`], [`unipelt_bert`]: the families
//!
//! A new family is a file with a [`family::MethodFamily`], a name in [`kind`] and a line in each list of [`config`].

pub mod config;
pub mod error;
pub mod family;
pub mod full;
pub mod hyper;
pub mod hyperdecoder;
pub mod kind;
pub mod modules;
pub mod names;
pub mod tensors;
pub mod unipelt_bert;

pub use self::config::{MethodConfig, Variant, variant, variants};
pub use self::error::MethodError;
pub use self::family::{Sharing, TaskShape};
pub use self::full::FullConfig;
pub use self::hyper::{AdapterHeads, HyperConfig, LoraConfig, LoraHeads};
pub use self::hyperdecoder::HyperdecoderConfig;
pub use self::kind::Method;
pub use self::modules::{ModulesConfig, PairConfig};
pub use self::tensors::{Init, TrainableTensor};
pub use crate::weights::site::Site;

#[cfg(test)]
mod tests;
