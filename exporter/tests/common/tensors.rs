//! Backbone tensors in memory, for graphs that are built without a folder.

use hyperloader_core::weights::in_place::TensorRef;
use hyperloader_core::weights::tensors::Tensors;
use hyperloader_exporter::ModelError;
use hyperloader_exporter::t5::FoldedTensors;

#[derive(Debug)]
pub(crate) struct InMemory(pub(crate) Tensors);

impl FoldedTensors for InMemory {
    fn folded_tensor(&self, name: &str) -> Result<TensorRef<'_>, ModelError> {
        Ok(self.0[name].view().into())
    }

    fn tensor(&self, name: &str) -> Result<TensorRef<'_>, ModelError> {
        self.folded_tensor(name)
    }

    fn is_updated(&self, _: &str) -> bool {
        false
    }

    fn release(&self, _: &str) {}
}
