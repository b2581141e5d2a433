//! Percentiles of lengths.

use serde::Serialize;

/// Percentiles of lengths by the nearest-rank method: each is a length that occurs, and that share of all is no longer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// Median, in words or tokens.
    pub p50: usize,
    /// 90 of 100 are no longer.
    pub p90: usize,
    /// 99 of 100 are no longer.
    pub p99: usize,
    /// Length of the longest sentence.
    pub max: usize,
}

impl Percentiles {
    /// Of `lengths` in any order; all zero if there are none.
    pub fn of(mut lengths: Vec<usize>) -> Self {
        lengths.sort_unstable();
        let rank = |percent: usize| (lengths.len() * percent).div_ceil(100).saturating_sub(1);
        let at = |percent| lengths.get(rank(percent)).copied().unwrap_or_default();
        Self { p50: at(50), p90: at(90), p99: at(99), max: at(100) }
    }
}
