//! The ONNX graph of a task's token classifier: BERT's encoder with the task's adapters, and LoRA pairs folded into the
//! matrices or beside them (`docs/reference/encoders.md#layer-with-task-weights`). It uses standard operators only and no
//! control flow.
//!
//! - `build`: [`bert_graph`], with embeddings and classifier
//! - `layer`: a layer
//! - `gated`: the gated modules of `unipelt-bert`
//! - `parts`: [`BertParts`], configuration, modules and tensors of a graph, and the declarations of its weights

mod build;
mod gated;
mod layer;
mod parts;

pub use build::bert_graph;
pub use parts::{BertParts, Modules};
