//! What a training is made from, and the folder that it fills.

use std::path::Path;

use hyperloader_core::files::{FileError, hexadecimal, sha256, write_atomic};
use hyperloader_core::method::MethodConfig;
use hyperloader_core::run::{self, BackboneReference, HubReference, Manifest, Run, Task};
use hyperloader_core::weights::tensors::Tensors;
use sha2::{Digest, Sha256};
use tch::Device;

use super::TrainError;
use super::base::Base;
use crate::config::{self, Config};
use crate::data::{Example, TaskData, load_task};
use crate::device;
use crate::hub::Located;
use crate::learner::Learner;
use crate::model::Precision;
use crate::sampler::TaskSampler;

/// The configuration that a run's folder keeps.
pub const CONFIG: &str = "config.toml";

/// What a training is made from.
pub(super) struct Materials {
    pub(super) base: Base,
    /// What its backbone is on the hub, if it comes from there.
    pub(super) hub: Option<HubReference>,
    pub(super) data: Vec<TaskData>,
    pub(super) device: Device,
}

impl Materials {
    pub(super) fn load(config: &Config) -> Result<Self, TrainError> {
        config.validate()?;
        let device = device::parse(&config.training.device)?;
        device::set_deterministic(config.training.deterministic)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        tch::set_num_threads(config.training.threads.unwrap_or(cores) as i32);
        let Located { folder, hub } = config.backbone.locate(&mut |_| ())?;
        let base = Base::open(config, &folder)?;
        let data = config
            .tasks
            .iter()
            .map(|(task, spec)| load_task(task, spec, base.codec(), config))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { base, hub, data, device })
    }

    /// A model with fresh tensors, or with those of a checkpoint.
    pub(super) fn learner(
        &self,
        config: &Config,
        checkpoint: Option<&Tensors>,
        precision: Precision,
    ) -> Result<Box<dyn Learner>, TrainError> {
        self.base.learner(config, &self.data, checkpoint, (self.device, precision))
    }

    pub(super) fn sampler(&self, config: &Config) -> TaskSampler {
        let sizes: Vec<usize> = self.data.iter().map(|t| t.train.len()).collect();
        let sampler = TaskSampler::new(&sizes, config.training.temperature, config.seed);
        let Some(window) = config.training.length_window else { return sampler };
        let length = |e: &Example| e.source.len() + e.target.len();
        let lengths: Vec<Vec<usize>> =
            self.data.iter().map(|t| t.train.iter().map(length).collect()).collect();
        sampler.with_length_window(&lengths, window)
    }
}

/// Refuses a warm start from a run of other tasks, another method or another backbone; a classifier's labels count too.
pub(super) fn check_warm_start(config: &Config, materials: &Materials, run: &Run) -> Result<(), TrainError> {
    let Manifest { name, method, tasks, backbone: trained_on, .. } = &run.manifest;
    let hash = materials.base.hash()?;
    let theirs: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
    let ours: Vec<&str> = config.tasks.keys().map(String::as_str).collect();
    let list = |names: &[&str]| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    let methods = [method.method(), config.method.method()].map(|method| format!("`{method}`"));
    let [their_method, our_method] = methods;
    let (what, theirs, ours) = if their_method != our_method {
        ("method", their_method, our_method)
    } else if theirs != ours {
        ("set of tasks", list(&theirs), list(&ours))
    } else if *method != config.method {
        // As in a configuration, on one line.
        let text = |method: &MethodConfig| serde_json::to_string(method).unwrap_or_default();
        ("set of hyper-parameters", text(method), text(&config.method))
    } else if trained_on.sha256 != hash {
        ("backbone's SHA-256", trained_on.sha256.clone(), hash)
    } else if let Some((theirs, ours)) = other_labels(materials, tasks) {
        ("list of labels", theirs, ours)
    } else {
        return Ok(());
    };
    Err(TrainError::WarmStart { run: name.clone(), what, theirs, ours })
}

/// The labels of the first task whose classifier would have others, theirs and ours.
fn other_labels(materials: &Materials, tasks: &[Task]) -> Option<(String, String)> {
    if matches!(materials.base, Base::T5 { .. }) {
        return None;
    }
    let show = |labels: &[String]| labels.iter().map(|l| format!("`{l}`")).collect::<Vec<_>>().join(", ");
    tasks.iter().zip(&materials.data).find_map(|(theirs, ours)| {
        let labels: Vec<String> = ours.labels.iter().map(str::to_owned).collect();
        (theirs.labels != labels).then(|| (show(&theirs.labels), show(&labels)))
    })
}

/// The folder of a new run, with its configuration.
pub(super) fn create_run(config: &Config, materials: &Materials) -> Result<Run, TrainError> {
    let name = match &config.name {
        Some(name) => name.clone(),
        None => free_name(&config.runs, config.method.method().name()),
    };
    let folder = config.runs.join(&name);
    if Run::exists(&folder) {
        return Err(TrainError::Exists(folder));
    }
    // A training that was cut before its first checkpoint leaves its configuration only.
    if folder.exists() && !folder.join(CONFIG).is_file() {
        return Err(TrainError::Occupied(folder));
    }
    let manifest = Manifest {
        format: run::FORMAT,
        name: name.clone(),
        program: concat!("hl-train ", env!("CARGO_PKG_VERSION")).to_owned(),
        method: config.method.clone(),
        architecture: materials.base.architecture(),
        backbone: backbone_reference(&folder, materials)?,
        tasks: manifest_tasks(&materials.data),
        max_source_len: config.training.max_source_len,
        max_target_len: config.training.max_target_len,
        seed: config.seed,
        checkpoints: Vec::new(),
        drafters: None,
    };
    let config = Config { name: Some(name), ..config.clone() }.relative_to(&folder)?;
    let run = Run::create(&folder, manifest)?;
    let text =
        toml::to_string(&config).map_err(|e| FileError::new("write", &folder, std::io::Error::other(e)))?;
    write_atomic(&run.folder.join(CONFIG), |w| w.write_all(text.as_bytes()))?;
    Ok(run)
}

pub(super) fn manifest_tasks(data: &[TaskData]) -> Vec<Task> {
    let task = |data: &TaskData| Task {
        name: data.name.clone(),
        labels: data.labels.iter().map(str::to_owned).collect(),
        words: data.words,
        word_fit: data.word_fit,
        train_sentences: data.train.len(),
        train_sha256: train_hash(data),
    };
    data.iter().map(task).collect()
}

/// SHA-256 over the training examples' ids, each sequence behind its length.
fn train_hash(data: &TaskData) -> String {
    let mut hasher = Sha256::new();
    for ids in data.train.iter().flat_map(|example| [&example.source, &example.target]) {
        hasher.update((ids.len() as u64).to_le_bytes());
        ids.iter().for_each(|id| hasher.update(id.to_le_bytes()));
    }
    hexadecimal(&hasher.finalize())
}

pub(super) fn backbone_reference(run: &Path, materials: &Materials) -> Result<BackboneReference, TrainError> {
    let Materials { base, hub, .. } = materials;
    Ok(BackboneReference {
        path: match hub {
            // The cache stays where it is when a run is moved.
            Some(_) => base.folder().to_owned(),
            None => config::from_folder(base.folder(), run)?,
        },
        sha256: base.hash()?,
        tokenizer_sha256: sha256(&base.tokenizer())?,
        hub: hub.clone(),
    })
}

/// The first `name-N` that is not taken.
fn free_name(runs: &Path, name: &str) -> String {
    (1..)
        .map(|n| format!("{name}-{n}"))
        .find(|name| !runs.join(name).exists())
        .unwrap_or_else(|| name.to_owned())
}
