//! LoRA, Adapters, UniPELT and Hyperdecoder: materialised, folded, and as files in every backend, on every golden case.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;
#[path = "../../trainer/tests/golden_support/methods.rs"]
mod methods;

use std::path::Path;

use common::{ids, random_run};
use hyperloader_core::backbone::t5::T5Backbone;
use hyperloader_core::backbone::{Backbone, BackboneConfig};
use hyperloader_core::run::{Run, Which};
use hyperloader_core::weights::tensors::Tensors;
use hyperloader_exporter::materialise::task_weights;
use hyperloader_exporter::t5::reference::generate::generate;
use hyperloader_exporter::t5::{Form, Reference, T5Model};
use hyperloader_exporter::{Exporter, Options};
use hyperloader_runtime::{Backend, BackendKind, BackendOptions, Tagger, TaggerOptions, Value};
use methods::{MethodCase, TASK};
use ndarray::{Array, ArrayD, Dimension};

/// Of states, logits and generated weights, as a share of the largest element, which counts as 1 at least.
const TOLERANCE: f64 = 2e-4;

fn backbone(case: &MethodCase) -> T5Backbone {
    T5Backbone::open(&case.folder.join("model"), false).unwrap()
}

fn model(case: &MethodCase) -> T5Model {
    let backbone = backbone(case);
    let weights = task_weights(&case.method, &backbone.config.shape(), &case.trained, TASK).unwrap();
    T5Model::new(backbone, Tensors::new(), weights)
}

/// Panics where two tensors, one of them flat, are too far apart; returns their largest difference.
fn close<D: Dimension>(what: &str, got: &Array<f64, D>, wanted: &ArrayD<f32>) -> f64 {
    assert_eq!(got.len(), wanted.len(), "{what}");
    let largest = wanted.iter().fold(1.0_f64, |m, x| m.max(f64::from(x.abs())));
    let difference = got.iter().zip(wanted).map(|(a, b)| (a - f64::from(*b)).abs());
    let worst = difference.fold(0.0, |m: f64, d| if d.is_nan() { f64::INFINITY } else { m.max(d) });
    assert!(worst <= TOLERANCE * largest, "{what}: differs by {worst:e}, largest element {largest}");
    worst
}

#[test]
fn the_materialised_model_gives_the_references_logits_and_ids_un_folded_and_folded() {
    for case in MethodCase::all() {
        let (model, file) = (model(&case), case.open("io"));
        let mask = ids(&file, "attention_mask");
        for form in [Form::UnFolded, Form::Folded] {
            let reference = Reference::new(&model, form);
            let encoded = reference.encode(&ids(&file, "input_ids"), &mask).unwrap();
            let logits = reference.decode(&encoded, &mask, &ids(&file, "decoder_input_ids")).unwrap();
            let what = format!("{} {form:?}", case.name);
            let difference = close(&what, &logits.into_rows(), &file.floats("logits").unwrap());
            println!("{what}: logits {difference:.1e}");
            let wanted = ids(&file, "greedy_ids");
            assert_eq!(reference.greedy(&encoded, &mask, wanted.ncols()).unwrap(), wanted, "{what}");
        }
    }
}

#[test]
fn folded_matrices_are_those_that_peft_merged() {
    for case in MethodCase::of("lora-t5") {
        let (model, merged) = (model(&case), case.open("merged"));
        assert_eq!(model.loras().count(), merged.shapes().len());
        for name in merged.shapes().keys() {
            let folded = model.folded_tensor(name).unwrap().mapv(f64::from);
            close(name, &folded, &merged.floats(name).unwrap());
        }
    }
}

#[test]
fn generated_adapters_are_those_of_the_reference_implementation() {
    for case in MethodCase::of("hyperdecoder") {
        let (model, file) = (model(&case), case.open("io"));
        let mask = ids(&file, "attention_mask");
        let encoded = Reference::new(&model, Form::UnFolded).encode(&ids(&file, "input_ids"), &mask).unwrap();
        let generated = generate(model.weights().generator.as_ref().unwrap(), &encoded, &mask).unwrap();
        let wanted = |name: &str| file.floats(name).unwrap();
        close("pooled", &generated.pooled, &wanted("pooled"));
        close("pooled_mlp", &generated.processed, &wanted("pooled_mlp"));
        for (block, adapters) in generated.adapters.iter().enumerate() {
            for (sentence, adapter) in adapters.iter().enumerate() {
                let of = |part: &str| {
                    let all = wanted(&format!("generated.{block}.{part}"));
                    all.index_axis(ndarray::Axis(0), sentence).to_owned()
                };
                close("down_weight", &adapter.down, &of("down_weight"));
                close("down_bias", &adapter.down_bias, &of("down_bias"));
                close("up_weight", &adapter.up, &of("up_weight"));
                close("up_bias", &adapter.up_bias, &of("up_bias"));
            }
        }
        assert!(!file.shapes().contains_key(&format!("generated.{}.up_bias", generated.adapters.len())));
    }
}

/// A run of the case's one task, on the case's model.
fn run(case: &MethodCase, folder: &Path) -> Run {
    let backbone = backbone(case);
    let names = backbone.config.tensors().into_keys();
    let tensors = names.map(|name| (name.clone(), backbone.tensor(&name).unwrap())).collect();
    random_run::write_backbone(&folder.join("backbone"), &backbone.config, &tensors);
    random_run::write_run(folder, &backbone.config, &case.method, &[TASK], &case.trained)
}

#[test]
fn exported_files_give_the_references_logits_and_cut_in_two_its_ids_in_every_backend() {
    for case in MethodCase::all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("task.onnx");
        let file = case.open("io");
        let greedy = ids(&file, "greedy_ids");
        let mut run = run(&case, folder.path());
        run.manifest.max_target_len = greedy.ncols() - 1;
        let exporter = Exporter::open(run, Which::Best, None).unwrap();
        let unverified = Options { verification: None, ..Options::default() };
        exporter.export(TASK, &path, &unverified, &|_| {}).unwrap();
        let value = |name: &str| {
            let ids = ids(&file, name);
            Value::from_i64s(ids.shape(), ids.iter().copied().collect()).unwrap()
        };
        for kind in [BackendKind::Ort, BackendKind::Tract] {
            let options = BackendOptions { kind, threads: Some(1), ..BackendOptions::default() };
            let names = ["input_ids", "attention_mask", "decoder_input_ids"];
            let inputs = names.map(|name| (name, value(name)));
            let inputs: Vec<(&str, &Value)> = inputs.iter().map(|(name, value)| (*name, value)).collect();
            let mut graph = Backend::load(&options).unwrap().open_file(&path).unwrap();
            let logits = graph.run(&inputs).unwrap().remove(0);
            let logits: Vec<f64> = logits.f32s().unwrap().iter().map(|x| f64::from(*x)).collect();
            let what = format!("{} in {kind}", case.name);
            let difference = close(&what, &Array::from_vec(logits), &file.floats("logits").unwrap());
            println!("{what}: logits {difference:.1e}");

            let settings = TaggerOptions { backend: options, ..TaggerOptions::default() };
            let tagger = Tagger::open(&path, &settings).unwrap();
            let (source, mask) = (ids(&file, "input_ids"), ids(&file, "attention_mask"));
            let sources: Vec<Vec<u32>> = source
                .outer_iter()
                .zip(mask.outer_iter())
                .map(|(ids, mask)| {
                    ids.iter().zip(mask).filter(|(_, mask)| **mask == 1).map(|(id, _)| *id as u32).collect()
                })
                .collect();
            let found = tagger.target_ids(&sources).unwrap();
            for (found, wanted) in found.iter().zip(greedy.outer_iter()) {
                // Without the start token at the beginning and the padding after `</s>`.
                let wanted: Vec<u32> = wanted.iter().skip(1).map(|id| *id as u32).collect();
                let end = wanted.iter().position(|id| *id == 1).map_or(wanted.len(), |at| at + 1);
                assert_eq!(found, &wanted[..end], "{what}");
            }
        }
    }
}
