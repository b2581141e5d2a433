//! What a lower precision costs: F1 and changed tags on labelled sentences, next to the float32 file.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hyperloader_core::corpus::{CorpusError, CorpusSpec, Sentence, Split};
use hyperloader_core::files::read_text;
pub use hyperloader_core::format::proof::Cost;
use hyperloader_core::run::{CONFIG, Run, Task};
use hyperloader_runtime::{BackendOptions, Evaluation, EvaluationError, OpenError, Tagger, TaggerOptions};

/// Largest number of sentences that are tagged.
const MOST: usize = 500;

/// How the cost of a task's precision is measured, and how much is accepted.
#[derive(Debug)]
pub struct CostCheck {
    /// Labelled sentences, usually the task's validation sentences.
    sentences: Vec<Sentence>,
    /// The largest accepted difference of F1, from 0 to 1.
    pub(crate) max_f1_drop: f64,
    /// The backend that tags them.
    backend: BackendOptions,
    /// The tags of the float32 file, which is written once for all precisions.
    float32: OnceLock<Evaluated>,
}

/// A precision that costs more than was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct TooCostly {
    /// The precision, by name.
    pub precision: &'static str,
    /// What it costs.
    pub cost: Cost,
    /// The largest accepted difference of F1.
    pub max_f1_drop: f64,
    /// F1 with the matrices of each pattern in float32, best first.
    pub kept: Vec<(&'static str, f64)>,
}

/// The cost of a precision could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum CostError {
    /// A file could not be opened as a tagger.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The sentences could not be tagged.
    #[error(transparent)]
    Evaluate(#[from] EvaluationError),
}

/// The validation sentences of a run's task cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SentencesError {
    /// The run has no configuration, or an unusable one.
    #[error("`{}` does not say where the validation sentences of task `{task}` are", path.display())]
    Configuration {
        /// Path of the configuration.
        path: PathBuf,
        /// Name of the task.
        task: String,
        /// The reason.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A corpus is unusable.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// There is nothing to measure on.
    #[error("`{}` has no sentence", .0.display())]
    Empty(PathBuf),
}

/// The tags of a file and their score.
#[derive(Debug)]
pub(crate) struct Evaluated {
    tags: Vec<Vec<String>>,
    f1: f64,
}

impl CostCheck {
    /// Measures on `sentences`, and accepts F1 that is lower by at most `max_f1_drop`, from 0 to 1.
    pub fn new(sentences: Vec<Sentence>, max_f1_drop: f64, backend: BackendOptions) -> Self {
        Self { sentences, max_f1_drop, backend, float32: OnceLock::new() }
    }

    /// Number of sentences.
    pub(crate) fn len(&self) -> usize {
        self.sentences.len()
    }

    /// The tags of the float32 file, from `evaluate` at the first call.
    pub(crate) fn float32<E>(
        &self,
        evaluate: impl FnOnce() -> Result<Evaluated, E>,
    ) -> Result<&Evaluated, E> {
        match self.float32.get() {
            Some(known) => Ok(known),
            None => {
                let evaluated = evaluate()?;
                Ok(self.float32.get_or_init(|| evaluated))
            }
        }
    }

    /// Tags the sentences with the tagger at `file`.
    pub(crate) fn evaluate(&self, file: &Path) -> Result<Evaluated, CostError> {
        let options = TaggerOptions { backend: self.backend.clone(), ..TaggerOptions::default() };
        let evaluation = Evaluation::new(&Tagger::open(file, &options)?, &self.sentences)?;
        Ok(Evaluated { f1: evaluation.scores.micro.f1, tags: evaluation.predicted })
    }
}

impl Evaluated {
    /// F1, from 0 to 1.
    pub(crate) fn f1(&self) -> f64 {
        self.f1
    }

    /// The cost of a file with these tags, next to the float32 file.
    pub(crate) fn cost(&self, float32: &Self) -> Cost {
        let changed = self.tags.iter().zip(&float32.tags).filter(|(one, other)| one != other).count();
        Cost { sentences: self.tags.len(), changed, f1_f32: float32.f1, f1: self.f1 }
    }
}

impl fmt::Display for TooCostly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { precision, cost, max_f1_drop, kept } = self;
        write!(f, "{precision} costs more than {max_f1_drop} F1: {cost}")?;
        for (pattern, f1) in kept {
            write!(f, "\nF1 {f1:.4} with `--keep-f32 {pattern}`")?;
        }
        Ok(())
    }
}

/// Labelled sentences to measure a precision on: those of `file` if given, otherwise the validation sentences that the
/// run's configuration names. At most 500, evenly spread.
///
/// # Errors
/// Returns an error if the run has no readable configuration for the task, or the corpus is unusable.
pub fn cost_sentences(run: &Run, task: &Task, file: Option<&Path>) -> Result<Vec<Sentence>, SentencesError> {
    let mut spec = match (corpus_of(run, task), file) {
        (Ok(spec), _) => spec,
        // A run that came without its configuration.
        (Err(_), Some(file)) => CorpusSpec::of_file(file),
        (Err(error), None) => return Err(error),
    };
    // As in training: the training sentences, from which the rule was derived, are not read.
    spec.words = Some(task.words);
    if let Some(file) = file {
        spec.valid = Some(file.to_owned());
    }
    let (sentences, path) = match &spec.valid {
        Some(valid) => (spec.read_file(valid)?.0, valid),
        None => (spec.load_split(Split::Valid)?, &spec.train),
    };
    if sentences.is_empty() {
        return Err(SentencesError::Empty(path.clone()));
    }
    let step = sentences.len().div_ceil(MOST);
    Ok(sentences.into_iter().step_by(step).collect())
}

/// The task's corpus in the run's configuration.
fn corpus_of(run: &Run, task: &Task) -> Result<CorpusSpec, SentencesError> {
    let path = run.folder.join(CONFIG);
    let fault = |source: Box<dyn Error + Send + Sync>| SentencesError::Configuration {
        path: path.clone(),
        task: task.name.clone(),
        source,
    };
    let text = read_text(&path).map_err(|error| fault(error.into()))?;
    let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| fault(error.into()))?;
    let corpus = table.get_mut("task").and_then(|tasks| tasks.get_mut(&task.name));
    let corpus = corpus.ok_or_else(|| fault("it has no such task".into()))?.clone();
    let spec: CorpusSpec = corpus.try_into().map_err(|error: toml::de::Error| fault(error.into()))?;
    Ok(spec.resolved(&run.folder))
}
