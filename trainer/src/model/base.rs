//! The trait of a backbone with its tokenizer, from which models are built.

use hyperloader_core::backbone::{Backbone, BackboneError};
use hyperloader_core::method::{MethodConfig, MethodError};
use hyperloader_core::text::labels::LabelSet;

use super::error::ModelError;
use super::learner::Learner;
use super::placement::Placement;
use super::start::Start;
use crate::config::ConfigError;
use crate::data::coding::Coding;

/// A backbone cannot be opened for a training.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder is unusable.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The method does not fit the backbone.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// A value of the configuration does not fit the backbone.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// A task that a model is built for.
#[derive(Debug, Clone, Copy)]
pub struct TaskLabels<'a> {
    /// The task's name.
    pub name: &'a str,
    /// The labels of its spans.
    pub labels: &'a LabelSet,
}

/// A backbone with its tokenizer.
pub trait Base {
    /// Opened folder from which weights are read.
    fn backbone(&self) -> &dyn Backbone;

    /// The codec of the tokenizer.
    fn coding(&self) -> &dyn Coding;

    /// The module of a task whose tensors depend on the labels of the task, so that they fit only the same labels; `None` if
    /// there is none.
    fn classifier(&self) -> Option<&'static str>;

    /// A model of `tasks` with `method`.
    ///
    /// # Errors
    /// If the backbone cannot be read, or the tensors of a checkpoint do not fit.
    fn learner(
        &self,
        method: &MethodConfig,
        tasks: &[TaskLabels],
        start: Start,
        placement: Placement,
    ) -> Result<Box<dyn Learner>, ModelError>;
}
