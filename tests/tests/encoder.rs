//! Every method on a BERT: what a run computes is the same in the trainer un-folded, in the reference model, in ONNX Runtime
//! and in tract. On a fresh run of every method.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // A test that cannot go on should fail.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyperloader_core::backbone::BackboneKind;
use hyperloader_core::backbone::bert::{BertBackbone, BertConfig};
use hyperloader_core::method::Method;
use hyperloader_core::run::{Run, Which};
use hyperloader_core::text::labels::{LabelSet, bio_tags};
use hyperloader_core::text::target::Alignment;
use hyperloader_core::text::wordpiece::WordPiece;
use hyperloader_core::weights::tensors::{HostTensor, write_tensors};
use hyperloader_exporter::bert::{BertModel, BertReference, Form};
use hyperloader_runtime::{Backend, BackendKind, BackendOptions, Tagger, TaggerOptions, Value};
use hyperloader_tests::{Workplace, fixture, parity_of_methods};
use hyperloader_trainer::config::Config;
use hyperloader_trainer::data::{Batch, Example, TaskSource};
use hyperloader_trainer::model::bert::BertTagger;
use hyperloader_trainer::model::{Decoding, Learner, MatrixPrecision, Placement, Start, TaskLabels};
use hyperloader_trainer::parameters::{Parameters, to_host};
use ndarray::{Array2, Ix2};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::Device;

/// Of logits, absolute.
const TOLERANCE: f64 = 1e-4;
const BACKENDS: [BackendKind; 2] = [BackendKind::Ort, BackendKind::Tract];

/// Two tasks of the excerpts on the tiny BERT, whose width is 48.
fn config(method: Method) -> String {
    let (backbone, corpora) = (fixture("backbones/bert-tiny"), fixture("corpora"));
    let (backbone, corpora) = (backbone.display(), corpora.display());
    let narrow = match method {
        Method::HyperLoader | Method::HyperFormerPlusPlus | Method::HyperFormer => "reduction_factor = 8\n",
        Method::UnipeltBert => "prefix_len = 5\nprefix_hidden = 32\n",
        _ => "",
    };
    format!(
        "[backbone]\npath = \"{backbone}\"\n\n[method]\nmethod = \"{method}\"\n{narrow}\n\
         [training]\nsteps = 60\nbatch_size = 8\nwarmup_steps = 5\nlearning_rate = 5e-3\nevaluate_every = 20\n\
         label_smoothing = 0.0\ndropout = 0.0\nthreads = 1\nfraction = 0.4\n\
         [task.snips]\nlayout = \"seq-in-out\"\ntrain = \"{corpora}/snips/train\"\nvalid = \"{corpora}/snips/valid\"\n\
         test = \"{corpora}/snips/test\"\n\n\
         [task.mtod]\nlayout = \"mtod\"\ntrain = \"{corpora}/mtod/en/train-en.tsv\"\n\
         valid = \"{corpora}/mtod/en/eval-en.tsv\"\ntest = \"{corpora}/mtod/en/test-en.tsv\"\n"
    )
}

/// A run as each program sees it.
struct Subject {
    run: Run,
    trainer: BertTagger,
    config: Config,
    codec: Arc<WordPiece>,
    place: Workplace,
}

impl Subject {
    fn trained(method: Method) -> Self {
        tch::set_num_threads(1);
        let place = Workplace::new();
        let path = place.write("hyperloader.toml", config(method));
        place.program("hl-train").args(["--quiet", "--name", "run"]).assert().success();
        let run = Run::open(&place.path("runs/run")).unwrap();
        assert_eq!(run.manifest.method.method(), method);
        assert_losses_fall(&run.folder);
        let backbone = backbone(&run);
        let codec = Arc::new(backbone.codec().unwrap());
        let tensors = run.read(run.checkpoint(Which::Best).unwrap()).unwrap();
        let labels: Vec<(&str, LabelSet)> = (run.manifest.tasks.iter())
            .map(|task| (task.name.as_str(), LabelSet::new(task.labels.clone(), "run").unwrap()))
            .collect();
        let tasks: Vec<TaskLabels> =
            labels.iter().map(|(name, labels)| TaskLabels { name, labels }).collect();
        let placement = Placement { device: Device::Cpu, precision: MatrixPrecision::F32 };
        let start = Start::Checkpoint(Parameters::from_tensors(&tensors, Device::Cpu));
        let codec_of = Arc::clone(&codec);
        let trainer =
            BertTagger::new(&backbone, codec_of, &run.manifest.method, &tasks, start, placement).unwrap();
        Self { trainer, config: Config::from_file(&path).unwrap(), codec, run, place }
    }

    fn model(&self, task: &str) -> BertModel {
        let tensors = self.run.read(self.run.checkpoint(Which::Best).unwrap()).unwrap();
        let tags = self.tags(task);
        BertModel::new(backbone(&self.run), &self.run.manifest.method, &tensors, task, tags).unwrap()
    }

    /// Number of BIO tags of a task.
    fn tags(&self, task: &str) -> usize {
        bio_tags(&self.run.task(task).unwrap().labels).len()
    }
}

fn backbone(run: &Run) -> BertBackbone {
    *run.backbone(None).unwrap().downcast::<BertBackbone>().unwrap()
}

/// The validation loss of each task is lower at the end than where it was first measured.
fn assert_losses_fall(run: &Path) {
    let log = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    for task in ["snips", "mtod"] {
        let of_task = lines.iter().filter(|line| line["kind"] == "validation" && line["task"] == task);
        let losses: Vec<f64> = of_task.map(|line| line["evaluation"]["loss"].as_f64().unwrap()).collect();
        println!("{task}: validation losses {losses:.3?}");
        assert!(losses.len() >= 2 && losses[losses.len() - 1] < losses[0], "{task}: {losses:?}");
    }
}

fn options(kind: BackendKind) -> BackendOptions {
    BackendOptions { kind, threads: Some(1), ..BackendOptions::default() }
}

fn ids(tensor: &tch::Tensor) -> Array2<i64> {
    to_host(tensor).into_dimensionality::<Ix2>().unwrap().mapv(|x| x as i64)
}

/// Logits of a file, `[batch * source_len, tags]`.
fn file_logits(path: &Path, kind: BackendKind, inputs: [&Array2<i64>; 2]) -> Vec<f64> {
    let mut graph = Backend::load(&options(kind)).unwrap().open_file(path).unwrap();
    let [ids, mask] = inputs.map(|ids| Value::from_i64s(ids.shape(), ids.iter().copied().collect()).unwrap());
    let outputs = graph.run(&[("input_ids", &ids), ("attention_mask", &mask)]).unwrap();
    outputs[0].f32s().unwrap().iter().map(|x| f64::from(*x)).collect()
}

/// Largest difference at tokens.
fn largest(a: &[f64], b: &[f64], mask: &Array2<i64>) -> f64 {
    assert_eq!(a.len(), b.len());
    let width = a.len() / mask.len();
    let real = a.chunks(width).zip(b.chunks(width)).zip(mask).filter(|(_, mask)| **mask == 1);
    let differences = real.flat_map(|((a, b), _)| a.iter().zip(b).map(|(a, b)| (a - b).abs()));
    differences.fold(0.0, f64::max)
}

/// Index of the best tag of each token.
fn best_tags(logits: &[f64], tags: usize, mask: &Array2<i64>) -> Vec<usize> {
    let best = |row: &[f64]| (0..tags).rev().max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
    let rows = logits.chunks(tags).zip(mask).filter(|(_, mask)| **mask == 1);
    rows.map(|(row, _)| best(row)).collect()
}

fn assert_equal_logits(subject: &Subject, task: &str, examples: &[&Example], path: &Path) {
    let Batch { input_ids, attention_mask, .. } = Batch::new(examples, 0, Device::Cpu);
    let logits = tch::no_grad(|| subject.trainer.logits(task, [&input_ids, &attention_mask], false));
    let trainer: Vec<f64> = to_host(&logits.unwrap()).iter().map(|x| f64::from(*x)).collect();
    let (ids, mask) = (ids(&input_ids), ids(&attention_mask));
    let (model, tags) = (subject.model(task), subject.tags(task));
    let reference = |form| -> Vec<f64> {
        BertReference::new(&model, form).unwrap().logits(&ids, &mask).unwrap().iter().copied().collect()
    };
    let (exact, folded) = (reference(Form::UnFolded), reference(Form::Folded));
    let [ort, tract] = BACKENDS.map(|kind| file_logits(path, kind, [&ids, &mask]));
    for (name, logits) in
        [("trainer", &trainer), ("folded", &folded), ("ONNX Runtime", &ort), ("tract", &tract)]
    {
        let difference = largest(logits, &exact, &mask);
        println!("{task}: {name}: {difference:.1e}");
        assert!(difference <= TOLERANCE, "{task}: {name}: {difference:.1e}");
        assert_eq!(best_tags(logits, tags, &mask), best_tags(&exact, tags, &mask), "{task}: {name}");
    }
}

fn assert_equal_tags(subject: &Subject, task: &str, examples: &[&Example], path: &Path) {
    let decoding = Decoding { max_target_len: 0, alignment: Alignment::Order };
    let pairs: Vec<_> = examples.iter().map(|example| (*example, [].as_slice())).collect();
    let trained = subject.trainer.scored(task, &pairs, decoding, &[1.0]).unwrap();
    let words: Vec<Vec<&String>> = examples.iter().map(|example| example.words.iter().collect()).collect();
    for kind in BACKENDS {
        let settings = TaggerOptions { backend: options(kind), ..TaggerOptions::default() };
        let tagged = Tagger::open(path, &settings).unwrap().tag_words(&words).unwrap();
        for (tagged, trained) in tagged.iter().zip(&trained) {
            assert_eq!(tagged.as_ref().unwrap().tags, trained.tags, "{task} in {kind}");
        }
    }
}

/// A fresh run of one method, in the trainer and in every backend.
fn assert_parity_of(method: Method) {
    let subject = Subject::trained(method);
    // The program verifies each file before it takes its name.
    subject.place.program("hl-export").args(["--all", "--quiet"]).assert().success();
    for task in &subject.run.manifest.tasks {
        let path: PathBuf = subject.place.path(&format!("{}.onnx", task.name));
        let spec = &subject.config.tasks[&task.name];
        let (codec, config) = (&*subject.codec, &subject.config);
        let data = TaskSource { task: &task.name, spec, codec, config }.load_all().unwrap();
        let chosen: Vec<&Example> = data.test.iter().step_by(4).take(24).collect();
        assert_equal_logits(&subject, &task.name, &chosen, &path);
        let all: Vec<&Example> = data.test.iter().collect();
        assert_equal_tags(&subject, &task.name, &all, &path);
    }
}

parity_of_methods! {
    all_on Bert in no_method_on_a_bert_is_left_out;
    hyperloader_is_the_same_everywhere: HyperLoader,
    hyperformer_plus_plus_is_the_same_everywhere: HyperFormerPlusPlus,
    hyperformer_is_the_same_everywhere: HyperFormer,
    adapters_are_the_same_everywhere: Adapters,
    lora_is_the_same_everywhere: Lora,
    unipelt_is_the_same_everywhere: UniPelt,
    full_fine_tuning_is_the_same_everywhere: Full,
    unipelt_on_bert_is_the_same_everywhere: UnipeltBert,
}

/// Several tasks share all weights of the encoder but those that folding or training changed.
#[test]
fn tasks_of_a_bundle_share_the_encoder_and_tasks_in_one_graph_are_refused() {
    let subject = Subject::trained(Method::Adapters);
    let mut bundle = subject.place.program("hl-export");
    bundle.args(["--quiet", "--bundle", "bundle"]).assert().success();
    let size = |name: &str| std::fs::metadata(subject.place.path(name)).unwrap().len();
    let names: Vec<String> = (std::fs::read_dir(subject.place.path("bundle")).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let shared = names.iter().find(|name| name.ends_with(".weights")).unwrap();
    assert!(size("bundle/snips.onnx") < size(&format!("bundle/{shared}")), "{names:?}");
    let mut multi = subject.place.program("hl-export");
    insta::assert_snapshot!(subject.place.transcript(multi.args(["--quiet", "--multi", "all.onnx"])), @r"
    exit: 1
    --- stdout

    --- stderr
    error: each task of an encoder has a classifier of its own, which one graph cannot select
    hint: export the tasks with `--bundle`, which shares the encoder, or with `--all`
    ");
}

/// A BERT of random weights that is wide enough for its matrices to be stored in fewer bits.
fn write_wide_backbone(folder: &Path) {
    let tiny = fixture("backbones/bert-tiny");
    let config = BertConfig {
        hidden_size: 128,
        intermediate_size: 192,
        num_hidden_layers: 1,
        ..BertConfig::from_file(&tiny.join("config.json")).unwrap()
    };
    std::fs::create_dir_all(folder).unwrap();
    let mut fields = serde_json::to_value(&config).unwrap();
    fields["model_type"] = "bert".into();
    std::fs::write(folder.join("config.json"), fields.to_string()).unwrap();
    std::fs::copy(tiny.join("tokenizer.json"), folder.join("tokenizer.json")).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(19);
    let tensors = config.tensors().into_iter().map(|(name, shape)| {
        let centre = if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
        let tensor = HostTensor::from_shape_simple_fn(shape, || centre + random.random_range(-0.15..0.15));
        (name, tensor)
    });
    write_tensors(&folder.join("model.safetensors"), &tensors.collect()).unwrap();
}

#[test]
fn files_of_every_precision_are_those_of_the_reference_model_with_rounded_matrices() {
    let place = Workplace::new();
    write_wide_backbone(&place.path("wide"));
    let tiny = fixture("backbones/bert-tiny");
    let config = config(Method::Full).replace(&*tiny.to_string_lossy(), "wide");
    for method in ["hyperloader", "unipelt-bert"] {
        place.write("hyperloader.toml", config.replace("\"full\"", &format!("\"{method}\"")));
        let arguments = ["--quiet", "--name", method, "--steps", "12"];
        place.program("hl-train").args(arguments).assert().success();
        let mut sizes = Vec::new();
        for precision in ["f32", "f16", "bf16", "int8", "int4"] {
            let file = format!("{method}-{precision}.onnx");
            let mut export = place.program("hl-export");
            export.args(["--task", "snips", "--run", &format!("runs/{method}"), "--precision", precision]);
            // The file is verified against the reference model in this precision; what it costs does not matter here.
            if precision != "f32" {
                export.args(["--max-f1-drop", "1"]);
            }
            let output = export.args(["--output", &file]).output().unwrap();
            let message = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{method} {precision}: {message}");
            assert_eq!(message.contains(&format!("folded vs {precision}")), precision != "f32", "{message}");
            sizes.push(std::fs::metadata(place.path(&file)).unwrap().len());
        }
        let [f32, f16, bf16, int8, int4] = sizes[..] else { panic!("{sizes:?}") };
        assert!(int4 < int8 && int8 < f16 && f16.abs_diff(bf16) < 5_000 && f16 < f32, "{method}: {sizes:?}");
    }
}
