//! A widened model is the narrow one: logits, greedy ids, and the written file.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

mod common;
#[allow(dead_code)] // The example uses all of it.
#[path = "../examples/widen/wide.rs"]
mod wide;

use std::path::Path;

use common::{narrow_t5, random_run};
use hyperloader_core::backbone::t5::{FeedForward, T5Backbone, T5Config};
use hyperloader_core::method::{AdapterHeads, HyperConfig, LoraConfig};
use hyperloader_core::run::Which;
use hyperloader_core::weights::tensors::Tensors;
use hyperloader_exporter::t5::{Form, Reference, T5Model};
use hyperloader_exporter::{Exporter, Storage, write_t5};
use hyperloader_runtime::{BackendKind, BackendOptions, Tagger, TaggerOptions};
use ndarray::{Array2, array, s};
use wide::{WidenError, Widening};

const TASK: &str = "mtop";
const TARGET_LEN: usize = 12;

/// Larger in every number.
fn wide_shape() -> T5Config {
    T5Config {
        d_model: 48,
        d_kv: 6,
        num_heads: 5,
        d_ff: 40,
        num_layers: 3,
        num_decoder_layers: Some(4),
        ..narrow_t5()
    }
}

fn method(adapters: AdapterHeads) -> HyperConfig {
    HyperConfig {
        reduction_factor: 4,
        task_embed_dim: 8,
        projector_hidden: 8,
        adapters,
        lora: Some(LoraConfig { rank: 2, alpha: 3.0, ..LoraConfig::default() }),
        ..HyperConfig::default()
    }
}

fn exporter(folder: &Path, t5: &T5Config, adapters: AdapterHeads) -> Exporter {
    let run = random_run::write(folder, t5, &method(adapters).into(), &[TASK]);
    Exporter::open(run, Which::Last, None).unwrap()
}

fn narrow(exporter: &Exporter) -> T5Model {
    exporter.t5_model(exporter.run().task(TASK).unwrap()).unwrap()
}

/// The wide model by way of a folder in Hugging Face's layout, as the example makes it.
fn widened(narrow: &T5Model, shape: &T5Config, folder: &Path) -> T5Model {
    let widening = Widening::new(narrow, shape).unwrap();
    random_run::write_backbone(folder, widening.config(), &widening.tensors().unwrap());
    T5Model::new(T5Backbone::open(folder, false).unwrap(), Tensors::new(), widening.adapters())
}

/// Two sources of unlike length, `[batch, source_len]`, and their mask.
fn sources() -> (Array2<i64>, Array2<i64>) {
    let ids = array![[32099, 27, 114, 32098, 8, 32097, 1], [32099, 71, 32098, 1, 0, 0, 0]];
    let mask = ids.mapv(|id| i64::from(id != 0));
    (ids, mask)
}

/// Logits after some targets, and greedy ids.
fn outputs(model: &T5Model) -> (Array2<f64>, Array2<i64>) {
    let reference = Reference::new(model, Form::Folded);
    let (ids, mask) = sources();
    let encoded = reference.encode(&ids, &mask).unwrap();
    let targets = array![[0, 32099, 411, 32098, 27], [0, 32099, 3, 9, 32098]];
    let logits = reference.decode(&encoded, &mask, &targets).unwrap();
    (logits.into_rows(), reference.greedy(&encoded, &mask, TARGET_LEN).unwrap())
}

fn assert_same(narrow: &T5Model, wide: &T5Model, what: &str) {
    let ((narrow_logits, narrow_ids), (wide_logits, wide_ids)) = (outputs(narrow), outputs(wide));
    let difference = (&narrow_logits - &wide_logits).iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    let spread = narrow_logits.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    assert!(spread > 0.1, "{what}: logits up to {spread} show nothing");
    assert!(difference <= 1e-4, "{what}: logits differ by {difference}");
    assert_eq!(narrow_ids, wide_ids, "{what}");
}

#[test]
fn a_widened_model_gives_the_logits_and_greedy_ids_of_the_narrow_one() {
    for adapters in [AdapterHeads::All, AdapterHeads::None] {
        for gated in [false, true] {
            for tied in [true, false] {
                let feed_forward_proj = if gated { FeedForward::GatedGelu } else { FeedForward::Relu };
                let t5 = T5Config { feed_forward_proj, tie_word_embeddings: tied, ..narrow_t5() };
                let folder = tempfile::tempdir().unwrap();
                let narrow = narrow(&exporter(folder.path(), &t5, adapters));
                let wide = widened(&narrow, &wide_shape(), &folder.path().join("wide"));
                assert_eq!(wide.config().num_layers, 3);
                assert_same(&narrow, &wide, &format!("{adapters:?}, gated {gated}, tied {tied}"));
            }
        }
    }
}

#[test]
fn widening_to_the_same_shape_changes_no_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let narrow = narrow(&exporter(folder.path(), &narrow_t5(), AdapterHeads::All));
    let same = Widening::new(&narrow, &narrow_t5()).unwrap();
    for (name, tensor) in same.tensors().unwrap() {
        assert_eq!(tensor, narrow.folded_tensor(&name).unwrap(), "{name}");
    }
    let (adapters, wanted) = (same.adapters(), narrow.weights());
    assert_eq!(adapters.encoder[0].feed_forward_adapter, wanted.encoder[0].feed_forward_adapter);
    assert_eq!(adapters.decoder[1].self_attention_adapter, wanted.decoder[1].self_attention_adapter);
}

#[test]
fn the_file_of_a_widened_model_decodes_to_the_narrow_models_ids_in_every_backend() {
    for adapters in [AdapterHeads::All, AdapterHeads::None] {
        let folder = tempfile::tempdir().unwrap();
        let exporter = exporter(folder.path(), &narrow_t5(), adapters);
        let narrow = narrow(&exporter);
        let wide = widened(&narrow, &wide_shape(), &folder.path().join("wide"));
        let mut metadata = exporter.metadata(exporter.run().task(TASK).unwrap()).unwrap();
        metadata.max_target_len = TARGET_LEN;
        metadata.decoder_layers = wide_shape().num_decoder_layers.unwrap();
        let path = folder.path().join("mtop.onnx");
        write_t5(&wide, &metadata, &Storage::default(), &path).unwrap();

        let (ids, mask) = sources();
        let rows = |ids: &Array2<i64>| -> Vec<Vec<u32>> {
            let row = |row: ndarray::ArrayView1<'_, i64>| {
                let ids: Vec<u32> = row.iter().map(|id| u32::try_from(*id).unwrap()).collect();
                let end = ids.iter().position(|id| *id == 1).map_or(ids.len(), |end| end + 1);
                ids[..end].to_vec()
            };
            ids.outer_iter().map(row).collect()
        };
        let reference = Reference::new(&narrow, Form::UnFolded);
        let encoded = reference.encode(&ids, &mask).unwrap();
        let greedy = reference.greedy(&encoded, &mask, TARGET_LEN + 1).unwrap();
        // It begins with the start token, a decoder's result after it.
        let greedy = greedy.slice(s![.., 1..]).to_owned();
        for kind in [BackendKind::Ort, BackendKind::Tract] {
            let backend = BackendOptions { kind, ..BackendOptions::default() };
            let options = TaggerOptions { backend, ..TaggerOptions::default() };
            let tagger = Tagger::open(&path, &options).unwrap();
            assert_eq!(tagger.target_ids(&rows(&ids)).unwrap(), rows(&greedy), "{adapters:?} in {kind}");
        }
    }
}

#[test]
fn a_smaller_shape_and_a_part_of_a_copy_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let narrow = narrow(&exporter(folder.path(), &narrow_t5(), AdapterHeads::All));
    let smaller = T5Config { num_heads: 2, ..wide_shape() };
    let error = Widening::new(&narrow, &smaller).unwrap_err();
    assert!(matches!(error, WidenError::Smaller { field: "num_heads", narrow: 3, wide: 2 }), "{error}");
    let between = T5Config { d_model: 40, ..wide_shape() };
    let error = Widening::new(&narrow, &between).unwrap_err();
    assert!(matches!(error, WidenError::Copies { narrow: 16, wide: 40 }), "{error}");

    let other = tempfile::tempdir().unwrap();
    let plain = self::narrow(&self::exporter(other.path(), &narrow_t5(), AdapterHeads::None));
    let wide = widened(&plain, &between, &other.path().join("wide"));
    assert_same(&plain, &wide, "no adapters, no multiple");
}
