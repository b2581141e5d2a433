//! Sizes that the reader and the writer of model files agree on.

/// The largest file that holds a model, in bytes: a protobuf message ends at 2 GiB.
pub const MAX_BYTES: u64 = i32::MAX as u64;

/// The elements of a large weight begin at a multiple of this many bytes of the file: the length of a cache line.
pub(crate) const ALIGNMENT: usize = 64;

/// A weight of at least this many bytes is large.
pub(crate) const LARGE: usize = 1024;
