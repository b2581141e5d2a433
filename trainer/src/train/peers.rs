//! What all processes of a training must have in common: the program, the configuration, the backbone, the corpora, the
//! number of threads. Paths may differ, contents may not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hyperloader_core::files::{FileError, hexadecimal, sha256};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::error::TrainError;
use super::materials::Materials;
use crate::config::Config;
use crate::data::Example;
use crate::data::batch::target;
use crate::model::Learner;
use crate::parallel::Group;

/// Properties by name.
type Properties = BTreeMap<String, String>;

/// Checks that each process has the properties of process 0.
///
/// # Errors
/// Names the first property that differs, with both values. If another process failed.
pub(super) fn check(group: &Group, config: &Config, materials: &Materials) -> Result<(), TrainError> {
    if group.size() == 1 {
        return Ok(());
    }
    if group.size() > config.training.parts {
        return Err(TrainError::TooManyProcesses { processes: group.size(), parts: config.training.parts });
    }
    compare(group, properties(config, materials)?)
}

fn compare(group: &Group, mine: Properties) -> Result<(), TrainError> {
    let all = group.gather((group.communicator().machine(), mine))?;
    let (_, first) = &all[0];
    for (rank, (machine, other)) in all.iter().enumerate() {
        let names: BTreeSet<&String> = first.keys().chain(other.keys()).collect();
        let Some(name) = names.into_iter().find(|name| first.get(*name) != other.get(*name)) else {
            continue;
        };
        let value = |of: &Properties| of.get(name).cloned().unwrap_or_else(|| "not set".to_owned());
        return Err(TrainError::Unequal {
            what: name.clone(),
            first: value(first),
            rank,
            machine: machine.clone(),
            other: value(other),
        });
    }
    Ok(())
}

/// Checks that the parameters are the same in all processes. They are if their processors compute alike.
///
/// # Errors
/// If they differ, or another process failed.
pub(super) fn check_parameters(group: &Group, learner: &dyn Learner, step: u64) -> Result<(), TrainError> {
    if group.size() == 1 {
        return Ok(());
    }
    let mut hasher = Sha256::new();
    for tensor in learner.parameters().to_host().values() {
        tensor.iter().for_each(|value| hasher.update(value.to_le_bytes()));
    }
    let property = (format!("SHA-256 of the parameters after step {step}"), hexadecimal(&hasher.finalize()));
    compare(group, [property].into())
}

fn properties(config: &Config, materials: &Materials) -> Result<Properties, TrainError> {
    let backbone = materials.base.backbone();
    let program = std::env::current_exe().map_err(|e| FileError::new("find", Path::new("hl-train"), e))?;
    let mut all = Properties::from([
        ("version of `hl-train`".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("SHA-256 of the program".to_owned(), sha256(&program)?),
        ("SHA-256 of the backbone".to_owned(), backbone.hash()?),
        ("SHA-256 of the tokenizer".to_owned(), materials.base.coding().identity()),
        ("number of threads (`--threads`)".to_owned(), tch::get_num_threads().to_string()),
        ("type of processor".to_owned(), processor()),
        ("kind of device (`--device`)".to_owned(), materials.device_kind().to_owned()),
    ]);
    for task in &materials.data {
        let train = match task.train.is_streamed() {
            true => task.train.sha256(),
            false => hash(task.train.loaded()),
        };
        let splits = [("training", train), ("validation", hash(&task.valid)), ("test", hash(&task.test))];
        for (split, hash) in splits {
            all.insert(format!("SHA-256 of the {split} sentences of task `{}`", task.name), hash);
        }
    }
    settings(config, &mut all);
    Ok(all)
}

/// The architecture and the instructions that decide how libtorch computes.
fn processor() -> String {
    #[cfg(target_arch = "x86_64")]
    let instructions = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let instructions: [(&str, bool); 0] = [];
    let known = instructions.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name);
    std::iter::once(std::env::consts::ARCH).chain(known).collect::<Vec<_>>().join(" ")
}

/// The SHA-256 of all that a training and its evaluation use of examples.
fn hash(examples: &[Example]) -> String {
    let mut hasher = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for example in examples {
        for ids in [&example.source, &example.target] {
            let ids: Vec<u8> = ids.iter().flat_map(|id| target(*id).to_le_bytes()).collect();
            add(&ids);
        }
        for words in [&example.words, &example.tags] {
            words.iter().for_each(|word| add(word.as_bytes()));
        }
        add(format!("{} {} {:?}", example.sentence, example.is_whole, example.marked).as_bytes());
    }
    hexadecimal(&hasher.finalize())
}

/// The keys and values of the configuration, without names of files and folders.
fn settings(config: &Config, all: &mut Properties) {
    let mut config = config.clone();
    (config.runs, config.streams) = Default::default();
    config.name = None;
    config.backbone.path = None;
    config.tasks.values_mut().flat_map(|spec| spec.paths_mut()).for_each(|path| *path = Default::default());
    // The number of threads that is used is compared.
    (config.training.device, config.training.threads) = Default::default();
    let value = serde_json::to_value(&config).expect("a configuration is written to each run");
    flatten("", &value, all);
}

fn flatten(prefix: &str, value: &Value, all: &mut Properties) {
    let Value::Object(table) = value else {
        all.insert(format!("`{prefix}`"), value.to_string());
        return;
    };
    for (key, value) in table {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        flatten(&name, value, all);
    }
}
