//! Decodes a model and checks every size in it, and all limits of its graph.

use std::collections::HashSet;
use std::path::Path;

use prost::bytes::Bytes;
use prost::{DecodeError, Message};

use crate::check::check_graph;
use crate::element::ElementType;
use crate::error::ReadError;
use crate::external::{DataFile, resolve};
use crate::proto::{GraphProto, ModelProto, TensorProto};

/// Decodes a model from `bytes`, which were read from the file `path`. The weights share the memory of `bytes`; all of them
/// must be there.
///
/// # Errors
/// Returns [`ReadError::NotAModel`] or [`ReadError::Limit`], which name the file and the tensor, node or field at fault.
pub fn decode_model(bytes: Bytes, path: &Path) -> Result<ModelProto, ReadError> {
    decode_with(bytes, &[], path)
}

/// As [`decode_model`], with weights in `files`.
pub(crate) fn decode_with(bytes: Bytes, files: &[DataFile], path: &Path) -> Result<ModelProto, ReadError> {
    let mut model = decode_unchecked(bytes, path)?;
    if !files.is_empty() {
        resolve(&mut model, files, path)?;
    }
    let fail = |reason| ReadError::NotAModel { path: path.into(), reason };
    let graph = check(&model).map_err(fail)?;
    check_graph(graph).map_err(|reason| ReadError::Limit { path: path.into(), reason })?;
    Ok(model)
}

/// Decodes a model without any checks.
pub(crate) fn decode_unchecked(bytes: Bytes, path: &Path) -> Result<ModelProto, ReadError> {
    let fail = |error: DecodeError| ReadError::NotAModel { path: path.into(), reason: error.to_string() };
    ModelProto::decode(bytes).map_err(fail)
}

fn check(model: &ModelProto) -> Result<&GraphProto, String> {
    let graph = model.graph.as_ref().ok_or("it holds no graph")?;
    if model.opset_import.is_empty() {
        return Err("it imports no operator set".into());
    }
    check_metadata(model)?;
    check_distinct_outputs(graph)?;
    graph.initializer.iter().try_for_each(check_tensor)?;
    Ok(graph)
}

fn check_metadata(model: &ModelProto) -> Result<(), String> {
    let mut keys = HashSet::new();
    match model.metadata_props.iter().find(|entry| !keys.insert(&entry.key)) {
        Some(entry) => Err(format!("metadata `{}` occurs twice", entry.key)),
        None => Ok(()),
    }
}

fn check_distinct_outputs(graph: &GraphProto) -> Result<(), String> {
    let mut names = HashSet::new();
    let outputs = graph.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty());
    let tensors = graph.initializer.iter().map(|tensor| &tensor.name);
    match outputs.chain(tensors).find(|name| !names.insert(*name)) {
        Some(name) => Err(format!("two values are named `{name}`")),
        None => Ok(()),
    }
}

fn check_tensor(tensor: &TensorProto) -> Result<(), String> {
    let TensorProto { name, dims, .. } = tensor;
    if tensor.data_location != 0 || !tensor.external_data.is_empty() {
        return Err(format!("the elements of tensor `{name}` are in another file"));
    }
    let count = tensor.element_count().ok_or_else(|| format!("tensor `{name}` has shape {dims:?}"))?;
    let Some(element_type) = ElementType::from_code(tensor.data_type) else {
        // `check_graph` refuses it.
        return Ok(());
    };
    let [floats, int32s, int64s] =
        [tensor.float_data.len(), tensor.int32_data.len(), tensor.int64_data.len()];
    let (own, others) = match element_type {
        ElementType::F32 => (floats, int32s + int64s),
        ElementType::I64 => (int64s, floats + int32s),
        _ => (int32s, floats + int64s),
    };
    if others > 0 || (own > 0 && !tensor.raw_data.is_empty()) {
        return Err(format!("tensor `{name}` of type {element_type} also has elements in another form"));
    }
    if tensor.raw_data.is_empty() {
        return match own == count {
            true => Ok(()),
            false => Err(format!("tensor `{name}` of shape {dims:?} needs {count} elements, got {own}")),
        };
    }
    let got = tensor.raw_data.len();
    match count.checked_mul(element_type.size()) {
        Some(expected) if expected == got => Ok(()),
        Some(expected) => Err(format!(
            "tensor `{name}`, {element_type} of shape {dims:?}, takes {expected} bytes, got {got}"
        )),
        None => Err(format!("tensor `{name}` has shape {dims:?}")),
    }
}
