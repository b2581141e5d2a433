//! Test data as ONNX's own model tests have it: a folder `test_data_set_N` for each run of the graph, with its inputs and outputs.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use hyperloader_core::files::{FileError, write_atomic};
use hyperloader_core::format::proof::{PROOF, Proof, TestPass};
use hyperloader_onnx::proto::{GraphProto, TensorProto, ValueInfoProto};
use hyperloader_onnx::{Bytes, ElementType, encode_tensor, read_model};
use hyperloader_runtime::{Backend, BackendError, BackendOptions, Value};

use crate::error::ExportError;

/// Writes the inputs that `file` was verified with, and the outputs that a backend gives for them, to folders
/// `test_data_set_N` in `folder`: `input_N.pb` and `output_N.pb`, each a `TensorProto`, in the order of the graph. Returns the
/// folders; there is none if the file was not verified.
///
/// # Errors
/// If the file cannot be read, the backend fails, or a file cannot be written.
pub fn write_test_data(
    file: &Path,
    folder: &Path,
    backend: &BackendOptions,
) -> Result<Vec<PathBuf>, ExportError> {
    let model = read_model(file)?;
    let proof = model.metadata().get(PROOF).and_then(|text| serde_json::from_str::<Proof>(text).ok());
    let vectors = proof.map(|proof| proof.vectors).unwrap_or_default();
    let empty = GraphProto::default();
    let graph = model.graph.as_ref().unwrap_or(&empty);
    let mut session = Backend::load(backend)?.open_file(file)?;
    let mut folders = Vec::new();
    for (number, pass) in vectors.iter().flat_map(|vectors| &vectors.passes).enumerate() {
        let inputs = inputs(graph, pass)?;
        let named: Vec<(&str, &Value)> = inputs.iter().map(|(name, value)| (*name, value)).collect();
        let outputs = session.run(&named)?;
        let folder = folder.join(format!("test_data_set_{number}"));
        fs::create_dir_all(&folder).map_err(|error| FileError::new("create", &folder, error))?;
        for (at, (name, value)) in inputs.iter().enumerate() {
            write(&folder.join(format!("input_{at}.pb")), &tensor_i64(name, value)?)?;
        }
        for (at, (ValueInfoProto { name, .. }, value)) in graph.output.iter().zip(&outputs).enumerate() {
            write(&folder.join(format!("output_{at}.pb")), &tensor_f32(name, value)?)?;
        }
        folders.push(folder);
    }
    Ok(folders)
}

/// The inputs of a pass in the order of the graph.
fn inputs<'a>(graph: &'a GraphProto, pass: &TestPass) -> Result<Vec<(&'a str, Value)>, BackendError> {
    let input = |info: &'a ValueInfoProto| {
        let ids = pass.inputs.get(&info.name)?;
        Some(Value::from_i64s(&ids.shape, ids.ids.clone()).map(|value| (info.name.as_str(), value)))
    };
    graph.input.iter().filter_map(input).collect()
}

fn tensor_i64(name: &str, value: &Value) -> Result<TensorProto, BackendError> {
    let bytes: Vec<u8> = value.i64s()?.iter().flat_map(|id| id.to_le_bytes()).collect();
    Ok(TensorProto::from_raw(name, ElementType::I64, &value.shape(), Bytes::from(bytes)))
}

fn tensor_f32(name: &str, value: &Value) -> Result<TensorProto, BackendError> {
    let bytes: Vec<u8> = value.f32s()?.iter().flat_map(|logit| logit.to_le_bytes()).collect();
    Ok(TensorProto::from_raw(name, ElementType::F32, &value.shape(), Bytes::from(bytes)))
}

fn write(path: &Path, tensor: &TensorProto) -> Result<(), FileError> {
    write_atomic(path, |out: &mut dyn Write| out.write_all(&encode_tensor(tensor)))
}
