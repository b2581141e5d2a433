//! Corpora as ids.
//!
//! - `source`: [`TaskSource`], the corpus of a task, becomes [`TaskData`].
//! - `task`: the splits read into memory.
//! - `streamed`: the training split need not fit in memory; `store_key`: the name of the file that has its examples.
//! - `training_set`: [`TrainingSet`], the training examples, in memory or on disk.
//! - `stream`: [`Stream`], examples on disk in their `order`, which the seed gives; `store`: the file that has them.
//! - `encoder`: sentences to examples within the length limits, cut into windows where asked.
//! - `coding`: [`Coding`], the trait that the codecs of T5 and BERT implement.
//! - `example`: [`Example`], a sentence as ids; `identity`: the hash of examples.
//! - `batch`: [`Batch`], padded tensors of examples of one task.
//! - `error`: [`DataError`].

pub(crate) mod batch;
pub(crate) mod coding;
mod encoder;
mod error;
pub(crate) mod example;
mod identity;
mod order;
mod source;
mod store;
mod store_key;
mod stream;
mod streamed;
pub(crate) mod task;
mod training_set;

pub use batch::{Batch, IGNORED};
pub use coding::{Coded, Coding, Limits, NO_TARGET};
pub use encoder::Counts;
pub use error::DataError;
pub use example::Example;
pub use source::{ReadObserver, ReadProgress, ReadStage, TaskSource};
pub use store::{Store, StoreError};
pub use stream::Stream;
pub use task::TaskData;
pub use training_set::TrainingSet;
