//! The lock file of the Python package has the versions of the workspace's.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Versions by the names of packages.
fn versions(lock: &str) -> BTreeMap<String, Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(lock);
    let lock: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
    let mut versions = BTreeMap::<String, Vec<String>>::new();
    for package in lock["package"].as_array().unwrap() {
        let text = |field: &str| package[field].as_str().unwrap().to_owned();
        versions.entry(text("name")).or_default().push(text("version"));
    }
    versions
}

#[test]
fn packages_of_both_lock_files_have_the_same_versions() {
    let (ours, pythons) = (versions("Cargo.lock"), versions("python/Cargo.lock"));
    assert!(pythons.contains_key("pyo3") && pythons.contains_key("tract-onnx"));
    for (name, found) in pythons {
        let Some(known) = ours.get(&name) else { continue };
        let others: Vec<&String> = found.iter().filter(|version| !known.contains(version)).collect();
        assert!(
            others.is_empty(),
            "{name} is {others:?} in python/Cargo.lock and {known:?} in Cargo.lock\n\
             copy Cargo.lock to python/Cargo.lock and run `cargo metadata --manifest-path python/Cargo.toml`"
        );
    }
}
