//! Why tasks cannot be in one graph.

use crate::precision::Precision;

/// Tasks cannot be in one graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum MultiError {
    /// The graphs differ in more than their weights.
    #[error(
        "the graphs of tasks `{first}` and `{other}` differ in more than adapters and LoRA\n\
         hint: export them to files of their own, with `--all` or `--bundle`"
    )]
    Graphs { first: String, other: String },
    /// The models are token classifiers.
    #[error(
        "each task of an encoder has a classifier of its own, which one graph cannot select\n\
         hint: export the tasks with `--bundle`, which shares the encoder, or with `--all`"
    )]
    Classifiers,
    /// The precision is another one.
    #[error(
        "several tasks in one graph are float32, not {0}\nhint: `--bundle` shares weights in any precision"
    )]
    Precision(Precision),
}
