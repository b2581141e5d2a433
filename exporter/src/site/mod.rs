//! The weights of a task at the sites of any backbone.
//!
//! - `tensors`: the tensors of a task's model, with LoRA folded in or not
//! - `check`: compares a task's weights with the backbone
//! - `graph`: adapters and LoRA pairs as nodes of a graph
//! - `reference`: adapters in the reference models

pub(crate) mod check;
pub(crate) mod graph;
pub(crate) mod reference;
pub(crate) mod tensors;
