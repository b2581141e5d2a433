//! The elements of a tensor, whichever backend holds them.

/// The elements of a [`Value`](super::Value), row-major.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::backend) enum Elements<'a> {
    /// Elements of a tensor of `f32`.
    F32(&'a [f32]),
    /// Elements of a tensor of `i64`.
    I64(&'a [i64]),
}
