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

/// The models that are served, and the files that they were loaded from.
#[derive(Debug)]
pub(crate) struct Models {
    models: BTreeMap<String, Arc<Model>>,
    files: Vec<File>,
    options: TaggerOptions,
    metrics: Metrics,
}

/// A model that is served. Its tagger is replaced when the file is loaded again.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) name: String,
    loaded: RwLock<Arc<Loaded>>,
    /// Why the last attempt to load the file again failed; `None` if it did not.
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
    /// The name that the user gave to the only model of the file; `None` if the file or its tasks give the names.
    name: Option<String>,
    /// In the order of its tasks when it was first loaded.
    models: Vec<Arc<Model>>,
    watched: Mutex<Watched>,
}

/// What is known of a model file and its data files, to find out when they are to be read again.
#[derive(Debug)]
struct Watched {
    /// Their state when they were last read.
    read: Stamps,
    /// Their state when they were last looked at.
    seen: Stamps,
    /// The next attempt with the same files, after an error that may pass.
    retry: Option<Retry>,
}

#[derive(Debug, Clone, Copy)]
struct Retry {
    at: Instant,
    /// The time between the last attempt and this one.
    pause: Duration,
}

/// The first pause before an attempt with the same files, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// An attempt to open a file.
#[derive(Debug)]
struct Attempt {
    /// The state of the files that were read: of the model file alone if its data files were not found out.
    read: Stamps,
    /// Whether it failed for a reason that may pass, so that it may succeed later with the same files.
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

    /// Whether the files, whose state is `now`, are to be read: they differ from those that were read, or the next attempt is
    /// due. Files that have changed since they were last looked at are not, because they may still be written to.
    fn has_changed(&mut self, now: Stamps) -> bool {
        let is_settled = now == self.seen;
        self.seen = now;
        let is_due = self.retry.is_some_and(|retry| retry.at <= Instant::now());
        is_settled && (self.seen != self.read || is_due)
    }

    /// The next attempt: each pause is twice the last one, up to the longest.
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

    /// Why the last attempt to load the file again failed, if it did; the tagger from before is served.
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
    /// Opens all models of `paths`, and removes the copies that killed servers left.
    ///
    /// # Errors
    /// If there is no path or a folder has no model, one cannot be opened, two have the same name, or a name is given to several.
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

    /// The model, if there is only one.
    pub(crate) fn only(&self) -> Option<&Arc<Model>> {
        self.models.values().next().filter(|_| self.models.len() == 1)
    }

    /// The names of all models, for messages.
    pub(crate) fn names(&self) -> String {
        self.models.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }

    /// Loads the files again that have changed or whose next attempt is due; with `all`, every file. If a file cannot be loaded,
    /// its models keep their taggers.
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
            // A server that ends removes the copies, also while they are read.
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

/// The new tagger of each model of `file`, in their order. Tasks that the file did not have before are left out.
///
/// # Errors
/// If the file no longer has one of the tasks.
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

/// Whether answers have scores: if the options ask for them, except in mode `draft`, which computes none.
pub(crate) fn has_scores(options: &TaggerOptions) -> bool {
    options.scores && options.mode != Mode::Draft
}

/// Opens the taggers of a file from a copy, after the digests in it are compared.
///
/// `attempt` gets the state of the files that were read, and whether an error may pass. The tagger of a file with one task is
/// named `name`, or after the file; those of a file with several tasks have the names of their tasks.
///
/// # Errors
/// If the file cannot be copied or opened, its digests differ, or `name` is given to several tasks.
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

/// The model files of `paths`: in place of a folder, its files with the extension `onnx`, in the order of their names.
///
/// # Errors
/// If there is no file, a folder has none or cannot be read, or one name is given to several files.
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
