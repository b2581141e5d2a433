//! A backbone that makes the loss of some sentences no number: one row of the word embeddings of a BERT is so large that
//! its sum is infinite.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// The tensor that is replaced, the first one of the file.
const WORDS: &str = "bert.embeddings.word_embeddings.weight";

/// Copies the BERT in `from` to `to` with other word embeddings; those of the token `token` are too large for a sum.
pub(super) fn write(from: &Path, to: &Path, token: &str) -> Result<()> {
    fs::create_dir(to)?;
    for name in ["config.json", "tokenizer.json"] {
        fs::copy(from.join(name), to.join(name))?;
    }
    let tokenizer: Value = serde_json::from_slice(&fs::read(from.join("tokenizer.json"))?)?;
    let id = tokenizer["model"]["vocab"][token].as_u64().context("the vocabulary has no such token")?;
    let file = fs::read(from.join("model.safetensors"))?;
    let length: [u8; 8] = file.get(..8).context("a short file")?.try_into()?;
    let (header, data) = file[8..].split_at(u64::from_le_bytes(length) as usize);
    let mut header: Value = serde_json::from_slice(header)?;
    let number = |value: &Value| value.as_u64().map(|number| number as usize).context("no number");
    let old = number(&header[WORDS]["data_offsets"][1])?;
    ensure!(header[WORDS]["data_offsets"][0] == 0, "`{WORDS}` is not the first tensor");
    let [rows, columns] = [0, 1].map(|axis| number(&header[WORDS]["shape"][axis]));
    let (rows, columns) = (rows?, columns?);
    let value = |at: usize| match at / columns == id as usize {
        true => 3e38,
        // Small values that differ.
        false => (at % 97) as f32 * 0.01 - 0.5,
    };
    let words: Vec<u8> = (0..rows * columns).flat_map(|at| value(at).to_le_bytes()).collect();
    for (name, tensor) in header.as_object_mut().context("no header")? {
        if let (true, Some(offsets)) = (name != WORDS, tensor["data_offsets"].as_array_mut()) {
            for offset in offsets {
                *offset = json!(number(offset)? - old + words.len());
            }
        }
    }
    header[WORDS]["data_offsets"] = json!([0, words.len()]);
    header[WORDS]["dtype"] = json!("F32");
    let header = serde_json::to_vec(&header)?;
    let length = (header.len() as u64).to_le_bytes();
    Ok(fs::write(to.join("model.safetensors"), [&length[..], &header, &words, &data[old..]].concat())?)
}
