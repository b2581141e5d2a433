//! Adapters and LoRA as AdapterHub saves them: `adapter_config.json`, and `adapter.safetensors` or `pytorch_adapter.bin`.

use std::path::Path;

use hyperloader_core::backbone::CONFIG;
use hyperloader_core::backbone::t5::T5Config;
use hyperloader_core::method::{Method, ModulesConfig, names};
use hyperloader_core::weights::task::Activation;
use hyperloader_core::weights::tensors::{HostTensor, Tensors};
use serde_json::Value;

use super::error::ImportError;
use super::folder::{ADAPTER_CONFIG, backbone, insert, json, tensors};
use super::foreign::{Foreign, Import};
use super::merge::Pairs;
use crate::error::ExportError;

/// The settings of adapters that compute what exported files compute: after self-attention and feed-forward layers,
/// `x + up(f(down(x)))` (docs/reference/baselines.md#adapters).
const ADAPTERS: [(&str, Value); 13] = [
    ("mh_adapter", Value::Bool(true)),
    ("output_adapter", Value::Bool(true)),
    ("cross_adapter", Value::Bool(false)),
    ("is_parallel", Value::Bool(false)),
    ("ln_after", Value::Bool(false)),
    ("ln_before", Value::Bool(false)),
    ("original_ln_before", Value::Bool(false)),
    ("adapter_residual_before_ln", Value::Bool(false)),
    ("residual_before_ln", Value::Bool(true)),
    ("phm_layer", Value::Bool(false)),
    ("use_gating", Value::Bool(false)),
    ("inv_adapter", Value::Null),
    ("leave_out", Value::Null),
];

/// What the settings of an adapter say.
#[derive(Debug, Default)]
struct Settings {
    activation: Option<Activation>,
    /// Of LoRA.
    alpha: Option<f64>,
}

/// Reads adapters, and adds LoRA to the backbone's matrices.
pub(super) fn read(import: &Import) -> Result<Foreign, ExportError> {
    let path = import.folder.join(ADAPTER_CONFIG);
    let config = json(&path)?;
    let settings = settings(&path, &config["config"])?;
    let name = config["name"].as_str().unwrap_or_default();
    let backbone = backbone(import, config["model_name"].as_str())?;
    let (found, file) = tensors(&import.folder, &["adapter.safetensors", "pytorch_adapter.bin"])?;
    let (mut pairs, mut modules) = (Pairs::default(), Tensors::new());
    for (theirs, tensor) in found {
        let lora = theirs.split_once(&format!(".loras.{name}.lora_"));
        let adapter = theirs.split_once(&format!(".adapters.{name}.adapter_"));
        match (lora, adapter) {
            (Some((module, matrix)), _) => pairs.add(module, matrix.starts_with('B'), tensor, &file)?,
            (None, Some((module, part))) => {
                let part = part.replacen("down.0.", "down.", 1);
                let ours = names::of_task(&import.task, &names::adapter(module, &part));
                insert(&mut modules, ours, tensor, &file)?;
            }
            (None, None) => insert(&mut modules, theirs, tensor, &file)?,
        }
    }
    let alpha = settings.alpha.unwrap_or(1.0);
    let merged = pairs.merge(&backbone, &file, |rank| alpha / rank as f64)?;
    let foreign = match settings.activation {
        None => Foreign::full(backbone, modules, file),
        Some(activation) => {
            let reduction_factor = Some(reduction_factor(&backbone, &file, &modules)?);
            let activation = Some(activation);
            let method = ModulesConfig { method: Method::Adapters, reduction_factor, activation, lora: None };
            Foreign { method: method.into(), ..Foreign::full(backbone, modules, file) }
        }
    };
    Ok(Foreign {
        origin: "modules of AdapterHub",
        tensors: foreign.tensors.into_iter().chain(merged).collect(),
        ..foreign
    })
}

/// Checks the settings of an adapter, or of each part of a union.
fn settings(path: &Path, config: &Value) -> Result<Settings, ImportError> {
    let fault = |field: &str, expected: &str| ImportError::Setting {
        path: path.to_owned(),
        field: format!("config.{field}"),
        found: config[field].to_string(),
        expected: expected.to_owned(),
    };
    match config["architecture"].as_str() {
        Some("union") => {
            let mut all = Settings::default();
            for part in config["configs"].as_array().into_iter().flatten() {
                let Settings { activation, alpha } = settings(path, part)?;
                if all.activation.is_some() && activation.is_some() || all.alpha.is_some() && alpha.is_some()
                {
                    return Err(fault("configs", "one adapter and one LoRA"));
                }
                all.activation = all.activation.or(activation);
                all.alpha = all.alpha.or(alpha);
            }
            Ok(all)
        }
        Some("lora") => {
            if config["composition_mode"] != "add" {
                return Err(fault("composition_mode", "\"add\""));
            }
            if config["use_gating"] == true {
                return Err(fault("use_gating", "false"));
            }
            let alpha = config["alpha"].as_f64().ok_or_else(|| fault("alpha", "a number"))?;
            Ok(Settings { activation: None, alpha: Some(alpha) })
        }
        Some(_) => Err(fault("architecture", "an adapter, \"lora\" or \"union\"")),
        None => {
            let is_as = |found: &Value, expected: &Value| {
                found == expected || (expected.is_null() && found.as_array().is_some_and(Vec::is_empty))
            };
            let other = ADAPTERS.iter().find(|(field, expected)| !is_as(&config[*field], expected));
            if let Some((field, expected)) = other {
                return Err(fault(field, &expected.to_string()));
            }
            if config["scaling"].as_f64().is_some_and(|scaling| scaling != 1.0)
                || config["scaling"].is_string()
            {
                return Err(fault("scaling", "1.0"));
            }
            let activation = match config["non_linearity"].as_str() {
                Some("swish" | "silu") => Activation::Swish,
                Some("relu") => Activation::Relu,
                Some("gelu_new") => Activation::GeluNew,
                Some("gelu") => Activation::Gelu,
                _ => return Err(fault("non_linearity", "\"swish\", \"relu\", \"gelu\" or \"gelu_new\"")),
            };
            Ok(Settings { activation: Some(activation), alpha: None })
        }
    }
}

/// The width of the hidden states divided by the bottleneck of the adapters.
fn reduction_factor(backbone: &Path, file: &Path, modules: &Tensors) -> Result<usize, ImportError> {
    let width = T5Config::from_file(&backbone.join(CONFIG))
        .map_err(hyperloader_core::backbone::BackboneError::from)?
        .d_model;
    let down = modules.iter().find(|(name, _)| name.ends_with(".adapter.down.weight"));
    let bottleneck = |tensor: &HostTensor| tensor.shape().first().copied().unwrap_or(0);
    let fault = |name: &str, found: String| ImportError::Tensor {
        file: file.to_owned(),
        name: name.to_owned(),
        found,
        expected: format!("a bottleneck that divides the width {width}"),
    };
    let (name, tensor) = down.ok_or_else(|| fault("adapter_down", "missing".to_owned()))?;
    match width.checked_div(bottleneck(tensor)) {
        Some(factor) if factor > 0 && width / factor == bottleneck(tensor) => Ok(factor),
        _ => Err(fault(name, format!("{:?}", tensor.shape()))),
    }
}
