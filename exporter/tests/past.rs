//! Decoding with cached keys and values gives the ids that the whole graph gives, also beyond the edges of the position
//! buckets and after wrong drafts.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use common::random_run;
use hyperloader_core::backbone::t5::{Attention, Stack, T5Config, names};
use hyperloader_core::format::tagger::{ATTENTION_MASK, DECODER_INPUT_IDS, INPUT_IDS};
use hyperloader_core::method::{HyperConfig, MethodConfig, TaskShape};
use hyperloader_core::weights::tensors::HostTensor;
use hyperloader_runtime::{
    Backend, BackendKind, BackendOptions, DraftFrom, Mode, ModelFile, Tagger, TaggerOptions, Value,
};
use ndarray::ArrayD;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Ids of a target: more than the 128 positions that have buckets of their own.
const LENGTH: usize = 150;

fn config(cross_attention_relative_bias: bool) -> T5Config {
    T5Config {
        d_model: 16,
        d_kv: 8,
        d_ff: 24,
        num_layers: 2,
        num_decoder_layers: Some(3),
        num_heads: 2,
        cross_attention_relative_bias,
        ..T5Config::preset("t5-nano").unwrap()
    }
}

/// An exported tagger with random weights and large position tables, whose targets may have [`LENGTH`] ids.
fn tagger(folder: &Path, config: &T5Config) -> PathBuf {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let tables = [Attention::SelfAttention, Attention::CrossAttention]
        .map(|kind| names::relative_bias(Stack::Decoder, kind));
    let mut random = |name: String, shape: Vec<usize>, bound: f32| {
        let bound = if tables.contains(&name) { 3.0 } else { bound };
        let tensor: HostTensor = ArrayD::from_shape_simple_fn(shape, || rng.random_range(-bound..bound));
        (name, tensor)
    };
    let backbone = config.tensors().into_iter().map(|(name, shape)| random(name, shape, 0.6)).collect();
    random_run::write_backbone(&folder.join("backbone"), config, &backbone);
    let method: MethodConfig = HyperConfig { reduction_factor: 4, ..HyperConfig::default() }.into();
    let trainable = method.trainable_tensors(config, &TaskShape::named(&["mtop".to_owned()])).into_iter();
    let checkpoint = trainable.map(|tensor| random(tensor.name, tensor.shape, 0.1)).collect();
    random_run::write_run(folder, config, &method, &["mtop"], &checkpoint);
    let manifest = folder.join("runs/random/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let longer = text.replace("\"max_target_len\": 128", &format!("\"max_target_len\": {LENGTH}"));
    assert_ne!(longer, text);
    std::fs::write(manifest, longer).unwrap();
    let path = folder.join("mtop.onnx");
    let mut export = Command::new(env!("CARGO_BIN_EXE_hl-export"));
    export.args(["--task", "mtop", "--no-verify", "--quiet", "--output"]).arg(&path);
    export.arg("--run").arg(folder.join("runs/random")).assert().success();
    path
}

fn row(ids: Vec<i64>) -> Value {
    Value::from_i64s(&[1, ids.len()], ids).unwrap()
}

/// Checks that each id of `target` has the largest of the whole graph's logits at its position.
fn assert_greedy(path: &Path, backend: &Backend, start: i64, source: &[u32], target: &[u32]) {
    let wide = |ids: &[u32]| ids.iter().map(|id| i64::from(*id)).collect::<Vec<_>>();
    let before = [&[start], wide(&target[..target.len() - 1]).as_slice()].concat();
    let (ids, mask, before) = (row(wide(source)), row(vec![1; source.len()]), row(before));
    let inputs = [(INPUT_IDS, &ids), (ATTENTION_MASK, &mask), (DECODER_INPUT_IDS, &before)];
    let outputs = backend.open_file(path).unwrap().run(&inputs).unwrap();
    let logits = outputs[0].f32s().unwrap().chunks(outputs[0].shape()[2]);
    assert_eq!(logits.len(), target.len());
    for (position, (logits, id)) in logits.zip(target).enumerate() {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let margin = most - logits[*id as usize];
        assert!(margin <= 1e-5 * most.abs(), "position {position}: {margin} below {most}");
    }
}

#[test]
fn ids_decoded_with_a_past_are_those_of_the_whole_graph() {
    for cross_bias in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = tagger(folder.path(), &config(cross_bias));
        let start = ModelFile::open(&path).unwrap().metadata().decoder_start_token_id;
        for kind in [BackendKind::Ort, BackendKind::Tract] {
            let open = |mode, batch_size| {
                let backend = BackendOptions { kind, ..Default::default() };
                let draft_from = DraftFrom::Outside;
                let options = TaggerOptions { backend, mode, draft_from, batch_size, ..Default::default() };
                Tagger::open(&path, &options).unwrap()
            };
            let greedy = open(Mode::Greedy, 1);
            let sentences = [vec!["wake", "me", "at", "seven"], vec!["call", "paris"], vec!["7"; 11]];
            let sources: Vec<Vec<u32>> =
                sentences.iter().map(|words| greedy.source_ids(words).unwrap()).collect();
            let targets = greedy.target_ids(&sources).unwrap();
            assert!(targets.iter().any(|target| target.len() == LENGTH), "none crosses the last bucket");
            for (source, target) in sources.iter().zip(&targets) {
                assert_greedy(&path, greedy.backend(), start, source, target);
            }
            // Rows of different pasts in one batch, with wrong drafts in them.
            let verified = open(Mode::Verified, 3);
            assert_eq!(verified.target_ids(&sources).unwrap(), targets, "{kind}, {cross_bias}");
            assert!(verified.statistics().mistakes > 0);
        }
    }
}
