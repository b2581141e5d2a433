//! Tensors in memory and in files, and the weights of one task.

pub mod pretrained;
pub mod task;
pub mod tensors;
