//! One suite, methods x backends: what a run computes is the same everywhere, in the trainer un-folded, folded, in ONNX
//! Runtime and in tract. On the committed nano run, and on a fresh run of every method.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // A test that cannot go on should fail.

use std::path::{Path, PathBuf};

use hyperloader_core::backbone::t5::T5Backbone;
use hyperloader_core::backbone::{Backbone, BackboneKind};
use hyperloader_core::method::Method;
use hyperloader_core::run::{Run, Which};
use hyperloader_core::text::sentt::SentT;
use hyperloader_core::text::spans::sbio_to_bio;
use hyperloader_core::text::target::{Alignment, TargetGrammar};
use hyperloader_exporter::Tolerance;
use hyperloader_exporter::materialise::task_weights;
use hyperloader_exporter::t5::{Form, Reference, T5Model};
use hyperloader_runtime::{Backend, BackendKind, BackendOptions, TaggerOptions, Value};
use hyperloader_tests::{Workplace, fixture, parity_of_methods, root, tiny_config};
use hyperloader_trainer::config::Config;
use hyperloader_trainer::data::{Batch, Example, TaskSource};
use hyperloader_trainer::model::Start;
use hyperloader_trainer::model::t5::{Mode, T5Tagger};
use hyperloader_trainer::parameters::{Parameters, to_host};
use ndarray::{Array2, Array3, ArrayView1, Ix2, Ix3};
use tch::Device;

const BACKENDS: [BackendKind; 2] = [BackendKind::Ort, BackendKind::Tract];

/// A run as each program sees it, and the held-out sentences of its tasks.
struct Subject {
    run: Run,
    trainer: T5Tagger,
    codec: SentT,
    tasks: Vec<(String, Vec<Example>)>,
    /// Where its tasks are exported to.
    place: Workplace,
}

impl Subject {
    fn new(run: &Path, config: &Config, place: Workplace) -> Self {
        tch::set_num_threads(1);
        let run = Run::open(run).unwrap();
        let backbone = run.backbone(None).unwrap().downcast::<T5Backbone>().unwrap();
        let tensors = run.read(run.checkpoint(Which::Best).unwrap()).unwrap();
        let names: Vec<String> = run.manifest.tasks.iter().map(|t| t.name.clone()).collect();
        let parameters = Parameters::from_tensors(&tensors, Device::Cpu);
        let method = &run.manifest.method;
        let trainer =
            T5Tagger::new(&backbone, method, &names, Start::Checkpoint(parameters), Device::Cpu).unwrap();
        let codec = SentT::from_file(backbone.tokenizer()).unwrap();
        let tasks = names
            .into_iter()
            .map(|name| {
                let source = TaskSource { task: &name, spec: &config.tasks[&name], codec: &codec, config };
                let data = source.load_all().unwrap();
                (name, data.test)
            })
            .collect();
        Self { run, trainer, codec, tasks, place }
    }

    /// The committed run.
    fn nano() -> Self {
        let config = Config::from_file(&root().join("hyperloader.toml")).unwrap();
        Self::new(&fixture("runs/nano"), &config, Workplace::new())
    }

    /// A run of `method` on two tasks, made by the programs.
    fn trained(method: Method) -> Self {
        let place = Workplace::new();
        place.write("hyperloader.toml", tiny_config());
        let mut train = place.program("hl-train");
        train.args(["--method", method.name(), "--name", "run", "--steps", "60", "--batch-size", "8"]);
        train.args(["--quiet", "--threads", "1"]).assert().success();
        let run = place.path("runs/run");
        assert_losses_fall(&run);
        let config = Config::from_file(&run.join("config.toml")).unwrap();
        Self::new(&run, &config, place)
    }

    /// Exports a task; the program verifies the file before it takes its name.
    fn export(&self, task: &str) -> PathBuf {
        let mut command = self.place.program("hl-export");
        command.args(["--task", task, "--quiet", "--run"]).arg(&self.run.folder);
        command.assert().success();
        self.place.path(&format!("{task}.onnx"))
    }

    /// Ids of `examples` from the trainer, up to and with `</s>`.
    fn greedy(&self, task: &str, examples: &[&Example]) -> Vec<Vec<u32>> {
        let config = &self.trainer.t5.config;
        let mut all = Vec::new();
        for chunk in examples.chunks(32) {
            let Batch { input_ids, attention_mask, .. } = Batch::new(chunk, config.pad_token_id, Device::Cpu);
            let max_len = self.run.manifest.max_target_len;
            for row in self.trainer.greedy(task, &input_ids, &attention_mask, max_len).unwrap() {
                let end = row.iter().position(|id| i64::from(*id) == config.eos_token_id);
                let length = end.map_or(row.len(), |at| at + 1);
                all.push(row[..length].to_vec());
            }
        }
        all
    }

    /// The same ids as the evaluation of a training decodes them.
    fn evaluated(&self, task: &str, examples: &[&Example], grammar: &TargetGrammar) -> Vec<Vec<u32>> {
        let weights = tch::no_grad(|| self.trainer.task_weights(task)).unwrap();
        let ids = |chunk: &[&Example]| {
            let batch = Batch::new(chunk, self.trainer.t5.config.pad_token_id, Device::Cpu);
            let max_len = self.run.manifest.max_target_len;
            self.trainer.t5.loss_and_ids(&weights, (&batch, chunk), grammar, 0.0, max_len).1
        };
        examples.chunks(32).flat_map(ids).collect()
    }
}

/// The validation loss of each task is lower at the end than where it was first measured.
fn assert_losses_fall(run: &Path) {
    let log = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let validations: Vec<_> = lines.filter(|line| line["kind"] == "validation").collect();
    let loss = |line: &serde_json::Value| line["evaluation"]["loss"].as_f64().unwrap();
    for last in &validations[validations.len() - 2..] {
        let first = validations.iter().find(|line| line["task"] == last["task"]).unwrap();
        println!("{}: {} to {}", last["task"], loss(first), loss(last));
        assert!(loss(last) < loss(first), "{}: {} to {}", last["task"], loss(first), loss(last));
    }
}

/// One thread each: tests run side by side, and threads that wait by spinning would starve each other.
fn options(kind: BackendKind) -> BackendOptions {
    BackendOptions { kind, threads: Some(1), ..BackendOptions::default() }
}

/// Largest absolute difference of two rows; infinite if a logit is not finite.
fn row_difference(a: ArrayView1<f32>, b: ArrayView1<f32>) -> f64 {
    let difference = |(a, b): (&f32, &f32)| f64::from((a - b).abs());
    a.iter()
        .zip(b)
        .map(difference)
        .fold(0.0, |most, next| if next.is_nan() { f64::INFINITY } else { most.max(next) })
}

/// Largest absolute difference at real target positions.
fn largest(a: &Array3<f32>, b: &Array3<f32>, real: &Array2<bool>) -> f64 {
    let rows = a.rows().into_iter().zip(b.rows()).zip(real).filter(|(_, real)| **real);
    rows.map(|((a, b), _)| row_difference(a, b)).fold(0.0, f64::max)
}

/// Largest difference at real target positions as a share of the tolerance of its row, the tolerance of `hl-export`:
/// rounding errors of float32 grow with the logits.
fn largest_share(logits: &Array3<f32>, expected: &Array3<f32>, real: &Array2<bool>) -> f64 {
    let Tolerance { atol, rtol } = Tolerance::default();
    let rows = logits.rows().into_iter().zip(expected.rows()).zip(real).filter(|(_, real)| **real);
    let limit = |row: ArrayView1<f32>| {
        atol + rtol * f64::from(row.iter().fold(0.0, |most: f32, x| most.max(x.abs())))
    };
    rows.map(|((a, b), _)| row_difference(a, b) / limit(b)).fold(0.0, f64::max)
}

fn assert_equal_logits(subject: &Subject, task: &str, examples: &[&Example], path: &Path) {
    let Subject { run, trainer, .. } = subject;
    let batch = Batch::new(examples, trainer.t5.config.pad_token_id, Device::Cpu);
    let decoder_input_ids = trainer.t5.shift_right(&batch.target_ids);
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
    let real = ids(&batch.target_ids).mapv(|id| id != trainer.t5.config.pad_token_id);

    let tensors = run.read(run.checkpoint(Which::Best).unwrap()).unwrap();
    let generated =
        task_weights(&run.manifest.method, &run.manifest.backbone_config().shape(), &tensors, task).unwrap();
    let backbone = run.backbone(None).unwrap().downcast::<T5Backbone>().unwrap();
    let model = T5Model::new(*backbone, tensors, generated);
    let reference = Reference::new(&model, Form::Folded);
    let encoded = reference.encode(&inputs[0], &inputs[1]).unwrap();
    let folded = reference.decode(&encoded, &inputs[1], &inputs[2]).unwrap().into_rows();
    let folded = folded.mapv(|x| x as f32).into_shape_with_order(unfolded.dim()).unwrap();

    let run_in = |kind| {
        let mut graph = Backend::load(&options(kind)).unwrap().open_file(path).unwrap();
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
        let share = largest_share(logits, &folded, &real);
        println!("{task}: {name} vs folded: {difference:.1e}, {share:.2} of the tolerance");
        assert!(share <= 1.0, "{task}: {name} vs folded: {difference}, {share} of the tolerance");
    }
}

fn assert_equal_ids(subject: &Subject, task: &str, examples: &[&Example], path: &Path) {
    let expected = subject.greedy(task, examples);
    let sources: Vec<Vec<u32>> = examples.iter().map(|e| e.source.clone()).collect();
    let labels = &subject.run.task(task).unwrap().labels;
    let grammar = TargetGrammar::new(&subject.codec, labels).unwrap();
    let evaluated = subject.evaluated(task, examples, &grammar);
    let unequal = evaluated.iter().zip(&expected).filter(|(a, b)| a != b).count();
    assert_eq!(
        unequal,
        0,
        "{task} in the trainer's evaluation: sentences that differ, of {}",
        expected.len()
    );
    let decode =
        |ids: &[u32], words| grammar.decode_sbio(&subject.codec, ids, words, Alignment::Order).unwrap();
    let tags: Vec<Vec<String>> = (examples.iter().zip(&expected))
        .map(|(e, ids)| decode(ids, e.words.len()))
        .map(|sbio| sbio_to_bio(&sbio))
        .collect();
    let words: Vec<&[String]> = examples.iter().map(|e| e.words.as_slice()).collect();
    let words: Vec<Vec<&String>> = words.into_iter().map(|words| words.iter().collect()).collect();
    for kind in BACKENDS {
        let settings = TaggerOptions { backend: options(kind), ..TaggerOptions::default() };
        let tagger = hyperloader_runtime::Tagger::open(path, &settings).unwrap();
        let ids = tagger.target_ids(&sources).unwrap();
        let unequal = ids.iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert_eq!(unequal, 0, "{task} in {kind}: sentences that differ, of {}", ids.len());
        // From words on, as a user gives them: sources are made by the runtime.
        for (tagged, tags) in tagger.tag_words(&words[..words.len().min(8)]).unwrap().iter().zip(&tags) {
            assert_eq!(&tagged.as_ref().unwrap().tags, tags, "{task} in {kind}");
        }
    }
}

#[test]
fn logits_of_trainer_and_both_runtimes_are_those_of_the_folded_model() {
    let subject = Subject::nano();
    for (task, examples) in &subject.tasks {
        let chosen: Vec<&Example> = examples.iter().step_by(examples.len() / 8).collect();
        assert_equal_logits(&subject, task, &chosen, &subject.export(task));
    }
}

#[test]
fn greedy_ids_of_trainer_and_both_runtimes_are_equal_on_all_held_out_sentences() {
    let subject = Subject::nano();
    for (task, examples) in &subject.tasks {
        let mut examples: Vec<&Example> = examples.iter().collect();
        examples.sort_by_key(|e| e.source.len());
        assert_equal_ids(&subject, task, &examples, &subject.export(task));
    }
}

/// A fresh run of one method, in the trainer and in every backend.
fn assert_parity_of(method: Method) {
    let subject = Subject::trained(method);
    assert_eq!(subject.run.manifest.method.method(), method);
    for (task, examples) in &subject.tasks {
        let chosen: Vec<&Example> = examples.iter().take(8).collect();
        let path = subject.export(task);
        assert_equal_logits(&subject, task, &chosen, &path);
        assert_equal_ids(&subject, task, &chosen, &path);
    }
}

parity_of_methods! {
    all_on T5 in no_method_on_a_t5_is_left_out;
    hyperloader_is_the_same_everywhere: HyperLoader,
    hyperformer_plus_plus_is_the_same_everywhere: HyperFormerPlusPlus,
    hyperformer_is_the_same_everywhere: HyperFormer,
    hyperdecoder_is_the_same_everywhere: Hyperdecoder,
    adapters_are_the_same_everywhere: Adapters,
    lora_is_the_same_everywhere: Lora,
    unipelt_is_the_same_everywhere: UniPelt,
    full_fine_tuning_is_the_same_everywhere: Full,
}
