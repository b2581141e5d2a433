//! BERT: token classifiers.
//!
//! - `models`: opens a run's backbone and creates the models of its tasks
//! - `model`: [`BertModel`], the tensors of a task's model
//! - `prefix`: keys and values before those of a layer, for `unipelt-bert`
//! - `graph`: the ONNX graph
//! - `reference`: [`BertReference`], the same model in plain ndarray
//! - `exportable`: the graph, reference answers and metadata of a file

mod exportable;
mod graph;
mod model;
pub(crate) mod models;
mod prefix;
mod reference;

pub use graph::{BertParts, Modules, bert_graph};
pub use model::BertModel;
pub use prefix::{LayerPrefix, PrefixPart, Prefixes};
pub use reference::BertReference;

pub use crate::fold::Form;
pub use crate::site::tensors::FoldedTensors;
