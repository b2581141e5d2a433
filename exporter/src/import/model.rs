//! Whole models: a fine-tuned T5, or one with the authors' hypernetworks.

use std::path::PathBuf;

use hyperloader_core::weights::pretrained::{INDEX, SINGLE, Weights};
use hyperloader_core::weights::tensors::Tensors;

use super::authors;
use super::error::ImportError;
use super::folder::{PICKLED, make_backbone};
use super::foreign::{Foreign, Import};
use super::pickle::read_tensors;
use crate::error::ExportError;

/// A whole model. Hypernetworks are recognized by the names of their tensors.
pub(super) fn read(import: &Import) -> Result<Foreign, ExportError> {
    let folder = &import.folder;
    // Safetensors come first, as in transformers.
    let has_safetensors = [SINGLE, INDEX].iter().any(|name| folder.join(name).is_file());
    if !has_safetensors && folder.join(PICKLED).is_file() {
        let path = folder.join(PICKLED);
        return of_tensors(import, read_tensors(&path).map_err(ImportError::from)?, path);
    }
    let weights = Weights::open(folder).map_err(ImportError::from)?;
    let path = weights.path().to_owned();
    if import.backbone.is_none() && !weights.names().any(authors::is_one) {
        // The weights are read from the folder, one at a time.
        return Ok(Foreign::full(folder.clone(), Tensors::new(), path));
    }
    let names: Vec<String> = weights.names().map(str::to_owned).collect();
    let tensors = names.into_iter().map(|name| Ok((name.clone(), weights.floats(&name)?)));
    of_tensors(import, tensors.collect::<Result<_, ImportError>>()?, path)
}

/// The model with these tensors, which were read from `path`.
fn of_tensors(import: &Import, tensors: Tensors, path: PathBuf) -> Result<Foreign, ExportError> {
    if tensors.keys().any(|name| authors::is_one(name)) {
        return authors::read(import, tensors, path);
    }
    let made = make_backbone(import, &tensors)?;
    let backbone = made.path().to_owned();
    Ok(Foreign { made: Some(made), ..Foreign::full(backbone, Tensors::new(), path) })
}
