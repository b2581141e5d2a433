use ndarray::ArrayD;

use super::*;
use crate::backbone::{Backbone, CONFIG};
use crate::weights::tensors::{Tensors, write_tensors};

fn tiny() -> BertConfig {
    BertConfig {
        vocab_size: 12,
        hidden_size: 4,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        intermediate_size: 6,
        max_position_embeddings: 8,
        ..BertConfig::preset("bert-base").unwrap()
    }
}

/// A folder whose tensors are named by `spell`, each filled with its place in the list.
fn folder(spell: impl Fn(&str) -> String, extra: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut tensors: Tensors = (0..)
        .zip(tiny().tensors())
        .map(|(place, (name, shape))| (spell(&name), ArrayD::from_elem(shape, place as f32)))
        .collect();
    tensors.extend(extra.iter().map(|name| ((*name).to_owned(), ArrayD::zeros(vec![1]))));
    write_tensors(&folder.path().join("model.safetensors"), &tensors).unwrap();
    std::fs::write(folder.path().join(CONFIG), serde_json::to_string(&tiny()).unwrap()).unwrap();
    folder
}

#[test]
fn berts_are_read_under_every_name_that_their_checkpoints_use() {
    let bare = |name: &str| name.trim_start_matches("bert.").to_owned();
    let first = |name: &str| name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta");
    let heads = ["cls.predictions.bias", "bert.pooler.dense.bias", "bert.embeddings.position_ids"];
    for folder in [
        folder(str::to_owned, &[]),
        folder(bare, &["pooler.dense.weight", "embeddings.position_ids"]),
        folder(first, &heads),
    ] {
        let backbone = BertBackbone::open(folder.path()).unwrap();
        for (place, (name, shape)) in (0..).zip(tiny().tensors()) {
            assert_eq!(backbone.tensor(&name).unwrap(), ArrayD::from_elem(shape, place as f32), "{name}");
        }
    }
}

#[test]
fn missing_and_unknown_tensors_are_named() {
    let open = |folder: tempfile::TempDir| BertBackbone::open(folder.path()).unwrap_err().to_string();
    let renamed = folder(|name| name.replace("key.bias", "key.bios"), &[]);
    let message = open(renamed);
    assert!(message.contains("`bert.encoder.layer.0.attention.self.key.bias` is missing"), "{message}");
    let message = open(folder(str::to_owned, &["bert.encoder.layer.1.output.dense.bias"]));
    assert!(message.contains("`bert.encoder.layer.1.output.dense.bias`"), "{message}");
}

#[test]
fn what_cannot_be_run_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(CONFIG);
    let fails = |field: &str, value: serde_json::Value| {
        let mut config = serde_json::to_value(tiny()).unwrap();
        config[field] = value;
        std::fs::write(&path, config.to_string()).unwrap();
        BertConfig::from_file(&path).unwrap_err().to_string()
    };
    for (field, value, said) in [
        ("model_type", "roberta".into(), "`model_type` of the BERT configuration is `roberta`"),
        ("hidden_act", "gelu_new".into(), "is `gelu_new`, expected `gelu`"),
        ("position_embedding_type", "relative_key".into(), "expected `absolute`"),
        ("is_decoder", true.into(), "expected `false`"),
        ("num_attention_heads", 3.into(), "a divisor of `hidden_size` 4"),
        ("layer_norm_eps", 0.into(), "`layer_norm_eps`"),
        ("pad_token_id", 12.into(), "an id inside the vocabulary"),
        ("hidden_size", serde_json::Value::Null, "is not a BERT `config.json`"),
        (
            "pad_token_id",
            serde_json::json!([0]),
            "`pad_token_id` of the BERT configuration is [0], expected one",
        ),
    ] {
        let message = fails(field, value);
        assert!(message.contains(said), "{message}");
    }
}

#[test]
fn bert_base_has_the_published_number_of_parameters_without_its_pooler() {
    let elements = |preset| -> usize {
        let tensors = BertConfig::preset(preset).unwrap().tensors();
        tensors.values().map(|shape| shape.iter().product::<usize>()).sum()
    };
    // 109,482,240 with the pooler's 768 * 768 + 768.
    assert_eq!(elements("bert-base"), 109_482_240 - 590_592);
    assert!(BertConfig::preset("bert-bse").unwrap_err().to_string().contains("`bert-base`"));
}

#[test]
fn null_fields_mean_their_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(CONFIG);
    let mut config = serde_json::to_value(tiny()).unwrap();
    for field in [
        "pad_token_id",
        "hidden_act",
        "position_embedding_type",
        "is_decoder",
        "layer_norm_eps",
        "model_type",
    ] {
        config[field] = serde_json::Value::Null;
    }
    std::fs::write(&path, config.to_string()).unwrap();
    assert_eq!(BertConfig::from_file(&path).unwrap(), tiny());
}

#[test]
fn numbers_that_are_not_finite_are_named_unless_nothing_reads_them() {
    let folder = folder(str::to_owned, &["bert.pooler.dense.bias"]);
    let path = folder.path().join("model.safetensors");
    let mut tensors = crate::weights::tensors::TensorFile::open(&path).unwrap().read_all().unwrap();
    tensors.get_mut("bert.pooler.dense.bias").unwrap().fill(f32::NAN);
    write_tensors(&path, &tensors).unwrap();
    assert!(BertBackbone::open(folder.path()).is_ok());
    let name = "bert.embeddings.word_embeddings.weight";
    tensors.get_mut(name).unwrap()[[11, 2]] = f32::INFINITY;
    write_tensors(&path, &tensors).unwrap();
    let message = BertBackbone::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains(name) && message.contains("inf at [11, 2]"), "{message}");
}
