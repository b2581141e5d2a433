//! A task whose training examples are on disk: its files are read once, their examples are stored as ids, and the training
//! reads the store.
//!
//! The name of a store follows from all that its examples depend on: names, sizes and times of the files, the tokenizer, the
//! limits, the settings of the corpus. If one of them changes, another store is written, and its hash tells whether the
//! examples have changed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use hyperloader_core::corpus::{CorpusError, CorpusSpec, Others, Sentence, TrainParts};
use hyperloader_core::files::{FileError, hexadecimal};
use hyperloader_core::text::labels::LabelSet;
use hyperloader_core::text::spans::Bio;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::coding::Coding;
use super::encoder::{Counts, Encoder, Purpose};
use super::error::DataError;
use super::identity::ExampleHash;
use super::order::{BLOCK, BUFFER};
use super::store::{Store, StoreWriter};
use super::stream::Stream;
use super::task::{TaskData, check_split, labels_of, unseen};
use super::training_set::TrainingSet;
use crate::config::Config;

/// The folder of stores in the folder of runs.
const FOLDER: &str = ".streams";
/// Part of the name of each store: changes when equal files give other examples.
const VERSION: u32 = 1;
/// The number of sentences between two reports.
const REPORT: usize = 10_000;

/// The progress of reading the files of a streamed task.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The task's name.
    pub task: &'a str,
    /// The number of files.
    pub files: usize,
    /// The number of sentences; `None` in the first reading, which counts them.
    pub sentences: Option<usize>,
    /// The number of sentences that are stored.
    pub done: usize,
}

/// The task to read, and what its examples depend on.
pub struct StreamedTask<'a> {
    /// The task's name.
    pub task: &'a str,
    /// The corpus.
    pub spec: &'a CorpusSpec,
    /// The codec of the tokenizer.
    pub codec: &'a dyn Coding,
    /// The SHA-256 of the tokenizer's file.
    pub tokenizer_sha256: &'a str,
    /// The configuration of the training.
    pub config: &'a Config,
}

/// The description of a store.
#[derive(Serialize, Deserialize)]
struct About {
    examples: usize,
    sentences: usize,
    counts: Counts,
    /// The labels of the training and validation splits.
    labels: LabelSet,
    /// The labels of the stored examples.
    seen: BTreeSet<String>,
    parts: TrainParts,
    sha256: String,
}

impl StreamedTask<'_> {
    /// Reads the validation and the test split, and opens the store of the training examples, which is written first if it is
    /// missing.
    ///
    /// # Errors
    /// If a file is unreadable or changes while it is read, a line or a label is invalid, no training or validation sentence
    /// is left, or the store cannot be read or written.
    pub fn load(&self, report: &mut dyn FnMut(Reading<'_>)) -> Result<TaskData, DataError> {
        let path = self.config.runs.join(FOLDER).join(format!("{}.examples", self.key()?));
        if !path.exists() {
            self.write(&path, report)?;
        }
        let (store, about) = Store::open::<About>(&path)?;
        self.data(store, about)
    }

    fn corpus_error(&self) -> impl Fn(CorpusError) -> DataError {
        |source| DataError::Corpus { task: self.task.to_owned(), source }
    }

    /// The name of the store.
    fn key(&self) -> Result<String, DataError> {
        let mut files = self.spec.train_files().map_err(self.corpus_error())?;
        // The labels of the validation split count.
        files.extend(self.spec.valid.clone());
        let states = files.iter().map(|file| state(file)).collect::<Result<Vec<_>, _>>();
        let states = states.map_err(|error| self.corpus_error()(error.into()))?;
        let mut spec = self.spec.clone();
        spec.paths_mut().for_each(|path| *path = PathBuf::new());
        let t = &self.config.training;
        let all = json!({
            "version": VERSION, "files": states, "spec": spec, "tokenizer": self.tokenizer_sha256,
            "prefix": self.prefix()?, "too_long": t.too_long, "limits": [t.max_source_len, t.max_target_len],
        });
        Ok(hexadecimal(&Sha256::digest(all.to_string()))[..32].to_owned())
    }

    /// The ids before each source.
    fn prefix(&self) -> Result<Vec<u32>, DataError> {
        let prefix = self.codec.prefix(self.config.method.source_prefix(self.task));
        prefix.map_err(|source| DataError::Encode { task: self.task.to_owned(), source })
    }

    /// Reads the files and writes the store.
    fn write(&self, path: &Path, report: &mut dyn FnMut(Reading<'_>)) -> Result<(), DataError> {
        let key = self.key()?;
        let encode_error = |source| DataError::Encode { task: self.task.to_owned(), source };
        let files = self.spec.train_files().map_err(self.corpus_error())?.len();
        report(Reading { task: self.task, files, sentences: None, done: 0 });
        let mut shards = self.spec.shards().map_err(self.corpus_error())?;
        let sentences = shards.sentences;
        let labels = self.labels(self.spec.parts(&shards))?;
        self.codec
            .check_labels(&labels)
            .map_err(|source| DataError::Labels { task: self.task.to_owned(), source })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|error| FileError::new("create", folder, error))?;
        let mut writer = StoreWriter::create(path, BLOCK)?;
        let mut encoder = Encoder::new(self.codec, &labels, self.prefix()?, &self.config.training);
        let (mut examples, mut kept, mut hash, mut seen) = (0, 0, ExampleHash::default(), BTreeSet::new());
        for (done, sentence) in shards.read().enumerate() {
            if done % REPORT == 0 {
                report(Reading { task: self.task, files, sentences: Some(sentences), done });
            }
            let sentence = sentence.map_err(self.corpus_error())?;
            let mut is_used = false;
            for example in encoder.sentence(done, &sentence, Purpose::Training).map_err(encode_error)? {
                for label in example.tags.iter().filter_map(|tag| Bio::parse(tag)?.label()) {
                    if !seen.contains(label) {
                        seen.insert(label.to_owned());
                    }
                }
                hash.add(&example);
                writer.add(example)?;
                (examples, is_used) = (examples + 1, true);
            }
            kept += usize::from(is_used);
        }
        report(Reading { task: self.task, files, sentences: Some(sentences), done: sentences });
        let counts = encoder.counts;
        let parts = self.spec.parts(&shards);
        let about = About { examples, sentences: kept, counts, labels, seen, parts, sha256: hash.finish() };
        if self.key()? != key {
            return Err(DataError::ChangedWhileRead { task: self.task.to_owned() });
        }
        Ok(writer.commit(&about)?)
    }

    /// The labels of the training and validation splits.
    fn labels(&self, parts: TrainParts) -> Result<LabelSet, DataError> {
        let mut all: BTreeSet<String> = parts.labels.keys().cloned().collect();
        let spec = CorpusSpec { test: None, ..self.spec.clone() };
        let Others { valid, .. } = spec.read_others(parts).map_err(self.corpus_error())?;
        let tags = valid.iter().flatten().flat_map(|sentence| &sentence.tags);
        all.extend(tags.filter_map(|tag| Bio::parse(tag)?.label().map(str::to_owned)));
        labels_of(self.task, LabelSet::new(all, &self.spec.train.display().to_string()))
    }

    /// The task whose training examples are in `store`.
    fn data(&self, store: Store, about: About) -> Result<TaskData, DataError> {
        let About { examples, sentences, counts, labels, seen, parts, sha256 } = about;
        let (words, word_fit) = (parts.words, parts.word_fit);
        let Others { valid, test, files } = self.spec.read_others(parts).map_err(self.corpus_error())?;
        let mut encoder = Encoder::new(self.codec, &labels, self.prefix()?, &self.config.training);
        encoder.counts = counts;
        let mut encode = |sentences: Option<Vec<Sentence>>| {
            let sentences = sentences.unwrap_or_default();
            let examples = encoder.examples(&sentences, Purpose::Evaluation);
            examples.map_err(|source| DataError::Encode { task: self.task.to_owned(), source })
        };
        let (valid, test) = (encode(valid)?, encode(test)?);
        let counts = encoder.counts;
        for (split, usable) in [("training", examples), ("validation", valid.len())] {
            check_split(self.task, split, usable, sentences, counts, self.config.training.fraction)?;
        }
        let stream = Box::new(Stream::new(store, examples, BUFFER, self.config.seed));
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

/// Name, size and time of the last change of a file.
fn state(file: &Path) -> Result<(String, u64, u64), FileError> {
    let failed = |error| FileError::new("read", file, error);
    let about = fs::metadata(file).map_err(failed)?;
    let changed = about.modified().map_err(failed)?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((name, about.len(), changed.as_nanos() as u64))
}
