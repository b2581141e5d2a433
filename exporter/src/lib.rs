//! hl-export: materialises, folds and writes one task as one ONNX file.
//!
//! - [`materialise`]: makes a method's weights once for a task
//! - [`model`]: the task's model, tensor by tensor
//! - [`fold`]: LoRA folded into the matrices it updates
//! - [`graph`]: the ONNX graph
//! - [`export`]: from a run to a file, whole and verified, or absent
//! - [`generate`]: adapters made for each input, in plain ndarray
//! - [`mod@reference`]: the same model in plain ndarray, the oracle of verification
//! - [`bert`]: the same for `unipelt-bert`: graph, model, oracle
//! - [`probe`]: the sentences that a file is verified on
//! - [`verify`]: un-folded, folded and written model compared
//! - [`quantize`]: the same model in bytes
//! - [`summary`]: what an export reports

mod arithmetic;
pub mod bert;
pub mod export;
pub mod fold;
pub mod generate;
pub mod graph;
pub mod materialise;
pub mod model;
pub mod probe;
pub mod quantize;
pub mod reference;
pub mod summary;
pub mod verify;

#[cfg(test)]
#[path = "../tests/common/random_run.rs"]
mod random_run;
