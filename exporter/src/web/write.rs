//! Single files of a site.

use std::fs;
use std::path::Path;

use hyperloader_core::files::{FileError, write_atomic};
use hyperloader_onnx::encode_model;
use hyperloader_onnx::proto::ModelProto;

/// Writes a graph.
pub(super) fn write_graph(path: &Path, graph: &ModelProto) -> Result<(), FileError> {
    write_atomic(path, |out| out.write_all(&encode_model(graph)))
}

/// Writes a text.
pub(super) fn write_text(path: &Path, text: &str) -> Result<(), FileError> {
    write_bytes(path, text.as_bytes())
}

/// Writes a file.
pub(super) fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_atomic(path, |out| out.write_all(bytes))
}

/// Bytes of all files in `folder` and its folders.
pub(super) fn size_of_all(folder: &Path) -> Result<u64, FileError> {
    let failed = |error| FileError::new("read", folder, error);
    let mut sum = 0;
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let about = entry.metadata().map_err(failed)?;
        sum += if about.is_dir() { size_of_all(&entry.path())? } else { about.len() };
    }
    Ok(sum)
}
