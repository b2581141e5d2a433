//! The training loop: sample, step, log, evaluate, keep the best and the last checkpoint.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use hyperloader_core::backbone::{Backbone, BackboneError};
use hyperloader_core::files::{FileError, sha256, write_atomic};
use hyperloader_core::method::MethodError;
use hyperloader_core::run::{self, BackboneReference, Manifest, Run, RunError, Task, Which};
use hyperloader_core::sentt::{SentT, SentTError};
use serde::Serialize;
use serde_json::json;

use crate::config::{Config, ConfigError};
use crate::data::{Batch, DataError, Example, TaskData, load_task};
use crate::device::{self, DeviceError};
use crate::evaluate::{Evaluation, EvaluationError, Settings, evaluate_task};
use crate::loss::smoothing_floor;
use crate::model::{Tagger, TaggerError};
use crate::optimizer::AdamW;
use crate::parameters::Parameters;
use crate::sampler::TaskSampler;
use crate::schedule::Schedule;

/// A training failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The configuration is unusable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The method does not fit.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// The backbone is unusable.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The tokenizer is unusable.
    #[error(transparent)]
    Tokenizer(#[from] SentTError),
    /// A corpus is unusable.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The device is not there.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The run's folder is unusable.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] TaggerError),
    /// An evaluation failed.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// The run's name is taken.
    #[error("run `{}` exists\nhint: choose another `--name`, or remove the folder", .0.display())]
    Exists(PathBuf),
    /// The loss is not a number any more.
    #[error(
        "loss is {loss} at step {step}, on task `{task}`\nhint: a lower `training.learning_rate` may help; the last checkpoint is kept"
    )]
    Diverged {
        /// The loss.
        loss: f64,
        /// Updates done.
        step: u64,
        /// The task of the batch.
        task: String,
    },
}

/// What a training reports while it runs; the loop itself never prints.
pub trait Observer {
    /// Data is loaded and the run's folder exists.
    fn started(&mut self, run: &Run, data: &[TaskData], trainable: usize);
    /// An update is done.
    fn stepped(&mut self, step: &Step);
    /// A task's validation split is evaluated.
    fn evaluated(&mut self, step: u64, task: &str, evaluation: &Evaluation);
}

/// One update.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Updates done, this one included.
    pub step: u64,
    /// The batch's task.
    pub task: String,
    /// Label-smoothed loss in nats per target token.
    pub loss: f64,
    /// The part of it that a perfect model would lack.
    pub loss_above_floor: f64,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
    /// Learning rate of this update.
    pub learning_rate: f64,
    /// Target tokens of the batch.
    pub tokens: i64,
    /// Since the training began, without evaluations.
    pub seconds: f64,
}

/// What a finished training is worth: the best checkpoint on both held-out splits.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The run's folder.
    pub run: PathBuf,
    /// Step of the best checkpoint.
    pub best_step: u64,
    /// Seconds of training, without evaluations.
    pub train_seconds: f64,
    /// By task.
    pub validation: BTreeMap<String, Evaluation>,
    /// By task; tasks without a test split are left out.
    pub test: BTreeMap<String, Evaluation>,
}

/// A training, ready to run.
pub struct Training {
    config: Config,
    backbone: Backbone,
    codec: SentT,
    data: Vec<TaskData>,
    tagger: Tagger,
    run: Run,
    metrics: File,
    metrics_path: PathBuf,
    /// Validation of the best checkpoint so far, by task.
    best_validation: BTreeMap<String, Evaluation>,
}

impl Training {
    /// Loads backbone and corpora, creates the model and the run's folder. `warm_start` takes the trainable tensors of a
    /// run on the same backbone, method and tasks in place of fresh ones.
    ///
    /// # Errors
    /// If anything that the configuration names is unusable; no folder is left then.
    pub fn prepare(config: Config, warm_start: Option<&Run>) -> Result<Self, TrainError> {
        config.validate()?;
        let device = device::parse(&config.training.device)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        tch::set_num_threads(config.training.threads.unwrap_or(cores) as i32);
        tch::manual_seed(config.seed as i64);
        let legacy_bias = config.backbone.cross_attention_relative_bias;
        let mut backbone = Backbone::open(&config.backbone.path, legacy_bias)?;
        if let Some(dropout) = config.training.dropout {
            backbone.config.dropout_rate = dropout;
        }
        let names: Vec<String> = config.tasks.keys().cloned().collect();
        config.method.validate(&backbone.config, &names)?;
        let codec = SentT::from_file(backbone.tokenizer())?;
        let data = config
            .tasks
            .iter()
            .map(|(task, spec)| load_task(task, spec, &codec, &config.training))
            .collect::<Result<Vec<_>, _>>()?;
        let tagger = match warm_start {
            None => Tagger::new(&backbone, &config.method, &names, config.seed, device)?,
            Some(run) => {
                let tensors = run.read(run.checkpoint(Which::Best)?)?;
                let parameters = Parameters::from_tensors(&tensors, device);
                Tagger::with_parameters(&backbone, &config.method, &names, parameters, device)?
            }
        };
        let run = create_run(&config, &backbone, &data)?;
        let metrics_path = run.folder.join("metrics.jsonl");
        let metrics = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&metrics_path)
            .map_err(|e| FileError::new("write", &metrics_path, e))?;
        Ok(Self {
            config,
            backbone,
            codec,
            data,
            tagger,
            run,
            metrics,
            metrics_path,
            best_validation: BTreeMap::new(),
        })
    }

    /// Trains to the last step and evaluates the best checkpoint.
    ///
    /// # Errors
    /// If the loss diverges or a file cannot be written; the last complete checkpoint stays.
    pub fn run(mut self, observer: &mut dyn Observer) -> Result<Outcome, TrainError> {
        observer.started(&self.run, &self.data, self.tagger.parameters.count());
        let settings = self.config.training.clone();
        let schedule = Schedule {
            base: settings.learning_rate,
            warmup: settings.warmup_steps,
            total: settings.steps,
            decay: settings.schedule,
        };
        let mut optimizer =
            AdamW::new(&self.tagger.parameters, settings.weight_decay, settings.absent_gradient);
        let sizes: Vec<usize> = self.data.iter().map(|t| t.train.len()).collect();
        let mut sampler = TaskSampler::new(&sizes, settings.temperature, self.config.seed);
        let mut seconds = 0.0;
        for step in 1..=settings.steps {
            let began = Instant::now();
            let (task, indices) = sampler.next_batch(settings.batch_size);
            let mut report = self.step(&mut optimizer, task, &indices, schedule.lr(step - 1), step)?;
            seconds += began.elapsed().as_secs_f64();
            report.seconds = seconds;
            if step % settings.log_every == 0 || step == settings.steps {
                self.log("train", &report)?;
            }
            observer.stepped(&report);
            if step % settings.evaluate_every == 0 || step == settings.steps {
                self.validate_and_save(step, observer)?;
            }
        }
        self.outcome(seconds)
    }

    fn step(
        &mut self,
        optimizer: &mut AdamW,
        task: usize,
        indices: &[usize],
        learning_rate: f64,
        step: u64,
    ) -> Result<Step, TrainError> {
        let data = &self.data[task];
        let examples: Vec<&Example> = indices.iter().map(|&i| &data.train[i]).collect();
        let t5 = &self.tagger.t5.config;
        let batch = Batch::new(&examples, t5.pad_token_id, self.tagger.device());
        let smoothing = self.config.training.label_smoothing;
        let loss = self.tagger.loss(&batch, &data.name, smoothing, true)?;
        if !loss.sum.is_finite() {
            return Err(TrainError::Diverged { loss: loss.sum, step, task: data.name.clone() });
        }
        self.tagger.parameters.backward(&loss.surrogate);
        let max_norm = self.config.training.max_grad_norm;
        let grad_norm = optimizer.step(&mut self.tagger.parameters, learning_rate, max_norm);
        let per_token = loss.sum / loss.tokens.max(1) as f64;
        Ok(Step {
            step,
            task: data.name.clone(),
            loss: per_token,
            loss_above_floor: per_token - smoothing_floor(smoothing, t5.vocab_size),
            grad_norm,
            learning_rate,
            tokens: loss.tokens,
            seconds: 0.0,
        })
    }

    fn settings(&self) -> Settings {
        let t = &self.config.training;
        Settings {
            batch_size: t.evaluation_batch_size,
            label_smoothing: t.label_smoothing,
            max_target_len: t.max_target_len,
        }
    }

    fn validate_and_save(&mut self, step: u64, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let mut validation = BTreeMap::new();
        for task in &self.data {
            let evaluation =
                evaluate_task(&self.tagger, &self.codec, &task.name, &task.valid, &self.settings())?;
            observer.evaluated(step, &task.name, &evaluation);
            let line = json!({ "step": step, "task": task.name, "evaluation": evaluation });
            log(&mut self.metrics, &self.metrics_path, "validation", &line)?;
            validation.insert(task.name.clone(), evaluation);
        }
        let losses = validation.values().map(|e| e.loss);
        let mean = losses.sum::<f64>() / validation.len() as f64;
        self.run.save(step, &self.tagger.parameters.to_host(), Some(mean))?;
        if self.run.checkpoint(Which::Best)?.step == step {
            self.best_validation = validation;
        }
        Ok(())
    }

    fn log(&mut self, kind: &str, value: &impl Serialize) -> Result<(), TrainError> {
        log(&mut self.metrics, &self.metrics_path, kind, &json!(value))
    }

    fn outcome(mut self, train_seconds: f64) -> Result<Outcome, TrainError> {
        let best = self.run.checkpoint(Which::Best)?.clone();
        let device = self.tagger.device();
        let parameters = Parameters::from_tensors(&self.run.read(&best)?, device);
        let Tagger { method, tasks, .. } = &self.tagger;
        self.tagger = Tagger::with_parameters(&self.backbone, method, tasks, parameters, device)?;
        let mut test = BTreeMap::new();
        for task in self.data.iter().filter(|task| !task.test.is_empty()) {
            let evaluation =
                evaluate_task(&self.tagger, &self.codec, &task.name, &task.test, &self.settings())?;
            test.insert(task.name.clone(), evaluation);
        }
        let outcome = Outcome {
            run: self.run.folder.clone(),
            best_step: best.step,
            train_seconds,
            validation: std::mem::take(&mut self.best_validation),
            test,
        };
        self.log("outcome", &outcome)?;
        Ok(outcome)
    }
}

fn log(file: &mut File, path: &Path, kind: &str, value: &serde_json::Value) -> Result<(), TrainError> {
    let mut line = json!({ "kind": kind });
    if let (Some(line), Some(fields)) = (line.as_object_mut(), value.as_object()) {
        line.extend(fields.clone());
    }
    writeln!(file, "{line}").map_err(|e| FileError::new("write", path, e))?;
    Ok(())
}

fn create_run(config: &Config, backbone: &Backbone, data: &[TaskData]) -> Result<Run, TrainError> {
    let name = match &config.name {
        Some(name) => name.clone(),
        None => free_name(&config.runs, config.method.method.name()),
    };
    let folder = config.runs.join(&name);
    if folder.exists() {
        return Err(TrainError::Exists(folder));
    }
    let tasks = config
        .tasks
        .values()
        .zip(data)
        .map(|(spec, data)| Task {
            name: data.name.clone(),
            labels: data.labels.iter().map(str::to_owned).collect(),
            words: spec.word_splitting(),
            train_sentences: data.train.len(),
        })
        .collect();
    let absolute = |path: &Path| std::path::absolute(path).map_err(|e| FileError::new("find", path, e));
    let from_run = pathdiff::diff_paths(absolute(&backbone.folder)?, absolute(&folder)?);
    let manifest = Manifest {
        format: run::FORMAT,
        name,
        program: concat!("hl-train ", env!("CARGO_PKG_VERSION")).to_owned(),
        method: config.method.clone(),
        t5: backbone.config.clone(),
        backbone: BackboneReference {
            path: from_run.unwrap_or_else(|| backbone.folder.clone()),
            sha256: backbone.hash()?,
            tokenizer_sha256: sha256(&backbone.tokenizer())?,
        },
        tasks,
        max_source_len: config.training.max_source_len,
        max_target_len: config.training.max_target_len,
        seed: config.seed,
        checkpoints: Vec::new(),
    };
    let run = Run::create(&folder, manifest)?;
    let text = toml::to_string(config).unwrap_or_default();
    write_atomic(&run.folder.join("config.toml"), |w| w.write_all(text.as_bytes()))?;
    Ok(run)
}

/// The first `name-N` that is not taken.
fn free_name(runs: &Path, name: &str) -> String {
    (1..)
        .map(|n| format!("{name}-{n}"))
        .find(|name| !runs.join(name).exists())
        .unwrap_or_else(|| name.to_owned())
}
