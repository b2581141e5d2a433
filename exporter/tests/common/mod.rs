//! Golden cases as backbones and runs on disk, for the tests of this folder.
// Each test binary uses only some of the functions.
#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod random_run;

use std::path::{Path, PathBuf};

use hyperloader_core::backbone::BackboneConfig;
use hyperloader_core::backbone::t5::{FeedForward, T5Backbone, T5Config};
use hyperloader_core::method::{HyperConfig, LoraConfig, Method, MethodConfig, TaskShape};
use hyperloader_core::weights::tensors::{TensorFile, Tensors};
use hyperloader_exporter::materialise::task_weights;
use hyperloader_exporter::t5::{States, T5Model};
use ndarray::{Array2, ArrayD, Ix2, Ix3};
use serde::Deserialize;

/// Largest difference that encoder outputs and logits may have.
pub(crate) const TOLERANCE: f64 = 2e-5;

/// The repository's fixtures.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

/// A T5 of the whole vocabulary, because the verification encodes sentences, and few other dimensions.
pub(crate) fn narrow_t5() -> T5Config {
    T5Config {
        d_model: 16,
        d_kv: 4,
        num_heads: 3,
        d_ff: 24,
        num_layers: 1,
        num_decoder_layers: Some(2),
        ..T5Config::preset("t5-nano").unwrap()
    }
}

/// Every folder of golden vectors under `kind` that holds the file `marker`; none is a failure.
pub(crate) fn cases(kind: &str, marker: &str) -> Vec<PathBuf> {
    let root = std::env::var_os("HYPERLOADER_GOLDEN")
        .map_or_else(|| fixtures().join("golden"), PathBuf::from)
        .join(kind);
    let entries = std::fs::read_dir(&root).unwrap_or_else(|e| panic!("{}: {e}", root.display()));
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    cases.retain(|case| case.join(marker).is_file());
    cases.sort();
    assert!(!cases.is_empty(), "no case in {}", root.display());
    cases
}

/// `config.json` of a HyperLoader case.
#[derive(Deserialize)]
struct CaseConfig {
    model: String,
    d_model: usize,
    d_kv: usize,
    num_heads: usize,
    d_ff: usize,
    num_layers: usize,
    num_decoder_layers: usize,
    vocab_size: usize,
    relative_attention_num_buckets: usize,
    relative_attention_max_distance: usize,
    layer_norm_epsilon: f64,
    feed_forward_act: String,
    tie_word_embeddings: bool,
    cross_attention_relative_bias: bool,
    tasks: Vec<String>,
    adapter_reduction_factor: usize,
    lora_r: Option<usize>,
    lora_alpha: Option<f64>,
    task_embed_dim: usize,
    projector_hidden: usize,
    projector_norm_eps: f64,
    adapter_norm_eps: f64,
    pad_token_id: i64,
    eos_token_id: i64,
    decoder_start_token_id: i64,
}

impl CaseConfig {
    fn t5(&self) -> T5Config {
        T5Config {
            vocab_size: self.vocab_size,
            d_model: self.d_model,
            d_kv: self.d_kv,
            d_ff: self.d_ff,
            num_layers: self.num_layers,
            num_decoder_layers: Some(self.num_decoder_layers),
            num_heads: self.num_heads,
            relative_attention_num_buckets: self.relative_attention_num_buckets,
            relative_attention_max_distance: self.relative_attention_max_distance,
            layer_norm_epsilon: self.layer_norm_epsilon,
            feed_forward_proj: FeedForward::ALL
                .into_iter()
                .find(|form| form.name() == self.feed_forward_act)
                .unwrap_or_else(|| panic!("feed_forward_act `{}`", self.feed_forward_act)),
            tie_word_embeddings: self.tie_word_embeddings,
            pad_token_id: self.pad_token_id,
            eos_token_id: self.eos_token_id,
            decoder_start_token_id: self.decoder_start_token_id,
            cross_attention_relative_bias: self.cross_attention_relative_bias,
            ..T5Config::preset("t5-nano").unwrap()
        }
    }

    fn method(&self) -> MethodConfig {
        let config = HyperConfig {
            method: match self.model.as_str() {
                "HyperLoader" => Method::HyperLoader,
                "HyperFormer++" => Method::HyperFormerPlusPlus,
                other => panic!("model `{other}`"),
            },
            task_embed_dim: self.task_embed_dim,
            projector_hidden: self.projector_hidden,
            reduction_factor: self.adapter_reduction_factor,
            lora: self.lora_r.map(|rank| LoraConfig {
                rank,
                alpha: self.lora_alpha.unwrap(),
                ..LoraConfig::default()
            }),
            ln_gamma_offset: 0.0,
            adapter_norm_eps: self.adapter_norm_eps,
            projector_norm_eps: self.projector_norm_eps,
            ..HyperConfig::default()
        };
        config.into()
    }
}

/// A golden HyperLoader or HyperFormer++ model.
pub(crate) struct HyperCase {
    pub(crate) folder: PathBuf,
    pub(crate) t5: T5Config,
    pub(crate) method: MethodConfig,
    pub(crate) tasks: Vec<String>,
    pub(crate) state: Tensors,
}

impl HyperCase {
    pub(crate) fn all() -> Vec<Self> {
        let cases = cases("hyperloader", "config.json");
        cases.into_iter().map(Self::read).collect()
    }

    fn read(folder: PathBuf) -> Self {
        let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
        let config: CaseConfig = serde_json::from_str(&text).unwrap();
        let state = open(&folder, "state_ours").read_all().unwrap();
        Self { t5: config.t5(), method: config.method(), tasks: config.tasks, state, folder }
    }

    pub(crate) fn open(&self, name: &str) -> TensorFile {
        open(&self.folder, name)
    }

    /// Writes the backbone's part of the state as a folder in Hugging Face's layout.
    pub(crate) fn write_backbone(&self, folder: &Path) {
        let wanted = self.t5.tensors();
        let tensors = self.state.iter().filter(|(name, _)| wanted.contains_key(*name));
        let tensors = tensors.map(|(n, t)| (n.clone(), t.clone())).collect();
        random_run::write_backbone(folder, &self.t5, &tensors);
    }

    /// The trained part of the state, as a checkpoint holds it.
    pub(crate) fn checkpoint(&self) -> Tensors {
        let trained = self.method.trainable_tensors(&self.t5, &TaskShape::named(&self.tasks));
        let tensor = |name: String| (name.clone(), self.state[&name].clone());
        trained.into_iter().map(|t| tensor(t.name)).collect()
    }

    pub(crate) fn model(&self, task: &str) -> T5Model {
        let folder = tempfile::tempdir().unwrap();
        self.write_backbone(folder.path());
        let backbone = T5Backbone::open(folder.path(), self.t5.cross_attention_relative_bias).unwrap();
        let weights = task_weights(&self.method, &self.t5.shape(), &self.state, task).unwrap();
        T5Model::new(backbone, Tensors::new(), weights)
    }
}

pub(crate) fn open(folder: &Path, name: &str) -> TensorFile {
    TensorFile::open(&folder.join(format!("{name}.safetensors"))).unwrap()
}

pub(crate) fn ids(file: &TensorFile, name: &str) -> Array2<i64> {
    matrix(file.integers(name).unwrap())
}

pub(crate) fn matrix<T>(tensor: ArrayD<T>) -> Array2<T> {
    tensor.into_dimensionality::<Ix2>().unwrap()
}

/// Largest absolute difference at the positions where `mask` is not 0.
pub(crate) fn largest_difference(states: &States, wanted: ArrayD<f32>, mask: Option<&Array2<i64>>) -> f64 {
    let wanted = wanted.into_dimensionality::<Ix3>().unwrap();
    let mut largest = 0.0f64;
    for (sentence, wanted) in wanted.outer_iter().enumerate() {
        let got = states.sentence(sentence);
        assert_eq!(got.dim(), wanted.dim());
        for ((position, column), wanted) in wanted.indexed_iter() {
            if mask.is_none_or(|mask| mask[[sentence, position]] != 0) {
                let difference = (got[[position, column]] - f64::from(*wanted)).abs();
                assert!(difference.is_finite());
                largest = largest.max(difference);
            }
        }
    }
    largest
}
