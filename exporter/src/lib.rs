//! hl-export: materialises, folds and writes one task as one ONNX file.
//!
//! - [`materialise`]: runs the hypernetworks once for a task
//! - [`model`]: the task's model, tensor by tensor
//! - [`fold`]: LoRA folded into the matrices it updates
//! - [`graph`]: the task's graph, and how its weights are laid out
//! - [`reference`]: the same model in plain ndarray, the oracle of verification

mod arithmetic;
pub mod fold;
pub mod graph;
pub mod materialise;
pub mod model;
pub mod reference;
