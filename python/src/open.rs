//! Opening of a tagger, and the library of ONNX Runtime that it takes.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use hyperloader_core::causes::with_causes;
use hyperloader_runtime::{BackendError, BackendKind, Device, ModelFile, OpenError, Tagger, TaggerOptions};

/// Whether a tagger has loaded ONNX Runtime: a process has one library.
static IS_LOADED: AtomicBool = AtomicBool::new(false);

/// A file, and the task that is opened if it has several.
#[derive(Debug, Clone, Copy)]
pub(crate) struct File<'a> {
    pub(crate) path: &'a Path,
    pub(crate) task: Option<&'a str>,
}

/// A tagger, and why it runs with another library, or in another backend, than it would by default.
pub(crate) struct Opened {
    pub(crate) tagger: Tagger,
    pub(crate) notice: Option<String>,
}

/// Opens a tagger with the library that the user names, else with that which is loaded, that of the package `onnxruntime`
/// (`packaged`), or the system's. If none can be loaded, it runs in tract, unless ONNX Runtime is asked for.
///
/// # Errors
/// If the file cannot be opened, or no backend can be used.
pub(crate) fn open(
    file: File<'_>,
    options: &TaggerOptions,
    packaged: Option<PathBuf>,
) -> Result<Opened, OpenError> {
    let is_tract = options.backend.kind == BackendKind::Tract;
    if is_tract || is_named(options) || IS_LOADED.load(Ordering::Relaxed) {
        return loaded(file, options).map(|tagger| Opened { tagger, notice: None });
    }
    let is_packaged = packaged.is_some();
    let mut tried = Vec::new();
    for library in packaged.into_iter().chain(of_system()) {
        let mut options = options.clone();
        options.backend.ort_lib = Some(library);
        match loaded(file, &options) {
            Err(OpenError::Backend(BackendError::Library { path, source, .. })) => {
                tried.push(format!("`{}` ({source})", path.display()));
            }
            opened => {
                let is_other = is_packaged && !tried.is_empty();
                let notice = || format!("another ONNX Runtime is used, because of {}", tried.join("; "));
                return opened.map(|tagger| Opened { tagger, notice: is_other.then(notice) });
            }
        }
    }
    let error = BackendError::NoLibrary { tried };
    if options.backend.kind == BackendKind::Ort || matches!(options.backend.device, Device::Cuda(_)) {
        return Err(error.into());
    }
    let mut options = options.clone();
    options.backend.kind = BackendKind::Tract;
    let tagger = loaded(file, &options)?;
    Ok(Opened { tagger, notice: Some(with_causes(&error)) })
}

fn loaded(file: File<'_>, options: &TaggerOptions) -> Result<Tagger, OpenError> {
    let opened = match file.task {
        Some(task) => ModelFile::open_task(file.path, task)?,
        None => ModelFile::open(file.path)?,
    };
    let tagger = Tagger::new(opened, options)?;
    if tagger.backend().kind() == BackendKind::Ort {
        IS_LOADED.store(true, Ordering::Relaxed);
    }
    Ok(tagger)
}

fn is_named(options: &TaggerOptions) -> bool {
    options.backend.ort_lib.is_some() || env::var_os("ORT_DYLIB_PATH").is_some_and(|path| !path.is_empty())
}

/// Names for the system's loader. A file of this name in the current folder would be taken in its place: the runtime makes
/// its path absolute.
fn of_system() -> impl Iterator<Item = PathBuf> {
    let plain = format!("{}onnxruntime{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX);
    // On Linux, a package without development files has only the name with the version.
    let names = if cfg!(target_os = "linux") { vec![format!("{plain}.1"), plain] } else { vec![plain] };
    names.into_iter().map(PathBuf::from).filter(|name| !name.is_file())
}
