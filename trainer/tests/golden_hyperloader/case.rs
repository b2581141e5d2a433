//! The golden cases of `golden/hyperloader`: their files, and the model that each describes.

use std::path::PathBuf;

use hyperloader_core::backbone::BackboneConfig;
use hyperloader_core::backbone::t5::T5Config;
use hyperloader_core::method::{HyperConfig, LoraConfig, Method, MethodConfig, TaskShape};
use hyperloader_core::weights::tensors::{TensorFile, Tensors};
use hyperloader_trainer::data::Batch;
use hyperloader_trainer::model::t5::{T5, T5Tagger};
use hyperloader_trainer::parameters::{Parameters, to_device};
use serde_json::Value;
use tch::{Device, Kind};

use crate::golden_support::methods::json;
use crate::golden_support::{batch, cases};

/// A folder of golden vectors and the model that it describes.
pub(crate) struct Case {
    pub(crate) folder: PathBuf,
    pub(crate) name: String,
    pub(crate) config: Value,
    pub(crate) hyper: HyperConfig,
    pub(crate) tagger: T5Tagger,
}

impl Case {
    pub(crate) fn all() -> Vec<Self> {
        Self::all_in(Kind::Float)
    }

    pub(crate) fn all_in(kind: Kind) -> Vec<Self> {
        cases("hyperloader", "config.json").into_iter().map(|folder| Self::open(folder, kind)).collect()
    }

    pub(crate) fn open(folder: PathBuf, kind: Kind) -> Self {
        let config = json(&folder.join("config.json"));
        let (t5, hyper) = (t5_config(&config), hyper_config(&config));
        let method = MethodConfig::from(hyper.clone());
        let tasks: Vec<String> = serde_json::from_value(config["tasks"].clone()).unwrap();
        method.validate(&t5, &TaskShape::named(&tasks)).unwrap();
        let mut state = open(&folder, "state_ours").read_all().unwrap();
        let trainable: Tensors = method
            .trainable_tensors(&t5, &TaskShape::named(&tasks))
            .into_iter()
            .map(|t| (t.name.clone(), state.remove(&t.name).unwrap_or_else(|| panic!("no `{}`", t.name))))
            .collect();
        let parameters = Parameters::from_tensors(&trainable, Device::Cpu).to_kind(kind);
        let t5 = T5::new(&t5, |name| match parameters.get(name) {
            Some(tensor) => Ok(tensor.shallow_clone()),
            None => {
                let tensor = state.remove(name).ok_or(name.to_owned())?;
                Ok::<_, String>(to_device(&tensor, Device::Cpu).to_kind(kind))
            }
        })
        .unwrap();
        assert!(state.is_empty(), "tensors that the model has no place for: {:?}", state.keys());
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let shape = t5.config.shape();
        Self { folder, name, config, hyper, tagger: T5Tagger { t5, method, parameters, tasks, shape } }
    }

    pub(crate) fn file(&self, name: &str) -> TensorFile {
        open(&self.folder, name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.folder.join(format!("{name}.safetensors")).is_file()
    }

    pub(crate) fn inputs(&self) -> Batch {
        batch(&self.file("inputs"), "")
    }

    pub(crate) fn smoothing(&self) -> f64 {
        self.config["label_smoothing"].as_f64().unwrap()
    }

    /// Runs `check` for each task of each case.
    pub(crate) fn for_each_task(check: impl Fn(&mut Case, &str, &str)) {
        for mut case in Self::all() {
            for task in case.tagger.tasks.clone() {
                let what = format!("{}/{task}", case.name);
                check(&mut case, &task, &what);
            }
        }
    }
}

pub(crate) fn open(folder: &std::path::Path, name: &str) -> TensorFile {
    TensorFile::open(&folder.join(format!("{name}.safetensors"))).unwrap()
}

pub(crate) fn t5_config(config: &Value) -> T5Config {
    let mut fields = serde_json::Map::new();
    for field in [
        "vocab_size",
        "d_model",
        "d_kv",
        "d_ff",
        "num_layers",
        "num_decoder_layers",
        "num_heads",
        "relative_attention_num_buckets",
        "relative_attention_max_distance",
        "layer_norm_epsilon",
        "tie_word_embeddings",
        "pad_token_id",
        "eos_token_id",
        "decoder_start_token_id",
        "cross_attention_relative_bias",
    ] {
        if let Some(value) = config.get(field) {
            fields.insert(field.to_owned(), value.clone());
        }
    }
    fields.insert("feed_forward_proj".to_owned(), config["feed_forward_act"].clone());
    fields.insert("dropout_rate".to_owned(), config["dropout"].clone());
    serde_json::from_value(Value::Object(fields)).unwrap()
}

pub(crate) fn hyper_config(config: &Value) -> HyperConfig {
    let number = |field: &str| config[field].as_u64().unwrap() as usize;
    let (method, lora) = match config["model"].as_str().unwrap() {
        "HyperLoader" => {
            let alpha = config["lora_alpha"].as_f64().unwrap();
            (Method::HyperLoader, Some(LoraConfig { rank: number("lora_r"), alpha, ..LoraConfig::default() }))
        }
        "HyperFormer++" => (Method::HyperFormerPlusPlus, None),
        other => panic!("unknown model `{other}`"),
    };
    HyperConfig {
        method,
        task_embed_dim: number("task_embed_dim"),
        projector_hidden: number("projector_hidden"),
        reduction_factor: number("adapter_reduction_factor"),
        lora,
        ln_gamma_offset: config.get("ln_gamma_offset").and_then(Value::as_f64).unwrap_or(0.0),
        adapter_norm_eps: config["adapter_norm_eps"].as_f64().unwrap(),
        projector_norm_eps: config["projector_norm_eps"].as_f64().unwrap(),
        ..HyperConfig::default()
    }
}
