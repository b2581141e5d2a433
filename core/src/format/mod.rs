//! The metadata of an exported file.
//!
//! - [`tagger`]: the fields, the names of the graph's inputs and outputs, and the version of the file's layout
//! - [`multi`]: files with several tasks
//! - [`packed`]: long texts, compressed
//! - [`proof`]: digests of a file's parts and answers of the reference model, by which a file can be checked

pub mod multi;
pub mod packed;
pub mod proof;
pub mod tagger;
