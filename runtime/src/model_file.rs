//! Opens an exported tagger and checks its metadata and its graph's interface before anything uses them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hyperloader_core::format::tagger::{DRAFT_TAGS, LOGITS, MetadataError, TaggerMetadata};
use hyperloader_core::text::drafter::ROLES;
use hyperloader_core::text::target::tag_count;
use hyperloader_onnx::proto::{GraphProto, ModelProto, TensorTypeProto, ValueInfoProto};
use hyperloader_onnx::{Bytes, ElementType, ReadError, WeightFile, decode_model};

use crate::architecture;
use crate::error::{GraphError, GraphFault, ModelFileError};
use crate::halves::Halves;
use crate::model::{FieldError, Parts};
use crate::multi::{has_tasks, models};

/// Far more than any exported tagger has: a T5 has 100 sentinels, so its sentences have at most 99 words.
const MAX_TOKENS: usize = 1 << 16;

/// An exported tagger whose graph and metadata are checked.
#[derive(Debug, Clone)]
pub struct ModelFile {
    path: PathBuf,
    model: ModelProto,
    weights: Option<WeightFile>,
    metadata: TaggerMetadata,
    vocab_size: usize,
}

impl ModelFile {
    /// Opens the file at `path`, which has one task.
    ///
    /// # Errors
    /// [`ModelFileError`] if the file cannot be read, is not an ONNX model or ends too early, or if its graph or metadata are
    /// not those of a tagger of one task.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ModelFileError> {
        let path = path.as_ref();
        let mut files = Self::open_all(path)?;
        match files.pop() {
            Some(file) if files.is_empty() => Ok(file),
            last => {
                let tasks = files.iter().chain(&last).map(|file| format!("`{}`", file.metadata.task));
                let source = MetadataError::Several(tasks.collect());
                Err(ModelFileError::Metadata { path: path.to_owned(), source })
            }
        }
    }

    /// Opens the task `task` of the file at `path`, which may have several.
    ///
    /// # Errors
    /// As [`ModelFile::open`], and if the file lacks the task.
    pub fn open_task(path: impl AsRef<Path>, task: &str) -> Result<Self, ModelFileError> {
        let path = path.as_ref();
        let files = Self::open_all(path)?;
        let known = files.iter().map(|file| format!("`{}`", file.metadata.task)).collect();
        let source = MetadataError::Task { task: task.to_owned(), known };
        let found = files.into_iter().find(|file| file.metadata.task == task);
        found.ok_or_else(|| ModelFileError::Metadata { path: path.to_owned(), source })
    }

    /// Opens the file at `path` and gives a tagger for each of its tasks.
    ///
    /// # Errors
    /// As [`ModelFile::open`].
    pub fn open_all(path: impl AsRef<Path>) -> Result<Vec<Self>, ModelFileError> {
        let path = path.as_ref();
        let read = |error| unreadable(error, path);
        let weights = WeightFile::open(path).map_err(read)?;
        let model = weights.model().map_err(read)?;
        let models = match has_tasks(&model) {
            false => vec![model],
            true => {
                let malformed = |source| ModelFileError::Metadata { path: path.to_owned(), source };
                models(&model).map_err(malformed)?
            }
        };
        let opened = |model| Ok(Self { weights: Some(weights.clone()), ..Self::check(model, path)? });
        models.into_iter().map(opened).collect()
    }

    /// Opens a file whose bytes are in memory; errors name `path`.
    ///
    /// # Errors
    /// As [`ModelFile::open`].
    pub fn from_bytes(bytes: impl Into<Bytes>, path: impl AsRef<Path>) -> Result<Self, ModelFileError> {
        let path = path.as_ref();
        let model = decode_model(bytes.into(), path).map_err(|error| unreadable(error, path))?;
        Self::check(model, path)
    }

    fn check(model: ModelProto, path: &Path) -> Result<Self, ModelFileError> {
        let path = path.to_owned();
        let metadata =
            metadata(&model).map_err(|source| ModelFileError::Metadata { path: path.clone(), source })?;
        let empty = GraphProto::default();
        let graph = model.graph.as_ref().unwrap_or(&empty);
        let vocab_size = check_interface(graph, &metadata, &path)?;
        check_drafter(&metadata, graph, &path)?;
        check_numbers(&metadata, vocab_size, &path)?;
        Ok(Self { path, model, weights: None, metadata, vocab_size })
    }

    /// The path that the file was opened with.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Metadata, checked against the graph.
    pub fn metadata(&self) -> &TaggerMetadata {
        &self.metadata
    }

    /// The last dimension of `logits`: the size of the vocabulary or, for a token classifier, the number of BIO tags.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The two graphs that the tagger is run as.
    ///
    /// # Errors
    /// If the file is a token classifier, which has one graph, or its graph or tokenizer cannot be used.
    pub fn halves(&self) -> Result<Halves, GraphError> {
        let model = architecture::of(self.metadata.kind).model(&self.metadata).map_err(GraphFault::from)?;
        let mut halves = model.halves(self.parts())?;
        if let Some(weights) = &self.weights {
            for half in [&mut halves.encoder, &mut halves.decoder] {
                if let Some((referring, _)) = weights.refer(half) {
                    *half = referring;
                }
            }
        }
        Ok(halves)
    }

    /// The graph: inputs `input_ids` and `attention_mask` `[batch, source_len]`, `decoder_input_ids`
    /// `[batch, target_len]`; output `logits` `[batch, target_len, vocab]` and, if the tagger has a drafter, `draft_tags`
    /// `[batch, source_len, roles * tags]`. The graph of a token classifier has no `decoder_input_ids` and its `logits` are
    /// `[batch, source_len, tags]`.
    pub(crate) fn parts(&self) -> Parts<'_> {
        Parts {
            model: &self.model,
            weights: self.weights.as_ref(),
            metadata: &self.metadata,
            vocab_size: self.vocab_size,
        }
    }
}

/// A hint follows if the file is damaged.
pub(crate) fn unreadable(error: ReadError, path: &Path) -> ModelFileError {
    match error {
        ReadError::Io { .. } | ReadError::Data { .. } | ReadError::External { .. } => {
            ModelFileError::Read(error)
        }
        ReadError::TooLarge { .. } | ReadError::Limit { .. } | ReadError::NotAModel { .. } => {
            ModelFileError::NotAModel { path: path.to_owned(), source: error }
        }
    }
}

fn metadata(model: &ModelProto) -> Result<TaggerMetadata, MetadataError> {
    let properties: BTreeMap<String, String> =
        model.metadata().into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    TaggerMetadata::from_properties(&properties)
}

/// Checks names, types and ranks of inputs and outputs; gives the last dimension of `logits`.
fn check_interface(
    graph: &GraphProto,
    metadata: &TaggerMetadata,
    path: &Path,
) -> Result<usize, ModelFileError> {
    let wrong = |side, values: &[ValueInfoProto], expected: String| ModelFileError::Interface {
        path: path.to_owned(),
        side,
        found: match values {
            [] => "none".into(),
            values => listed(values.iter().map(signature)),
        },
        expected,
    };
    let inputs = architecture::of(metadata.kind).inputs();
    let inputs: Vec<_> = inputs.iter().map(|name| (*name, Some(ElementType::I64), 2)).collect();
    let found: Vec<_> = graph.input.iter().map(signature).collect();
    let same = found.len() == inputs.len() && inputs.iter().all(|input| found.contains(input));
    if !same {
        return Err(wrong("inputs", &graph.input, listed(inputs.into_iter())));
    }
    let names = if metadata.drafter.is_some() { &[LOGITS, DRAFT_TAGS][..] } else { &[LOGITS] };
    let outputs = || names.iter().map(|name| (*name, Some(ElementType::F32), 3));
    let logits = graph.output.first().and_then(ValueInfoProto::last_dimension);
    logits.filter(|_| graph.output.iter().map(signature).eq(outputs())).ok_or_else(|| {
        wrong("outputs", &graph.output, format!("{}, of a fixed last dimension", listed(outputs())))
    })
}

/// Name, element type (`None` if it is one that no tagger uses) and rank of a value.
type Signature<'a> = (&'a str, Option<ElementType>, usize);

/// Values for people: `` `input_ids` i64 rank 2, ... ``
fn listed<'a>(values: impl Iterator<Item = Signature<'a>>) -> String {
    let describe = |(name, element_type, rank): Signature<'_>| {
        let element_type = element_type.map_or("of another type".into(), |found| found.to_string());
        format!("`{name}` {element_type} rank {rank}")
    };
    values.map(describe).collect::<Vec<_>>().join(", ")
}

/// The signature of a value; its rank is 0 if it is unknown.
fn signature(value: &ValueInfoProto) -> Signature<'_> {
    let tensor = value.tensor_type();
    let element_type = tensor.and_then(|tensor| ElementType::from_code(tensor.elem_type));
    (&value.name, element_type, tensor.map_or(0, rank))
}

fn rank(tensor: &TensorTypeProto) -> usize {
    tensor.shape.as_ref().map_or(0, |shape| shape.dim.len())
}

/// Checks that both parts of the drafter have a tag for each label, and for `O` and `I`.
fn check_drafter(metadata: &TaggerMetadata, graph: &GraphProto, path: &Path) -> Result<(), ModelFileError> {
    let Some(transitions) = &metadata.drafter else { return Ok(()) };
    let labels = metadata.labels.len();
    let tags = tag_count(labels);
    let scored = graph.output.get(1).and_then(ValueInfoProto::last_dimension).unwrap_or(0);
    let parts =
        [("metadata `drafter`", transitions.tags(), tags), ("output `draft_tags`", scored, ROLES * tags)];
    match parts.into_iter().find(|(_, found, expected)| found != expected) {
        Some((part, found, expected)) => {
            Err(ModelFileError::Drafter { path: path.to_owned(), part, found, expected, labels })
        }
        None => Ok(()),
    }
}

fn check_numbers(metadata: &TaggerMetadata, logits: usize, path: &Path) -> Result<(), ModelFileError> {
    let length = metadata.max_source_len;
    let calibration = match metadata.calibration.as_ref().filter(|calibration| !calibration.is_usable()) {
        None => Ok(()),
        Some(calibration) => Err(FieldError {
            field: "calibration",
            value: format!("a temperature of {}", calibration.temperature),
            expected: "a number above 0".into(),
        }),
    };
    let source_len = match (1..=MAX_TOKENS).contains(&length) {
        true => Ok(()),
        false => Err(FieldError {
            field: "max_source_len",
            value: length.to_string(),
            expected: format!("a number from 1 to {MAX_TOKENS}"),
        }),
    };
    calibration
        .and(source_len)
        .and_then(|()| architecture::of(metadata.kind).check(metadata, logits))
        .map_err(|FieldError { field, value, expected }| ModelFileError::Field {
            path: path.to_owned(),
            field,
            value,
            expected,
        })
}
