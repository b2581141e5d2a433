//! `manifest.json`: what a run is, and the checkpoints that it has.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::RunError;
use crate::backbone::bert::BertConfig;
use crate::backbone::registry::Architecture;
use crate::backbone::t5::T5Config;
use crate::backbone::{BackboneConfig, BackboneKind};
use crate::files::hexadecimal;
use crate::method::{MethodConfig, MethodError, TaskShape, TrainableTensor};
use crate::text::labels::bio_tags;
use crate::text::sentence_words::SentenceWords;
use crate::text::words::{WordFit, WordSplitting};

/// The version of the folder's layout that this code writes and reads.
pub const FORMAT: u32 = 1;
/// Name of the manifest's file.
pub(super) const MANIFEST: &str = "manifest.json";

/// The contents of `manifest.json`: all that is needed, besides the backbone and a checkpoint, to make a task's weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Layout version, [`FORMAT`].
    pub format: u32,
    /// The run's name, which is also the name of its folder.
    pub name: String,
    /// Version of the program that wrote it.
    pub program: String,
    /// Method and hyper-parameters.
    pub method: MethodConfig,
    /// The backbone's configuration.
    #[serde(flatten)]
    pub architecture: Architecture,
    /// Path and hashes of the backbone.
    pub backbone: BackboneReference,
    /// Tasks, in the order of training.
    pub tasks: Vec<Task>,
    /// Longest source in tokens, `</s>` included.
    pub max_source_len: usize,
    /// Longest target in tokens, `</s>` included.
    pub max_target_len: usize,
    /// Seed of initialization, sampling and dropout.
    pub seed: u64,
    /// Checkpoints that exist, by step.
    pub checkpoints: Vec<Checkpoint>,
    /// The file of the tasks' drafters; absent until they are fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drafters: Option<StateFile>,
    /// The file of the tasks' calibration; absent until they are calibrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<StateFile>,
}

impl Manifest {
    /// The configuration of the backbone.
    pub fn backbone_config(&self) -> &dyn BackboneConfig {
        self.architecture.config()
    }

    /// The configuration of the T5 that the run was trained on.
    ///
    /// # Errors
    /// If its backbone is another model.
    pub fn t5(&self) -> Result<&T5Config, RunError> {
        self.config_of_kind(BackboneKind::T5)
    }

    /// The configuration of the BERT that the run was trained on.
    ///
    /// # Errors
    /// If its backbone is another model.
    pub fn bert(&self) -> Result<&BertConfig, RunError> {
        self.config_of_kind(BackboneKind::Bert)
    }

    fn config_of_kind<C: BackboneConfig>(&self, expected: BackboneKind) -> Result<&C, RunError> {
        let config = self.backbone_config();
        let other = || RunError::Kind { run: self.name.clone(), expected, found: config.kind() };
        config.downcast_ref().ok_or_else(other)
    }

    /// SHA-256 of the method and its hyper-parameters as the manifest stores them.
    pub fn method_hash(&self) -> String {
        // A configuration is a table of numbers and names, which always has a form in JSON.
        let text = serde_json::to_string(&self.method).unwrap_or_default();
        hexadecimal(&Sha256::digest(text))
    }

    /// The tasks as methods see them.
    pub fn task_shapes(&self) -> Vec<TaskShape> {
        let shape =
            |task: &Task| TaskShape { name: task.name.clone(), bio_tags: bio_tags(&task.labels).len() };
        self.tasks.iter().map(shape).collect()
    }

    /// Every tensor of a checkpoint.
    ///
    /// # Errors
    /// If method, backbone and tasks do not belong together.
    pub fn trainable_tensors(&self) -> Result<Vec<TrainableTensor>, MethodError> {
        let (config, tasks) = (self.backbone_config(), self.task_shapes());
        self.method.validate(config, &tasks)?;
        Ok(self.method.trainable_tensors(config, &tasks))
    }

    /// The entry of a task.
    ///
    /// # Errors
    /// If the run was not trained on it; the message lists its tasks and the nearest name.
    pub fn task(&self, name: &str) -> Result<&Task, RunError> {
        self.tasks.iter().find(|task| task.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.tasks.iter().map(|task| task.name.as_str()).collect();
            RunError::UnknownTask {
                task: name.to_owned(),
                run: self.name.clone(),
                known: names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", "),
                hint: crate::suggest::hint(name, names.iter().copied()),
            }
        })
    }
}

/// The backbone of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackboneReference {
    /// The folder: relative to the run's folder, or absolute if it is in the hub's cache, which does not move with the
    /// run.
    pub path: PathBuf,
    /// SHA-256 of `model.safetensors`, or of a sharded checkpoint (see [`crate::weights::pretrained::Weights::hash`]).
    pub sha256: String,
    /// SHA-256 of `tokenizer.json`.
    pub tokenizer_sha256: String,
    /// Its name on the Hugging Face hub, if it was fetched from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<HubReference>,
}

/// A version of a model on the Hugging Face hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubReference {
    /// `NAME` or `OWNER/NAME`.
    pub id: String,
    /// The commit, in hexadecimal.
    pub commit: String,
}

/// A task of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The task's name.
    pub name: String,
    /// Labels of its training and validation data.
    pub labels: Vec<String>,
    /// How free text is split into words like those of the training data.
    pub words: WordSplitting,
    /// How well that reproduces the corpus' own tokens; absent if it has none, and in runs made before this was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word_fit: Option<WordFit>,
    /// How many words its training sentences have; absent in runs made before this was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentence_words: Option<SentenceWords>,
    /// Number of training sentences.
    pub train_sentences: usize,
    /// SHA-256 over the ids of its training examples; a resumed run must train on the same.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub train_sha256: String,
}

/// A checkpoint of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Number of updates done.
    pub step: u64,
    /// Path of the file, relative to the run's folder.
    pub file: PathBuf,
    /// SHA-256 of the file.
    pub sha256: String,
    /// SHA-256 of the method that the tensors belong to (see [`Manifest::method_hash`]); absent in runs made before it was
    /// stored.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub method_sha256: String,
    /// Label-smoothed validation loss in nats per target token, averaged over tasks; absent if not evaluated.
    pub validation_loss: Option<f64>,
    /// Validation loss of each task, in nats per target token.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub task_losses: BTreeMap<String, f64>,
    /// The optimizer's state; kept for the latest checkpoints only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateFile>,
}

/// A file other than a checkpoint: the optimizer's state at a checkpoint, the drafters or the calibration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateFile {
    /// Path of the file, relative to the run's folder.
    pub file: PathBuf,
    /// SHA-256 of the file.
    pub sha256: String,
}
