//! ONNX Runtime, loaded as a library when the program runs.
//!
//! - [`library`]: where the library is looked for
//! - [`cache`]: optimized graphs on disk
//! - [`align`]: alignment of the weights in a cache entry

mod align;
mod cache;
mod library;

use std::borrow::Cow;
use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hyperloader_core::device::Device;
use hyperloader_onnx::proto::ModelProto;
use hyperloader_onnx::{ReadError, WeightFile};
use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session, SessionInputValue};
use ort::value::TensorRef;
use prost::Message;

use self::cache::{CacheError, Entry};
use super::error::BackendError;
use super::graph::Graph;
use super::options::{BackendKind, BackendOptions};
use super::runtime::{Inputs, Runtime};
use super::value::{Elements, Storage, Value};

pub(super) use self::library::version_of;

const KIND: BackendKind = BackendKind::Ort;
/// The version of ONNX Runtime whose API is used: the oldest that works.
pub(super) const BUILT_FOR: (u32, u32) = (1, ort::MINOR_VERSION);
/// The version that `cargo xtask setup` fetches, with which the tests run.
pub(super) const TESTED_WITH: (u32, u32) = (1, 31);
/// Key of a setting: threads stop spinning when a run ends. Encoder and decoder are two sessions with threads of their own;
/// the spinning threads of one would keep the cores from the threads of the other.
const STOP_SPINNING: &str = "session.force_spinning_stop";
/// Key of the folder of the weights' file, for a model in memory.
const EXTERNAL_FOLDER: &str = "session.model_external_initializers_file_folder_path";
/// Key of a setting: weights are not laid out for products, which takes time and a second copy of them.
const NO_PREPACKING: &str = "session.disable_prepacking";
/// How often a cache entry is written anew: another process may remove it before it is opened.
const ATTEMPTS: usize = 2;

/// ONNX Runtime allows one library and one environment per process.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// The loaded library and the settings of its sessions.
pub(super) struct Ort {
    environment: Environment,
    /// Version in the library's file name, if there is one.
    version: Option<String>,
    /// Never [`Device::Auto`].
    device: Device,
    threads: Option<usize>,
    /// The folder of the cache.
    cache: Option<PathBuf>,
}

impl std::fmt::Debug for Ort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ort")
            .field("device", &self.device)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl Ort {
    /// Loads the library and chooses the device. Also says why `auto` does not use a GPU that the library supports.
    pub(super) fn load(options: &BackendOptions) -> Result<(Self, Option<String>), BackendError> {
        let (path, environment) = environment(options)?;
        let version = version_of(&path);
        let BackendOptions { device, threads, ref cache, .. } = *options;
        let mut ort = Self { environment, version, device, threads, cache: cache.clone() };
        if options.device != Device::Auto {
            ort.session_builder()?;
            return Ok((ort, None));
        }
        ort.device = Device::Cpu;
        if !ep::CUDA::is_available().unwrap_or(false) {
            return Ok((ort, None));
        }
        ort.device = Device::Cuda(0);
        let notice = ort.session_builder().err().map(|why| why.in_full());
        if notice.is_some() {
            ort.device = Device::Cpu;
        }
        Ok((ort, notice))
    }

    /// Opens the cache entry of `graph`, whose weights lie in a file in `folder`. Writes the entry first if it is absent or
    /// cannot be used. The inner error says why the entry cannot be made usable.
    fn open_cached(
        &self,
        entry: &Entry,
        graph: &[u8],
        folder: &str,
    ) -> Result<Result<Box<dyn Graph>, String>, BackendError> {
        let write = |path: &Path| {
            let mut builder = self.referring(folder)?.with_optimized_model_path(path).map_err(open_error)?;
            for (key, value) in cache::WRITING {
                builder = builder.with_config_entry(key, value).map_err(open_error)?;
            }
            builder.commit_from_memory(graph).map_err(open_error).map(drop)
        };
        let mut opened = self.open_entry(entry);
        for _ in 0..ATTEMPTS {
            if opened.is_ok() {
                break;
            }
            entry.remove()?;
            match entry.write(write) {
                Ok(()) => opened = self.open_entry(entry),
                Err(CacheError::Align(error)) => return Ok(Err(error.to_string())),
                Err(CacheError::Write(error)) => return Err(error),
            }
        }
        Ok(opened)
    }

    /// Opens a cache entry, whose graph is optimized already.
    fn open_entry(&self, entry: &Entry) -> Result<Box<dyn Graph>, String> {
        entry.check().map_err(|error| error.to_string())?;
        let open = || {
            let builder = self.session_builder()?.with_optimization_level(GraphOptimizationLevel::Disable);
            OrtGraph::boxed(builder.map_err(open_error)?.commit_from_file(entry.graph()))
        };
        open().map_err(|error: BackendError| error.in_full())
    }

    /// A session builder for a graph whose weights lie in a file in `folder`.
    fn referring(&self, folder: &str) -> Result<SessionBuilder, BackendError> {
        self.session_builder()?.with_config_entry(EXTERNAL_FOLDER, folder).map_err(open_error)
    }

    fn session_builder(&self) -> Result<SessionBuilder, BackendError> {
        let mut builder = Session::builder(&self.environment)
            .and_then(|builder| Ok(builder.with_config_entry(STOP_SPINNING, "1")?))
            .map_err(open_error)?;
        if int8_products_saturate() {
            builder = builder.with_precise_qmm().map_err(open_error)?;
        }
        if let Some(threads) = self.threads {
            builder = builder.with_intra_threads(threads).map_err(open_error)?;
        }
        if let Device::Cuda(index) = self.device {
            // TF32 rounds products, and ids would depend on the machine.
            let cuda = ep::CUDA::default().with_device_id(index as i32).with_tf32(false);
            builder =
                builder.with_execution_providers([cuda.build().error_on_failure()]).map_err(|error| {
                    BackendError::Device { kind: KIND, device: self.device, source: error.to_string().into() }
                })?;
        }
        Ok(builder)
    }
}

impl Runtime for Ort {
    fn kind(&self) -> BackendKind {
        KIND
    }

    fn device(&self) -> Device {
        self.device
    }

    fn description(&self) -> String {
        let version = self.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        format!("ONNX Runtime{version} on {}", self.device)
    }

    fn open(
        &self,
        model: &ModelProto,
        weights: Option<&WeightFile>,
    ) -> Result<(Box<dyn Graph>, Option<String>), BackendError> {
        let Some((weights, (graph, folder))) = weights.and_then(|file| Some((file, file.refer(model)?)))
        else {
            let session = self.session_builder()?.commit_from_memory(&model.encode_to_vec());
            let cached = self.cache.is_some() && self.device == Device::Cpu;
            let notice = cached.then(|| "a model that is not mapped from a file is not cached".to_owned());
            return Ok((OrtGraph::boxed(session)?, notice));
        };
        let graph = graph.encode_to_vec();
        let notice = match &self.cache {
            Some(cache) if self.device == Device::Cpu => {
                match self.open_cached(&Entry::new(cache, &graph, weights)?, &graph, &folder)? {
                    Ok(graph) => return Ok((graph, None)),
                    Err(reason) => Some(format!("the cache of the model is not used: {reason}")),
                }
            }
            _ => None,
        };
        Ok((OrtGraph::boxed(self.referring(&folder)?.commit_from_memory(&graph))?, notice))
    }

    fn open_file(&self, path: &Path) -> Result<Box<dyn Graph>, BackendError> {
        OrtGraph::boxed(self.session_builder()?.commit_from_file(path))
    }

    fn run_file(&self, path: &Path, passes: &[Inputs<'_>]) -> Result<Vec<Vec<Value>>, BackendError> {
        let read = |error: ReadError| BackendError::Open { kind: KIND, source: error.into() };
        let file = WeightFile::open(path).map_err(read)?;
        let mut graph = match file.refer(&file.model().map_err(read)?) {
            Some((graph, folder)) => {
                let builder = self.referring(&folder)?.with_config_entry(NO_PREPACKING, "1");
                OrtGraph::boxed(builder.map_err(open_error)?.commit_from_memory(&graph.encode_to_vec()))?
            }
            None => self.open_file(path)?,
        };
        passes.iter().map(|inputs| graph.run(inputs)).collect()
    }
}

/// Whether ONNX Runtime's products of unsigned and signed 8-bit integers saturate: on x86-64 without VNNI.
fn int8_products_saturate() -> bool {
    #[cfg(target_arch = "x86_64")]
    let saturate = !is_x86_feature_detected!("avx512vnni") && !is_x86_feature_detected!("avxvnni");
    #[cfg(not(target_arch = "x86_64"))]
    let saturate = false;
    saturate
}

fn open_error<R>(error: ort::Error<R>) -> BackendError {
    BackendError::Open { kind: KIND, source: error.to_string().into() }
}

fn run_error<R>(error: ort::Error<R>) -> BackendError {
    BackendError::Run { kind: KIND, source: error.to_string().into() }
}

/// The library and environment of the process. Loads what `options` ask for if there is none yet.
fn environment(options: &BackendOptions) -> Result<(PathBuf, Environment), BackendError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let asked = requested(options);
    if let Some((path, environment)) = &*loaded {
        return match asked {
            Some((other, asked_by)) if other != *path => Err(BackendError::Library {
                path: other,
                asked_by,
                source: format!("the process has already loaded `{}`", path.display()).into(),
            }),
            _ => Ok((path.clone(), environment.clone())),
        };
    }
    let (path, environment) = match asked {
        Some((path, asked_by)) => match load_library(&path) {
            Ok(environment) => (path, environment),
            Err(reason) => return Err(BackendError::Library { path, asked_by, source: reason.into() }),
        },
        None => first_that_loads(&library::candidates())?,
    };
    *loaded = Some((path.clone(), environment.clone()));
    Ok((path, environment))
}

/// The library that is loaded.
pub(super) fn loaded_library() -> Option<PathBuf> {
    let loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    loaded.as_ref().map(|(path, _)| path.clone())
}

/// The version of the loaded library: that of its name, else the branch that it was built from (`rel-1.31.1`).
pub(super) fn loaded_version() -> Option<String> {
    let path = loaded_library()?;
    let branch = || {
        let (_, rest) = ort::info().split_once("git-branch=rel-")?;
        rest.split([',', ' ']).next().map(str::to_owned)
    };
    version_of(&path).or_else(branch)
}

/// The libraries that [`library::candidates`] finds; names that only the system's loader can resolve are left out.
pub(super) fn found_libraries() -> Vec<PathBuf> {
    library::candidates().into_iter().filter(|path| path.is_file()).collect()
}

/// Whether the loaded library was built for CUDA; false if none is loaded.
pub(super) fn supports_cuda() -> bool {
    loaded_library().is_some() && ep::CUDA::is_available().unwrap_or(false)
}

/// The library that the user names, and the option or variable that names it.
fn requested(options: &BackendOptions) -> Option<(PathBuf, &'static str)> {
    let variable = || env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty());
    let (path, asked_by) = match &options.ort_lib {
        Some(path) => (path.clone(), "`--ort-lib`"),
        None => (PathBuf::from(variable()?), "ORT_DYLIB_PATH"),
    };
    // The loader looks for a bare name only in the system's folders.
    let path = match path.is_file() {
        true => std::path::absolute(&path).unwrap_or(path),
        false => path,
    };
    Some((path, asked_by))
}

fn first_that_loads(candidates: &[PathBuf]) -> Result<(PathBuf, Environment), BackendError> {
    let mut tried = Vec::new();
    for path in candidates {
        match load_library(path) {
            Ok(environment) => return Ok((path.clone(), environment)),
            Err(reason) => tried.push(format!("`{}` ({reason})", path.display())),
        }
    }
    Err(BackendError::NoLibrary { tried })
}

fn load_library(path: &Path) -> Result<Environment, String> {
    ort::init_from(path)
        .map_err(|error| match &error {
            // The loader's message is in the source.
            ort::LoadDynamicError::Dlopen { error, .. } => {
                error.source().map_or_else(|| error.to_string(), ToString::to_string)
            }
            ort::LoadDynamicError::BadVersion { version_str, .. } => {
                let (major, minor) = BUILT_FOR;
                format!("its version is {version_str}, the program is built for {major}.{minor} and newer")
            }
            ort::LoadDynamicError::MissingApi { .. } => "it is not a library of ONNX Runtime".to_owned(),
            _ => error.to_string(),
        })?
        .with_telemetry(false)
        // ONNX Runtime would write to stderr; failures are returned as errors, too.
        .with_logger(Arc::new(|_, _, _, _, _| {}))
        .build()
        .map_err(|error| error.to_string())
}

#[derive(Debug)]
struct OrtGraph {
    session: Session,
}

impl OrtGraph {
    fn boxed(session: ort::Result<Session>) -> Result<Box<dyn Graph>, BackendError> {
        Ok(Box::new(Self { session: session.map_err(open_error)? }))
    }
}

impl Graph for OrtGraph {
    fn run(&mut self, inputs: &[(&str, &Value)]) -> Result<Vec<Value>, BackendError> {
        let inputs = inputs
            .iter()
            .map(|(name, value)| Ok((Cow::from(*name), input(value)?)))
            .collect::<Result<Vec<_>, BackendError>>()?;
        let outputs = self.session.run(inputs).map_err(run_error)?;
        Ok(outputs.into_iter().map(|(_, value)| Value(Storage::Ort(value))).collect())
    }
}

fn input(value: &Value) -> Result<SessionInputValue<'_>, BackendError> {
    if let Storage::Ort(value) = &value.0 {
        return Ok(value.into());
    }
    let shape = value.shape();
    match value.elements()? {
        Elements::F32(elements) => TensorRef::from_array_view((shape, elements)).map(SessionInputValue::from),
        Elements::I64(elements) => TensorRef::from_array_view((shape, elements)).map(SessionInputValue::from),
    }
    .map_err(run_error)
}
