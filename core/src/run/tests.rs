use std::fs;
use std::path::{Path, PathBuf};

use ndarray::ArrayD;

use super::folder::CHECKPOINTS;
use super::*;
use crate::backbone::registry::Architecture;
use crate::backbone::t5::T5Config;
use crate::calibration::Calibration;
use crate::calibration::reliability::Reliability;
use crate::method::MethodConfig;
use crate::text::words::WordSplitting;
use crate::weights::tensors::Tensors;

fn new_run(folder: &Path) -> Run {
    let t5 = T5Config { vocab_size: 16, d_ff: 32, ..T5Config::preset("t5-nano").unwrap() };
    let task = |name: &str| Task {
        name: name.to_owned(),
        labels: vec!["place".to_owned()],
        words: WordSplitting::default(),
        word_fit: None,
        sentence_words: None,
        train_sentences: 3,
        train_sha256: String::new(),
    };
    let manifest = Manifest {
        format: FORMAT,
        name: "r".into(),
        program: "test".into(),
        method: MethodConfig::default(),
        architecture: Architecture::T5(t5),
        backbone: BackboneReference {
            path: "../backbone".into(),
            sha256: String::new(),
            tokenizer_sha256: String::new(),
            hub: None,
        },
        tasks: vec![task("mtop"), task("snips")],
        max_source_len: 128,
        max_target_len: 128,
        seed: 1,
        checkpoints: vec![],
        drafters: None,
        calibration: None,
    };
    Run::create(folder, manifest).unwrap()
}

fn tensors(run: &Run, value: f32) -> Tensors {
    let list = run.manifest.trainable_tensors().unwrap();
    list.into_iter().map(|t| (t.name, ArrayD::from_elem(t.shape, value))).collect()
}

fn state(step: u64) -> Tensors {
    Tensors::from([("updates".to_owned(), ArrayD::from_elem(vec![1], step as f32))])
}

fn save(run: &mut Run, step: u64, losses: &[(&str, f64)], keep_last: usize) {
    let losses = losses.iter().map(|(task, loss)| ((*task).to_owned(), *loss)).collect();
    let tensors = tensors(run, step as f32);
    run.save(&Snapshot { step, tensors: &tensors, state: Some(&state(step)), losses }, keep_last).unwrap();
}

fn files(run: &Run) -> Vec<PathBuf> {
    fs::read_dir(run.folder.join(CHECKPOINTS)).unwrap().map(|e| e.unwrap().path()).collect()
}

fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_cut_run_goes_on_from_its_last_whole_checkpoint_and_names_the_damaged_ones() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = new_run(folder.path());
    for step in [0, 10, 20] {
        save(&mut run, step, &[], 3);
    }
    let [unfinished, mine] =
        [".hl-x.tmp", "step-000010-mine.safetensors"].map(|name| folder.path().join(CHECKPOINTS).join(name));
    fs::write(&unfinished, "half").unwrap();
    fs::write(&mine, "a copy of a user's own").unwrap();
    let last = run.checkpoint(Which::Last).unwrap().state.clone().unwrap();
    damage(&folder.path().join(last.file));
    let mut again = Run::open(folder.path()).unwrap();
    let point = again.resume().unwrap();
    assert_eq!((point.step, &point.state), (10, &state(10)));
    assert_eq!(point.tensors, tensors(&run, 10.0));
    assert!(point.passed_over[0].to_string().contains("step-000020.optimizer.safetensors"));
    assert_eq!(Run::open(folder.path()).unwrap().checkpoint(Which::Last).unwrap().step, 10);
    assert!(!unfinished.exists() && mine.exists() && files(&again).len() == 5);
    for path in files(&again) {
        damage(&path);
    }
    assert!(again.resume().unwrap_err().to_string().contains("step-000010"));
}

#[test]
fn losses_that_are_not_finite_leave_a_manifest_that_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = new_run(folder.path());
    save(&mut run, 10, &[("mtop", 2.0), ("snips", 3.0)], 3);
    save(&mut run, 20, &[("mtop", f64::NAN), ("snips", 1.0)], 3);
    save(&mut run, 30, &[("mtop", f64::INFINITY), ("snips", f64::NAN)], 3);
    let run = Run::open(folder.path()).unwrap();
    let losses = |step| {
        let entry = run.manifest.checkpoints.iter().find(|entry| entry.step == step).unwrap();
        (entry.validation_loss, entry.task_losses.keys().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(losses(10), (Some(2.5), vec!["mtop", "snips"]));
    assert_eq!(losses(20), (None, vec!["snips"]));
    assert_eq!(losses(30), (None, vec![]));
    let best = |which| run.checkpoint(which).unwrap().step;
    assert_eq!([Which::Best, Which::BestOf("mtop"), Which::BestOf("snips")].map(best), [10, 10, 20]);
}

#[test]
fn only_one_training_at_a_time_writes_to_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = new_run(folder.path());
    assert!(!run.is_in_use().unwrap());
    let lock = run.lock().unwrap();
    assert!(run.lock().unwrap_err().to_string().contains("by another program"));
    assert!(run.is_in_use().unwrap());
    drop(lock);
    assert!(!run.is_in_use().unwrap());
    run.lock().unwrap();
}

#[test]
fn a_run_without_the_state_of_an_optimizer_cannot_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = new_run(folder.path());
    save(&mut run, 1, &[], 1);
    run.manifest.checkpoints[0].state = None;
    assert!(run.resume().unwrap_err().to_string().contains("--warm-start"));
}

#[test]
fn the_best_the_best_of_each_task_and_the_last_are_kept_and_the_others_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = new_run(folder.path());
    // Best by the mean is step 2, best of mtop 3, best of snips 1.
    for (step, mtop, snips) in [(1, 5.0, 1.0), (2, 2.0, 1.5), (3, 1.5, 4.0), (4, 4.0, 4.0), (5, 4.0, 3.0)] {
        save(&mut run, step, &[("mtop", mtop), ("snips", snips)], 1);
    }
    let again = Run::open(folder.path()).unwrap();
    let step = |which| again.checkpoint(which).unwrap().step;
    let kept = [Which::BestOf("snips"), Which::Best, Which::BestOf("mtop"), Which::Last].map(step);
    assert_eq!(kept, [1, 2, 3, 5]);
    // Four checkpoints, and the optimizer's state of the last.
    assert_eq!(files(&run).len(), 5);
    let best = again.read(again.checkpoint(Which::Best).unwrap()).unwrap();
    assert_eq!(best, tensors(&run, 2.0));
}

#[test]
fn a_changed_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = new_run(folder.path());
    save(&mut run, 1, &[], 1);
    let entry = run.checkpoint(Which::Best).unwrap().clone();
    damage(&folder.path().join(&entry.file));
    assert!(run.read(&entry).unwrap_err().to_string().contains("damaged"));
}

#[test]
fn a_calibration_is_that_of_its_checkpoint_only() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = new_run(&folder.path().join("r"));
    save(&mut run, 1, &[("mtop", 0.5), ("snips", 0.5)], 1);
    let best = run.checkpoint(Which::Best).unwrap().clone();
    assert!(run.calibrated_tasks(&best).unwrap().is_empty(), "not calibrated");
    let mtop = TaskCalibration {
        calibration: Calibration { temperature: 1.5, ..Calibration::default() },
        fitted_on: 10,
        tested_on: 9,
        before: Reliability::default(),
        after: Reliability::default(),
        sentences: None,
    };
    let tasks = [("mtop".to_owned(), mtop.clone())].into();
    run.save_calibration(&RunCalibration { checkpoint_sha256: best.sha256.clone(), tasks }).unwrap();
    let found: Vec<_> = run.calibrated_tasks(&best).unwrap().into_iter().collect();
    assert_eq!(found, [("mtop".to_owned(), mtop.clone())]);
    assert_eq!(run.calibration_of("mtop", &best).unwrap(), Some(mtop.calibration));
    assert_eq!(run.calibration_of("snips", &best).unwrap(), None);
    save(&mut run, 2, &[("mtop", 0.1), ("snips", 0.1)], 1);
    let newer = run.checkpoint(Which::Best).unwrap().clone();
    assert_ne!(newer.sha256, best.sha256);
    assert!(run.calibrated_tasks(&newer).unwrap().is_empty(), "calibrated with older weights");
    assert_eq!(run.calibration_of("mtop", &newer).unwrap(), None);
}

#[test]
fn an_unknown_task_is_answered_with_the_known_ones() {
    let folder = tempfile::tempdir().unwrap();
    let message = new_run(folder.path()).task("mtopp").unwrap_err().to_string();
    insta::assert_snapshot!(message, @r"
    unknown task `mtopp`: run `r` was trained on `mtop`, `snips`
    hint: did you mean `mtop`?
    ");
}

#[test]
fn the_newest_run_that_was_trained_is_found() {
    let runs = tempfile::tempdir().unwrap();
    assert!(matches!(Run::newest(runs.path(), Candidates::Trained), Err(RunError::NoRuns(_))));
    let mut older = new_run(&runs.path().join("older"));
    save(&mut older, 1, &[], 1);
    save(&mut new_run(&runs.path().join("newer-but-untrained")), 0, &[], 1);
    assert_eq!(Run::newest(runs.path(), Candidates::Trained).unwrap().folder, older.folder);
    let newest = Run::newest(runs.path(), Candidates::Any).unwrap();
    assert!(newest.folder.ends_with("newer-but-untrained"));
}

#[test]
fn what_is_added_to_a_run_after_its_training_does_not_make_it_the_newest() {
    let runs = tempfile::tempdir().unwrap();
    let [mut older, mut newer] = ["older", "newer"].map(|name| new_run(&runs.path().join(name)));
    save(&mut older, 1, &[], 1);
    save(&mut newer, 1, &[], 1);
    // Clocks of file systems are coarse.
    let hour = std::time::Duration::from_secs(3600);
    for checkpoint in fs::read_dir(older.folder.join("checkpoints")).unwrap() {
        let file = fs::File::options().append(true).open(checkpoint.unwrap().path()).unwrap();
        file.set_modified(std::time::SystemTime::now() - hour).unwrap();
    }
    // Calibration and drafters write the manifest again.
    edit(&older.folder, |_| ());
    assert_eq!(Run::newest(runs.path(), Candidates::Trained).unwrap().folder, newer.folder);
}

/// Changes the manifest of a run.
fn edit(folder: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let path = folder.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(&path, manifest.to_string()).unwrap();
}

#[test]
fn every_field_of_the_method_and_of_the_backbone_is_required() {
    let folder = tempfile::tempdir().unwrap();
    save(&mut new_run(folder.path()), 1, &[], 1);
    let whole = fs::read(folder.path().join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&whole).unwrap();
    let mut fields = 0;
    for pointer in ["/method", "/method/lora", "/t5"] {
        for field in manifest.pointer(pointer).unwrap().as_object().unwrap().keys() {
            edit(folder.path(), |manifest| {
                manifest.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(field);
            });
            let error = crate::causes::with_causes(&Run::open(folder.path()).unwrap_err());
            assert!(error.contains(&format!("{field}`")), "{pointer} {field}: {error}");
            fs::write(folder.path().join("manifest.json"), &whole).unwrap();
            fields += 1;
        }
    }
    assert!(fields > 25, "{fields}");
    edit(folder.path(), |manifest| {
        drop(manifest["method"].as_object_mut().unwrap().remove("ln_gamma_offset"))
    });
    let error = Run::open(folder.path()).unwrap_err().to_string();
    assert!(error.starts_with("field `method.ln_gamma_offset` is missing from "), "{error}");
}

#[test]
fn a_checkpoint_belongs_to_the_method_that_it_was_trained_with() {
    let folder = tempfile::tempdir().unwrap();
    save(&mut new_run(folder.path()), 1, &[], 1);
    edit(folder.path(), |manifest| manifest["method"]["ln_gamma_offset"] = 1.0.into());
    let run = Run::open(folder.path()).unwrap();
    let error = run.read(run.checkpoint(Which::Best).unwrap()).unwrap_err().to_string();
    assert!(error.contains("was trained with other hyper-parameters"), "{error}");
    // Runs of before have no hash of their method.
    edit(folder.path(), |manifest| {
        drop(manifest["checkpoints"][0].as_object_mut().unwrap().remove("method_sha256"));
    });
    let run = Run::open(folder.path()).unwrap();
    run.read(run.checkpoint(Which::Best).unwrap()).unwrap();
}

#[test]
fn sizes_that_no_backbone_has_are_refused_before_anything_is_allocated() {
    let folder = tempfile::tempdir().unwrap();
    save(&mut new_run(folder.path()), 1, &[], 1);
    for field in ["num_layers", "num_decoder_layers", "vocab_size", "d_model", "num_heads", "d_ff"] {
        let mut before = serde_json::Value::Null;
        edit(folder.path(), |manifest| {
            before = std::mem::replace(&mut manifest["t5"][field], 1_000_000_000_u64.into());
        });
        let error = crate::causes::with_causes(&Run::open(folder.path()).unwrap_err());
        assert!(error.contains(&format!("`{field}`")) && error.contains("a number from 1 to"), "{error}");
        edit(folder.path(), |manifest| manifest["t5"][field] = before);
    }
    Run::open(folder.path()).unwrap();
}

#[test]
fn a_checkpoint_that_is_not_finite_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = new_run(folder.path());
    let mut tensors = tensors(&run, 0.5);
    tensors.values_mut().next_back().unwrap().fill(f32::NAN);
    run.save(&Snapshot { step: 1, tensors: &tensors, state: None, losses: Default::default() }, 1).unwrap();
    let error = run.read(run.checkpoint(Which::Last).unwrap()).unwrap_err().to_string();
    assert!(error.contains("is not finite: NaN at [0]"), "{error}");
}
