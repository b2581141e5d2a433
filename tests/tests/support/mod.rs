//! Helpers of single test files.

pub mod terminal;
