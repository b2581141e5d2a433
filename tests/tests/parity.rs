//! The committed nano run computes the same everywhere: trainer un-folded, folded, ONNX Runtime, tract.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::path::PathBuf;

use hyperloader_core::backbone::Backbone;
use hyperloader_core::run::{Run, Which};
use hyperloader_core::sentt::SentT;
use hyperloader_exporter::materialise::task_weights;
use hyperloader_exporter::model::TaskModel;
use hyperloader_exporter::reference::{Form, Reference};
use hyperloader_runtime::{Backend, BackendKind, BackendOptions, TaggerOptions, Value};
use hyperloader_tests::{Workplace, fixture, root};
use hyperloader_trainer::config::Config;
use hyperloader_trainer::data::{Batch, Example, load_task};
use hyperloader_trainer::model::{Mode, Tagger};
use hyperloader_trainer::parameters::{Parameters, to_host};
use ndarray::{Array2, Array3, Ix2, Ix3};
use tch::Device;

const TOLERANCE: f32 = 1e-4;
const BACKENDS: [BackendKind; 2] = [BackendKind::Ort, BackendKind::Tract];

/// The committed run as each program sees it, and the held-out sentences of its tasks.
struct Subject {
    run: Run,
    trainer: Tagger,
    tasks: Vec<(String, Vec<Example>)>,
}

fn subject() -> Subject {
    tch::set_num_threads(1);
    let run = Run::open(&fixture("runs/nano")).unwrap();
    let backbone: Backbone = run.backbone(None).unwrap();
    let tensors = run.read(run.checkpoint(Which::Best).unwrap()).unwrap();
    let names: Vec<String> = run.manifest.tasks.iter().map(|t| t.name.clone()).collect();
    let parameters = Parameters::from_tensors(&tensors, Device::Cpu);
    let trainer =
        Tagger::with_parameters(&backbone, &run.manifest.method, &names, parameters, Device::Cpu).unwrap();
    let codec = SentT::from_file(backbone.tokenizer()).unwrap();
    let config = Config::from_file(&root().join("hyperloader.toml")).unwrap();
    let tasks = names
        .into_iter()
        .map(|name| {
            let data = load_task(&name, &config.tasks[&name], &codec, &config).unwrap();
            (name, data.test)
        })
        .collect();
    Subject { run, trainer, tasks }
}

fn export(place: &Workplace, task: &str) -> PathBuf {
    let mut command = place.program("hl-export");
    command.args(["--task", task, "--run"]).arg(fixture("runs/nano"));
    command.assert().success();
    place.path(&format!("{task}.onnx"))
}

/// One thread each: the two tests run side by side, and threads that wait by spinning would starve each other.
fn options(kind: BackendKind) -> BackendOptions {
    BackendOptions { kind, threads: Some(1), ..BackendOptions::default() }
}

/// Largest absolute difference at real target positions.
fn largest(a: &Array3<f32>, b: &Array3<f32>, real: &Array2<bool>) -> f32 {
    let rows = a.rows().into_iter().zip(b.rows()).zip(real).filter(|(_, real)| **real);
    rows.flat_map(|((a, b), _)| a.iter().zip(b).map(|(a, b)| (a - b).abs()).collect::<Vec<_>>())
        .fold(0.0, f32::max)
}

#[test]
fn logits_of_trainer_and_both_runtimes_are_those_of_the_folded_model() {
    let Subject { run, trainer, tasks } = subject();
    let place = Workplace::new();
    let tensors = run.read(run.checkpoint(Which::Best).unwrap()).unwrap();
    for (task, examples) in &tasks {
        let chosen: Vec<&Example> = examples.iter().step_by(examples.len() / 8).collect();
        let batch = Batch::new(&chosen, trainer.t5.config.pad_token_id, Device::Cpu);
        let decoder_input_ids = trainer.t5.shift_right(&batch.labels);
        let unfolded = tch::no_grad(|| {
            let (t5, weights) = (&trainer.t5, trainer.task_weights(task).unwrap());
            let Batch { input_ids, attention_mask, .. } = &batch;
            let encoded = t5.encode(&weights, input_ids, attention_mask, Mode::Evaluation);
            t5.logits(&t5.decode(&weights, &decoder_input_ids, &encoded, attention_mask, Mode::Evaluation))
        });
        let unfolded = to_host(&unfolded).into_dimensionality::<Ix3>().unwrap();
        let ids = |tensor: &tch::Tensor| -> Array2<i64> {
            to_host(tensor).into_dimensionality::<Ix2>().unwrap().mapv(|x| x as i64)
        };
        let inputs = [ids(&batch.input_ids), ids(&batch.attention_mask), ids(&decoder_input_ids)];
        let real = ids(&batch.labels).mapv(|id| id != trainer.t5.config.pad_token_id);

        let generated =
            task_weights(&run.manifest.method, run.manifest.t5().unwrap(), &tensors, task).unwrap();
        let model = TaskModel::new(run.backbone(None).unwrap(), tensors.clone(), generated);
        let reference = Reference::new(&model, Form::Folded);
        let encoded = reference.encode(&inputs[0], &inputs[1]).unwrap();
        let folded = reference.decode(&encoded, &inputs[1], &inputs[2]).unwrap().into_rows();
        let folded = folded.mapv(|x| x as f32).into_shape_with_order(unfolded.dim()).unwrap();

        let path = export(&place, task);
        let run_in = |kind| {
            let mut graph = Backend::load(&options(kind)).unwrap().open_file(&path).unwrap();
            let values = inputs.clone().map(|array| {
                let shape = array.shape().to_vec();
                Value::from_i64s(&shape, array.into_iter().collect()).unwrap()
            });
            let names = ["input_ids", "attention_mask", "decoder_input_ids"];
            let named: Vec<(&str, &Value)> = names.into_iter().zip(&values).collect();
            let outputs = graph.run(&named).unwrap();
            Array3::from_shape_vec(unfolded.dim(), outputs[0].f32s().unwrap().to_vec()).unwrap()
        };
        let [ort, tract] = BACKENDS.map(run_in);
        println!("{task}: ONNX Runtime vs tract: {:.1e}", largest(&ort, &tract, &real));
        // The fold is computed in double precision: each float32 implementation is held to it.
        for (name, logits) in [("trainer un-folded", &unfolded), ("ONNX Runtime", &ort), ("tract", &tract)] {
            let difference = largest(logits, &folded, &real);
            println!("{task}: {name} vs folded: {difference:.1e}");
            assert!(difference <= TOLERANCE, "{task}: {name} vs folded: {difference}");
        }
    }
}

#[test]
fn greedy_ids_of_trainer_and_both_runtimes_are_equal_on_all_held_out_sentences() {
    let Subject { run, trainer, tasks } = subject();
    let place = Workplace::new();
    for (task, examples) in &tasks {
        let mut examples: Vec<&Example> = examples.iter().collect();
        examples.sort_by_key(|e| e.source.len());
        let end = trainer.t5.config.eos_token_id;
        let mut expected: Vec<Vec<u32>> = Vec::new();
        for chunk in examples.chunks(32) {
            let batch = Batch::new(chunk, trainer.t5.config.pad_token_id, Device::Cpu);
            let Batch { input_ids, attention_mask, .. } = &batch;
            let max_len = run.manifest.max_target_len;
            for row in trainer.greedy(task, input_ids, attention_mask, max_len).unwrap() {
                let length = row.iter().position(|id| *id == end).map_or(row.len(), |at| at + 1);
                expected.push(row[..length].iter().map(|id| *id as u32).collect());
            }
        }
        let sources: Vec<Vec<u32>> =
            examples.iter().map(|e| e.source.iter().map(|id| *id as u32).collect()).collect();
        let path = export(&place, task);
        for kind in BACKENDS {
            let settings = TaggerOptions { backend: options(kind), ..TaggerOptions::default() };
            let mut tagger = hyperloader_runtime::Tagger::open(&path, &settings).unwrap();
            let ids = tagger.target_ids(&sources).unwrap();
            let unequal = ids.iter().zip(&expected).filter(|(a, b)| a != b).count();
            assert_eq!(unequal, 0, "{task} in {kind}: sentences that differ, of {}", ids.len());
        }
    }
}
