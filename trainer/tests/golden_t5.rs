//! T5 against Hugging Face's, on every case of `golden/t5`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod golden_support;

use std::collections::BTreeMap;
use std::path::Path;

use golden_support::methods::json;
use golden_support::{
    Tolerance, assert_close, assert_number, batch, cases, floats, integers, rows, visible, with_start,
};
use hyperloader_core::backbone::Backbone;
use hyperloader_core::backbone::t5::{Stack, T5Backbone};
use hyperloader_core::weights::task::TaskWeights;
use hyperloader_core::weights::tensors::TensorFile;
use hyperloader_trainer::data::Batch;
use hyperloader_trainer::model::t5::{Mode, T5};
use hyperloader_trainer::parameters::to_device;
use tch::{Device, Tensor};

const MODE: Mode = Mode::Evaluation;
/// Of encoder output and logits.
const STATES: Tolerance = Tolerance::Absolute(2e-5);
/// Of hidden states, which reach far larger values.
const HIDDEN: Tolerance = Tolerance::OfMaximumOr(1e-5, 1.0);

/// A case's model with every tensor of the backbone trainable.
struct Case {
    t5: T5,
    weights: TaskWeights<Tensor>,
    leaves: BTreeMap<String, Tensor>,
    name: String,
}

impl Case {
    fn open(folder: &Path) -> Self {
        let backbone = T5Backbone::open(&folder.join("model"), false).unwrap();
        let mut leaves = BTreeMap::new();
        let t5 = T5::new(&backbone.config, |name| {
            let tensor = to_device(&backbone.tensor(name)?, Device::Cpu).set_requires_grad(true);
            leaves.insert(name.to_owned(), tensor.shallow_clone());
            Ok::<_, hyperloader_core::backbone::BackboneError>(tensor)
        })
        .unwrap();
        let [encoder, decoder] = Stack::BOTH.map(|stack| backbone.config.layers(stack));
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        Self { t5, weights: TaskWeights::none(encoder, decoder), leaves, name }
    }

    fn encode(&self, Batch { input_ids, attention_mask, .. }: &Batch) -> (Tensor, Vec<Tensor>) {
        let mut seen = Vec::new();
        let output = self.t5.encode_observed(&self.weights, input_ids, attention_mask, MODE, &mut |x| {
            seen.push(x.shallow_clone());
        });
        (output, seen)
    }

    fn decode(&self, batch: &Batch, encoded: &Tensor) -> (Tensor, Vec<Tensor>) {
        let mut seen = Vec::new();
        let ids = self.t5.shift_right(&batch.target_ids);
        let source = (encoded, &batch.attention_mask);
        let output = self.t5.decode_observed(&self.weights, &ids, source, MODE, &mut |x| {
            seen.push(x.shallow_clone());
        });
        (output, seen)
    }
}

fn open(folder: &Path, name: &str) -> TensorFile {
    TensorFile::open(&folder.join(name)).unwrap()
}

/// Every batch of every case: `io` and, where it is there, `long`.
fn for_each_batch(check: impl Fn(&Case, &Path, &TensorFile, &str)) {
    for folder in cases("t5", "model/config.json") {
        let case = Case::open(&folder);
        for name in ["io.safetensors", "long.safetensors"] {
            if folder.join(name).is_file() {
                check(&case, &folder, &open(&folder, name), &format!("{} {name}", case.name));
            }
        }
    }
}

/// How far the file's own logits are from exact ones, where that is known and more than the tolerance: for one of the
/// 200-token batches float32 does not determine them better.
fn logits_tolerance(folder: &Path, what: &str) -> Tolerance {
    let key = if what.contains("long") { "fp32_vs_fp64_long" } else { "fp32_vs_fp64" };
    let meta = folder.parent().unwrap().join("meta.json");
    let noise = match meta.is_file() {
        true => json(&meta)[folder.file_name().unwrap().to_str().unwrap()][key]["logits"].as_f64(),
        false => None,
    };
    Tolerance::Absolute(2e-5_f64.max(2.0 * noise.unwrap_or(0.0)))
}

#[test]
fn decoder_inputs_are_the_labels_shifted_right() {
    for_each_batch(|case, _, file, what| {
        let shifted = case.t5.shift_right(&integers(file, "labels"));
        assert_eq!(rows(&shifted), rows(&integers(file, "decoder_input_ids")), "{what}");
    });
}

#[test]
fn encoder_output_and_logits_equal_hugging_faces() {
    for_each_batch(|case, folder, file, what| {
        let batch = batch(file, "");
        let (encoded, _) = case.encode(&batch);
        let logits = case.t5.logits(&case.decode(&batch, &encoded).0);
        let wanted = visible(&floats(file, "encoder_last_hidden_state"), &batch.attention_mask);
        let encoded = visible(&encoded, &batch.attention_mask);
        let encoder = assert_close(&format!("{what}: encoder output"), &encoded, &wanted, STATES);
        let tolerance = logits_tolerance(folder, what);
        let logits = assert_close(&format!("{what}: logits"), &logits, &floats(file, "logits"), tolerance);
        println!("{what}: encoder output {encoder:.1e}, logits {logits:.1e}");
    });
}

#[test]
fn hidden_states_of_every_block_equal_hugging_faces() {
    let mut compared = 0;
    for folder in cases("t5", "model/config.json") {
        let (case, file) = (Case::open(&folder), open(&folder, "io.safetensors"));
        let batch = batch(&file, "");
        let (encoded, mut encoder) = case.encode(&batch);
        let (decoded, mut decoder) = case.decode(&batch, &encoded);
        encoder.push(encoded);
        decoder.push(decoded);
        for (i, got) in encoder.iter().enumerate() {
            let wanted = visible(&floats(&file, &format!("enc_hidden.{i}")), &batch.attention_mask);
            let got = visible(got, &batch.attention_mask);
            assert_close(&format!("{} encoder state {i}", case.name), &got, &wanted, HIDDEN);
        }
        for (i, got) in decoder.iter().enumerate() {
            let wanted = floats(&file, &format!("dec_hidden.{i}"));
            assert_close(&format!("{} decoder state {i}", case.name), got, &wanted, HIDDEN);
        }
        compared += encoder.len() + decoder.len();
        assert!(!file.shapes().contains_key(&format!("dec_hidden.{}", decoder.len())));
    }
    assert!(compared > 0);
}

#[test]
fn both_losses_equal_hugging_faces() {
    for_each_batch(|case, _, file, what| {
        let batch = batch(file, "");
        let smoothed = case.t5.loss(&case.weights, &batch, 0.1, MODE);
        let plain = case.t5.loss(&case.weights, &batch, 0.0, MODE);
        let number = |name| floats(file, name).double_value(&[]);
        assert_number(&format!("{what}: loss"), plain.sum / plain.tokens as f64, number("loss"), 2e-6);
        if file.shapes().contains_key("loss_sum_ls") {
            assert_number(&format!("{what}: smoothed loss"), smoothed.sum, number("loss_sum_ls"), 2e-6);
        } else {
            assert!(what.contains("long"), "{what}: no smoothed loss to compare with");
        }
    });
}

#[test]
fn gradients_of_every_tensor_equal_hugging_faces() {
    for folder in cases("t5", "grads.safetensors") {
        let case = Case::open(&folder);
        let batch = batch(&open(&folder, "io.safetensors"), "");
        let loss = case.t5.loss(&case.weights, &batch, 0.1, MODE);
        let leaves: Vec<&Tensor> = case.leaves.values().collect();
        let got = Tensor::run_backward(&[loss.surrogate], &leaves, false, false);
        let file = open(&folder, "grads.safetensors");
        assert!(case.leaves.keys().eq(file.shapes().keys()), "{}: names differ", case.name);
        let wanted: Vec<Tensor> = case.leaves.keys().map(|name| floats(&file, name)).collect();
        let largest = wanted.iter().map(|t| t.abs().max().double_value(&[])).fold(0.0, f64::max);
        let tolerance = Tolerance::OfMaximumOr(1e-4, 1e-3 * largest);
        for ((name, got), want) in case.leaves.keys().zip(&got).zip(&wanted) {
            assert_close(&format!("{}: gradient of {name}", case.name), got, want, tolerance);
        }
    }
}

#[test]
fn greedy_ids_equal_hugging_faces() {
    let mut compared = 0;
    for folder in cases("t5", "model/config.json") {
        let case = Case::open(&folder);
        for name in ["io.safetensors", "long.safetensors"] {
            let Ok(file) = TensorFile::open(&folder.join(name)) else { continue };
            if !file.shapes().contains_key("greedy_ids") {
                continue;
            }
            let wanted = rows(&integers(&file, "greedy_ids"));
            let batch = batch(&file, "");
            let max = wanted[0].len() - 1;
            let got = case.t5.greedy(&case.weights, &batch.input_ids, &batch.attention_mask, max);
            assert_eq!(with_start(&got, case.t5.config.decoder_start_token_id), wanted, "{}", case.name);
            compared += wanted.len();
        }
    }
    assert!(compared > 0);
}
