//! The training examples of a task, in memory or on disk.

use std::borrow::Cow;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use super::example::Example;
use super::identity::ExampleHash;
use super::store::StoreError;
use super::stream::Stream;

/// The training examples of a task.
#[derive(Debug)]
pub enum TrainingSet {
    /// In memory. Batches are drawn from all of them, with replacement.
    Loaded(Vec<Example>),
    /// On disk. Each is used once per epoch.
    Streamed {
        /// The examples.
        stream: Box<Stream>,
        /// The number of sentences that they are made of.
        sentences: usize,
        /// The SHA-256 of the examples in the order of the files.
        sha256: String,
    },
}

impl TrainingSet {
    /// The number of examples.
    pub fn len(&self) -> usize {
        match self {
            Self::Loaded(examples) => examples.len(),
            Self::Streamed { stream, .. } => stream.len(),
        }
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of sentences. The windows of a sentence count once.
    pub fn sentences(&self) -> usize {
        match self {
            Self::Loaded(examples) => examples.chunk_by(|a, b| a.sentence == b.sentence).count(),
            Self::Streamed { sentences, .. } => *sentences,
        }
    }

    /// Whether the examples are on disk.
    pub fn is_streamed(&self) -> bool {
        matches!(self, Self::Streamed { .. })
    }

    /// The examples that are in memory: all, or none of a stream.
    pub fn loaded(&self) -> &[Example] {
        match self {
            Self::Loaded(examples) => examples,
            Self::Streamed { .. } => &[],
        }
    }

    /// The SHA-256 of the ids of all examples in the order of the files.
    pub fn sha256(&self) -> String {
        match self {
            Self::Loaded(examples) => {
                let mut hash = ExampleHash::default();
                examples.iter().for_each(|example| hash.add(example));
                hash.finish()
            }
            Self::Streamed { sha256, .. } => sha256.clone(),
        }
    }

    /// The examples with these numbers: indices, or positions of a stream, which count on from epoch to epoch.
    ///
    /// # Errors
    /// If the store of a stream cannot be read.
    pub fn batch(&mut self, numbers: &[usize]) -> Result<Vec<Cow<'_, Example>>, StoreError> {
        match self {
            Self::Loaded(examples) => Ok(numbers.iter().map(|at| Cow::Borrowed(&examples[*at])).collect()),
            Self::Streamed { stream, .. } => {
                let example = |at: &usize| stream.example(*at).cloned().map(Cow::Owned);
                numbers.iter().map(example).collect()
            }
        }
    }

    /// At most `count` examples in random order.
    ///
    /// # Errors
    /// If the store of a stream cannot be read.
    pub fn sample(&self, count: usize, random: &mut impl Rng) -> Result<Vec<Cow<'_, Example>>, StoreError> {
        match self {
            Self::Loaded(examples) => {
                let mut order: Vec<usize> = (0..examples.len()).collect();
                order.shuffle(random);
                order.truncate(count);
                Ok(order.into_iter().map(|at| Cow::Borrowed(&examples[at])).collect())
            }
            Self::Streamed { stream, .. } => {
                Ok(stream.sample(count, random.random())?.into_iter().map(Cow::Owned).collect())
            }
        }
    }
}
