//! Where `hl-run` looks for ONNX Runtime's library, with a copy of the program that has no library around it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

/// Names by which a library would be found on the systems that the programs run on.
const NAMES: [&str; 4] =
    ["libonnxruntime.so", "libonnxruntime.so.1", "libonnxruntime.so.1.31.1", "libonnxruntime.dylib"];

/// Puts files that are no libraries, by their names, into a folder.
fn plant(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    NAMES.into_iter().for_each(|name| std::fs::write(folder.join(name), "planted").unwrap());
}

/// The libraries that the copy of the program in `place` finds or tries in the folder `current`.
fn looked_for(place: &Path, current: &Path) -> String {
    let mut command = Command::new(place.join("hl-run"));
    command.args(["doctor", "--output-format", "json"]).current_dir(current).env_remove("ORT_DYLIB_PATH");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_library_planted_in_the_current_folder_is_not_loaded() {
    let (programs, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = programs.path().join("bin");
    let current = data.path().join("a/b");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_hl-run"), place.join("hl-run")).unwrap();
    for folder in [
        current.clone(),
        current.join(".native/onnxruntime/lib"),
        data.path().join(".native/onnxruntime/lib"),
    ] {
        plant(&folder);
    }
    let found = looked_for(&place, &current);
    assert!(!found.contains(&*data.path().to_string_lossy()), "{found}");
    // The same files around the program are found.
    let around = programs.path().join(".native/onnxruntime/lib");
    plant(&around);
    let found = looked_for(&place, &current);
    assert!(found.contains(&*around.to_string_lossy()) && !found.contains("/a/b"), "{found}");
    plant(&place);
    let found = looked_for(&place, &current);
    assert!(found.contains(&*place.join("libonnxruntime").to_string_lossy()), "{found}");
}
