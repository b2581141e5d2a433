//! One interface to the runtimes that can run a graph: ONNX Runtime and tract.
//!
//! - [`options`]: which backend, on which device
//! - [`error`]: what can go wrong
//! - `panics`: panics of a runtime become errors
//! - [`installation`]: what is installed on this machine
//! - [`graph`]: the trait of an open graph
//! - [`runtime`]: the trait of a loaded runtime
//! - [`value`]: tensors that go into a graph and come out of it
//! - `ort`: ONNX Runtime, loaded when the program runs (feature `ort`)
//! - `tract`: tract, compiled in (feature `tract`)

mod error;
mod graph;
mod installation;
mod options;
#[cfg(feature = "ort")]
mod ort;
#[cfg(feature = "tract")]
mod panics;
mod runtime;
#[cfg(feature = "tract")]
mod tract;
mod value;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use hyperloader_core::device::Device;
use hyperloader_onnx::WeightFile;
use hyperloader_onnx::proto::ModelProto;

pub use self::error::BackendError;
pub use self::graph::Graph;
pub use self::installation::{Installed, Versions};
pub use self::options::{BackendKind, BackendOptions};
use self::runtime::Runtime;
pub use self::value::Value;

/// A loaded runtime, which opens graphs.
#[derive(Debug)]
pub struct Backend {
    runtime: Box<dyn Runtime>,
    /// See [`Backend::notices`]; without duplicates.
    notices: Mutex<Vec<String>>,
}

impl Backend {
    /// Loads the runtime that `options` name.
    ///
    /// ONNX Runtime's library is, in this order: `options.ort_lib`, the file that `ORT_DYLIB_PATH` names, one beside
    /// the program, one in `.native/onnxruntime/lib` of a folder around the program, one that the system's loader finds.
    /// The current folder is not searched. The first two are errors if they cannot be loaded. A process can load one only.
    ///
    /// # Errors
    /// [`BackendError`] if it is not built in, its library cannot be loaded, or the device cannot be used.
    pub fn load(options: &BackendOptions) -> Result<Self, BackendError> {
        match options.kind {
            BackendKind::Ort => Self::load_ort(options),
            BackendKind::Tract => Self::load_tract(options),
            // Only ONNX Runtime can use the library or the GPU that the user names.
            BackendKind::Auto if options.ort_lib.is_some() => Self::load_ort(options),
            BackendKind::Auto if matches!(options.device, Device::Cuda(_)) => Self::load_ort(options),
            BackendKind::Auto => Self::load_ort(options).or_else(|why| {
                let tract = Self::load_tract(options)?;
                tract.notice(why.in_full());
                Ok(tract)
            }),
        }
    }

    /// The result of [`Backend::load`] for each kind of backend; `options.kind` is ignored.
    pub fn available(options: &BackendOptions) -> Vec<(BackendKind, Result<Self, BackendError>)> {
        [BackendKind::Ort, BackendKind::Tract]
            .map(|kind| (kind, Self::load(&BackendOptions { kind, ..options.clone() })))
            .into()
    }

    /// What is installed of each kind of backend; `options.kind` is ignored.
    pub fn installed(options: &BackendOptions) -> Vec<Installed> {
        let report = |(kind, backend): (BackendKind, Result<Self, BackendError>)| {
            let notices = backend.as_ref().map(Self::notices).unwrap_or_default();
            Installed::new(kind, backend.map(|backend| backend.description()), notices)
        };
        Self::available(options).into_iter().map(report).collect()
    }

    #[cfg(feature = "ort")]
    fn load_ort(options: &BackendOptions) -> Result<Self, BackendError> {
        let (ort, notice) = ort::Ort::load(options)?;
        let gpu = options.cache.is_some() && ort.device() != Device::Cpu;
        let uncached = gpu.then(|| format!("models are not cached on {}", ort.device()));
        Ok(Self::new(ort, notice.into_iter().chain(uncached)))
    }

    #[cfg(not(feature = "ort"))]
    fn load_ort(_: &BackendOptions) -> Result<Self, BackendError> {
        Err(BackendError::NotBuilt { kind: BackendKind::Ort })
    }

    #[cfg(feature = "tract")]
    fn load_tract(options: &BackendOptions) -> Result<Self, BackendError> {
        let uncached = options.cache.iter().map(|_| "tract does not cache models".to_owned());
        Ok(Self::new(tract::Tract::load(options)?, uncached))
    }

    #[cfg(not(feature = "tract"))]
    fn load_tract(_: &BackendOptions) -> Result<Self, BackendError> {
        Err(BackendError::NotBuilt { kind: BackendKind::Tract })
    }

    #[cfg(any(feature = "ort", feature = "tract"))]
    fn new(runtime: impl Runtime + 'static, notices: impl Iterator<Item = String>) -> Self {
        Self { runtime: Box::new(runtime), notices: Mutex::new(notices.collect()) }
    }

    /// The kind that was loaded, never [`BackendKind::Auto`].
    pub fn kind(&self) -> BackendKind {
        self.runtime.kind()
    }

    /// Whether graphs run on a GPU.
    pub fn uses_gpu(&self) -> bool {
        matches!(self.runtime.device(), Device::Cuda(_))
    }

    /// Name, version and device, for people: `ONNX Runtime 1.31.1 on cpu`.
    pub fn description(&self) -> String {
        self.runtime.description()
    }

    /// What differs from what was asked for so far: why `auto` did not take ONNX Runtime or a GPU, and why no cache is used.
    pub fn notices(&self) -> Vec<String> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn notice(&self, notice: String) {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        if !notices.contains(&notice) {
            notices.push(notice);
        }
    }

    /// Opens a model in memory. If its weights lie in the file `weights`, ONNX Runtime maps them from there, which saves two
    /// copies.
    ///
    /// # Errors
    /// [`BackendError::Open`] with the runtime's reason.
    pub fn open(
        &self,
        model: &ModelProto,
        weights: Option<&WeightFile>,
    ) -> Result<Box<dyn Graph>, BackendError> {
        let (graph, notice) = self.runtime.open(model, weights)?;
        notice.into_iter().for_each(|notice| self.notice(notice));
        Ok(graph)
    }

    /// Opens a whole model file. ONNX Runtime reads it by itself.
    ///
    /// # Errors
    /// [`BackendError::Open`] with the runtime's reason.
    pub fn open_file(&self, path: &Path) -> Result<Box<dyn Graph>, BackendError> {
        self.runtime.open_file(path)
    }

    /// The outputs of a whole model file for each of `passes`, which are its inputs by name, in little memory: ONNX Runtime uses
    /// the weights where they are mapped, and tract runs the file in pieces, of which it holds one at a time.
    ///
    /// # Errors
    /// [`BackendError::Open`] and [`BackendError::Run`] with the runtime's reason.
    pub fn run_file(
        &self,
        path: &Path,
        passes: &[Vec<(&str, &Value)>],
    ) -> Result<Vec<Vec<Value>>, BackendError> {
        self.runtime.run_file(path, passes)
    }
}

#[cfg(all(test, feature = "tract"))]
mod tests {
    use super::*;

    #[test]
    fn tract_refuses_a_gpu() {
        let options =
            BackendOptions { kind: BackendKind::Tract, device: Device::Cuda(1), ..Default::default() };
        let message = Backend::load(&options).unwrap_err().to_string();
        assert!(message.contains("`cuda:1`") && message.contains("tract"), "{message}");
    }
}
