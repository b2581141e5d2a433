//! The largest dimensions of a backbone, far above those of every published T5 and BERT. They are checked before anything is
//! allocated, because a number in a file may be wrong.

/// Layers of a stack.
pub(super) const LAYERS: usize = 1 << 10;
/// Widths, heads and buckets.
pub(super) const WIDTH: usize = 1 << 16;
/// Width of a feed-forward layer.
pub(super) const INNER: usize = 1 << 20;
/// Positions and distances in tokens.
pub(super) const POSITIONS: usize = 1 << 20;
/// Rows of an embedding.
pub(super) const VOCABULARY: usize = 1 << 24;
