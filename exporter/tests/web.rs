//! Sites: they have the files that their metadata lists, graphs that are those of the exported file, and appear complete or not at
//! all. `cargo xtask conformance web` runs them.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
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
use hyperloader_onnx::proto::ModelProto;
use hyperloader_onnx::read_model;
use hyperloader_runtime::ModelFile;
use serde_json::Value;
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

fn metadata(site: &Path) -> Value {
    serde_json::from_slice(&fs::read(site.join("tagger.json")).unwrap()).unwrap()
}

/// The nodes, inputs and outputs of a graph, and its weights by name.
fn content(model: &ModelProto) -> (String, BTreeMap<&str, &[u8]>) {
    let graph = model.graph.as_ref().unwrap();
    let weights = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), &tensor.raw_data[..]));
    (format!("{:?}{:?}{:?}", graph.node, graph.input, graph.output), weights.collect())
}

#[test]
fn a_site_has_the_graphs_of_the_file_and_the_digests_of_its_files() {
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

        // The file that `hl-run` splits itself, with its weights in memory.
        let options = Options { storage: Storage::from(precision), ..Options::unchecked() };
        let model = place.path("mtop.onnx");
        place.exporter().export("mtop", &model, &options, &|_| {}).unwrap();
        let halves = ModelFile::from_bytes(fs::read(&model).unwrap(), &model).unwrap().halves().unwrap();
        let [encoder, decoder] =
            ["encoder", "decoder"].map(|name| read_model(&site.join(format!("{name}.onnx"))).unwrap());
        assert_eq!(content(&encoder), content(&halves.encoder));
        assert_eq!(content(&decoder), content(&halves.decoder));

        // The embedding is stored once for both graphs.
        let graphs = &metadata["graphs"];
        let sizes = |name: &str| fs::metadata(site.join(name)).unwrap().len();
        assert!(sizes("encoder.onnx") < 200_000 && sizes("decoder.onnx") < 200_000);
        assert!(sizes(graphs["weights"].as_str().unwrap()) > 1_000_000);
        let outputs = &decoder.graph.as_ref().unwrap().output;
        for past in graphs["past"].as_array().unwrap() {
            assert!(outputs.iter().any(|output| past["output"] == output.name.as_str()), "{past}");
        }
        assert_eq!((&graphs["heads"], &graphs["d_kv"]), (&2.into(), &16.into()));
        assert_eq!(metadata["precision"], precision.to_string());
        assert_eq!(metadata["tagger"]["task"], "mtop");
        assert!(metadata["tagger"].get("tokenizer").is_none() && site.join("tokenizer.json").is_file());
    }
    assert_eq!(place.names(), ["mtop.onnx", "site"]);
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
