//! Types and formats that all HyperLoader programs share. No machine-learning framework.
//!
//! - [`text`]: words, spans, tags, labels, tokenizers and the target grammar
//! - [`corpus`]: corpus files read into sentences
//! - [`backbone`]: pretrained T5 and BERT models: configuration, tensor names, tokenizer
//! - [`method`]: training methods, their hyper-parameters and the tensors that they train
//! - [`weights`]: tensors in memory and in files, and the weights of one task
//! - [`calibration`]: scores that agree with the share of correct tags, and thresholds with a guarantee
//! - [`decode`]: verified decoding, apart from the model
//! - [`evaluate`]: error analysis and significance
//! - [`run`]: the folder that a training writes
//! - [`mod@format`]: the metadata of an exported file
//! - [`device`]: `auto`, `cpu`, `cuda:N`
//! - [`causes`]: an error and its causes on one line
//! - [`files`]: hashes, and files that appear complete or not at all
//! - [`parquet`]: Parquet files, if built in
//! - [`panics`]: panics of other people's code become errors
//! - [`suggest`]: the `hint: did you mean` of an unknown name

pub mod backbone;
pub mod calibration;
pub mod causes;
pub mod corpus;
pub mod decode;
pub mod device;
pub mod evaluate;
pub mod files;
pub mod format;
pub mod method;
pub mod panics;
pub mod parquet;
pub mod percentiles;
pub mod run;
pub mod suggest;
pub mod text;
pub mod weights;
