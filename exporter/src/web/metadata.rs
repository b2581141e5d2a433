//! `tagger.json`: the metadata of a site (docs/browser.md#the-folder).

use std::path::Path;

use hyperloader_core::files::{FileError, sha256};
use hyperloader_core::format::tagger::TaggerMetadata;
use hyperloader_core::text::words::WordRule;
use hyperloader_runtime::Halves;
use serde::Serialize;
use serde_json::{Value, json};

use super::error::WebError;
use crate::file::size_of;
use crate::precision::Precision;

/// Version of the layout of sites.
const WEB: u32 = 1;
/// Name of the metadata.
pub(super) const METADATA: &str = "tagger.json";
/// Name of the encoder's graph.
pub(super) const ENCODER: &str = "encoder.onnx";
/// Name of the decoder's graph.
pub(super) const DECODER: &str = "decoder.onnx";
/// Name of the tokenizer.
pub(super) const TOKENIZER: &str = "tokenizer.json";

/// A file that a tagger reads, by which it is checked.
#[derive(Debug, Serialize)]
pub(super) struct SiteFile {
    name: String,
    bytes: u64,
    sha256: String,
}

impl SiteFile {
    /// The file `name` in `folder`.
    pub(super) fn of(folder: &Path, name: &str) -> Result<Self, FileError> {
        let path = folder.join(name);
        Ok(Self { name: name.to_owned(), bytes: size_of(&path)?, sha256: sha256(&path)? })
    }
}

/// Checks that the module can run the tagger, and split text into words as the task's corpus does.
pub(super) fn check(metadata: &TaggerMetadata) -> Result<(), WebError> {
    if metadata.decoder_layers == 0 {
        return Err(WebError::NoDecoder);
    }
    match metadata.words.rule {
        rule @ WordRule::Unicode => Err(WebError::Words(rule)),
        WordRule::Whitespace | WordRule::Punctuation | WordRule::Clitics => Ok(()),
    }
}

/// The text of the metadata.
pub(super) fn metadata(
    metadata: &TaggerMetadata,
    halves: &Halves,
    precision: Precision,
    weights: &str,
    files: Vec<SiteFile>,
) -> Result<String, WebError> {
    let mut tagger = serde_json::to_value(metadata)?;
    // It is a file of its own.
    tagger.as_object_mut().map(|fields| fields.remove("tokenizer"));
    let past: Vec<Value> =
        halves.past.iter().map(|[input, output]| json!({ "input": input, "output": output })).collect();
    let graphs = json!({
        "encoder": ENCODER,
        "decoder": DECODER,
        "weights": weights,
        "memory": halves.memory,
        "past": past,
        "heads": halves.heads,
        "d_kv": halves.d_kv,
        "scored_ids": halves.scored_ids,
        "vocab_size": halves.vocab_size,
    });
    let site =
        json!({ "web": WEB, "precision": precision, "tagger": tagger, "graphs": graphs, "files": files });
    Ok(serde_json::to_string(&site)? + "\n")
}
