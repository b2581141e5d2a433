//! Foreign checkpoints: a T5 that another program fine-tuned, with PEFT's LoRA, AdapterHub's adapters, or the authors'
//! HyperLoader and HyperFormer++, as a run of one task that [`Exporter`] exports.
//!
//! - `foreign`: [`Import`], what is imported, and what is read of it
//! - `folder`: what a folder holds, and the tensors in it
//! - `model`: whole models
//! - `peft`, `adapterhub`, `authors`: the names and settings of each format
//! - `merge`: LoRA pairs added to the matrices that they update
//! - [`pickle`]: tensors of files that `torch.save` wrote

mod adapterhub;
mod authors;
pub(crate) mod error;
mod folder;
mod foreign;
mod merge;
mod model;
mod peft;
pub mod pickle;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hyperloader_core::backbone::registry::{Architecture, OpenOptions, open};
use hyperloader_core::backbone::{Backbone, BackboneKind};
use hyperloader_core::files::sha256;
use hyperloader_core::method::Method;
use hyperloader_core::run::{BackboneReference, Checkpoint, FORMAT, Manifest, Run, Task};
use hyperloader_core::text::labels::LabelSet;
use hyperloader_core::text::sentt::SentT;
use hyperloader_core::text::writable::{WritableError, labels_writable};

pub use self::error::ImportError;
use self::folder::Kind;
use self::foreign::Foreign;
pub use self::foreign::Import;
use crate::error::ExportError;
use crate::export::{Exporter, PROGRAM};

impl Exporter {
    /// Opens a checkpoint of another program as a run of one task.
    ///
    /// # Errors
    /// If the folder holds no checkpoint of a known format, a setting is one that exported files do not have, or a tensor is
    /// missing, misshapen or unknown.
    pub fn import(import: &Import) -> Result<Self, ExportError> {
        let foreign = match folder::kind(&import.folder)? {
            Kind::Peft => peft::read(import)?,
            Kind::AdapterHub => adapterhub::read(import)?,
            Kind::Model => model::read(import)?,
        };
        let options = OpenOptions {
            purpose: "an imported checkpoint needs",
            hint: "import a checkpoint on a T5, or train the task on this backbone with `hl-train`",
            kinds: &[BackboneKind::T5],
            cross_attention_relative_bias: foreign.cross_attention_relative_bias,
        };
        // A folder that was made here is gone when the message is read.
        let unusable = |error| match &foreign.made {
            Some(_) => ImportError::Made { file: foreign.file.clone(), source: Box::new(error) },
            None => error.into(),
        };
        let backbone = open(&foreign.backbone, &options).map_err(unusable)?;
        let manifest = manifest(import, &foreign, &*backbone)?;
        manifest.trainable_tensors()?;
        check_labels(import, &*backbone)?;
        check_tensors(&manifest, &foreign)?;
        let checkpoint = Checkpoint {
            step: 0,
            file: foreign.file.clone(),
            sha256: sha256(&foreign.file)?,
            method_sha256: manifest.method_hash(),
            validation_loss: None,
            task_losses: BTreeMap::new(),
            state: None,
        };
        let run = Run { folder: import.folder.clone(), manifest };
        let exporter = Self::of_parts(run, checkpoint, foreign.tensors, foreign.backbone);
        Ok(exporter.with(foreign.origin, import.source_prefix.clone(), foreign.made))
    }
}

fn manifest(import: &Import, foreign: &Foreign, backbone: &dyn Backbone) -> Result<Manifest, ExportError> {
    let task = Task {
        name: import.task.clone(),
        labels: import.labels.clone(),
        words: import.words,
        word_fit: None,
        sentence_words: None,
        train_sentences: 0,
        train_sha256: String::new(),
    };
    let name = import.folder.canonicalize().unwrap_or_else(|_| import.folder.clone());
    Ok(Manifest {
        format: FORMAT,
        name: name.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        program: PROGRAM.to_owned(),
        method: foreign.method.clone(),
        architecture: Architecture::of(backbone.config()),
        backbone: BackboneReference {
            path: foreign.backbone.clone(),
            sha256: backbone.hash().map_err(ImportError::from)?,
            tokenizer_sha256: sha256(&tokenizer(backbone.folder(), backbone.tokenizer())?)?,
            hub: None,
        },
        tasks: vec![task],
        max_source_len: import.max_source_len,
        max_target_len: import.max_target_len,
        seed: 0,
        checkpoints: Vec::new(),
        drafters: None,
        calibration: None,
    })
}

/// The tokenizer, if it is there.
fn tokenizer(folder: &Path, tokenizer: PathBuf) -> Result<PathBuf, ImportError> {
    match tokenizer.is_file() {
        true => Ok(tokenizer),
        false => Err(ImportError::NoTokenizer(folder.to_owned())),
    }
}

/// Checks that the vocabulary can write the labels.
fn check_labels(import: &Import, backbone: &dyn Backbone) -> Result<(), ImportError> {
    let labels = LabelSet::new(import.labels.iter().map(String::as_str), "the list of labels")?;
    Ok(labels_writable(&SentT::from_file(backbone.tokenizer()).map_err(WritableError::from)?, &labels)?)
}

/// Checks that the tensors of the method are there with their shapes, and that all others are of the backbone.
fn check_tensors(manifest: &Manifest, foreign: &Foreign) -> Result<(), ExportError> {
    let of_backbone = manifest.backbone_config().shape().tensors;
    let mut expected = BTreeMap::new();
    if manifest.method.method() != Method::Full {
        expected.extend(manifest.trainable_tensors()?.into_iter().map(|tensor| (tensor.name, tensor.shape)));
    }
    for (name, shape) in &expected {
        let found = foreign.tensors.get(name).map(|tensor| tensor.shape().to_vec());
        if found.as_ref() != Some(shape) {
            return Err(ImportError::Tensor {
                file: foreign.file.clone(),
                name: name.clone(),
                found: found.map_or("missing".to_owned(), |found| format!("{found:?}")),
                expected: format!("{shape:?}"),
            }
            .into());
        }
    }
    for (name, tensor) in &foreign.tensors {
        let expected = expected.get(name).or_else(|| of_backbone.get(name));
        if expected.is_none_or(|shape| shape != tensor.shape()) {
            return Err(ImportError::Tensor {
                file: foreign.file.clone(),
                name: name.clone(),
                found: format!("{:?}", tensor.shape()),
                expected: expected.map_or("no such tensor".to_owned(), |shape| format!("{shape:?}")),
            }
            .into());
        }
    }
    Ok(())
}
