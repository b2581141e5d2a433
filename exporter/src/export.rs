//! From a run and a task's name to a file: whole, verified, or absent.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use hyperloader_core::backbone::bert::BertBackbone;
use hyperloader_core::backbone::registry::Architecture;
use hyperloader_core::backbone::t5::{Stack, T5Backbone};
use hyperloader_core::backbone::{BackboneError, TOKENIZER};
use hyperloader_core::files::{FileError, read_text, sha256, write_checked};
use hyperloader_core::format::tagger::{
    FORMAT, MetadataError, TaggerKind, TaggerMetadata, generated_adapter,
};
use hyperloader_core::method::{MethodConfig, MethodError};
use hyperloader_core::run::{Checkpoint, Manifest, Run, RunError, Task, Which};
use hyperloader_core::text::drafter::{Drafter, Transitions};
use hyperloader_core::text::labels::bio_tags;
use hyperloader_core::text::sentt::{SentT, SentTError};
use hyperloader_core::text::wordpiece::WordPieceError;
use hyperloader_core::weights::tensors::Tensors;
use hyperloader_onnx::{BuiltModel, Bytes, Opset, Weight, WriteError, write_model};
use hyperloader_runtime::BackendError;
use serde::Serialize;

use crate::bert::model::BertModel;
use crate::graph::{DRAFTER_BIAS, DRAFTER_WEIGHT, GraphError, added_tensors, t5_graph};
use crate::materialise::{MaterialiseError, task_weights};
use crate::model::{ModelError, TaskModel};
use crate::probe::Probes;
use crate::quantize::Quantized;
use crate::summary::{WeightGroup, weight_groups};
use crate::verify::{Ladder, Oracle, Verification};

const PROGRAM: &str = "hl-export";

/// A task could not be exported. Nothing is left at the file's path then (an older file stays as it was).
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The run, its checkpoint or its backbone is unusable.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The backbone is unusable.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// Method and backbone do not belong together.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// A BERT's tokenizer is unusable.
    #[error(transparent)]
    WordPiece(#[from] WordPieceError),
    /// A token classifier was asked for in bytes.
    #[error(
        "`unipelt-bert` is exported in float32 only\nhint: leave `--precision int8` out, or take a method of T5"
    )]
    Precision,
    /// The task's weights could not be made.
    #[error(transparent)]
    Materialise(#[from] MaterialiseError),
    /// A tensor of the model is unusable.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The graph could not be built.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The backbone's tokenizer is unusable.
    #[error(transparent)]
    Tokenizer(#[from] SentTError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The model could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The file's metadata could not be made.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A backend does not run the file.
    #[error("the written file cannot be verified")]
    Backend(#[from] BackendError),
    /// The written file does not compute what the run does.
    #[error(
        "the exported model is not the trained one: a difference is over tolerance\n{0}\nhint: no file was written; `--atol` sets the tolerance"
    )]
    Mismatch(Box<Ladder>),
}

impl ExportError {
    /// Whether the program or a backend is at fault, not what it was given.
    pub fn is_internal(&self) -> bool {
        matches!(self, Self::Backend(_) | Self::Graph(_) | Self::Metadata(_) | Self::Materialise(_))
    }
}

/// What a model's large matrices are stored as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats: the trained model
    #[default]
    F32,
    /// Bytes: a quarter of the size, faster in ONNX Runtime, and close to the trained model but not equal to it
    Int8,
}

impl Precision {
    /// `model` to be written so.
    ///
    /// # Errors
    /// If its graph cannot be built.
    pub fn of(self, model: TaskModel) -> Result<Box<dyn Exportable>, GraphError> {
        Ok(match self {
            Self::F32 => Box::new(model),
            Self::Int8 => Box::new(Quantized::new(model)?),
        })
    }
}

/// What is written, and how it is checked.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Operator set of the graph.
    pub opset: Opset,
    /// What the large matrices are stored as.
    pub precision: Precision,
    /// How the file is verified before it takes its name; not at all where absent.
    pub verification: Option<Verification>,
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exported {
    /// The task.
    pub task: String,
    /// The file.
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of it.
    pub sha256: String,
    /// The run that its weights come from.
    pub run: String,
    /// Updates done in that run.
    pub step: u64,
    /// Elements of all weights stored.
    pub parameters: usize,
    /// The weights by their part in the model.
    pub weights: Vec<WeightGroup>,
    /// What verification found; absent if there was none.
    pub ladder: Option<Ladder>,
}

/// A run's checkpoint with its backbone, hashes compared: tasks can be exported from it.
#[derive(Debug)]
pub struct Exporter {
    run: Run,
    checkpoint: Checkpoint,
    tensors: Tensors,
    backbone: PathBuf,
}

impl Exporter {
    /// Reads a checkpoint of `run` and checks the backbone that it was trained on (or `backbone`, if it lies elsewhere
    /// now).
    ///
    /// # Errors
    /// If either is missing, damaged, or not the one that the run's manifest names.
    pub fn open(run: Run, which: Which, backbone: Option<&Path>) -> Result<Self, ExportError> {
        let checkpoint = run.checkpoint(which)?.clone();
        let tensors = run.read(&checkpoint)?;
        let backbone = run.backbone(backbone)?.folder().to_owned();
        Ok(Self { backbone, run, checkpoint, tensors })
    }

    /// The run.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Writes the model of `task` to `path`; `stage` is told what is being done.
    ///
    /// Weights are streamed from the backbone into the file, and backends run one at a time, after the backbone was
    /// closed: memory is bounded by what one backend needs for the file.
    ///
    /// # Errors
    /// [`ExportError`]; the file is complete and verified, or not there.
    pub fn export(
        &self,
        task: &str,
        path: &Path,
        options: &Options,
        stage: &dyn Fn(&str),
    ) -> Result<Exported, ExportError> {
        let task = self.run.task(task)?;
        let model = self.model(task, options.precision)?;
        let built = graph(&*model, &self.metadata(task, &*model)?, options.opset)?;
        let measure = match &options.verification {
            Some(verification) => {
                stage("running the trained model, un-folded and folded");
                Some((model.oracle(&self.run.manifest, task)?, verification))
            }
            None => None,
        };
        stage("writing the file");
        // The model, and with it the map of the backbone's file, is gone before backends take memory.
        let fill = |out: &mut dyn Write| write(out, &built, &*{ model });
        let check = |written: &Path| {
            let ladder = measure.map(|(oracle, verification)| oracle.compare(written, verification, stage));
            let ladder = ladder.transpose()?;
            match ladder {
                Some(ladder) if !ladder.holds() => Err(ExportError::Mismatch(Box::new(ladder))),
                ladder => Ok((
                    ladder,
                    sha256(written)?,
                    fs::metadata(written).map_err(|e| FileError::new("read", written, e))?.len(),
                )),
            }
        };
        let (ladder, sha256, bytes) = write_checked(path, fill, check)?;
        Ok(Exported {
            task: task.name.clone(),
            file: path.to_owned(),
            bytes,
            sha256,
            run: self.run.manifest.name.clone(),
            step: self.checkpoint.step,
            parameters: built.weights.iter().map(Weight::element_count).sum(),
            weights: weight_groups(&built),
            ladder,
        })
    }

    fn model(&self, task: &Task, precision: Precision) -> Result<Box<dyn Exportable>, ExportError> {
        Ok(match &self.run.manifest.architecture {
            Architecture::T5(_) => {
                let model = self.t5_model(task)?;
                model.check_folds()?;
                precision.of(model)?
            }
            Architecture::Bert(_) if precision != Precision::F32 => return Err(ExportError::Precision),
            Architecture::Bert(_) => {
                let backbone = BertBackbone::open(&self.backbone)?;
                let MethodConfig::UnipeltBert(method) = self.run.manifest.method.clone() else {
                    unreachable!("no other method runs on a BERT");
                };
                let tags = bio_tags(&task.labels).len();
                Box::new(BertModel::new(backbone, method, self.tensors.clone(), &task.name, tags))
            }
        })
    }

    /// The T5 of a task of the run, un-folded, with the task's drafter if there is one.
    ///
    /// # Errors
    /// If the run's model is no T5, its weights cannot be made, or the drafter is damaged.
    pub fn t5_model(&self, task: &Task) -> Result<TaskModel, ExportError> {
        let t5 = self.run.manifest.t5()?;
        let weights = task_weights(&self.run.manifest.method, t5, &self.tensors, &task.name)?;
        let names = t5.tensors().into_keys();
        let trained = names.filter_map(|name| Some((name.clone(), self.tensors.get(&name)?.clone())));
        let backbone = T5Backbone::open(&self.backbone, t5.cross_attention_relative_bias)?;
        Ok(TaskModel::new(backbone, trained.collect(), weights).with_drafter(self.run.drafter(task)?))
    }

    /// What the file of `model`, a task's, says about itself.
    ///
    /// # Errors
    /// If the backbone's tokenizer cannot be read.
    pub fn metadata(&self, task: &Task, model: &dyn Exportable) -> Result<TaggerMetadata, ExportError> {
        let manifest = &self.run.manifest;
        let Interface { kind, max_target_len, pad, eos, start, decoder_layers, memory, drafter, tokenizer } =
            model.interface(manifest)?;
        Ok(TaggerMetadata {
            format: FORMAT,
            kind,
            task: task.name.clone(),
            labels: task.labels.clone(),
            words: task.words,
            max_source_len: manifest.max_source_len,
            max_target_len,
            pad_token_id: pad,
            eos_token_id: eos,
            decoder_start_token_id: start,
            decoder_layers,
            memory,
            source_prefix: manifest.method.source_prefix(&task.name).to_owned(),
            method: manifest.method.method().to_string(),
            run: manifest.name.clone(),
            step: self.checkpoint.step,
            checkpoint_sha256: self.checkpoint.sha256.clone(),
            backbone_sha256: manifest.backbone.sha256.clone(),
            program: format!("{PROGRAM} {}", env!("CARGO_PKG_VERSION")),
            drafter,
            tokenizer,
        })
    }
}

/// A task's model, ready to be written.
pub trait Exportable {
    /// Its graph, weights still to be supplied.
    fn graph(&self, opset: Opset) -> Result<BuiltModel, GraphError>;

    /// The elements of a weight of its graph.
    fn elements(&self, weight: &Weight) -> Result<Bytes, ModelError>;

    /// What the written file is measured with.
    fn oracle(&self, manifest: &Manifest, task: &Task) -> Result<Oracle, ExportError>;

    /// What running the file takes.
    fn interface(&self, manifest: &Manifest) -> Result<Interface, ExportError>;
}

/// The part of [`TaggerMetadata`] that kinds of models differ in.
pub struct Interface {
    pub(crate) kind: TaggerKind,
    pub(crate) max_target_len: usize,
    pub(crate) pad: i64,
    pub(crate) eos: i64,
    pub(crate) start: i64,
    pub(crate) decoder_layers: usize,
    /// Inner values that a decoder reads besides keys and values.
    pub(crate) memory: Vec<String>,
    pub(crate) drafter: Option<Transitions>,
    pub(crate) tokenizer: String,
}

impl Exportable for TaskModel {
    fn graph(&self, opset: Opset) -> Result<BuiltModel, GraphError> {
        t5_graph(self.config(), self.weights(), self.draft_tags(), opset)
    }

    fn elements(&self, weight: &Weight) -> Result<Bytes, ModelError> {
        let mut beside = added_tensors(self.weights());
        if let Some(Drafter { weight, bias, .. }) = self.drafter() {
            beside.extend([(DRAFTER_WEIGHT.to_owned(), weight), (DRAFTER_BIAS.to_owned(), bias)]);
        }
        match beside.get(&weight.name) {
            Some(tensor) => self.stored(weight, tensor),
            None => self.stored(weight, &self.folded_tensor(&weight.name)?),
        }
    }

    fn oracle(&self, manifest: &Manifest, task: &Task) -> Result<Oracle, ExportError> {
        oracle(self, manifest, task, Precision::F32)
    }

    fn interface(&self, manifest: &Manifest) -> Result<Interface, ExportError> {
        let config = self.config();
        Ok(Interface {
            kind: TaggerKind::EncoderDecoder,
            max_target_len: manifest.max_target_len,
            pad: config.pad_token_id,
            eos: config.eos_token_id,
            start: config.decoder_start_token_id,
            decoder_layers: config.layers(Stack::Decoder),
            memory: match &self.weights().generator {
                Some(_) => (0..config.layers(Stack::Decoder)).flat_map(generated_adapter).collect(),
                None => Vec::new(),
            },
            drafter: self.drafter().map(|drafter| drafter.transitions.clone()),
            tokenizer: read_text(&self.folder().join(TOKENIZER))?,
        })
    }
}

/// What a file of `model` is measured with.
pub(crate) fn oracle(
    model: &TaskModel,
    manifest: &Manifest,
    task: &Task,
    precision: Precision,
) -> Result<Oracle, ExportError> {
    let codec = SentT::from_file(model.folder().join(TOKENIZER))?;
    let prefix = codec.encode_text(manifest.method.source_prefix(&task.name))?;
    let limits = (manifest.max_source_len, manifest.max_target_len);
    let probes = Probes::new(&codec, task, &prefix, model.config(), limits)?;
    Ok(Oracle::new(model, probes, precision)?)
}

/// The graph of a task's model, with what its file says about itself.
///
/// # Errors
/// If the model's weights do not fit its configuration.
pub fn graph(
    model: &dyn Exportable,
    metadata: &TaggerMetadata,
    opset: Opset,
) -> Result<BuiltModel, ExportError> {
    Ok(model
        .graph(opset)?
        .with_producer(PROGRAM, env!("CARGO_PKG_VERSION"))
        .with_metadata(metadata.to_properties()?))
}

/// Streams a file to `out`: `built`, the [`graph`] of `model`, then one weight after the other, LoRA folded.
///
/// # Errors
/// If a tensor cannot be had, folded or written.
pub fn write(mut out: &mut dyn Write, built: &BuiltModel, model: &dyn Exportable) -> Result<(), ExportError> {
    match write_model(&mut out, built, |weight: &Weight| model.elements(weight)) {
        Ok(_) => Ok(()),
        Err(WriteError::Source { name, source }) => Err(match source.downcast::<ModelError>() {
            Ok(error) => ExportError::Model(*error),
            Err(source) => ExportError::Write(WriteError::Source { name, source }),
        }),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use hyperloader_core::backbone::t5::T5Config;
    use hyperloader_core::method::HyperConfig;
    use hyperloader_runtime::BackendOptions;

    use super::*;
    use crate::random_run;

    #[test]
    fn the_file_of_another_task_is_found_out() {
        let wide = T5Config { num_layers: 1, ..T5Config::preset("t5-nano").unwrap() };
        let narrow = T5Config { d_model: 16, d_ff: 16, ..wide.clone() };
        for (t5, precision, holding) in [
            (narrow.clone(), Precision::F32, &[true, false, true][..]),
            // All of it stays in float32.
            (narrow, Precision::Int8, &[true, true, false, true][..]),
            (wide, Precision::Int8, &[true, true, false, true][..]),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let method = HyperConfig { reduction_factor: 4, ..HyperConfig::default() }.into();
            let run = random_run::write(folder.path(), &t5, &method, &["mtop", "snips"]);
            let exporter = Exporter::open(run, Which::Last, None).unwrap();
            let file = folder.path().join("snips.onnx");
            exporter.export("snips", &file, &Options { precision, ..Options::default() }, &|_| {}).unwrap();

            let ladder = |task: &str| {
                let task = exporter.run().task(task).unwrap();
                let model = exporter.model(task, precision).unwrap();
                let oracle = model.oracle(&exporter.run().manifest, task).unwrap();
                let verification = Verification { tolerance: 1e-4, backends: BackendOptions::default() };
                oracle.compare(&file, &verification, &|_| {}).unwrap()
            };
            let right = ladder("snips");
            assert!(right.holds(), "{right}");
            let wrong = ladder("mtop");
            assert!(!wrong.holds(), "{wrong}");
            let holds: Vec<bool> = wrong.rungs.iter().map(|rung| rung.is_close(wrong.tolerance)).collect();
            assert_eq!(holds, holding, "{wrong}");
        }
    }
}
