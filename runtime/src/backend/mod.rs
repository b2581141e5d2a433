//! One interface to the runtimes that can run a graph: ONNX Runtime and tract.
//!
//! ```no_run
//! use hyperloader_runtime::backend::{Backend, BackendOptions, Value};
//!
//! for (kind, backend) in Backend::available(&BackendOptions::default()) {
//!     let backend = match backend {
//!         Ok(backend) => backend,
//!         Err(why) => { eprintln!("{kind} is left out: {why}"); continue }
//!     };
//!     let mut graph = backend.open_file("mtop.onnx".as_ref())?;
//!     let outputs = graph.run(&[
//!         ("input_ids", &Value::from_i64s(&[1, 2], vec![32_099, 1])?),
//!         ("attention_mask", &Value::from_i64s(&[1, 2], vec![1, 1])?),
//!         ("decoder_input_ids", &Value::from_i64s(&[1, 1], vec![0])?),
//!     ])?;
//!     println!("{:?} {:?}", outputs[0].shape(), outputs[0].f32s()?);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(not(any(feature = "ort", feature = "tract")))]
compile_error!(
    "there is nothing to run graphs with: build with `--features ort`, `--features tract` or both"
);

#[cfg(feature = "ort")]
mod ort;
#[cfg(feature = "tract")]
mod tract;
mod value;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use hyperloader_onnx::WeightFile;
use hyperloader_onnx::proto::ModelProto;

pub use value::Value;

/// A backend cannot be had, or failed.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The program was built without it.
    #[error("this program was built without the backend `{kind}`\nhint: build it with `--features {kind}`")]
    NotBuilt {
        /// The backend.
        kind: BackendKind,
    },
    /// ONNX Runtime's library was found nowhere.
    #[error(
        "ONNX Runtime cannot be loaded, tried: {}\n\
         hint: `cargo xtask setup` fetches it; `--ort-lib FILE` or ORT_DYLIB_PATH names another one",
        .tried.join("; ")
    )]
    NoLibrary {
        /// Where it was looked for, each with the reason.
        tried: Vec<String>,
    },
    /// The library that was asked for cannot be loaded.
    #[error("ONNX Runtime cannot be loaded from `{}`, which {asked_by} names: {reason}", path.display())]
    Library {
        /// The library.
        path: PathBuf,
        /// The option or variable.
        asked_by: &'static str,
        /// The loader's reason.
        reason: String,
    },
    /// The device cannot be used.
    #[error("device `{device}` cannot be used by {kind}: {reason}\nhint: `--device cpu` runs everywhere")]
    Device {
        /// The backend.
        kind: BackendKind,
        /// The device.
        device: Device,
        /// The reason.
        reason: String,
    },
    /// What ONNX Runtime makes of the graph cannot be kept on disk.
    #[error("the cache of the model cannot be written in `{}`: {reason}\nhint: another folder, or no cache at all", folder.display())]
    Cache {
        /// The folder.
        folder: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The backend does not take the graph.
    #[error("{kind} does not take the graph: {reason}")]
    Open {
        /// The backend.
        kind: BackendKind,
        /// Its reason.
        reason: String,
    },
    /// Running the graph failed.
    #[error("{kind} failed to run the graph: {reason}")]
    Run {
        /// The backend.
        kind: BackendKind,
        /// Its reason.
        reason: String,
    },
    /// A thread that ran graphs panicked.
    #[error("a worker's thread ended too early")]
    WorkerDied,
    /// A value's elements do not fill its shape.
    #[error("a tensor of shape {shape:?} cannot hold {found} elements")]
    Shape {
        /// The shape.
        shape: Vec<usize>,
        /// Elements given.
        found: usize,
    },
    /// A value holds elements of another type.
    #[error("a tensor of {expected} was expected, found {found}")]
    ElementType {
        /// The type asked for.
        expected: &'static str,
        /// The type found.
        found: String,
    },
}

/// Which runtime runs the graphs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum BackendKind {
    /// ONNX Runtime if its library can be loaded, else tract
    #[default]
    Auto,
    /// ONNX Runtime, a library loaded when the program runs
    Ort,
    /// tract, compiled in
    Tract,
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Ort => "ort",
            Self::Tract => "tract",
        })
    }
}

/// What the graphs run on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// The first GPU if the backend can use it, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of this index; an error if it cannot be used.
    Cuda(u32),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || "expected `auto`, `cpu`, `cuda` or `cuda:N`".to_owned();
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::Auto),
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", index)) => index.parse().map(Self::Cuda).map_err(|_| unknown()),
            _ => Err(unknown()),
        }
    }
}

/// How graphs are run.
#[derive(Debug, Clone, Default)]
pub struct BackendOptions {
    /// The runtime.
    pub kind: BackendKind,
    /// What it runs on.
    pub device: Device,
    /// Threads for one operation; the runtime's default where absent: all cores.
    pub threads: Option<usize>,
    /// ONNX Runtime's library; looked for where absent, see [`Backend::load`].
    pub ort_lib: Option<PathBuf>,
    /// Where ONNX Runtime, on the CPU, keeps what it makes of a model file, in a folder `NAME.onnx.cache`: a model that is
    /// opened again starts faster, and all sessions and processes share its weights. It takes twice the model's size.
    pub cache: Option<PathBuf>,
}

/// A graph, ready to run.
pub trait Graph: Send + fmt::Debug {
    /// Runs the graph on `inputs`, all of its inputs by name in any order; gives all outputs in the graph's order.
    ///
    /// # Errors
    /// [`BackendError::Run`] with the runtime's reason.
    fn run(&mut self, inputs: &[(&str, &Value)]) -> Result<Vec<Value>, BackendError>;
}

#[derive(Debug)]
enum Runtime {
    #[cfg(feature = "ort")]
    Ort(ort::Ort),
    #[cfg(feature = "tract")]
    Tract(tract::Tract),
}

/// A runtime, loaded: opens graphs.
#[derive(Debug)]
pub struct Backend {
    runtime: Runtime,
    /// See [`Backend::notices`]; without duplicates.
    notices: Mutex<Vec<String>>,
}

impl Backend {
    /// Loads the runtime that `options` name.
    ///
    /// ONNX Runtime's library is, in this order: `options.ort_lib`, the file that `ORT_DYLIB_PATH` names, one beside
    /// the program, one in `.native/onnxruntime/lib` of a folder that holds the program or the current folder, one
    /// that the system's loader finds. The first two are errors if they cannot be loaded. A process can load one only.
    ///
    /// # Errors
    /// [`BackendError`] if it is not built in, its library cannot be loaded, or the device cannot be used.
    pub fn load(options: &BackendOptions) -> Result<Self, BackendError> {
        match options.kind {
            BackendKind::Ort => Self::load_ort(options),
            BackendKind::Tract => Self::load_tract(options),
            // Whoever names a library or a GPU wants ONNX Runtime or an error.
            BackendKind::Auto if options.ort_lib.is_some() => Self::load_ort(options),
            BackendKind::Auto if matches!(options.device, Device::Cuda(_)) => Self::load_ort(options),
            BackendKind::Auto => Self::load_ort(options).or_else(|why| {
                let tract = Self::load_tract(options)?;
                tract.notice(why.to_string());
                Ok(tract)
            }),
        }
    }

    /// Every kind of backend with what [`Backend::load`] gives for it, `options.kind` aside.
    pub fn available(options: &BackendOptions) -> Vec<(BackendKind, Result<Self, BackendError>)> {
        [BackendKind::Ort, BackendKind::Tract]
            .map(|kind| (kind, Self::load(&BackendOptions { kind, ..options.clone() })))
            .into()
    }

    #[cfg(feature = "ort")]
    fn load_ort(options: &BackendOptions) -> Result<Self, BackendError> {
        let (ort, notice) = ort::Ort::load(options)?;
        let gpu = options.cache.is_some() && ort.device() != Device::Cpu;
        let uncached = gpu.then(|| format!("no cache of models is kept on {}", ort.device()));
        let notices = notice.into_iter().chain(uncached).collect();
        Ok(Self { runtime: Runtime::Ort(ort), notices: Mutex::new(notices) })
    }

    #[cfg(not(feature = "ort"))]
    fn load_ort(_: &BackendOptions) -> Result<Self, BackendError> {
        Err(BackendError::NotBuilt { kind: BackendKind::Ort })
    }

    #[cfg(feature = "tract")]
    fn load_tract(options: &BackendOptions) -> Result<Self, BackendError> {
        let notices = options.cache.iter().map(|_| "tract keeps no cache of models".to_owned()).collect();
        Ok(Self { runtime: Runtime::Tract(tract::Tract::load(options)?), notices: Mutex::new(notices) })
    }

    #[cfg(not(feature = "tract"))]
    fn load_tract(_: &BackendOptions) -> Result<Self, BackendError> {
        Err(BackendError::NotBuilt { kind: BackendKind::Tract })
    }

    /// Which one it is, never [`BackendKind::Auto`].
    pub fn kind(&self) -> BackendKind {
        match &self.runtime {
            #[cfg(feature = "ort")]
            Runtime::Ort(_) => BackendKind::Ort,
            #[cfg(feature = "tract")]
            Runtime::Tract(_) => BackendKind::Tract,
        }
    }

    /// Whether it runs on a GPU.
    pub fn uses_gpu(&self) -> bool {
        match &self.runtime {
            #[cfg(feature = "ort")]
            Runtime::Ort(ort) => matches!(ort.device(), Device::Cuda(_)),
            #[cfg(feature = "tract")]
            Runtime::Tract(_) => false,
        }
    }

    /// Name, version and device: `ONNX Runtime 1.31.1 on cpu`.
    pub fn description(&self) -> String {
        match &self.runtime {
            #[cfg(feature = "ort")]
            Runtime::Ort(ort) => ort.description(),
            #[cfg(feature = "tract")]
            Runtime::Tract(_) => tract::DESCRIPTION.to_owned(),
        }
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

    /// Opens a model in memory. If its weights lie in the file `weights`, ONNX Runtime takes them from there by itself,
    /// which saves two copies of them.
    ///
    /// # Errors
    /// [`BackendError::Open`] with the runtime's reason.
    pub fn open(
        &self,
        model: &ModelProto,
        weights: Option<&WeightFile>,
    ) -> Result<Box<dyn Graph>, BackendError> {
        #[cfg(not(feature = "ort"))]
        let _ = weights;
        match &self.runtime {
            #[cfg(feature = "ort")]
            Runtime::Ort(ort) => {
                let (graph, notice) = ort.open(model, weights)?;
                notice.into_iter().for_each(|notice| self.notice(notice));
                Ok(graph)
            }
            #[cfg(feature = "tract")]
            Runtime::Tract(tract) => tract.open(model),
        }
    }

    /// Opens a model file as it is.
    ///
    /// # Errors
    /// [`BackendError::Open`] with the runtime's reason.
    pub fn open_file(&self, path: &Path) -> Result<Box<dyn Graph>, BackendError> {
        match &self.runtime {
            #[cfg(feature = "ort")]
            Runtime::Ort(ort) => ort.open_file(path),
            #[cfg(feature = "tract")]
            Runtime::Tract(tract) => tract.open_file(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for device in [Device::Auto, Device::Cpu, Device::Cuda(0), Device::Cuda(3)] {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
        for text in ["", "gpu", "cpu:0", "cuda:", "cuda:-1", "cuda:0:1"] {
            assert!(text.parse::<Device>().is_err(), "{text}");
        }
    }

    #[test]
    #[cfg(feature = "tract")]
    fn tract_refuses_a_gpu() {
        let options =
            BackendOptions { kind: BackendKind::Tract, device: Device::Cuda(1), ..Default::default() };
        let message = Backend::load(&options).unwrap_err().to_string();
        assert!(message.contains("`cuda:1`") && message.contains("tract"), "{message}");
    }
}
