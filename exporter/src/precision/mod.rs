//! Precisions: what an exported file stores the large matrices of the backbone as.
//!
//! - [`Precision`]: the choices
//! - [`Storage`]: which matrices of an export are stored in fewer bits
//! - `matrices`: the matrices of the reference model in the precision of a file
//! - `content`: what each initializer of a written file contains
//! - `compact`: matrices that are stored in fewer bits and expanded to float32 when the file is opened
//! - `int8`: integers with one scale for each output channel, also in products
//! - `node`: nodes that are added to a graph

mod choice;
pub(crate) mod compact;
pub(crate) mod content;
pub(crate) mod int8;
pub(crate) mod matrices;
mod node;
mod storage;

pub use choice::{Precision, UnknownPrecision};
pub use storage::Storage;
