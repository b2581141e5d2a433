//! One check of a file.

use serde::Serialize;

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is checked: `graph`, `weights`, `metadata` or a backend.
    pub what: String,
    /// Whether it is as it was exported.
    pub holds: bool,
    /// What was found.
    pub found: String,
}

impl Check {
    pub(super) fn holds(what: impl Into<String>, found: String) -> Self {
        Self { what: what.into(), holds: true, found }
    }

    pub(super) fn fails(what: impl Into<String>, found: String) -> Self {
        Self { what: what.into(), holds: false, found }
    }

    /// Holds if there is no fault; of several, the first is named.
    pub(super) fn of(what: &str, faults: &[String], right: String) -> Self {
        match faults {
            [] => Self::holds(what, right),
            [fault] => Self::fails(what, fault.clone()),
            [fault, others @ ..] => Self::fails(what, format!("{fault}; {} more like it", others.len())),
        }
    }
}
