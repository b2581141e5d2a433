//! From a run and the name of a task to a verified file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;

use hyperloader_core::backbone::registry::Architecture;
use hyperloader_core::files::{Existing, GrowingHash, write_checked};
use hyperloader_core::format::proof::Proof;
use hyperloader_core::format::tagger::{FORMAT, TaggerMetadata};
use hyperloader_core::run::{Checkpoint, Run, Task, Which};
use hyperloader_core::weights::tensors::Tensors;
use hyperloader_onnx::Opset;
use tempfile::TempDir;

use crate::bert::models::BertModels;
use crate::cost::CostCheck;
use crate::data::{DataFile, Placement};
use crate::error::ExportError;
use crate::exportable::{Exportable, Interface, Models};
use crate::file::{size_of, write_file, write_graph};
use crate::parallel::Later;
use crate::precision::compact::graph::expand_graph;
use crate::precision::content::{FileGraph, float32};
use crate::precision::int8::graph::quantize_graph;
use crate::precision::matrices::StoredMatrices;
use crate::precision::{Precision, Storage};
use crate::proof::append;
use crate::summary::{Exported, WeightGroup, weight_groups};
use crate::t5::T5Model;
use crate::t5::models::T5Models;
use crate::verify::answers::ReferenceRun;
use crate::verify::compare::{Verification, compare};
use crate::weights::{Loras, TaskGraph};

pub(crate) const PROGRAM: &str = "hl-export";

/// How a task is exported.
#[derive(Debug, Clone)]
pub struct Options {
    /// Operator set of the graph.
    pub opset: Opset,
    /// Element type of the large matrices, and those that keep float32.
    pub storage: Storage,
    /// Whether LoRA pairs are folded into the matrices that they update, or stay beside them, which requires float32. Without
    /// effect on several tasks in one graph, whose pairs stay beside them, and on `unipelt-bert`, whose pairs are never folded.
    pub loras: Loras,
    /// Whether the large weights go into a file of their own also where they fit into the model file.
    pub external_data: bool,
    /// What becomes of a file that has the name of the one that is written.
    pub existing: Existing,
    /// How the file is verified before it gets its name; `None` writes a file that was never run.
    pub verification: Option<Verification>,
    /// How the cost of a precision other than float32 is measured before the file gets its name; `None` does not measure.
    pub cost: Option<Rc<CostCheck>>,
    /// Whether a precision that costs too much is followed by a search for the matrices that are responsible.
    pub explain: bool,
}

impl Options {
    /// Opset 18, float32, without any check.
    pub fn unchecked() -> Self {
        Self { verification: None, ..Self::default() }
    }
}

impl Default for Options {
    /// Opset 18, float32, LoRA folded, verified in every available backend, without a measurement on sentences.
    fn default() -> Self {
        Self {
            opset: Opset::default(),
            storage: Storage::default(),
            loras: Loras::default(),
            external_data: false,
            existing: Existing::default(),
            verification: Some(Verification::default()),
            cost: None,
            explain: true,
        }
    }
}

/// Exports the tasks of a run from one of its checkpoints.
#[derive(Debug)]
pub struct Exporter {
    run: Run,
    checkpoint: Checkpoint,
    tensors: Tensors,
    /// Folder of the backbone.
    folder: PathBuf,
    models: Box<dyn Models>,
    /// What the checkpoint is, for people, if another program wrote it.
    origin: &'static str,
    /// What each source begins with, if it is not what the method says.
    source_prefix: Option<String>,
    /// A folder that was made for this exporter, which is removed with it.
    _made: Option<TempDir>,
}

/// A file that was written but not yet verified.
pub(crate) struct Written {
    weights: Vec<WeightGroup>,
    reference: Option<ReferenceRun>,
    pub(crate) data: Option<DataFile>,
    /// Without the answers and the cost, which are not known before the file is checked.
    proof: Proof,
}

impl Exporter {
    /// Reads a checkpoint of `run` and opens the backbone that it was trained on: the one in the folder `backbone` if
    /// given, otherwise the one that the run names.
    ///
    /// # Errors
    /// Returns an error if the checkpoint or the backbone is missing, damaged, or not the one in the run's manifest.
    pub fn open(run: Run, which: Which, backbone: Option<&Path>) -> Result<Self, ExportError> {
        let checkpoint = run.checkpoint(which)?.clone();
        let tensors = run.read(&checkpoint)?;
        let folder = run.backbone(backbone)?.folder().to_owned();
        Ok(Self::of_parts(run, checkpoint, tensors, folder))
    }

    /// An exporter of the tensors of `checkpoint` on the backbone in `folder`.
    pub(crate) fn of_parts(run: Run, checkpoint: Checkpoint, tensors: Tensors, folder: PathBuf) -> Self {
        let models: Box<dyn Models> = match &run.manifest.architecture {
            Architecture::T5(config) => Box::new(T5Models::new(folder.clone(), config.clone())),
            Architecture::Bert(_) => Box::new(BertModels::new(folder.clone())),
        };
        Self { run, checkpoint, tensors, folder, models, origin: "a run", source_prefix: None, _made: None }
    }

    /// The same for a checkpoint of this origin, with this prefix of each source, and with a folder that is removed with it.
    pub(crate) fn with(self, origin: &'static str, source_prefix: String, made: Option<TempDir>) -> Self {
        Self { origin, source_prefix: Some(source_prefix), _made: made, ..self }
    }

    /// What the checkpoint is, for people.
    pub fn origin(&self) -> &'static str {
        self.origin
    }

    /// Folder of the backbone.
    pub fn backbone_folder(&self) -> &Path {
        &self.folder
    }

    /// The run that is exported.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Writes the model of `task` to `path`. `stage` receives a description of each step.
    ///
    /// Weights are streamed from the backbone into the file, one at a time. The backbone is closed before the backends
    /// run, and these run one after the other.
    ///
    /// # Errors
    /// Returns [`ExportError`]. The file at `path` is then as before the call; a file that was written is complete and
    /// verified.
    pub fn export(
        &self,
        task: &str,
        path: &Path,
        options: &Options,
        stage: &dyn Fn(&str),
    ) -> Result<Exported, ExportError> {
        let placement = if options.external_data { Placement::Beside } else { Placement::Auto };
        self.export_placed(task, path, options, placement, stage)
    }

    /// As [`Exporter::export`], with the weights placed by `placement`.
    pub(crate) fn export_placed(
        &self,
        task: &str,
        path: &Path,
        options: &Options,
        placement: Placement<'_>,
        stage: &dyn Fn(&str),
    ) -> Result<Exported, ExportError> {
        let task = self.run.task(task)?;
        let verify = |file: &Path, Written { weights, reference, data, mut proof }: Written| {
            let hash = GrowingHash::start(file)?;
            let (ladder, vectors) = match (&options.verification, reference) {
                (Some(verification), Some(reference)) => {
                    let (ladder, vectors) = compare(&task.name, reference, file, verification, stage)?;
                    (Some(ladder), vec![vectors])
                }
                _ => (None, Vec::new()),
            };
            if let Some(ladder) = ladder.as_ref().filter(|ladder| !ladder.holds()) {
                return Err(ExportError::Mismatch(Box::new(ladder.clone())));
            }
            let cost = match &options.cost {
                Some(check) if options.storage.precision != Precision::F32 => {
                    Some(self.cost(task, file, options, check, stage)?)
                }
                _ => None,
            };
            (proof.vectors, proof.cost) = (vectors, cost);
            append(&proof, file)?;
            Ok(Exported {
                precision: options.storage.precision,
                cost,
                earlier_data: data.as_ref().map(|data| data.earlier(path)).unwrap_or_default(),
                data: data.map(|data| data.path),
                task: task.name.clone(),
                file: path.to_owned(),
                bytes: size_of(file)?,
                sha256: hash.finish()?,
                run: self.run.manifest.name.clone(),
                step: self.checkpoint.step,
                parameters: weights.iter().map(|group| group.parameters).sum(),
                weights,
                ladder,
            })
        };
        self.write_placed(task, path, options, placement, stage, verify)
    }

    /// Writes the model file at `path`, and a data file beside it if `placement` asks for one. The model file gets its name
    /// if `check` accepts it; otherwise the data file is removed. In float32, the reference model runs while the file is written.
    pub(crate) fn write_placed<R>(
        &self,
        task: &Task,
        path: &Path,
        options: &Options,
        placement: Placement<'_>,
        stage: &dyn Fn(&str),
        check: impl FnOnce(&Path, Written) -> Result<R, ExportError>,
    ) -> Result<R, ExportError> {
        let manifest = &self.run.manifest;
        self.with_graph(task, options, |model, graph, stored| {
            thread::scope(|scope| {
                let mut reference = Later::default();
                if options.verification.is_some() {
                    stage("running the reference model");
                    reference = Later::start(scope, || model.reference_run(manifest, task, stored));
                }
                if stored.precision() != Precision::F32 {
                    // The file takes the matrices that the reference model has quantized.
                    reference.wait();
                }
                stage("writing the file");
                let target = (path, options.existing);
                let written = write_file(graph, stored, target, placement, |file, data, proof| {
                    let (reference, data) = (reference.take().transpose()?, data.cloned());
                    check(file, Written { weights: weight_groups(graph), reference, data, proof })
                });
                match (written, reference.take().transpose()) {
                    // What is wrong with the model is the cause of both.
                    (Err(_), Err(error)) => Err(error.into()),
                    (written, _) => written,
                }
            })
        })
    }

    /// Calls `use_it` with the model of `task`, the graph of its file, and the matrices in the precision of the file.
    pub(crate) fn with_graph<R>(
        &self,
        task: &Task,
        options: &Options,
        use_it: impl FnOnce(&dyn Exportable, &FileGraph<'_>, &StoredMatrices) -> Result<R, ExportError>,
    ) -> Result<R, ExportError> {
        let model = self.model(task)?;
        let precision = options.storage.precision;
        if options.loras == Loras::Separate && precision != Precision::F32 {
            return Err(ExportError::Unfolded(precision));
        }
        let metadata = self.metadata_of(task, model.interface(&self.run.manifest, task)?, precision)?;
        let graph = model.graph(options.opset, options.loras)?;
        let graph = file_graph(graph, &metadata, &options.storage, options.opset)?;
        check_patterns(&graph, &options.storage)?;
        use_it(&*model, &graph, &StoredMatrices::new(options.storage.clone()))
    }

    /// The model of a task.
    pub(crate) fn model(&self, task: &Task) -> Result<Box<dyn Exportable>, ExportError> {
        self.models.model(&self.run, &self.tensors, task)
    }

    /// Number of updates at the checkpoint.
    pub(crate) fn step(&self) -> u64 {
        self.checkpoint.step
    }

    /// The T5 of a task, with the task's drafter if there is one.
    ///
    /// # Errors
    /// Returns an error if the run's model is not a T5, its weights cannot be computed, or the drafter is damaged.
    pub fn t5_model(&self, task: &Task) -> Result<T5Model, ExportError> {
        let models = T5Models::new(self.folder.clone(), self.run.manifest.t5()?.clone());
        models.t5_model(&self.run, &self.tensors, task)
    }

    /// The metadata of a task's float32 file.
    ///
    /// # Errors
    /// Returns an error if the task's model or the backbone's tokenizer is unusable.
    pub fn metadata(&self, task: &Task) -> Result<TaggerMetadata, ExportError> {
        let model = self.model(task)?;
        self.metadata_of(task, model.interface(&self.run.manifest, task)?, Precision::F32)
    }

    fn metadata_of(
        &self,
        task: &Task,
        interface: Interface,
        precision: Precision,
    ) -> Result<TaggerMetadata, ExportError> {
        let manifest = &self.run.manifest;
        let mut calibration = self.run.calibration_of(&task.name, &self.checkpoint)?;
        // Scores of other numbers are others: a guarantee would not hold for them.
        if let Some(calibration) = calibration.as_mut().filter(|_| precision != Precision::F32) {
            (calibration.selection, calibration.spans) = (None, None);
        }
        Ok(TaggerMetadata {
            format: FORMAT,
            kind: interface.kind,
            task: task.name.clone(),
            labels: task.labels.clone(),
            words: task.words,
            word_fit: task.word_fit,
            sentence_words: task.sentence_words,
            max_source_len: manifest.max_source_len,
            max_target_len: interface.max_target_len,
            pad_token_id: interface.pad,
            eos_token_id: interface.eos,
            decoder_start_token_id: interface.start,
            decoder_layers: interface.decoder_layers,
            memory: interface.memory,
            source_prefix: self.source_prefix.clone().unwrap_or(interface.source_prefix),
            method: manifest.method.method().to_string(),
            run: manifest.name.clone(),
            step: self.checkpoint.step,
            checkpoint_sha256: self.checkpoint.sha256.clone(),
            backbone_sha256: manifest.backbone.sha256.clone(),
            program: format!("{PROGRAM} {}", env!("CARGO_PKG_VERSION")),
            drafter: interface.drafter,
            calibration,
            tokenizer: interface.tokenizer,
        })
    }
}

/// Writes a T5 with this metadata to `path`, without verification.
///
/// # Errors
/// Returns an error if the model's weights do not fit its configuration, a tensor is unusable, or the file cannot be written.
pub fn write_t5(
    model: &T5Model,
    metadata: &TaggerMetadata,
    storage: &Storage,
    path: &Path,
) -> Result<(), ExportError> {
    let graph = model.graph(Opset::default(), Loras::Folded)?;
    let graph = file_graph(graph, metadata, storage, Opset::default())?;
    let stored = StoredMatrices::new(storage.clone());
    let write = |out: &mut dyn Write| write_graph(out, &graph, None, &stored);
    write_checked(path, Existing::Replace, write, |_, _| Ok(()))
}

/// `graph` as a file in a precision, with metadata.
fn file_graph<'a>(
    graph: TaskGraph<'a>,
    metadata: &TaggerMetadata,
    storage: &Storage,
    opset: Opset,
) -> Result<FileGraph<'a>, ExportError> {
    let graph = match storage.precision {
        Precision::F32 => float32(graph),
        Precision::Int8 => quantize_graph(graph, storage, opset)?,
        Precision::F16 | Precision::Bf16 | Precision::Int4 => expand_graph(graph, storage),
    };
    Ok(graph.with_producer(PROGRAM, env!("CARGO_PKG_VERSION")).with_metadata(metadata.to_properties()?))
}

/// Checks that each name in `storage` is that of a matrix which the precision could store in fewer bits.
fn check_patterns(graph: &FileGraph<'_>, storage: &Storage) -> Result<(), ExportError> {
    if storage.precision == Precision::F32 {
        return Ok(());
    }
    let names =
        || graph.weights.iter().filter(|weight| weight.source.is_quantizable()).map(|weight| &weight.name);
    match storage.keep_f32.iter().find(|pattern| !names().any(|name| pattern.matches(name))) {
        Some(pattern) => Err(ExportError::Pattern {
            pattern: pattern.to_string(),
            example: names().next().cloned().unwrap_or_default(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use hyperloader_core::backbone::t5::T5Config;
    use hyperloader_core::method::HyperConfig;

    use super::*;
    use crate::random_run;

    #[test]
    fn the_file_of_another_task_is_refused() {
        let wide = T5Config { num_layers: 1, ..T5Config::preset("t5-nano").unwrap() };
        let narrow = T5Config { d_model: 16, d_ff: 16, ..wide.clone() };
        for (t5, precision, close) in [
            (narrow.clone(), Precision::F32, &[true, false, true][..]),
            // No matrix is large: all of the file is float32.
            (narrow, Precision::Int8, &[true, true, false, true][..]),
            (wide.clone(), Precision::Int8, &[true, true, false, true][..]),
            (wide.clone(), Precision::F16, &[true, true, false, true][..]),
            (wide.clone(), Precision::Bf16, &[true, true, false][..]),
            (wide, Precision::Int4, &[true, true, false, true][..]),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let method = HyperConfig { reduction_factor: 4, ..HyperConfig::default() }.into();
            let run = random_run::write(folder.path(), &t5, &method, &["mtop", "snips"]);
            let exporter = Exporter::open(run, Which::Last, None).unwrap();
            let file = folder.path().join("snips.onnx");
            let storage = Storage::from(precision);
            let unverified = Options { storage: storage.clone(), verification: None, ..Options::default() };
            exporter.export("snips", &file, &unverified, &|_| {}).unwrap();

            let ladder = |task: &str| {
                let run = exporter.run();
                let task = run.task(task).unwrap();
                let model = exporter.models.model(run, &exporter.tensors, task).unwrap();
                let stored = StoredMatrices::new(storage.clone());
                let reference = model.reference_run(&run.manifest, task, &stored).unwrap();
                compare("t", reference, &file, &Verification::default(), &|_| {}).unwrap().0
            };
            let right = ladder("snips");
            assert!(right.holds(), "{right}");
            let wrong = ladder("mtop");
            assert!(!wrong.holds(), "{wrong}");
            let is_close: Vec<bool> = wrong.rungs.iter().map(|rung| rung.is_close()).collect();
            assert_eq!(is_close, close, "{wrong}");
        }
    }
}
