//! Files with weights beside them: the same answers as one file, complete or absent, none left over.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::random_run;
use hyperloader_core::backbone::t5::T5Config;
use hyperloader_core::method::HyperConfig;
use hyperloader_core::run::{Run, Which};
use hyperloader_exporter::weights::Loras;
use hyperloader_exporter::{ExportError, Exporter, Options, Precision, Tolerance, Verification};
use hyperloader_onnx::read_model;
use hyperloader_runtime::{BackendKind, BackendOptions, Tagger, TaggerOptions};

const TEXTS: [&str; 3] = ["wake me at 8 am on sunday", "play jazz", "what is the weather in Paris"];

fn run(folder: &Path) -> Run {
    let t5 = T5Config {
        d_model: 128,
        d_kv: 16,
        num_heads: 2,
        d_ff: 128,
        num_layers: 1,
        num_decoder_layers: Some(1),
        ..T5Config::preset("t5-nano").unwrap()
    };
    let method = HyperConfig { reduction_factor: 4, ..HyperConfig::default() }.into();
    random_run::write(folder, &t5, &method, &["mtop", "snips"])
}

fn exporter(folder: &Path) -> Exporter {
    Exporter::open(run(folder), Which::Last, None).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn tags(path: &Path, kind: BackendKind, cache: Option<PathBuf>) -> Vec<Vec<String>> {
    let backend = BackendOptions { kind, cache, ..BackendOptions::default() };
    let tagger = Tagger::open(path, &TaggerOptions { backend, ..TaggerOptions::default() }).unwrap();
    tagger.tag(&TEXTS).unwrap().into_iter().map(|tagged| tagged.unwrap().tags).collect()
}

#[test]
fn an_unfolded_bundle_shares_the_matrices_that_lora_updates() {
    let folder = tempfile::tempdir().unwrap();
    let exporter = exporter(folder.path());
    let tasks = ["mtop", "snips"].map(str::to_owned);
    let write = |name: &str, options: Options| {
        let bundle = folder.path().join(name);
        let written = exporter.export_bundle(&tasks, &bundle, &|_| options.clone(), &|_, _| {});
        written.map(|exported| (bundle, exported.iter().map(|task| task.bytes).sum::<u64>()))
    };
    let (folded, with_matrices) = write("folded", Options::default()).unwrap();
    let unfolded = Options { loras: Loras::Separate, ..Options::default() };
    let (beside, without) = write("unfolded", unfolded.clone()).unwrap();
    assert!(without < with_matrices, "{without} and {with_matrices} bytes");
    for kind in [BackendKind::Ort, BackendKind::Tract] {
        let tags = |bundle: &Path| tags(&bundle.join("snips.onnx"), kind, None);
        assert_eq!(tags(&folded), tags(&beside));
    }
    let int8 =
        write("int8", Options { storage: Precision::Int8.into(), ..unfolded }).unwrap_err().to_string();
    assert!(int8.contains("in int8") && int8.contains("hint:"), "{int8}");
}

#[test]
fn a_file_with_its_weights_beside_it_gives_the_same_tags() {
    let folder = tempfile::tempdir().unwrap();
    let exporter = exporter(folder.path());
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    let [one, two] = ["one.onnx", "two.onnx"].map(|name| out.join(name));
    fs::write(out.join("two.weights"), "of the user").unwrap();
    exporter.export("snips", &one, &Options::unchecked(), &|_| {}).unwrap();
    let beside = Options { external_data: true, ..Options::default() };
    let exported = exporter.export("snips", &two, &beside, &|_| {}).unwrap();
    let ladder = exported.ladder.unwrap();
    assert!(ladder.holds() && ladder.not_run.is_empty(), "{ladder}");
    let cache = Some(folder.path().join("cache"));
    for (kind, cache) in [(BackendKind::Ort, None), (BackendKind::Tract, None), (BackendKind::Ort, cache)] {
        assert_eq!(tags(&one, kind, cache.clone()), tags(&two, kind, cache));
    }

    let data = exported.data.unwrap();
    assert_eq!(data.parent(), Some(&*out));
    let hash = hyperloader_core::files::sha256(&data).unwrap();
    assert_eq!(data.file_name().unwrap().to_str().unwrap(), format!("two-{}.weights", &hash[..16]));
    assert!(fs::metadata(&two).unwrap().len() < fs::metadata(&data).unwrap().len() / 5);

    // Another export replaces the model. A copy of the earlier one may need its weights, so they stay and are named.
    let copy = out.join("copy.onnx");
    fs::copy(&two, &copy).unwrap();
    let again = exporter.export("mtop", &two, &beside, &|_| {}).unwrap();
    assert_eq!(again.earlier_data, [fs::canonicalize(&data).unwrap()]);
    assert_ne!(again.data.unwrap(), data);
    assert_eq!(tags(&copy, BackendKind::Ort, None), tags(&one, BackendKind::Ort, None));
    assert_eq!(fs::read_to_string(out.join("two.weights")).unwrap(), "of the user");
}

#[test]
fn an_export_that_fails_leaves_no_data_file_and_keeps_that_of_an_older_model() {
    let folder = tempfile::tempdir().unwrap();
    let exporter = exporter(folder.path());
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    let path = out.join("snips.onnx");
    let tolerance = Tolerance { atol: 1e-300, rtol: 0.0 };
    let strict = Options {
        external_data: true,
        verification: Some(Verification { tolerance, ..Verification::default() }),
        ..Options::default()
    };
    let fails = || exporter.export("snips", &path, &strict, &|_| {}).unwrap_err();
    assert!(matches!(fails(), ExportError::Mismatch(_)));
    assert_eq!(names(&out), Vec::<String>::new());

    let beside = Options { external_data: true, ..Options::unchecked() };
    exporter.export("snips", &path, &beside, &|_| {}).unwrap();
    let before = names(&out);
    assert_eq!(before.len(), 2);
    assert!(matches!(fails(), ExportError::Mismatch(_)));
    assert_eq!(names(&out), before);
    assert!(read_model(&path).is_ok());
}

#[test]
fn the_tasks_of_a_bundle_share_weights_and_tag_as_single_files_do() {
    let folder = tempfile::tempdir().unwrap();
    let exporter = exporter(folder.path());
    let tasks = ["mtop".to_owned(), "snips".to_owned()];
    for precision in [Precision::F32, Precision::Int4] {
        let bundle = folder.path().join(format!("bundle-{precision}"));
        let options = Options { storage: precision.into(), ..Options::default() };
        let exported = exporter.export_bundle(&tasks, &bundle, &|_| options.clone(), &|_, _| {}).unwrap();
        assert!(exported.iter().all(|task| task.ladder.as_ref().unwrap().holds()));
        let files = names(&bundle);
        assert_eq!(files.len(), 3, "{files:?}");
        assert!(files[1].starts_with("shared-") && files[1].ends_with(".weights"), "{files:?}");

        let single = folder.path().join("single.onnx");
        let size = |path: &Path| fs::metadata(path).unwrap().len();
        for task in &tasks {
            let options = Options { storage: precision.into(), ..Options::unchecked() };
            exporter.export(task, &single, &options, &|_| {}).unwrap();
            let file = bundle.join(format!("{task}.onnx"));
            assert_eq!(
                tags(&file, BackendKind::Ort, None),
                tags(&single, BackendKind::Ort, None),
                "{precision} {task}"
            );
            // The embedding, the largest matrix, is not in it.
            assert!(size(&file) < size(&single) / 2, "{} {}", size(&file), size(&single));
        }
        // Each task can be moved with the shared file alone.
        let moved = folder.path().join(format!("moved-{precision}"));
        fs::create_dir(&moved).unwrap();
        for name in [&files[1], "snips.onnx"] {
            fs::copy(bundle.join(name), moved.join(name)).unwrap();
        }
        let [here, there] = [&moved, &bundle].map(|folder| folder.join("snips.onnx"));
        assert_eq!(tags(&here, BackendKind::Ort, None), tags(&there, BackendKind::Ort, None));
        fs::remove_file(moved.join(&files[1])).unwrap();
        let error =
            Tagger::open(moved.join("snips.onnx"), &TaggerOptions::default()).unwrap_err().to_string();
        assert!(error.contains(&files[1]), "{error}");
    }
}
