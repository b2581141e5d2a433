//! The golden cases of LoRA, Adapters, UniPELT and Hyperdecoder: where they lie, and which method they are of. Trainer
//! and exporter share this.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use hyperloader_core::method::{HyperdecoderConfig, Method, MethodConfig, ModulesConfig, PairConfig};
use hyperloader_core::weights::task::Activation;
use hyperloader_core::weights::tensors::{TensorFile, Tensors};
use serde_json::Value;

/// The one task of a case.
pub(crate) const TASK: &str = "task";

/// The folder `part` of the golden vectors: `fixtures/golden`, or the one that `HYPERLOADER_GOLDEN` names.
pub(crate) fn golden(part: &str) -> PathBuf {
    let root = match std::env::var_os("HYPERLOADER_GOLDEN") {
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/golden"),
    };
    root.join(part)
}

pub(crate) fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A folder of golden vectors.
pub(crate) struct MethodCase {
    pub(crate) kind: &'static str,
    pub(crate) folder: PathBuf,
    pub(crate) name: String,
    pub(crate) method: MethodConfig,
    /// The trained tensors under our names.
    pub(crate) trained: Tensors,
}

impl MethodCase {
    /// Every case of every method.
    pub(crate) fn all() -> Vec<Self> {
        ["lora-t5", "adapters-t5", "unipelt-t5", "hyperdecoder"].into_iter().flat_map(Self::of).collect()
    }

    /// The folder `kind` itself, if it holds a model, and all its sub-folders that do. It is an error if there are none.
    pub(crate) fn of(kind: &'static str) -> Vec<Self> {
        let root = golden(kind);
        let entries = std::fs::read_dir(&root).unwrap_or_else(|e| panic!("{}: {e}", root.display()));
        let mut found: Vec<PathBuf> =
            entries.map(|entry| entry.unwrap().path()).chain([root.clone()]).collect();
        found.retain(|folder| folder.join("model/config.json").is_file());
        found.sort();
        assert!(!found.is_empty(), "no case in {}", root.display());
        found.into_iter().map(|folder| Self::read(kind, folder)).collect()
    }

    fn read(kind: &'static str, folder: PathBuf) -> Self {
        let file = match kind {
            "lora-t5" => "adapter/adapter_model.safetensors",
            _ => "adapter.safetensors",
        };
        let tensors = TensorFile::open(&folder.join(file)).unwrap().read_all().unwrap();
        Self {
            name: format!("{kind}/{}", folder.file_name().unwrap().to_string_lossy()),
            method: method(kind, &folder),
            trained: tensors.into_iter().map(|(name, t)| (our_name(kind, &name), t)).collect(),
            kind,
            folder,
        }
    }

    /// A file of the folder.
    pub(crate) fn open(&self, name: &str) -> TensorFile {
        TensorFile::open(&self.folder.join(format!("{name}.safetensors"))).unwrap()
    }

    /// Our name of a trained tensor.
    pub(crate) fn our_name(&self, theirs: &str) -> String {
        our_name(self.kind, theirs)
    }
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number")) as usize
}

/// The method of a case, from the files beside it.
fn method(kind: &str, folder: &Path) -> MethodConfig {
    let config = match kind {
        "lora-t5" => {
            let file = json(&folder.join("adapter/adapter_config.json"));
            let lora = PairConfig { rank: number(&file["r"]), alpha: file["lora_alpha"].as_f64().unwrap() };
            ModulesConfig { method: Method::Lora, lora: Some(lora), ..ModulesConfig::default() }
        }
        "adapters-t5" => {
            adapters(&json(&folder.join("adapterhub/adapter_config.json"))["config"], Method::Adapters)
        }
        "unipelt-t5" => {
            let parts = json(&folder.join("adapterhub/adapter_config.json"))["config"]["configs"].clone();
            let parts = parts.as_array().unwrap();
            let with = |key: &str| parts.iter().find(|part| part.get(key).is_some()).unwrap();
            let lora = with("r");
            let lora = PairConfig { rank: number(&lora["r"]), alpha: lora["alpha"].as_f64().unwrap() };
            ModulesConfig { lora: Some(lora), ..adapters(with("reduction_factor"), Method::UniPelt) }
        }
        _ => {
            let config = &json(&folder.join("meta.json"))["config"];
            return HyperdecoderConfig {
                encoder_bottleneck: number(&config["encoder_adapter_dim"]),
                decoder_bottleneck: number(&config["decoder_adapter_dim"]),
                hypernetwork_bottleneck: number(&config["hypernetwork_bottleneck"]),
                // The files do not hold what the reference never uses.
                unused_decoder_adapters: false,
                ..HyperdecoderConfig::default()
            }
            .into();
        }
    };
    config.into()
}

fn adapters(config: &Value, method: Method) -> ModulesConfig {
    ModulesConfig {
        method,
        reduction_factor: Some(config["reduction_factor"].as_f64().unwrap() as usize),
        activation: Some(match config["non_linearity"].as_str().unwrap() {
            "swish" => Activation::Swish,
            "relu" => Activation::Relu,
            other => panic!("non-linearity `{other}`"),
        }),
        lora: None,
    }
}

/// Our name of a trained tensor of peft's, AdapterHub's or Hyperdecoder's.
fn our_name(kind: &str, theirs: &str) -> String {
    if kind == "hyperdecoder" {
        return hyperdecoder_name(theirs);
    }
    let ours = theirs
        .trim_start_matches("base_model.model.")
        .replace("lora_A.weight", "lora_a.weight")
        .replace("lora_B.weight", "lora_b.weight")
        .replace(".loras.task.lora_A", ".lora_a.weight")
        .replace(".loras.task.lora_B", ".lora_b.weight")
        .replace(".adapters.task.adapter_down.0.", ".adapter.down.")
        .replace(".adapters.task.adapter_up.", ".adapter.up.");
    format!("task.{TASK}.{ours}")
}

fn hyperdecoder_name(theirs: &str) -> String {
    if let Some(rest) = theirs.strip_prefix("encoder.block.") {
        let (block, rest) = rest.split_once('.').unwrap();
        let part = rest.strip_prefix("layer.1.adapter_layer.adapter_").unwrap().replace("_manual", "");
        return format!("hyper.encoder.learned_adapter.{block}.{part}");
    }
    let ours = theirs
        .replace("decoder.mlp.0", "pooled.fc1")
        .replace("decoder.mlp.2", "pooled.fc2")
        .replace("decoder.param_gen.layer_embed", "layer_embed")
        .replace("decoder.param_gen.decoder.linear1", "trunk")
        .replace("decoder.param_gen.decoder.weight_down", "adapter_down.weight_head")
        .replace("decoder.param_gen.decoder.bias_down", "adapter_down.bias_head")
        .replace("decoder.param_gen.decoder.weight_up", "adapter_up.weight_head")
        .replace("decoder.param_gen.decoder.bias_up", "adapter_up.bias_head");
    format!("hyper.decoder.{ours}")
}
