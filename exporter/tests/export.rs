//! Exports of whole runs: golden models in every backend, tolerances, sizes, and failures that leave no file.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::{HyperCase, TOLERANCE, ids, narrow_t5, random_run};
use hyperloader_core::backbone::t5::{FeedForward, T5Config};
use hyperloader_core::format::tagger::TaggerMetadata;
use hyperloader_core::method::{HyperConfig, HyperdecoderConfig, LoraConfig, MethodConfig};
use hyperloader_core::run::{Run, Snapshot, Which};
use hyperloader_core::weights::tensors::TensorFile;
use hyperloader_exporter::weights::Part;
use hyperloader_exporter::{ExportError, Exported, Exporter, Options, Precision, Tolerance, Verification};
use hyperloader_onnx::{Opset, read_model};
use hyperloader_runtime::{Backend, BackendKind, BackendOptions, Value};
use ndarray::Array2;

const BACKENDS: [BackendKind; 2] = [BackendKind::Ort, BackendKind::Tract];

fn export(run: Run, task: &str, path: &Path, options: &Options) -> Result<Exported, ExportError> {
    Exporter::open(run, Which::Best, None)?.export(task, path, options, &|_| {})
}

fn unverified() -> Options {
    Options { verification: None, ..Options::default() }
}

fn narrow_run(folder: &Path) -> Run {
    let lora = Some(LoraConfig { rank: 2, alpha: 3.0, ..LoraConfig::default() });
    let method = HyperConfig {
        reduction_factor: 4,
        task_embed_dim: 8,
        projector_hidden: 8,
        lora,
        ..HyperConfig::default()
    };
    random_run::write(folder, &narrow_t5(), &method.into(), &["mtop", "snips"])
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_golden_model_gives_its_golden_logits_in_every_backend() {
    for case in HyperCase::all() {
        let folder = tempfile::tempdir().unwrap();
        case.write_backbone(&folder.path().join("backbone"));
        let tasks: Vec<&str> = case.tasks.iter().map(String::as_str).collect();
        let run = random_run::write_run(folder.path(), &case.t5, &case.method, &tasks, &case.checkpoint());
        let (inputs, outputs) = (case.open("inputs"), case.open("outputs"));
        let names = ["input_ids", "attention_mask", "decoder_input_ids"];
        let inputs: BTreeMap<&str, Value> = names.into_iter().map(|n| (n, value(&ids(&inputs, n)))).collect();
        for task in tasks {
            let path = folder.path().join(format!("{task}.onnx"));
            export(run.clone(), task, &path, &unverified()).unwrap();
            let wanted = outputs.floats(&format!("{task}/logits")).unwrap();
            for kind in BACKENDS {
                let backend = Backend::load(&BackendOptions { kind, ..Default::default() }).unwrap();
                let mut graph = backend.open_file(&path).unwrap();
                let given: Vec<(&str, &Value)> = inputs.iter().map(|(name, value)| (*name, value)).collect();
                let logits = graph.run(&given).unwrap().remove(0);
                assert_eq!(logits.shape(), wanted.shape());
                let pairs = logits.f32s().unwrap().iter().zip(&wanted);
                let difference =
                    pairs.map(|(got, wanted)| f64::from((got - wanted).abs())).fold(0.0, f64::max);
                assert!(difference <= TOLERANCE, "{}/{task} in {kind}: {difference}", case.folder.display());
            }
        }
    }
}

fn value(ids: &Array2<i64>) -> Value {
    Value::from_i64s(ids.shape(), ids.iter().copied().collect()).unwrap()
}

#[test]
fn a_verified_file_states_its_task_and_its_origin() {
    let folder = tempfile::tempdir().unwrap();
    let run = narrow_run(folder.path());
    let path = folder.path().join("snips.onnx");
    let exported = export(run.clone(), "snips", &path, &Options::default()).unwrap();

    let ladder = exported.ladder.as_ref().unwrap();
    assert!(ladder.holds() && ladder.file_was_run && ladder.not_run.is_empty(), "{ladder}");
    assert_eq!(ladder.rungs.len(), 3);
    assert!(
        ladder.rungs.iter().all(|rung| rung.equal == ladder.sentences && rung.difference > 0.0),
        "{ladder}"
    );

    let properties = read_model(&path).unwrap();
    let properties = properties.metadata().into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let metadata = TaggerMetadata::from_properties(&properties).unwrap();
    assert_eq!((metadata.task.as_str(), metadata.run.as_str(), metadata.step), ("snips", "random", 2));
    assert_eq!(metadata.labels, run.task("snips").unwrap().labels);
    assert_eq!(metadata.decoder_layers, 2);
    assert_eq!(metadata.checkpoint_sha256, run.checkpoint(Which::Best).unwrap().sha256);
    assert_eq!(metadata.backbone_sha256, run.manifest.backbone.sha256);
    let tokenizer = std::fs::read_to_string(folder.path().join("backbone/tokenizer.json")).unwrap();
    assert_eq!(metadata.tokenizer, tokenizer);

    assert_eq!(exported.bytes, std::fs::metadata(&path).unwrap().len());
    assert_eq!(exported.sha256, hyperloader_core::files::sha256(&path).unwrap());
    assert_eq!(exported.parameters, exported.weights.iter().map(|group| group.parameters).sum::<usize>());
    assert!(exported.weights.iter().all(|group| group.bytes == 4 * group.parameters));
    assert_eq!(files(folder.path()), ["backbone", "runs", "snips.onnx"]);
}

#[test]
fn every_kind_of_t5_can_be_written_as_int8() {
    let plain = T5Config { num_layers: 1, vocab_size: 32_200, ..T5Config::preset("t5-nano").unwrap() };
    let gated = T5Config {
        feed_forward_proj: FeedForward::GatedGelu,
        tie_word_embeddings: false,
        cross_attention_relative_bias: true,
        ..plain.clone()
    };
    // Adapters as large as matrices of the backbone: they stay in float32.
    let hyperloader = || HyperConfig { reduction_factor: 1, ..HyperConfig::default() }.into();
    let generated = HyperdecoderConfig::default().into();
    for (t5, method, opset) in [
        (gated, hyperloader(), Opset::V18),
        (plain.clone(), hyperloader(), Opset::V17),
        (plain, generated, Opset::V18),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let run = random_run::write(folder.path(), &t5, &method, &["mtop"]);
        let path = folder.path().join("mtop.onnx");
        let options = Options { storage: Precision::Int8.into(), opset, ..Options::default() };
        let exported = export(run, "mtop", &path, &options).unwrap();
        assert_eq!(unread_initializers(&path), Vec::<String>::new());
        let ladder = exported.ladder.unwrap();
        let forms: Vec<&str> = ladder.rungs.iter().map(|rung| rung.to.as_str()).collect();
        assert_eq!(forms[..2], ["folded", "int8"], "{ladder}");
        assert_eq!(forms.len(), 4, "{ladder}");
        assert!(ladder.rungs[1].difference > 1e-3, "{ladder}");
        for group in &exported.weights {
            let large =
                [Part::Embedding, Part::Head, Part::FeedForward, Part::Attention].contains(&group.part);
            let fits =
                if large { group.bytes < 2 * group.parameters } else { group.bytes == 4 * group.parameters };
            assert!(fits, "{group:?}");
        }
    }
}

#[test]
fn every_feed_forward_form_gives_the_references_answers_in_both_runtimes() {
    for feed_forward_proj in FeedForward::ALL {
        let t5 = T5Config { num_layers: 1, feed_forward_proj, ..T5Config::preset("t5-nano").unwrap() };
        let folder = tempfile::tempdir().unwrap();
        let run = random_run::write(folder.path(), &t5, &MethodConfig::default(), &["mtop"]);
        let exported = export(run, "mtop", &folder.path().join("mtop.onnx"), &Options::default()).unwrap();
        // A rung that differs fails the export.
        assert_eq!(exported.ladder.unwrap().rungs.len(), 3, "{feed_forward_proj:?}");
    }
}

/// Names of the initializers that no node of a file reads.
fn unread_initializers(path: &Path) -> Vec<String> {
    let graph = read_model(path).unwrap().graph.unwrap();
    let read: BTreeSet<&String> = graph.node.iter().flat_map(|node| &node.input).collect();
    let names = graph.initializer.iter().map(|tensor| &tensor.name);
    names.filter(|name| !read.contains(name)).cloned().collect()
}

#[test]
fn int8_has_no_unread_constants_where_no_matrix_is_large() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mtop.onnx");
    let options = Options { storage: Precision::Int8.into(), ..unverified() };
    export(narrow_run(folder.path()), "mtop", &path, &options).unwrap();
    assert_eq!(unread_initializers(&path), Vec::<String>::new());
}

#[test]
fn a_nano_file_is_within_three_per_cent_of_its_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let t5 = T5Config::preset("t5-nano").unwrap();
    let run = random_run::write(folder.path(), &t5, &MethodConfig::default(), &["mtop"]);
    let exported = export(run, "mtop", &folder.path().join("mtop.onnx"), &unverified()).unwrap();
    let excess = exported.bytes as f64 / (4.0 * exported.parameters as f64) - 1.0;
    assert!((0.0..0.03).contains(&excess), "{} bytes are {excess} over", exported.bytes);
    let backbone: usize = t5.tensors().values().map(|shape| shape.iter().product::<usize>()).sum();
    // Adapters add, tables by distance instead of by bucket add a little.
    assert!((backbone..backbone * 101 / 100).contains(&exported.parameters), "{}", exported.parameters);
}

/// A T5 v1.1: gated feed-forward layers, an untied head, and logits up to `largest` or more.
fn run_with_large_logits(folder: &Path, largest: f32) -> Run {
    let t5 = T5Config {
        d_model: 192,
        d_kv: 32,
        num_heads: 6,
        d_ff: 384,
        num_layers: 4,
        feed_forward_proj: FeedForward::GatedGelu,
        tie_word_embeddings: false,
        ..T5Config::preset("t5-nano").unwrap()
    };
    let method = MethodConfig::default();
    let first = random_run::write(&folder.join("first"), &t5, &method, &["mtop"]);
    let weights = TensorFile::open(&folder.join("first/backbone/model.safetensors")).unwrap();
    let mut weights = weights.read_all().unwrap();
    // Without the factor, the largest of 32,128 logits of unit variance is about 4.
    *weights.get_mut("lm_head.weight").unwrap() *= largest / 4.0;
    random_run::write_backbone(&folder.join("backbone"), &t5, &weights);
    let checkpoint = first.read(first.checkpoint(Which::Last).unwrap()).unwrap();
    random_run::write_run(folder, &t5, &method, &["mtop"], &checkpoint)
}

#[test]
fn a_t5_v1_1_with_logits_of_magnitude_50_exports_with_default_options() {
    let folder = tempfile::tempdir().unwrap();
    let run = run_with_large_logits(folder.path(), 60.0);
    let exported = export(run, "mtop", &folder.path().join("mtop.onnx"), &Options::default()).unwrap();
    let ladder = exported.ladder.unwrap();
    assert!(ladder.largest_logit >= 50.0 && ladder.smallest_margin > 0.0, "{ladder}");
    assert!(ladder.holds() && ladder.not_run.is_empty(), "{ladder}");
    // The limit of a row of such logits.
    assert!(
        ladder.rungs.iter().all(|rung| rung.difference <= 1e-4 + 1e-5 * ladder.largest_logit),
        "{ladder}"
    );
}

#[test]
fn a_difference_over_tolerance_leaves_no_file_or_the_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let run = narrow_run(folder.path());
    let path = folder.path().join("mtop.onnx");
    let tolerance = Tolerance { atol: 1e-15, rtol: 0.0 };
    let verification = Some(Verification { tolerance, ..Verification::default() });
    let options = Options { verification, ..Options::default() };
    let failed = |run| export(run, "mtop", &path, &options).unwrap_err();
    let error = failed(run.clone());
    assert!(matches!(&error, ExportError::Mismatch(ladder) if !ladder.holds()), "{error}");
    assert_eq!(files(folder.path()), ["backbone", "runs"]);
    std::fs::write(&path, "older").unwrap();
    failed(run);
    assert_eq!(std::fs::read(&path).unwrap(), b"older");
    assert_eq!(files(folder.path()), ["backbone", "mtop.onnx", "runs"]);
}

#[test]
fn an_untrained_run_and_one_that_diverged_are_refused_and_the_matrix_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = narrow_run(folder.path());
    let trained = run.read(run.checkpoint(Which::Last).unwrap()).unwrap();
    let mut refused = |name: &str, value: f32, options: &Options| {
        let mut tensors = trained.clone();
        tensors.get_mut(name).unwrap().fill(value);
        let snapshot = Snapshot { step: 3, tensors: &tensors, state: None, losses: BTreeMap::new() };
        run.save(&snapshot, 1).unwrap();
        let path = folder.path().join("mtop.onnx");
        let error = export(run.clone(), "mtop", &path, options).unwrap_err();
        assert_eq!(files(folder.path()), ["backbone", "runs"]);
        error.to_string()
    };
    for options in [unverified(), Options::default()] {
        let untrained = refused("hyper.encoder.lora_b.weight_head.weight", 0.0, &options);
        assert!(untrained.contains("`encoder.block.0.layer.0.SelfAttention.q.weight`"), "{untrained}");
        assert!(untrained.contains("untrained"), "{untrained}");
        let diverged = refused("hyper.decoder.lora_a.weight_head.weight", f32::NAN, &options);
        assert!(diverged.contains("`hyper.decoder.lora_a.weight_head.weight`"), "{diverged}");
        assert!(diverged.contains("not finite"), "{diverged}");
    }
    let diverged = refused("encoder.final_layer_norm.weight", f32::INFINITY, &unverified());
    assert!(diverged.contains("`encoder.final_layer_norm.weight`"), "{diverged}");
}

#[test]
fn another_configuration_with_the_same_weights_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = narrow_run(folder.path());
    let t5 = T5Config { layer_norm_epsilon: 1e-5, ..run.manifest.t5().unwrap().clone() };
    let config = folder.path().join("backbone/config.json");
    std::fs::write(config, serde_json::to_string(&t5).unwrap()).unwrap();
    let error = Exporter::open(run, Which::Best, None).unwrap_err();
    assert!(error.to_string().contains("`layer_norm_epsilon`"), "{error}");
}
