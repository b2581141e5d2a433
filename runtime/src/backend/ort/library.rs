//! Where ONNX Runtime's library is looked for.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Where `cargo xtask setup` puts the library, below the root of the clone.
const NATIVE: &str = ".native/onnxruntime/lib";

/// Libraries to try, best first: beside the program, set up in a folder around the program, and last the bare names that the
/// system's loader knows. The current folder is not searched: another user could place a library there.
pub(super) fn candidates() -> Vec<PathBuf> {
    let program = env::current_exe().ok();
    let mut found = program.as_deref().and_then(Path::parent).map(libraries_around).unwrap_or_default();
    found.extend(system_names());
    found
}

/// Libraries in `folder`, then those that are set up in it or in a folder above it, the nearest first.
fn libraries_around(folder: &Path) -> Vec<PathBuf> {
    let native = folder.ancestors().map(|folder| folder.join(NATIVE));
    std::iter::once(folder.to_owned()).chain(native).flat_map(|folder| libraries_in(&folder)).collect()
}

fn plain_name() -> String {
    format!("{}onnxruntime{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX)
}

/// Names for the system's loader; on Linux a package without development files has only the first.
fn system_names() -> Vec<PathBuf> {
    let plain = plain_name();
    match cfg!(target_os = "linux") {
        true => vec![format!("{plain}.1").into(), plain.into()],
        // Other loaders look for a bare name in the current folder, too.
        false => Some(PathBuf::from(plain)).filter(|name| !name.exists()).into_iter().collect(),
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
    fn libraries_are_searched_for_around_the_program_alone() {
        let clone = tempfile::tempdir().unwrap();
        let place = |folder: &str| {
            let folder = clone.path().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(plain_name()), "").unwrap();
            folder.join(plain_name())
        };
        let folder = clone.path().join("target/debug/deps");
        let (outer, inner) = (place(NATIVE), place(&format!("target/{NATIVE}")));
        place("other");
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(libraries_around(&folder)[..2], [inner.clone(), outer.clone()]);
        let beside = place("target/debug/deps");
        assert_eq!(libraries_around(&folder)[..3], [beside, inner, outer]);
        // Unit tests run in the folder of their crate.
        let current = env::current_dir().unwrap();
        let program = env::current_exe().unwrap();
        let of_current = |path: &PathBuf| path.starts_with(&current) && !program.starts_with(&current);
        assert!(!candidates().iter().any(of_current), "{:?}", candidates());
    }

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
