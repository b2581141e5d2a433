//! A run of seeded random numbers on a backbone of seeded random numbers: everything but sense.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use hyperloader_core::backbone::registry::Architecture;
use hyperloader_core::backbone::t5::T5Config;
use hyperloader_core::files::sha256;
use hyperloader_core::method::{Init, MethodConfig, TaskShape};
use hyperloader_core::run::{BackboneReference, FORMAT, Manifest, Run, Snapshot, Task};
use hyperloader_core::text::words::WordSplitting;
use hyperloader_core::weights::tensors::{HostTensor, Tensors, write_tensors};
use ndarray::ArrayD;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Writes `backbone/` and `runs/random/` under `folder`; every tensor of the method differs from its initial value.
pub(crate) fn write(folder: &Path, t5: &T5Config, method: &MethodConfig, tasks: &[&str]) -> Run {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let backbone = t5.tensors().into_iter().map(|(name, shape)| {
        let tensor = backbone_tensor(&mut rng, &name, &shape);
        (name, tensor)
    });
    write_backbone(&folder.join("backbone"), t5, &backbone.collect());
    write_run(folder, t5, method, tasks, &checkpoint(&mut rng, t5, method, tasks))
}

/// Random numbers for every tensor that `method` trains for `tasks`.
pub(crate) fn checkpoint(
    rng: &mut ChaCha8Rng,
    t5: &T5Config,
    method: &MethodConfig,
    tasks: &[&str],
) -> Tensors {
    let names: Vec<String> = tasks.iter().map(|task| (*task).to_owned()).collect();
    let trainable = method.trainable_tensors(t5, &TaskShape::named(&names)).into_iter();
    trainable.map(|t| (t.name, tensor(rng, &t.shape, t.init))).collect()
}

/// Random numbers for the tensor `name` of a backbone.
pub(crate) fn backbone_tensor(rng: &mut ChaCha8Rng, name: &str, shape: &[usize]) -> HostTensor {
    tensor(rng, shape, backbone_init(name, shape))
}

/// Writes `runs/random/` under `folder` on the backbone in `backbone/`, with one checkpoint.
pub(crate) fn write_run(
    folder: &Path,
    t5: &T5Config,
    method: &MethodConfig,
    tasks: &[&str],
    checkpoint: &Tensors,
) -> Run {
    let task = |name: &&str| Task {
        name: (*name).to_owned(),
        labels: ["datetime", "location", "name"].map(str::to_owned).to_vec(),
        words: WordSplitting::default(),
        word_fit: None,
        sentence_words: None,
        train_sentences: 100,
        train_sha256: String::new(),
    };
    let backbone = folder.join("backbone");
    let manifest = Manifest {
        format: FORMAT,
        name: "random".into(),
        program: "random numbers".into(),
        method: method.clone(),
        architecture: Architecture::T5(t5.clone()),
        backbone: BackboneReference {
            path: "../../backbone".into(),
            sha256: sha256(&backbone.join("model.safetensors")).unwrap(),
            tokenizer_sha256: sha256(&backbone.join("tokenizer.json")).unwrap(),
            hub: None,
        },
        tasks: tasks.iter().map(task).collect(),
        max_source_len: 128,
        max_target_len: 128,
        seed: 7,
        checkpoints: vec![],
        drafters: None,
        calibration: None,
    };
    let mut run = Run::create(&folder.join("runs/random"), manifest).unwrap();
    let snapshot = Snapshot { step: 2, tensors: checkpoint, state: None, losses: BTreeMap::new() };
    run.save(&snapshot, 1).unwrap();
    run
}

/// Writes `config.json`, `model.safetensors` and T5's `tokenizer.json`.
pub(crate) fn write_backbone(folder: &Path, t5: &T5Config, tensors: &Tensors) {
    write_description(folder, t5);
    write_tensors(&folder.join("model.safetensors"), tensors).unwrap();
}

/// Writes all files of a backbone but `model.safetensors`.
pub(crate) fn write_description(folder: &Path, t5: &T5Config) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("config.json"), serde_json::to_string(t5).unwrap()).unwrap();
    let tokenizer = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/backbones/t5-nano/tokenizer.json");
    std::fs::copy(tokenizer, folder.join("tokenizer.json")).unwrap();
}

/// Keeps states of a size that a trained T5 has: products of matrices neither vanish nor grow with depth.
fn backbone_init(name: &str, shape: &[usize]) -> Init {
    match shape {
        [_] => Init::Ones,
        [_, _] if name == "shared.weight" => Init::Normal { std: 1.0 },
        [_, fan_in] if name.contains(".q.") => Init::Normal { std: 0.3 * (*fan_in as f64).powf(-0.5) },
        [_, fan_in] => Init::Normal { std: (*fan_in as f64).powf(-0.5) },
        _ => Init::Zeros,
    }
}

fn tensor(rng: &mut ChaCha8Rng, shape: &[usize], init: Init) -> HostTensor {
    let (centre, bound) = match init {
        // Off zero, where nothing would be folded, yet small: LoRA is an update, not another model.
        Init::Zeros => (0.0, 0.001),
        Init::Ones | Init::Backbone => (1.0, 0.2),
        Init::Normal { std } => (0.0, std * 3f64.sqrt()),
        Init::Uniform { bound } => (0.0, bound),
    };
    let (low, high) = ((centre - bound) as f32, (centre + bound) as f32);
    ArrayD::from_shape_simple_fn(shape, || rng.random_range(low..high))
}
