//! Words, spans, tags and labels, and their encoding as token ids.

pub mod drafter;
pub mod labels;
pub mod metrics;
pub mod sentt;
pub mod source;
pub mod spans;
pub mod wordpiece;
pub mod words;
