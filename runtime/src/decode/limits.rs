//! Limits of targets.

/// What decoding needs to know of a model, and the horizon of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Id of `</s>`, which ends a target.
    pub(super) eos: u32,
    /// Most ids of a target, `</s>` included.
    pub(super) max_target_len: usize,
    /// Ids of the graph's vocabulary are less than this.
    pub(super) vocab_size: usize,
    /// Most ids of a target that one pass decides.
    pub(super) horizon: usize,
}
