//! Names of the tensors that methods add to a backbone's (docs/reference/checkpoints.md).

use crate::backbone::shape::SiteShape;
use crate::weights::site::Stack;

/// The embedding of a task, `[task_embed_dim]`.
pub fn task_embedding(task: &str) -> String {
    format!("hyper.task_embed.{task}")
}

/// A part of a stack's hypernetwork: `adapter_up.weight_head.bias`, ...
pub fn hypernetwork(stack: Stack, part: &str) -> String {
    format!("hyper.{stack}.{part}")
}

/// A part (`down.weight`, `down.bias`, `up.weight`, `up.bias`) of the adapter at a site.
pub fn adapter(site: &SiteShape, part: &str) -> String {
    format!("{}.adapter.{part}", site.module)
}

/// `a` `[rank, input]` or `b` `[output, rank]` of the LoRA pair at a site.
pub fn lora(site: &SiteShape, matrix: &str) -> String {
    format!("{}.lora_{matrix}.weight", site.module)
}

/// A module of one task alone.
pub fn of_task(task: &str, module: &str) -> String {
    format!("task.{task}.{module}")
}
