//! Weights in data files: read as if they were in the model file, and refused if they lie elsewhere or are cut short.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::fs;
use std::path::Path;

use hyperloader_onnx::proto::{ModelProto, StringStringEntryProto};
use hyperloader_onnx::{
    BuiltModel, Bytes, ElementType, External, GraphBuilder, Opset, Weight, WeightFile, decode_model,
    is_large, read_model, write_data, write_model, write_model_beside,
};
use prost::Message;
use tempfile::TempDir;

const COUNTS: [usize; 4] = [300, 3, 1000, 257];

/// Elements 0, 1, 2, ...
fn counting_elements(weight: &Weight) -> Bytes {
    (0..weight.element_count()).flat_map(|index| (index as f32).to_le_bytes()).collect()
}

fn built() -> BuiltModel {
    let mut graph = GraphBuilder::new("weights", Opset::default());
    for (at, count) in COUNTS.into_iter().enumerate() {
        let weight = graph.weight(&format!("w{at}"), ElementType::F32, &[count]);
        let copy = graph.identity(weight);
        graph.output(copy, &format!("out{at}"), ElementType::F32, &[count.into()]);
    }
    graph.finish().unwrap()
}

/// Writes `model.onnx` and `model.weights`.
fn write(folder: &Path) {
    let (built, mut data, mut model) = (built(), Vec::new(), Vec::new());
    let elements = |weight: &_| Ok::<_, Infallible>(counting_elements(weight));
    let large = built.weights.iter().filter(|weight| is_large(*weight));
    let offsets = write_data(&mut data, large, elements).unwrap();
    assert!(offsets.len() == 3 && offsets.values().all(|offset| offset % 64 == 0), "{offsets:?}");
    let external = External { location: "model.weights".into(), offsets };
    let bytes = write_model_beside(&mut model, &built, &external, elements).unwrap();
    assert_eq!(bytes, model.len() as u64);
    fs::write(folder.join("model.onnx"), model).unwrap();
    fs::write(folder.join("model.weights"), data).unwrap();
}

fn whole() -> ModelProto {
    let mut bytes = Vec::new();
    write_model(&mut bytes, &built(), |weight| Ok::<_, Infallible>(counting_elements(weight))).unwrap();
    decode_model(bytes.into(), "model.onnx".as_ref()).unwrap()
}

fn without_padding(mut model: ModelProto) -> ModelProto {
    model
        .graph
        .iter_mut()
        .flat_map(|graph| &mut graph.initializer)
        .for_each(|tensor| tensor.doc_string.clear());
    model
}

#[test]
fn a_model_with_a_data_file_reads_as_if_it_had_none_and_refers_to_it_again() {
    let folder = TempDir::new().unwrap();
    write(folder.path());
    let path = folder.path().join("model.onnx");
    let file = WeightFile::open(&path).unwrap();
    assert_eq!(without_padding(file.model().unwrap()), without_padding(whole()));
    assert_eq!(file.paths().count(), 2);

    let (part, base) = file.refer(&file.model().unwrap()).unwrap();
    assert_eq!(Path::new(&base), folder.path().canonicalize().unwrap());
    let on_disk = ModelProto::decode(&*fs::read(&path).unwrap()).unwrap();
    assert_eq!(part, on_disk);
}

#[test]
fn bytes_alone_have_no_data_file() {
    let folder = TempDir::new().unwrap();
    write(folder.path());
    let bytes = fs::read(folder.path().join("model.onnx")).unwrap();
    let error = decode_model(bytes.into(), "model.onnx".as_ref()).unwrap_err().to_string();
    assert!(error.contains("tensor `w0` are in another file"), "{error}");
}

/// The message for a model whose first tensor has other values in its reference.
fn refused(folder: &Path, changes: &[(&str, &str)]) -> String {
    let path = folder.join("model.onnx");
    let mut model = ModelProto::decode(&*fs::read(&path).unwrap()).unwrap();
    let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
    for (key, value) in changes {
        tensor.external_data.retain(|entry| entry.key != *key);
        tensor.external_data.push(StringStringEntryProto { key: (*key).into(), value: (*value).into() });
    }
    let changed = folder.join("changed.onnx");
    fs::write(&changed, model.encode_to_vec()).unwrap();
    let error = read_model(&changed).unwrap_err();
    let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}").replace(&*folder.to_string_lossy(), "FOLDER")
}

#[test]
fn references_that_leave_the_folder_or_the_file_are_refused() {
    let folder = TempDir::new().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    write(&inner);
    fs::copy(inner.join("model.weights"), folder.path().join("outer.weights")).unwrap();
    fs::create_dir(inner.join("folder.weights")).unwrap();
    for location in ["../outer.weights", "/etc/passwd", "", ".", "..", "a/../model.weights", "folder/x"] {
        let message = refused(&inner, &[("location", location)]);
        assert!(message.contains("is not the name of a file in the model's folder"), "{location}: {message}");
    }
    assert!(refused(&inner, &[("location", "none.weights")]).contains("`FOLDER/none.weights`"));
    assert!(refused(&inner, &[("location", "folder.weights")]).contains("not a regular file"));
    let huge = usize::MAX.to_string();
    for (key, value) in [("offset", "100000"), ("offset", &*huge), ("length", "100000"), ("length", &huge)] {
        let message = refused(&inner, &[(key, value)]);
        assert!(message.contains("`model.weights` has 6"), "{key} {value}: {message}");
    }
    assert!(
        refused(&inner, &[("offset", "-1")]).contains("its `offset` is `-1`, expected a number of bytes")
    );
    assert!(refused(&inner, &[("length", "1196")]).contains("takes 1200 bytes, got 1196"));
}

#[cfg(unix)]
#[test]
fn links_are_followed_inside_the_folder_only() {
    let folder = TempDir::new().unwrap();
    let [store, snapshot, other] = ["store", "snapshot", "other"].map(|name| folder.path().join(name));
    for folder in [&store, &snapshot, &other] {
        fs::create_dir(folder).unwrap();
    }
    write(&store);
    // A cache of downloads: both names are links to files of one folder.
    for name in ["model.onnx", "model.weights"] {
        std::os::unix::fs::symlink(store.join(name), snapshot.join(name)).unwrap();
    }
    let file = WeightFile::open(&snapshot.join("model.onnx")).unwrap();
    assert_eq!(without_padding(file.model().unwrap()), without_padding(whole()));

    let alone = folder.path().join("alone.onnx");
    std::os::unix::fs::symlink(store.join("model.onnx"), &alone).unwrap();
    assert_eq!(
        without_padding(read_model(&alone).unwrap()),
        without_padding(whole()),
        "a link to the model alone"
    );

    fs::copy(store.join("model.onnx"), other.join("model.onnx")).unwrap();
    std::os::unix::fs::symlink(store.join("model.weights"), other.join("model.weights")).unwrap();
    let error = read_model(&other.join("model.onnx")).unwrap_err().to_string();
    assert!(error.contains("leads out of the model's folder"), "{error}");
}
