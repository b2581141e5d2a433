//! A run's folder: `manifest.json`, `config.toml`, `checkpoints/step-N.safetensors` with the optimiser's state beside
//! the latest, `drafters.safetensors`, `metrics.jsonl`.
//!
//! A checkpoint's files are whole on disk before the manifest names them, and the manifest is replaced in one rename: a
//! run that is cut at any instant is left at its previous checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::backbone::bert::{BertBackbone, BertConfig};
use crate::backbone::t5::T5Config;
use crate::backbone::{Backbone, BackboneError, Family};
use crate::files::{FileError, is_temporary, read_text, sha256, write_atomic};
use crate::method::{MethodConfig, MethodError, TrainableTensor};
use crate::text::drafter::{Drafter, DrafterError};
use crate::text::labels::bio_tags;
use crate::text::words::WordSplitting;
use crate::weights::tensors::{TensorError, TensorFile, Tensors, write_tensors};

/// The version of the folder's layout that this code writes and reads.
pub const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
const CHECKPOINTS: &str = "checkpoints";
/// In the name of an optimiser's state, behind that of its checkpoint.
const OPTIMIZER: &str = ".optimizer";
const DRAFTERS: &str = "drafters.safetensors";
const LOCK: &str = ".lock";

/// A run could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A checkpoint's tensors are unusable.
    #[error(transparent)]
    Tensors(#[from] TensorError),
    /// The backbone that the run was trained on is unusable.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The backbone is not in the hub's cache any more.
    #[error("the run's backbone, `{id}` of the Hugging Face hub at commit {commit}, is not in `{}`\nhint: `hf download {id} --revision {commit}` fetches it again; name its folder with `--backbone`", folder.display())]
    NotCached {
        /// Where it was.
        folder: PathBuf,
        /// Its id.
        id: String,
        /// Its commit.
        commit: String,
    },
    /// Its method does not fit.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// Its backbone is not of the kind that was asked for.
    #[error("run `{run}` was trained on a {found}, expected one on a {expected}")]
    Architecture {
        /// The run's name.
        run: String,
        /// What was asked for.
        expected: Family,
        /// What it was trained on.
        found: Family,
    },
    /// The folder holds no run.
    #[error("`{}` holds no run: `{MANIFEST}` is missing\nhint: `hl-train` writes runs to `runs/`", .0.display())]
    NoRun(PathBuf),
    /// There is no run at all.
    #[error("no run in `{}`\nhint: train one with `hl-train`, or name one with `--run`", .0.display())]
    NoRuns(PathBuf),
    /// The manifest is not one of ours.
    #[error("`{}` is not a run's manifest: {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another training writes to the run.
    #[error("run `{}` is being trained by another program\nhint: wait for it, or stop it with Ctrl-C", .0.display())]
    InUse(PathBuf),
    /// The run has no checkpoint yet.
    #[error("run `{}` has no checkpoint yet", .0.display())]
    NoCheckpoint(PathBuf),
    /// Checkpoints are there, but none with the state of its optimiser.
    #[error("run `{}` cannot be resumed: none of its checkpoints holds the optimiser's state\nhint: `--warm-start` begins a new run from its tensors", .0.display())]
    NoState(PathBuf),
    /// A file is not the one that the manifest names.
    #[error("`{}` is damaged or was replaced: SHA-256 is {found}, the manifest says {expected}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// The hash in the manifest.
        expected: String,
    },
    /// The run was not trained on this task.
    #[error("unknown task `{task}`: run `{run}` was trained on {known}{hint}")]
    UnknownTask {
        /// What was asked for.
        task: String,
        /// The run's name.
        run: String,
        /// Its tasks.
        known: String,
        /// `hint: did you mean ...`, or nothing.
        hint: String,
    },
    /// A drafter does not fit its task.
    #[error("cannot use the drafters in `{}`\nhint: `hl-train drafter` fits them again", path.display())]
    Drafter {
        /// The file of drafters.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: DrafterError,
    },
}

/// What a run is: all that is needed, besides the backbone and a checkpoint, to make a task's weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Layout version, [`FORMAT`].
    pub format: u32,
    /// The run's name, as its folder's.
    pub name: String,
    /// Version of the program that wrote it.
    pub program: String,
    /// Method and hyper-parameters.
    pub method: MethodConfig,
    /// The backbone's configuration.
    #[serde(flatten)]
    pub architecture: Architecture,
    /// Where the backbone lies and what it must be.
    pub backbone: BackboneReference,
    /// Tasks, in the order of training.
    pub tasks: Vec<Task>,
    /// Longest source in tokens, `</s>` included.
    pub max_source_len: usize,
    /// Longest target in tokens, `</s>` included.
    pub max_target_len: usize,
    /// Seed of initialisation, sampling and dropout.
    pub seed: u64,
    /// Checkpoints that exist, by step.
    pub checkpoints: Vec<Checkpoint>,
    /// The tasks' drafters, once they were fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drafters: Option<StateFile>,
}

/// The configuration of a run's backbone: the manifest's field `t5` or `bert`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Of a method that writes tags as text.
    T5(T5Config),
    /// Of a token classifier.
    Bert(BertConfig),
}

impl Manifest {
    /// The configuration of its T5.
    ///
    /// # Errors
    /// If its backbone is another model.
    pub fn t5(&self) -> Result<&T5Config, RunError> {
        match &self.architecture {
            Architecture::T5(config) => Ok(config),
            Architecture::Bert(_) => Err(self.other_architecture(Family::T5, Family::Bert)),
        }
    }

    /// The configuration of its BERT.
    ///
    /// # Errors
    /// If its backbone is another model.
    pub fn bert(&self) -> Result<&BertConfig, RunError> {
        match &self.architecture {
            Architecture::Bert(config) => Ok(config),
            Architecture::T5(_) => Err(self.other_architecture(Family::Bert, Family::T5)),
        }
    }

    fn other_architecture(&self, expected: Family, found: Family) -> RunError {
        RunError::Architecture { run: self.name.clone(), expected, found }
    }

    /// Every tensor of a checkpoint.
    ///
    /// # Errors
    /// If method and backbone do not belong together.
    pub fn trainable_tensors(&self) -> Result<Vec<TrainableTensor>, MethodError> {
        match &self.architecture {
            Architecture::T5(t5) => {
                let names: Vec<String> = self.tasks.iter().map(|t| t.name.clone()).collect();
                self.method.validate(t5, &names)?;
                Ok(self.method.trainable_tensors(t5, &names))
            }
            Architecture::Bert(bert) => {
                let names: Vec<String> = self.tasks.iter().map(|t| t.name.clone()).collect();
                let method = self.method.unipelt_bert()?;
                method.validate(bert, &names)?;
                let tags = self.tasks.iter().map(|task| bio_tags(&task.labels).len());
                Ok(method.trainable_tensors(bert, &names.into_iter().zip(tags).collect::<Vec<_>>()))
            }
        }
    }
}

/// The backbone of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackboneReference {
    /// The folder: relative to the run's folder, or absolute if it lies in the hub's cache, which a moved run does not
    /// take along.
    pub path: PathBuf,
    /// SHA-256 of `model.safetensors`, or what stands for it (see [`crate::weights::pretrained::Weights::hash`]).
    pub sha256: String,
    /// SHA-256 of `tokenizer.json`.
    pub tokenizer_sha256: String,
    /// What it is on the Hugging Face hub, if it was fetched from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<HubReference>,
}

/// A version of a model on the Hugging Face hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubReference {
    /// `NAME` or `OWNER/NAME`.
    pub id: String,
    /// The commit, in hexadecimal.
    pub commit: String,
}

/// A task of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// Labels of its training and validation data.
    pub labels: Vec<String>,
    /// How free text is split into the words that the task was trained on.
    pub words: WordSplitting,
    /// Training sentences.
    pub train_sentences: usize,
    /// SHA-256 over the ids of its training examples: a resumed run must not go on with others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub train_sha256: String,
}

/// A checkpoint of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Updates done.
    pub step: u64,
    /// Its file, relative to the run's folder.
    pub file: PathBuf,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Label-smoothed validation loss in nats per target token, averaged over tasks; absent if not evaluated.
    pub validation_loss: Option<f64>,
    /// The same by task.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub task_losses: BTreeMap<String, f64>,
    /// What training goes on from, besides the tensors; kept for the latest checkpoints only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateFile>,
}

/// A file beside a run's checkpoints: the optimiser's state at one of them, or the drafters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateFile {
    /// Its file, relative to the run's folder.
    pub file: PathBuf,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// A checkpoint to be written.
#[derive(Debug)]
pub struct Snapshot<'a> {
    /// Updates done.
    pub step: u64,
    /// The trainable tensors.
    pub tensors: &'a Tensors,
    /// The optimiser's state, if the run is to be resumed.
    pub state: Option<&'a Tensors>,
    /// Label-smoothed validation loss in nats per target token, by task; empty if not evaluated.
    pub losses: BTreeMap<String, f64>,
}

/// Where a training that was cut goes on.
#[derive(Debug)]
pub struct ResumePoint {
    /// Updates done.
    pub step: u64,
    /// The trainable tensors.
    pub tensors: Tensors,
    /// The optimiser's state.
    pub state: Tensors,
    /// What was wrong with later checkpoints.
    pub passed_over: Vec<RunError>,
}

/// Which checkpoint to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'a> {
    /// Lowest validation loss per token (the latest if none was evaluated).
    Best,
    /// Lowest validation loss of one task.
    BestOf(&'a str),
    /// Most updates.
    Last,
}

/// A run's folder.
#[derive(Debug, Clone)]
pub struct Run {
    /// The folder.
    pub folder: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
}

impl Run {
    /// Creates the folder of a new run. It counts as one with its first checkpoint, which writes the manifest.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn create(folder: &Path, manifest: Manifest) -> Result<Self, RunError> {
        let checkpoints = folder.join(CHECKPOINTS);
        fs::create_dir_all(&checkpoints).map_err(|e| FileError::new("create", &checkpoints, e))?;
        Ok(Self { folder: folder.to_owned(), manifest })
    }

    /// Keeps every other training out of the folder, until the returned file is dropped or the program ends, however
    /// it ends.
    ///
    /// # Errors
    /// If another training is at work there.
    pub fn lock(&self) -> Result<File, RunError> {
        let path = self.folder.join(LOCK);
        let file = File::create(&path).map_err(|e| FileError::new("create", &path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(RunError::InUse(self.folder.clone())),
            Err(TryLockError::Error(e)) => Err(FileError::new("lock", &path, e).into()),
        }
    }

    /// Whether a folder holds a run.
    pub fn exists(folder: &Path) -> bool {
        folder.join(MANIFEST).is_file()
    }

    /// Opens a run.
    ///
    /// # Errors
    /// If the folder holds no manifest that this version reads.
    pub fn open(folder: &Path) -> Result<Self, RunError> {
        let path = folder.join(MANIFEST);
        if !Self::exists(folder) {
            return Err(RunError::NoRun(folder.to_owned()));
        }
        let error = |reason: String| RunError::Manifest { path: path.clone(), reason };
        let manifest: Manifest =
            serde_json::from_str(&read_text(&path)?).map_err(|e| error(e.to_string()))?;
        if manifest.format != FORMAT {
            return Err(error(format!("format is {}, expected {FORMAT}", manifest.format)));
        }
        manifest.trainable_tensors().map_err(|e| error(e.to_string()))?;
        Ok(Self { folder: folder.to_owned(), manifest })
    }

    /// The run under `runs` whose manifest was written last and that has been trained at all.
    ///
    /// # Errors
    /// If there is none, or it is unreadable.
    pub fn newest(runs: &Path) -> Result<Self, RunError> {
        for folder in by_age(runs) {
            let run = Self::open(&folder)?;
            if run.manifest.checkpoints.iter().any(|c| c.step > 0) {
                return Ok(run);
            }
        }
        Err(RunError::NoRuns(runs.to_owned()))
    }

    /// The run under `runs` whose manifest was written last, trained or not.
    ///
    /// # Errors
    /// If there is none, or it is unreadable.
    pub fn latest(runs: &Path) -> Result<Self, RunError> {
        let folder = by_age(runs).into_iter().next();
        Self::open(&folder.ok_or_else(|| RunError::NoRuns(runs.to_owned()))?)
    }

    fn write_manifest(&self) -> Result<(), RunError> {
        let path = self.folder.join(MANIFEST);
        let text = serde_json::to_string_pretty(&self.manifest)
            .map_err(|e| RunError::Manifest { path: path.clone(), reason: e.to_string() })?;
        write_atomic(&path, |w| writeln!(w, "{text}"))?;
        Ok(())
    }

    /// The entry of a checkpoint.
    ///
    /// # Errors
    /// If the run has none.
    pub fn checkpoint(&self, which: Which<'_>) -> Result<&Checkpoint, RunError> {
        let all = &self.manifest.checkpoints;
        let last = all.iter().max_by_key(|c| c.step);
        let lowest = |loss: &dyn Fn(&Checkpoint) -> Option<f64>| {
            let evaluated = all.iter().filter_map(|c| Some((loss(c)?, c)));
            evaluated.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, c)| c)
        };
        match which {
            Which::Best => lowest(&|c| c.validation_loss).or(last),
            Which::BestOf(task) => lowest(&|c| c.task_losses.get(task).copied()).or(last),
            Which::Last => last,
        }
        .ok_or_else(|| RunError::NoCheckpoint(self.folder.clone()))
    }

    /// Reads a checkpoint's tensors, after comparing its hash and the tensors' names and shapes with the manifest.
    ///
    /// # Errors
    /// If the file is missing, damaged, or does not belong to the method and backbone of the manifest.
    pub fn read(&self, checkpoint: &Checkpoint) -> Result<Tensors, RunError> {
        let path = self.folder.join(&checkpoint.file);
        check_hash(&path, &checkpoint.sha256)?;
        let file = TensorFile::open(&path)?;
        let expected = self.manifest.trainable_tensors()?;
        file.check(&expected.into_iter().map(|t| (t.name, t.shape)).collect(), &[])?;
        Ok(file.read_all()?)
    }

    /// Adds a checkpoint. Kept are the last `keep_last` (at least one), with their optimiser's states, the best by mean
    /// validation loss, and the best of each task.
    ///
    /// # Errors
    /// Any error of the file system; the run then stays at its previous checkpoint.
    pub fn save(&mut self, snapshot: &Snapshot<'_>, keep_last: usize) -> Result<(), RunError> {
        let Snapshot { step, tensors, state, losses } = snapshot;
        let write = |suffix: &str, tensors: &Tensors| -> Result<StateFile, RunError> {
            let file = PathBuf::from(CHECKPOINTS).join(format!("step-{step:06}{suffix}.safetensors"));
            let path = self.folder.join(&file);
            write_tensors(&path, tensors)?;
            Ok(StateFile { file, sha256: sha256(&path)? })
        };
        let StateFile { file, sha256 } = write("", tensors)?;
        let state = state.map(|state| write(OPTIMIZER, state)).transpose()?;
        let mean = losses.values().sum::<f64>() / losses.len() as f64;
        let validation_loss = (!losses.is_empty()).then_some(mean);
        let entry =
            Checkpoint { step: *step, file, sha256, validation_loss, task_losses: losses.clone(), state };
        self.manifest.checkpoints.retain(|c| c.step != *step);
        self.manifest.checkpoints.push(entry);
        self.drop_superseded(keep_last);
        self.write_manifest()?;
        self.sweep()
    }

    /// Keeps the tasks' drafters (see [`crate::text::drafter::names`]) in place of those before.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn save_drafters(&mut self, tensors: &Tensors) -> Result<(), RunError> {
        let file = PathBuf::from(DRAFTERS);
        let path = self.folder.join(&file);
        write_tensors(&path, tensors)?;
        self.manifest.drafters = Some(StateFile { file, sha256: sha256(&path)? });
        self.write_manifest()
    }

    /// The drafter of a task, if one was fitted.
    ///
    /// # Errors
    /// If the file of drafters is missing, damaged, or does not fit the task.
    pub fn drafter(&self, task: &Task) -> Result<Option<Drafter>, RunError> {
        let Some(StateFile { file, sha256 }) = &self.manifest.drafters else { return Ok(None) };
        let path = self.folder.join(file);
        check_hash(&path, sha256)?;
        let tensors = TensorFile::open(&path)?.read_all()?;
        Drafter::from_tensors(&tensors, &task.name, task.labels.len(), self.manifest.t5()?.d_model)
            .map_err(|error| RunError::Drafter { path, error })
    }

    fn drop_superseded(&mut self, keep_last: usize) {
        let mut steps: Vec<u64> = self.manifest.checkpoints.iter().map(|c| c.step).collect();
        steps.sort_unstable();
        let last = steps.split_off(steps.len().saturating_sub(keep_last.max(1)));
        let tasks = self.manifest.tasks.iter().map(|t| Which::BestOf(&t.name));
        let best = tasks.chain([Which::Best]).filter_map(|which| Some(self.checkpoint(which).ok()?.step));
        let keep: BTreeSet<u64> = best.chain(last.iter().copied()).collect();
        self.manifest.checkpoints.retain(|c| keep.contains(&c.step));
        for checkpoint in self.manifest.checkpoints.iter_mut().filter(|c| !last.contains(&c.step)) {
            checkpoint.state = None;
        }
    }

    /// Removes checkpoints that the manifest does not name: what was superseded, or was being written when a training
    /// was cut. Files of other names are somebody else's.
    fn sweep(&self) -> Result<(), RunError> {
        let entries = self.manifest.checkpoints.iter();
        let named: BTreeSet<PathBuf> = entries
            .flat_map(|c| [Some(&c.file), c.state.as_ref().map(|s| &s.file)])
            .flatten()
            .map(|file| self.folder.join(file))
            .collect();
        let folder = self.folder.join(CHECKPOINTS);
        for entry in fs::read_dir(&folder).map_err(|e| FileError::new("read", &folder, e))? {
            let path = entry.map_err(|e| FileError::new("read", &folder, e))?.path();
            if is_checkpoint(&path) && !named.contains(&path) {
                fs::remove_file(&path).map_err(|e| FileError::new("remove", &path, e))?;
            }
        }
        Ok(())
    }

    /// Goes back to the latest checkpoint that is whole and has its optimiser's state; later ones are forgotten.
    ///
    /// # Errors
    /// If no checkpoint is usable: the reason is that of the latest.
    pub fn resume(&mut self) -> Result<ResumePoint, RunError> {
        let mut candidates: Vec<Checkpoint> =
            self.manifest.checkpoints.iter().filter(|c| c.state.is_some()).cloned().collect();
        candidates.sort_by_key(|c| c.step);
        let mut passed_over = Vec::new();
        while let Some(checkpoint) = candidates.pop() {
            match self.read(&checkpoint).and_then(|t| Ok((t, self.read_state(&checkpoint)?))) {
                Ok((tensors, state)) => {
                    let step = checkpoint.step;
                    self.manifest.checkpoints.retain(|c| c.step <= step);
                    self.write_manifest()?;
                    self.sweep()?;
                    return Ok(ResumePoint { step, tensors, state, passed_over });
                }
                Err(error) => passed_over.push(error),
            }
        }
        match passed_over.into_iter().next() {
            Some(error) => Err(error),
            None => Err(RunError::NoState(self.folder.clone())),
        }
    }

    fn read_state(&self, checkpoint: &Checkpoint) -> Result<Tensors, RunError> {
        let Some(StateFile { file, sha256 }) = &checkpoint.state else {
            return Err(RunError::NoState(self.folder.clone()));
        };
        let path = self.folder.join(file);
        check_hash(&path, sha256)?;
        Ok(TensorFile::open(&path)?.read_all()?)
    }

    /// The entry of a task.
    ///
    /// # Errors
    /// If the run was not trained on it; the message lists its tasks and the nearest name.
    pub fn task(&self, name: &str) -> Result<&Task, RunError> {
        self.manifest.tasks.iter().find(|t| t.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.manifest.tasks.iter().map(|t| t.name.as_str()).collect();
            RunError::UnknownTask {
                task: name.to_owned(),
                run: self.manifest.name.clone(),
                known: names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", "),
                hint: crate::suggest::hint(name, names.iter().copied()),
            }
        })
    }

    /// Opens the backbone that the run was trained on (or `instead`, if it lies elsewhere now) and compares its hashes.
    ///
    /// # Errors
    /// If it is missing, unusable, or another one.
    pub fn backbone(&self, instead: Option<&Path>) -> Result<Backbone, RunError> {
        let t5 = self.manifest.t5()?;
        let backbone = Backbone::open(&self.backbone_folder(instead)?, t5.cross_attention_relative_bias)?;
        self.check_backbone(backbone.weights(), backbone.hash()?, &backbone.tokenizer())?;
        Ok(backbone)
    }

    /// [`Run::backbone`] of a run on a BERT.
    ///
    /// # Errors
    /// If it is missing, unusable, or another one.
    pub fn bert_backbone(&self, instead: Option<&Path>) -> Result<BertBackbone, RunError> {
        self.manifest.bert()?;
        let backbone = BertBackbone::open(&self.backbone_folder(instead)?)?;
        self.check_backbone(backbone.weights(), backbone.hash()?, &backbone.tokenizer())?;
        Ok(backbone)
    }

    fn check_backbone(&self, weights: &Path, hash: String, tokenizer: &Path) -> Result<(), RunError> {
        let reference = &self.manifest.backbone;
        compare_hashes(weights, hash, &reference.sha256)?;
        check_hash(tokenizer, &reference.tokenizer_sha256)
    }

    fn backbone_folder(&self, instead: Option<&Path>) -> Result<PathBuf, RunError> {
        let reference = &self.manifest.backbone;
        let folder = match instead {
            Some(folder) => folder.to_owned(),
            None => self.folder.join(&reference.path),
        };
        if let (None, Some(HubReference { id, commit }), false) = (instead, &reference.hub, folder.is_dir()) {
            return Err(RunError::NotCached { folder, id: id.clone(), commit: commit.clone() });
        }
        Family::check(&folder, self.manifest.method.method())?;
        Ok(folder)
    }
}

/// Whether a file has a name that [`Run::save`] gives, or that of a file that was not finished.
fn is_checkpoint(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let step = name.strip_prefix("step-").and_then(|rest| rest.strip_suffix(".safetensors"));
    let step = step.map(|step| step.strip_suffix(OPTIMIZER).unwrap_or(step));
    step.is_some_and(|step| !step.is_empty() && step.bytes().all(|b| b.is_ascii_digit()))
        || is_temporary(&name)
}

/// Folders of runs, that whose manifest was written last first.
fn by_age(runs: &Path) -> Vec<PathBuf> {
    let mut found: Vec<(SystemTime, PathBuf)> = fs::read_dir(runs)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let written = fs::metadata(entry.path().join(MANIFEST)).ok()?.modified().ok()?;
            Some((written, entry.path()))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, folder)| folder).collect()
}

fn check_hash(path: &Path, expected: &str) -> Result<(), RunError> {
    compare_hashes(path, sha256(path)?, expected)
}

fn compare_hashes(path: &Path, found: String, expected: &str) -> Result<(), RunError> {
    if found == expected {
        return Ok(());
    }
    Err(RunError::Damaged { path: path.to_owned(), found, expected: expected.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::ArrayD;

    fn new_run(folder: &Path) -> Run {
        let t5 = T5Config { vocab_size: 16, d_ff: 32, ..T5Config::preset("t5-nano").unwrap() };
        let task = |name: &str| Task {
            name: name.to_owned(),
            labels: vec!["place".to_owned()],
            words: WordSplitting::default(),
            train_sentences: 3,
            train_sha256: String::new(),
        };
        let manifest = Manifest {
            format: FORMAT,
            name: "r".into(),
            program: "test".into(),
            method: MethodConfig::default(),
            architecture: Architecture::T5(t5),
            backbone: BackboneReference {
                path: "../backbone".into(),
                sha256: String::new(),
                tokenizer_sha256: String::new(),
                hub: None,
            },
            tasks: vec![task("mtop"), task("snips")],
            max_source_len: 128,
            max_target_len: 128,
            seed: 1,
            checkpoints: vec![],
            drafters: None,
        };
        Run::create(folder, manifest).unwrap()
    }

    fn tensors(run: &Run, value: f32) -> Tensors {
        let list = run.manifest.trainable_tensors().unwrap();
        list.into_iter().map(|t| (t.name, ArrayD::from_elem(t.shape, value))).collect()
    }

    fn state(step: u64) -> Tensors {
        Tensors::from([("updates".to_owned(), ArrayD::from_elem(vec![1], step as f32))])
    }

    fn save(run: &mut Run, step: u64, losses: &[(&str, f64)], keep_last: usize) {
        let losses = losses.iter().map(|(task, loss)| ((*task).to_owned(), *loss)).collect();
        let tensors = tensors(run, step as f32);
        run.save(&Snapshot { step, tensors: &tensors, state: Some(&state(step)), losses }, keep_last)
            .unwrap();
    }

    fn files(run: &Run) -> Vec<PathBuf> {
        fs::read_dir(run.folder.join(CHECKPOINTS)).unwrap().map(|e| e.unwrap().path()).collect()
    }

    fn damage(path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(path, bytes).unwrap();
    }

    #[test]
    fn a_cut_run_goes_on_from_its_last_whole_checkpoint_and_names_the_damaged_ones() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = new_run(folder.path());
        for step in [0, 10, 20] {
            save(&mut run, step, &[], 3);
        }
        let [unfinished, mine] = [".hl-x.tmp", "step-000010-mine.safetensors"]
            .map(|name| folder.path().join(CHECKPOINTS).join(name));
        fs::write(&unfinished, "half").unwrap();
        fs::write(&mine, "a copy of a user's own").unwrap();
        let last = run.checkpoint(Which::Last).unwrap().state.clone().unwrap();
        damage(&folder.path().join(last.file));
        let mut again = Run::open(folder.path()).unwrap();
        let point = again.resume().unwrap();
        assert_eq!((point.step, &point.state), (10, &state(10)));
        assert_eq!(point.tensors, tensors(&run, 10.0));
        assert!(point.passed_over[0].to_string().contains("step-000020.optimizer.safetensors"));
        assert_eq!(Run::open(folder.path()).unwrap().checkpoint(Which::Last).unwrap().step, 10);
        assert!(!unfinished.exists() && mine.exists() && files(&again).len() == 5);
        for path in files(&again) {
            damage(&path);
        }
        assert!(again.resume().unwrap_err().to_string().contains("step-000010"));
    }

    #[test]
    fn only_one_training_at_a_time_writes_to_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let run = new_run(folder.path());
        let lock = run.lock().unwrap();
        assert!(run.lock().unwrap_err().to_string().contains("by another program"));
        drop(lock);
        run.lock().unwrap();
    }

    #[test]
    fn a_run_without_the_state_of_an_optimiser_cannot_be_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = new_run(folder.path());
        save(&mut run, 1, &[], 1);
        run.manifest.checkpoints[0].state = None;
        assert!(run.resume().unwrap_err().to_string().contains("--warm-start"));
    }

    #[test]
    fn the_best_the_best_of_each_task_and_the_last_are_kept_and_the_others_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = new_run(folder.path());
        // Best by the mean is step 2, best of mtop 3, best of snips 1.
        for (step, mtop, snips) in [(1, 5.0, 1.0), (2, 2.0, 1.5), (3, 1.5, 4.0), (4, 4.0, 4.0), (5, 4.0, 3.0)]
        {
            save(&mut run, step, &[("mtop", mtop), ("snips", snips)], 1);
        }
        let again = Run::open(folder.path()).unwrap();
        let step = |which| again.checkpoint(which).unwrap().step;
        let kept = [Which::BestOf("snips"), Which::Best, Which::BestOf("mtop"), Which::Last].map(step);
        assert_eq!(kept, [1, 2, 3, 5]);
        // Four checkpoints, and the optimiser's state of the last.
        assert_eq!(files(&run).len(), 5);
        let best = again.read(again.checkpoint(Which::Best).unwrap()).unwrap();
        assert_eq!(best, tensors(&run, 2.0));
    }

    #[test]
    fn a_changed_checkpoint_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = new_run(folder.path());
        save(&mut run, 1, &[], 1);
        let entry = run.checkpoint(Which::Best).unwrap().clone();
        damage(&folder.path().join(&entry.file));
        assert!(run.read(&entry).unwrap_err().to_string().contains("damaged"));
    }

    #[test]
    fn an_unknown_task_is_answered_with_the_known_ones() {
        let folder = tempfile::tempdir().unwrap();
        let message = new_run(folder.path()).task("mtopp").unwrap_err().to_string();
        insta::assert_snapshot!(message, @r"
        unknown task `mtopp`: run `r` was trained on `mtop`, `snips`
        hint: did you mean `mtop`?
        ");
    }

    #[test]
    fn the_newest_run_that_was_trained_is_found() {
        let runs = tempfile::tempdir().unwrap();
        assert!(matches!(Run::newest(runs.path()), Err(RunError::NoRuns(_))));
        let mut older = new_run(&runs.path().join("older"));
        save(&mut older, 1, &[], 1);
        save(&mut new_run(&runs.path().join("newer-but-untrained")), 0, &[], 1);
        assert_eq!(Run::newest(runs.path()).unwrap().folder, older.folder);
    }
}
