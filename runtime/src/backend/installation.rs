//! What of the backends is installed on this machine.

use std::path::PathBuf;

use serde::Serialize;

use super::error::BackendError;
use super::options::BackendKind;

/// The versions of a library that is loaded when the program runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// The version that the program is built for, which is the oldest that works: `1.20`.
    pub built_for: String,
    /// The version that the tests of the program run with: `1.31`.
    pub tested_with: String,
    /// The version of the library that was found, as far as the library or its name tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// Whether the library can be used: it is as new as [`Versions::built_for`]. `None` if its version is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fits: Option<bool>,
}

impl Versions {
    /// The versions of a library of version `found`.
    #[cfg(any(feature = "ort", test))]
    fn of([built_for, tested_with]: [(u32, u32); 2], found: Option<String>, is_loaded: bool) -> Self {
        let is_new_enough = |version: &String| numbers(version).map(|numbers| numbers >= built_for);
        let fits = if is_loaded { Some(true) } else { found.as_ref().and_then(is_new_enough) };
        let text = |(major, minor)| format!("{major}.{minor}");
        Self { built_for: text(built_for), tested_with: text(tested_with), found, fits }
    }

    /// Whether the library is newer than those that the tests of the program run with.
    pub fn is_newer_than_tested(&self) -> bool {
        self.found.as_deref().and_then(numbers) > numbers(&self.tested_with)
    }
}

/// The first two numbers of a version.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// A backend on this machine.
#[derive(Debug)]
pub struct Installed {
    /// ONNX Runtime or tract.
    pub kind: BackendKind,
    /// Name, version and device, or why it cannot be used.
    pub description: Result<String, BackendError>,
    /// What differs from what was asked for.
    pub notices: Vec<String>,
    /// Libraries that were found, in the order in which they are tried; none for a backend that is compiled in.
    pub libraries: Vec<PathBuf>,
    /// The library that was loaded.
    pub loaded: Option<PathBuf>,
    /// Versions of the library; `None` for a backend that is compiled in.
    pub versions: Option<Versions>,
    /// Devices that the backend can run on: `cpu`, `cuda`.
    pub devices: Vec<&'static str>,
}

impl Installed {
    /// The backend `kind`, after an attempt to load it.
    pub(super) fn new(
        kind: BackendKind,
        description: Result<String, BackendError>,
        notices: Vec<String>,
    ) -> Self {
        let OfOrt { libraries, loaded, versions, cuda } =
            if kind == BackendKind::Ort { of_ort() } else { OfOrt::default() };
        let devices = match (&description, cuda) {
            (Err(_), _) => vec![],
            (Ok(_), false) => vec!["cpu"],
            (Ok(_), true) => vec!["cpu", "cuda"],
        };
        Self { kind, description, notices, libraries, loaded, versions, devices }
    }
}

/// What is installed of ONNX Runtime.
#[derive(Default)]
struct OfOrt {
    libraries: Vec<PathBuf>,
    loaded: Option<PathBuf>,
    versions: Option<Versions>,
    /// Whether the loaded library can use a GPU.
    cuda: bool,
}

#[cfg(feature = "ort")]
fn of_ort() -> OfOrt {
    use super::ort;
    let (libraries, loaded) = (ort::found_libraries(), ort::loaded_library());
    let found = match &loaded {
        Some(_) => ort::loaded_version(),
        None => libraries.first().and_then(|library| ort::version_of(library)),
    };
    let versions = Versions::of([ort::BUILT_FOR, ort::TESTED_WITH], found, loaded.is_some());
    OfOrt { libraries, loaded, versions: Some(versions), cuda: ort::supports_cuda() }
}

#[cfg(not(feature = "ort"))]
fn of_ort() -> OfOrt {
    OfOrt::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_fits_if_it_is_as_new_as_the_version_that_the_program_is_built_for() {
        let of = |found: &str| Versions::of([(1, 20), (1, 31)], Some(found.to_owned()), false);
        let expected = |found: &str, fits, newer| {
            let versions = of(found);
            assert_eq!((versions.fits, versions.is_newer_than_tested()), (fits, newer), "{found}");
        };
        expected("1.31.1", Some(true), false);
        expected("1.20.0", Some(true), false);
        expected("1.9.0", Some(false), false);
        expected("0.31.0", Some(false), false);
        expected("1.32.0", Some(true), true);
        expected("2.0", Some(true), true);
        expected("1", None, false);
        let unknown = Versions::of([(1, 20), (1, 31)], None, true);
        assert_eq!((unknown.fits, unknown.built_for.as_str()), (Some(true), "1.20"));
    }
}
