//! Backbone tensors in memory, for graphs that are built without a folder.

use hyperloader_core::weights::tensors::{HostTensor, Tensors};
use hyperloader_exporter::ModelError;
use hyperloader_exporter::t5::FoldedTensors;

#[derive(Debug)]
pub(crate) struct InMemory(pub(crate) Tensors);

impl FoldedTensors for InMemory {
    fn folded_tensor(&self, name: &str) -> Result<HostTensor, ModelError> {
        Ok(self.0[name].clone())
    }

    fn tensor(&self, name: &str) -> Result<HostTensor, ModelError> {
        self.folded_tensor(name)
    }
}
