//! Backbone, corpora and device of a training, and the run folder.

use std::path::Path;

use hyperloader_core::backbone::registry::Architecture;
use hyperloader_core::files::{FileError, sha256, write_atomic};
use hyperloader_core::run::{self, BackboneReference, HubReference, Manifest, Run, Task};
use hyperloader_core::text::sentence_words::SentenceWords;
use hyperloader_core::weights::tensors::Tensors;
use tch::Device;

use super::error::TrainError;
use super::observer::Observer;
use crate::config::{self, BackboneConfig, Config};
use crate::data::{DataError, Example, ReadProgress, TaskData, TaskSource};
use crate::device;
use crate::hub::Located;
use crate::model::{self, Base, Learner, MatrixPrecision, ModelError, Placement, Start, TaskLabels};
use crate::parallel::Group;
use crate::parameters::Parameters;
use crate::record::CONFIG;
use crate::sampler::TaskSampler;

/// Backbone, corpora and device of a training.
pub(super) struct Materials {
    pub(super) base: Box<dyn Base>,
    /// The backbone's id and commit on the hub, if it comes from there.
    hub: Option<HubReference>,
    /// The tasks in the order of the configuration.
    pub(super) data: Vec<TaskData>,
    device: Device,
}

impl Materials {
    /// `CPU` or `GPU`.
    pub(super) fn device_kind(&self) -> &'static str {
        if self.device.is_cuda() { "GPU" } else { "CPU" }
    }

    /// Checks the configuration and loads everything that it names. The processes of `group` on one machine use one device
    /// each, or share the processor. `observer` follows the reading of streamed tasks.
    pub(super) fn load(
        config: &Config,
        group: &Group,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainError> {
        config.validate()?;
        let processes = group.communicator();
        let device = device::resolve(config.training.device, processes.local_rank() as u32)?;
        device::set_deterministic(config.training.deterministic)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = config.training.threads.unwrap_or((cores / processes.local_size()).max(1));
        tch::set_num_threads(threads as i32);
        let Located { folder, hub } = config.backbone.locate(&mut |_| ())?;
        let base = model::open(config, &folder)?;
        let data = load_tasks(config, &*base, group, observer)?;
        Ok(Self { base, hub, data, device })
    }

    /// Loads what a run was trained on, and checks that it has not changed. Returns the configuration with the backbone of
    /// the run.
    pub(super) fn of_run(
        mut config: Config,
        run: &Run,
        group: &Group,
        observer: &mut dyn Observer,
    ) -> Result<(Config, Self), TrainError> {
        // The commit that the run was trained on, even if the cache of the hub has a later one by now.
        let folder = run.folder.join(&run.manifest.backbone.path);
        if run.manifest.backbone.hub.is_some() && folder.is_dir() {
            config.backbone =
                BackboneConfig { path: Some(folder), id: None, revision: None, ..config.backbone };
        }
        let changed = |what: String| TrainError::Changed { run: run.manifest.name.clone(), what };
        if config.method != run.manifest.method {
            return Err(changed("the method or one of its hyper-parameters".into()));
        }
        let materials = Self::load(&config, group, observer)?;
        if materials.backbone_reference(&run.folder)?.sha256 != run.manifest.backbone.sha256 {
            return Err(changed("the backbone".into()));
        }
        for (mut now, then) in materials.tasks().into_iter().zip(&run.manifest.tasks) {
            // Runs of the first version have no hash of their corpora.
            if then.train_sha256.is_empty() {
                now.train_sha256.clear();
            }
            // Older runs have the splitting of the layout, which was not compared with the corpus.
            if then.word_fit.is_none() {
                (now.words, now.word_fit) = (then.words, None);
            }
            // Nor did they count the words of sentences.
            if then.sentence_words.is_none() {
                now.sentence_words = None;
            }
            if now != *then {
                return Err(changed(format!("the corpus of task `{}`", then.name)));
            }
        }
        Ok((config, materials))
    }

    /// The start from a checkpoint.
    pub(super) fn checkpoint(&self, tensors: &Tensors) -> Start {
        Start::Checkpoint(Parameters::from_tensors(tensors, self.device))
    }

    /// A model whose tensors come from `start`.
    pub(super) fn learner(
        &self,
        config: &Config,
        start: Start,
        precision: MatrixPrecision,
    ) -> Result<Box<dyn Learner>, ModelError> {
        let tasks: Vec<TaskLabels> =
            self.data.iter().map(|task| TaskLabels { name: &task.name, labels: &task.labels }).collect();
        self.base.learner(&config.method, &tasks, start, Placement { device: self.device, precision })
    }

    /// The sampler of the training examples.
    pub(super) fn sampler(&self, config: &Config) -> TaskSampler {
        let sizes: Vec<usize> = self.data.iter().map(|t| t.train.len()).collect();
        TaskSampler::new(&sizes, config.training.temperature, config.seed)
            .with_streams(|task| self.data[task].train.is_streamed())
    }

    /// Creates the folder of a new run, with its configuration.
    pub(super) fn create_run(&self, config: &Config) -> Result<Run, TrainError> {
        let name = match &config.name {
            Some(name) => name.clone(),
            None => free_name(&config.runs, config.method.method().name()),
        };
        let folder = config.runs.join(&name);
        check_new(&folder)?;
        let manifest = Manifest {
            format: run::FORMAT,
            name: name.clone(),
            program: concat!("hl-train ", env!("CARGO_PKG_VERSION")).to_owned(),
            method: config.method.clone(),
            architecture: Architecture::of(self.base.backbone().config()),
            backbone: self.backbone_reference(&folder)?,
            tasks: self.tasks(),
            max_source_len: config.training.max_source_len,
            max_target_len: config.training.max_target_len,
            seed: config.seed,
            checkpoints: Vec::new(),
            drafters: None,
            calibration: None,
        };
        let config = Config { name: Some(name), ..config.clone() }.relative_to(&folder)?;
        let run = Run::create(&folder, manifest)?;
        let text = toml::to_string(&config)
            .map_err(|e| FileError::new("write", &folder, std::io::Error::other(e)))?;
        write_atomic(&run.folder.join(CONFIG), |w| w.write_all(text.as_bytes()))?;
        Ok(run)
    }

    /// The tasks as the manifest of a run has them.
    fn tasks(&self) -> Vec<Task> {
        let task = |data: &TaskData| Task {
            name: data.name.clone(),
            labels: data.labels.iter().map(str::to_owned).collect(),
            words: data.words,
            word_fit: data.word_fit,
            sentence_words: SentenceWords::of(with_words(data).iter().map(|example| example.words.len())),
            train_sentences: data.train.len(),
            train_sha256: data.train.sha256(),
        };
        self.data.iter().map(task).collect()
    }

    /// The backbone as the manifest of a run in the folder `run` has it.
    fn backbone_reference(&self, run: &Path) -> Result<BackboneReference, TrainError> {
        let backbone = self.base.backbone();
        Ok(BackboneReference {
            path: match self.hub {
                // The cache keeps its place when a run is moved.
                Some(_) => backbone.folder().to_owned(),
                None => config::from_folder(backbone.folder(), run)?,
            },
            sha256: backbone.hash()?,
            tokenizer_sha256: sha256(&backbone.tokenizer())?,
            hub: self.hub.clone(),
        })
    }
}

/// Checks that a run can be created in `folder`.
///
/// # Errors
/// If it is the folder of a run or of something else.
pub(super) fn check_new(folder: &Path) -> Result<(), TrainError> {
    if Run::exists(folder) {
        return Err(TrainError::Exists(folder.to_owned()));
    }
    // A training that was interrupted before its first checkpoint leaves only its configuration.
    match folder.exists() && !folder.join(CONFIG).is_file() {
        true => Err(TrainError::Occupied(folder.to_owned())),
        false => Ok(()),
    }
}

/// Loads all tasks. Of the processes of a machine, the first one writes the stores of streamed tasks.
fn load_tasks(
    config: &Config,
    base: &dyn Base,
    group: &Group,
    observer: &mut dyn Observer,
) -> Result<Vec<TaskData>, TrainError> {
    let mut all = || -> Result<Vec<TaskData>, DataError> {
        let codec = base.coding();
        let mut reading = |progress: &ReadProgress<'_>| observer.reading(progress);
        let mut load =
            |(task, spec): (&String, _)| TaskSource { task, spec, codec, config }.load(&mut reading);
        config.tasks.iter().map(&mut load).collect()
    };
    if !config.tasks.values().any(|spec| spec.stream) {
        return Ok(all()?);
    }
    let first = (group.communicator().local_rank() == 0).then(&mut all).transpose()?;
    group.any(false)?;
    Ok(first.map_or_else(all, Ok)?)
}

/// Examples whose words are known: those of the training split, or of the validation split if the training split is a stream.
fn with_words(data: &TaskData) -> &[Example] {
    if data.train.is_streamed() { &data.valid } else { data.train.loaded() }
}

/// The first name `NAME-N` that no folder has.
fn free_name(runs: &Path, name: &str) -> String {
    (1..)
        .map(|n| format!("{name}-{n}"))
        .find(|name| !runs.join(name).exists())
        .unwrap_or_else(|| name.to_owned())
}
