//! Names of the files in a model's folder, as Hugging Face's `save_pretrained` writes them.

use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::files::read_text;

/// Dimensions and switches of the model.
pub const CONFIG: &str = "config.json";
/// Tokenizer in the format of Hugging Face's `tokenizers`.
pub const TOKENIZER: &str = "tokenizer.json";
/// The vocabulary of T5's original tokenizer, which is read where there is no [`TOKENIZER`].
pub const SENTENCEPIECE: &str = "spiece.model";

/// The parts of a model of sentence-transformers, in the folder above those of the parts.
const MODULES: &str = "modules.json";

/// A part of a model of sentence-transformers.
#[derive(Deserialize)]
struct Module {
    /// Its folder, such as `0_Transformer`; empty for the folder of the list.
    path: String,
    /// Its class, such as `sentence_transformers.models.Transformer`.
    #[serde(rename = "type")]
    class: String,
}

/// The folder with the [`CONFIG`] of the model in `folder`: that of the transformer where sentence-transformers has one for each
/// part of a model, else `folder` itself.
pub fn model_folder(folder: &Path) -> PathBuf {
    if folder.join(CONFIG).exists() {
        return folder.to_owned();
    }
    let modules = read_text(&folder.join(MODULES)).ok();
    let modules: Vec<Module> = modules.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let transformer = modules.into_iter().find(|module| module.class.ends_with(".Transformer"));
    // A path out of the folder is not followed.
    let is_inside =
        |path: &str| Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    match transformer.filter(|module| !module.path.is_empty() && is_inside(&module.path)) {
        Some(module) => folder.join(module.path),
        None => folder.to_owned(),
    }
}

/// The tokenizer of the T5 in `folder`: [`SENTENCEPIECE`] if there is only that, else [`TOKENIZER`].
pub fn tokenizer_of(folder: &Path) -> PathBuf {
    let (json, original) = (folder.join(TOKENIZER), folder.join(SENTENCEPIECE));
    if !json.is_file() && original.is_file() { original } else { json }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transformer_of_a_sentence_encoder_is_found_in_its_folder() {
        let place = tempfile::tempdir().unwrap();
        let of = |path: &str| {
            let module = |class: &str, path: &str| {
                format!(
                    "{{\"idx\": 0, \"name\": \"0\", \"path\": \"{path}\", \"type\": \"sentence_transformers.models.{class}\"}}"
                )
            };
            let modules = format!("[{}, {}]", module("Transformer", path), module("Pooling", "1_Pooling"));
            std::fs::write(place.path().join(MODULES), modules).unwrap();
            model_folder(place.path())
        };
        assert_eq!(of("0_Transformer"), place.path().join("0_Transformer"));
        assert_eq!(of(""), place.path());
        assert_eq!(of("../elsewhere"), place.path());
        assert_eq!(of("/elsewhere"), place.path());
        std::fs::write(place.path().join(MODULES), "[").unwrap();
        assert_eq!(model_folder(place.path()), place.path());
        of("0_Transformer");
        std::fs::write(place.path().join(CONFIG), "{}").unwrap();
        assert_eq!(model_folder(place.path()), place.path());
    }
}
