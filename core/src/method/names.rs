//! Names of the tensors that methods add to a backbone's (docs/reference/checkpoints.md).

use crate::weights::site::Stack;

/// The token classifier of a task (see [`of_task`]), without `.weight` or `.bias`: from states to BIO tags, `[tags, width]`.
pub const CLASSIFIER: &str = "classifier";

/// The embedding of a task, `[task_embed_dim]`.
pub fn task_embedding(task: &str) -> String {
    format!("hyper.task_embed.{task}")
}

/// A part of a stack's hypernetwork: `adapter_up.weight_head.bias`, ...
pub fn hypernetwork(stack: Stack, part: &str) -> String {
    format!("hyper.{stack}.{part}")
}

/// A part (`down.weight`, `down.bias`, `up.weight`, `up.bias`, `norm.weight`, `norm.bias`) of the adapter after a module
/// (see [`crate::backbone::shape::SiteShape::module`]).
pub fn adapter(module: &str, part: &str) -> String {
    format!("{module}.adapter.{part}")
}

/// `a` `[rank, input]` or `b` `[output, rank]` of the LoRA pair on a module (see
/// [`crate::backbone::shape::SiteShape::module`]).
pub fn lora(module: &str, matrix: &str) -> String {
    format!("{module}.lora_{matrix}.weight")
}

/// A module of one task alone.
pub fn of_task(task: &str, module: &str) -> String {
    format!("task.{task}.{module}")
}
