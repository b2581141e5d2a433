//! The proof that a file carries: digests of all its parts, and the answers of the reference model.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use hyperloader_core::files::{FileError, hexadecimal};
use hyperloader_core::format::proof::{PROOF, Proof};
use hyperloader_onnx::{MAX_BYTES, WriteError, graph_digest, text_digest, write_property};

use crate::data::Digests;
use crate::error::ExportError;
use crate::precision::content::FileGraph;

/// The digests of a file with this graph, whose weights have `digests`.
pub(crate) fn proof(graph: &FileGraph<'_>, digests: &Digests) -> Proof {
    let model = &graph.model;
    let property = |(key, value): (&str, &str)| (key.to_owned(), hexadecimal(&text_digest(value)));
    Proof {
        graph: hexadecimal(&graph_digest(model, |name| digests.contains_key(name))),
        weights: digests.iter().map(|(name, digest)| (name.clone(), hexadecimal(digest))).collect(),
        properties: model.metadata().into_iter().map(property).collect(),
        vectors: Vec::new(),
        cost: None,
    }
}

/// Appends the proof to a complete file: it becomes the last property.
pub(crate) fn append(proof: &Proof, file: &Path) -> Result<(), ExportError> {
    let failed = |error| FileError::new("write", file, error);
    let text = serde_json::to_string(proof).map_err(|error| failed(error.into()))?;
    let mut bytes = Vec::new();
    write_property(PROOF, &text, &mut bytes);
    let mut out = OpenOptions::new().append(true).open(file).map_err(failed)?;
    let bytes_in_all = out.metadata().map_err(failed)?.len() + bytes.len() as u64;
    if bytes_in_all > MAX_BYTES {
        return Err(WriteError::TooLarge { bytes: bytes_in_all }.into());
    }
    out.write_all(&bytes).and_then(|()| out.sync_data()).map_err(failed)?;
    Ok(())
}
