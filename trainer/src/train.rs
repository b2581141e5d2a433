//! The training loop: sample, step, log, evaluate, keep checkpoints, go on where a run was cut.
//!
//! A step depends on nothing but the checkpoint before it and its own number: batches are drawn again from the seed,
//! dropout is seeded for each step. So a run that was cut and resumed is, on the CPU, the run that was not.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hyperloader_core::backbone::{Backbone, BackboneError};
use hyperloader_core::corpus::CorpusSpec;
use hyperloader_core::files::{FileError, read_text, sha256, write_atomic};
use hyperloader_core::method::MethodError;
use hyperloader_core::run::{
    self, BackboneReference, HubReference, Manifest, ResumePoint, Run, RunError, Snapshot, Task, Which,
};
use hyperloader_core::sentt::SentT;
use hyperloader_core::tensors::Tensors;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tch::Device;

use crate::config::{self, Config, ConfigError, TrainingConfig};
use crate::data::{Batch, DataError, Example, TaskData, load_task};
use crate::device::{self, DeviceError};
use crate::evaluate::{Evaluation, EvaluationError, Settings, evaluate_task};
use crate::hub::{HubError, Located};
use crate::loss::smoothing_floor;
use crate::model::{Placement, Precision, Tagger, TaggerError};
use crate::optimizer::{AdamW, OptimizerState};
use crate::parameters::Parameters;
use crate::report::OUTCOME;
use crate::report::tensorboard::EventFile;
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
    /// The backbone cannot be found or fetched.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The backbone is unusable.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
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
    #[error("run `{path}` exists\nhint: go on with it by `--resume {path}`, choose another `--name`, or remove the folder", path = .0.display())]
    Exists(PathBuf),
    /// The folder's name is taken by something that is no run.
    #[error("`{}` exists and is no run\nhint: choose another `--name`, or remove the folder", .0.display())]
    Occupied(PathBuf),
    /// The run to start from has other trainable tensors.
    #[error("cannot start from run `{run}`: its {what} is {theirs}, the configuration's {ours}")]
    WarmStart {
        /// The run's name.
        run: String,
        /// What differs.
        what: &'static str,
        /// In the run.
        theirs: String,
        /// In the configuration.
        ours: String,
    },
    /// A resumed run would train on something else than before.
    #[error(
        "run `{run}` cannot be resumed: {what} changed since it was started\nhint: restore it, or start a new run with `--warm-start`"
    )]
    Changed {
        /// The run's name.
        run: String,
        /// What changed.
        what: String,
    },
    /// The loss or its gradient is not a number any more.
    #[error(
        "{what} is {value} at step {step}, on {batch}\nhint: a lower `training.learning_rate` may help; the state before this step is saved"
    )]
    Diverged {
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The update that was tried.
        step: u64,
        /// What it was tried on.
        batch: BatchName,
    },
    /// libtorch gave up: mostly for want of memory.
    #[error("step {step} failed on {batch}: {reason}{hint}")]
    Step {
        /// The update that was tried.
        step: u64,
        /// What it was tried on.
        batch: BatchName,
        /// libtorch's reason.
        reason: String,
        /// What may help.
        hint: &'static str,
    },
}

/// Names a batch in an error.
#[derive(Debug, Clone)]
pub struct BatchName {
    /// Its task.
    pub task: String,
    /// Its examples, by their place in the task's training data.
    pub indices: Vec<usize>,
    /// Tokens of the longest source and the longest target.
    pub longest: (usize, usize),
}

impl fmt::Display for BatchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, indices, longest: (source, target) } = self;
        let shown: Vec<String> = indices.iter().take(8).map(ToString::to_string).collect();
        let more = if indices.len() > shown.len() { ", ..." } else { "" };
        write!(
            f,
            "task `{task}`, {} sentences (training examples {}{more}; up to {source} source and {target} target tokens)",
            indices.len(),
            shown.join(", "),
        )
    }
}

/// What a training reports while it runs; the loop itself never prints.
pub trait Observer {
    /// Data is loaded and the run's folder exists; `done` updates were made before the run was cut.
    fn started(&mut self, run: &Run, data: &[TaskData], trainable: usize, done: u64);
    /// Something is wrong that training can do without.
    fn warned(&mut self, warning: &str);
    /// An update is done.
    fn stepped(&mut self, step: &Step);
    /// A task's validation split is evaluated.
    fn evaluated(&mut self, step: u64, task: &str, evaluation: &Evaluation);
}

/// One update.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
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

impl Outcome {
    /// The scores alone.
    pub fn without_details(&self) -> Self {
        let brief = |evaluations: &BTreeMap<String, Evaluation>| {
            evaluations
                .iter()
                .map(|(task, e)| (task.clone(), Evaluation { details: None, ..e.clone() }))
                .collect()
        };
        Self { validation: brief(&self.validation), test: brief(&self.test), ..self.clone() }
    }
}

/// How a training ended.
#[derive(Debug)]
pub enum End {
    /// All updates are done.
    Finished(Outcome),
    /// It was asked to stop, and saved.
    Stopped {
        /// The run's folder.
        run: PathBuf,
        /// Updates done.
        step: u64,
    },
}

/// A training, ready to run.
pub struct Training {
    config: Config,
    materials: Materials,
    tagger: Tagger,
    optimizer: AdamW,
    sampler: TaskSampler,
    run: Run,
    metrics: File,
    metrics_path: PathBuf,
    events: EventFile,
    /// Updates done.
    done: u64,
    /// Seconds of training, without evaluations.
    seconds: f64,
    warnings: Vec<String>,
}

/// What a training is made from.
struct Materials {
    backbone: Backbone,
    /// What it is on the hub, if it comes from there.
    hub: Option<HubReference>,
    codec: SentT,
    data: Vec<TaskData>,
    tasks: Vec<String>,
    device: Device,
}

impl Materials {
    fn load(config: &Config) -> Result<Self, TrainError> {
        config.validate()?;
        let device = device::parse(&config.training.device)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        tch::set_num_threads(config.training.threads.unwrap_or(cores) as i32);
        let legacy_bias = config.backbone.cross_attention_relative_bias;
        let Located { folder, hub } = config.backbone.locate(&mut |_| ())?;
        let mut backbone = Backbone::open(&folder, legacy_bias)?;
        if let Some(dropout) = config.training.dropout {
            backbone.config.dropout_rate = dropout;
        }
        let tasks: Vec<String> = config.tasks.keys().cloned().collect();
        config.method.validate(&backbone.config, &tasks)?;
        let codec = backbone.codec()?;
        let data = config
            .tasks
            .iter()
            .map(|(task, spec)| load_task(task, spec, &codec, config))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { backbone, hub, codec, data, tasks, device })
    }

    fn tagger(
        &self,
        config: &Config,
        tensors: &Tensors,
        precision: Precision,
    ) -> Result<Tagger, TaggerError> {
        let parameters = Parameters::from_tensors(tensors, self.device);
        let placement = Placement { device: self.device, precision };
        Tagger::with_parameters(&self.backbone, &config.method, &self.tasks, parameters, placement)
    }

    fn sampler(&self, config: &Config) -> TaskSampler {
        let sizes: Vec<usize> = self.data.iter().map(|t| t.train.len()).collect();
        let sampler = TaskSampler::new(&sizes, config.training.temperature, config.seed);
        let Some(window) = config.training.length_window else { return sampler };
        let length = |e: &Example| e.source.len() + e.target.len();
        let lengths: Vec<Vec<usize>> =
            self.data.iter().map(|t| t.train.iter().map(length).collect()).collect();
        sampler.with_length_window(&lengths, window)
    }
}

impl Training {
    /// Loads backbone and corpora, creates the model and the run's folder with its first checkpoint. `warm_start` takes
    /// the trainable tensors of a run on the same backbone, method and tasks in place of fresh ones.
    ///
    /// # Errors
    /// If anything that the configuration names is unusable; no run is left then.
    pub fn prepare(config: Config, warm_start: Option<&Run>) -> Result<Self, TrainError> {
        let materials = Materials::load(&config)?;
        let precision = config.training.precision;
        let tagger = match warm_start {
            None => {
                let Materials { backbone, tasks, device, .. } = &materials;
                let placement = Placement { device: *device, precision };
                Tagger::new(backbone, &config.method, tasks, config.seed, placement)?
            }
            Some(run) => {
                check_warm_start(&config, run)?;
                materials.tagger(&config, &run.read(run.checkpoint(Which::Best)?)?, precision)?
            }
        };
        let optimizer = new_optimizer(&config, &tagger);
        let run = create_run(&config, &materials)?;
        let mut training = Self::assemble(config, materials, tagger, optimizer, run)?;
        training.save(BTreeMap::new())?;
        Ok(training)
    }

    /// Goes on with a run from its last whole checkpoint; `config` is its own, perhaps on another device.
    ///
    /// # Errors
    /// If no checkpoint is usable, or backbone or corpora are not what they were.
    pub fn resume(mut config: Config, mut run: Run) -> Result<Self, TrainError> {
        // The very backbone that it was trained on, even if the hub's cache holds a later version by now.
        let folder = run.folder.join(&run.manifest.backbone.path);
        if run.manifest.backbone.hub.is_some() && folder.is_dir() {
            (config.backbone.path, config.backbone.id) = (Some(folder), None);
        }
        let materials = Materials::load(&config)?;
        let changed = |what: String| TrainError::Changed { run: run.manifest.name.clone(), what };
        if backbone_reference(&run.folder, &materials)?.sha256 != run.manifest.backbone.sha256 {
            return Err(changed("the backbone".into()));
        }
        for (now, then) in manifest_tasks(&config, &materials.data).iter().zip(&run.manifest.tasks) {
            if now != then {
                return Err(changed(format!("the corpus of task `{}`", then.name)));
            }
        }
        let ResumePoint { step, tensors, state, passed_over } = run.resume()?;
        let tagger = materials.tagger(&config, &tensors, config.training.precision)?;
        let mut optimizer = new_optimizer(&config, &tagger);
        optimizer
            .restore(&tagger.parameters, &OptimizerState::from_tensors(state))
            .map_err(TaggerError::from)?;
        let seconds = keep_metrics(&run.folder.join(METRICS), step)?;
        let mut training = Self::assemble(config, materials, tagger, optimizer, run)?;
        training.done = step;
        training.seconds = seconds;
        for _ in 0..step {
            training.sampler.next_batch(training.config.training.batch_size);
        }
        training.warnings =
            passed_over.iter().map(|error| format!("{error}; going on from step {step}")).collect();
        Ok(training)
    }

    fn assemble(
        config: Config,
        materials: Materials,
        tagger: Tagger,
        optimizer: AdamW,
        run: Run,
    ) -> Result<Self, TrainError> {
        let metrics_path = run.folder.join(METRICS);
        let metrics = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&metrics_path)
            .map_err(|e| FileError::new("write", &metrics_path, e))?;
        let events = EventFile::open(&run.folder)?;
        let sampler = materials.sampler(&config);
        Ok(Self {
            config,
            materials,
            tagger,
            optimizer,
            sampler,
            run,
            metrics,
            metrics_path,
            events,
            done: 0,
            seconds: 0.0,
            warnings: Vec::new(),
        })
    }

    /// What it was told.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Trains to the last step and evaluates the best checkpoint. When `stop` becomes true, saves and returns.
    ///
    /// # Errors
    /// If a step fails or a file cannot be written; the state before the step is saved where possible.
    pub fn run(mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<End, TrainError> {
        observer.started(&self.run, &self.materials.data, self.tagger.parameters.count(), self.done);
        for warning in &self.warnings {
            observer.warned(warning);
        }
        let settings = self.config.training.clone();
        let last = settings.steps;
        while self.done < last {
            if stop.load(Ordering::Relaxed) {
                self.save_where_it_stands()?;
                return Ok(End::Stopped { run: self.run.folder, step: self.done });
            }
            let report = match self.step() {
                Ok(report) => report,
                Err(error) => {
                    self.save_where_it_stands()?;
                    return Err(error);
                }
            };
            if report.step % settings.log_every == 0 || report.step == last {
                self.log("train", &report)?;
            }
            observer.stepped(&report);
            let due = |every: u64| report.step % every == 0 || report.step == last;
            if due(settings.evaluate_every) {
                let losses = self.validate(observer)?;
                self.save(losses)?;
            } else if settings.save_every.is_some_and(due) {
                self.save(BTreeMap::new())?;
            }
        }
        self.outcome().map(End::Finished)
    }

    /// The next update, all or nothing.
    fn step(&mut self) -> Result<Step, TrainError> {
        let began = Instant::now();
        let step = self.done + 1;
        let settings = &self.config.training;
        let (task, indices) = self.sampler.next_batch(settings.batch_size);
        let data = &self.materials.data[task];
        let examples: Vec<&Example> = indices.iter().map(|&i| &data.train[i]).collect();
        let longest = |length: fn(&Example) -> usize| examples.iter().map(|e| length(e)).max().unwrap_or(0);
        let batch = BatchName {
            task: data.name.clone(),
            longest: (longest(|e| e.source.len()), longest(|e| e.target.len())),
            indices,
        };
        tch::manual_seed(step_seed(self.config.seed, step));
        let learning_rate = self.schedule().lr(self.done);
        let (tagger, optimizer) = (&mut self.tagger, &mut self.optimizer);
        let update = || update(tagger, optimizer, &batch.task, &examples, settings, learning_rate);
        let Update { loss, tokens, grad_norm } = match caught(update) {
            Ok(update) => update?,
            Err(panic) => return Err(step_error(step, batch, panic.as_ref())),
        };
        for (what, value) in [("loss", loss), ("gradient norm", grad_norm)] {
            if !value.is_finite() {
                return Err(TrainError::Diverged { what, value, step, batch });
            }
        }
        self.done = step;
        self.seconds += began.elapsed().as_secs_f64();
        let per_token = loss / tokens.max(1) as f64;
        let floor = smoothing_floor(settings.label_smoothing, self.tagger.t5.config.vocab_size);
        Ok(Step {
            step,
            task: batch.task,
            loss: per_token,
            loss_above_floor: per_token - floor,
            grad_norm,
            learning_rate,
            tokens,
            seconds: self.seconds,
        })
    }

    fn schedule(&self) -> Schedule {
        let settings = &self.config.training;
        Schedule {
            base: settings.learning_rate,
            warmup: settings.warmup_steps,
            total: settings.steps,
            decay: settings.schedule,
        }
    }

    fn settings(&self) -> Settings {
        let t = &self.config.training;
        Settings {
            batch_size: t.evaluation_batch_size,
            label_smoothing: t.label_smoothing,
            max_target_len: t.max_target_len,
            alignment: t.alignment,
            details: false,
        }
    }

    /// Validation loss by task.
    fn validate(&mut self, observer: &mut dyn Observer) -> Result<BTreeMap<String, f64>, TrainError> {
        let mut losses = BTreeMap::new();
        for task in &self.materials.data {
            let codec = &self.materials.codec;
            let evaluation = evaluate_task(&self.tagger, codec, &task.name, &task.valid, &self.settings())?;
            observer.evaluated(self.done, &task.name, &evaluation);
            let line = json!({ "step": self.done, "task": task.name, "evaluation": evaluation });
            log(&mut self.metrics, &self.metrics_path, &mut self.events, "validation", &line)?;
            losses.insert(task.name.clone(), evaluation.loss);
        }
        Ok(losses)
    }

    fn save(&mut self, losses: BTreeMap<String, f64>) -> Result<(), TrainError> {
        let parameters = &self.tagger.parameters;
        let (tensors, state) = (parameters.to_host(), self.optimizer.state(parameters).into_tensors());
        let snapshot = Snapshot { step: self.done, tensors: &tensors, state: Some(&state), losses };
        Ok(self.run.save(&snapshot, self.config.training.keep_last)?)
    }

    /// Saves unless the last checkpoint is of this very step.
    fn save_where_it_stands(&mut self) -> Result<(), TrainError> {
        match self.run.checkpoint(Which::Last) {
            Ok(last) if last.step == self.done => Ok(()),
            _ => self.save(BTreeMap::new()),
        }
    }

    fn log(&mut self, kind: &str, value: &impl Serialize) -> Result<(), TrainError> {
        log(&mut self.metrics, &self.metrics_path, &mut self.events, kind, &json!(value))
    }

    fn outcome(mut self) -> Result<Outcome, TrainError> {
        let best = self.run.checkpoint(Which::Best)?.clone();
        // In the precision of the file that it will be exported to.
        self.tagger = self.materials.tagger(&self.config, &self.run.read(&best)?, Precision::F32)?;
        let (mut validation, mut test) = (BTreeMap::new(), BTreeMap::new());
        for task in &self.materials.data {
            for (split, scores) in [(&task.valid, &mut validation), (&task.test, &mut test)] {
                if !split.is_empty() {
                    let codec = &self.materials.codec;
                    let settings = Settings { details: true, ..self.settings() };
                    let evaluation = evaluate_task(&self.tagger, codec, &task.name, split, &settings)?;
                    scores.insert(task.name.clone(), evaluation);
                }
            }
        }
        let outcome = Outcome {
            run: self.run.folder.clone(),
            best_step: best.step,
            train_seconds: self.seconds,
            validation,
            test,
        };
        let text = serde_json::to_string(&outcome)
            .map_err(|e| FileError::new("write", &self.run.folder, std::io::Error::other(e)))?;
        write_atomic(&self.run.folder.join(OUTCOME), |w| writeln!(w, "{text}"))?;
        self.log("outcome", &outcome.without_details())?;
        Ok(outcome)
    }
}

fn check_warm_start(config: &Config, run: &Run) -> Result<(), TrainError> {
    let Manifest { name, method, tasks, .. } = &run.manifest;
    let theirs: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
    let ours: Vec<&str> = config.tasks.keys().map(String::as_str).collect();
    let list = |names: &[&str]| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    let (what, theirs, ours) = if theirs != ours {
        ("set of tasks", list(&theirs), list(&ours))
    } else if *method != config.method {
        // As in a configuration, on one line.
        let text = |method| serde_json::to_string(method).unwrap_or_default();
        ("method", text(method), text(&config.method))
    } else {
        return Ok(());
    };
    Err(TrainError::WarmStart { run: name.clone(), what, theirs, ours })
}

fn new_optimizer(config: &Config, tagger: &Tagger) -> AdamW {
    let settings = &config.training;
    AdamW::new(&tagger.parameters, settings.weight_decay, settings.absent_gradient)
}

struct Update {
    loss: f64,
    tokens: i64,
    grad_norm: f64,
}

/// Accumulates the gradients of a batch's parts and updates the parameters, unless loss or gradient is not finite.
fn update(
    tagger: &mut Tagger,
    optimizer: &mut AdamW,
    task: &str,
    examples: &[&Example],
    settings: &TrainingConfig,
    learning_rate: f64,
) -> Result<Update, TaggerError> {
    let (mut loss, mut tokens) = (0.0, 0);
    for part in examples.chunks(examples.len().div_ceil(settings.gradient_accumulation)) {
        let batch = Batch::new(part, tagger.t5.config.pad_token_id, tagger.device());
        let part = tagger.loss(&batch, task, settings.label_smoothing, true)?;
        loss += part.sum;
        tokens += part.tokens;
        tagger.parameters.backward(&part.surrogate);
    }
    if !loss.is_finite() {
        tagger.parameters.clear_gradients();
        return Ok(Update { loss, tokens, grad_norm: f64::NAN });
    }
    let grad_norm = optimizer.step(&mut tagger.parameters, learning_rate, settings.max_grad_norm);
    Ok(Update { loss, tokens, grad_norm })
}

/// The seed of a step's dropout: far apart for neighbouring steps and seeds (Steele et al. 2014, SplitMix64).
fn step_seed(seed: u64, step: u64) -> i64 {
    let mut z = seed.wrapping_add(step.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) as i64
}

/// Runs `work`; a panic is an error, and not shown on the way.
fn caught<T>(work: impl FnOnce() -> T) -> std::thread::Result<T> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(work));
    std::panic::set_hook(hook);
    result
}

/// libtorch reports by panicking; its message begins with what happened and goes on with where.
fn step_error(step: u64, batch: BatchName, panic: &(dyn std::any::Any + Send)) -> TrainError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("libtorch failed");
    let lines = text.lines().map(str::trim).find(|line| !line.is_empty());
    let reason = lines
        .unwrap_or("libtorch failed")
        .trim_start_matches("called `Result::unwrap()` on an `Err` value: ");
    let memory =
        ["out of memory", "can't allocate memory", "not enough memory"].iter().any(|m| text.contains(m));
    let hint = match memory {
        true => {
            "\nhint: a higher `training.gradient_accumulation` computes the same step in smaller parts; the state before this step is saved"
        }
        false => "",
    };
    TrainError::Step { step, batch, reason: reason.to_owned(), hint }
}

/// The log in a run's folder: a JSON object a line, by `kind`.
pub const METRICS: &str = "metrics.jsonl";

fn log(
    file: &mut File,
    path: &Path,
    events: &mut EventFile,
    kind: &str,
    value: &serde_json::Value,
) -> Result<(), TrainError> {
    let mut line = json!({ "kind": kind });
    if let (Some(line), Some(fields)) = (line.as_object_mut(), value.as_object()) {
        line.extend(fields.clone());
    }
    writeln!(file, "{line}").map_err(|e| FileError::new("write", path, e))?;
    // A number that is none (JSON's null) has no place in a plot.
    if let Ok(line) = serde_json::from_value(line) {
        events.record(&line)?;
    }
    Ok(())
}

/// Drops what a cut run logged after `step`, and gives its seconds of training until then.
fn keep_metrics(path: &Path, step: u64) -> Result<f64, FileError> {
    let text = if path.exists() { read_text(path)? } else { String::new() };
    let mut seconds = 0.0;
    let mut kept = Vec::new();
    for line in text.lines() {
        let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        if value["step"].as_u64().is_some_and(|at| at <= step) {
            seconds = value["seconds"].as_f64().unwrap_or(seconds);
            kept.push(line);
        }
    }
    write_atomic(path, |w| kept.iter().try_for_each(|line| writeln!(w, "{line}")))?;
    Ok(seconds)
}

fn create_run(config: &Config, materials: &Materials) -> Result<Run, TrainError> {
    let name = match &config.name {
        Some(name) => name.clone(),
        None => free_name(&config.runs, config.method.method.name()),
    };
    let folder = config.runs.join(&name);
    if Run::exists(&folder) {
        return Err(TrainError::Exists(folder));
    }
    // A training that was cut before its first checkpoint leaves its configuration only.
    if folder.exists() && !folder.join(CONFIG).is_file() {
        return Err(TrainError::Occupied(folder));
    }
    let backbone = &materials.backbone;
    let manifest = Manifest {
        format: run::FORMAT,
        name: name.clone(),
        program: concat!("hl-train ", env!("CARGO_PKG_VERSION")).to_owned(),
        method: config.method.clone(),
        t5: backbone.config.clone(),
        backbone: backbone_reference(&folder, materials)?,
        tasks: manifest_tasks(config, &materials.data),
        max_source_len: config.training.max_source_len,
        max_target_len: config.training.max_target_len,
        seed: config.seed,
        checkpoints: Vec::new(),
    };
    let config = Config { name: Some(name), ..config.clone() }.relative_to(&folder)?;
    let run = Run::create(&folder, manifest)?;
    let text =
        toml::to_string(&config).map_err(|e| FileError::new("write", &folder, std::io::Error::other(e)))?;
    write_atomic(&run.folder.join(CONFIG), |w| w.write_all(text.as_bytes()))?;
    Ok(run)
}

/// The configuration that a run's folder keeps.
pub const CONFIG: &str = "config.toml";

fn manifest_tasks(config: &Config, data: &[TaskData]) -> Vec<Task> {
    let task = |(spec, data): (&CorpusSpec, &TaskData)| Task {
        name: data.name.clone(),
        labels: data.labels.iter().map(str::to_owned).collect(),
        words: spec.word_splitting(),
        train_sentences: data.train.len(),
    };
    config.tasks.values().zip(data).map(task).collect()
}

fn backbone_reference(run: &Path, materials: &Materials) -> Result<BackboneReference, TrainError> {
    let Materials { backbone, hub, .. } = materials;
    Ok(BackboneReference {
        path: match hub {
            // The cache stays where it is when a run is moved.
            Some(_) => backbone.folder.clone(),
            None => config::from_folder(&backbone.folder, run)?,
        },
        sha256: backbone.hash()?,
        tokenizer_sha256: sha256(&backbone.tokenizer())?,
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
