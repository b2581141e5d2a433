//! What a folder holds, and the tensors in it.

use std::fs;
use std::path::{Path, PathBuf};

use hyperloader_core::backbone::{CONFIG, SENTENCEPIECE, TOKENIZER};
use hyperloader_core::files::{FileError, read_text};
use hyperloader_core::weights::pretrained::SINGLE;
use hyperloader_core::weights::tensors::{HostTensor, TensorFile, Tensors, write_tensors};
use serde_json::Value;

use super::error::ImportError;
use super::foreign::Import;
use super::pickle::read_tensors;

/// The settings of PEFT and of AdapterHub.
pub(super) const ADAPTER_CONFIG: &str = "adapter_config.json";
/// Weights of a whole model as `torch.save` writes them.
pub(super) const PICKLED: &str = "pytorch_model.bin";

/// The format of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// PEFT: LoRA beside a backbone.
    Peft,
    /// AdapterHub: adapters and LoRA beside a backbone.
    AdapterHub,
    /// A whole model: fine-tuned, or with the authors' hypernetworks.
    Model,
}

/// The format of the checkpoint in `folder`.
pub(super) fn kind(folder: &Path) -> Result<Kind, ImportError> {
    let unknown = |found: &str| ImportError::Unknown { folder: folder.to_owned(), found: found.to_owned() };
    if !folder.is_dir() {
        return Err(unknown("it is not a folder"));
    }
    if folder.join(ADAPTER_CONFIG).is_file() {
        let config = json(&folder.join(ADAPTER_CONFIG))?;
        return match (config.get("peft_type"), config.get("config")) {
            (Some(_), _) => Ok(Kind::Peft),
            (None, Some(_)) => Ok(Kind::AdapterHub),
            (None, None) => Err(unknown("its `adapter_config.json` has neither `peft_type` nor `config`")),
        };
    }
    match folder.join(PICKLED).is_file() || folder.join(CONFIG).is_file() {
        true => Ok(Kind::Model),
        false => Err(unknown("it has none of the known files")),
    }
}

pub(super) fn json(path: &Path) -> Result<Value, ImportError> {
    let text = read_text(path)?;
    serde_json::from_str(&text).map_err(|source| ImportError::Json { path: path.to_owned(), source })
}

/// The tensors of the first of `names` that `folder` has, and its path.
pub(super) fn tensors(folder: &Path, names: &[&str]) -> Result<(Tensors, PathBuf), ImportError> {
    let found = names.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    let Some(path) = found else {
        let expected = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        return Err(ImportError::NoWeights { folder: folder.to_owned(), expected });
    };
    let tensors = match path.extension().is_some_and(|end| end == "safetensors") {
        true => TensorFile::open(&path)?.read_all()?,
        false => read_tensors(&path)?,
    };
    Ok((tensors, path))
}

/// The folder of the backbone of PEFT and AdapterHub: the one given, or the one that the checkpoint names.
pub(super) fn backbone(import: &Import, named: Option<&str>) -> Result<PathBuf, ImportError> {
    let beside = || {
        let named = named.filter(|named| !named.is_empty())?;
        let folders = [import.folder.join(named), import.folder.join("..").join(named), PathBuf::from(named)];
        folders.into_iter().find(|folder| folder.join(CONFIG).is_file())
    };
    match import.backbone.clone().or_else(beside) {
        Some(folder) => Ok(folder),
        None => Err(ImportError::NoBackbone(import.folder.clone())),
    }
}

/// Adds a tensor that must not be there yet. `file` is for the message.
pub(super) fn insert(
    tensors: &mut Tensors,
    name: String,
    tensor: HostTensor,
    file: &Path,
) -> Result<(), ImportError> {
    match tensors.contains_key(&name) {
        true => Err(ImportError::Twice { file: file.to_owned(), name }),
        false => {
            tensors.insert(name, tensor);
            Ok(())
        }
    }
}

/// A folder in Hugging Face's layout with `tensors`, and with configuration and tokenizer of the backbone or, where it has none,
/// of the checkpoint.
pub(super) fn make_backbone(import: &Import, tensors: &Tensors) -> Result<tempfile::TempDir, ImportError> {
    // The backbone that is named comes first.
    let folders = || import.backbone.iter().chain([&import.folder]);
    let file = |name: &str| folders().map(|folder| folder.join(name)).find(|path| path.is_file());
    let config = file(CONFIG).ok_or_else(|| ImportError::NoBackbone(import.folder.clone()))?;
    let tokenizer = [TOKENIZER, SENTENCEPIECE].into_iter().find_map(|name| Some((file(name)?, name)));
    let tokenizer = tokenizer.ok_or_else(|| ImportError::NoTokenizer(import.folder.clone()))?;
    let made =
        tempfile::tempdir().map_err(|error| FileError::new("write to", &std::env::temp_dir(), error))?;
    for (from, name) in [(config, CONFIG), tokenizer] {
        let to = made.path().join(name);
        fs::copy(&from, &to).map_err(|error| FileError::new("copy", &from, error))?;
    }
    write_tensors(&made.path().join(SINGLE), tensors)?;
    Ok(made)
}
