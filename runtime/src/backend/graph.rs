//! A graph that a backend has opened.

use std::fmt;

use super::error::BackendError;
use super::value::Value;

/// A graph that is ready to run.
pub trait Graph: Send + fmt::Debug {
    /// Runs the graph. `inputs` holds each of its inputs by name, in any order. The result holds all outputs in the graph's
    /// order.
    ///
    /// # Errors
    /// [`BackendError::Run`] with the runtime's reason.
    fn run(&mut self, inputs: &[(&str, &Value)]) -> Result<Vec<Value>, BackendError>;
}
