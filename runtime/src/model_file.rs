//! Opens an exported tagger and checks all that it says about itself before anything trusts it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hyperloader_core::format::tagger::{
    ATTENTION_MASK, DECODER_INPUT_IDS, DRAFT_TAGS, INPUT_IDS, LOGITS, MetadataError, TaggerKind,
    TaggerMetadata,
};
use hyperloader_core::text::drafter::ROLES;
use hyperloader_core::text::labels::bio_tags;
use hyperloader_core::text::target::tag_count;
use hyperloader_onnx::proto::{GraphProto, ModelProto, TensorTypeProto, ValueInfoProto};
use hyperloader_onnx::{Bytes, ElementType, ReadError, WeightFile, decode_model};

/// Far beyond any exported tagger: T5 has 100 sentinels, so its sentences have at most 99 words.
const MAX_TOKENS: usize = 1 << 16;

/// A file cannot be used as a tagger.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(ReadError),
    /// The file is no ONNX model, or a part of it is missing.
    #[error("cannot open tagger `{}`\nhint: `hl-export --task TASK` writes one; if it did, copy or export the file again", path.display())]
    NotAModel {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ReadError,
    },
    /// The model holds no metadata of ours, or of another version.
    #[error("cannot use `{}` as a tagger", path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: MetadataError,
    },
    /// A number in the metadata cannot be.
    #[error("`{}`: metadata `{field}` is {value}, expected {expected}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What can be.
        expected: String,
    },
    /// A part of the drafter has not the tags of the tagger.
    #[error("`{}`: {part} is of width {found}, expected {expected} for {labels} labels", path.display())]
    Drafter {
        /// The file.
        path: PathBuf,
        /// Which part.
        part: &'static str,
        /// Its width.
        found: usize,
        /// The width that it should have.
        expected: usize,
        /// Labels of the tagger.
        labels: usize,
    },
    /// The graph's inputs or outputs are not a tagger's.
    #[error("`{}`: the graph's {side} are {found}, a tagger's are {expected}", path.display())]
    Interface {
        /// The file.
        path: PathBuf,
        /// `inputs` or `outputs`.
        side: &'static str,
        /// Names and types found.
        found: String,
        /// Names and types of a tagger.
        expected: &'static str,
    },
}

/// Tells a file that cannot be read from one that is damaged, which gets a hint.
fn read_error(error: ReadError, path: &Path) -> ModelFileError {
    match error {
        ReadError::Io { .. } => ModelFileError::Read(error),
        ReadError::TooLarge { .. } | ReadError::NotAModel { .. } => {
            ModelFileError::NotAModel { path: path.to_owned(), source: error }
        }
    }
}

/// An exported tagger: its graph and what it says about itself, checked.
#[derive(Debug, Clone)]
pub struct ModelFile {
    path: PathBuf,
    model: ModelProto,
    weights: Option<WeightFile>,
    metadata: TaggerMetadata,
    vocab_size: usize,
}

impl ModelFile {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`ModelFileError`] if it cannot be read, is no ONNX model or is cut off, was not written by `hl-export`, or
    /// its graph or metadata are not a tagger's.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ModelFileError> {
        let path = path.as_ref();
        let read = |error| read_error(error, path);
        let weights = WeightFile::open(path).map_err(read)?;
        Ok(Self { weights: Some(weights.clone()), ..Self::check(weights.model().map_err(read)?, path)? })
    }

    /// As [`ModelFile::open`], with the file's bytes in memory; `path` only stands in errors.
    ///
    /// # Errors
    /// As [`ModelFile::open`].
    pub fn from_bytes(bytes: impl Into<Bytes>, path: impl AsRef<Path>) -> Result<Self, ModelFileError> {
        let path = path.as_ref();
        let model = decode_model(bytes.into(), path).map_err(|error| read_error(error, path))?;
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

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The graph: inputs `input_ids` and `attention_mask` `[batch, source_len]`, `decoder_input_ids`
    /// `[batch, target_len]`; output `logits` `[batch, target_len, vocab]`, and `draft_tags`
    /// `[batch, source_len, roles * tags]` if the tagger has a drafter. A token classifier's lacks the last input and
    /// gives `logits` `[batch, source_len, tags]`.
    pub fn model(&self) -> &ModelProto {
        &self.model
    }

    /// The file that the graph's weights lie in, if they were not given as bytes.
    pub fn weights(&self) -> Option<&WeightFile> {
        self.weights.as_ref()
    }

    /// What it says about itself.
    pub fn metadata(&self) -> &TaggerMetadata {
        &self.metadata
    }

    /// The last dimension of `logits`: ids, or the numbers of tags, are below.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }
}

fn metadata(model: &ModelProto) -> Result<TaggerMetadata, MetadataError> {
    let properties: BTreeMap<String, String> =
        model.metadata().into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    TaggerMetadata::from_properties(&properties)
}

/// Checks names, types and ranks of inputs and outputs; gives the size of the vocabulary.
fn check_interface(
    graph: &GraphProto,
    metadata: &TaggerMetadata,
    path: &Path,
) -> Result<usize, ModelFileError> {
    let (kind, drafter) = (metadata.kind, metadata.drafter.is_some());
    const SOURCE: &str = "`input_ids` i64 rank 2, `attention_mask` i64 rank 2";
    const INPUTS: &str =
        "`input_ids` i64 rank 2, `attention_mask` i64 rank 2, `decoder_input_ids` i64 rank 2";
    const OUTPUTS: &str = "`logits` f32 rank 3 of a fixed last dimension";
    const WITH_DRAFTER: &str = "`logits` and `draft_tags` f32 rank 3 of a fixed last dimension";
    let wrong = |side, values: &[ValueInfoProto], expected| ModelFileError::Interface {
        path: path.to_owned(),
        side,
        found: match values {
            [] => "none".into(),
            values => values.iter().map(describe).collect::<Vec<_>>().join(", "),
        },
        expected,
    };
    let ids = |name| (name, Some(ElementType::I64), 2);
    let all = [INPUT_IDS, ATTENTION_MASK, DECODER_INPUT_IDS].map(ids);
    let (expected, described) = match kind {
        TaggerKind::EncoderDecoder => (&all[..], INPUTS),
        TaggerKind::TokenClassifier => (&all[..2], SOURCE),
    };
    let found: Vec<_> = graph.input.iter().map(signature).collect();
    let same = found.len() == expected.len() && expected.iter().all(|input| found.contains(input));
    if !same {
        return Err(wrong("inputs", &graph.input, described));
    }
    let is = |value: &ValueInfoProto, name| signature(value) == (name, Some(ElementType::F32), 3);
    let vocab_size = match &graph.output[..] {
        [logits] if !drafter && is(logits, LOGITS) => logits.last_dimension(),
        [logits, tags] if drafter && is(logits, LOGITS) && is(tags, DRAFT_TAGS) => logits.last_dimension(),
        _ => None,
    };
    let expected = if drafter { WITH_DRAFTER } else { OUTPUTS };
    vocab_size.ok_or_else(|| wrong("outputs", &graph.output, expected))
}

/// Name, element type and rank (0 where unknown) of a value.
fn signature(value: &ValueInfoProto) -> (&str, Option<ElementType>, usize) {
    let tensor = value.tensor_type();
    let element_type = tensor.and_then(|tensor| ElementType::from_code(tensor.elem_type));
    (&value.name, element_type, tensor.map_or(0, rank))
}

fn rank(tensor: &TensorTypeProto) -> usize {
    tensor.shape.as_ref().map_or(0, |shape| shape.dim.len())
}

fn describe(value: &ValueInfoProto) -> String {
    let (name, element_type, rank) = signature(value);
    let element_type = element_type.map_or("of another type".into(), |found| found.to_string());
    format!("`{name}` {element_type} rank {rank}")
}

/// Checks that the drafter's two parts have a tag for each label, and for `O` and `I`.
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

fn check_numbers(metadata: &TaggerMetadata, vocab_size: usize, path: &Path) -> Result<(), ModelFileError> {
    let counts = [
        ("max_source_len", metadata.max_source_len, MAX_TOKENS),
        ("max_target_len", metadata.max_target_len, MAX_TOKENS),
        ("decoder_layers", metadata.decoder_layers, 1024),
    ];
    let counted = if metadata.kind == TaggerKind::TokenClassifier { 1 } else { counts.len() };
    for (field, value, most) in counts.into_iter().take(counted) {
        if !(1..=most).contains(&value) {
            return Err(ModelFileError::Field {
                path: path.to_owned(),
                field,
                value: value.to_string(),
                expected: format!("a number from 1 to {most}"),
            });
        }
    }
    if metadata.kind == TaggerKind::TokenClassifier {
        return check_tags(metadata, vocab_size, path);
    }
    let ids = [
        ("pad_token_id", metadata.pad_token_id),
        ("eos_token_id", metadata.eos_token_id),
        ("decoder_start_token_id", metadata.decoder_start_token_id),
    ];
    for (field, id) in ids {
        if usize::try_from(id).map_or(true, |id| id >= vocab_size) {
            return Err(ModelFileError::Field {
                path: path.to_owned(),
                field,
                value: id.to_string(),
                expected: format!("an id of the graph's vocabulary of {vocab_size}"),
            });
        }
    }
    Ok(())
}

/// A classifier has a logit for `O` and two for each label; its ids are those of the tokenizer, which is not open yet.
fn check_tags(metadata: &TaggerMetadata, logits: usize, path: &Path) -> Result<(), ModelFileError> {
    if logits == bio_tags(&metadata.labels).len() {
        return Ok(());
    }
    Err(ModelFileError::Field {
        path: path.to_owned(),
        field: "labels",
        value: format!("a list of {}", metadata.labels.len()),
        expected: format!("as many as {logits} logits have, `O` and two for each label"),
    })
}
