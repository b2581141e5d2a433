//! Where ONNX Runtime's library is looked for.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Where `cargo xtask setup` puts the library, below the root of the clone.
const NATIVE: &str = ".native/onnxruntime/lib";

/// Libraries to try, best first: beside the program, set up in a folder around the program or the current folder, and
/// last the bare names that the system's loader knows.
pub(super) fn candidates() -> Vec<PathBuf> {
    let program = env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned));
    let current = env::current_dir().ok();
    let native = [&program, &current]
        .into_iter()
        .flatten()
        .flat_map(|folder| folder.ancestors())
        .map(|folder| folder.join(NATIVE));
    let mut found: Vec<PathBuf> = Vec::new();
    for library in program.iter().cloned().chain(native).flat_map(|folder| libraries_in(&folder)) {
        if !found.contains(&library) {
            found.push(library);
        }
    }
    found.extend(system_names());
    found
}

fn plain_name() -> String {
    format!("{}onnxruntime{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX)
}

/// Names for the system's loader; on Linux a package without development files has only the second.
fn system_names() -> Vec<PathBuf> {
    let plain = plain_name();
    match cfg!(target_os = "linux") {
        true => vec![format!("{plain}.1").into(), plain.into()],
        false => vec![plain.into()],
    }
}

/// ONNX Runtime's libraries in `folder`, the newest version first.
fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![] };
    let mut libraries: Vec<(Vec<u32>, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((version(path.file_name()?)?, path))
        })
        .collect();
    libraries.sort_by(|a, b| b.cmp(a));
    libraries.into_iter().map(|(_, path)| path).collect()
}

/// The version of the library at `path`, where its name, links followed, tells.
pub(in crate::backend) fn version_of(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let numbers = version(path.file_name()?)?;
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    Some(numbers.join(".")).filter(|version| !version.is_empty())
}

/// The version in a library's name, empty in `libonnxruntime.so`; `None` for any other file.
fn version(name: &OsStr) -> Option<Vec<u32>> {
    let name = name.to_str()?;
    if name == plain_name() {
        return Some(vec![]);
    }
    // `libonnxruntime.so.1.31.1` or `libonnxruntime.1.31.1.dylib`
    let stem = format!("{}onnxruntime.", env::consts::DLL_PREFIX);
    let rest = name.strip_prefix(&stem)?;
    let extension = env::consts::DLL_EXTENSION;
    let numbers = rest
        .strip_prefix(&format!("{extension}."))
        .or_else(|| rest.strip_suffix(&format!(".{extension}")))?;
    numbers.split('.').map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_newest_library_of_a_folder_comes_first_and_providers_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            "libonnxruntime.so.1.9.0",
            "libonnxruntime.so.1.31.1",
            "libonnxruntime_providers_cuda.so",
            "libonnxruntime.so.old",
            "libonnxruntime.so",
        ];
        for name in names {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found: Vec<String> = libraries_in(folder.path())
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(found, ["libonnxruntime.so.1.31.1", "libonnxruntime.so.1.9.0", "libonnxruntime.so"]);
        assert!(libraries_in(&folder.path().join("absent")).is_empty());
        let version = |name: &str| version_of(&folder.path().join(name));
        assert_eq!(version("libonnxruntime.so.1.31.1").as_deref(), Some("1.31.1"));
        assert_eq!((version("libonnxruntime.so"), version("absent.so")), (None, None));
    }
}
