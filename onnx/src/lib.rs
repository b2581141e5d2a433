//! ONNX model files for HyperLoader: messages, a typed graph builder, a streaming writer, a checking reader, and sub-graph
//! extraction.
//!
//! - [`proto`]: the messages, wire-compatible with `onnx.proto` of ONNX 1.23
//! - [`element`]: element types and dimensions of tensors
//! - [`builder`]: [`GraphBuilder`] with its scopes, values, constants and weights; `operators` adds one method per operator
//! - [`built`]: [`BuiltModel`], a finished graph whose weights are known by name, type and shape only
//! - [`mod@write`]: streams a [`BuiltModel`] to a file with one weight in memory at a time
//! - `error`: [`ReadError`]
//! - [`read`]: decodes a model and checks every size in it
//! - [`weight_file`]: a mapped model file, and models that refer to the weights in it
//! - [`mod@extract`]: the part of a model between named values, as a separate model
//! - [`mod@pieces`]: a model in pieces that run one after the other
//! - [`mod@summary`]: inputs, outputs and operators of a model as text
//! - [`digest`]: digests of weights and of all the rest
//! - [`external`]: weights in files beside the model file
//! - `check`: limits on a graph that are checked before a backend reads it
//! - `ranges`: limits on `Range`
//! - `limits`: sizes that the reader and the writer agree on

pub mod builder;
pub mod built;
mod check;
pub mod digest;
pub mod element;
mod error;
pub mod external;
pub mod extract;
mod limits;
mod operators;
pub mod pieces;
pub mod proto;
mod ranges;
pub mod read;
pub mod summary;
pub mod weight_file;
pub mod write;

pub use builder::{BuildError, GraphBuilder, Opset, Value};
pub use built::{BuiltModel, Weight};
pub use digest::{Digest, graph_digest, initializer_digest, text_digest, weight_digest};
pub use element::{Dim, ElementType};
pub use error::ReadError;
pub use external::External;
pub use extract::{ExtractError, extract};
pub use limits::MAX_BYTES;
pub use pieces::{Piece, pieces};
pub use prost::bytes::Bytes;
pub use read::decode_model;
pub use weight_file::{WeightFile, data_files, read_model};
pub use write::{
    WriteError, check_size, encode_model, encode_tensor, is_large, write_data, write_model,
    write_model_beside, write_property,
};
