//! A task whose training examples are on disk: its files are read once, their examples are stored as ids, and the training
//! reads the store.
//!
//! The name of a store follows from all that its examples depend on (`store_key`). If one of them changes, another store is
//! written, and its hash tells whether the examples have changed.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use hyperloader_core::corpus::{CorpusSpec, Others, Shards, TrainParts};
use hyperloader_core::files::{FileError, folder_of};
use hyperloader_core::text::labels::LabelSet;
use hyperloader_core::text::spans::Bio;
use serde::{Deserialize, Serialize};

use super::encoder::{Counts, Purpose};
use super::error::DataError;
use super::example::Example;
use super::identity::ExampleHash;
use super::order::{BLOCK, BUFFER};
use super::source::{ReadObserver, ReadProgress, ReadStage, TaskSource};
use super::store::{Store, StoreWriter};
use super::stream::Stream;
use super::task::{TaskData, unseen};
use super::training_set::TrainingSet;

/// The number of records between two calls of the observer.
const OBSERVED: usize = 10_000;

/// The description of a store.
#[derive(Serialize, Deserialize)]
struct StoreMetadata {
    /// The number of sentences that the examples are made of.
    sentences: usize,
    counts: Counts,
    /// The labels of the training and validation splits.
    labels: LabelSet,
    /// The labels of the stored examples.
    seen: BTreeSet<String>,
    parts: TrainParts,
    sha256: String,
}

/// What is known of the examples that were stored.
#[derive(Default)]
struct Stored {
    sentences: usize,
    counts: Counts,
    seen: BTreeSet<String>,
    hash: ExampleHash,
}

/// Hands on the points that the reading of a task reaches, and is an error where the reading is to end.
type Stages<'a> = dyn FnMut(ReadStage) -> Result<(), DataError> + 'a;

impl TaskSource<'_> {
    /// Reads the validation and the test split, and opens the store of the training examples, which is written first if it is
    /// missing.
    pub(super) fn load_stream(&self, observer: &mut ReadObserver<'_>) -> Result<TaskData, DataError> {
        let key = self.store_key()?;
        let path = self.config.streams_folder().join(format!("{key}.examples"));
        if !path.exists() {
            let files = self.spec.train_files().map_err(|error| self.corpus_error(error))?.len();
            let (task, store) = (self.task, &*path);
            self.write(
                &path,
                &key,
                &mut |stage| match observer(&ReadProgress { task, files, store, stage }) {
                    ControlFlow::Continue(()) => Ok(()),
                    ControlFlow::Break(()) => Err(DataError::Stopped { task: task.to_owned() }),
                },
            )?;
        }
        let (store, metadata) = Store::open(&path)?;
        self.data(store, metadata)
    }

    /// Reads the files and writes the store.
    fn write(&self, path: &Path, key: &str, stages: &mut Stages<'_>) -> Result<(), DataError> {
        // Before the first reading, which can take long: the folder may not take a file.
        let folder = folder_of(path);
        fs::create_dir_all(folder).map_err(|error| FileError::new("create", folder, error))?;
        let mut writer = StoreWriter::create(path, BLOCK)?;
        let mut shards = self.count(stages)?;
        let labels = self.all_labels(self.spec.parts(&shards))?;
        let Stored { sentences, counts, seen, hash } =
            self.store(&mut shards, &labels, &mut writer, stages)?;
        let (parts, sha256) = (self.spec.parts(&shards), hash.finish());
        if self.store_key()? != key {
            return Err(DataError::ChangedWhileRead { task: self.task.to_owned() });
        }
        writer.commit(&StoreMetadata { sentences, counts, labels, seen, parts, sha256 })?;
        stages(ReadStage::Stored)
    }

    /// Reads the files for the first time.
    fn count(&self, stages: &mut Stages<'_>) -> Result<Shards, DataError> {
        let mut each = |records: usize| match records.is_multiple_of(OBSERVED) {
            true => {
                stages(ReadStage::Counting { records }).map_or_else(ControlFlow::Break, ControlFlow::Continue)
            }
            false => ControlFlow::Continue(()),
        };
        match self.spec.shards_while(&mut each).map_err(|error| self.corpus_error(error))? {
            ControlFlow::Continue(shards) => Ok(shards),
            ControlFlow::Break(stopped) => Err(stopped),
        }
    }

    /// Reads the files for the second time, and writes the examples of their sentences.
    fn store(
        &self,
        shards: &mut Shards,
        labels: &LabelSet,
        writer: &mut StoreWriter,
        stages: &mut Stages<'_>,
    ) -> Result<Stored, DataError> {
        let (mut stored, sentences) = (Stored::default(), shards.sentences);
        let mut encoder = self.encoder(labels)?;
        for (done, sentence) in shards.read().enumerate() {
            if done.is_multiple_of(OBSERVED) {
                stages(ReadStage::Storing { done, sentences })?;
            }
            let sentence = sentence.map_err(|error| self.corpus_error(error))?;
            let examples = encoder.sentence(done, &sentence, Purpose::Training);
            let examples = examples.map_err(|error| self.encode_error(error))?;
            stored.sentences += usize::from(!examples.is_empty());
            for example in examples {
                stored.add(&example);
                writer.add(example)?;
            }
        }
        stages(ReadStage::Storing { done: sentences, sentences })?;
        stored.counts = encoder.counts;
        Ok(stored)
    }

    /// The labels of the training and validation splits, which the model can learn to predict.
    fn all_labels(&self, parts: TrainParts) -> Result<LabelSet, DataError> {
        let mut all: BTreeSet<String> = parts.labels.keys().cloned().collect();
        let spec = CorpusSpec { test: None, ..self.spec.clone() };
        let Others { valid, .. } = spec.read_others(parts).map_err(|error| self.corpus_error(error))?;
        let tags = valid.iter().flatten().flat_map(|sentence| &sentence.tags);
        all.extend(tags.filter_map(|tag| Bio::parse(tag)?.label().map(str::to_owned)));
        let labels = LabelSet::new(all, &self.origin()).map_err(|error| self.label_error(error))?;
        self.check_labels(&labels)?;
        Ok(labels)
    }

    /// The task whose training examples are in `store`.
    fn data(&self, store: Store, metadata: StoreMetadata) -> Result<TaskData, DataError> {
        let StoreMetadata { sentences, counts, labels, seen, mut parts, sha256 } = metadata;
        // The same files can be named in several ways.
        parts.report.path.clone_from(&self.spec.train);
        let (words, word_fit) = (parts.words, parts.word_fit);
        let Others { valid, test, files } =
            self.spec.read_others(parts).map_err(|error| self.corpus_error(error))?;
        let mut encoder = self.encoder(&labels)?;
        encoder.counts = counts;
        let valid = self.examples(&mut encoder, &valid.unwrap_or_default(), Purpose::Evaluation)?;
        let test = self.examples(&mut encoder, &test.unwrap_or_default(), Purpose::Evaluation)?;
        let counts = encoder.counts;
        self.check_split("training", store.len(), sentences, counts)?;
        self.check_split("validation", valid.len(), sentences, counts)?;
        let stream = Box::new(Stream::new(store, BUFFER, self.config.seed));
        Ok(TaskData {
            name: self.task.to_owned(),
            unseen_labels: unseen(|label| seen.contains(label), &test),
            labels,
            train: TrainingSet::Streamed { stream, sentences, sha256 },
            valid,
            test,
            counts,
            words,
            word_fit,
            files,
        })
    }
}

impl Stored {
    /// Counts an example.
    fn add(&mut self, example: &Example) {
        for label in example.tags.iter().filter_map(|tag| Bio::parse(tag)?.label()) {
            if !self.seen.contains(label) {
                self.seen.insert(label.to_owned());
            }
        }
        self.hash.add(example);
    }
}
