//! A finished model whose large weights are still to be supplied.

use std::collections::BTreeMap;

use crate::element::ElementType;
use crate::proto::{ModelProto, StringStringEntryProto};

/// The declaration of a large initializer: name, type, shape and source. Its elements are supplied when the model is
/// written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weight<S = ()> {
    /// The initializer's name.
    pub name: String,
    /// Type of the elements in the file.
    pub element_type: ElementType,
    /// Shape of the tensor; empty for a scalar.
    pub dims: Vec<usize>,
    /// Where the elements come from: a type of the program that builds the graph.
    pub source: S,
}

impl<S> Weight<S> {
    /// Number of elements.
    pub fn element_count(&self) -> usize {
        self.dims.iter().product()
    }

    /// Size of all elements in bytes.
    pub fn byte_count(&self) -> usize {
        self.element_count() * self.element_type.size()
    }

    /// Element type and shape: `f32 [3, 2]`.
    pub(crate) fn describe(&self) -> String {
        format!("{} {:?}", self.element_type, self.dims)
    }
}

/// A finished model: the graph with its small constants, and the weights whose elements are still to be supplied.
#[derive(Debug, Clone)]
pub struct BuiltModel<S = ()> {
    /// The model without the elements of `weights`.
    pub model: ModelProto,
    /// The initializers that [`crate::write_model`] adds, in file order.
    pub weights: Vec<Weight<S>>,
}

impl<S> BuiltModel<S> {
    /// Sets the name and version of the program that writes the file.
    #[must_use]
    pub fn with_producer(mut self, name: &str, version: &str) -> Self {
        self.model.producer_name = name.into();
        self.model.producer_version = version.into();
        self
    }

    /// Sets the model's metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: BTreeMap<String, String>) -> Self {
        self.model.metadata_props =
            metadata.into_iter().map(|(key, value)| StringStringEntryProto { key, value }).collect();
        self
    }
}
