//! Backbones of the hub: a local server that answers as the Hugging Face hub does, and everything that can go wrong.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use assert_cmd::Command;
use hyperloader_core::files::sha256;
use hyperloader_core::text::sentt::SentT;
use hyperloader_tests::{Workplace, fixture, tiny_config};
use hyperloader_trainer::hub::{Hub, Located, Received};
use serde_json::{Value, json};
use server::{COMMIT, ID, Server, tag};

fn fetch(hub: &Hub) -> Result<Located, String> {
    hub.fetch(ID, None, &mut |_| ()).map_err(|error| error.to_string())
}

/// A message without what differs from run to run.
fn plain(message: &str, server: &Server, home: &Path) -> String {
    message.replace(&server.endpoint(), "[ENDPOINT]").replace(&*home.to_string_lossy(), "[HOME]")
}

fn model_folder(home: &Path) -> PathBuf {
    home.join("hub/models--hl--t5-nano")
}

/// Names of the whole files of the model, as any program would see them in the cache.
fn whole_files(home: &Path) -> BTreeSet<String> {
    let snapshot = model_folder(home).join("snapshots").join(COMMIT);
    let entries = std::fs::read_dir(snapshot).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn names(files: &[&str]) -> BTreeSet<String> {
    files.iter().map(|name| (*name).to_owned()).collect()
}

/// `hl-train` against a hub whose cache is in `home`, for two steps.
fn hl_train(place: &Workplace, endpoint: &str, home: &Path, backbone: &str) -> Command {
    let mut command = place.program("hl-train");
    command.args(["--steps", "2", "--threads", "1", "--no-progress", "--backbone", backbone]);
    for variable in ["HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "ALL_PROXY"] {
        command.env_remove(variable);
    }
    command.env("HF_ENDPOINT", endpoint).env("HF_HOME", home);
    command
}

fn place() -> Workplace {
    let place = Workplace::new();
    place.write("hyperloader.toml", tiny_config());
    place
}

#[test]
fn a_model_is_fetched_into_the_standard_cache_and_found_there() {
    let (server, home) = (Server::nano(), tempfile::tempdir().unwrap());
    let mut seen: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    let mut report = |Received { file, bytes, size }: Received<'_>| {
        seen.entry(file.to_owned()).or_default().push((bytes, size));
    };
    let located = server.hub(home.path()).fetch(ID, None, &mut report).unwrap();
    let reference = located.hub.clone().unwrap();
    assert_eq!((reference.id.as_str(), reference.commit.as_str()), (ID, COMMIT));
    assert_eq!(located.folder, model_folder(home.path()).join("snapshots").join(COMMIT));
    assert_eq!(std::fs::read_to_string(model_folder(home.path()).join("refs/main")).unwrap(), COMMIT);
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        let original = std::fs::read(fixture("backbones/t5-nano").join(name)).unwrap();
        assert!(std::fs::read(located.folder.join(name)).unwrap() == original, "{name}");
        let steps = &seen[name];
        let size = original.len() as u64;
        assert!(steps.is_sorted() && steps[0] == (0, size) && steps.last() == Some(&(size, size)), "{name}");
    }
    assert!(!server.requests().is_empty());

    let offline = Hub { offline: true, ..server.hub(home.path()) };
    for hub in [offline, server.hub(home.path())] {
        assert_eq!(fetch(&hub).unwrap(), located);
    }
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[test]
fn an_old_name_is_followed() {
    let (server, home) = (Server::nano(), tempfile::tempdir().unwrap());
    let located = server.hub(home.path()).fetch("t5-nano", None, &mut |_| ()).unwrap();
    assert_eq!(located.hub.unwrap().id, "t5-nano");
    assert!(located.folder.join("model.safetensors").is_file());
}

#[test]
fn a_tag_or_a_commit_can_be_fetched_and_is_found_in_the_cache() {
    for revision in ["v1.0", COMMIT] {
        let (server, home) = (Server::nano(), tempfile::tempdir().unwrap());
        let located = server.hub(home.path()).fetch(ID, Some(revision), &mut |_| ()).unwrap();
        assert_eq!(located.hub.clone().unwrap().commit, COMMIT);
        assert!(!model_folder(home.path()).join("refs/main").exists());
        let offline = Hub { offline: true, ..server.hub(home.path()) };
        assert_eq!(offline.fetch(ID, Some(revision), &mut |_| ()).unwrap(), located);
    }
    let (server, home) = (Server::nano(), tempfile::tempdir().unwrap());
    server.hub(home.path()).fetch(ID, Some("v1.0"), &mut |_| ()).unwrap();
    let message = fetch(&Hub { offline: true, ..server.hub(home.path()) }).unwrap_err();
    assert!(message.contains("revision `main`") && message.contains(": it has only `v1.0`; "), "{message}");
    let hub = server.hub(home.path());
    let message = hub.fetch(ID, Some("v2.0"), &mut |_| ()).unwrap_err().to_string();
    assert!(message.starts_with("no revision `v2.0` of a model `hl/t5-nano`"), "{message}");
}

#[test]
fn shards_are_fetched_by_their_index() {
    let home = tempfile::tempdir().unwrap();
    let mut files: BTreeMap<String, Vec<u8>> =
        ["config.json", "tokenizer.json", "a.safetensors", "b.safetensors", "c.safetensors"]
            .map(|name| (name.to_owned(), name.as_bytes().to_vec()))
            .into();
    let index = json!({ "weight_map": { "x": "a.safetensors", "y": "b.safetensors", "z": "a.safetensors" } });
    files.insert("model.safetensors.index.json".into(), index.to_string().into_bytes());
    let server = Server::start(files);
    fetch(&server.hub(home.path())).unwrap();
    let expected =
        ["a.safetensors", "b.safetensors", "config.json", "model.safetensors.index.json", "tokenizer.json"];
    assert_eq!(whole_files(home.path()), names(&expected));

    // A missing shard is named.
    let snapshot = model_folder(home.path()).join("snapshots").join(COMMIT);
    std::fs::remove_file(snapshot.join("b.safetensors")).unwrap();
    let message = fetch(&Hub { offline: true, ..server.hub(home.path()) }).unwrap_err();
    assert!(message.contains(": `b.safetensors` is missing; "), "{message}");
    fetch(&server.hub(home.path())).unwrap();
    assert_eq!(whole_files(home.path()), names(&expected));
}

#[test]
fn a_connection_that_breaks_off_leaves_no_half_file_and_is_taken_up_again() {
    let (server, home) = (Server::nano(), tempfile::tempdir().unwrap());
    server.content.cuts.store(usize::MAX, Ordering::SeqCst);
    let message = fetch(&server.hub(home.path())).unwrap_err();
    assert!(message.starts_with("cannot fetch `model.safetensors` of model `hl/t5-nano`"), "{message}");
    assert_eq!(whole_files(home.path()), names(&["config.json", "tokenizer.json"]));
    assert!(!model_folder(home.path()).join("refs/main").exists());
    let offline = fetch(&Hub { offline: true, ..server.hub(home.path()) }).unwrap_err();
    assert!(offline.contains("is not complete in the cache"), "{offline}");

    server.content.cuts.store(0, Ordering::SeqCst);
    server.requests();
    let located = fetch(&server.hub(home.path())).unwrap();
    let resumed = |r: &String| r.starts_with("/stored/") && r.ends_with('-') && !r.ends_with("bytes=0-");
    assert_eq!(server.requests().iter().filter(|request| resumed(request)).count(), 1);
    let hash = |folder: &Path| sha256(&folder.join("model.safetensors")).unwrap();
    assert_eq!(hash(&located.folder), hash(&fixture("backbones/t5-nano")));
}

#[test]
fn a_connection_that_breaks_off_once_is_not_even_noticed() {
    let (server, home) = (Server::nano(), tempfile::tempdir().unwrap());
    server.content.cuts.store(1, Ordering::SeqCst);
    let located = fetch(&server.hub(home.path())).unwrap();
    let hash = |folder: &Path| sha256(&folder.join("model.safetensors")).unwrap();
    assert_eq!(hash(&located.folder), hash(&fixture("backbones/t5-nano")));
}

#[test]
fn a_fetch_that_was_killed_after_its_last_byte_is_begun_again() {
    let (server, home) = (Server::nano(), tempfile::tempdir().unwrap());
    let weights = std::fs::read(fixture("backbones/t5-nano/model.safetensors")).unwrap();
    let blobs = model_folder(home.path()).join("blobs");
    for surplus in [0, 1] {
        std::fs::create_dir_all(&blobs).unwrap();
        let part = [&weights[..], &vec![0; surplus]].concat();
        std::fs::write(blobs.join(format!("{}.part", tag(&weights))), part).unwrap();
        let located = fetch(&server.hub(home.path())).unwrap();
        assert!(std::fs::read(located.folder.join("model.safetensors")).unwrap() == weights);
        std::fs::remove_dir_all(model_folder(home.path())).unwrap();
    }
}

#[test]
fn a_file_that_is_not_what_was_announced_is_removed() {
    let (server, home) = (Server::nano(), tempfile::tempdir().unwrap());
    server.content.corrupt.store(true, Ordering::SeqCst);
    let message = fetch(&server.hub(home.path())).unwrap_err();
    let hashes = [("SHA-256 [0-9a-f]{64}", "SHA-256 [HASH]")];
    insta::with_settings!({filters => hashes}, {
        insta::assert_snapshot!(plain(&message, &server, home.path()));
    });
    assert_eq!(whole_files(home.path()), names(&["config.json", "tokenizer.json"]));
    server.content.corrupt.store(false, Ordering::SeqCst);
    fetch(&server.hub(home.path())).unwrap();
}

#[test]
fn models_that_are_no_backbone_are_told_with_the_way_out() {
    let home = tempfile::tempdir().unwrap();
    let messages = [
        &["README.md"][..],
        &["config.json", "tokenizer.json"],
        &["config.json", "tokenizer.json", "pytorch_model.bin"],
        &["config.json", "model.safetensors"],
        &["config.json", "tokenizer.json", "model.safetensors.index.json"],
    ]
    .map(|names| {
        let server = Server::with(names);
        let message = fetch(&server.hub(home.path())).unwrap_err();
        format!("has {}\n{}", names.join(", "), plain(&message, &server, home.path()))
    });
    insta::assert_snapshot!(messages.join("\n\n"));
}

#[test]
fn a_model_with_the_original_vocabulary_alone_is_fetched_and_has_the_same_ids() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::of_files(["t5-vocabulary/spiece.model"]);
    fetch(&server.hub(home.path())).unwrap();
    let names = ["config.json", "model.safetensors", "spiece.model"].map(str::to_owned);
    assert_eq!(whole_files(home.path()), names.into());
    let words = ["El", "Niño,", "東京", "ﬁne", "3,5", "\u{20ac}", "<unk>", "e\u{301}"];
    let ids = |path: PathBuf| SentT::from_file(path).unwrap().encode_source(&words).unwrap();
    let vocabulary = fixture("t5-vocabulary/spiece.model");
    assert_eq!(ids(vocabulary), ids(fixture("backbones/t5-nano/tokenizer.json")));
}

#[test]
fn a_bert_with_a_list_of_tokens_alone_is_fetched_with_the_settings_of_its_tokenizer() {
    for settings in [&["tokenizer_config.json"][..], &[]] {
        let home = tempfile::tempdir().unwrap();
        let wanted = [&["config.json", "model.safetensors", "vocab.txt"][..], settings].concat();
        let server = Server::with(&[&wanted[..], &["README.md", "tokenizer_config.txt"]].concat());
        let fetched = fetch(&server.hub(home.path())).unwrap();
        assert_eq!(whole_files(home.path()), names(&wanted));
        server.requests();
        assert_eq!(fetch(&server.hub(home.path())).unwrap(), fetched);
        assert_eq!(server.requests(), Vec::<String>::new());
    }
}

#[test]
fn a_run_on_a_model_of_the_hub_is_trained_resumed_exported_and_moved() {
    let (place, home) = (place(), tempfile::tempdir().unwrap());
    let server = Server::nano();
    let endpoint = server.endpoint();
    let mut train = hl_train(&place, &endpoint, home.path(), ID);
    let output = train.env("HF_TOKEN", "hf_secret").args(["--name", "first"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("fetching `model.safetensors` of `hl/t5-nano`, 11.36 MiB"), "{said}");
    assert!(!said.contains("hf_secret"));
    let requests = server.requests();
    let api = |request: &&String| !request.starts_with("/stored/");
    assert!(requests.iter().filter(api).all(|request| request.ends_with("Bearer hf_secret")), "{requests:?}");
    drop(server);

    let mut again = hl_train(&place, &endpoint, home.path(), ID);
    let again = again.env("HF_HUB_OFFLINE", "1").args(["--name", "second"]).output().unwrap();
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.success() && !said.contains("fetching"), "{said}");
    let checkpoint = |run: &str| std::fs::read(place.path(run).join("checkpoints/step-000002.safetensors"));
    assert_eq!(checkpoint("runs/first").unwrap(), checkpoint("runs/second").unwrap());

    let manifest = std::fs::read_to_string(place.path("runs/first/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["backbone"]["hub"], json!({ "id": ID, "commit": COMMIT }));
    let config = std::fs::read_to_string(place.path("runs/first/config.toml")).unwrap();
    assert!(config.contains("id = \"hl/t5-nano\"") && !config.contains("path ="), "{config}");
    // The main branch has moved on since, as far as the cache knows; the run stays with its own version.
    std::fs::write(model_folder(home.path()).join("refs/main"), "89abcdef").unwrap();
    let mut resume = place.program("hl-train");
    resume.args(["--resume", "runs/second", "--quiet"]).env("HF_HOME", home.path());
    resume.env("HF_ENDPOINT", &endpoint).assert().success();

    std::fs::create_dir_all(place.path("elsewhere/deep")).unwrap();
    std::fs::rename(place.path("runs/first"), place.path("elsewhere/deep/first")).unwrap();
    let export = |more: &[&str]| {
        let mut export = place.program("hl-export");
        export.args(["--task", "atis", "--run", "elsewhere/deep/first", "--no-verify", "--quiet"]).args(more);
        export
    };
    export(&[]).assert().success();
    std::fs::remove_file(place.path("atis.onnx")).unwrap();

    std::fs::remove_dir_all(home.path().join("hub")).unwrap();
    let transcript = place.transcript(&mut export(&[]));
    insta::assert_snapshot!(transcript.replace(&*home.path().to_string_lossy(), "[HOME]"));
    assert!(!place.path("atis.onnx").exists());
    export(&["--backbone", &fixture("backbones/t5-nano").to_string_lossy()]).assert().success();
}

#[test]
fn a_folder_goes_before_a_model_of_the_same_name() {
    let (place, home, server) = (place(), tempfile::tempdir().unwrap(), Server::nano());
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        let content = std::fs::read(fixture("backbones/t5-nano").join(name)).unwrap();
        place.write(&format!("{ID}/{name}"), content);
    }
    hl_train(&place, &server.endpoint(), home.path(), ID).assert().success();
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[test]
fn what_cannot_be_found_or_fetched_is_told() {
    let (place, home, server) = (place(), tempfile::tempdir().unwrap(), Server::nano());
    let mut told = Vec::new();
    let mut tell = |what: &str, command: &mut Command| {
        let transcript = plain(&place.transcript(command), &server, home.path());
        told.push(format!("{what}\n{transcript}"));
    };
    let train = |backbone: &str| hl_train(&place, &server.endpoint(), home.path(), backbone);
    tell("neither a folder nor an id", &mut train("no/such/folder"));
    tell("a model that is not there", &mut train("hl/t5-none"));
    tell("offline without cache", train(ID).env("HF_HUB_OFFLINE", "1"));
    tell("no server", train(ID).env("HF_ENDPOINT", "http://127.0.0.1:1"));
    let config =
        |backbone: &str| tiny_config().replacen("[backbone]\n", &format!("[backbone]\n{backbone}\n"), 1);
    place.write("hyperloader.toml", config("id = \"t5-base\""));
    let mut bare = place.program("hl-train");
    tell("path and id", bare.args(["--quiet"]));
    assert!(!place.path("runs").exists());
    insta::assert_snapshot!(told.join("\n\n"));
}
