//! The configuration of a training: `hyperloader.toml`, read strictly. The command line overrides single values.
//!
//! - [`Config`] and its parts: the keys of the file, with their defaults.
//! - `read`: reading the file, and overriding values.
//! - `validate`: ranges of values.
//! - [`preset`]: named sets of values.
//! - `difference`: what two configurations differ in.
//! - `paths`: paths relative to the folder of the configuration.
//! - `error`: [`ConfigError`].

mod difference;
mod error;
mod paths;
pub mod preset;
mod read;
mod validate;

use std::collections::BTreeMap;
use std::path::PathBuf;

use hyperloader_core::corpus::CorpusSpec;
use hyperloader_core::device::Device;
use hyperloader_core::method::MethodConfig;
use hyperloader_core::text::target::Alignment;
use serde::{Deserialize, Serialize};

pub(crate) use self::difference::difference;
pub use self::error::ConfigError;
pub(crate) use self::error::did_you_mean;
pub use self::paths::from_folder;
pub(crate) use self::paths::{STREAMS, is_folder_name};
pub use self::preset::Preset;
use crate::model::placement::MatrixPrecision;
use crate::optimizer::AbsentGradient;
use crate::schedule::Decay;

/// A configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A named set of values for the keys that the file does not set.
    #[serde(default, skip_serializing)]
    pub preset: Option<Preset>,
    /// The folder of all runs.
    #[serde(default = "default_runs")]
    pub runs: PathBuf,
    /// The folder of the token ids of streamed tasks. By default, `.streams` in the folder of all runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<PathBuf>,
    /// The name of the run. By default, the name of the method and a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The seed of initialization, sampling and dropout.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// The pretrained backbone.
    pub backbone: BackboneConfig,
    /// The method and its hyper-parameters.
    #[serde(default)]
    pub method: MethodConfig,
    /// Optimization and evaluation.
    #[serde(default)]
    pub training: TrainingConfig,
    /// The corpus of each task, by the name of the task.
    #[serde(rename = "task", default)]
    pub tasks: BTreeMap<String, CorpusSpec>,
}

/// The pretrained backbone: either `path` or `id`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneConfig {
    /// A folder in Hugging Face's layout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// A model of the Hugging Face hub, `NAME` or `OWNER/NAME`, with or without `@REVISION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The branch, tag or commit of the model; `main` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Whether a T5 uses the legacy bias of its checkpoint in cross-attention
    /// (docs/reference/backbones.md#cross-attention-bias).
    #[serde(default)]
    pub cross_attention_relative_bias: bool,
}

/// How training sentences over a length limit are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TooLong {
    /// They are left out and counted.
    Skip,
    /// They are cut off after the first ids and end with `</s>`, as in the authors' code.
    Truncate,
    /// They are cut into consecutive windows of words that fit. Validation and test sentences are tagged in windows, too.
    Window,
}

/// Optimization and evaluation (docs/reference/training.md).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// The number of updates.
    pub steps: u64,
    /// The number of sentences of a step.
    pub batch_size: usize,
    /// The number of parts that the batch of a step is computed in, one after the other. More parts need less memory; the
    /// sum of the gradients stays the same.
    pub gradient_accumulation: usize,
    /// The number of parts that a batch is divided into for several processes; each has a gradient and a dropout of its own,
    /// and the gradients are added in the order of the parts. The configuration of a run has it if it is not 1.
    #[serde(skip_serializing_if = "is_one")]
    pub parts: usize,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// How the learning rate decreases after the warm-up.
    pub schedule: Decay,
    /// The number of updates of the linear warm-up.
    pub warmup_steps: u64,
    /// Decoupled weight decay, as in AdamW.
    pub weight_decay: f64,
    /// The global norm that gradients are clipped to.
    pub max_grad_norm: f64,
    /// The share of the target distribution that is spread over the vocabulary, from 0 to below 1.
    pub label_smoothing: f64,
    /// The dropout probability. By default, that of the backbone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Tasks are drawn with a probability proportional to their size to the power 1/temperature.
    pub temperature: f64,
    /// How a step changes the embeddings of other tasks.
    pub absent_gradient: AbsentGradient,
    /// The most tokens of a source, `</s>` included.
    pub max_source_len: usize,
    /// The most tokens of a target, `</s>` included.
    pub max_target_len: usize,
    /// How training sentences over these limits are treated.
    pub too_long: TooLong,
    /// The share of the training and validation sentences that is used, chosen by the seed. Test splits are used in full.
    pub fraction: f64,
    /// The number of updates between two evaluations of the validation splits. A checkpoint follows each evaluation.
    pub evaluate_every: u64,
    /// The number of evaluations without a lower mean validation loss after which training stops. By default, it never does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    /// The number of updates between two checkpoints without an evaluation. By default, there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_every: Option<u64>,
    /// The number of latest checkpoints to keep, besides the best ones.
    pub keep_last: usize,
    /// The number of sentences of an evaluation batch.
    pub evaluation_batch_size: usize,
    /// The word that a generated tag belongs to: `order`, as in the authors' code, or `sentinel`.
    pub alignment: Alignment,
    /// The number of updates between two lines of `metrics.jsonl`.
    pub log_every: u64,
    /// Whether drafters are fitted after training. They make `hl-run` faster and change no tag.
    pub drafter: bool,
    /// Whether scores are calibrated after training. It changes no tag.
    pub calibrate: bool,
    /// `auto`, `cpu` or `cuda[:N]`.
    pub device: Device,
    /// The precision of products with frozen matrices during training. Final scores are computed in float32.
    pub precision: MatrixPrecision,
    /// Whether equal runs on one GPU give equal bits. This is slower. On the CPU they always do.
    pub deterministic: bool,
    /// The number of threads of an operation. By default, the cores of the machine divided by its processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            steps: 65_536,
            batch_size: 128,
            gradient_accumulation: 1,
            parts: 1,
            learning_rate: 3e-4,
            schedule: Decay::Linear,
            warmup_steps: 500,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
            label_smoothing: 0.1,
            dropout: None,
            temperature: 10.0,
            absent_gradient: AbsentGradient::Skip,
            max_source_len: 128,
            max_target_len: 128,
            too_long: TooLong::Skip,
            fraction: 1.0,
            evaluate_every: 1000,
            patience: None,
            save_every: None,
            keep_last: 2,
            evaluation_batch_size: 64,
            alignment: Alignment::Order,
            log_every: 10,
            drafter: true,
            calibrate: true,
            device: Device::Auto,
            precision: MatrixPrecision::F32,
            deterministic: false,
            threads: None,
        }
    }
}

fn is_one(number: &usize) -> bool {
    *number == 1
}

fn default_runs() -> PathBuf {
    "runs".into()
}

fn default_seed() -> u64 {
    42
}
