//! LoRA, Adapters, UniPELT and Hyperdecoder against peft, AdapterHub and the authors' code, on every case of
//! `golden/lora-t5`, `adapters-t5`, `unipelt-t5` and `hyperdecoder`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod golden_support;

use std::path::Path;

use golden_support::methods::{MethodCase, TASK};
use golden_support::{
    Tolerance, assert_close, assert_number, batch, floats, integers, rows, visible, with_start,
};
use hyperloader_core::backbone::Backbone;
use hyperloader_core::backbone::t5::T5Backbone;
use hyperloader_core::method::{MethodConfig, ModulesConfig, PairConfig, TaskShape, variant};
use hyperloader_core::weights::tensors::{TensorFile, Tensors};
use hyperloader_trainer::data::Batch;
use hyperloader_trainer::model::Start;
use hyperloader_trainer::model::t5::{Mode, T5Tagger, generated, pooled};
use hyperloader_trainer::parameters::Parameters;
use tch::{Device, Tensor};

const MODE: Mode = Mode::Evaluation;
/// Of hidden states, logits and summed losses, as each README says.
const STATES: Tolerance = Tolerance::OfMaximumOr(2e-4, 1.0);

/// A folder of golden vectors and the model that it describes.
struct Case {
    files: MethodCase,
    name: String,
    tagger: T5Tagger,
}

impl Case {
    /// Every case of every method.
    fn all() -> Vec<Self> {
        MethodCase::all().into_iter().map(Self::new).collect()
    }

    fn of(kind: &'static str) -> Vec<Self> {
        MethodCase::of(kind).into_iter().map(Self::new).collect()
    }

    fn new(files: MethodCase) -> Self {
        let tagger = tagger(&files.folder, &files.method, &files.trained);
        Self { name: files.name.clone(), tagger, files }
    }

    fn io(&self) -> TensorFile {
        self.files.open("io")
    }
}

fn tagger(folder: &Path, method: &MethodConfig, trained: &Tensors) -> T5Tagger {
    let backbone = T5Backbone::open(&folder.join("model"), false).unwrap();
    let tasks = [TASK.to_owned()];
    method.validate(&backbone.config, &TaskShape::named(&tasks)).unwrap();
    let parameters = Parameters::from_tensors(trained, Device::Cpu);
    T5Tagger::new(&backbone, method, &tasks, Start::Checkpoint(parameters), Device::Cpu).unwrap()
}

#[test]
fn encoder_output_logits_and_hidden_states_equal_the_references() {
    for case in Case::all() {
        let (file, t5, what) = (case.io(), &case.tagger.t5, &case.name);
        let batch = batch(&file, "");
        let weights = case.tagger.task_weights(TASK).unwrap();
        let (mut encoder, mut decoder) = (Vec::new(), Vec::new());
        let Batch { input_ids, attention_mask: mask, target_ids } = &batch;
        let encoded =
            t5.encode_observed(&weights, input_ids, mask, MODE, &mut |x| encoder.push(x.shallow_clone()));
        let ids = t5.shift_right(target_ids);
        assert_eq!(rows(&ids), rows(&integers(&file, "decoder_input_ids")), "{what}");
        let decoded = t5.decode_observed(&weights, &ids, (&encoded, mask), MODE, &mut |x| {
            decoder.push(x.shallow_clone());
        });
        let logits =
            assert_close(&format!("{what}: logits"), &t5.logits(&decoded), &floats(&file, "logits"), STATES);
        encoder.push(encoded.shallow_clone());
        decoder.push(decoded);
        let mut worst: f64 = 0.0;
        for (i, got) in encoder.iter().enumerate() {
            let wanted = visible(&floats(&file, &format!("enc_hidden.{i}")), mask);
            let got = visible(got, mask);
            worst = worst.max(assert_close(&format!("{what} encoder state {i}"), &got, &wanted, STATES));
        }
        for (i, got) in decoder.iter().enumerate() {
            let wanted = floats(&file, &format!("dec_hidden.{i}"));
            worst = worst.max(assert_close(&format!("{what} decoder state {i}"), got, &wanted, STATES));
        }
        let wanted = visible(&floats(&file, "encoder_last_hidden_state"), mask);
        assert_close(&format!("{what}: encoder output"), &visible(&encoded, mask), &wanted, STATES);
        println!("{what}: hidden states {worst:.1e}, logits {logits:.1e}");
        for (stack, seen) in [("enc", encoder.len()), ("dec", decoder.len())] {
            assert!(!file.shapes().contains_key(&format!("{stack}_hidden.{seen}")), "{what}");
        }
    }
}

#[test]
fn both_losses_equal_the_references() {
    for case in Case::all() {
        let (file, what) = (case.io(), &case.name);
        let batch = batch(&file, "");
        let loss = |smoothing| case.tagger.loss(&batch, TASK, smoothing, false).unwrap();
        let (plain, smoothed) = (loss(0.0), loss(0.1));
        let wanted = |name| floats(&file, name).double_value(&[]);
        assert_number(&format!("{what}: loss"), plain.sum / plain.tokens as f64, wanted("loss"), 1e-5);
        assert_number(&format!("{what}: smoothed loss"), smoothed.sum, wanted("loss_sum_ls"), 1e-5);
    }
}

#[test]
fn gradients_of_every_trained_tensor_equal_the_references() {
    for mut case in Case::all() {
        let batch = batch(&case.io(), "");
        let loss = case.tagger.loss(&batch, TASK, 0.1, false).unwrap();
        case.tagger.parameters.backward(&loss.surrogate);
        let file = case.files.open("grads");
        let wanted: Vec<(String, Tensor)> =
            file.shapes().keys().map(|name| (name.clone(), floats(&file, name))).collect();
        assert_eq!(wanted.len(), case.tagger.parameters.iter().count(), "{}", case.name);
        let largest = wanted.iter().map(|(_, t)| t.abs().max().double_value(&[])).fold(0.0, f64::max);
        let tolerance = Tolerance::OfMaximumOr(2e-3, 1e-3 * largest);
        let mut worst: f64 = 0.0;
        for (name, wanted) in &wanted {
            let ours = case.files.our_name(name);
            let got = case.tagger.parameters.gradient(&ours).unwrap_or_else(|| panic!("{ours}: none"));
            let what = format!("{}: gradient of {name}", case.name);
            worst = worst.max(assert_close(&what, &got, wanted, tolerance));
        }
        println!("{}: {} gradients up to {largest:.1e}, differ by {worst:.1e}", case.name, wanted.len());
    }
}

#[test]
fn greedy_ids_equal_the_references() {
    for case in Case::all() {
        let file = case.io();
        let wanted = rows(&integers(&file, "greedy_ids"));
        let Batch { input_ids, attention_mask, .. } = batch(&file, "");
        let got = case.tagger.greedy(TASK, &input_ids, &attention_mask, wanted[0].len() - 1).unwrap();
        assert_eq!(with_start(&got, case.tagger.t5.config.decoder_start_token_id), wanted, "{}", case.name);
    }
}

fn logits(tagger: &T5Tagger, batch: &Batch) -> Tensor {
    let (t5, weights) = (&tagger.t5, tagger.task_weights(TASK).unwrap());
    let Batch { input_ids, attention_mask, target_ids } = batch;
    let encoded = t5.encode(&weights, input_ids, attention_mask, MODE);
    t5.logits(&t5.decode(&weights, &t5.shift_right(target_ids), &encoded, attention_mask, MODE))
}

#[test]
fn lora_scales_by_alpha_and_merged_matrices_give_the_merged_logits() {
    for case in Case::of("lora-t5") {
        let (file, what) = (case.io(), &case.name);
        let batch = batch(&file, "");
        let MethodConfig::Modules(config) = case.tagger.method.clone() else { panic!("{what}") };
        let lora = PairConfig { alpha: 16.0, ..config.lora.clone().unwrap() };
        let doubled = ModulesConfig { lora: Some(lora), ..config }.into();
        let doubled = tagger(&case.files.folder, &doubled, &case.files.trained);
        let wanted = floats(&file, "logits_alpha16");
        assert_close(&format!("{what}: alpha 16"), &logits(&doubled, &batch), &wanted, STATES);

        // All of T5 with the matrices that peft merged.
        let merged = case.files.open("merged").read_all().unwrap();
        let backbone = T5Backbone::open(&case.files.folder.join("model"), false).unwrap();
        let whole = |merged: &Tensors| -> T5Tagger {
            let names = backbone.config.tensors().into_keys();
            let tensor = |name: String| {
                let tensor = merged.get(&name).cloned().unwrap_or_else(|| backbone.tensor(&name).unwrap());
                (name, tensor)
            };
            tagger(&case.files.folder, &variant("full").unwrap(), &names.map(tensor).collect())
        };
        let got = logits(&whole(&merged), &batch);
        assert_close(&format!("{what}: merged"), &got, &floats(&file, "logits_merged"), STATES);
        let got = logits(&whole(&Tensors::new()), &batch);
        assert_close(&format!("{what}: base"), &got, &floats(&file, "logits_base"), STATES);
    }
}

#[test]
fn what_the_hyperdecoder_generates_for_each_input_equals_the_references() {
    for case in Case::of("hyperdecoder") {
        let (file, what) = (case.io(), &case.name);
        let Batch { input_ids, attention_mask, .. } = batch(&file, "");
        let weights = case.tagger.task_weights(TASK).unwrap();
        let encoded = case.tagger.t5.encode(&weights, &input_ids, &attention_mask, MODE);
        let generator = weights.generator.as_ref().unwrap();
        let (mean, processed) = pooled(generator, &encoded, &attention_mask);
        assert_close(&format!("{what}: pooled"), &mean, &floats(&file, "pooled"), STATES);
        assert_close(&format!("{what}: pooled_mlp"), &processed, &floats(&file, "pooled_mlp"), STATES);
        let adapters = generated(generator, &encoded, &attention_mask);
        assert!(!file.shapes().contains_key(&format!("generated.{}.down_bias", adapters.len())), "{what}");
        for (block, adapter) in adapters.iter().enumerate() {
            for (part, got) in [
                ("down_weight", adapter.down_weight.transpose(1, 2)),
                ("down_bias", adapter.down_bias.shallow_clone()),
                ("up_weight", adapter.up_weight.transpose(1, 2)),
                ("up_bias", adapter.up_bias.shallow_clone()),
            ] {
                let name = format!("generated.{block}.{part}");
                assert_close(&format!("{what}: {name}"), &got, &floats(&file, &name), STATES);
            }
        }
    }
}

/// The authors decode with `</s>` forbidden as the first token; ours is free, so this follows their ids one by one.
#[test]
fn with_the_end_forbidden_at_first_the_likeliest_ids_are_the_hyperdecoders_authors() {
    for case in Case::of("hyperdecoder") {
        let (file, what, t5) = (case.io(), &case.name, &case.tagger.t5);
        let Batch { input_ids, attention_mask, .. } = batch(&file, "");
        let wanted = integers(&file, "greedy_ids_min_length2");
        let weights = case.tagger.task_weights(TASK).unwrap();
        let encoded = t5.encode(&weights, &input_ids, &attention_mask, MODE);
        let shown = wanted.narrow(1, 0, wanted.size()[1] - 1);
        let logits = t5.logits(&t5.decode(&weights, &shown, &encoded, &attention_mask, MODE));
        let end = t5.config.eos_token_id;
        let _ = logits.narrow(1, 0, 1).narrow(2, end, 1).fill_(f64::NEG_INFINITY);
        let chosen = rows(&logits.argmax(-1, false));
        for (chosen, wanted) in chosen.iter().zip(rows(&wanted)) {
            let length = wanted.iter().position(|id| *id == end).unwrap_or(wanted.len() - 1);
            assert_eq!(chosen[..length], wanted[1..=length], "{what}");
        }
    }
}
