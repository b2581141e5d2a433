//! Exports a task of a trained run as one ONNX file.
//!
//! [`Exporter`] opens a run and its backbone. [`Exporter::export`] computes the task's weights, folds LoRA, builds the
//! graph, runs the reference model, streams the file, and runs the file in every available backend. The file gets its
//! name only if all of them agree.
//!
//! Entry:
//! - `export`: [`Exporter`], [`Options`] and the steps of an export
//! - `bundle`: several tasks with one file of shared weights
//! - `file`: writes a graph and its weights
//! - `multi`: several tasks in one graph
//! - `web`: a task as a site, with which a browser tags text
//! - `data`: large weights in a file beside the model
//! - `cost`: [`Cost`], what a precision changes on labelled sentences; `measure` measures it
//! - `summary`: [`Exported`], what was written
//! - `error`: [`ExportError`], [`ModelError`] and [`GraphError`]
//!
//! The task's model:
//! - [`materialise`]: computes the weights of a task from a checkpoint, for each family of methods
//! - `fold`: folds LoRA into the matrices that it updates
//! - `site`: adapters and LoRA at the sites of any backbone: tensors, graph and reference model
//! - [`t5`], [`bert`]: model, graph and reference model of each architecture
//! - `exportable`: the traits that both architectures implement
//! - [`import`]: checkpoints of other programs as runs
//!
//! The file:
//! - [`weights`]: the declaration of each weight of a graph
//! - `precision`: [`Precision`] and the graphs of files of lower precision
//! - `proof`: digests and answers that the file carries
//! - `test_data`: inputs and outputs of a file for other programs
//! - `verify`: the reference answers, the backends, and the [`Ladder`] of comparisons
//!
//! Helpers:
//! - `operators`: pieces of graphs that both architectures use
//! - `arithmetic`: norms and non-linearities of the reference models
//! - `layout`: the bytes of a tensor in the order of the file
//! - `parallel`: work on all cores
//! - `product`: products of matrices in float64, on all cores
//! - `tensor`: tensors with a given number of dimensions

mod arithmetic;
pub mod bert;
mod bundle;
mod cost;
mod data;
mod error;
mod export;
mod exportable;
mod file;
mod fold;
pub mod import;
mod layout;
pub mod materialise;
mod measure;
mod multi;
mod operators;
mod parallel;
mod precision;
mod product;
mod proof;
mod site;
mod summary;
pub mod t5;
mod tensor;
mod test_data;
mod verify;
mod web;
pub mod weights;

pub use cost::{Cost, CostCheck, CostError, SentencesError, TooCostly, cost_sentences};
pub use error::{ExportError, GraphError, ModelError};
pub use export::{Exporter, Options, write_t5};
pub use fold::{FoldError, Form};
pub use glob::Pattern;
pub use import::{Import, ImportError};
pub use multi::MultiError;
pub use precision::{Precision, Storage, UnknownPrecision};
pub use summary::{Exported, WeightGroup};
pub use test_data::write_test_data;
pub use verify::{Demand, Ladder, NotRun, Rung, Tolerance, Verification};
pub use web::check_site;
pub use web::error::WebError;
pub use web::parts::{PACKAGES, Packages};

#[cfg(test)]
#[path = "../tests/common/random_run.rs"]
mod random_run;
