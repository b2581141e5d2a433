//! Precisions: what an exported file stores the large matrices of the backbone as.
//!
//! - [`Precision`]: the choices
//! - `content`: what each initializer of a written file contains
//! - `int8`: integers with one scale for each output channel

mod choice;
pub(crate) mod content;
pub(crate) mod int8;

pub use choice::{Precision, UnknownPrecision};
