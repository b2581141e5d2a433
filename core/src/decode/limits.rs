//! Limits of targets.

/// What decoding needs to know of a model, and the horizon of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Id of `</s>`, which ends a target.
    pub eos: u32,
    /// Most ids of a target, `</s>` included.
    pub max_target_len: usize,
    /// Ids of the model's vocabulary are less than this.
    pub vocab_size: usize,
    /// Most ids of a target that one pass decides.
    pub horizon: usize,
}
