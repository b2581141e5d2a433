//! LoRA as PEFT saves it: `adapter_config.json`, and `adapter_model.safetensors` or `.bin`.

use std::path::Path;

use hyperloader_core::weights::tensors::Tensors;
use serde_json::Value;

use super::error::ImportError;
use super::folder::{ADAPTER_CONFIG, backbone, insert, json, tensors};
use super::foreign::{Foreign, Import};
use super::merge::Pairs;
use crate::error::ExportError;

/// Before the names of all tensors.
const PREFIX: &str = "base_model.model.";

/// Settings that say nothing of what the trained model computes, or that are read here.
const KNOWN: [&str; 24] = [
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "megatron_config",
    "megatron_core",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "revision",
    "target_modules",
    "task_type",
    "use_rslora",
];

/// Reads the pairs and adds them to the backbone's matrices. Tensors that were trained as a whole (`modules_to_save`) replace
/// those of the backbone.
pub(super) fn read(import: &Import) -> Result<Foreign, ExportError> {
    let path = import.folder.join(ADAPTER_CONFIG);
    let config = json(&path)?;
    let scale = scale(&path, &config)?;
    let backbone = backbone(import, config["base_model_name_or_path"].as_str())?;
    let (found, file) = tensors(&import.folder, &["adapter_model.safetensors", "adapter_model.bin"])?;
    let (mut pairs, mut whole) = (Pairs::default(), Tensors::new());
    for (name, tensor) in found {
        let name = name.strip_prefix(PREFIX).unwrap_or(&name).replace(".default.", ".");
        match name.split_once(".lora_A.weight").or_else(|| name.split_once(".lora_B.weight")) {
            Some((module, "")) => pairs.add(module, name.ends_with(".lora_B.weight"), tensor, &file)?,
            _ => insert(&mut whole, name.replace(".modules_to_save.", "."), tensor, &file)?,
        }
    }
    for (name, matrix) in pairs.merge(&backbone, &file, scale)? {
        insert(&mut whole, name, matrix, &file)?;
    }
    Ok(Foreign { origin: "LoRA of PEFT", ..Foreign::full(backbone, whole, file) })
}

/// Checks the settings; returns the factor of `B A` for a rank.
fn scale(path: &Path, config: &Value) -> Result<impl Fn(usize) -> f64, ImportError> {
    let fault = |field: &str, expected: &str| ImportError::Setting {
        path: path.to_owned(),
        field: field.to_owned(),
        found: config[field].to_string(),
        expected: expected.to_owned(),
    };
    if config["peft_type"] != "LORA" {
        return Err(fault("peft_type", "\"LORA\""));
    }
    // A setting that is absent, false or empty has no effect.
    let has_effect = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    };
    let mut fields = config.as_object().into_iter().flatten();
    let unknown = |(field, value): &(&String, &Value)| !KNOWN.contains(&field.as_str()) && has_effect(value);
    if let Some((field, _)) = fields.find(unknown) {
        return Err(fault(field, "false or nothing"));
    }
    match &config["init_lora_weights"] {
        Value::Null | Value::Bool(_) => {}
        Value::String(name) if ["gaussian", "orthogonal", "eva"].contains(&name.as_str()) => {}
        // The others change the backbone when PEFT loads them.
        _ => return Err(fault("init_lora_weights", "true, false, \"gaussian\", \"orthogonal\" or \"eva\"")),
    }
    if !matches!(config["use_rslora"], Value::Null | Value::Bool(_)) {
        return Err(fault("use_rslora", "true or false"));
    }
    if !config["bias"].is_null() && config["bias"] != "none" {
        return Err(fault("bias", "\"none\""));
    }
    let alpha = config["lora_alpha"].as_f64().ok_or_else(|| fault("lora_alpha", "a number"))?;
    let by_root = config["use_rslora"] == true;
    Ok(move |rank: usize| alpha / if by_root { (rank as f64).sqrt() } else { rank as f64 })
}
