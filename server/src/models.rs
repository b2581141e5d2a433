//! The models that are served, and how they are loaded again.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use hyperloader_core::causes::with_causes;
use hyperloader_runtime::{Mode, ModelFile, ProofReport, Tagger, TaggerOptions};

use crate::config::ModelPath;
use crate::copy::{self, Copy, Stamps};
use crate::error::ServeError;
use crate::metrics::{Metrics, ReloadResult};

/// All models by name.
#[derive(Debug)]
pub(crate) struct Models {
    models: BTreeMap<String, Arc<Model>>,
    files: Vec<File>,
    options: TaggerOptions,
    metrics: Metrics,
}

/// A model and its tagger as it is now.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) name: String,
    loaded: RwLock<Arc<Loaded>>,
    /// Why the file could not be loaded again.
    error: Mutex<Option<String>>,
}

/// An open tagger. Requests keep the one that they began with.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Name of the model.
    pub(crate) name: String,
    pub(crate) tagger: Tagger,
}

/// A file with one model, or with one for each of its tasks.
#[derive(Debug)]
struct File {
    path: PathBuf,
    /// The name that was given to the model.
    name: Option<String>,
    models: Vec<Arc<Model>>,
    watched: Mutex<Watched>,
}

/// The state of a model file and its data files.
#[derive(Debug)]
struct Watched {
    /// When they were last read.
    read: Stamps,
    /// When they were last looked at.
    seen: Stamps,
    /// When they are read again although they are the same, because the reason may pass.
    retry: Option<Retry>,
}

#[derive(Debug, Clone, Copy)]
struct Retry {
    at: Instant,
    pause: Duration,
}

/// The first pause before files are read again that are the same, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// An attempt to open a file.
#[derive(Debug)]
struct Attempt {
    /// The files that the model consists of, as they were read.
    read: Stamps,
    /// Whether it may succeed later with the same files.
    may_pass: bool,
}

impl Attempt {
    fn new(path: &Path) -> Self {
        Self { read: Stamps::of_model(path), may_pass: false }
    }
}

impl Watched {
    fn new(read: Stamps, retry: Option<Retry>) -> Self {
        Self { seen: read.clone(), read, retry }
    }

    /// Whether the files, which are `now` so, differ from those that were read, and were not changed since they were last
    /// looked at: a file that is being written is left alone.
    fn has_changed(&mut self, now: Stamps) -> bool {
        let is_settled = now == self.seen;
        self.seen = now;
        let is_due = self.retry.is_some_and(|retry| retry.at <= Instant::now());
        is_settled && (self.seen != self.read || is_due)
    }

    /// The next retry: each pause is twice the last one.
    fn next_retry(&self) -> Retry {
        let [first, longest] = PAUSES;
        let pause = self.retry.map_or(first, |retry| longest.min(retry.pause * 2));
        Retry { at: Instant::now() + pause, pause }
    }
}

impl Model {
    /// The tagger as it is now.
    pub(crate) fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why the file as it is now could not be loaded; an earlier one is served.
    pub(crate) fn reload_error(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, loaded: Loaded) {
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
        self.set_error(None);
    }

    fn set_error(&self, error: Option<String>) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }
}

impl File {
    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_changed(&self) -> bool {
        let mut watched = self.watched();
        let now = watched.read.now();
        watched.has_changed(now)
    }
}

impl Models {
    /// Opens all models of `paths`.
    ///
    /// # Errors
    /// If there is none, two have the same name, or one cannot be opened.
    pub(crate) fn open(
        paths: &[ModelPath],
        options: &TaggerOptions,
        metrics: &Metrics,
    ) -> Result<Self, ServeError> {
        copy::remove_abandoned();
        let options = TaggerOptions { scores: has_scores(options), ..options.clone() };
        let mut models: BTreeMap<String, Arc<Model>> = BTreeMap::new();
        let mut opened: Vec<File> = Vec::new();
        for ModelPath { name, path } in files(paths)? {
            let mut attempt = Attempt::new(&path);
            let loaded = open(name.as_deref(), &path, &options, &mut attempt)?;
            let watched = Mutex::new(Watched::new(attempt.read, None));
            let mut file = File { path, name, models: vec![], watched };
            for loaded in loaded {
                let name = loaded.name.clone();
                if models.contains_key(&name) {
                    let has_name = |file: &&File| file.models.iter().any(|model| model.name == name);
                    let first = opened.iter().find(has_name).unwrap_or(&file).path.clone();
                    return Err(ServeError::SameName { name, first, second: file.path });
                }
                metrics.loaded(&name);
                let (loaded, error) = (RwLock::new(Arc::new(loaded)), Mutex::new(None));
                let model = Arc::new(Model { name: name.clone(), loaded, error });
                file.models.push(Arc::clone(&model));
                models.insert(name, model);
            }
            opened.push(file);
        }
        Ok(Self { models, files: opened, options, metrics: metrics.clone() })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Model>> {
        self.models.get(name)
    }

    /// All models in the order of their names.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.models.values()
    }

    /// The only model.
    pub(crate) fn only(&self) -> Option<&Arc<Model>> {
        self.models.values().next().filter(|_| self.models.len() == 1)
    }

    /// The names of all models, for messages.
    pub(crate) fn names(&self) -> String {
        self.models.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }

    /// Loads the files that have changed; with `all`, every file. If one cannot be loaded, its models stay as they were.
    pub(crate) fn reload(&self, all: bool) {
        for file in self.files.iter().filter(|file| all || file.has_changed()) {
            self.reload_one(file);
        }
    }

    fn reload_one(&self, file: &File) {
        let mut attempt = Attempt::new(&file.path);
        let opened = open(file.name.as_deref(), &file.path, &self.options, &mut attempt);
        let opened = opened.and_then(|loaded| of_models(file, loaded));
        let mut watched = file.watched();
        // The same files are not read again, unless the reason may pass.
        let retry = (opened.is_err() && attempt.may_pass).then(|| watched.next_retry());
        *watched = Watched::new(attempt.read, retry);
        drop(watched);
        match opened {
            // The copy may be gone already.
            Err(_) if copy::is_ending() => {}
            Ok(loaded) => {
                for (model, loaded) in file.models.iter().zip(loaded) {
                    model.replace(loaded);
                    self.metrics.reload(&model.name, ReloadResult::success);
                    self.metrics.loaded(&model.name);
                    tracing::info!(model = model.name, "the model was loaded again");
                }
            }
            Err(error) => {
                let message = with_causes(&error);
                for model in &file.models {
                    model.set_error(Some(message.clone()));
                    self.metrics.reload(&model.name, ReloadResult::error);
                    tracing::error!(
                        model = model.name,
                        error = message,
                        "the model was not loaded again: the earlier one is served"
                    );
                }
            }
        }
    }
}

/// The tagger of each model of `file`, in their order.
fn of_models(file: &File, mut loaded: Vec<Loaded>) -> Result<Vec<Loaded>, ServeError> {
    let mut take = |model: &Arc<Model>| {
        let at = loaded.iter().position(|loaded| loaded.name == model.name);
        let missing = || ServeError::NoTask { path: file.path.clone(), task: model.name.clone() };
        at.map(|at| loaded.swap_remove(at)).ok_or_else(missing)
    };
    let taken = file.models.iter().map(&mut take).collect::<Result<Vec<_>, _>>()?;
    for further in &loaded {
        tracing::warn!(task = further.name, "the file has a further task, which is served after a restart");
    }
    Ok(taken)
}

/// Whether answers can have scores: mode `draft` has none.
pub(crate) fn has_scores(options: &TaggerOptions) -> bool {
    options.scores && options.mode != Mode::Draft
}

/// Opens the taggers of a file from a copy, after its digests are compared.
///
/// `attempt` becomes the files that were read. A tagger has the name of its file, or `name`; those of a file with several tasks have the names of their tasks.
fn open(
    name: Option<&str>,
    path: &Path,
    options: &TaggerOptions,
    attempt: &mut Attempt,
) -> Result<Vec<Loaded>, ServeError> {
    let Attempt { read, may_pass } = attempt;
    let copy = Copy::new(path, read).map_err(|error| {
        *may_pass = copy::may_pass(&error);
        ServeError::Model { message: with_causes(&error), is_internal: false }
    })?;
    let mut failed = |error: &(dyn Error + 'static), is_internal| {
        *may_pass = copy::may_pass(error);
        ServeError::Model { message: copy.name_originals(&with_causes(error), path), is_internal }
    };
    let files = ModelFile::open_all(copy.path()).map_err(|error| failed(&error, false))?;
    if let Some(name) = name.filter(|_| files.len() > 1) {
        let (name, models) = (name.to_owned(), files.len());
        return Err(ServeError::OneName { name, path: path.to_owned(), models });
    }
    let report = ProofReport::of_digests(copy.path()).map_err(|error| failed(&error, false))?;
    if let Some(check) = report.iter().flat_map(|report| &report.checks).find(|check| !check.holds) {
        return Err(ServeError::Damaged { path: path.to_owned(), check: check.clone() });
    }
    let has_one = files.len() == 1;
    let mut tagger = |file: ModelFile| {
        let task = file.metadata().task.clone();
        let of_file = || name.map_or_else(|| stem(path), str::to_owned);
        let name = if has_one { of_file() } else { task };
        let tagger = Tagger::new(file, options).map_err(|error| failed(&error, error.is_internal()))?;
        Ok(Loaded { name, tagger })
    };
    files.into_iter().map(&mut tagger).collect()
}

/// The model files of `paths`, folders replaced by the files in them.
fn files(paths: &[ModelPath]) -> Result<Vec<ModelPath>, ServeError> {
    let mut files = Vec::new();
    for ModelPath { name, path } in paths {
        if !path.is_dir() {
            files.push(ModelPath { name: name.clone(), path: path.clone() });
            continue;
        }
        let failed = |source| ServeError::Folder { path: path.clone(), source };
        let entries = std::fs::read_dir(path).map_err(failed)?;
        let entries = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
        let is_model = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "onnx");
        let mut found: Vec<PathBuf> = entries.map_err(failed)?.into_iter().filter(is_model).collect();
        found.sort();
        match (name, found.len()) {
            (_, 0) => return Err(ServeError::EmptyFolder { path: path.clone() }),
            (Some(name), models @ 2..) => {
                return Err(ServeError::OneName { name: name.clone(), path: path.clone(), models });
            }
            _ => files.extend(found.into_iter().map(|path| ModelPath { name: name.clone(), path })),
        }
    }
    match files.is_empty() {
        true => Err(ServeError::NoModel),
        false => Ok(files),
    }
}

/// The name of a file without its folder and extension.
fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_read_again_when_two_looks_find_the_same_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        let write = |bytes: usize| {
            fs::write(&path, vec![0; bytes]).unwrap();
            Stamps::of_model(&path)
        };
        let first = write(1);
        let mut watched = Watched::new(first.clone(), None);
        assert!(!watched.has_changed(first));
        // While it is written, each look finds another length.
        for bytes in 2..5 {
            assert!(!watched.has_changed(write(bytes)), "{bytes} bytes");
        }
        assert!(watched.has_changed(Stamps::of_model(&path)));
    }

    #[test]
    fn a_file_that_could_not_be_opened_for_a_passing_reason_is_read_again_when_its_pause_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let stamps = Stamps::of_model(&folder.path().join("model.onnx"));
        let at = |at| Some(Retry { at, pause: PAUSES[0] });
        let mut due = Watched::new(stamps.clone(), at(Instant::now()));
        assert!(due.has_changed(stamps.clone()));
        let mut early = Watched::new(stamps.clone(), at(Instant::now() + PAUSES[1]));
        assert!(!early.has_changed(stamps));
    }
}
