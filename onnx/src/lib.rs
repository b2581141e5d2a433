//! hyperloader-onnx: the ONNX messages that HyperLoader uses, a typed graph builder and sub-graph extraction.
//!
//! - [`proto`]: the messages, wire-compatible with `onnx.proto` of ONNX 1.23
//! - [`builder`]: [`GraphBuilder`] writes a graph op by op; large weights are declared by name and shape only
//! - [`mod@write`]: streams a [`BuiltModel`] to a file, one weight in memory at a time
//! - [`read`]: opens a model file and checks every size in it
//! - [`weight_file`]: a mapped model file, and models that refer to the weights in it
//! - [`mod@extract`]: cuts the part of a model between named values into a model of its own
//! - [`mod@summary`]: a model's inputs, outputs and operators as text

pub mod builder;
pub mod element;
pub mod extract;
pub mod proto;
pub mod read;
pub mod summary;
pub mod weight_file;
pub mod write;

pub use builder::{BuildError, BuiltModel, GraphBuilder, Opset, Value, Weight};
pub use element::{Dim, ElementType};
pub use extract::{ExtractError, extract};
pub use prost::bytes::Bytes;
pub use read::{ReadError, decode_model, read_model};
pub use weight_file::WeightFile;
pub use write::{WriteError, write_model};
