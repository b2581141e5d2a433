//! Streams a model to a writer with one weight in memory at a time.
//!
//! The encoding of a protobuf message is the concatenation of the encodings of its fields, and the shapes determine every
//! length before any element is known. prost encodes the graph without the weights; this module writes the weights as
//! entries of `GraphProto.initializer`. The bytes equal prost's encoding of the whole model, except for spaces in
//! `doc_string` that align the elements of large weights, so that a runtime can use them in place.
//!
//! Weights may also be written to a data file of their own ([`write_data`]), to which the model then refers
//! ([`write_model_beside`]). A model that would exceed 2 GiB needs one.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};

use prost::Message;
use prost::bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use crate::built::{BuiltModel, Weight};
use crate::external::{External, refer_to};
use crate::limits::{ALIGNMENT, LARGE, MAX_BYTES};
use crate::proto::{GraphProto, ModelProto, StringStringEntryProto, TensorProto};

const MODEL_GRAPH: u32 = 7;
const GRAPH_INITIALIZER: u32 = 5;
const TENSOR_RAW_DATA: u32 = 9;
const TENSOR_DOC_STRING: u32 = 12;

/// A model could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output could not be written.
    #[error("writing the model failed")]
    Io(#[from] io::Error),
    /// The elements of a weight could not be supplied.
    #[error("cannot read or compute the elements of weight `{name}`")]
    Source {
        /// Name of the weight.
        name: String,
        /// The error of the function that supplies elements.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A weight's elements do not fill its shape.
    #[error("weight `{name}` of shape {dims:?} takes {expected} bytes, got {got}")]
    Length {
        /// Name of the weight.
        name: String,
        /// Shape of the weight.
        dims: Vec<usize>,
        /// Bytes that the shape requires.
        expected: usize,
        /// Bytes that were supplied.
        got: usize,
    },
    /// The file would exceed protobuf's limit of 2 GiB.
    #[error(
        "the model takes {bytes} bytes, but an ONNX file has at most {MAX_BYTES}\n\
         hint: weights can be in a file of their own"
    )]
    TooLarge {
        /// Size that the file would have.
        bytes: u64,
    },
}

/// Writes `built` to `out` and returns the number of bytes written. `elements` returns the elements of a weight as
/// little-endian bytes, row-major. It is called once for each weight, in the order of `built.weights`.
///
/// # Errors
/// Returns [`WriteError`] if the output fails, `elements` fails or returns a wrong number of bytes, or the file would
/// exceed 2 GiB. In the last case nothing is written.
pub fn write_model<S, E>(
    out: &mut impl Write,
    built: &BuiltModel<S>,
    elements: impl FnMut(&Weight<S>) -> Result<Bytes, E>,
) -> Result<u64, WriteError>
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    write_model_beside(out, built, &External::default(), elements)
}

/// As [`write_model`], but the weights in `external` are references to its data file. `elements` is called for the others.
///
/// # Errors
/// As [`write_model`].
pub fn write_model_beside<S, E>(
    out: &mut impl Write,
    built: &BuiltModel<S>,
    external: &External,
    mut elements: impl FnMut(&Weight<S>) -> Result<Bytes, E>,
) -> Result<u64, WriteError>
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let Pieces { head, graph_head, headers, graph_tail, model_tail, bytes } = pieces(built, external)?;
    out.write_all(&head)?;
    out.write_all(&graph_head)?;
    for (weight, header) in built.weights.iter().zip(&headers) {
        let raw_data = match external.offsets.contains_key(&weight.name) {
            true => Bytes::new(),
            false => checked(weight, elements(weight))?,
        };
        write_entry(out, header, &raw_data)?;
    }
    out.write_all(&graph_tail)?;
    out.write_all(&model_tail)?;
    Ok(bytes)
}

/// Writes the elements of `weights` to the data file `out`, each at a multiple of 64 bytes, and returns their offsets.
///
/// # Errors
/// Returns [`WriteError`] if the output fails, or `elements` fails or returns a wrong number of bytes.
pub fn write_data<'a, S: 'a, E>(
    out: &mut impl Write,
    weights: impl Iterator<Item = &'a Weight<S>>,
    mut elements: impl FnMut(&Weight<S>) -> Result<Bytes, E>,
) -> Result<BTreeMap<String, u64>, WriteError>
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let (mut offsets, mut position) = (BTreeMap::new(), 0_usize);
    for weight in weights {
        let padding = position.next_multiple_of(ALIGNMENT) - position;
        out.write_all(&[0; ALIGNMENT][..padding])?;
        position += padding;
        offsets.insert(weight.name.clone(), position as u64);
        let raw_data = checked(weight, elements(weight))?;
        out.write_all(&raw_data)?;
        position += raw_data.len();
    }
    Ok(offsets)
}

/// Appends the encoding of a property to `out`. Appended to the file of a model, it becomes a property of the model: the
/// encoding of a message is the concatenation of those of its fields.
pub fn write_property(key: &str, value: &str, out: &mut Vec<u8>) {
    let property = StringStringEntryProto { key: key.into(), value: value.into() };
    let model = ModelProto { metadata_props: vec![property], ..ModelProto::default() };
    out.extend(model.encode_to_vec());
}

/// The encoding of a model whose weights are in memory or references.
pub fn encode_model(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

/// The encoding of a tensor alone, as in the `.pb` files of ONNX's test data.
pub fn encode_tensor(tensor: &TensorProto) -> Vec<u8> {
    tensor.encode_to_vec()
}

/// Whether a weight is large enough to be in a data file. Smaller ones, such as shapes, are read when a model is loaded.
pub fn is_large<S>(weight: &Weight<S>) -> bool {
    weight.byte_count() >= LARGE
}

/// Checks, before any weight is computed, that [`write_model`] can write `built`.
///
/// # Errors
/// Returns [`WriteError::TooLarge`] if the file would exceed 2 GiB.
pub fn check_size<S>(built: &BuiltModel<S>) -> Result<(), WriteError> {
    pieces(built, &External::default()).map(drop)
}

/// All parts of a file but the elements of its weights.
struct Pieces {
    /// The fields of the model before the graph, and the graph's key and length.
    head: Vec<u8>,
    /// The graph's fields before the weights.
    graph_head: Vec<u8>,
    /// The header of each weight.
    headers: Vec<Vec<u8>>,
    /// The graph's fields after the weights.
    graph_tail: Vec<u8>,
    /// The model's fields after the graph.
    model_tail: Vec<u8>,
    /// Length of the file in bytes.
    bytes: u64,
}

fn pieces<S>(built: &BuiltModel<S>, external: &External) -> Result<Pieces, WriteError> {
    let (model_head, model_tail) = split_model(&built.model);
    let (graph_head, graph_tail) = split_graph(built.model.graph.as_ref());
    let start = model_head.len() + prost::encoding::key_len(MODEL_GRAPH) + graph_head.len();
    let (headers, graph_bytes, length_len) =
        headers(&built.weights, external, start, graph_head.len() + graph_tail.len());

    let mut head = model_head;
    encode_key(MODEL_GRAPH, WireType::LengthDelimited, &mut head);
    head.extend(varint_of(graph_bytes, length_len));
    let bytes = head.len() as u64 + graph_bytes + model_tail.len() as u64;
    if bytes > MAX_BYTES {
        return Err(WriteError::TooLarge { bytes });
    }
    Ok(Pieces { head, graph_head, headers, graph_tail, model_tail, bytes })
}

/// The encodings of the fields before and after the graph, in the order of their numbers.
fn split_model(model: &ModelProto) -> (Vec<u8>, Vec<u8>) {
    let tail = ModelProto {
        opset_import: model.opset_import.clone(),
        metadata_props: model.metadata_props.clone(),
        ..ModelProto::default()
    };
    let head = ModelProto {
        ir_version: model.ir_version,
        producer_name: model.producer_name.clone(),
        producer_version: model.producer_version.clone(),
        domain: model.domain.clone(),
        model_version: model.model_version,
        doc_string: model.doc_string.clone(),
        ..ModelProto::default()
    };
    (head.encode_to_vec(), tail.encode_to_vec())
}

/// The encodings of the graph's fields before and after the weights.
fn split_graph(graph: Option<&GraphProto>) -> (Vec<u8>, Vec<u8>) {
    let graph = graph.cloned().unwrap_or_default();
    let head = GraphProto {
        node: graph.node,
        name: graph.name,
        initializer: graph.initializer,
        ..GraphProto::default()
    };
    let tail = GraphProto { node: vec![], name: String::new(), initializer: vec![], ..graph };
    (head.encode_to_vec(), tail.encode_to_vec())
}

/// The headers of all weights, the length of the graph (`others` bytes besides the weights), and the number of bytes that
/// this length is written in. The first weight begins at `start` plus that number.
fn headers<S>(
    weights: &[Weight<S>],
    external: &External,
    start: usize,
    others: usize,
) -> (Vec<Vec<u8>>, u64, usize) {
    // The padding depends on the number of bytes of the graph's length, which in turn depends on the padding. Larger
    // numbers are tried until the length fits.
    let mut length_len = 1;
    loop {
        let first = start + length_len;
        let mut position = first;
        let headers: Vec<Vec<u8>> = weights
            .iter()
            .map(|weight| {
                let (header, elements) = match external.offsets.get(&weight.name) {
                    Some(offset) => (reference(weight, &external.location, *offset), 0),
                    None => (tensor_header(weight, position), weight.byte_count()),
                };
                position += prefix_len(header.len() + elements) + header.len() + elements;
                header
            })
            .collect();
        let graph_bytes = (others + position - first) as u64;
        if encoded_len_varint(graph_bytes) <= length_len {
            return (headers, graph_bytes, length_len);
        }
        length_len += 1;
    }
}

/// `value` as a varint of exactly `len` bytes. Readers accept the trailing zero groups of a varint that is longer than
/// necessary.
fn varint_of(value: u64, len: usize) -> impl Iterator<Item = u8> {
    (0..len).map(move |at| (value >> (7 * at)) as u8 & 0x7f | if at + 1 < len { 0x80 } else { 0 })
}

/// The `TensorProto` of a weight up to and including the length of `raw_data`, the last field. The entry begins at
/// `position` in the file.
fn tensor_header<S>(weight: &Weight<S>, position: usize) -> Vec<u8> {
    let tensor = TensorProto::from_raw(&weight.name, weight.element_type, &weight.dims, Bytes::new());
    let with_padding = |spaces: Option<usize>| {
        let mut header = tensor.encode_to_vec();
        if let Some(spaces) = spaces {
            prost::encoding::string::encode(TENSOR_DOC_STRING, &" ".repeat(spaces), &mut header);
        }
        if weight.byte_count() > 0 {
            encode_key(TENSOR_RAW_DATA, WireType::LengthDelimited, &mut header);
            encode_varint(weight.byte_count() as u64, &mut header);
        }
        header
    };
    let aligned = |header: &Vec<u8>| {
        (position + prefix_len(header.len() + weight.byte_count()) + header.len()).is_multiple_of(ALIGNMENT)
    };
    let mut candidates = std::iter::once(None).chain((0..2 * ALIGNMENT).map(Some)).map(with_padding);
    let large = weight.byte_count() >= LARGE;
    candidates.find(|header| !large || aligned(header)).unwrap_or_else(|| with_padding(None))
}

/// The `TensorProto` of a weight whose elements are at `offset` of the file `location`.
fn reference<S>(weight: &Weight<S>, location: &str, offset: u64) -> Vec<u8> {
    let mut tensor = TensorProto::from_raw(&weight.name, weight.element_type, &weight.dims, Bytes::new());
    refer_to(&mut tensor, location, offset, weight.byte_count());
    tensor.encode_to_vec()
}

/// Number of bytes before an entry of `length` bytes: its key and its length.
fn prefix_len(length: usize) -> usize {
    prost::encoding::key_len(GRAPH_INITIALIZER) + encoded_len_varint(length as u64)
}

fn write_entry(out: &mut impl Write, header: &[u8], raw_data: &[u8]) -> io::Result<()> {
    let mut prefix = Vec::new();
    encode_key(GRAPH_INITIALIZER, WireType::LengthDelimited, &mut prefix);
    encode_varint((header.len() + raw_data.len()) as u64, &mut prefix);
    out.write_all(&prefix)?;
    out.write_all(header)?;
    out.write_all(raw_data)
}

/// The elements of `weight`, if they were supplied and fill its shape.
fn checked<S, E>(weight: &Weight<S>, elements: Result<Bytes, E>) -> Result<Bytes, WriteError>
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let raw_data =
        elements.map_err(|source| WriteError::Source { name: weight.name.clone(), source: source.into() })?;
    if raw_data.len() == weight.byte_count() {
        return Ok(raw_data);
    }
    Err(WriteError::Length {
        name: weight.name.clone(),
        dims: weight.dims.clone(),
        expected: weight.byte_count(),
        got: raw_data.len(),
    })
}
