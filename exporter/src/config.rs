//! Compares the backbone's configuration with the one in a run's manifest.

use std::path::Path;

use hyperloader_core::backbone::CONFIG;
use serde::Serialize;

use crate::error::ExportError;

/// Compares the configuration `found` in `folder` with the one that a run was `trained` with. The hashes in a manifest
/// do not cover `config.json`.
///
/// # Errors
/// Returns an error that names the first field that differs, with both values.
pub(crate) fn check_config<C: Serialize>(folder: &Path, found: &C, trained: &C) -> Result<(), ExportError> {
    let fields = |config: &C| serde_json::to_value(config).unwrap_or_default();
    let (found, trained) = (fields(found), fields(trained));
    let differing = trained.as_object().into_iter().flatten().find(|(field, value)| found[*field] != **value);
    match differing {
        None => Ok(()),
        Some((field, value)) => Err(ExportError::Config {
            path: folder.join(CONFIG),
            field: field.clone(),
            found: found[field].to_string(),
            trained: value.to_string(),
        }),
    }
}
