//! T5's original vocabulary, `spiece.model`, as the `tokenizer.json` that transformers makes of it
//! (`convert_slow_tokenizer.py`, `T5Converter`): the same pieces in the same order, then the sentinels.
//!
//! The file is a protobuf message, [`Model`]: `sentencepiece_model.proto` of SentencePiece.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use serde_json::{Value, json};

use super::sentinels::Sentinels;

/// The number of sentinels that transformers adds unless told otherwise (`extra_ids`).
const SENTINELS: usize = 100;
/// The largest file in bytes; T5's has 0.8 MB.
pub(super) const MAX_BYTES: u64 = 16 << 20;
/// The longest piece in bytes; T5's have up to 48. The tokenizer descends into a piece by recursion.
const MAX_PIECE: usize = 512;
/// The only kind of model that T5 uses (`TrainerSpec.ModelType`).
const UNIGRAM: i32 = 1;
/// Kinds of pieces (`SentencePiece.Type`).
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

/// A `spiece.model` that is not one, or not like T5's.
#[derive(Debug, thiserror::Error)]
pub(super) enum SentencePieceError {
    /// The bytes are no such message.
    #[error("it is no SentencePiece model")]
    Message(#[from] prost::DecodeError),
    /// The vocabulary is of another kind than T5's.
    #[error("its {what} is {found}, expected {expected}")]
    Kind {
        /// The property.
        what: &'static str,
        /// Its value.
        found: String,
        /// The value of T5's vocabularies.
        expected: &'static str,
    },
    /// A piece is unlike those of T5's vocabularies.
    #[error("piece {index}, `{piece}`, {fault}")]
    Piece {
        /// Its id.
        index: usize,
        /// The beginning of its text.
        piece: String,
        /// What is wrong with it.
        fault: String,
    },
    /// Not one piece stands for what the vocabulary cannot write.
    #[error("it has {0} pieces of the kind `unknown`, expected one")]
    Unknown(usize),
}

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<Trainer>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<Normalizer>,
}

#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, optional, tag = "1")]
    piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
    #[prost(int32, optional, tag = "3", default = "1")]
    kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Trainer {
    #[prost(int32, optional, tag = "3", default = "1")]
    model_type: Option<i32>,
    #[prost(bool, optional, tag = "35")]
    byte_fallback: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct Normalizer {
    #[prost(bytes = "vec", optional, tag = "2")]
    charsmap: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3", default = "true")]
    add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4", default = "true")]
    remove_extra_whitespaces: Option<bool>,
}

/// The `tokenizer.json` of a `spiece.model`.
///
/// # Errors
/// If the file is no SentencePiece model, or one of another kind than T5's.
pub(super) fn to_json(bytes: &[u8]) -> Result<String, SentencePieceError> {
    let Model { pieces, trainer, normalizer } = Model::decode(bytes)?;
    let (trainer, normalizer) = (trainer.unwrap_or_default(), normalizer.unwrap_or_default());
    check(&trainer, &normalizer)?;
    let mut vocab = Vec::with_capacity(pieces.len() + SENTINELS);
    let mut special = Vec::new();
    let mut seen = HashSet::with_capacity(pieces.len());
    for (index, piece) in pieces.iter().enumerate() {
        if let Some(fault) = fault(piece, &mut seen) {
            let beginning = piece.piece().chars().take(40).collect();
            return Err(SentencePieceError::Piece { index, piece: beginning, fault });
        }
        if [UNKNOWN, CONTROL].contains(&piece.kind()) {
            special.push(index);
        }
        vocab.push((piece.piece().to_owned(), f64::from(piece.score())));
    }
    let unknown: Vec<usize> = (0..pieces.len()).filter(|&index| pieces[index].kind() == UNKNOWN).collect();
    let [unknown] = unknown[..] else { return Err(SentencePieceError::Unknown(unknown.len())) };
    // A vocabulary may have sentinels of its own.
    if !vocab.iter().any(|(piece, _)| *piece == Sentinels::text(0)) {
        special.extend(vocab.len()..vocab.len() + SENTINELS);
        vocab.extend((0..SENTINELS).rev().map(|k| (Sentinels::text(k), 0.0)));
    }
    let end = vocab.iter().position(|(piece, _)| piece == "</s>");
    let added: Vec<Value> = special.iter().map(|&id| added_token(id, &vocab[id].0)).collect();
    let value = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": normalizer.charsmap.filter(|map| !map.is_empty()).map(|map| {
            json!({ "type": "Precompiled", "precompiled_charsmap": STANDARD.encode(map) })
        }),
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [{ "type": "WhitespaceSplit" }, metaspace()] },
        "post_processor": end.map(end_of_text),
        "decoder": metaspace(),
        "model": {
            "type": "Unigram",
            "unk_id": unknown,
            "vocab": vocab,
            "byte_fallback": trainer.byte_fallback(),
        },
    });
    Ok(value.to_string())
}

/// What is wrong with a piece, if anything is. `seen` has the texts of those before it.
fn fault<'a>(piece: &'a Piece, seen: &mut HashSet<&'a str>) -> Option<String> {
    let (text, kind) = (piece.piece(), piece.kind());
    if ![NORMAL, UNKNOWN, CONTROL, UNUSED, BYTE].contains(&kind) {
        Some(format!("has the kind {kind}, which T5's vocabularies lack"))
    } else if text.is_empty() || text.len() > MAX_PIECE {
        Some(format!("has {} bytes, expected 1 to {MAX_PIECE}", text.len()))
    } else if !piece.score().is_finite() {
        Some(format!("has the score {}", piece.score()))
    } else if !seen.insert(text) {
        Some("is there twice".to_owned())
    } else {
        None
    }
}

/// Checks that the model is of T5's kind.
fn check(trainer: &Trainer, normalizer: &Normalizer) -> Result<(), SentencePieceError> {
    let wrong = |what, found: String, expected| Err(SentencePieceError::Kind { what, found, expected });
    if trainer.model_type() != UNIGRAM {
        return wrong("model type", trainer.model_type().to_string(), "1 (unigram)");
    }
    for (what, found) in [
        ("`add_dummy_prefix`", normalizer.add_dummy_prefix()),
        ("`remove_extra_whitespaces`", normalizer.remove_extra_whitespaces()),
    ] {
        if !found {
            return wrong(what, found.to_string(), "true");
        }
    }
    Ok(())
}

fn added_token(id: usize, content: &str) -> Value {
    json!({
        "id": id, "special": true, "content": content,
        "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
    })
}

fn metaspace() -> Value {
    json!({ "type": "Metaspace", "replacement": "\u{2581}", "add_prefix_space": true })
}

/// `</s>`, with this id, after each text.
fn end_of_text(id: usize) -> Value {
    let sequence = |name: &str| json!({ "Sequence": { "id": name, "type_id": 0 } });
    let end = json!({ "SpecialToken": { "id": "</s>", "type_id": 0 } });
    json!({
        "type": "TemplateProcessing",
        "single": [sequence("A"), end],
        "pair": [sequence("A"), end, sequence("B"), end],
        "special_tokens": { "</s>": { "id": "</s>", "ids": [id], "tokens": ["</s>"] } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::sentt::SentT;

    fn file() -> Vec<u8> {
        std::fs::read("../fixtures/t5-vocabulary/spiece.model").unwrap()
    }

    #[test]
    fn t5s_model_becomes_t5s_tokenizer() {
        let text = std::fs::read_to_string("../fixtures/backbones/t5-nano/tokenizer.json").unwrap();
        let mut wanted: Value = serde_json::from_str(&text).unwrap();
        let mut found: Value = serde_json::from_str(&to_json(&file()).unwrap()).unwrap();
        assert_eq!(found["model"]["vocab"], wanted["model"]["vocab"]);
        // Newer files say `type` and `byte_fallback`, and no longer `str_rep`.
        for value in [&mut wanted, &mut found] {
            let model = value["model"].as_object_mut().unwrap();
            model.remove("type");
            model.remove("byte_fallback");
            for part in ["/decoder", "/pre_tokenizer/pretokenizers/1"] {
                value.pointer_mut(part).and_then(Value::as_object_mut).map(|part| part.remove("str_rep"));
            }
        }
        assert_eq!(found, wanted);
    }

    #[test]
    fn models_of_another_kind_are_refused() {
        let changed = |change: &dyn Fn(&mut Model)| {
            let mut model = Model::decode(&*file()).unwrap();
            change(&mut model);
            to_json(&model.encode_to_vec()).unwrap_err().to_string()
        };
        let messages = [
            changed(&|model| model.trainer.as_mut().unwrap().model_type = Some(2)),
            changed(&|model| model.normalizer.as_mut().unwrap().add_dummy_prefix = Some(false)),
            changed(&|model| model.pieces[7].kind = Some(4)),
            changed(&|model| model.pieces[7].score = Some(f32::NAN)),
            changed(&|model| model.pieces[7].piece = model.pieces[8].piece.clone()),
            changed(&|model| model.pieces[7].piece = Some("a".repeat(513))),
            changed(&|model| model.pieces[7].piece = None),
            changed(&|model| model.pieces[2].kind = Some(NORMAL)),
            to_json(b"{}").unwrap_err().to_string(),
        ];
        insta::assert_snapshot!(messages.join("\n"), @r"
        its model type is 2, expected 1 (unigram)
        its `add_dummy_prefix` is false, expected true
        piece 7, `s`, has the kind 4, which T5's vocabularies lack
        piece 7, `s`, has the score NaN
        piece 8, `▁the`, is there twice
        piece 7, `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa`, has 513 bytes, expected 1 to 512
        piece 7, ``, has 0 bytes, expected 1 to 512
        it has 0 pieces of the kind `unknown`, expected one
        it is no SentencePiece model
        ");
    }

    #[test]
    fn a_damaged_table_of_characters_is_an_error_and_no_panic() {
        let codec = |charsmap: Vec<u8>| {
            let mut model = Model::decode(&*file()).unwrap();
            model.normalizer.as_mut().unwrap().charsmap = Some(charsmap);
            let json = to_json(&model.encode_to_vec()).unwrap();
            let codec = SentT::from_bytes(json.as_bytes());
            codec.and_then(|codec| codec.encode_source(&["caf\u{e9}", "\u{fb01}ne", "\u{2460}"]).map(drop))
        };
        let whole = Model::decode(&*file()).unwrap().normalizer.unwrap().charsmap.unwrap();
        codec(whole.clone()).unwrap();
        let mut trie = whole.clone();
        trie[4..4 + 4096].fill(0xff);
        for damaged in [vec![0], vec![0; 4], vec![0xff; 64], whole[..5000].to_vec(), trie] {
            assert!(codec(damaged).is_err());
        }
    }

    #[test]
    fn a_vocabulary_with_sentinels_of_its_own_gets_no_others() {
        let mut model = Model::decode(&*file()).unwrap();
        let sentinel = Piece { piece: Some(Sentinels::text(0)), score: Some(0.0), kind: Some(CONTROL) };
        model.pieces.push(sentinel);
        let json: Value = serde_json::from_str(&to_json(&model.encode_to_vec()).unwrap()).unwrap();
        assert_eq!(json["model"]["vocab"].as_array().unwrap().len(), model.pieces.len());
    }
}
