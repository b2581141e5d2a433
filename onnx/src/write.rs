//! Streams a model to a writer with one weight in memory at a time.
//!
//! A protobuf message may be written as the concatenation of encodings of its parts, and a length is known from the
//! shapes before any element is: the graph without the weights is encoded by prost, the weights follow as entries of
//! `GraphProto.initializer` written here. The bytes equal prost's encoding of the whole model, but for blanks that align
//! the elements of large weights, so that a runtime can use them where they lie in the file.

use std::error::Error;
use std::io::{self, Write};

use prost::Message;
use prost::bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use crate::builder::{BuiltModel, Weight};
use crate::proto::{GraphProto, ModelProto, TensorProto};
use crate::read::MAX_BYTES;

const MODEL_GRAPH: u32 = 7;
const GRAPH_INITIALIZER: u32 = 5;
const TENSOR_RAW_DATA: u32 = 9;
const TENSOR_DOC_STRING: u32 = 12;

/// The elements of large weights begin at multiples of this many bytes of the file: a line of a cache.
pub(crate) const ALIGNMENT: usize = 64;
/// Weights of as many bytes are large.
pub(crate) const LARGE: usize = 1024;

/// A model could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The writer failed.
    #[error("writing the model failed")]
    Io(#[from] io::Error),
    /// The elements of a weight could not be had.
    #[error("the elements of weight `{name}` cannot be had")]
    Source {
        /// The weight.
        name: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A weight's elements do not fill its shape.
    #[error("weight `{name}` of shape {dims:?} takes {expected} bytes, got {got}")]
    Length {
        /// The weight.
        name: String,
        /// Its shape.
        dims: Vec<usize>,
        /// Bytes that the shape asks for.
        expected: usize,
        /// Bytes supplied.
        got: usize,
    },
    /// The file would be too large for protobuf.
    #[error(
        "the model takes {bytes} bytes, more than the {MAX_BYTES} that an ONNX file holds\n\
         hint: `--precision int8` takes a quarter of it"
    )]
    TooLarge {
        /// Bytes of the whole file.
        bytes: u64,
    },
}

/// Writes `built` to `out`; `elements` gives each weight's elements as little-endian bytes, row major, and is called
/// once for each weight, in order. Gives the number of bytes written.
///
/// # Errors
/// [`WriteError`]: nothing is written if the file would be too large.
pub fn write_model<E>(
    out: &mut impl Write,
    built: &BuiltModel,
    mut elements: impl FnMut(&Weight) -> Result<Bytes, E>,
) -> Result<u64, WriteError>
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let (model_head, model_tail) = split_model(&built.model);
    let (graph_head, graph_tail) = split_graph(built.model.graph.as_ref());
    let start = model_head.len() + prost::encoding::key_len(MODEL_GRAPH) + graph_head.len();
    let (headers, graph_bytes, length_len) =
        headers(&built.weights, start, graph_head.len() + graph_tail.len());

    let mut head = model_head;
    encode_key(MODEL_GRAPH, WireType::LengthDelimited, &mut head);
    head.extend(varint_of(graph_bytes, length_len));
    let bytes = head.len() as u64 + graph_bytes + model_tail.len() as u64;
    if bytes > MAX_BYTES {
        return Err(WriteError::TooLarge { bytes });
    }

    out.write_all(&head)?;
    out.write_all(&graph_head)?;
    for (weight, header) in built.weights.iter().zip(&headers) {
        let raw_data = elements(weight)
            .map_err(|source| WriteError::Source { name: weight.name.clone(), source: source.into() })?;
        check_length(weight, &raw_data)?;
        write_entry(out, header, &raw_data)?;
    }
    out.write_all(&graph_tail)?;
    out.write_all(&model_tail)?;
    Ok(bytes)
}

/// The encodings of what precedes and what follows the graph, fields in order of their numbers.
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

/// The encodings of what precedes and what follows the weights.
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

/// The headers of all weights, the length of a graph with `others` bytes besides them, and in how many bytes that length is
/// to be written. The first entry begins at `start`, not counting these.
fn headers(weights: &[Weight], start: usize, others: usize) -> (Vec<Vec<u8>>, u64, usize) {
    // Blanks depend on how many bytes the graph's length takes, and it in turn on the blanks: more are tried until it fits.
    let mut length_len = 1;
    loop {
        let first = start + length_len;
        let mut position = first;
        let headers: Vec<Vec<u8>> = weights
            .iter()
            .map(|weight| {
                let header = tensor_header(weight, position);
                position += prefix_len(weight, &header) + header.len() + weight.byte_count();
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

/// `value` as a varint of exactly `len` bytes, which may be more than it needs: readers take zeros at its end.
fn varint_of(value: u64, len: usize) -> impl Iterator<Item = u8> {
    (0..len).map(move |at| (value >> (7 * at)) as u8 & 0x7f | if at + 1 < len { 0x80 } else { 0 })
}

/// A weight's `TensorProto` up to the length of `raw_data`, which is the last field that we set; its entry begins at
/// `position` in the file.
fn tensor_header(weight: &Weight, position: usize) -> Vec<u8> {
    let tensor = TensorProto::from_raw(&weight.name, weight.element_type, &weight.dims, Bytes::new());
    let with_blanks = |blanks: Option<usize>| {
        let mut header = tensor.encode_to_vec();
        if let Some(blanks) = blanks {
            prost::encoding::string::encode(TENSOR_DOC_STRING, &" ".repeat(blanks), &mut header);
        }
        if weight.byte_count() > 0 {
            encode_key(TENSOR_RAW_DATA, WireType::LengthDelimited, &mut header);
            encode_varint(weight.byte_count() as u64, &mut header);
        }
        header
    };
    let aligned =
        |header: &Vec<u8>| (position + prefix_len(weight, header) + header.len()).is_multiple_of(ALIGNMENT);
    let mut candidates = std::iter::once(None).chain((0..2 * ALIGNMENT).map(Some)).map(with_blanks);
    let large = weight.byte_count() >= LARGE;
    candidates.find(|header| !large || aligned(header)).unwrap_or_else(|| with_blanks(None))
}

/// Bytes in front of an entry's header: its key and its length.
fn prefix_len(weight: &Weight, header: &[u8]) -> usize {
    let tensor = (header.len() + weight.byte_count()) as u64;
    prost::encoding::key_len(GRAPH_INITIALIZER) + encoded_len_varint(tensor)
}

fn write_entry(out: &mut impl Write, header: &[u8], raw_data: &[u8]) -> io::Result<()> {
    let mut prefix = Vec::new();
    encode_key(GRAPH_INITIALIZER, WireType::LengthDelimited, &mut prefix);
    encode_varint((header.len() + raw_data.len()) as u64, &mut prefix);
    out.write_all(&prefix)?;
    out.write_all(header)?;
    out.write_all(raw_data)
}

fn check_length(weight: &Weight, raw_data: &[u8]) -> Result<(), WriteError> {
    if raw_data.len() == weight.byte_count() {
        return Ok(());
    }
    Err(WriteError::Length {
        name: weight.name.clone(),
        dims: weight.dims.clone(),
        expected: weight.byte_count(),
        got: raw_data.len(),
    })
}
