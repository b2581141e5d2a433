//! Words, spans, tags and labels, and their encoding as token ids.
//!
//! - [`words`]: free text split into words
//! - [`spans`]: BIO and sBIO tags, and the spans that they mark
//! - [`scheme`]: the schemes of tags (BIO, IOB1, IO, IOBES, BILOU, BMES) and their conversion to BIO
//! - [`scheme_observer`]: which scheme the tags of a file are written in
//! - [`labels`]: a task's label inventory
//! - [`writable`]: whether a model can write the labels
//! - [`sentence_words`]: how many words training sentences have
//! - [`sentinels`]: the ids that separate words in SentT'
//! - [`sentt`]: SentT', the source and target form of a T5
//! - `sentencepiece`: T5's original vocabulary as a `tokenizer.json`
//! - `tokenizer`: a `tokenizer.json`, checked before it is read
//! - [`source`]: source ids with a task's prefix, padded batches, and the codecs' common error
//! - [`target`]: the target grammar: tags from ids and ids from tags
//! - [`scores`]: probabilities and margins of tags
//! - [`wordpiece`]: the source form of a BERT
//! - [`drafter`]: the classifier that drafts targets
//! - [`metrics`]: precision, recall and F1 of spans
//! - [`printable`]: text without control characters

pub mod drafter;
pub mod labels;
pub mod metrics;
pub mod printable;
pub mod scheme;
mod scheme_form;
pub mod scheme_observer;
pub mod scores;
pub mod sentence_words;
mod sentencepiece;
pub mod sentinels;
pub mod sentt;
pub mod source;
pub mod spans;
pub mod target;
mod tokenizer;
pub mod wordpiece;
pub mod words;
pub mod writable;
