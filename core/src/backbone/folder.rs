//! Names of the files in a model's folder, as Hugging Face's `save_pretrained` writes them.

use std::path::{Path, PathBuf};

/// Dimensions and switches of the model.
pub const CONFIG: &str = "config.json";
/// Tokenizer in the format of Hugging Face's `tokenizers`.
pub const TOKENIZER: &str = "tokenizer.json";
/// The vocabulary of T5's original tokenizer, which is read where there is no [`TOKENIZER`].
pub const SENTENCEPIECE: &str = "spiece.model";

/// The tokenizer of the T5 in `folder`: [`SENTENCEPIECE`] if there is only that, else [`TOKENIZER`].
pub fn tokenizer_of(folder: &Path) -> PathBuf {
    let (json, original) = (folder.join(TOKENIZER), folder.join(SENTENCEPIECE));
    if !json.is_file() && original.is_file() { original } else { json }
}
