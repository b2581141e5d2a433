//! Names of the files in a model's folder, as Hugging Face's `save_pretrained` writes them.

/// Dimensions and switches of the model.
pub const CONFIG: &str = "config.json";
/// Tokenizer in the format of Hugging Face's `tokenizers`.
pub const TOKENIZER: &str = "tokenizer.json";
/// The vocabulary of T5's original tokenizer, which is not read.
pub const SENTENCEPIECE: &str = "spiece.model";
