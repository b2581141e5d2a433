//! Verified decoding, apart from the model: what is drafted, which ids a pass of the decoder settles, and what is drafted
//! next (docs/decoding.md). The runtime and the evaluation of the trainer run their decoders by it.
//!
//! - [`rows`]: the targets of a batch while they grow
//! - [`draft`]: drafts of the rest of a target
//! - [`horizon`]: how many ids a pass decides
//! - [`limits`]: limits of targets

pub mod draft;
pub mod horizon;
pub mod limits;
pub mod rows;
