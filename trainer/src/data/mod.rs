//! Corpora as ids.
//!
//! - `task`: [`load_task`] reads the splits of a task into [`TaskData`].
//! - `encoder`: sentences to examples within the length limits, cut into windows where asked.
//! - `coding`: [`Coding`], the trait that the codecs of T5 and BERT implement.
//! - `example`: [`Example`], a sentence as ids.
//! - `batch`: [`Batch`], padded tensors of examples of one task.

pub(crate) mod batch;
pub(crate) mod coding;
mod encoder;
pub(crate) mod example;
pub(crate) mod task;

pub use batch::{Batch, IGNORED};
pub use coding::{Coded, Coding, Limits, NO_TARGET};
pub use example::Example;
pub use task::{DataError, TaskData, load_task};
