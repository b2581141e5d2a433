//! Sites: they have the files that their metadata lists, graphs that choose as the exported file does, and appear complete or not at
//! all. `cargo xtask conformance web` runs them.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use common::random_run;
use hyperloader_core::backbone::t5::T5Config;
use hyperloader_core::files::{Existing, sha256};
use hyperloader_core::method::HyperConfig;
use hyperloader_core::run::{Run, Which};
use hyperloader_exporter::{
    ExportError, Exported, Exporter, Options, PACKAGES, Packages, Precision, Storage,
};
use hyperloader_runtime::{Backend, BackendKind, BackendOptions, Value};
use tempfile::TempDir;

/// A run, and packages that are empty files.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let t5 = T5Config {
            d_model: 64,
            d_kv: 16,
            num_heads: 2,
            d_ff: 64,
            num_layers: 1,
            num_decoder_layers: Some(2),
            ..T5Config::preset("t5-nano").unwrap()
        };
        let method = HyperConfig { reduction_factor: 4, ..HyperConfig::default() }.into();
        random_run::write(folder.path(), &t5, &method, &["mtop"]);
        fs::create_dir(folder.path().join("packages")).unwrap();
        PACKAGES.iter().for_each(|name| fs::write(folder.path().join("packages").join(name), name).unwrap());
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn exporter(&self) -> Exporter {
        Exporter::open(Run::open(&self.path("runs/random")).unwrap(), Which::Last, None).unwrap()
    }

    fn export(
        &self,
        folder: &str,
        existing: Existing,
        precision: Precision,
    ) -> Result<Exported, ExportError> {
        let options = Options { existing, storage: Storage::from(precision), ..Options::unchecked() };
        let packages = Packages::new(self.path("packages"))?;
        self.exporter().export_web("mtop", &self.path(folder), &options, &packages, &|_| {})
    }

    /// Names in the folder of everything, without those that were there before.
    fn names(&self) -> Vec<String> {
        let mut names = names(self.0.path());
        names.retain(|name| !["backbone", "packages", "runs"].contains(&name.as_str()));
        names
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn metadata(site: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(site.join("tagger.json")).unwrap()).unwrap()
}

/// The outputs of a graph in ONNX Runtime.
fn run(path: &Path, inputs: &[(&str, &Value)]) -> Vec<Value> {
    let options = BackendOptions { kind: BackendKind::Ort, threads: Some(1), ..BackendOptions::default() };
    Backend::load(&options).unwrap().open_file(path).unwrap().run(inputs).unwrap()
}

fn integers(shape: &[usize], numbers: impl IntoIterator<Item = i64>) -> Value {
    Value::from_i64s(shape, numbers.into_iter().collect()).unwrap()
}

/// What the two graphs of a site choose after each of `target`, given before; the past is empty.
fn chosen(site: &Path, source: &[i64], target: &[i64]) -> Vec<Value> {
    let graphs = &metadata(site)["graphs"];
    let names = |field: &str| graphs[field].as_array().unwrap().clone();
    let size = |field: &str| graphs[field].as_u64().unwrap() as usize;
    let (sources, targets) = (source.len(), target.len());
    let ids = integers(&[1, sources], source.iter().copied());
    let mask = integers(&[1, sources], vec![1; sources]);
    let encoded = run(&site.join("encoder.onnx"), &[("input_ids", &ids), ("attention_mask", &mask)]);
    let positions = || 0..targets as i64;
    let inputs = [
        ("decoder_input_ids", integers(&[1, targets], target.iter().copied())),
        ("attention_mask", mask),
        ("query_positions", integers(&[1, targets, 1], positions())),
        ("key_positions", integers(&[1, 1, targets], positions())),
        ("wanted", integers(&[targets], positions())),
    ];
    let nothing = Value::from_f32s(&[1, size("heads"), 0, size("d_kv")], vec![]).unwrap();
    let (memory, past) = (names("memory"), names("past"));
    let memory = memory.iter().map(|name| name.as_str().unwrap()).zip(&encoded);
    let past = past.iter().map(|past| (past["input"].as_str().unwrap(), &nothing));
    let inputs = inputs.iter().map(|(name, value)| (*name, value)).chain(memory).chain(past);
    run(&site.join("decoder.onnx"), &inputs.collect::<Vec<_>>())
}

#[test]
fn a_site_chooses_the_ids_of_the_file_and_has_the_digests_of_its_files() {
    let place = Place::new();
    for precision in [Precision::F32, Precision::Int8] {
        let exported = place.export("site", Existing::Replace, precision).unwrap();
        let site = place.path("site");
        let metadata = metadata(&site);
        assert_eq!(exported.sha256, sha256(&site.join("tagger.json")).unwrap());
        let files = metadata["files"].as_array().unwrap();
        assert_eq!(files.len(), 4);
        for file in files {
            let path = site.join(file["name"].as_str().unwrap());
            assert_eq!(file["bytes"], fs::metadata(&path).unwrap().len());
            assert_eq!(file["sha256"], sha256(&path).unwrap());
        }

        // The two graphs choose the ids that the whole graph finds most likely.
        let options = Options { storage: Storage::from(precision), ..Options::unchecked() };
        let model = place.path("mtop.onnx");
        place.exporter().export("mtop", &model, &options, &|_| {}).unwrap();
        let (source, target) = ([32099, 6196, 32098, 12, 32097, 1], [0, 32099, 411, 32098]);
        let whole = [
            ("input_ids", integers(&[1, 6], source)),
            ("attention_mask", integers(&[1, 6], [1; 6])),
            ("decoder_input_ids", integers(&[1, 4], target)),
        ];
        let whole = run(&model, &whole.each_ref().map(|(name, value)| (*name, value)));
        let logits = whole[0].f32s().unwrap();
        let chosen = chosen(&site, &source, &target);
        let (ids, best) = (chosen[0].i64s().unwrap(), chosen[1].f32s().unwrap());
        assert_eq!((ids.len(), best.len()), (4, 4));
        for ((row, id), best) in logits.chunks(logits.len() / 4).zip(ids).zip(best) {
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert!((most - best).abs() < 1e-3 && (row[*id as usize] - most).abs() < 1e-3, "{most} {best}");
        }

        // The embedding is stored once for both graphs.
        let graphs = &metadata["graphs"];
        let sizes = |name: &str| fs::metadata(site.join(name)).unwrap().len();
        assert!(sizes("encoder.onnx") < 200_000 && sizes("decoder.onnx") < 200_000);
        assert!(sizes(graphs["weights"].as_str().unwrap()) > 1_000_000);
        assert_eq!(chosen.len(), 4 + graphs["past"].as_array().unwrap().len());
        assert_eq!((&graphs["heads"], &graphs["d_kv"]), (&2.into(), &16.into()));
        assert_eq!(metadata["precision"], precision.to_string());
        assert_eq!(metadata["tagger"]["task"], "mtop");
        assert!(metadata["tagger"].get("tokenizer").is_none() && site.join("tokenizer.json").is_file());
    }
    assert_eq!(place.names(), ["mtop.onnx", "site"]);
}

/// The names of all files in `folder` and its folders.
fn files(folder: &Path, below: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder.join(below)).unwrap() {
        let entry = entry.unwrap();
        let name = Path::new(below).join(entry.file_name()).to_str().unwrap().to_owned();
        match entry.file_type().unwrap().is_dir() {
            true => files(folder, &name, found),
            false => assert!(found.insert(name)),
        }
    }
}

#[test]
fn a_site_has_all_files_of_the_module_and_imports_the_packages_that_it_asks_for() {
    let place = Place::new();
    place.export("site", Existing::Keep, Precision::F32).unwrap();
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web");
    let (mut expected, mut found) = (BTreeSet::new(), BTreeSet::new());
    files(&module.join("src"), "", &mut expected);
    expected.retain(|name| name.ends_with(".js"));
    files(&place.path("site/hyperloader"), "", &mut found);
    assert_eq!(found, expected);

    let package = fs::read_to_string(module.join("package.json")).unwrap();
    let package: serde_json::Value = serde_json::from_str(&package).unwrap();
    let imports = fs::read_to_string(place.path("site/hyperloader/vendor.js")).unwrap();
    for name in ["onnxruntime-web", "@huggingface/tokenizers"] {
        let version = package["dependencies"][name].as_str().unwrap();
        let file = format!("{}-{version}.mjs", name.trim_start_matches("@huggingface/"));
        assert!(PACKAGES.contains(&&*file) && imports.contains(&format!("\"../vendor/{file}\"")), "{file}");
        assert_eq!(fs::read_to_string(place.path("site/vendor").join(&file)).unwrap(), file);
    }
}

#[test]
fn a_site_replaces_a_site_if_that_is_allowed_and_nothing_else() {
    let place = Place::new();
    fs::create_dir(place.path("site")).unwrap();
    place.export("site", Existing::Keep, Precision::F32).unwrap();
    let first = metadata(&place.path("site"));
    let refused = |existing| place.export("site", existing, Precision::Int8).unwrap_err().to_string();
    assert!(refused(Existing::Keep).ends_with("is there already\nhint: `--force` replaces it"));
    fs::write(place.path("site/notes.txt"), "of the user").unwrap();
    assert!(refused(Existing::Replace).contains("has `notes.txt`, which is not part of a site"));
    assert_eq!(metadata(&place.path("site")), first);
    fs::remove_file(place.path("site/notes.txt")).unwrap();
    for own in ["vendor/mine.js", "hyperloader/mine.js", "backup.weights", "hyperloader/document/notes.txt"] {
        fs::write(place.path("site").join(own), "of the user").unwrap();
        let error = refused(Existing::Replace);
        assert!(error.contains(&format!("has `{own}`, which is not part of a site")), "{error}");
        fs::remove_file(place.path("site").join(own)).unwrap();
    }
    fs::create_dir(place.path("site/empty")).unwrap();
    assert!(refused(Existing::Replace).contains("has `empty`, which is not part of a site"));
    fs::remove_dir(place.path("site/empty")).unwrap();
    place.export("site", Existing::Replace, Precision::Int8).unwrap();
    assert_eq!(metadata(&place.path("site"))["precision"], "int8");
    let weights = names(&place.path("site")).into_iter().filter(|name| name.ends_with(".weights"));
    assert_eq!(weights.count(), 1, "the weights of the earlier site are gone");

    fs::create_dir(place.path("other")).unwrap();
    fs::write(place.path("other/index.html"), "of the user").unwrap();
    let error = place.export("other", Existing::Replace, Precision::F32).unwrap_err().to_string();
    assert!(error.contains("has `index.html`, which is not part of a site"), "{error}");
    fs::write(place.path("file"), "").unwrap();
    let error = place.export("file", Existing::Replace, Precision::F32).unwrap_err().to_string();
    assert!(error.ends_with("is not a folder"), "{error}");
    assert_eq!(place.names(), ["file", "other", "site"]);
}

#[cfg(unix)]
#[test]
fn other_users_can_read_a_site_and_a_link_to_it_stays() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let place = Place::new();
    place.export("site", Existing::Keep, Precision::F32).unwrap();
    // The same mask as that of a folder that is made otherwise.
    fs::create_dir(place.path("plain")).unwrap();
    let mode = |name: &str| fs::metadata(place.path(name)).unwrap().permissions().mode();
    assert_eq!(mode("site"), mode("plain"));
    symlink("site", place.path("link")).unwrap();
    place.export("link", Existing::Replace, Precision::Int8).unwrap();
    assert!(fs::symlink_metadata(place.path("link")).unwrap().is_symlink());
    assert_eq!(metadata(&place.path("site"))["precision"], "int8");
}

#[test]
fn what_a_page_cannot_do_is_refused_and_leaves_no_folder() {
    let place = Place::new();
    let manifest = place.path("runs/random/manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let changed = text.replace("\"rule\": \"whitespace\"", "\"rule\": \"unicode\"");
    assert_ne!(changed, text);
    fs::write(&manifest, changed).unwrap();
    let error = place.export("site", Existing::Keep, Precision::F32).unwrap_err().to_string();
    assert!(error.starts_with("the task splits text into words by the rule `unicode`"), "{error}");
    fs::write(&manifest, text).unwrap();

    fs::remove_file(place.path("packages").join(PACKAGES[1])).unwrap();
    let error = place.export("site", Existing::Keep, Precision::F32).unwrap_err().to_string();
    assert!(error.contains(PACKAGES[1]) && error.contains("hint: `cargo xtask web` fetches them"), "{error}");
    assert!(place.names().is_empty());
}
