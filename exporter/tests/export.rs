//! Exports of whole runs: golden models in every backend, sizes, and failures that leave no file.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{HyperCase, TOLERANCE, ids, random_run};
use hyperloader_core::backbone::t5::{FeedForward, T5Config};
use hyperloader_core::format::tagger::TaggerMetadata;
use hyperloader_core::method::{HyperConfig, HyperdecoderConfig, LoraConfig, MethodConfig};
use hyperloader_core::run::{Run, Snapshot, Which};
use hyperloader_exporter::export::{ExportError, Exported, Exporter, Options, Precision};
use hyperloader_exporter::verify::Verification;
use hyperloader_onnx::{Opset, read_model};
use hyperloader_runtime::{Backend, BackendKind, BackendOptions, Value};
use ndarray::Array2;

const BACKENDS: [BackendKind; 2] = [BackendKind::Ort, BackendKind::Tract];

fn export(run: Run, task: &str, path: &Path, options: &Options) -> Result<Exported, ExportError> {
    Exporter::open(run, Which::Best, None)?.export(task, path, options, &|_| {})
}

fn verified(tolerance: f64) -> Options {
    let verification = Verification { tolerance, backends: BackendOptions::default() };
    Options { verification: Some(verification), ..Options::default() }
}

/// All of T5's vocabulary, so that probes can be run, and little else.
fn narrow() -> (T5Config, MethodConfig) {
    let t5 = T5Config {
        d_model: 16,
        d_kv: 4,
        num_heads: 3,
        d_ff: 24,
        num_layers: 1,
        num_decoder_layers: Some(2),
        ..T5Config::preset("t5-nano").unwrap()
    };
    let lora = Some(LoraConfig { rank: 2, alpha: 3.0, ..LoraConfig::default() });
    let method = HyperConfig {
        reduction_factor: 4,
        task_embed_dim: 8,
        projector_hidden: 8,
        lora,
        ..HyperConfig::default()
    };
    (t5, method.into())
}

fn narrow_run(folder: &Path) -> Run {
    let (t5, method) = narrow();
    random_run::write(folder, &t5, &method, &["mtop", "snips"])
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
            export(run.clone(), task, &path, &Options::default()).unwrap();
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
fn a_verified_file_says_what_it_is_and_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let run = narrow_run(folder.path());
    let path = folder.path().join("snips.onnx");
    let exported = export(run.clone(), "snips", &path, &verified(1e-4)).unwrap();

    let ladder = exported.ladder.as_ref().unwrap();
    assert!(ladder.holds() && ladder.file_was_run() && ladder.not_run.is_empty(), "{ladder}");
    assert_eq!(ladder.rungs.len(), 3);
    assert!(
        ladder.rungs.iter().all(|rung| rung.equal_greedy == ladder.probes && rung.difference > 0.0),
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
fn every_kind_of_model_can_be_written_in_bytes() {
    let plain = T5Config { num_layers: 1, vocab_size: 32_200, ..T5Config::preset("t5-nano").unwrap() };
    let gated = T5Config {
        feed_forward_proj: FeedForward::GatedGelu,
        tie_word_embeddings: false,
        cross_attention_relative_bias: true,
        ..plain.clone()
    };
    // Adapters as large as matrices of the backbone, which stay in float32.
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
        let options = Options { precision: Precision::Int8, opset, ..verified(1e-4) };
        let exported = export(run, "mtop", &path, &options).unwrap();
        let ladder = exported.ladder.unwrap();
        let forms: Vec<&str> = ladder.rungs.iter().map(|rung| rung.to.as_str()).collect();
        assert_eq!(forms[..2], ["folded", "int8"], "{ladder}");
        assert_eq!(forms.len(), 4, "{ladder}");
        assert!(ladder.rungs[1].difference > 1e-3, "{ladder}");
        for group in &exported.weights {
            let large = ["embedding", "head", "feed-forward", "attention"].contains(&group.part);
            let fits =
                if large { group.bytes < 2 * group.parameters } else { group.bytes == 4 * group.parameters };
            assert!(fits, "{group:?}");
        }
    }
}

#[test]
fn a_nano_file_is_within_three_per_cent_of_its_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let t5 = T5Config::preset("t5-nano").unwrap();
    let run = random_run::write(folder.path(), &t5, &MethodConfig::default(), &["mtop"]);
    let exported = export(run, "mtop", &folder.path().join("mtop.onnx"), &Options::default()).unwrap();
    let stored = 4.0 * exported.parameters as f64;
    let excess = exported.bytes as f64 / stored - 1.0;
    assert!((0.0..0.03).contains(&excess), "{} bytes are {excess} over", exported.bytes);
    let backbone: usize = t5.tensors().values().map(|shape| shape.iter().product::<usize>()).sum();
    // Adapters add, tables by distance instead of by bucket add a little.
    assert!((backbone..backbone * 101 / 100).contains(&exported.parameters), "{}", exported.parameters);
}

#[test]
fn a_difference_over_tolerance_leaves_no_file_or_the_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let run = narrow_run(folder.path());
    let path = folder.path().join("mtop.onnx");
    let failed = |run| export(run, "mtop", &path, &verified(1e-15)).unwrap_err();
    let error = failed(run.clone());
    assert!(matches!(&error, ExportError::Mismatch(ladder) if !ladder.holds()), "{error}");
    assert_eq!(files(folder.path()), ["backbone", "runs"]);
    std::fs::write(&path, "older").unwrap();
    failed(run);
    assert_eq!(std::fs::read(&path).unwrap(), b"older");
    assert_eq!(files(folder.path()), ["backbone", "mtop.onnx", "runs"]);
}

#[test]
fn an_untrained_run_and_one_that_diverged_are_refused_by_the_matrix_that_shows_it() {
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
    for options in [Options::default(), verified(1e-4)] {
        let untrained = refused("hyper.encoder.lora_b.weight_head.weight", 0.0, &options);
        assert!(untrained.contains("`encoder.block.0.layer.0.SelfAttention.q.weight`"), "{untrained}");
        assert!(untrained.contains("untrained"), "{untrained}");
        let diverged = refused("hyper.decoder.lora_a.weight_head.weight", f32::NAN, &options);
        assert!(diverged.contains("`decoder.block.0.layer.0.SelfAttention.q.weight`"), "{diverged}");
        assert!(diverged.contains("not finite"), "{diverged}");
    }
    let diverged = refused("encoder.final_layer_norm.weight", f32::INFINITY, &Options::default());
    assert!(diverged.contains("`encoder.final_layer_norm.weight`"), "{diverged}");
}

#[test]
fn another_configuration_beside_the_same_weights_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = narrow_run(folder.path());
    let t5 = T5Config { layer_norm_epsilon: 1e-5, ..run.manifest.t5().unwrap().clone() };
    let config = folder.path().join("backbone/config.json");
    std::fs::write(config, serde_json::to_string(&t5).unwrap()).unwrap();
    let error = Exporter::open(run, Which::Best, None).unwrap_err();
    assert!(error.to_string().contains("`layer_norm_epsilon`"), "{error}");
}
