//! Scores are one function: the trainer, which calibrates them, ONNX Runtime and tract agree on the committed run.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyperloader_core::backbone::Backbone;
use hyperloader_core::backbone::t5::T5Backbone;
use hyperloader_core::run::{Run, RunCalibration, Which};
use hyperloader_core::text::sentt::SentT;
use hyperloader_core::text::target::{Alignment, TargetGrammar};
use hyperloader_runtime::{BackendKind, BackendOptions, ModelFile, Tagged, Tagger, TaggerOptions};
use hyperloader_tests::{Workplace, fixture, root, tiny_config};
use hyperloader_trainer::config::Config;
use hyperloader_trainer::data::{Example, TaskSource};
use hyperloader_trainer::model::t5::{T5Learner, T5Tagger};
use hyperloader_trainer::model::{Decoding, Learner, Start};
use hyperloader_trainer::parameters::Parameters;
use tch::Device;

/// Sentences of each task.
const SENTENCES: usize = 40;
const TOLERANCE: f64 = 1e-3;

/// The committed run in the trainer.
fn learner(run: &Run) -> T5Learner {
    tch::set_num_threads(1);
    let backbone = run.backbone(None).unwrap().downcast::<T5Backbone>().unwrap();
    let tensors = run.read(run.checkpoint(Which::Best).unwrap()).unwrap();
    let names: Vec<String> = run.manifest.tasks.iter().map(|task| task.name.clone()).collect();
    let start = Start::Checkpoint(Parameters::from_tensors(&tensors, Device::Cpu));
    let tagger = T5Tagger::new(&backbone, &run.manifest.method, &names, start, Device::Cpu).unwrap();
    let codec = Arc::new(SentT::from_file(backbone.tokenizer()).unwrap());
    let grammar = |task: &hyperloader_core::run::Task| {
        (task.name.clone(), TargetGrammar::new(&codec, &task.labels).unwrap())
    };
    let grammars: BTreeMap<_, _> = run.manifest.tasks.iter().map(grammar).collect();
    T5Learner { tagger, codec, grammars }
}

#[test]
fn trainer_onnx_runtime_and_tract_give_the_same_scores() {
    let config = Config::from_file(&root().join("hyperloader.toml")).unwrap();
    let run = Run::open(&fixture("runs/nano")).unwrap();
    let learner = learner(&run);
    let place = Workplace::new();
    for task in &run.manifest.tasks {
        let name = &task.name;
        let mut export = place.program("hl-export");
        export.args(["--task", name, "--quiet", "--no-verify", "--run"]).arg(&run.folder);
        export.assert().success();
        let (spec, codec) = (&config.tasks[name], &*learner.codec);
        let data = TaskSource { task: name, spec, codec, config: &config }.load_all().unwrap();
        let examples: Vec<&Example> = data.test.iter().take(SENTENCES).collect();
        let words: Vec<Vec<String>> = examples.iter().map(|example| example.words.clone()).collect();
        let tag = |kind| -> (f64, Vec<Tagged>) {
            let backend = BackendOptions { kind, threads: Some(1), ..BackendOptions::default() };
            let options = TaggerOptions { backend, scores: true, ..TaggerOptions::default() };
            let tagger = Tagger::open(place.path(&format!("{name}.onnx")), &options).unwrap();
            let temperature = tagger.metadata().calibration.as_ref().map_or(1.0, |c| c.temperature);
            (temperature, tagger.tag_words(&words).unwrap().into_iter().map(Result::unwrap).collect())
        };
        let ((temperature, ort), (_, tract)) = (tag(BackendKind::Ort), tag(BackendKind::Tract));
        let decoding = Decoding { max_target_len: run.manifest.max_target_len, alignment: Alignment::Order };
        let (_, predicted) = learner.evaluate(name, &examples, 0.0, decoding).unwrap();
        let targets = predicted.iter().map(|prediction| &*prediction.target);
        let pairs: Vec<_> = examples.iter().copied().zip(targets).collect();
        let trained = learner.scored(name, &pairs, decoding, &[temperature]).unwrap();
        let mut uncertain = 0;
        for ((ort, tract), trained) in ort.iter().zip(&tract).zip(&trained) {
            assert_eq!((&ort.tags, &tract.tags), (&trained.tags, &trained.tags));
            let [ort, tract] = [ort, tract].map(|tagged| tagged.scores.as_ref().unwrap());
            let trained = &trained.at[0];
            assert!((ort.score - tract.score).abs() < TOLERANCE, "{} {}", ort.score, tract.score);
            assert!((ort.score - trained.example.probability()).abs() < TOLERANCE);
            for ((ort, tract), trained) in ort.tags.iter().zip(&tract.tags).zip(&trained.tags) {
                assert!((ort.score - tract.score).abs() < TOLERANCE, "{ort:?} {tract:?}");
                assert!((ort.margin - tract.margin).abs() < TOLERANCE, "{ort:?} {tract:?}");
                assert!((ort.score - trained.probability()).abs() < TOLERANCE, "{ort:?} {trained:?}");
                uncertain += usize::from(ort.score < 0.99);
            }
        }
        assert!(uncertain > 10, "{name}: {uncertain} tags have scores that differ from 1");
    }
}

#[test]
fn a_calibration_goes_from_training_to_the_file_and_holds_for_its_weights_only() {
    let place = Workplace::new();
    let [train, test] = ["engtrain.bio", "engtest.bio"]
        .map(|name| std::fs::read_to_string(fixture("corpora/mit_movie").join(name)).unwrap());
    place.write("valid.bio", format!("{}\n\n{}\n", train.trim_end(), test.trim_end()));
    let with_valid = tiny_config().replace("[task.movie]\n", "[task.movie]\nvalid = \"valid.bio\"\n");
    place.write("hyperloader.toml", with_valid);
    let train = ["--name", "run", "--quiet", "--threads", "1", "--steps", "4"];
    place.program("hl-train").args(train).assert().success();
    let run = Run::open(&place.path("runs/run")).unwrap();
    let calibration = run.calibration().unwrap().unwrap();
    // ATIS has four validation sentences here.
    assert_eq!(calibration.tasks.keys().collect::<Vec<_>>(), ["movie"]);
    let movie = &calibration.tasks["movie"];
    assert_eq!((movie.fitted_on, movie.tested_on), (10, 20));
    let chance = movie.after.error_by_chance().unwrap();
    assert!(chance > 0.0 && movie.before.error_by_chance().is_some(), "{chance}");
    assert!(movie.calibration.temperature > 0.0 && movie.after.count() == movie.before.count());
    let report = std::fs::read_to_string(place.path("runs/run/report.html")).unwrap();
    assert_eq!(report.matches("reliability of scores").count(), 1);

    let again = ["calibrate", "runs/run", "--quiet", "--threads", "1", "--output-format", "jsonl"];
    place.program("hl-train").args(again).assert().success();
    let run = Run::open(&place.path("runs/run")).unwrap();
    assert_eq!(run.calibration().unwrap().unwrap(), calibration);

    let metadata = |precision: &str| {
        let mut export = place.program("hl-export");
        export.args(["--task", "movie", "--quiet", "--no-verify", "--force", "--precision", precision]);
        export.assert().success();
        ModelFile::open(place.path("movie.onnx")).unwrap().metadata().calibration.clone().unwrap()
    };
    let int8 = metadata("int8");
    assert_eq!((int8.temperature, int8.selection), (movie.calibration.temperature, None));
    assert_eq!(metadata("f32"), movie.calibration);
    let mut limited = place.program("hl-run");
    let output = limited.args(["--model", "movie.onnx", "--max-error", "0.1", "a film"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains(
            "10 validation sentences do not prove an error rate of at most 10 % with 90 % confidence"
        ),
        "{error}"
    );

    // The report of a run whose calibration is that of other weights does not show it.
    let mut run = run;
    run.save_calibration(&RunCalibration { checkpoint_sha256: "00".into(), ..calibration }).unwrap();
    place.program("hl-train").args(["report", "runs/run", "--quiet"]).assert().success();
    let report = std::fs::read_to_string(place.path("runs/run/report.html")).unwrap();
    assert!(!report.contains("reliability of scores"));
}
