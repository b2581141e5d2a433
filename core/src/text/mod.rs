//! Words, spans, tags and labels, and their encoding as token ids.

pub mod drafter;
pub mod labels;
pub mod metrics;
pub mod scheme;
mod scheme_form;
pub mod scheme_observer;
pub mod sentt;
pub mod spans;
pub mod wordpiece;
pub mod words;
pub mod writable;
