//! Words, spans, tags and labels, and their encoding as token ids.
//!
//! - [`words`]: free text split into words
//! - [`spans`]: BIO and sBIO tags, and the spans that they mark
//! - [`labels`]: a task's label inventory
//! - [`sentinels`]: the ids that separate words in SentT'
//! - [`sentt`]: SentT', the source and target form of a T5
//! - [`source`]: source ids: the codecs' common error, prefixes, padding
//! - [`target`]: the target grammar: tags from ids and ids from tags
//! - [`wordpiece`]: the source form of a BERT
//! - [`drafter`]: the classifier that drafts targets
//! - [`metrics`]: precision, recall and F1 of spans

pub mod drafter;
pub mod labels;
pub mod metrics;
pub mod sentinels;
pub mod sentt;
pub mod source;
pub mod spans;
pub mod target;
pub mod wordpiece;
pub mod words;
