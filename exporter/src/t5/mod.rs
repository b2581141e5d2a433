//! T5: encoder-decoders that write the tags of a sentence.
//!
//! - `models`: opens a run's backbone and creates the models of its tasks
//! - `model`: [`T5Model`], the tensors of a task's model
//! - `graph`: the ONNX graph
//! - [`mod@reference`]: the same model in plain ndarray
//! - `exportable`: the graph, reference answers and metadata of a file

mod exportable;
mod graph;
mod model;
pub(crate) mod models;
pub mod reference;

pub use graph::{FoldedTensors, T5Parts, t5_graph};
pub use model::T5Model;
pub use reference::{Reference, States};

pub use crate::fold::Form;
