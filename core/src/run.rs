//! A run's folder: `manifest.json`, `checkpoints/step-N.safetensors`, `metrics.jsonl`.
//!
//! A checkpoint's file is whole on disk before the manifest names it, and the manifest is replaced in one rename: a
//! run that is cut at any instant is left at its previous checkpoint.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::backbone::{Backbone, BackboneError};
use crate::files::{FileError, read_text, sha256, write_atomic};
use crate::method::HyperConfig;
use crate::t5::T5Config;
use crate::tensors::{TensorError, TensorFile, Tensors, write_tensors};
use crate::words::WordSplitting;

/// The version of the folder's layout that this code writes and reads.
pub const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
const CHECKPOINTS: &str = "checkpoints";

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
    /// The run has no checkpoint yet.
    #[error("run `{}` has no checkpoint yet", .0.display())]
    NoCheckpoint(PathBuf),
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
    pub method: HyperConfig,
    /// The backbone's configuration.
    pub t5: T5Config,
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
}

/// The backbone of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackboneReference {
    /// The folder, relative to the run's folder.
    pub path: PathBuf,
    /// SHA-256 of `model.safetensors`.
    pub sha256: String,
    /// SHA-256 of `tokenizer.json`.
    pub tokenizer_sha256: String,
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
}

/// Which checkpoint to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Lowest validation loss per token (the latest if none was evaluated).
    Best,
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
    /// Creates the folder of a new run and writes its manifest. The backbone's path is stored relative to the folder.
    ///
    /// # Errors
    /// If the folder cannot be made or written.
    pub fn create(folder: &Path, manifest: Manifest) -> Result<Self, RunError> {
        let checkpoints = folder.join(CHECKPOINTS);
        fs::create_dir_all(&checkpoints).map_err(|e| FileError::new("create", &checkpoints, e))?;
        let run = Self { folder: folder.to_owned(), manifest };
        run.write_manifest()?;
        Ok(run)
    }

    /// Opens a run.
    ///
    /// # Errors
    /// If the folder holds no manifest that this version reads.
    pub fn open(folder: &Path) -> Result<Self, RunError> {
        let path = folder.join(MANIFEST);
        if !path.is_file() {
            return Err(RunError::NoRun(folder.to_owned()));
        }
        let error = |reason: String| RunError::Manifest { path: path.clone(), reason };
        let manifest: Manifest =
            serde_json::from_str(&read_text(&path)?).map_err(|e| error(e.to_string()))?;
        if manifest.format != FORMAT {
            return Err(error(format!("format is {}, expected {FORMAT}", manifest.format)));
        }
        let names: Vec<String> = manifest.tasks.iter().map(|t| t.name.clone()).collect();
        manifest.method.validate(&manifest.t5, &names).map_err(|e| error(e.to_string()))?;
        Ok(Self { folder: folder.to_owned(), manifest })
    }

    /// The run under `runs` whose manifest was written last and that has a checkpoint.
    ///
    /// # Errors
    /// If there is none, or it is unreadable.
    pub fn newest(runs: &Path) -> Result<Self, RunError> {
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
        while let Some((_, folder)) = found.pop() {
            let run = Self::open(&folder)?;
            if !run.manifest.checkpoints.is_empty() {
                return Ok(run);
            }
        }
        Err(RunError::NoRuns(runs.to_owned()))
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
    pub fn checkpoint(&self, which: Which) -> Result<&Checkpoint, RunError> {
        let all = &self.manifest.checkpoints;
        let last = all.iter().max_by_key(|c| c.step);
        let evaluated = all.iter().filter_map(|c| Some((c.validation_loss?, c)));
        let best = evaluated.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, c)| c);
        match which {
            Which::Best => best.or(last),
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
        let Manifest { method, t5, tasks, .. } = &self.manifest;
        let tasks: Vec<String> = tasks.iter().map(|t| t.name.clone()).collect();
        let expected = method.trainable_tensors(t5, &tasks);
        file.check(&expected.into_iter().map(|t| (t.name, t.shape)).collect(), &[])?;
        Ok(file.read_all()?)
    }

    /// Adds a checkpoint and drops those that are neither the best nor the last any more.
    ///
    /// # Errors
    /// Any error of the file system; the run then stays at its previous checkpoint.
    pub fn save(
        &mut self,
        step: u64,
        tensors: &Tensors,
        validation_loss: Option<f64>,
    ) -> Result<(), RunError> {
        let file = PathBuf::from(CHECKPOINTS).join(format!("step-{step:06}.safetensors"));
        let path = self.folder.join(&file);
        write_tensors(&path, tensors)?;
        let entry = Checkpoint { step, file, sha256: sha256(&path)?, validation_loss };
        self.manifest.checkpoints.retain(|c| c.step != step);
        self.manifest.checkpoints.push(entry);
        let keep = [self.checkpoint(Which::Best)?.step, self.checkpoint(Which::Last)?.step];
        let (kept, dropped): (Vec<_>, Vec<_>) =
            self.manifest.checkpoints.drain(..).partition(|c| keep.contains(&c.step));
        self.manifest.checkpoints = kept;
        self.write_manifest()?;
        for checkpoint in dropped {
            let path = self.folder.join(&checkpoint.file);
            fs::remove_file(&path).map_err(|e| FileError::new("remove", &path, e))?;
        }
        Ok(())
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
        let reference = &self.manifest.backbone;
        let folder = match instead {
            Some(folder) => folder.to_owned(),
            None => self.folder.join(&reference.path),
        };
        let backbone = Backbone::open(&folder, self.manifest.t5.cross_attention_relative_bias)?;
        check_hash(&folder.join("model.safetensors"), &reference.sha256)?;
        check_hash(&backbone.tokenizer(), &reference.tokenizer_sha256)?;
        Ok(backbone)
    }
}

fn check_hash(path: &Path, expected: &str) -> Result<(), RunError> {
    let found = sha256(path)?;
    if found == expected {
        return Ok(());
    }
    Err(RunError::Damaged { path: path.to_owned(), found, expected: expected.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::Method;
    use ndarray::ArrayD;

    fn new_run(folder: &Path) -> Run {
        let t5 = T5Config { vocab_size: 16, d_ff: 32, ..T5Config::preset("t5-nano").unwrap() };
        let task = |name: &str| Task {
            name: name.to_owned(),
            labels: vec!["place".to_owned()],
            words: WordSplitting::default(),
            train_sentences: 3,
        };
        let manifest = Manifest {
            format: FORMAT,
            name: "r".into(),
            program: "test".into(),
            method: Method::HyperLoader.preset(),
            t5,
            backbone: BackboneReference {
                path: "../backbone".into(),
                sha256: String::new(),
                tokenizer_sha256: String::new(),
            },
            tasks: vec![task("mtop"), task("snips")],
            max_source_len: 128,
            max_target_len: 128,
            seed: 1,
            checkpoints: vec![],
        };
        Run::create(folder, manifest).unwrap()
    }

    fn tensors(run: &Run, value: f32) -> Tensors {
        let names = ["mtop".to_owned(), "snips".to_owned()];
        run.manifest
            .method
            .trainable_tensors(&run.manifest.t5, &names)
            .into_iter()
            .map(|t| (t.name, ArrayD::from_elem(t.shape, value)))
            .collect()
    }

    #[test]
    fn best_and_last_checkpoints_are_kept_and_the_others_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = new_run(folder.path());
        for (step, loss) in [(1, 3.0), (2, 1.0), (3, 2.0), (4, 2.5)] {
            run.save(step, &tensors(&run, step as f32), Some(loss)).unwrap();
        }
        let again = Run::open(folder.path()).unwrap();
        assert_eq!(again.checkpoint(Which::Best).unwrap().step, 2);
        assert_eq!(again.checkpoint(Which::Last).unwrap().step, 4);
        assert_eq!(fs::read_dir(folder.path().join(CHECKPOINTS)).unwrap().count(), 2);
        let best = again.read(again.checkpoint(Which::Best).unwrap()).unwrap();
        assert_eq!(best, tensors(&run, 2.0));
    }

    #[test]
    fn a_changed_checkpoint_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = new_run(folder.path());
        run.save(1, &tensors(&run, 1.0), None).unwrap();
        let entry = run.checkpoint(Which::Best).unwrap().clone();
        let path = folder.path().join(&entry.file);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
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
    fn the_newest_run_with_a_checkpoint_is_found() {
        let runs = tempfile::tempdir().unwrap();
        assert!(matches!(Run::newest(runs.path()), Err(RunError::NoRuns(_))));
        let mut older = new_run(&runs.path().join("older"));
        older.save(1, &tensors(&older, 1.0), None).unwrap();
        new_run(&runs.path().join("newer-but-empty"));
        assert_eq!(Run::newest(runs.path()).unwrap().folder, older.folder);
    }
}
