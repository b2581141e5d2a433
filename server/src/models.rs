//! The models that are served, and how they are loaded again.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use hyperloader_core::causes::with_causes;
use hyperloader_runtime::{Mode, ModelFile, ProofReport, Tagger, TaggerOptions};

use crate::config::ModelPath;
use crate::copy::{Copy, Stamps};
use crate::error::ServeError;
use crate::metrics::{Metrics, ReloadResult};

/// All models by name.
#[derive(Debug)]
pub(crate) struct Models {
    models: BTreeMap<String, Arc<Model>>,
    options: TaggerOptions,
    metrics: Metrics,
}

/// A model and the tagger of its file as it is now.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) name: String,
    path: PathBuf,
    loaded: RwLock<Arc<Loaded>>,
    watched: Mutex<Watched>,
}

/// An open tagger. Requests keep the one that they began with.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Name of the model.
    pub(crate) name: String,
    pub(crate) tagger: Tagger,
}

/// What is known of a model's files.
#[derive(Debug)]
struct Watched {
    /// Their state when they were last read.
    read: Stamps,
    /// Their state when they were last looked at.
    seen: Stamps,
    /// Why the last reload failed.
    error: Option<String>,
}

impl Model {
    /// The tagger as it is now.
    pub(crate) fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why the file as it is now could not be loaded; an earlier one is served.
    pub(crate) fn reload_error(&self) -> Option<String> {
        self.watched().error.clone()
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the files differ from those that were read, and were not changed since they were last looked at: a file that is
    /// being written is left alone.
    fn has_changed(&self) -> bool {
        let mut watched = self.watched();
        let now = watched.read.now();
        let is_settled = now == watched.seen;
        watched.seen = now;
        is_settled && watched.seen != watched.read
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
        let options = TaggerOptions { scores: has_scores(options), ..options.clone() };
        let mut models: BTreeMap<String, Arc<Model>> = BTreeMap::new();
        for (name, path) in files(paths)? {
            if let Some(other) = models.get(&name) {
                return Err(ServeError::SameName { name, first: other.path.clone(), second: path });
            }
            let (loaded, stamps) = open(&name, &path, &options)?;
            metrics.loaded(&name);
            let watched = Watched { read: stamps.clone(), seen: stamps, error: None };
            let loaded = RwLock::new(Arc::new(loaded));
            let model = Model { name: name.clone(), path, loaded, watched: Mutex::new(watched) };
            models.insert(name, Arc::new(model));
        }
        Ok(Self { models, options, metrics: metrics.clone() })
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

    /// Loads the models whose files have changed; with `all`, every model. A model that cannot be loaded stays as it was.
    pub(crate) fn reload(&self, all: bool) {
        for model in self.models.values().filter(|model| all || model.has_changed()) {
            self.reload_one(model);
        }
    }

    fn reload_one(&self, model: &Model) {
        let name = model.name.as_str();
        let before = model.watched().read.now();
        match open(name, &model.path, &self.options) {
            Ok((loaded, stamps)) => {
                *model.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
                *model.watched() = Watched { read: stamps.clone(), seen: stamps, error: None };
                self.metrics.reload(name, ReloadResult::success);
                self.metrics.loaded(name);
                tracing::info!(model = name, "the model was loaded again");
            }
            Err(error) => {
                let message = with_causes(&error);
                // The same files are not read again, unless they changed meanwhile.
                let error = Some(message.clone());
                *model.watched() = Watched { read: before.clone(), seen: before, error };
                self.metrics.reload(name, ReloadResult::error);
                tracing::error!(
                    model = name,
                    error = message,
                    "the model was not loaded again: the earlier one is served"
                );
            }
        }
    }
}

/// Whether answers can have scores: mode `draft` has none.
pub(crate) fn has_scores(options: &TaggerOptions) -> bool {
    options.scores && options.mode != Mode::Draft
}

/// Opens a tagger from a copy of its file, after its digests are compared.
fn open(name: &str, path: &Path, options: &TaggerOptions) -> Result<(Loaded, Stamps), ServeError> {
    let copy = Copy::new(path)
        .map_err(|error| ServeError::Model { message: with_causes(&error), is_internal: false })?;
    let failed = |error: &(dyn Error + 'static), is_internal| ServeError::Model {
        message: copy.name_originals(&with_causes(error), path),
        is_internal,
    };
    let file = ModelFile::open(copy.path()).map_err(|error| failed(&error, false))?;
    let report = ProofReport::of_digests(&file).map_err(|error| failed(&error, false))?;
    if let Some(check) = report.iter().flat_map(|report| &report.checks).find(|check| !check.holds) {
        return Err(ServeError::Damaged { path: path.to_owned(), check: check.clone() });
    }
    let tagger = Tagger::new(file, options).map_err(|error| failed(&error, error.is_internal()))?;
    Ok((Loaded { name: name.to_owned(), tagger }, copy.stamps))
}

/// The name and path of each model file of `paths`.
fn files(paths: &[ModelPath]) -> Result<Vec<(String, PathBuf)>, ServeError> {
    let mut files = Vec::new();
    for ModelPath { name, path } in paths {
        if !path.is_dir() {
            files.push((name.clone().unwrap_or_else(|| stem(path)), path.clone()));
            continue;
        }
        let failed = |source| ServeError::Folder { path: path.clone(), source };
        let entries = std::fs::read_dir(path).map_err(failed)?;
        let entries = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
        let is_model = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "onnx");
        let mut found: Vec<PathBuf> = entries.map_err(failed)?.into_iter().filter(is_model).collect();
        found.sort();
        if found.is_empty() {
            return Err(ServeError::EmptyFolder { path: path.clone() });
        }
        if name.is_some() && found.len() > 1 {
            return Err(ServeError::NamedFolder { path: path.clone(), models: found.len() });
        }
        files.extend(found.into_iter().map(|path| (name.clone().unwrap_or_else(|| stem(&path)), path)));
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
