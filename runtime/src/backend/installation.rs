//! What of the backends is installed on this machine.

use std::path::PathBuf;

use super::error::BackendError;
use super::options::BackendKind;

/// A backend on this machine.
#[derive(Debug)]
pub struct Installed {
    /// ONNX Runtime or tract.
    pub kind: BackendKind,
    /// Name, version and device, or why it cannot be used.
    pub description: Result<String, BackendError>,
    /// What differs from what was asked for.
    pub notices: Vec<String>,
    /// Libraries that were found, in the order in which they are tried; none for a backend that is compiled in.
    pub libraries: Vec<PathBuf>,
    /// The library that was loaded.
    pub loaded: Option<PathBuf>,
    /// Devices that the backend can run on: `cpu`, `cuda`.
    pub devices: Vec<&'static str>,
}

impl Installed {
    /// The backend `kind`, after an attempt to load it.
    pub(super) fn new(
        kind: BackendKind,
        description: Result<String, BackendError>,
        notices: Vec<String>,
    ) -> Self {
        let (libraries, loaded, cuda) =
            if kind == BackendKind::Ort { of_ort() } else { (vec![], None, false) };
        let devices = match (&description, cuda) {
            (Err(_), _) => vec![],
            (Ok(_), false) => vec!["cpu"],
            (Ok(_), true) => vec!["cpu", "cuda"],
        };
        Self { kind, description, notices, libraries, loaded, devices }
    }
}

/// The libraries of ONNX Runtime that were found, the one that is loaded, and whether it can use a GPU.
#[cfg(feature = "ort")]
fn of_ort() -> (Vec<PathBuf>, Option<PathBuf>, bool) {
    use super::ort;
    (ort::found_libraries(), ort::loaded_library(), ort::supports_cuda())
}

#[cfg(not(feature = "ort"))]
fn of_ort() -> (Vec<PathBuf>, Option<PathBuf>, bool) {
    (vec![], None, false)
}
