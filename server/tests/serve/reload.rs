//! Files that are replaced while they are served.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyperloader_onnx::proto::{ModelProto, StringStringEntryProto};
use prost::Message;
use rustix::process::Signal;
use serde_json::json;

use crate::common::{lexicon_bytes, metadata};
use crate::running::{Running, eventually};

/// The lexicon's model with another name of its task.
fn model(task: &str) -> Vec<u8> {
    let mut metadata = metadata();
    metadata.task = task.to_owned();
    lexicon_bytes(&metadata)
}

fn replace(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    std::fs::write(&new, bytes).unwrap();
    std::fs::rename(new, path).unwrap();
}

fn task(server: &Running) -> String {
    server.get("/models").json()["models"][0]["task"].as_str().unwrap().to_owned()
}

fn error(server: &Running) -> Option<String> {
    server.get("/models").json()["models"][0]["reload_error"].as_str().map(str::to_owned)
}

const EVERY: [&str; 2] = ["--reload-every", "0.05"];

#[test]
fn a_replaced_file_is_loaded_again_and_no_request_fails() {
    let server = Running::start(&EVERY);
    let rounds: usize = std::env::var("HYPERLOADER_RELOADS").map_or(20, |rounds| rounds.parse().unwrap());
    let (done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    server.tag(&["paris"]);
    let before = server.metric("hl_resident_memory_bytes");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(server.tag(&["set an alarm for 7 am"])[0]["spans"][0]["text"], "7 am");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..rounds {
            replace(&server.model(), &model(&format!("round-{round}")));
            eventually("the new model is served", || task(&server) == format!("round-{round}"));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(answered.into_inner() > 20);
    assert_eq!(server.metric("hl_errors_total"), 0.0);
    assert_eq!(server.metric("hl_reloads_total"), rounds as f64);
    let grown = (server.metric("hl_resident_memory_bytes") - before) / f64::from(1 << 20);
    println!("{rounds} reloads: memory grew by {grown:.1} MiB");
    assert!(grown < 100.0, "memory grew by {grown} MiB");
}

#[test]
fn a_damaged_file_is_reported_and_the_earlier_model_is_served() {
    let server = Running::start(&EVERY);
    server.expect_errors();
    let good = model("later");
    // Written in place: the file that the model was opened from changes under it.
    for bad in [good[..good.len() / 2].to_vec(), vec![0; good.len()], b"text".to_vec(), vec![]] {
        std::fs::write(server.model(), &bad).unwrap();
        let failures = server.metric("hl_reloads_total");
        eventually("the damage is found", || {
            server.metric("hl_reloads_total") > failures || error(&server).is_some()
        });
        assert_eq!(server.tag(&["set an alarm for 7 am"])[0]["spans"][0]["text"], "7 am");
        assert_eq!(task(&server), "lexicon");
    }
    let message = error(&server).unwrap();
    assert!(message.contains("`lexicon.onnx`") && !message.contains("hl-serve-"), "{message}");
    std::fs::remove_file(server.model()).unwrap();
    eventually("the missing file is reported", || error(&server).is_some_and(|e| e.contains("cannot read")));
    assert_eq!(server.tag(&["paris"]).len(), 1);
    replace(&server.model(), &good);
    eventually("the repaired model is served", || task(&server) == "later");
    assert_eq!(error(&server), None);
    let log = server.stop();
    let reported = |event: &&serde_json::Value| event["level"] == "ERROR" && event["model"] == "lexicon";
    assert!(log.iter().filter(reported).count() >= 2, "{log:?}");
}

/// A model whose weights are in the file `location`: the model file and that one.
fn in_two_files(task: &str, location: &str) -> (Vec<u8>, Vec<u8>) {
    let mut model = ModelProto::decode(model(task).as_slice()).unwrap();
    let mut data = Vec::new();
    for tensor in &mut model.graph.as_mut().unwrap().initializer {
        if tensor.raw_data.len() < 1024 {
            continue;
        }
        data.resize(data.len().next_multiple_of(64), 0);
        let (offset, length) = (data.len().to_string(), tensor.raw_data.len().to_string());
        data.extend_from_slice(&std::mem::take(&mut tensor.raw_data));
        let entries = [("location", location.to_owned()), ("offset", offset), ("length", length)];
        tensor.external_data =
            entries.map(|(key, value)| StringStringEntryProto { key: key.into(), value }).into();
        tensor.data_location = 1;
    }
    assert!(!data.is_empty());
    (model.encode_to_vec(), data)
}

#[test]
fn a_model_is_loaded_again_when_the_weights_that_it_refers_to_arrive_later() {
    let folder = tempfile::tempdir().unwrap();
    let (old, weights) = in_two_files("old", "shared-1.weights");
    std::fs::write(folder.path().join("lexicon.onnx"), old).unwrap();
    std::fs::write(folder.path().join("shared-1.weights"), weights).unwrap();
    let server = Running::of_models(folder, &["lexicon.onnx"], &EVERY);
    server.expect_errors();
    let (new, weights) = in_two_files("new", "shared-2.weights");
    replace(&server.model(), &new);
    eventually("the missing weights are reported", || {
        error(&server).is_some_and(|error| error.contains("shared-2.weights"))
    });
    assert_eq!(task(&server), "old");
    std::fs::write(server.folder.path().join("shared-2.weights"), weights).unwrap();
    eventually("the new model is served", || task(&server) == "new");
    assert_eq!(server.tag(&["set an alarm for 7 am"])[0]["spans"][0]["text"], "7 am");
}

#[test]
fn sighup_loads_models_and_keys_again() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lexicon.onnx"), model("first")).unwrap();
    let keys = folder.path().join("keys");
    std::fs::write(&keys, "old\n").unwrap();
    let server =
        Running::of_models(folder, &["lexicon.onnx"], &["--reload-every", "0", "--api-key-file", "keys"]);
    let status = |key: &str| server.get_with("/models", &[("x-api-key", key)]).status;
    assert_eq!((status("old"), status("new")), (200, 401));
    replace(&server.model(), &model("second"));
    std::fs::write(&keys, "new\n").unwrap();
    server.signal(Signal::HUP);
    eventually("the new key is valid", || status("new") == 200);
    assert_eq!(status("old"), 401);
    let models = || server.get_with("/models", &[("authorization", "Bearer new")]).json();
    eventually("the new model is served", || models()["models"][0]["task"] == json!("second"));
    std::fs::write(&keys, "").unwrap();
    server.expect_errors();
    server.signal(Signal::HUP);
    let reloads = || {
        let text = server.get_with("/metrics", &[("x-api-key", "new")]).text();
        text.lines().any(|line| line.starts_with("hl_reloads_total") && line.ends_with(" 2"))
    };
    eventually("the models are loaded again", reloads);
    assert_eq!(status("new"), 200, "keys that cannot be used change nothing");
}

#[test]
fn no_request_fails_while_a_file_is_overwritten_in_place() {
    let server = Running::start(&EVERY);
    // A pause of the writer that is longer than the time between two looks lets the server read a part.
    server.expect_errors();
    let bytes = model("written");
    let mut file = std::fs::OpenOptions::new().write(true).truncate(true).open(server.model()).unwrap();
    for chunk in bytes.chunks(bytes.len() / 10 + 1) {
        std::io::Write::write_all(&mut file, chunk).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(server.tag(&["paris"]).len(), 1);
    }
    drop(file);
    eventually("the new model is served", || task(&server) == "written");
}
