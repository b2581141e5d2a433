//! Verification of an exported file: the reference model in each form, then the file in each available backend, each
//! compared with the one before it.
//!
//! - `sentences`: the sentences that are run
//! - `answers`: [`ReferenceRun`], their ids and the answers of the reference model
//! - `tolerance`: [`Tolerance`] of two logits, relative to the row that they belong to
//! - `ladder`: [`Ladder`], the comparisons and whether they hold
//! - `vectors`: the answers that are stored in the file
//! - `compare`: runs a file in the backends and builds the ladder

pub(crate) mod answers;
pub(crate) mod compare;
pub(crate) mod ladder;
pub(crate) mod sentences;
#[cfg(test)]
mod tests;
pub(crate) mod tolerance;
mod vectors;

pub use compare::Verification;
pub use ladder::{Demand, Ladder, NotRun, Rung};
pub use tolerance::Tolerance;
