//! Compact matrices: stored in fewer bits, and expanded to float32 by nodes at the beginning of the graph.
//!
//! The nodes read constants only, so a runtime runs them once, when it opens the file. All later computation is in
//! float32: no activation can overflow, and the file computes exactly what the float32 model computes with the rounded
//! matrices. The operators are those of opset 17, so every runtime that runs the float32 file runs these, too; only
//! bfloat16 is a type that some do not have.
//!
//! - `halves`: float16 and bfloat16
//! - `blocks`: int4, with a scale for each block of 32
//! - `graph`: adds the nodes

pub(crate) mod blocks;
pub(crate) mod graph;
pub(crate) mod halves;
#[cfg(test)]
mod tests;
