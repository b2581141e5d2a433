//! Backbones as Hugging Face stores them: every layout loads to the same tensors, every damage is named.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use hyperloader_core::backbone::Backbone;
use hyperloader_core::backbone::t5::{FeedForward, Stack, T5Backbone, T5Config, names};
use hyperloader_core::causes::with_causes;
use hyperloader_core::files::sha256;
use hyperloader_core::weights::tensors::{HostTensor, Tensors, write_tensors};
use ndarray::ArrayD;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A v1.1 T5 with a head of its own and stacks of different depth.
fn gated() -> T5Config {
    T5Config {
        vocab_size: 24,
        d_model: 8,
        d_kv: 4,
        d_ff: 12,
        num_layers: 2,
        num_decoder_layers: Some(3),
        num_heads: 3,
        feed_forward_proj: FeedForward::GatedGelu,
        tie_word_embeddings: false,
        ..T5Config::preset("t5-nano").unwrap()
    }
}

fn plain() -> T5Config {
    T5Config { feed_forward_proj: FeedForward::Relu, tie_word_embeddings: true, ..gated() }
}

/// Tensors of small distinct numbers that every float type holds exactly.
fn tensors(config: &T5Config) -> Tensors {
    let mut next = 0u32;
    let mut value = move || {
        next += 1;
        (next % 251) as f32 * 0.25 - 16.0
    };
    let tensor = |shape: Vec<usize>| ArrayD::from_shape_simple_fn(shape, &mut value);
    let shapes = config.tensors();
    let names: Vec<String> = shapes.keys().cloned().collect();
    names.into_iter().zip(shapes.into_values().map(tensor).collect::<Vec<_>>()).collect()
}

fn write_config(folder: &Path, config: &T5Config, more: Value) {
    let mut value = serde_json::to_value(config).unwrap();
    let fields = value.as_object_mut().unwrap();
    fields.insert("model_type".into(), "t5".into());
    fields.extend(more.as_object().unwrap().clone());
    std::fs::write(folder.join("config.json"), value.to_string()).unwrap();
}

fn folder(config: &T5Config) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_config(folder.path(), config, json!({}));
    folder
}

fn single(config: &T5Config, tensors: &Tensors) -> TempDir {
    let folder = folder(config);
    write_tensors(&folder.path().join("model.safetensors"), tensors).unwrap();
    folder
}

fn bytes(tensor: &HostTensor, dtype: Dtype) -> Vec<u8> {
    let values = tensor.iter();
    match dtype {
        Dtype::F16 => values.flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect(),
        Dtype::BF16 => values.flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect(),
        _ => values.flat_map(|x| x.to_le_bytes()).collect(),
    }
}

fn write_as(path: &Path, tensors: &Tensors, dtype: Dtype) {
    let stored: Vec<_> = tensors.iter().map(|(n, t)| (n, t.shape().to_vec(), bytes(t, dtype))).collect();
    let views = stored.iter().map(|(n, shape, b)| (n, TensorView::new(dtype, shape.clone(), b).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

const SHARDS: usize = 3;

fn shard(number: usize) -> String {
    format!("model-{:05}-of-{SHARDS:05}.safetensors", number + 1)
}

/// Deals tensors out to shards and writes their index.
fn write_shards(folder: &Path, tensors: &Tensors, dtype: Dtype) {
    let mut parts = vec![Tensors::new(); SHARDS];
    let mut map = BTreeMap::new();
    for (number, (name, tensor)) in tensors.iter().enumerate() {
        parts[number % SHARDS].insert(name.clone(), tensor.clone());
        map.insert(name.clone(), shard(number % SHARDS));
    }
    parts.iter().enumerate().for_each(|(n, part)| write_as(&folder.join(shard(n)), part, dtype));
    let index = json!({ "metadata": { "total_size": 0 }, "weight_map": map });
    std::fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

fn sharded(config: &T5Config, tensors: &Tensors, dtype: Dtype) -> TempDir {
    let folder = folder(config);
    write_shards(folder.path(), tensors, dtype);
    folder
}

fn open(folder: &TempDir) -> Result<T5Backbone, String> {
    T5Backbone::open(folder.path(), false)
        .map_err(|e| with_causes(&e).replace(&*folder.path().to_string_lossy(), "[FOLDER]"))
}

fn error(folder: &TempDir) -> String {
    open(folder).map(|backbone| backbone.folder).unwrap_err()
}

fn assert_holds(folder: &TempDir, expected: &Tensors) {
    let backbone = open(folder).unwrap();
    assert_eq!(backbone.config.tensors().len(), expected.len());
    for (name, tensor) in expected {
        assert_eq!(backbone.tensor(name).unwrap(), *tensor, "{name}");
    }
}

#[test]
fn one_file_and_shards_of_every_float_type_give_the_same_tensors() {
    for config in [plain(), gated()] {
        let tensors = tensors(&config);
        assert_holds(&single(&config, &tensors), &tensors);
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
            assert_holds(&sharded(&config, &tensors, dtype), &tensors);
        }
    }
}

#[test]
fn stacks_may_differ_in_depth() {
    let config = gated();
    let backbone = open(&single(&config, &tensors(&config))).unwrap();
    assert_eq!(Stack::BOTH.map(|stack| backbone.config.layers(stack)), [2, 3]);
}

#[test]
fn the_hash_of_shards_is_that_of_what_sha256sum_prints_and_one_file_has_its_own() {
    let config = plain();
    let tensors = tensors(&config);
    let one = single(&config, &tensors);
    assert_eq!(open(&one).unwrap().hash().unwrap(), sha256(&one.path().join("model.safetensors")).unwrap());

    let folder = sharded(&config, &tensors, Dtype::F32);
    let names = [vec!["model.safetensors.index.json".to_owned()], (0..SHARDS).map(shard).collect()].concat();
    let line = |name: &String| format!("{}  {name}\n", sha256(&folder.path().join(name)).unwrap());
    let listing = folder.path().join("SHA256SUMS");
    std::fs::write(&listing, names.iter().map(line).collect::<String>()).unwrap();
    let hash = open(&folder).unwrap().hash().unwrap();
    assert_eq!(hash, sha256(&listing).unwrap());

    let mut changed = tensors.clone();
    changed.get_mut(names::SHARED).unwrap()[[0, 0]] += 1.0;
    write_shards(folder.path(), &changed, Dtype::F32);
    assert_ne!(open(&folder).unwrap().hash().unwrap(), hash);
}

#[test]
fn transformers_5_calls_every_head_tied_and_the_weights_tell() {
    let five = json!({ "tie_word_embeddings": true, "scale_decoder_outputs": false });
    let untied = single(&gated(), &tensors(&gated()));
    write_config(untied.path(), &gated(), five);
    let config = open(&untied).unwrap().config;
    assert_eq!((config.head_name(), config.head_scale()), (names::LM_HEAD, 1.0));
    assert_holds(&untied, &tensors(&gated()));

    let five = json!({ "tie_word_embeddings": true, "scale_decoder_outputs": true });
    let tied = single(&plain(), &tensors(&plain()));
    write_config(tied.path(), &plain(), five);
    let config = open(&tied).unwrap().config;
    assert_eq!((config.head_name(), config.head_scale()), (names::SHARED, 8f64.powf(-0.5)));
}

#[test]
fn the_embedding_may_be_stored_under_the_name_of_a_copy() {
    for copy in names::EMBEDDING_COPIES {
        let mut renamed = tensors(&gated());
        let embedding = renamed.remove(names::SHARED).unwrap();
        renamed.insert(copy.to_owned(), embedding);
        assert_holds(&single(&gated(), &renamed), &tensors(&gated()));
    }
}

#[test]
fn copies_of_the_embedding_are_passed_over_if_they_are_copies() {
    let copies = [names::EMBEDDING_COPIES[0], names::EMBEDDING_COPIES[1], names::LM_HEAD];
    let original = tensors(&plain());
    let mut with_copies = original.clone();
    for copy in copies {
        with_copies.insert(copy.to_owned(), original[names::SHARED].clone());
    }
    assert_holds(&single(&plain(), &with_copies), &original);
    let mut messages = Vec::new();
    for copy in copies {
        let mut changed = with_copies.clone();
        changed.get_mut(copy).unwrap()[[3, 3]] += 0.25;
        messages.push(error(&single(&plain(), &changed)));
    }
    insta::assert_snapshot!(messages.join("\n\n"));
}

#[test]
fn a_tokenizer_may_be_smaller_than_the_embedding_but_not_larger() {
    let message = |rows: usize| {
        let config = T5Config { vocab_size: rows, num_layers: 1, num_decoder_layers: None, ..plain() };
        let folder = single(&config, &tensors(&config));
        let tokenizer = common::fixtures().join("backbones/t5-nano/tokenizer.json");
        std::fs::copy(tokenizer, folder.path().join("tokenizer.json")).unwrap();
        let codec = open(&folder).unwrap().codec();
        codec.map_err(|e| e.to_string().replace(&*folder.path().to_string_lossy(), "[FOLDER]")).map(|_| ())
    };
    assert_eq!(message(32_128), Ok(()));
    assert_eq!(message(32_100), Ok(()));
    insta::assert_snapshot!(message(32_099).unwrap_err());
}

/// What is done to a whole sharded checkpoint.
type Damage = fn(&Path);

fn edit_index(folder: &Path, edit: impl FnOnce(&mut Value)) {
    let path = folder.join("model.safetensors.index.json");
    let mut index: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    edit(&mut index);
    std::fs::write(&path, index.to_string()).unwrap();
}

#[test]
fn damaged_shards_and_indices_are_named() {
    let config = plain();
    let damages: [(&str, Damage); 9] = [
        ("a shard is missing", |f| std::fs::remove_file(f.join(shard(1))).unwrap()),
        ("a shard is cut", |f| {
            let whole = std::fs::read(f.join(shard(1))).unwrap();
            std::fs::write(f.join(shard(1)), &whole[..whole.len() / 2]).unwrap();
        }),
        ("a shard is a pointer", |f| {
            let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
            std::fs::write(f.join(shard(1)), pointer).unwrap();
        }),
        ("the index names another shard", |f| {
            edit_index(f, |index| index["weight_map"]["shared.weight"] = shard(0).into());
        }),
        ("two shards are one", |f| assert!(std::fs::copy(f.join(shard(0)), f.join(shard(1))).is_ok())),
        ("the index leads out of the folder", |f| {
            edit_index(f, |index| index["weight_map"]["shared.weight"] = "../other.safetensors".into());
        }),
        ("the index is empty", |f| edit_index(f, |index| index["weight_map"] = json!({}))),
        ("the index is no index", |f| std::fs::write(f.join("model.safetensors.index.json"), "[").unwrap()),
        ("a tensor is nowhere", |f| {
            let path = f.join(shard(0));
            let file = hyperloader_core::weights::tensors::TensorFile::open(&path).unwrap();
            let mut rest = file.read_all().unwrap();
            let name = rest.keys().next().unwrap().clone();
            rest.remove(&name);
            write_tensors(&path, &rest).unwrap();
            edit_index(f, |index| drop(index["weight_map"].as_object_mut().unwrap().remove(&name)));
        }),
    ];
    let messages = damages.map(|(what, damage)| {
        let folder = sharded(&config, &tensors(&config), Dtype::F32);
        damage(folder.path());
        format!("{what}\n{}", error(&folder))
    });
    insta::assert_snapshot!(messages.join("\n\n"));
}

#[test]
fn files_in_other_formats_are_named_with_the_way_out() {
    let config = plain();
    let mut messages = Vec::new();
    for name in ["pytorch_model.bin", "pytorch_model.bin.index.json", "flax_model.msgpack"] {
        let folder = folder(&config);
        std::fs::write(folder.path().join(name), "").unwrap();
        messages.push(error(&folder));
    }
    messages.push(error(&folder(&config)));
    insta::assert_snapshot!(messages.join("\n\n"));
}

/// Opens a checkpoint after a change of its `config.json`.
fn with_fields(config: &T5Config, fields: Value) -> Result<T5Config, String> {
    let folder = single(config, &tensors(config));
    write_config(folder.path(), config, fields);
    open(&folder).map(|backbone| backbone.config)
}

/// Case 41: a float16 checkpoint whose numbers overflowed.
#[test]
fn a_number_that_is_not_finite_is_named_with_its_tensor_and_file() {
    let config = plain();
    let damaged = |name: &str, place: [usize; 2], value: f32| {
        let mut tensors = tensors(&config);
        tensors.get_mut(name).unwrap()[place] = value;
        tensors
    };
    let wo = "decoder.block.2.layer.2.DenseReluDense.wo.weight";
    let messages = [
        error(&sharded(&config, &damaged(wo, [0, 0], 1e6), Dtype::F16)),
        error(&sharded(&config, &damaged(wo, [7, 11], f32::NEG_INFINITY), Dtype::BF16)),
        // A row of the embedding that no token uses.
        error(&single(&config, &damaged(names::SHARED, [23, 7], f32::NAN))),
    ];
    insta::assert_snapshot!(messages.join("\n\n"), @r"
    tensor `decoder.block.2.layer.2.DenseReluDense.wo.weight` in `[FOLDER]/model-00003-of-00003.safetensors` is not finite: inf at [0, 0]
    hint: it may have overflowed when it was saved in half precision; save it in float32 or bfloat16, or fetch it again

    tensor `decoder.block.2.layer.2.DenseReluDense.wo.weight` in `[FOLDER]/model-00003-of-00003.safetensors` is not finite: -inf at [7, 11]
    hint: it may have overflowed when it was saved in half precision; save it in float32 or bfloat16, or fetch it again

    tensor `shared.weight` in `[FOLDER]/model.safetensors` is not finite: NaN at [23, 7]
    hint: it may have overflowed when it was saved in half precision; save it in float32 or bfloat16, or fetch it again
    ");
}

/// Case 42: `null` means absent.
#[test]
fn null_fields_mean_their_defaults() {
    let nulls = json!({
        "decoder_start_token_id": null, "pad_token_id": null, "eos_token_id": null, "dropout_rate": null,
        "tie_word_embeddings": null, "scale_decoder_outputs": null, "feed_forward_proj": null, "dense_act_fn": null,
        "is_gated_act": null, "layer_norm_epsilon": null, "relative_attention_num_buckets": null,
        "relative_attention_max_distance": null, "model_type": null,
    });
    assert_eq!(with_fields(&plain(), nulls).unwrap(), plain());
    let as_deep = T5Config { num_decoder_layers: None, ..plain() };
    assert_eq!(with_fields(&as_deep, json!({ "num_decoder_layers": null })).unwrap(), as_deep);
    // The decoder starts with padding, as in transformers.
    let other_padding = with_fields(&plain(), json!({ "pad_token_id": 3, "decoder_start_token_id": null }));
    assert_eq!(other_padding.unwrap().decoder_start_token_id, 3);
    let both = with_fields(&plain(), json!({ "pad_token_id": 3, "decoder_start_token_id": 5 })).unwrap();
    assert_eq!((both.pad_token_id, both.decoder_start_token_id), (3, 5));
}

#[test]
fn fields_of_another_type_are_named_with_their_value() {
    let messages = [
        json!({ "eos_token_id": [1] }),
        json!({ "decoder_start_token_id": "<pad>" }),
        json!({ "pad_token_id": 0.5 }),
        json!({ "num_layers": -1 }),
        json!({ "d_model": {} }),
        json!({ "tie_word_embeddings": "true" }),
        json!({ "layer_norm_epsilon": "1e-6" }),
        json!({ "d_ff": null }),
    ]
    .map(|fields| with_fields(&plain(), fields).unwrap_err());
    insta::assert_snapshot!(messages.join("\n"), @r#"
    `[FOLDER]/config.json`: field `eos_token_id` of the T5 configuration is [1], expected one whole number
    `[FOLDER]/config.json`: field `decoder_start_token_id` of the T5 configuration is "<pad>", expected one whole number
    `[FOLDER]/config.json`: field `pad_token_id` of the T5 configuration is 0.5, expected one whole number
    `[FOLDER]/config.json`: field `num_layers` of the T5 configuration is -1, expected one whole number
    `[FOLDER]/config.json`: field `d_model` of the T5 configuration is {}, expected one whole number
    `[FOLDER]/config.json`: field `tie_word_embeddings` of the T5 configuration is "true", expected `true` or `false`
    `[FOLDER]/config.json`: field `layer_norm_epsilon` of the T5 configuration is "1e-6", expected a number
    `[FOLDER]/config.json` is not a T5 `config.json`: missing field `d_ff`
    "#);
}

#[test]
fn every_feed_forward_form_is_read_by_its_name() {
    for form in FeedForward::ALL {
        let shape = if form.is_gated() { gated() } else { plain() };
        let fields = json!({ "feed_forward_proj": form.name(), "dense_act_fn": form.activation_name() });
        let found = with_fields(&shape, fields).unwrap();
        assert_eq!(found, T5Config { feed_forward_proj: form, ..shape });
        assert_eq!(serde_json::to_value(found.feed_forward_proj).unwrap(), form.name());
    }
}

/// Case 43: in transformers `dense_act_fn` and `is_gated_act` override `feed_forward_proj`.
#[test]
fn a_feed_forward_form_that_contradicts_itself_is_refused() {
    let agreeing = json!({ "dense_act_fn": "gelu_new", "is_gated_act": true });
    assert_eq!(with_fields(&gated(), agreeing).unwrap(), gated());
    let agreeing = json!({ "dense_act_fn": "relu", "is_gated_act": false });
    assert_eq!(with_fields(&plain(), agreeing).unwrap(), plain());
    let messages = [
        // FLAN-T5 as it was published in 2022: transformers computes the exact gelu.
        with_fields(&gated(), json!({ "dense_act_fn": "gelu", "is_gated_act": true })),
        with_fields(&gated(), json!({ "is_gated_act": false })),
        with_fields(&plain(), json!({ "dense_act_fn": "gelu_new" })),
        with_fields(&plain(), json!({ "is_gated_act": true })),
        with_fields(&gated(), json!({ "feed_forward_proj": "gated-tanh" })),
        with_fields(&plain(), json!({ "feed_forward_proj": ["relu"] })),
    ]
    .map(|read| read.unwrap_err());
    insta::assert_snapshot!(messages.join("\n"), @r#"
    `[FOLDER]/config.json`: field `dense_act_fn` of the T5 configuration is `gelu`, expected `gelu_new`, which `feed_forward_proj` `gated-gelu` means
    `[FOLDER]/config.json`: field `is_gated_act` of the T5 configuration is `false`, expected `true`, which `feed_forward_proj` `gated-gelu` means
    `[FOLDER]/config.json`: field `dense_act_fn` of the T5 configuration is `gelu_new`, expected `relu`, which `feed_forward_proj` `relu` means
    `[FOLDER]/config.json`: field `is_gated_act` of the T5 configuration is `true`, expected `false`, which `feed_forward_proj` `relu` means
    `[FOLDER]/config.json`: field `feed_forward_proj` of the T5 configuration is `gated-tanh`, expected one of `relu`, `gelu`, `gelu_new`, `silu`, `gated-relu`, `gated-gelu`, `gated-silu`
    `[FOLDER]/config.json`: field `feed_forward_proj` of the T5 configuration is ["relu"], expected a name
    "#);
}
