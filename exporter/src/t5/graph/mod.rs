//! The ONNX graph of a task's T5: encoder and decoder with the task's adapters, and the generator of adapters where the
//! method has one. LoRA pairs are folded into the matrices, or beside them.
//!
//! The graph uses standard operators only and no control flow, so that any runtime can load it. It can be split into an
//! encoder and a decoder at the values named in [`hyperloader_core::format::tagger`].
//!
//! - `parts`: [`T5Parts`], configuration, weights and tensors of a graph, and the declarations of the backbone's weights
//! - `build`: [`t5_graph`] with stacks, embedding and head
//! - `attention`, `feed_forward`: the layers of a block
//! - `generator`: adapters generated from each input
//! - `position_table`: relative position biases by distance

mod attention;
mod build;
mod feed_forward;
mod generator;
mod parts;
mod position_table;

pub use build::t5_graph;
pub use parts::T5Parts;

pub use crate::site::tensors::FoldedTensors;
