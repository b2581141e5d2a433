//! The ndarray forward pass on every golden T5, HyperLoader and HyperFormer++ case.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::path::Path;

use common::{HyperCase, TOLERANCE, cases, ids, largest_difference, open};
use hyperloader_core::backbone::t5::{Stack, T5Backbone};
use hyperloader_core::weights::task::TaskWeights;
use hyperloader_core::weights::tensors::{TensorFile, Tensors};
use hyperloader_exporter::t5::{Form, Reference, T5Model};

/// Names of a case's inputs and outputs in its files.
struct Keys<'a> {
    inputs: &'a TensorFile,
    outputs: &'a TensorFile,
    encoder: String,
    logits: String,
    greedy: String,
}

/// The largest differences of encoder output and logits; greedy ids must be equal where the case has them.
fn check(reference: Reference<'_>, keys: &Keys<'_>) -> (f64, f64) {
    let mask = ids(keys.inputs, "attention_mask");
    let encoded = reference.encode(&ids(keys.inputs, "input_ids"), &mask).unwrap();
    let wanted = keys.outputs.floats(&keys.encoder).unwrap();
    let encoder = largest_difference(&encoded, wanted, Some(&mask));
    let logits = reference.decode(&encoded, &mask, &ids(keys.inputs, "decoder_input_ids")).unwrap();
    let logits = largest_difference(&logits, keys.outputs.floats(&keys.logits).unwrap(), None);
    if keys.outputs.shapes().contains_key(&keys.greedy) {
        let wanted = ids(keys.outputs, &keys.greedy);
        let got = reference.greedy(&encoded, &mask, wanted.ncols()).unwrap();
        assert_eq!(got, wanted, "{}", keys.greedy);
    }
    (encoder, logits)
}

fn within(name: &str, (encoder, logits): (f64, f64), noise: f64) {
    println!("{name}: encoder {encoder:.1e}, logits {logits:.1e}");
    assert!(encoder <= TOLERANCE, "{name}: encoder output differs by {encoder}");
    assert!(logits <= TOLERANCE.max(noise), "{name}: logits differ by {logits}");
}

/// How far the case's own logits lie from exact ones: they are float32, ours are float64.
fn stated_noise(case: &Path, batch: &str) -> Option<f64> {
    let text = std::fs::read_to_string(case.parent()?.join("meta.json")).ok()?;
    let meta: serde_json::Value = serde_json::from_str(&text).ok()?;
    let key = match batch {
        "long" => "fp32_vs_fp64_long",
        _ => "fp32_vs_fp64",
    };
    meta[case.file_name()?.to_str()?][key]["logits"].as_f64()
}

#[test]
fn plain_t5_equals_hugging_faces() {
    for case in cases("t5", "model/config.json") {
        let backbone = T5Backbone::open(&case.join("model"), false).unwrap();
        let [encoder, decoder] = Stack::BOTH.map(|stack| backbone.config.layers(stack));
        let model = T5Model::new(backbone, Tensors::new(), TaskWeights::none(encoder, decoder));
        for batch in ["io", "long"] {
            if !case.join(format!("{batch}.safetensors")).is_file() {
                continue;
            }
            let file = open(&case, batch);
            let keys = Keys {
                inputs: &file,
                outputs: &file,
                encoder: "encoder_last_hidden_state".into(),
                logits: "logits".into(),
                greedy: "greedy_ids".into(),
            };
            let difference = check(Reference::new(&model, Form::UnFolded), &keys);
            let noise = stated_noise(&case, batch).unwrap_or(0.0);
            within(&format!("{}/{batch}", case.display()), difference, noise);
        }
    }
}

#[test]
fn every_task_equals_the_reference_implementation_un_folded_and_folded() {
    for case in HyperCase::all() {
        let (inputs, outputs) = (case.open("inputs"), case.open("outputs"));
        for task in &case.tasks {
            let model = case.model(task);
            let keys = Keys {
                inputs: &inputs,
                outputs: &outputs,
                encoder: format!("{task}/encoder_output"),
                logits: format!("{task}/logits"),
                greedy: format!("{task}/generated_ids"),
            };
            for form in [Form::UnFolded, Form::Folded] {
                let difference = check(Reference::new(&model, form), &keys);
                let name = format!("{}/{task} {form:?}", case.folder.display());
                within(&name, difference, 0.0);
            }
        }
    }
}
