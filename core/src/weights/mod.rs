//! Tensors in memory and in files, and the weights of one task.
//!
//! - [`site`]: where in a backbone a task's weights stand
//! - [`task`]: the weights of one task, generic over the tensor type
//! - [`tensors`]: tensors in main memory and in safetensors files
//! - [`in_place`]: tensors in safetensors files, read without a copy
//! - `float`, `finite`: elements as float32, and those that are not finite
//! - [`pretrained`]: a checkpoint's weights as Hugging Face stores them, in one file or in shards

mod finite;
mod float;
pub mod in_place;
pub mod pretrained;
pub mod site;
pub mod task;
pub mod tensors;
