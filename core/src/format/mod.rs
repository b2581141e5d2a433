//! The metadata of an exported file.
//!
//! - [`tagger`]: the fields, the names of the graph's inputs and outputs, and the version of the file's layout
//! - [`packed`]: long texts, compressed

pub mod packed;
pub mod tagger;
