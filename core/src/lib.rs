//! What the three HyperLoader programs agree on: SentT', corpora, T5's shape, methods, run folders. No ML framework.

pub mod backbone;
pub mod bert;
pub mod corpus;
pub mod drafter;
pub mod files;
pub mod labels;
pub mod method;
pub mod metrics;
pub mod packed;
pub mod run;
pub mod sentt;
pub mod spans;
pub mod suggest;
pub mod t5;
pub mod tagger;
pub mod task_weights;
pub mod tensors;
pub mod unipelt;
pub mod weights;
pub mod wordpiece;
pub mod words;
