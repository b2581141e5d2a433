//! Hyper-parameters that do not fit a method or a backbone.

use super::kind::Method;
use crate::backbone::kind::BackboneKind;

/// A method could not be configured.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum MethodError {
    /// A hyper-parameter does not fit the method or the backbone.
    #[error("`{field}` is {value}, expected {expected}")]
    Value {
        /// The hyper-parameter.
        field: &'static str,
        value: String,
        /// The values that fit.
        expected: String,
    },
    /// The method runs on another kind of backbone.
    #[error("method `{method}` runs on a {expected}, not on a {found}\nhint: {}", method.hint())]
    Backbone {
        /// The method that was requested.
        method: Method,
        /// The kind that it runs on.
        expected: BackboneKind,
        /// The kind of the backbone.
        found: BackboneKind,
    },
    /// Task names must exist, differ, and be usable in a tensor's name.
    #[error("task name `{name}` {problem}")]
    Task {
        name: String,
        /// Description of the fault.
        problem: &'static str,
    },
}
