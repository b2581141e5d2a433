//! The metadata of an exported file.

pub mod packed;
pub mod tagger;
