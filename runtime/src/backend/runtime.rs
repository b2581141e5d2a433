//! The trait of a loaded runtime.

use std::fmt;
use std::path::Path;

use hyperloader_core::device::Device;
use hyperloader_onnx::WeightFile;
use hyperloader_onnx::proto::ModelProto;

use super::error::BackendError;
use super::graph::Graph;
use super::options::BackendKind;
use super::value::Value;

/// The inputs of a run by name.
pub(super) type Inputs<'a> = Vec<(&'a str, &'a Value)>;

/// A loaded runtime, which opens graphs.
pub(super) trait Runtime: Send + Sync + fmt::Debug {
    /// The kind, never [`BackendKind::Auto`].
    fn kind(&self) -> BackendKind;

    /// The device, never [`Device::Auto`].
    fn device(&self) -> Device;

    /// Name, version and device, for people.
    fn description(&self) -> String;

    /// Opens a model in memory whose weights may lie in the file `weights`. The text says why the cache is not used, if one
    /// was asked for.
    fn open(
        &self,
        model: &ModelProto,
        weights: Option<&WeightFile>,
    ) -> Result<(Box<dyn Graph>, Option<String>), BackendError>;

    /// Opens a whole model file.
    fn open_file(&self, path: &Path) -> Result<Box<dyn Graph>, BackendError>;

    /// The outputs of a whole model file for each of `passes`, in little memory.
    fn run_file(&self, path: &Path, passes: &[Inputs<'_>]) -> Result<Vec<Vec<Value>>, BackendError>;
}
