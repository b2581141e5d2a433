//! BERT: token classifiers trained with `unipelt-bert`.
//!
//! - `models`: opens a run's backbone and creates the models of its tasks
//! - `model`: [`BertModel`], the tensors of a task's model
//! - `graph`: the ONNX graph, with gates computed inside and the prefix as a constant
//! - `reference`: [`BertReference`], the same model in plain ndarray
//! - `exportable`: the graph, reference answers and metadata of a file

mod exportable;
mod graph;
mod model;
pub(crate) mod models;
mod reference;

pub use graph::{BertParts, BertTensors, PrefixPart, bert_graph};
pub use model::{BertModel, LayerPrefix};
pub use reference::BertReference;
